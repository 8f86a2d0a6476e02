/*
 * partition_routing.c
 *		Partitions chosen by values of the row, as Debezium's PartitionRouting
 *		does.
 *
 * Debezium adds up the hash codes of Java's objects.  Which object a value
 * would be is told by its Avro schema, so a value is encoded, as for the
 * event, and the bytes are hashed by that schema.  Structures have no hash
 * code in Java that is the same after a restart; ours is that of a list of
 * their fields.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "avro_schema.h"
#include "java_hash.h"
#include "partition_routing.h"
#include "preload/shared_state.h"
#include "type_map.h"

#define CONNECT_DATE	"\"connect.name\":\"org.apache.kafka.connect.data.Date\""
#define MS_PER_DAY		INT64CONST(86400000)

typedef enum FieldKind
{
	FIELD_BEFORE,				/* a column of the row */
	FIELD_AFTER,
	FIELD_CHANGE,				/* before of a delete, else after */
	FIELD_OP,
	FIELD_SOURCE,
} FieldKind;

/* What source.NAME is. */
typedef enum SourceField
{
	SOURCE_CONNECTOR,
	SOURCE_DB,
	SOURCE_LSN,
	SOURCE_NAME,
	SOURCE_SCHEMA,
	SOURCE_TABLE,
	SOURCE_TXID,
	SOURCE_VERSION,
} SourceField;

static const char *const source_names[] = {
	[SOURCE_CONNECTOR] = "connector",
	[SOURCE_DB] = "db",
	[SOURCE_LSN] = "lsn",
	[SOURCE_NAME] = "name",
	[SOURCE_SCHEMA] = "schema",
	[SOURCE_TABLE] = "table",
	[SOURCE_TXID] = "txId",
	[SOURCE_VERSION] = "version",
};

typedef struct RoutingField
{
	FieldKind	kind;
	SourceField source;
	const char *column;			/* field's name */
	char	  **inner;			/* fields within it */
	int			ninner;
} RoutingField;

struct PartitionRouting
{
	const char *name;
	const char *database;
	int			partitions;
	PartitionHash hash;
	int			nfields;
	RoutingField *fields;
	AvroBuffer	buf;
};

/* A field, found in one relation. */
typedef struct PlanField
{
	const RoutingField *field;
	const RelationColumn *column;	/* NULL: none, or it is no column */
	const AvroNode *node;		/* of the column's type */
	int		   *inner;			/* indexes of fields within it */
	bool		has_dates;		/* java.util.Date is a time in ms */
	bool		is_constant;
	uint32		constant;		/* hash */
} PlanField;

struct PartitionPlan
{
	PartitionRouting *routing;
	int			nfields;
	PlanField  *fields;
};

/* Bytes that are being read; what we encoded ourselves is well-formed. */
typedef struct HashInput
{
	const uint8 *p;
	const uint8 *end;
	PartitionHash hash;
	bool		has_dates;
} HashInput;

/* ---- the setting ---- */

/*
 * One item: words separated by dots.  Its syntax was checked when it was set.
 */
static void
parse_field(RoutingField *field, char *item)
{
	static const char *const kinds[] = {
		[FIELD_BEFORE] = "before",
		[FIELD_AFTER] = "after",
		[FIELD_CHANGE] = "change",
		[FIELD_OP] = "op",
		[FIELD_SOURCE] = "source",
	};
	char	   *words[16];
	int			nwords = 0;
	char	   *rest;

	for (char *word = strtok_r(item, ".", &rest);
		 word != NULL && nwords < lengthof(words);
		 word = strtok_r(NULL, ".", &rest))
	{
		size_t		len;

		word += strspn(word, " \t\r\n");
		len = strlen(word);
		while (len > 0 && strchr(" \t\r\n", word[len - 1]) != NULL)
			len--;
		words[nwords++] = pnstrdup(word, len);
	}
	for (int i = 0; i < lengthof(kinds); i++)
		if (nwords > 0 && strcmp(words[0], kinds[i]) == 0)
			field->kind = i;
	if (nwords < 2)
		return;
	field->column = words[1];
	for (int i = 0; i < lengthof(source_names); i++)
		if (strcmp(words[1], source_names[i]) == 0)
			field->source = i;
	field->ninner = nwords - 2;
	field->inner = palloc(sizeof(char *) * lengthof(words));
	memcpy(field->inner, words + 2, sizeof(char *) * field->ninner);
}

PartitionRouting *
partition_routing_create(MemoryContext cxt, const Settings *settings,
						 const char *name, const char *database)
{
	MemoryContext old;
	PartitionRouting *routing;
	char	   *text;
	char	   *rest;
	int			count = 1;

	if (settings->partition_payload_fields[0] == '\0')
		return NULL;
	if (settings->partition_topic_num == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is set without \"%s\"",
						"wal2kafka.partition_payload_fields",
						"wal2kafka.partition_topic_num"),
				 errhint("Set it to the number of partitions of the topics.")));

	old = MemoryContextSwitchTo(cxt);
	routing = palloc0(sizeof(PartitionRouting));
	routing->name = pstrdup(name);
	routing->database = pstrdup(database);
	routing->partitions = settings->partition_topic_num;
	routing->hash = settings->partition_hash_function;
	text = pstrdup(relation_map_utf8(settings->partition_payload_fields));
	for (const char *p = text; *p != '\0'; p++)
		count += *p == ',';
	routing->fields = palloc0(count * sizeof(RoutingField));
	for (char *item = strtok_r(text, ",", &rest); item != NULL;
		 item = strtok_r(NULL, ",", &rest))
		parse_field(&routing->fields[routing->nfields++], item);
	avro_buffer_init(&routing->buf, cxt);
	MemoryContextSwitchTo(old);
	return routing;
}

/* ---- hashing ---- */

static int64
read_long(HashInput *input)
{
	uint64		n = 0;
	int			shift = 0;

	while (input->p < input->end)
	{
		uint8		byte = *input->p++;

		n |= (uint64) (byte & 0x7F) << shift;
		shift += 7;
		if ((byte & 0x80) == 0)
			break;
	}
	return (int64) (n >> 1) ^ -(int64) (n & 1);
}

static const uint8 *
read_bytes(HashInput *input, size_t *len)
{
	const uint8 *bytes;

	*len = (size_t) read_long(input);
	bytes = input->p;
	input->p += *len;
	return bytes;
}

/* Little-endian. */
static uint64
read_bits(HashInput *input, int size)
{
	uint64		bits = 0;

	for (int i = 0; i < size; i++)
		bits |= (uint64) input->p[i] << (8 * i);
	input->p += size;
	return bits;
}

static uint32 hash_code(HashInput *input, const AvroNode *node);

/* A list, block by block; of nulls the code is 0. */
static uint32
hash_array(HashInput *input, const AvroNode *element)
{
	uint32		hash = 1;
	int64		count;

	while ((count = read_long(input)) != 0)
	{
		if (count < 0)
		{
			(void) read_long(input);
			count = -count;
		}
		while (count-- > 0)
			hash = 31 * hash + hash_code(input, element);
	}
	return hash;
}

static uint32
hash_map(HashInput *input, const AvroNode *element)
{
	uint32		hash = 0;
	int64		count;

	while ((count = read_long(input)) != 0)
	{
		if (count < 0)
		{
			(void) read_long(input);
			count = -count;
		}
		while (count-- > 0)
		{
			size_t		len;
			const uint8 *key = read_bytes(input, &len);

			hash += java_hash_string((const char *) key, len) ^
				hash_code(input, element);
		}
	}
	return hash;
}

/*
 * The hash code of Java's object, reading past the value.
 */
static uint32
hash_code(HashInput *input, const AvroNode *node)
{
	const uint8 *bytes;
	size_t		len;
	uint32		hash = 1;
	uint32		bits32;
	uint64		bits64;
	float		single;
	double		number;

	switch (node->kind)
	{
		case AVRO_KIND_NULL:
			return 0;
		case AVRO_KIND_BOOLEAN:
			return java_hash_boolean(*input->p++ != 0);
		case AVRO_KIND_INT:
			if (input->has_dates)
				return java_hash_long(read_long(input) * MS_PER_DAY);
			return (uint32) read_long(input);
		case AVRO_KIND_LONG:
			return java_hash_long(read_long(input));
		case AVRO_KIND_FLOAT:
			bits32 = (uint32) read_bits(input, sizeof(bits32));
			memcpy(&single, &bits32, sizeof(single));
			return java_hash_float(single);
		case AVRO_KIND_DOUBLE:
			bits64 = read_bits(input, sizeof(bits64));
			memcpy(&number, &bits64, sizeof(number));
			return java_hash_double(number);
		case AVRO_KIND_BYTES:
			bytes = read_bytes(input, &len);
			return node->decimal ?
				java_hash_decimal(bytes, len, node->scale) :
				java_hash_bytes(bytes, len);
		case AVRO_KIND_STRING:
			bytes = read_bytes(input, &len);
			return java_hash_string((const char *) bytes, len);
		case AVRO_KIND_RECORD:
			for (int i = 0; i < node->nchildren; i++)
				hash = 31 * hash + hash_code(input, node->children[i]);
			return hash;
		case AVRO_KIND_ARRAY:
			return hash_array(input, node->children[0]);
		case AVRO_KIND_MAP:
			return hash_map(input, node->children[0]);
		case AVRO_KIND_UNION:
			return hash_code(input, node->children[read_long(input)]);
	}
	return 0;
}

/*
 * The hash of one value of the field: of a string by its text, of all else by
 * its hash code.
 */
static bool
hash_value(HashInput *input, const AvroNode *node, uint32 *hash)
{
	while (node->kind == AVRO_KIND_UNION)
		node = node->children[read_long(input)];
	if (node->kind == AVRO_KIND_NULL)
		return false;
	if (input->hash == PARTITION_HASH_MURMUR)
	{
		if (node->kind == AVRO_KIND_STRING)
		{
			size_t		len;
			const uint8 *bytes = read_bytes(input, &len);

			*hash = java_murmur_string((const char *) bytes, len);
		}
		else
			*hash = java_murmur_code((int32) hash_code(input, node));
	}
	else
		*hash = hash_code(input, node);
	return true;
}

/*
 * The same for what the field names within the value, which is at the input.
 */
static bool
hash_inner(HashInput *input, const AvroNode *node, const PlanField *field,
		   uint32 *hash)
{
	for (int i = 0; i < field->field->ninner; i++)
	{
		while (node->kind == AVRO_KIND_UNION)
			node = node->children[read_long(input)];
		if (node->kind != AVRO_KIND_RECORD)
			return false;
		for (int j = 0; j < field->inner[i]; j++)
			(void) hash_code(input, node->children[j]);
		node = node->children[field->inner[i]];
	}
	return hash_value(input, node, hash);
}

static uint32
hash_text(const PartitionRouting *routing, const char *text)
{
	return routing->hash == PARTITION_HASH_MURMUR ?
		java_murmur_string(text, strlen(text)) :
		java_hash_string(text, strlen(text));
}

static uint32
hash_long(const PartitionRouting *routing, int64 value)
{
	int32		code = java_hash_long(value);

	return routing->hash == PARTITION_HASH_MURMUR ?
		java_murmur_code(code) : code;
}

/* ---- a relation ---- */

/*
 * Find the fields within the column's type.  False where there are none of
 * that name.
 */
static bool
find_inner(PlanField *field)
{
	const AvroNode *node = field->node;
	int			ninner = field->field->ninner;

	field->inner = palloc(sizeof(int) * Max(ninner, 1));
	for (int i = 0; i < ninner; i++)
	{
		int			found = -1;

		if (node->kind == AVRO_KIND_UNION)
			node = node->children[node->children[0]->kind == AVRO_KIND_NULL ?
								  1 : 0];
		if (node->kind == AVRO_KIND_RECORD)
			for (int j = 0; j < node->nchildren; j++)
				if (strcmp(node->names[j], field->field->inner[i]) == 0)
					found = j;
		if (found < 0)
			return false;
		field->inner[i] = found;
		node = node->children[found];
	}
	return true;
}

/*
 * False: the relation has no such column.
 */
static bool
plan_column(PlanField *field, const RelationEntry *entry)
{
	StringInfoData schema;
	List	   *named = NIL;

	field->column = relation_map_column(entry, field->field->column);
	if (field->column == NULL)
		return false;
	initStringInfo(&schema);
	type_map_append_schema(&schema, field->column->encoder, NULL, "", &named);
	field->node = avro_schema_parse(schema.data, schema.len);
	field->has_dates = strstr(schema.data, CONNECT_DATE) != NULL;
	pfree(schema.data);
	return find_inner(field);
}

static void
plan_source(PlanField *field, const PartitionRouting *routing,
			const RelationEntry *entry)
{
	const char *text = NULL;

	switch (field->field->source)
	{
		case SOURCE_CONNECTOR:
			text = "postgresql";
			break;
		case SOURCE_DB:
			text = routing->database;
			break;
		case SOURCE_NAME:
			text = routing->name;
			break;
		case SOURCE_SCHEMA:
			text = relation_map_utf8(entry->target.schema_name);
			break;
		case SOURCE_TABLE:
			text = relation_map_utf8(entry->target.table_name);
			break;
		case SOURCE_VERSION:
			text = WAL2KAFKA_VERSION;
			break;
		case SOURCE_LSN:
		case SOURCE_TXID:
			return;
	}
	field->is_constant = true;
	field->constant = hash_text(routing, text);
}

PartitionPlan *
partition_plan_create(PartitionRouting *routing, const RelationEntry *entry)
{
	PartitionPlan *plan = palloc0(sizeof(PartitionPlan));

	plan->routing = routing;
	plan->fields = palloc0(routing->nfields * sizeof(PlanField));
	for (int i = 0; i < routing->nfields; i++)
	{
		PlanField  *field = &plan->fields[plan->nfields];

		memset(field, 0, sizeof(*field));
		field->field = &routing->fields[i];
		switch (field->field->kind)
		{
			case FIELD_BEFORE:
			case FIELD_AFTER:
			case FIELD_CHANGE:
				if (!plan_column(field, entry))
					continue;
				break;
			case FIELD_SOURCE:
				plan_source(field, routing, entry);
				break;
			case FIELD_OP:
				break;
		}
		plan->nfields++;
	}
	return plan;
}

/* ---- a change ---- */

/*
 * Encode the column's value.  False: it is null.  A null for which the schema
 * has a default counts as that, as it does to Connect.
 */
static bool
encode_column(const RelationColumn *column, TupleTableSlot *slot,
			  bool key_only, AvroBuffer *buf)
{
	int			index = column->attnum - 1;
	Datum		value = slot->tts_values[index];

	/* a mask stands for whatever there is */
	if (column->encoder->constant)
		column->encoder->encode(column->encoder, value, buf);
	else if ((key_only && !column->in_identity) || slot->tts_isnull[index])
	{
		const char *default_json = column->field.annotations.default_json;

		if (default_json == NULL && column->value_branch != NO_BRANCH)
			return false;
		type_map_put_fallback(column->encoder, default_json, buf);
	}
	else if (type_map_can_toast(column->encoder) &&
			 VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		type_map_put_unavailable(column->encoder, buf);
	else
		column->encoder->encode(column->encoder, value, buf);
	return true;
}

static bool
hash_column(const PartitionPlan *plan, const PlanField *field,
			const Event *event, const RowChange *change, uint32 *hash)
{
	AvroBuffer *buf = &plan->routing->buf;
	bool		before = field->field->kind == FIELD_BEFORE ||
		(field->field->kind == FIELD_CHANGE && event->kind == EVENT_DELETE);
	TupleTableSlot *slot = before ? change->before : change->after;
	HashInput	input;

	if (slot == NULL)
		return false;
	avro_buffer_restart(buf);
	if (!encode_column(field->column, slot,
					   before && change->before_is_key_only, buf))
		return false;
	input.p = buf->data;
	input.end = buf->data + buf->len;
	input.hash = plan->routing->hash;
	input.has_dates = field->has_dates;
	return hash_inner(&input, field->node, field, hash);
}

static bool
hash_source(const PartitionPlan *plan, const PlanField *field,
			const Event *event, uint32 *hash)
{
	if (field->is_constant)
		*hash = field->constant;
	else if (field->field->source == SOURCE_LSN)
		*hash = hash_long(plan->routing, (int64) event->lsn);
	else if (event->txn != NULL)
		*hash = hash_long(plan->routing, event->txn->xid);
	else
		return false;
	return true;
}

int32
partition_plan_choose(const PartitionPlan *plan, const Event *event,
					  const RowChange *change)
{
	uint32		total = 0;
	bool		any = false;

	for (int i = 0; i < plan->nfields; i++)
	{
		const PlanField *field = &plan->fields[i];
		uint32		hash = 0;
		bool		found = false;

		switch (field->field->kind)
		{
			case FIELD_BEFORE:
			case FIELD_AFTER:
			case FIELD_CHANGE:
				found = hash_column(plan, field, event, change, &hash);
				break;
			case FIELD_OP:
				found = true;
				hash = hash_text(plan->routing, event_kinds[event->kind].op);
				break;
			case FIELD_SOURCE:
				found = hash_source(plan, field, event, &hash);
				break;
		}
		total += found ? hash : 0;
		any |= found;
	}
	if (!any)
		return EVENT_PARTITION_BY_KEY;
	total &= INT_MAX;
	return total == INT_MAX ? 0 : total % plan->routing->partitions;
}
