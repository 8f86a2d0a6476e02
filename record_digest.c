/*
 * record_digest.c
 *		What a record says of a row, in hashes.
 *
 * Avro bytes are walked by the schema they were written with, and JSON texts
 * by their own punctuation.  Neither is trusted: a topic may hold what others
 * wrote.  What does not fit is "unreadable", and no error.
 *
 * Nothing is allocated for a record, but for its schema when it is first met.
 */
#include "postgres.h"

#include <jansson.h>

#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "avro_decode.h"
#include "avro_schema.h"
#include "event_serialize.h"
#include "foreign.h"
#include "json_encode.h"
#include "record_digest.h"
#include "topic_name.h"
#include "type_map.h"

#define NOT_THERE		(-1)

/* Longest text for people. */
#define MAX_TEXT		400

#define DELETED_FIELD	"__deleted"

typedef struct DigestColumn
{
	char	   *name;
	char	   *json_name;		/* as in JSON, without quotes */
	json_t	   *type;			/* Avro's, as in the table's schema of now */
	bool		can_toast;
	uint64		placeholder;
} DigestColumn;

/* A schema of values, and where in them is what counts. */
typedef struct ValuePlan
{
	AvroNode   *root;
	AvroNode   *row;			/* the record of a row */
	int		   *columns;		/* by field of the row: column, or NOT_THERE */
	int			version;
	bool		partial;

	/* fields of the root, or NOT_THERE */
	int			after;			/* none: the root is the row */
	int			op;
	int			source;
	int			deleted;

	/* fields of source */
	int			lsn;
	int			schema;
	int			table;
} ValuePlan;

/* A schema that was met, by what frames its values. */
typedef struct MetSchema
{
	bool		is_fingerprint;
	uint64		id;
	char	   *text;			/* NULL: not known */
	AvroNode   *node;			/* as a key's; NULL: not parsed yet */
	ValuePlan  *plan;			/* as a value's; likewise */
} MetSchema;

struct RecordDigester
{
	MemoryContext cxt;
	const Settings *settings;
	SchemaTextFunc schema_text;
	void	   *arg;

	EventFormat key_format;
	EventFormat value_format;
	bool		envelope;
	bool		only_own;		/* the topic has other tables' records */
	char	   *schema_name;	/* of the table, as in source */
	char	   *table_name;

	int			ncolumns;
	DigestColumn *columns;
	List	   *versions;		/* Bitmapset, of columns that are missing */
	List	   *met;			/* MetSchema, the last one first */
	AvroNode   *event_key;		/* of events */
	ValuePlan  *event_plan;

	uint64	   *hashes;			/* of the record under way, by column */
	Bitmapset  *missing;		/* scratch */
};

/* ---------------------------------------------------------------------
 * Hashes
 * --------------------------------------------------------------------- */

static inline uint64
mix(uint64 h)
{
	h ^= h >> 33;
	h *= UINT64CONST(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64CONST(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return h;
}

static inline uint64
combine(uint64 a, uint64 b)
{
	return mix(a * UINT64CONST(0x9e3779b97f4a7c15) + b);
}

static uint64
hash_text(const void *data, size_t len, uint64 seed)
{
	/* hash_bytes_extended() takes an int */
	while (len > PG_INT32_MAX)
	{
		seed = hash_bytes_extended(data, PG_INT32_MAX, seed);
		data = (const char *) data + PG_INT32_MAX;
		len -= PG_INT32_MAX;
	}
	return hash_bytes_extended(data, (int) len, seed);
}

/* Never 0, which is no value. */
static inline uint64
of_column(int column, uint64 hash)
{
	hash = combine(column + 1, hash);
	return hash != 0 ? hash : 1;
}

/* ---------------------------------------------------------------------
 * Avro
 * --------------------------------------------------------------------- */

static uint64 hash_avro(const AvroNode *node, AvroReader *reader);

/* A union's branch. */
static const AvroNode *
read_branch(const AvroNode *node, AvroReader *reader)
{
	int64		branch = avro_read_long(reader);

	if (branch < 0 || branch >= node->nchildren)
		avro_read_failed();
	return node->children[branch];
}

static uint64
hash_blocks(const AvroNode *node, AvroReader *reader)
{
	uint64		hash = node->kind;
	int64		count;

	while ((count = avro_read_long(reader)) != 0)
	{
		if (count < 0)
		{
			count = count == PG_INT64_MIN ? PG_INT64_MAX : -count;
			(void) avro_read_long(reader);
		}
		for (; count > 0; count--)
		{
			uint64		entry = 0;

			CHECK_FOR_INTERRUPTS();
			if (node->kind == AVRO_KIND_MAP)
			{
				int64		len = avro_read_long(reader);

				entry = hash_text(avro_read_raw(reader, len), len, 0);
			}
			/* elements that take no bytes cannot make us run for ever */
			if (reader->p == reader->end)
				avro_read_failed();
			entry = combine(entry, hash_avro(node->children[0], reader));

			/* the order of a map's entries says nothing */
			hash = node->kind == AVRO_KIND_MAP ?
				hash + entry : combine(hash, entry);
		}
	}
	return hash;
}

static uint64
hash_avro(const AvroNode *node, AvroReader *reader)
{
	uint64		hash = node->kind;
	int64		len;

	switch (node->kind)
	{
		case AVRO_KIND_NULL:
			break;
		case AVRO_KIND_BOOLEAN:
			hash = combine(hash, *avro_read_raw(reader, 1));
			break;
		case AVRO_KIND_INT:
		case AVRO_KIND_LONG:
			hash = combine(hash, (uint64) avro_read_long(reader));
			break;
		case AVRO_KIND_FLOAT:
			hash = combine(hash, avro_read_little_endian(reader, 4));
			break;
		case AVRO_KIND_DOUBLE:
			hash = combine(hash, avro_read_little_endian(reader, 8));
			break;
		case AVRO_KIND_BYTES:
		case AVRO_KIND_STRING:
			len = avro_read_long(reader);
			hash = hash_text(avro_read_raw(reader, len), len, hash);
			break;
		case AVRO_KIND_RECORD:
			check_stack_depth();
			for (int i = 0; i < node->nchildren; i++)
				hash = combine(hash, hash_avro(node->children[i], reader));
			break;
		case AVRO_KIND_ARRAY:
		case AVRO_KIND_MAP:
			check_stack_depth();
			hash = hash_blocks(node, reader);
			break;
		case AVRO_KIND_UNION:
			hash = hash_avro(read_branch(node, reader), reader);
			break;
	}
	return hash;
}

/*
 * A string, or the empty one for anything else; as it is in the bytes.
 */
static void
read_text(const AvroNode *node, AvroReader *reader, const char **text,
		  size_t *len)
{
	*text = "";
	*len = 0;
	if (node->kind == AVRO_KIND_UNION)
		node = read_branch(node, reader);
	if (node->kind == AVRO_KIND_STRING)
	{
		*len = avro_read_long(reader);
		*text = (const char *) avro_read_raw(reader, *len);
	}
	else
		(void) hash_avro(node, reader);
}

/* A long, or 0 for anything else. */
static int64
read_number(const AvroNode *node, AvroReader *reader)
{
	if (node->kind == AVRO_KIND_UNION)
		node = read_branch(node, reader);
	if (node->kind == AVRO_KIND_LONG || node->kind == AVRO_KIND_INT)
		return avro_read_long(reader);
	(void) hash_avro(node, reader);
	return 0;
}

static bool
text_is(const char *text, size_t len, const char *expected)
{
	return len == strlen(expected) && memcmp(text, expected, len) == 0;
}

/*
 * A key: its columns in any order.
 */
static uint64
hash_avro_key(const AvroNode *node, AvroReader *reader)
{
	uint64		hash = 0;

	if (node->kind != AVRO_KIND_RECORD)
		return hash_avro(node, reader);
	for (int i = 0; i < node->nchildren; i++)
		hash += combine(hash_text(node->names[i], strlen(node->names[i]), 0),
						hash_avro(node->children[i], reader));
	return hash;
}

static void
digest_avro_row(RecordDigester *digester, const ValuePlan *plan,
				AvroReader *reader)
{
	const AvroNode *row = plan->row;

	for (int i = 0; i < row->nchildren; i++)
	{
		uint64		hash = hash_avro(row->children[i], reader);
		int			column = plan->columns[i];

		if (column != NOT_THERE)
			digester->hashes[column] = of_column(column, hash);
	}
}

/* The block "source": whose record it is, and its place. */
static void
digest_avro_source(RecordDigester *digester, const ValuePlan *plan,
				   AvroReader *reader, RecordDigest *digest)
{
	const AvroNode *source = plan->root->children[plan->source];
	const char *text;
	size_t		len;

	if (source->kind == AVRO_KIND_UNION)
		source = read_branch(source, reader);
	if (source->kind != AVRO_KIND_RECORD)
	{
		(void) hash_avro(source, reader);
		return;
	}
	for (int i = 0; i < source->nchildren; i++)
	{
		if (i == plan->lsn)
		{
			uint64		lsn = read_number(source->children[i], reader);

			if (lsn != 0)
				digest->order = lsn;
		}
		else if (digester->only_own && (i == plan->schema || i == plan->table))
		{
			read_text(source->children[i], reader, &text, &len);
			if (!text_is(text, len, i == plan->schema ?
						 digester->schema_name : digester->table_name))
				digest->effect = RECORD_IS_OTHERS;
		}
		else
			(void) hash_avro(source->children[i], reader);
	}
}

/* What "op" says, unless the record is known to be another table's. */
static void
note_op(RecordDigest *digest, const char *op, size_t len)
{
	if (digest->effect == RECORD_IS_OTHERS)
		return;
	if (text_is(op, len, "d"))
		digest->effect = RECORD_REMOVES_ROW;
	else if (text_is(op, len, "t"))
		digest->effect = RECORD_REMOVES_ALL;
	else if (text_is(op, len, "m"))
		digest->effect = RECORD_IS_OTHERS;
}

static void
digest_avro_value(RecordDigester *digester, const ValuePlan *plan,
				  AvroReader *reader, RecordDigest *digest)
{
	const AvroNode *root = plan->root;
	const char *text;
	size_t		len;

	digest->version = plan->version;
	digest->partial = plan->partial;
	if (plan->after == NOT_THERE)
	{
		AvroReader	start = *reader;

		digest_avro_row(digester, plan, reader);
		if (plan->deleted == NOT_THERE)
			return;
		for (int i = 0; i < plan->deleted; i++)
			(void) hash_avro(root->children[i], &start);
		read_text(root->children[plan->deleted], &start, &text, &len);
		if (text_is(text, len, "true"))
			digest->effect = RECORD_REMOVES_ROW;
		return;
	}

	for (int i = 0; i < root->nchildren; i++)
	{
		const AvroNode *child = root->children[i];

		if (i == plan->after)
		{
			if (child->kind == AVRO_KIND_UNION)
				child = read_branch(child, reader);
			if (child == plan->row)
				digest_avro_row(digester, plan, reader);
			else
				(void) hash_avro(child, reader);
		}
		else if (i == plan->op)
		{
			read_text(child, reader, &text, &len);
			note_op(digest, text, len);
		}
		else if (i == plan->source)
			digest_avro_source(digester, plan, reader, digest);
		else
			(void) hash_avro(child, reader);
	}
}

/* ---------------------------------------------------------------------
 * Schemas
 * --------------------------------------------------------------------- */

static int
field_of(const AvroNode *node, const char *name)
{
	for (int i = 0; i < node->nchildren; i++)
		if (strcmp(node->names[i], name) == 0)
			return i;
	return NOT_THERE;
}

/* The record that a union has, or the node itself; NULL if it is none. */
static AvroNode *
record_of(AvroNode *node)
{
	if (node->kind == AVRO_KIND_UNION)
	{
		for (int i = 0; i < node->nchildren; i++)
			if (node->children[i]->kind == AVRO_KIND_RECORD)
				return node->children[i];
	}
	return node->kind == AVRO_KIND_RECORD ? node : NULL;
}

/*
 * The version that lacks these columns.
 */
static int
intern_version(RecordDigester *digester, const Bitmapset *missing)
{
	MemoryContext old;
	int			i = 0;
	ListCell   *cell;

	foreach(cell, digester->versions)
	{
		if (bms_equal(lfirst(cell), missing))
			return i;
		i++;
	}
	old = MemoryContextSwitchTo(digester->cxt);
	digester->versions = lappend(digester->versions, bms_copy(missing));
	MemoryContextSwitchTo(old);
	return i;
}

/*
 * The fields of a row in a schema's JSON: those of the record itself, or of
 * the one that its field "before" is.
 */
static json_t *
row_fields(json_t *schema)
{
	json_t	   *fields = json_object_get(schema, "fields");
	json_t	   *field;
	json_t	   *branch;
	size_t		i;
	size_t		j;

	json_array_foreach(fields, i, field)
	{
		const char *name = json_string_value(json_object_get(field, "name"));

		if (name == NULL || strcmp(name, "before") != 0)
			continue;
		json_array_foreach(json_object_get(field, "type"), j, branch)
		{
			if (json_is_object(branch))
				return json_object_get(branch, "fields");
		}
	}
	return fields;
}

/*
 * A field's type without what does not change its values: the union with
 * null, defaults, comments.  Owned by the caller.
 */
static json_t *
bare_type(json_t *field)
{
	json_t	   *type = json_object_get(field, "type");
	json_t	   *branch;
	json_t	   *result;
	size_t		i;

	json_array_foreach(type, i, branch)
	{
		if (!json_is_string(branch) ||
			strcmp(json_string_value(branch), "null") != 0)
		{
			type = branch;
			break;
		}
	}
	result = json_deep_copy(type);
	if (json_is_object(result))
	{
		json_object_del(result, "connect.default");
		json_object_del(result, "connect.doc");
		/* what is a plain type but for these */
		if (json_object_size(result) == 1 &&
			json_is_string(json_object_get(result, "type")))
		{
			json_t	   *plain =
				json_incref(json_object_get(result, "type"));

			json_decref(result);
			result = plain;
		}
	}
	return result;
}

static json_t *
find_field(json_t *fields, const char *name)
{
	json_t	   *field;
	size_t		i;

	json_array_foreach(fields, i, field)
	{
		const char *field_name =
			json_string_value(json_object_get(field, "name"));

		if (field_name != NULL && strcmp(field_name, name) == 0)
			return field;
	}
	return NULL;
}

/*
 * Is the column of the same type in this schema?
 */
static bool
same_type(const DigestColumn *column, json_t *fields)
{
	json_t	   *field = find_field(fields, column->name);
	json_t	   *type;
	bool		result;

	if (field == NULL)
		return false;
	if (column->type == NULL)
		return true;
	type = bare_type(field);
	result = json_equal(type, column->type);
	json_decref(type);
	return result;
}

/*
 * Which field of the row is which column, and what version that is.
 */
static void
map_columns(RecordDigester *digester, ValuePlan *plan, const char *text)
{
	OwnedJson  *owner = owned_json();
	json_t	   *fields;
	Bitmapset  *missing = NULL;
	int			nfound = 0;

	owner->value = json_loads(text, 0, NULL);
	fields = row_fields(owner->value);
	plan->columns = palloc(sizeof(int) * Max(plan->row->nchildren, 1));
	for (int i = 0; i < plan->row->nchildren; i++)
		plan->columns[i] = NOT_THERE;
	for (int i = 0; i < digester->ncolumns; i++)
	{
		int			field = field_of(plan->row, digester->columns[i].name);

		if (field != NOT_THERE && same_type(&digester->columns[i], fields))
		{
			plan->columns[field] = i;
			nfound++;
		}
		else
			missing = bms_add_member(missing, i);
	}
	plan->version = intern_version(digester, missing);
	plan->partial = nfound < digester->ncolumns ||
		(digester->envelope && nfound < plan->row->nchildren);
}

/*
 * The plan of a schema of values; allocated in CurrentMemoryContext.
 */
static ValuePlan *
make_plan(RecordDigester *digester, const char *text)
{
	ValuePlan  *plan = palloc0(sizeof(ValuePlan));
	AvroNode   *source;

	plan->root = avro_schema_parse(text, strlen(text));
	plan->after = plan->op = plan->source = plan->deleted = NOT_THERE;
	plan->lsn = plan->schema = plan->table = NOT_THERE;
	if (plan->root->kind != AVRO_KIND_RECORD)
		avro_read_failed();
	plan->row = plan->root;
	if (digester->envelope)
	{
		plan->after = field_of(plan->root, "after");
		plan->op = field_of(plan->root, "op");
		plan->source = field_of(plan->root, "source");
		if (plan->after == NOT_THERE || plan->op == NOT_THERE ||
			plan->source == NOT_THERE)
			avro_read_failed();
		plan->row = record_of(plan->root->children[plan->after]);
		source = record_of(plan->root->children[plan->source]);
		if (plan->row == NULL || source == NULL)
			avro_read_failed();
		plan->lsn = field_of(source, "lsn");
		plan->schema = field_of(source, "schema");
		plan->table = field_of(source, "table");
	}
	else
		plan->deleted = field_of(plan->root, DELETED_FIELD);
	map_columns(digester, plan, text);
	return plan;
}

/* ---------------------------------------------------------------------
 * JSON
 * --------------------------------------------------------------------- */

typedef struct JsonReader
{
	const char *p;
	const char *end;
} JsonReader;

/* A part of a text. */
typedef struct JsonPart
{
	const char *data;
	size_t		len;
} JsonPart;

static void
skip_space(JsonReader *reader)
{
	while (reader->p < reader->end && strchr(" \t\r\n", *reader->p) != NULL &&
		   *reader->p != '\0')
		reader->p++;
}

static char
next_char(JsonReader *reader)
{
	if (reader->p >= reader->end)
		avro_read_failed();
	return *reader->p++;
}

/* A string's content, as it stands there. */
static JsonPart
read_json_string(JsonReader *reader)
{
	JsonPart	part;
	char		c;

	if (next_char(reader) != '"')
		avro_read_failed();
	part.data = reader->p;
	while ((c = next_char(reader)) != '"')
		if (c == '\\')
			(void) next_char(reader);
	part.len = reader->p - 1 - part.data;
	return part;
}

/*
 * Any value, as it stands there.  Of what is in braces and brackets only
 * these are counted.
 */
static JsonPart
read_json_value(JsonReader *reader)
{
	JsonPart	part;
	int			depth = 0;

	skip_space(reader);
	part.data = reader->p;
	do
	{
		char		c;

		skip_space(reader);
		if (reader->p >= reader->end)
			avro_read_failed();
		c = *reader->p;
		if (c == '"')
			(void) read_json_string(reader);
		else
		{
			reader->p++;
			if (c == '{' || c == '[')
				depth++;
			else if (c == '}' || c == ']')
				depth--;
			else if (depth == 0)
			{
				while (reader->p < reader->end && *reader->p != '\0' &&
					   strchr(",}] \t\r\n", *reader->p) == NULL)
					reader->p++;
			}
		}
		if (depth < 0)
			avro_read_failed();
	} while (depth > 0);
	part.len = reader->p - part.data;
	return part;
}

/*
 * The next member of an object; false at its end.  *started is false before
 * the first.
 */
static bool
next_member(JsonReader *reader, bool *started, JsonPart *name,
			JsonPart *value)
{
	char		c;

	skip_space(reader);
	c = next_char(reader);
	if (c == '}')
		return false;
	if (c != (*started ? ',' : '{'))
		avro_read_failed();
	skip_space(reader);
	if (!*started && reader->p < reader->end && *reader->p == '}')
	{
		reader->p++;
		return false;
	}
	*started = true;
	*name = read_json_string(reader);
	skip_space(reader);
	if (next_char(reader) != ':')
		avro_read_failed();
	*value = read_json_value(reader);
	return true;
}

static bool
part_is(const JsonPart *part, const char *text)
{
	return text_is(part->data, part->len, text);
}

/* A string's content; other values as they stand there. */
static JsonPart
unquoted(JsonPart value)
{
	if (value.len >= 2 && value.data[0] == '"')
	{
		value.data++;
		value.len -= 2;
	}
	return value;
}

static JsonReader
json_reader(JsonPart part)
{
	JsonReader	reader = {part.data, part.data + part.len};

	return reader;
}

/* What is in the payload where a schema is embedded. */
static JsonPart
json_payload(JsonPart value, bool has_schema)
{
	JsonReader	reader = json_reader(value);
	bool		started = false;
	JsonPart	name;
	JsonPart	member;

	if (!has_schema)
		return value;
	while (next_member(&reader, &started, &name, &member))
		if (part_is(&name, "payload"))
			return member;
	avro_read_failed();
	return value;				/* not reached */
}

static uint64
hash_json_key(JsonPart value)
{
	JsonReader	reader = json_reader(value);
	bool		started = false;
	JsonPart	name;
	JsonPart	member;
	uint64		hash = 0;

	if (value.len == 0 || value.data[0] != '{')
		return hash_text(value.data, value.len, 0);
	while (next_member(&reader, &started, &name, &member))
		hash += combine(hash_text(name.data, name.len, 0),
						hash_text(member.data, member.len, 0));
	return hash;
}

static int
json_column(const RecordDigester *digester, const JsonPart *name, int guess)
{
	if (guess < digester->ncolumns &&
		part_is(name, digester->columns[guess].json_name))
		return guess;
	for (int i = 0; i < digester->ncolumns; i++)
		if (part_is(name, digester->columns[i].json_name))
			return i;
	return NOT_THERE;
}

static void
digest_json_row(RecordDigester *digester, JsonPart value,
				RecordDigest *digest)
{
	JsonReader	reader = json_reader(value);
	bool		started = false;
	JsonPart	name;
	JsonPart	member;
	int			guess = 0;
	int			nfound = 0;
	int			nothers = 0;

	while (next_member(&reader, &started, &name, &member))
	{
		int			column = json_column(digester, &name, guess);

		if (column != NOT_THERE)
		{
			digester->hashes[column] =
				of_column(column, hash_text(member.data, member.len, 0));
			guess = column + 1;
			nfound++;
		}
		else if (!digester->envelope && part_is(&name, DELETED_FIELD) &&
				 part_is(&member, "\"true\""))
			digest->effect = RECORD_REMOVES_ROW;
		else
			nothers++;
	}
	digest->version = 0;
	digest->partial = nfound < digester->ncolumns ||
		(digester->envelope && nothers > 0);
	if (nfound == digester->ncolumns)
		return;
	for (int i = 0; i < digester->ncolumns; i++)
	{
		digester->missing = bms_del_member(digester->missing, i);
		if (digester->hashes[i] == 0)
			digester->missing = bms_add_member(digester->missing, i);
	}
	digest->version = intern_version(digester, digester->missing);
}

static void
digest_json_source(RecordDigester *digester, JsonPart value,
				   RecordDigest *digest)
{
	JsonReader	reader = json_reader(value);
	bool		started = false;
	JsonPart	name;
	JsonPart	member;

	while (next_member(&reader, &started, &name, &member))
	{
		JsonPart	text = unquoted(member);

		if (part_is(&name, "lsn"))
		{
			uint64		lsn = 0;

			for (size_t i = 0; i < member.len; i++)
				if (member.data[i] >= '0' && member.data[i] <= '9')
					lsn = lsn * 10 + (member.data[i] - '0');
			if (lsn != 0)
				digest->order = lsn;
		}
		else if (digester->only_own &&
				 ((part_is(&name, "schema") &&
				   !part_is(&text, digester->schema_name)) ||
				  (part_is(&name, "table") &&
				   !part_is(&text, digester->table_name))))
			digest->effect = RECORD_IS_OTHERS;
	}
}

static void
digest_json_value(RecordDigester *digester, JsonPart value,
				  RecordDigest *digest)
{
	JsonReader	reader;
	bool		started = false;
	bool		any = false;
	JsonPart	name;
	JsonPart	member;

	value = json_payload(value,
						 digester->settings->value_converter_schemas_enable);
	if (!digester->envelope)
	{
		digest_json_row(digester, value, digest);
		return;
	}
	reader = json_reader(value);
	while (next_member(&reader, &started, &name, &member))
	{
		if (part_is(&name, "after") && !part_is(&member, "null"))
			digest_json_row(digester, member, digest);
		else if (part_is(&name, "source"))
			digest_json_source(digester, member, digest);
		else if (part_is(&name, "op"))
		{
			JsonPart	op = unquoted(member);

			any = true;
			note_op(digest, op.data, op.len);
		}
	}
	if (!any)
		avro_read_failed();
}

/* ---------------------------------------------------------------------
 * Records
 * --------------------------------------------------------------------- */

static MetSchema *
meet_schema(RecordDigester *digester, bool is_fingerprint, uint64 id)
{
	MetSchema  *met;
	MemoryContext old;
	ListCell   *cell;

	foreach(cell, digester->met)
	{
		met = lfirst(cell);
		if (met->id == id && met->is_fingerprint == is_fingerprint)
			return met;
	}
	old = MemoryContextSwitchTo(digester->cxt);
	met = palloc0(sizeof(MetSchema));
	met->is_fingerprint = is_fingerprint;
	met->id = id;
	met->text = digester->schema_text(digester->arg, is_fingerprint, id);
	digester->met = lcons(met, digester->met);
	MemoryContextSwitchTo(old);
	return met;
}

/*
 * Take the framing off.  NULL: there is none, or its schema is not known.
 */
static MetSchema *
read_frame(RecordDigester *digester, AvroReader *reader)
{
	size_t		len = reader->end - reader->p;
	MetSchema  *met;

	if (len >= 5 && reader->p[0] == 0)
	{
		uint32		id;

		memcpy(&id, reader->p + 1, sizeof(id));
		met = meet_schema(digester, false, pg_ntoh32(id));
		reader->p += 5;
	}
	else if (len >= 10 && reader->p[0] == 0xC3 && reader->p[1] == 0x01)
	{
		uint64		fingerprint = 0;

		for (int i = 0; i < 8; i++)
			fingerprint |= (uint64) reader->p[2 + i] << (8 * i);
		met = meet_schema(digester, true, fingerprint);
		reader->p += 10;
	}
	else
		return NULL;
	return met->text != NULL ? met : NULL;
}

static bool
is_string_key(const RecordDigester *digester)
{
	return digester->settings->key_format == RECORD_FORMAT_STRING;
}

/* The hash of a key that is JSON or text. */
static uint64
hash_bare_key(const RecordDigester *digester, const uint8 *data, size_t len)
{
	JsonPart	part = {(const char *) data, len};

	if (is_string_key(digester))
		return hash_text(data, len, 0);
	return hash_json_key(json_payload(part,
									  digester->settings->key_converter_schemas_enable));
}

/* A parsed schema of keys, lasting. */
static AvroNode *
key_node(RecordDigester *digester, MetSchema *met)
{
	MemoryContext old;

	if (met->node == NULL)
	{
		old = MemoryContextSwitchTo(digester->cxt);
		met->node = avro_schema_parse(met->text, strlen(met->text));
		MemoryContextSwitchTo(old);
	}
	return met->node;
}

static ValuePlan *
value_plan(RecordDigester *digester, MetSchema *met)
{
	MemoryContext old;

	if (met->plan == NULL)
	{
		old = MemoryContextSwitchTo(digester->cxt);
		met->plan = make_plan(digester, met->text);
		MemoryContextSwitchTo(old);
	}
	return met->plan;
}

static void
check_all_read(const AvroReader *reader)
{
	if (reader->p != reader->end)
		avro_read_failed();
}

static void
digest_key(RecordDigester *digester, const KafkaRecord *record,
		   RecordDigest *digest)
{
	AvroReader	reader = {record->key, record->key + record->key_len};

	if (digester->key_format == EVENT_FORMAT_AVRO)
	{
		MetSchema  *met = read_frame(digester, &reader);

		if (met == NULL)
			avro_read_failed();
		digest->key = hash_avro_key(key_node(digester, met), &reader);
		check_all_read(&reader);
	}
	else
		digest->key = hash_bare_key(digester, record->key, record->key_len);
	digest->has_key = true;
}

static void
digest_value(RecordDigester *digester, const KafkaRecord *record,
			 RecordDigest *digest)
{
	AvroReader	reader = {record->value, record->value + record->value_len};

	digest->effect = RECORD_SETS_ROW;
	if (digester->value_format == EVENT_FORMAT_AVRO)
	{
		MetSchema  *met = read_frame(digester, &reader);

		if (met == NULL)
			avro_read_failed();
		digest_avro_value(digester, value_plan(digester, met), &reader,
						  digest);
		check_all_read(&reader);
	}
	else
	{
		JsonPart	part = {(const char *) record->value, record->value_len};

		digest_json_value(digester, part, digest);
	}
}

/*
 * What is wrong with bytes or a schema that others wrote; other errors are
 * ours.
 */
static bool
is_unreadable(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_DATA_CORRUPTED ||
		sqlerrcode == ERRCODE_INVALID_TEXT_REPRESENTATION ||
		sqlerrcode == ERRCODE_STATEMENT_TOO_COMPLEX;
}

static void
start_digest(RecordDigester *digester, RecordDigest *digest)
{
	memset(digest, 0, sizeof(RecordDigest));
	memset(digester->hashes, 0, sizeof(uint64) * digester->ncolumns);
	digest->columns = digester->hashes;
}

/*
 * Do something with bytes that others wrote.  False if they cannot be read.
 */
static bool
try_to_read(RecordDigester *digester, const KafkaRecord *record,
			RecordDigest *digest,
			void (*function) (RecordDigester *digester,
							  const KafkaRecord *record,
							  RecordDigest *digest))
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool result = true;

	PG_TRY();
	{
		function(digester, record, digest);
	}
	PG_CATCH();
	{
		if (!is_unreadable(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(cxt);
		FlushErrorState();
		result = false;
	}
	PG_END_TRY();
	return result;
}

void
record_digest_key(RecordDigester *digester, const KafkaRecord *record,
				  RecordDigest *digest)
{
	start_digest(digester, digest);
	digest->order = record->timestamp_ms;
	if (record->key != NULL &&
		!try_to_read(digester, record, digest, digest_key))
		digest->effect = RECORD_UNREADABLE;
}

void
record_digest_value(RecordDigester *digester, const KafkaRecord *record,
					RecordDigest *digest)
{
	if (digest->effect == RECORD_UNREADABLE)
		return;
	if (record->value == NULL)
	{
		digest->effect = RECORD_REMOVES_ROW;
		digest->is_tombstone = true;
	}
	else if (!try_to_read(digester, record, digest, digest_value))
		digest->effect = RECORD_UNREADABLE;
}

void
record_digest_event_key(RecordDigester *digester, const Event *event,
						RecordDigest *digest)
{
	AvroReader	key = {event->key.data, event->key.data + event->key.len};

	start_digest(digester, digest);
	if (event->key.data == NULL)
		return;
	digest->has_key = true;
	digest->key = digester->key_format == EVENT_FORMAT_AVRO ?
		hash_avro_key(digester->event_key, &key) :
		hash_bare_key(digester, event->key.data, event->key.len);
}

void
record_digest_event_value(RecordDigester *digester, const Event *event,
						  RecordDigest *digest)
{
	const EventBytes *value = &event->value;
	AvroReader	reader = {value->data, value->data + value->len};
	JsonPart	part = {(const char *) value->data, value->len};

	digest->effect = RECORD_SETS_ROW;
	if (digester->value_format == EVENT_FORMAT_AVRO)
		digest_avro_value(digester, digester->event_plan, &reader, digest);
	else
		digest_json_value(digester, part, digest);
}

/* ---------------------------------------------------------------------
 * Setting up
 * --------------------------------------------------------------------- */

/*
 * Hashes of the placeholders, by way of a row that has nothing else: its
 * columns are those that can be TOASTed.
 */
static void
hash_placeholders(RecordDigester *digester, const RelationEntry *entry)
{
	SchemaField *fields = palloc0(sizeof(SchemaField) *
								  Max(digester->ncolumns, 1));
	EventTarget target = {0};
	Event		event = EVENT_INIT(EVENT_READ);
	AvroBuffer	buf;
	StringInfoData text;
	List	   *named = NIL;
	RecordDigest digest = {0};
	bool		envelope = digester->envelope;
	int			n = 0;

	avro_buffer_init(&buf, CurrentMemoryContext);
	event_start_bytes(&buf);
	for (int i = 0; i < digester->ncolumns; i++)
	{
		const RelationColumn *column = &entry->columns[i];

		if (!digester->columns[i].can_toast)
			continue;
		fields[n++] = column->field;
		if (column->value_branch != NO_BRANCH)
			avro_put_long(&buf, column->value_branch);
		type_map_put_unavailable(column->encoder, &buf);
	}
	if (n == 0)
		return;
	initStringInfo(&text);
	appendStringInfoString(&text, "{\"type\":\"record\",\"name\":\"Row\",\"fields\":[");
	avro_schema_append_fields(&text, "w", fields, n, &named);
	appendStringInfoString(&text, "]}");

	target.value.text = text.data;
	target.value.text_len = text.len;
	target.topic = target.schema_name = target.table_name = "";
	event.target = &target;
	event.value = event_finish_bytes(&buf);
	if (digester->value_format == EVENT_FORMAT_BARE)
		json_encode_event(json_encode_create(CurrentMemoryContext,
											 digester->settings), &event);

	/* that row has no envelope */
	digester->envelope = false;
	digester->event_plan = digester->value_format == EVENT_FORMAT_AVRO ?
		make_plan(digester, text.data) : NULL;
	record_digest_event_key(digester, &event, &digest);
	record_digest_event_value(digester, &event, &digest);
	digester->envelope = envelope;
	for (int i = 0; i < digester->ncolumns; i++)
		digester->columns[i].placeholder = digest.columns[i];
}

/* Names, and what each column is in the schema of now. */
static void
take_columns(RecordDigester *digester, const RelationEntry *entry)
{
	json_t	   *fields = NULL;
	OwnedJson  *owner = owned_json();

	owner->value = json_loads(entry->target.value.text, 0, NULL);
	fields = row_fields(owner->value);
	digester->ncolumns = entry->ncolumns;
	digester->columns = palloc0(sizeof(DigestColumn) *
								Max(entry->ncolumns, 1));
	digester->hashes = palloc0(sizeof(uint64) * Max(entry->ncolumns, 1));
	for (int i = 0; i < entry->ncolumns; i++)
	{
		DigestColumn *column = &digester->columns[i];
		const char *name = entry->columns[i].field.name;
		json_t	   *field = find_field(fields, name);
		StringInfoData quoted;

		column->name = pstrdup(name);
		initStringInfo(&quoted);
		avro_schema_append_string(&quoted, name, strlen(name));
		quoted.data[quoted.len - 1] = '\0';
		column->json_name = quoted.data + 1;
		column->can_toast = type_map_can_toast(entry->columns[i].encoder) &&
			entry->columns[i].encoder->transform == NULL;

		/* never given back: one digester is made in a process */
		column->type = field != NULL ? bare_type(field) : NULL;
	}
}

RecordDigester *
record_digester_create(MemoryContext cxt, const Settings *settings,
					   const RelationEntry *entry,
					   SchemaTextFunc schema_text, void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	RecordDigester *digester = palloc0(sizeof(RecordDigester));

	digester->cxt = cxt;
	digester->settings = settings;
	digester->schema_text = schema_text;
	digester->arg = arg;
	digester->key_format = json_encode_format(settings, true);
	digester->value_format = json_encode_format(settings, false);
	digester->envelope = entry->shape == SHAPE_ENVELOPE;
	digester->only_own = entry->shares_topic;
	digester->schema_name =
		pstrdup(relation_map_utf8(entry->target.schema_name));
	digester->table_name =
		pstrdup(relation_map_utf8(entry->target.table_name));
	digester->versions = list_make1(NULL);	/* version 0 lacks nothing */
	take_columns(digester, entry);
	hash_placeholders(digester, entry);

	digester->event_plan = make_plan(digester, entry->target.value.text);
	if (entry->target.key.text != NULL)
		digester->event_key = avro_schema_parse(entry->target.key.text,
												entry->target.key.text_len);
	MemoryContextSwitchTo(old);
	return digester;
}

int
record_digester_ncolumns(const RecordDigester *digester)
{
	return digester->ncolumns;
}

bool
record_digester_has(const RecordDigester *digester, int version, int column)
{
	return !bms_is_member(column, list_nth(digester->versions, version));
}

uint64
record_digester_placeholder(const RecordDigester *digester, int column)
{
	return digester->columns[column].placeholder;
}

/* ---------------------------------------------------------------------
 * For people
 * --------------------------------------------------------------------- */

static char *
avro_key_text(const char *text, const uint8 *data, size_t len)
{
	EventSchema schema = {0};
	StringInfoData out;

	schema.text = unconstify(char *, text);
	schema.text_len = strlen(text);
	initStringInfo(&out);
	event_serialize_datum(&out, &schema, data, len);
	return foreign_text(out.data, MAX_TEXT);
}

/*
 * A key that is JSON or text.  What is not as it should be is shown as it is.
 */
static char *
bare_key_text(RecordDigester *digester, const uint8 *data, size_t len)
{
	MemoryContext cxt = CurrentMemoryContext;
	JsonPart	whole = {(const char *) data, len};
	volatile JsonPart part = whole;

	if (!is_string_key(digester))
	{
		PG_TRY();
		{
			JsonPart	payload =
				json_payload(whole,
							 digester->settings->key_converter_schemas_enable);

			part.data = payload.data;
			part.len = payload.len;
		}
		PG_CATCH();
		{
			if (!is_unreadable(geterrcode()))
				PG_RE_THROW();
			MemoryContextSwitchTo(cxt);
			FlushErrorState();
		}
		PG_END_TRY();
	}
	return foreign_text(pnstrdup(part.data, part.len), MAX_TEXT);
}

char *
record_digester_key_text(RecordDigester *digester, const KafkaRecord *record)
{
	AvroReader	reader = {record->key, record->key + record->key_len};
	MemoryContext cxt = CurrentMemoryContext;
	char	   *volatile result = NULL;

	if (record->key == NULL)
		return pstrdup("null");
	if (digester->key_format == EVENT_FORMAT_BARE)
		return bare_key_text(digester, record->key, record->key_len);
	PG_TRY();
	{
		MetSchema  *met = read_frame(digester, &reader);

		if (met != NULL)
			result = avro_key_text(met->text, reader.p,
								   reader.end - reader.p);
	}
	PG_CATCH();
	{
		if (!is_unreadable(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(cxt);
		FlushErrorState();
	}
	PG_END_TRY();
	return result != NULL ? result : pstrdup("(unreadable)");
}

char *
record_digester_event_key_text(RecordDigester *digester, const Event *event)
{
	if (event->key.data == NULL)
		return pstrdup("null");
	if (digester->key_format == EVENT_FORMAT_BARE)
		return bare_key_text(digester, event->key.data, event->key.len);
	return avro_key_text(event->target->key.text, event->key.data,
						 event->key.len);
}

char *
record_digester_differing(RecordDigester *digester, const KafkaRecord *record,
						  const uint64 *row)
{
	RecordDigest digest;
	StringInfoData names;

	record_digest_key(digester, record, &digest);
	record_digest_value(digester, record, &digest);
	if (digest.effect == RECORD_UNREADABLE)
		return pstrdup("(unreadable)");
	initStringInfo(&names);
	for (int i = 0; i < digester->ncolumns; i++)
	{
		uint64		hash = digest.columns[i];

		if (hash != 0 && hash != row[i] &&
			hash != digester->columns[i].placeholder)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 digester->columns[i].name);
	}
	return foreign_text(names.data, MAX_TEXT);
}
