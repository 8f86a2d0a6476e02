/*
 * decode.c
 *		wal2kafka.decode(bytea): a frame that the plugin wrote, as JSON.
 *
 * Keys and values are read by libavro, so that what our encoder wrote is
 * checked by an implementation that did not write it.  libavro 1.11 must not
 * meet malformed bytes (it believes negative lengths), so the frame's parts
 * are checked strictly, and the Avro bytes walked by event_serialize.c first;
 * and the function is not for PUBLIC.
 *
 * libavro's objects live outside of memory contexts: everything between their
 * making and release is in one PG_TRY block.
 */
#include "postgres.h"

#include <avro.h>
#include <math.h>

#include "common/shortest_dec.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "avro_schema.h"
#include "event_serialize.h"

PG_FUNCTION_INFO_V1(wal2kafka_stream_decode);
extern PGDLLEXPORT Datum wal2kafka_stream_decode(PG_FUNCTION_ARGS);

/* A part of a frame; data NULL: there is none. */
typedef struct FramePart
{
	const char *data;
	size_t		len;
} FramePart;

typedef struct FrameReader
{
	const char *p;
	const char *end;
} FrameReader;

static void append_avro_value(StringInfo out, avro_value_t *value,
							  const AvroNode *node);

/* ---------------------------------------------------------------------
 * Frames
 * --------------------------------------------------------------------- */

static void
raise_no_frame(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("not an event of the plugin's avro format"),
			 errdetail("%s", detail)));
}

static FramePart
read_part(FrameReader *reader)
{
	FramePart	part = {NULL, 0};
	uint32		len;

	if (reader->end - reader->p < (ptrdiff_t) sizeof(len))
		raise_no_frame("The frame ends in a length.");
	memcpy(&len, reader->p, sizeof(len));
	reader->p += sizeof(len);
	len = pg_ntoh32(len);
	if (len == PG_UINT32_MAX)
		return part;

	if (len > reader->end - reader->p)
		raise_no_frame("A part is longer than the frame.");
	part.data = reader->p;
	part.len = len;
	reader->p += len;
	return part;
}

static FramePart
read_text(FrameReader *reader)
{
	FramePart	part = read_part(reader);

	if (part.data == NULL)
		raise_no_frame("A text is missing.");
	if (!pg_verify_mbstr(PG_UTF8, part.data, (int) part.len, true))
		raise_no_frame("A text is not UTF-8.");
	return part;
}

static FramePart
read_header_value(FrameReader *reader)
{
	FramePart	part = read_part(reader);

	if (part.data != NULL &&
		!pg_verify_mbstr(PG_UTF8, part.data, (int) part.len, true))
		raise_no_frame("A text is not UTF-8.");
	return part;
}

static void
check_magic(FrameReader *reader)
{
	if (reader->end - reader->p < EVENT_FRAME_MAGIC_LEN ||
		memcmp(reader->p, EVENT_FRAME_MAGIC, EVENT_FRAME_MAGIC_LEN) != 0)
		raise_no_frame("The frame does not begin with the format's mark and version.");
	reader->p += EVENT_FRAME_MAGIC_LEN;
}

/* ---------------------------------------------------------------------
 * libavro's values as JSON
 * --------------------------------------------------------------------- */

static void
check_avro(int result)
{
	if (result != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("could not decode event: %s", avro_strerror())));
}

static void
append_number(StringInfo out, double value, const char *shortest)
{
	if (isnan(value))
		appendStringInfoString(out, "\"NaN\"");
	else if (isinf(value))
		appendStringInfoString(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
	else
		appendStringInfoString(out, shortest);
}

static void
append_avro_float(StringInfo out, avro_value_t *value)
{
	char		shortest[FLOAT_SHORTEST_DECIMAL_LEN];
	float		number;

	check_avro(avro_value_get_float(value, &number));
	float_to_shortest_decimal_buf(number, shortest);
	append_number(out, number, shortest);
}

static void
append_avro_double(StringInfo out, avro_value_t *value)
{
	char		shortest[DOUBLE_SHORTEST_DECIMAL_LEN];
	double		number;

	check_avro(avro_value_get_double(value, &number));
	double_to_shortest_decimal_buf(number, shortest);
	append_number(out, number, shortest);
}

static void
append_hex(StringInfo out, const char *bytes, size_t len)
{
	appendStringInfoString(out, "\"\\\\x");
	enlargeStringInfo(out, (int) Min(len * 2, MaxAllocSize));
	out->len += hex_encode(bytes, len, out->data + out->len);
	out->data[out->len] = '\0';
	appendStringInfoChar(out, '"');
}

/*
 * libavro does not know logical types; which bytes are decimals is read from
 * the schema's text.
 */
static void
append_avro_bytes(StringInfo out, avro_value_t *value, const AvroNode *node)
{
	const void *bytes;
	size_t		len;

	check_avro(avro_value_get_bytes(value, &bytes, &len));
	if (node->decimal)
	{
		event_serialize_decimal(out, bytes, len, node->scale);
		return;
	}

	append_hex(out, bytes, len);
}

static void
append_avro_string(StringInfo out, avro_value_t *value)
{
	const char *text;
	size_t		size;			/* with the NUL at its end */

	check_avro(avro_value_get_string(value, &text, &size));
	avro_schema_append_string(out, text, size - 1);
}

static void
append_avro_integer(StringInfo out, avro_value_t *value)
{
	int32_t		narrow;
	int64_t		wide;

	if (avro_value_get_type(value) == AVRO_INT32)
	{
		check_avro(avro_value_get_int(value, &narrow));
		wide = narrow;
	}
	else
		check_avro(avro_value_get_long(value, &wide));
	appendStringInfo(out, INT64_FORMAT, (int64) wide);
}

/* Records, arrays and maps are all lists of values, some with names. */
static void
append_avro_children(StringInfo out, avro_value_t *value,
					 const AvroNode *node)
{
	bool		named = node->kind != AVRO_KIND_ARRAY;
	size_t		count;

	check_avro(avro_value_get_size(value, &count));
	appendStringInfoChar(out, named ? '{' : '[');
	for (size_t i = 0; i < count; i++)
	{
		avro_value_t child;
		const char *name;

		CHECK_FOR_INTERRUPTS();
		check_avro(avro_value_get_by_index(value, i, &child, &name));
		if (i > 0)
			appendStringInfoChar(out, ',');
		if (named)
		{
			avro_schema_append_string(out, name, strlen(name));
			appendStringInfoChar(out, ':');
		}
		append_avro_value(out, &child,
						  node->children[node->kind == AVRO_KIND_RECORD ? i : 0]);
	}
	appendStringInfoChar(out, named ? '}' : ']');
}

static void
append_avro_union(StringInfo out, avro_value_t *value, const AvroNode *node)
{
	avro_value_t branch;
	int			discriminant;

	check_avro(avro_value_get_discriminant(value, &discriminant));
	check_avro(avro_value_get_current_branch(value, &branch));
	append_avro_value(out, &branch, node->children[discriminant]);
}

static void
append_avro_value(StringInfo out, avro_value_t *value, const AvroNode *node)
{
	int			boolean;

	check_stack_depth();

	switch (node->kind)
	{
		case AVRO_KIND_NULL:
			check_avro(avro_value_get_null(value));
			appendStringInfoString(out, "null");
			break;
		case AVRO_KIND_BOOLEAN:
			check_avro(avro_value_get_boolean(value, &boolean));
			appendStringInfoString(out, boolean ? "true" : "false");
			break;
		case AVRO_KIND_INT:
		case AVRO_KIND_LONG:
			append_avro_integer(out, value);
			break;
		case AVRO_KIND_FLOAT:
			append_avro_float(out, value);
			break;
		case AVRO_KIND_DOUBLE:
			append_avro_double(out, value);
			break;
		case AVRO_KIND_BYTES:
			append_avro_bytes(out, value, node);
			break;
		case AVRO_KIND_STRING:
			append_avro_string(out, value);
			break;
		case AVRO_KIND_RECORD:
		case AVRO_KIND_ARRAY:
		case AVRO_KIND_MAP:
			append_avro_children(out, value, node);
			break;
		case AVRO_KIND_UNION:
			append_avro_union(out, value, node);
			break;
	}
}

/*
 * Read one key or value with libavro.
 */
static void
append_decoded(StringInfo out, const char *schema, const FramePart *bytes,
			   const AvroNode *node)
{
	avro_schema_t volatile avro_schema = NULL;
	avro_value_iface_t *volatile class = NULL;
	avro_reader_t volatile reader = NULL;
	volatile bool has_value = false;
	avro_value_t value;

	PG_TRY();
	{
		avro_schema_t parsed;

		check_avro(avro_schema_from_json_length(schema, strlen(schema),
												&parsed));
		avro_schema = parsed;
		class = avro_generic_class_from_schema(avro_schema);
		if (class == NULL)
			check_avro(ENOMEM);
		check_avro(avro_generic_value_new(class, &value));
		has_value = true;
		reader = avro_reader_memory(bytes->data, (int64_t) bytes->len);
		check_avro(avro_value_read(reader, &value));
		append_avro_value(out, &value, node);
	}
	PG_FINALLY();
	{
		if (reader)
			avro_reader_free(reader);
		if (has_value)
			avro_value_decref(&value);
		if (class)
			avro_value_iface_decref(class);
		if (avro_schema)
			avro_schema_decref(avro_schema);
	}
	PG_END_TRY();
}

/*
 * What is sent without a schema: text if it can be, else as bytea.
 */
static void
append_bare(StringInfo out, const FramePart *bytes)
{
	if (pg_verify_mbstr(PG_UTF8, bytes->data, (int) bytes->len, true))
		avro_schema_append_string(out, bytes->data, bytes->len);
	else
		append_hex(out, bytes->data, bytes->len);
}

static void
append_part(StringInfo out, const FramePart *text, const FramePart *bytes)
{
	EventSchema schema = {NULL};
	StringInfoData walked;
	char	   *canonical;

	if (bytes->data == NULL)
	{
		appendStringInfoString(out, "null");
		return;
	}
	if (text->data == NULL)
	{
		append_bare(out, bytes);
		return;
	}

	schema.text = pnstrdup(text->data, text->len);
	schema.text_len = text->len;
	schema.fingerprint = avro_fingerprint(text->data, text->len);

	/* Raises an error for whatever libavro should not see. */
	initStringInfo(&walked);
	event_serialize_datum(&walked, &schema, (const uint8 *) bytes->data,
						  bytes->len);
	pfree(walked.data);

	/* libavro refuses the \u0000 in a decimal's default. */
	canonical = avro_schema_canonical_form(schema.text);
	append_decoded(out, canonical, bytes,
				   avro_schema_parse(schema.text, schema.text_len));
}

Datum
wal2kafka_stream_decode(PG_FUNCTION_ARGS)
{
	bytea	   *frame = PG_GETARG_BYTEA_PP(0);
	FrameReader reader = {
		VARDATA_ANY(frame),
		VARDATA_ANY(frame) + VARSIZE_ANY_EXHDR(frame)
	};
	FramePart	topic;
	FramePart	parts[4];		/* key schema, key, value schema, value */
	StringInfoData out;
	int			nheaders;

	check_magic(&reader);
	topic = read_text(&reader);
	for (int i = 0; i < lengthof(parts); i++)
		parts[i] = read_part(&reader);

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"topic\":");
	avro_schema_append_string(&out, topic.data, topic.len);
	appendStringInfoString(&out, ",\"key\":");
	append_part(&out, &parts[0], &parts[1]);
	appendStringInfoString(&out, ",\"value\":");
	append_part(&out, &parts[2], &parts[3]);

	appendStringInfoString(&out, ",\"headers\":{");
	if (reader.p == reader.end)
		raise_no_frame("The frame ends before its headers.");
	nheaders = (unsigned char) *reader.p++;
	for (int i = 0; i < nheaders; i++)
	{
		FramePart	name = read_text(&reader);
		FramePart	value = read_header_value(&reader);

		if (i > 0)
			appendStringInfoChar(&out, ',');
		avro_schema_append_string(&out, name.data, name.len);
		appendStringInfoChar(&out, ':');
		if (value.data == NULL)
			appendStringInfoString(&out, "null");
		else
			avro_schema_append_string(&out, value.data, value.len);
	}
	appendStringInfoString(&out, "}}");
	if (reader.p != reader.end)
		raise_no_frame("Bytes follow the frame.");

	PG_RETURN_TEXT_P(cstring_to_text(pg_any_to_server(out.data, out.len,
													  PG_UTF8)));
}
