/*
 * column_transform.c
 *		Masks, hashes and truncation of columns, and what their schemas say of
 *		their source.
 *
 * A transform stands around the column's own encoder: that one writes the
 * plain value into a buffer of the transform's, from which the value that is
 * sent is made.  Columns without a transform know nothing of all this.
 *
 * Debezium has one rule for a column, the first that matches in the order
 * truncation, mask, source type, hash.  Here the strongest transform applies,
 * and what is propagated is propagated beside it: a column that is hashed in
 * clear text because its type is propagated too would be a surprise.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "column_transform.h"
#include "options.h"
#include "preload/regex_list.h"
#include "preload/transform_list.h"

#define SETTING			"wal2kafka.column_transforms"
#define FILE_SETTING	"wal2kafka.column_transforms_file"

#define MAX_DIGEST_LENGTH	64	/* SHA-512 */

/* Columns that were warned of, as many as are remembered. */
#define MAX_WARNED			1000

/* For people.  The names of entries themselves may hold a secret. */
static const char *const kind_names[] = {
	[TRANSFORM_MASK] = "mask",
	[TRANSFORM_HASH_V2] = "hash",
	[TRANSFORM_HASH_V1] = "hash",
	[TRANSFORM_TRUNCATE] = "truncation",
};

typedef struct TransformRule
{
	TransformSpec spec;
	const char *setting;		/* that has it */
	RegexList  *columns;
} TransformRule;

struct ColumnTransforms
{
	MemoryContext context;
	List	   *warned;			/* char *: schema.table.column */
	int			nrules;
	TransformRule *rules;		/* the strongest first */
	RegexList  *propagated_columns;
	RegexList  *propagated_types;
};

/* What a transforming encoder has; in TypeEncoder.cache. */
typedef struct TransformState
{
	TransformSpec spec;
	int			limit;			/* hashes: characters; 0: all */
	AvroBuffer	plain;
} TransformState;

/* ---------------------------------------------------------------------
 * Values
 * --------------------------------------------------------------------- */

/* An Avro string or bytes: what is behind the length. */
static const uint8 *
read_bytes(const AvroBuffer *buf, size_t *len)
{
	const uint8 *p = buf->data;
	uint64		n = 0;
	int			shift = 0;

	do
	{
		n |= (uint64) (*p & 0x7F) << shift;
		shift += 7;
	} while (*p++ & 0x80);

	*len = n >> 1;				/* never negative, so no zig-zag */
	return p;
}

static void
put_mask(TypeEncoder *encoder, const AvroBuffer *plain, AvroBuffer *buf)
{
	TransformState *state = encoder->cache;

	avro_put_long(buf, state->spec.length);
	avro_buffer_reserve(buf, state->spec.length);
	memset(buf->data + buf->len, '*', state->spec.length);
	buf->len += state->spec.length;
}

static void
encode_mask(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_mask(encoder, NULL, buf);
}

static void
update_hash(pg_cryptohash_ctx *ctx, const uint8 *data, size_t len)
{
	if (pg_cryptohash_update(ctx, data, len) < 0)
		elog(ERROR, "could not compute a hash");
}

/*
 * A string as Java's ObjectOutputStream writes it: stream header, kind of
 * object, length, and its UTF-16 units each in UTF-8 of its own.
 */
static void
update_with_java_string(pg_cryptohash_ctx *ctx, const uint8 *text, size_t len)
{
	uint8		header[13] = {0xAC, 0xED, 0x00, 0x05};
	uint8	   *units = palloc_extended(len + len / 2 + 1, MCXT_ALLOC_HUGE);
	size_t		n = 0;
	int			header_len;

	for (size_t i = 0; i < len;)
	{
		int			length = pg_utf_mblen(text + i);

		if (length == 4)
		{
			pg_wchar	c = utf8_to_unicode(text + i) - 0x10000;
			pg_wchar	pair[2] = {0xD800 + (c >> 10), 0xDC00 + (c & 0x3FF)};

			for (int j = 0; j < 2; j++)
			{
				units[n++] = 0xE0 | (pair[j] >> 12);
				units[n++] = 0x80 | ((pair[j] >> 6) & 0x3F);
				units[n++] = 0x80 | (pair[j] & 0x3F);
			}
		}
		else
		{
			memcpy(units + n, text + i, length);
			n += length;
		}
		i += length;
	}

	header_len = 5;
	if (n <= PG_UINT16_MAX)
		header[4] = 0x74;
	else
	{
		header[4] = 0x7C;
		for (int shift = 56; shift >= 16; shift -= 8)
			header[header_len++] = (uint8) ((uint64) n >> shift);
	}
	header[header_len++] = (uint8) (n >> 8);
	header[header_len++] = (uint8) n;
	update_hash(ctx, header, header_len);
	update_hash(ctx, units, n);
	pfree(units);
}

static void
put_hash(TypeEncoder *encoder, const AvroBuffer *plain, AvroBuffer *buf)
{
	TransformState *state = encoder->cache;
	const TransformSpec *spec = &state->spec;
	uint8		digest[MAX_DIGEST_LENGTH];
	char		text[2 * MAX_DIGEST_LENGTH];
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(spec->algorithm);
	size_t		len;
	const uint8 *bytes = read_bytes(plain, &len);
	int			text_len = 2 * spec->digest_len;

	/* freed with the transaction if there is an error */
	if (ctx == NULL || pg_cryptohash_init(ctx) < 0)
		elog(ERROR, "could not start a hash");
	update_hash(ctx, (const uint8 *) spec->salt, spec->salt_len);
	if (spec->kind == TRANSFORM_HASH_V1)
		update_with_java_string(ctx, bytes, len);
	else
		update_hash(ctx, bytes, len);
	if (pg_cryptohash_final(ctx, digest, spec->digest_len) < 0)
		elog(ERROR, "could not finish a hash");
	pg_cryptohash_free(ctx);

	hex_encode((const char *) digest, spec->digest_len, text);
	if (state->limit > 0 && text_len > state->limit)
		text_len = state->limit;
	avro_put_bytes(buf, text, text_len);
}

/*
 * How many bytes the first UTF-16 units of a text take.  A character of two
 * that does not fit whole is left out; Java would cut it in half.
 */
static size_t
prefix_length(const uint8 *text, size_t len, int nunits)
{
	size_t		i = 0;

	while (i < len)
	{
		int			length = pg_utf_mblen(text + i);

		nunits -= length == 4 ? 2 : 1;
		if (nunits < 0)
			break;
		i += length;
	}
	return i;
}

static void
put_truncated_text(TypeEncoder *encoder, const AvroBuffer *plain,
				   AvroBuffer *buf)
{
	TransformState *state = encoder->cache;
	size_t		len;
	const uint8 *text = read_bytes(plain, &len);

	avro_put_bytes(buf, text, prefix_length(text, len, state->spec.length));
}

static void
put_truncated_bytes(TypeEncoder *encoder, const AvroBuffer *plain,
					AvroBuffer *buf)
{
	TransformState *state = encoder->cache;
	size_t		len;
	const uint8 *bytes = read_bytes(plain, &len);

	avro_put_bytes(buf, bytes, Min(len, (size_t) state->spec.length));
}

static void
encode_transformed(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	TransformState *state = encoder->cache;

	avro_buffer_restart(&state->plain);
	encoder->plain->encode(encoder->plain, value, &state->plain);
	encoder->transform(encoder, &state->plain, buf);
}

/* ---------------------------------------------------------------------
 * Rules
 * --------------------------------------------------------------------- */

static void
add_rules(ColumnTransforms *transforms, MemoryContext cxt,
		  const char *setting, const OptionList *options)
{
	char		reason[512];

	for (int i = 0; i < options->count; i++)
	{
		TransformRule *rule = &transforms->rules[transforms->nrules];
		char	   *salt;

		if (!transform_spec_parse(options->options[i].name, &rule->spec,
								  reason, sizeof(reason)))
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("invalid entry %d of \"%s\"", i + 1, setting),
					 errdetail("%s", reason)));
		if (rule->spec.salt != NULL)
		{
			salt = MemoryContextStrdup(cxt, rule->spec.salt);
			rule->spec.salt = salt;
		}
		rule->setting = setting;
		rule->columns = regex_list_compile(cxt, options->options[i].value);
		if (rule->columns == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("entry %d of \"%s\" names no column", i + 1,
							setting)));
		transforms->nrules++;
	}
}

static int
compare_rules(const void *a, const void *b)
{
	const TransformRule *x = a;
	const TransformRule *y = b;

	return (int) x->spec.kind - (int) y->spec.kind;
}

ColumnTransforms *
column_transforms_create(MemoryContext cxt, const Settings *settings)
{
	OptionList	here = options_parse(SETTING, settings->column_transforms);
	OptionList	file = options_read_file(FILE_SETTING,
										 settings->column_transforms_file);
	ColumnTransforms *transforms =
		MemoryContextAllocZero(cxt, sizeof(ColumnTransforms));

	transforms->context = cxt;
	transforms->rules =
		MemoryContextAllocZero(cxt, Max(here.count + file.count, 1) *
							   sizeof(TransformRule));
	PG_TRY();
	{
		add_rules(transforms, cxt, SETTING, &here);
		add_rules(transforms, cxt, FILE_SETTING, &file);
	}
	PG_FINALLY();
	{
		options_wipe(&here);
		options_wipe(&file);
	}
	PG_END_TRY();
	qsort(transforms->rules, transforms->nrules, sizeof(TransformRule),
		  compare_rules);

	transforms->propagated_columns =
		regex_list_compile(cxt, settings->column_propagate_source_type);
	transforms->propagated_types =
		regex_list_compile(cxt, settings->datatype_propagate_source_type);
	if (transforms->nrules == 0 && transforms->propagated_columns == NULL &&
		transforms->propagated_types == NULL)
		return NULL;
	return transforms;
}

/* ---------------------------------------------------------------------
 * Columns
 * --------------------------------------------------------------------- */

static void
add_parameter(TypeAnnotations *annotations, const char *name,
			  const char *value)
{
	int			n = annotations->nparameters;

	annotations->parameters = n == 0 ? palloc(2 * sizeof(char *)) :
		repalloc(annotations->parameters, 2 * (n + 1) * sizeof(char *));
	annotations->parameters[2 * n] = pstrdup(name);
	annotations->parameters[2 * n + 1] = pstrdup(value);
	annotations->nparameters++;
}

/* As Java does for names in English. */
static char *
upper_case(const char *name)
{
	char	   *result = pstrdup(name);

	for (char *p = result; *p != '\0'; p++)
		*p = pg_ascii_toupper((unsigned char) *p);
	return result;
}

static void
add_source(TypeAnnotations *annotations, const TransformColumn *column)
{
	const SourceType *source = &column->source;

#define PARAMETER(name)		"__debezium.source.column." name
	add_parameter(annotations, PARAMETER("type"), upper_case(source->name));
	if (source->length != SOURCE_TYPE_UNSET)
		add_parameter(annotations, PARAMETER("length"),
					  psprintf("%d", source->length));
	add_parameter(annotations, PARAMETER("scale"),
				  psprintf("%d", source->scale));
	if (column->comment != NULL && column->comment[0] != '\0')
		add_parameter(annotations, PARAMETER("comment"), column->comment);
	add_parameter(annotations, PARAMETER("name"), column->column);
#undef PARAMETER
}

/*
 * Relations are looked at again after each VACUUM: was this column warned of?
 */
static bool
is_known(ColumnTransforms *transforms, const char *name)
{
	ListCell   *cell;
	MemoryContext old;

	foreach(cell, transforms->warned)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	if (list_length(transforms->warned) < MAX_WARNED)
	{
		old = MemoryContextSwitchTo(transforms->context);
		transforms->warned = lappend(transforms->warned, pstrdup(name));
		MemoryContextSwitchTo(old);
	}
	return false;
}

/*
 * Debezium masks neither keys nor what is no string.  Neither do we, but not
 * in silence.
 */
static void
warn_of_clear_text(ColumnTransforms *transforms, const TransformRule *rule,
				   const TransformColumn *column, const char *name,
				   bool is_string)
{
	const char *kind = kind_names[rule->spec.kind];

	if ((is_string && !column->is_key) || is_known(transforms, name))
		return;
	if (!is_string)
		ereport(WARNING,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of table \"%s.%s\" is sent in clear text, although there is a %s for it",
						column->column, column->schema, column->table, kind),
				 errdetail("Only strings can be masked; its type is %s.",
						   column->source.name),
				 errhint("Let the expression in \"%s\" match no such column, or leave the column out with \"wal2kafka.column_exclude_list\".",
						 rule->setting)));
	else
		ereport(WARNING,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("keys of table \"%s.%s\" have column \"%s\" in clear text, although there is a %s for it",
						column->schema, column->table, column->column, kind),
				 errdetail("Only values of records are masked."),
				 errhint("Let the expression in \"%s\" match no key column, or key the table by others with \"wal2kafka.message_key_columns\".",
						 rule->setting)));
}

static TypeEncoder *
wrap(TypeEncoder *plain, const TransformSpec *spec, TypeTransformFunc transform)
{
	TypeEncoder *encoder = palloc(sizeof(TypeEncoder));
	TransformState *state = palloc0(sizeof(TransformState));

	*encoder = *plain;
	encoder->plain = plain;
	encoder->transform = transform;
	encoder->encode = encode_transformed;
	encoder->cache = state;
	state->spec = *spec;
	if (spec->kind == TRANSFORM_MASK)
	{
		encoder->encode = encode_mask;
		encoder->constant = true;
		encoder->typlen = 0;	/* nobody needs to look how large it is */
	}
	else
		avro_buffer_init(&state->plain, CurrentMemoryContext);
	return encoder;
}

static TypeEncoder *
apply_rule(ColumnTransforms *transforms, const TransformRule *rule,
		   const TransformColumn *column, const char *name,
		   TypeEncoder *plain, TypeAnnotations *annotations)
{
	const TransformSpec *spec = &rule->spec;
	const SourceType *source = &column->source;
	bool		is_string = type_map_is_string(plain);
	TypeEncoder *encoder;

	switch (spec->kind)
	{
		case TRANSFORM_MASK:
			add_parameter(annotations, "masked", "true");
			warn_of_clear_text(transforms, rule, column, name, is_string);
			if (!is_string)
				return plain;
			return wrap(plain, spec, put_mask);
		case TRANSFORM_HASH_V2:
		case TRANSFORM_HASH_V1:
			add_parameter(annotations, "masked", "true");
			warn_of_clear_text(transforms, rule, column, name, is_string);
			if (!is_string)
				return plain;
			encoder = wrap(plain, spec, put_hash);
			((TransformState *) encoder->cache)->limit =
				Max(source->length, 0);
			return encoder;
		case TRANSFORM_TRUNCATE:

			/*
			 * The parameter is there for columns of any type that are longer,
			 * as Debezium counts; values are cut if they are text or bytes.
			 */
			if (source->length >= 0 && source->length <= spec->length)
				return plain;
			add_parameter(annotations, "truncateLength",
						  psprintf("%d", spec->length));
			if (is_string)
				return wrap(plain, spec, put_truncated_text);
			if (type_map_is_bytes(plain))
				return wrap(plain, spec, put_truncated_bytes);
			return plain;
	}
	return plain;				/* not reached */
}

TypeEncoder *
column_transform(ColumnTransforms *transforms,
				 const TransformColumn *column, TypeEncoder *plain,
				 TypeAnnotations *annotations)
{
	char	   *name;
	char	   *type;

	if (transforms == NULL)
		return plain;
	name = psprintf("%s.%s.%s", column->schema, column->table,
					column->column);
	type = psprintf("%s.%s.%s", column->schema, column->table,
					column->source.name);
	if (regex_list_matches(transforms->propagated_columns, name) ||
		regex_list_matches(transforms->propagated_types, type))
		add_source(annotations, column);
	for (int i = 0; i < transforms->nrules; i++)
	{
		const TransformRule *rule = &transforms->rules[i];

		if (regex_list_matches(rule->columns, name))
			return apply_rule(transforms, rule, column, name, plain,
							  annotations);
	}
	return plain;
}

/* ---------------------------------------------------------------------
 * Expressions that match nothing
 * --------------------------------------------------------------------- */

void
column_transforms_note(const ColumnTransforms *transforms,
					   const TransformColumn *column)
{
	char	   *name;

	if (transforms == NULL)
		return;
	name = psprintf("%s.%s.%s", column->schema, column->table,
					column->column);
	for (int i = 0; i < transforms->nrules; i++)
		regex_list_note(transforms->rules[i].columns, name);
	regex_list_note(transforms->propagated_columns, name);
	regex_list_note(transforms->propagated_types,
					psprintf("%s.%s.%s", column->schema, column->table,
							 column->source.name));
}

static void
check_list(const RegexList *list, int level, const char *setting,
		   const char *kind)
{
	int			cursor = 0;
	const char *expression;

	while ((expression = regex_list_unmatched(list, &cursor)) != NULL)
		ereport(level,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("expression \"%s\" of \"%s\" matches no column",
						expression, setting),
				 level < ERROR ? 0 :
				 errdetail("What it should %s would be sent in clear text.",
						   kind),
				 errhint("Correct the expression, or take it out. It must match all of schema.table.column.")));
}

void
column_transforms_check(const ColumnTransforms *transforms)
{
	if (transforms == NULL)
		return;
	for (int i = 0; i < transforms->nrules; i++)
	{
		const TransformRule *rule = &transforms->rules[i];

		check_list(rule->columns,
				   rule->spec.kind == TRANSFORM_TRUNCATE ? WARNING : ERROR,
				   rule->setting, kind_names[rule->spec.kind]);
	}
	check_list(transforms->propagated_columns, WARNING,
			   "wal2kafka.column_propagate_source_type", "");
	check_list(transforms->propagated_types, WARNING,
			   "wal2kafka.datatype_propagate_source_type", "");
}
