/*
 * event_serialize.c
 *		Events as text or as self-contained frames, for readers without
 *		Kafka.
 *
 * A frame is
 *
 *		"w2k", one byte of version (1)
 *		topic, key schema, key, value schema, value
 *		one byte: number of headers; then each header's name and value
 *
 * in which each part is a 32-bit big-endian length and that many bytes; -1
 * says that there is none (a null key, a tombstone, a header that is null).
 * Schemas are JSON texts, keys and values bare Avro bytes, all texts UTF-8.
 * Without a schema a key or value is what is sent.
 *
 * Text output walks the Avro bytes by the schema.  Schemas are parsed once
 * and kept; see get_schema_node().
 */
#include "postgres.h"

#include <math.h>

#include "common/base64.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "avro_decode.h"
#include "avro_schema.h"
#include "event_serialize.h"

/*
 * Parsed schemas.  Several schemas can have one fingerprint, since it leaves
 * out logical types, and an address can be used again after its relation's
 * entry was rebuilt: the text itself decides.
 */
#define MAX_CACHED_SCHEMAS	512

typedef struct CachedSchema
{
	uint64		fingerprint;
	size_t		text_len;
	char	   *text;
	AvroNode   *node;
} CachedSchema;

static MemoryContext cache_context = NULL;
static CachedSchema cached_schemas[MAX_CACHED_SCHEMAS];
static int	ncached_schemas = 0;
static int	last_used_schema = 0;

static void append_value(StringInfo out, const AvroNode *node, AvroReader *reader);

static bool
is_schema(const CachedSchema *cached, const EventSchema *schema)
{
	return cached->fingerprint == schema->fingerprint &&
		cached->text_len == schema->text_len &&
		memcmp(cached->text, schema->text, schema->text_len) == 0;
}

static const AvroNode *
get_schema_node(const EventSchema *schema)
{
	MemoryContext caller;
	MemoryContext context;
	CachedSchema *cached;

	if (last_used_schema < ncached_schemas &&
		is_schema(&cached_schemas[last_used_schema], schema))
		return cached_schemas[last_used_schema].node;
	for (int i = 0; i < ncached_schemas; i++)
	{
		if (is_schema(&cached_schemas[i], schema))
		{
			last_used_schema = i;
			return cached_schemas[i].node;
		}
	}

	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(TopMemoryContext,
											  "wal2kafka parsed schemas",
											  ALLOCSET_DEFAULT_SIZES);
	if (ncached_schemas == MAX_CACHED_SCHEMAS)
	{
		ncached_schemas = 0;
		MemoryContextReset(cache_context);
	}

	/* Until it is parsed, it belongs to the caller, who may see an error. */
	context = AllocSetContextCreate(CurrentMemoryContext, "wal2kafka schema",
									ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	cached = &cached_schemas[ncached_schemas];
	cached->fingerprint = schema->fingerprint;
	cached->text_len = schema->text_len;
	cached->text = pnstrdup(schema->text, schema->text_len);
	cached->node = avro_schema_parse(schema->text, schema->text_len);
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, cache_context);

	last_used_schema = ncached_schemas++;
	return cached->node;
}

/* ---------------------------------------------------------------------
 * Avro bytes to JSON
 * --------------------------------------------------------------------- */

/* JSON has no word for these. */
static bool
append_special(StringInfo out, double value)
{
	if (isnan(value))
		appendStringInfoString(out, "\"NaN\"");
	else if (isinf(value))
		appendStringInfoString(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
	else
		return false;
	return true;
}

static void
append_float(StringInfo out, AvroReader *reader)
{
	uint32		bits = (uint32) avro_read_little_endian(reader, 4);
	char		text[FLOAT_SHORTEST_DECIMAL_LEN];
	float		value;

	memcpy(&value, &bits, sizeof(value));
	if (!append_special(out, value))
	{
		float_to_shortest_decimal_buf(value, text);
		appendStringInfoString(out, text);
	}
}

static void
append_double(StringInfo out, AvroReader *reader)
{
	uint64		bits = avro_read_little_endian(reader, 8);
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];
	double		value;

	memcpy(&value, &bits, sizeof(value));
	if (!append_special(out, value))
	{
		double_to_shortest_decimal_buf(value, text);
		appendStringInfoString(out, text);
	}
}

/*
 * An unscaled integer as a decimal number in text, by division of its
 * magnitude by 10^9, again and again.
 */
void
event_serialize_decimal(StringInfo out, const uint8 *bytes, size_t len,
						int scale)
{
	bool		negative = len > 0 && (bytes[0] & 0x80);
	uint8	   *magnitude = palloc(len + 1);
	char	   *digits = palloc(len * 5 / 2 + scale + 16);
	size_t		ndigits = 0;
	size_t		start = 0;
	unsigned	carry = negative ? 1 : 0;

	for (size_t i = len; i-- > 0;)
	{
		carry += negative ? (uint8) ~bytes[i] : bytes[i];
		magnitude[i] = carry & 0xFF;
		carry >>= 8;
	}
	/* a carry is left only by -0, which two's complement does not have */

	while (start < len)
	{
		uint64		remainder = 0;

		for (size_t i = start; i < len; i++)
		{
			uint64		dividend = remainder << 8 | magnitude[i];

			magnitude[i] = (uint8) (dividend / 1000000000);
			remainder = dividend % 1000000000;
		}
		while (start < len && magnitude[start] == 0)
			start++;
		for (int i = 0; i < 9 && (start < len || remainder > 0); i++)
		{
			digits[ndigits++] = '0' + remainder % 10;
			remainder /= 10;
		}
	}
	while (ndigits < (size_t) scale + 1)
		digits[ndigits++] = '0';

	if (negative)
		appendStringInfoChar(out, '-');
	while (ndigits-- > 0)
	{
		appendStringInfoChar(out, digits[ndigits]);
		if (ndigits == (size_t) scale && scale > 0)
			appendStringInfoChar(out, '.');
	}
	pfree(magnitude);
	pfree(digits);
}

static void
append_base64(StringInfo out, const uint8 *bytes, size_t len)
{
	appendStringInfoChar(out, '"');
	enlargeStringInfo(out, pg_b64_enc_len((int) len));
	out->len += pg_b64_encode((const void *) bytes, (int) len,
							  out->data + out->len,
							  pg_b64_enc_len((int) len));
	out->data[out->len] = '\0';
	appendStringInfoChar(out, '"');
}

static void
append_bytes(StringInfo out, const AvroNode *node, AvroReader *reader)
{
	int64		len = avro_read_long(reader);
	const uint8 *bytes = avro_read_raw(reader, len);

	if (node->decimal)
	{
		event_serialize_decimal(out, bytes, len, node->scale);
		return;
	}

	if (len > MaxAllocSize / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value of %lld bytes is too large for text output",
						(long long) len)));
	append_base64(out, bytes, len);
}

static void
append_string(StringInfo out, AvroReader *reader)
{
	int64		len = avro_read_long(reader);
	const uint8 *text = avro_read_raw(reader, len);

	avro_schema_append_string(out, (const char *) text, len);
}

static void
append_record(StringInfo out, const AvroNode *node, AvroReader *reader)
{
	appendStringInfoChar(out, '{');
	for (int i = 0; i < node->nchildren; i++)
	{
		appendStringInfo(out, "%s\"%s\":", i > 0 ? "," : "", node->names[i]);
		append_value(out, node->children[i], reader);
	}
	appendStringInfoChar(out, '}');
}

/*
 * Arrays and maps come in blocks; a negative count is followed by the block's
 * size, which only those need who skip it.  Elements of no bytes are refused:
 * a few bytes could claim any number of them, and no schema of ours has such.
 */
static void
append_blocks(StringInfo out, const AvroNode *node, AvroReader *reader)
{
	bool		is_map = node->kind == AVRO_KIND_MAP;
	bool		first = true;
	const uint8 *start;
	int64		count;

	appendStringInfoChar(out, is_map ? '{' : '[');
	while ((count = avro_read_long(reader)) != 0)
	{
		if (count < 0)
		{
			count = count == PG_INT64_MIN ? PG_INT64_MAX : -count;
			(void) avro_read_long(reader);
		}
		for (; count > 0; count--)
		{
			CHECK_FOR_INTERRUPTS();
			if (!first)
				appendStringInfoChar(out, ',');
			first = false;
			start = reader->p;
			if (is_map)
			{
				append_string(out, reader);
				appendStringInfoChar(out, ':');
			}
			append_value(out, node->children[0], reader);
			if (reader->p == start)
				avro_read_failed();
		}
	}
	appendStringInfoChar(out, is_map ? '}' : ']');
}

static void
append_value(StringInfo out, const AvroNode *node, AvroReader *reader)
{
	int64		branch;

	check_stack_depth();

	switch (node->kind)
	{
		case AVRO_KIND_NULL:
			appendStringInfoString(out, "null");
			break;
		case AVRO_KIND_BOOLEAN:
			appendStringInfoString(out, *avro_read_raw(reader, 1) ? "true" : "false");
			break;
		case AVRO_KIND_INT:
		case AVRO_KIND_LONG:
			appendStringInfo(out, INT64_FORMAT, avro_read_long(reader));
			break;
		case AVRO_KIND_FLOAT:
			append_float(out, reader);
			break;
		case AVRO_KIND_DOUBLE:
			append_double(out, reader);
			break;
		case AVRO_KIND_BYTES:
			append_bytes(out, node, reader);
			break;
		case AVRO_KIND_STRING:
			append_string(out, reader);
			break;
		case AVRO_KIND_RECORD:
			append_record(out, node, reader);
			break;
		case AVRO_KIND_ARRAY:
		case AVRO_KIND_MAP:
			append_blocks(out, node, reader);
			break;
		case AVRO_KIND_UNION:
			branch = avro_read_long(reader);
			if (branch < 0 || branch >= node->nchildren)
				avro_read_failed();
			append_value(out, node->children[branch], reader);
			break;
	}
}

void
event_serialize_datum(StringInfo out, const EventSchema *schema,
					  const uint8 *data, size_t len)
{
	AvroReader		reader = {data, data + len};

	append_value(out, get_schema_node(schema), &reader);
	if (reader.p != reader.end)
		avro_read_failed();
}

void
event_serialize_header(Event *event, const char *name,
					   const EventSchema *schema, const uint8 *data,
					   size_t len)
{
	const AvroNode *node = get_schema_node(schema);
	AvroReader		reader = {data, data + len};
	StringInfoData text;

	if (node->kind == AVRO_KIND_UNION)
	{
		int64		branch = avro_read_long(&reader);

		if (branch < 0 || branch >= node->nchildren)
			avro_read_failed();
		node = node->children[branch];
	}
	if (node->kind == AVRO_KIND_NULL)
	{
		event_add_header(event, name, NULL, 0);
		return;
	}

	initStringInfo(&text);
	if (node->kind == AVRO_KIND_STRING)
	{
		int64		text_len = avro_read_long(&reader);

		appendBinaryStringInfo(&text, (const char *) avro_read_raw(&reader, text_len),
							   (int) text_len);
		event_add_header(event, name, text.data, text.len);
		return;
	}
	append_value(&text, node, &reader);
	/* bytes are base64, which needs no quotes here */
	if (text.data[0] == '"')
		event_add_header(event, name, text.data + 1, text.len - 2);
	else
		event_add_header(event, name, text.data, text.len);
}

/* ---------------------------------------------------------------------
 * Events
 * --------------------------------------------------------------------- */

/*
 * Bytes that no schema describes: text if they can be, else base64.
 */
static void
append_bare(StringInfo out, const EventBytes *bytes)
{
	if (bytes->len > MaxAllocSize / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value of %zu bytes is too large for text output",
						bytes->len)));
	if (pg_verify_mbstr(PG_UTF8, (const char *) bytes->data, (int) bytes->len,
						true))
		avro_schema_append_string(out, (const char *) bytes->data, bytes->len);
	else
		append_base64(out, bytes->data, bytes->len);
}

static void
append_key_or_value(StringInfo out, const EventSchema *schema,
					const EventBytes *bytes, bool converted)
{
	if (bytes->data == NULL)
		appendStringInfoString(out, "null");
	else if (converted && schema->text != NULL)
		appendBinaryStringInfo(out, (const char *) bytes->data,
							   (int) bytes->len);
	else if (schema->format == EVENT_FORMAT_BARE)
		append_bare(out, bytes);
	else if (schema->text == NULL)
		appendStringInfoString(out, "null");
	else
		event_serialize_datum(out, schema, bytes->data, bytes->len);
}

/* Everything so far is UTF-8; readers expect the server's encoding. */
static void
convert_to_server(StringInfo out, int start)
{
	char	   *converted;

	if (GetDatabaseEncoding() == PG_UTF8)
		return;
	converted = pg_any_to_server(out->data + start, out->len - start, PG_UTF8);
	if (converted != out->data + start)
	{
		out->len = start;
		appendStringInfoString(out, converted);
		pfree(converted);
	}
}

void
event_serialize_json(StringInfo out, const Event *event, bool converted)
{
	int			start = out->len;

	appendStringInfoString(out, "{\"topic\":");
	avro_schema_append_string(out, event->target->topic,
							  strlen(event->target->topic));
	appendStringInfoString(out, ",\"key\":");
	append_key_or_value(out, &event->target->key, &event->key, converted);
	appendStringInfoString(out, ",\"value\":");
	append_key_or_value(out, &event->target->value, &event->value, converted);
	appendStringInfoString(out, ",\"headers\":{");
	for (int i = 0; i < event->nheaders; i++)
	{
		const EventHeader *header = &event->headers[i];

		if (i > 0)
			appendStringInfoChar(out, ',');
		avro_schema_append_string(out, header->name, strlen(header->name));
		appendStringInfoChar(out, ':');
		if (header->value == NULL)
			appendStringInfoString(out, "null");
		else
			avro_schema_append_string(out, header->value, header->value_len);
	}
	appendStringInfoChar(out, '}');
	if (event->partition != EVENT_PARTITION_BY_KEY)
		appendStringInfo(out, ",\"partition\":%d", event->partition);
	if (event->has_timestamp)
		appendStringInfo(out, ",\"timestamp\":" INT64_FORMAT,
						 event->timestamp_ms);
	appendStringInfoChar(out, '}');

	convert_to_server(out, start);
}

static void
append_part(StringInfo out, const void *data, size_t len)
{
	uint32		length = pg_hton32(data ? (uint32) len : PG_UINT32_MAX);

	if (data && len >= MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event of %zu bytes is too large for a frame", len)));
	appendBinaryStringInfo(out, (const void *) &length, sizeof(length));
	if (data)
		appendBinaryStringInfo(out, data, (int) len);
}

static void
append_schema(StringInfo out, const EventSchema *schema)
{
	bool		avro = schema->format == EVENT_FORMAT_AVRO;

	append_part(out, avro ? schema->text : NULL, schema->text_len);
}

void
event_serialize_frame(StringInfo out, const Event *event)
{
	const EventTarget *target = event->target;

	appendBinaryStringInfo(out, EVENT_FRAME_MAGIC, EVENT_FRAME_MAGIC_LEN);
	append_part(out, target->topic, strlen(target->topic));
	append_schema(out, &target->key);
	append_part(out, event->key.data, event->key.len);
	append_schema(out, &target->value);
	append_part(out, event->value.data, event->value.len);

	appendStringInfoChar(out, event->nheaders);
	for (int i = 0; i < event->nheaders; i++)
	{
		const EventHeader *header = &event->headers[i];

		append_part(out, header->name, strlen(header->name));
		append_part(out, header->value, header->value_len);
	}
}
