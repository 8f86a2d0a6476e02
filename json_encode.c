/*
 * json_encode.c
 *		JSON as Kafka Connect's JsonConverter writes it, from Avro bytes.
 *
 * A plan is a Connect schema, read out of the Avro schema's text: the way
 * back from what AvroData writes (debezium-format.md, 12).  Everything that
 * is the same for all records of a schema is rendered in it: the names of
 * fields with their punctuation, and the embedded schema.  Writing a record
 * is then a walk over its Avro bytes that copies pieces and renders numbers.
 *
 * Plans belong to the EventSchema and lie in the memory context of its text.
 */
#include "postgres.h"

#include <jansson.h>
#include <math.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/datetime.h"
#include "utils/memutils.h"

#include "avro_decode.h"
#include "java_text.h"
#include "json_encode.h"
#include "type_map.h"

/* An event must fit a palloc where it is read. */
#define MAX_EVENT_SIZE		(MaxAllocSize - 64 * 1024)

/* A buffer that one event made larger than this is given back. */
#define KEEP_BUFFER_SIZE	((size_t) 4 * 1024 * 1024)

#define MS_PER_DAY			INT64CONST(86400000)

#define CONNECT_NAME		"org.apache.kafka.connect.data."

/* What AvroData names the pairs of a map whose keys are no strings. */
#define MAP_ENTRY			"io.confluent.connect.avro.MapEntry"

/* Connect's types, in the order of type_names[]. */
typedef enum ConnectKind
{
	CONNECT_BOOLEAN,
	CONNECT_INT8,
	CONNECT_INT16,
	CONNECT_INT32,
	CONNECT_INT64,
	CONNECT_FLOAT,
	CONNECT_DOUBLE,
	CONNECT_BYTES,
	CONNECT_STRING,
	CONNECT_STRUCT,
	CONNECT_ARRAY,
	CONNECT_MAP,				/* keys are strings */
	CONNECT_ENTRIES,			/* a map with other keys: pairs in an array */
} ConnectKind;

static const char *const type_names[] = {
	"boolean", "int8", "int16", "int32", "int64", "float", "double", "bytes",
	"string", "struct", "array", "map", "map",
};

/* What kind of logical type is it? */
typedef enum ConnectLogical
{
	LOGICAL_NONE,
	LOGICAL_DECIMAL,
	LOGICAL_DATE,
	LOGICAL_TIME,
	LOGICAL_TIMESTAMP,
} ConnectLogical;

/*
 * How values are written.  Each has a piece of text for each field's name in
 * its rows.
 */
typedef enum TextStyle
{
	STYLE_JSON,					/* JsonConverter */
	STYLE_STRING,				/* Java's toString(), as StringConverter */
	STYLE_HEADER,				/* SimpleHeaderConverter */
} TextStyle;

#define STYLE_COUNT	(STYLE_HEADER + 1)

typedef struct ConnectType ConnectType;
typedef struct JsonPlan JsonPlan;

/* A place where a value stands. */
typedef struct ConnectPlace
{
	ConnectType *type;
	bool		optional;
	int8		null_branch;	/* of the union; optional only */
} ConnectPlace;

/* Text that is copied. */
typedef struct Piece
{
	char	   *data;
	int			len;
} Piece;

typedef struct ConnectField
{
	const char *name;
	ConnectPlace place;
	Piece		label[STYLE_COUNT];
} ConnectField;

struct ConnectType
{
	ConnectKind kind;
	ConnectLogical logical;
	int			scale;			/* decimals */
	const char *full_name;		/* records: what refers to them */
	int			nfields;		/* structs */
	ConnectField *fields;
	ConnectPlace key;			/* maps */
	ConnectPlace item;			/* arrays, values of maps */
	const json_t *json;			/* while the plan is made */
};

struct JsonPlan
{
	ConnectPlace root;
	Piece		before;			/* of the payload, with an embedded schema */
};

struct JsonConverter
{
	MemoryContext context;
	const Settings *settings;
	AvroBuffer	key;
	AvroBuffer	value;
};

/* The Avro bytes that are left, and where text goes. */
typedef struct Walk
{
	AvroReader	in;
	AvroBuffer *out;
	TextStyle	style;
	bool		numeric;		/* decimals as numbers */
} Walk;

static void walk_place(Walk *walk, const ConnectPlace *place, bool embedded);
static void read_place(const json_t *json, const char *namespace,
					   List **named, ConnectPlace *place);
static void put_schema(AvroBuffer *out, const ConnectPlace *place,
					   const char *field, bool numeric);

/* ---------------------------------------------------------------------
 * Formats
 * --------------------------------------------------------------------- */

static RecordFormat
record_format(const Settings *settings, bool is_key)
{
	if (settings->format == RECORD_FORMAT_CONNECT)
		return RECORD_FORMAT_JSON;
	if (is_key && settings->key_format != RECORD_FORMAT_SAME)
		return (RecordFormat) settings->key_format;
	return (RecordFormat) settings->format;
}

EventFormat
json_encode_format(const Settings *settings, bool is_key)
{
	if (event_sink == NULL && settings->format != RECORD_FORMAT_CONNECT)
		return EVENT_FORMAT_AVRO;
	return record_format(settings, is_key) == RECORD_FORMAT_AVRO ?
		EVENT_FORMAT_AVRO : EVENT_FORMAT_BARE;
}

JsonConverter *
json_encode_create(MemoryContext cxt, const Settings *settings)
{
	JsonConverter *converter;

	if (record_format(settings, true) == RECORD_FORMAT_AVRO &&
		record_format(settings, false) == RECORD_FORMAT_AVRO)
		return NULL;
	converter = MemoryContextAllocZero(cxt, sizeof(JsonConverter));
	converter->context = cxt;
	converter->settings = settings;
	avro_buffer_init(&converter->key, cxt);
	avro_buffer_init(&converter->value, cxt);
	return converter;
}

/* ---------------------------------------------------------------------
 * From the text of an Avro schema to a Connect schema
 * --------------------------------------------------------------------- */

static void
raise_no_schema(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("Avro schema cannot be written as JSON: %s", reason)));
}

static const char *
text_property(const json_t *json, const char *name)
{
	return json_string_value(json_object_get(json, name));
}

static bool
has_text(const json_t *json, const char *name, const char *text)
{
	const char *value = text_property(json, name);

	return value != NULL && strcmp(value, text) == 0;
}

/*
 * An Avro primitive; connect.type tells the small integers.
 */
static bool
read_primitive(const char *name, const json_t *json, ConnectKind *kind)
{
	static const struct
	{
		const char *name;
		ConnectKind kind;
	}			primitives[] = {
		{"boolean", CONNECT_BOOLEAN},
		{"int", CONNECT_INT32},
		{"long", CONNECT_INT64},
		{"float", CONNECT_FLOAT},
		{"double", CONNECT_DOUBLE},
		{"bytes", CONNECT_BYTES},
		{"string", CONNECT_STRING},
	};

	for (int i = 0; i < lengthof(primitives); i++)
	{
		if (strcmp(name, primitives[i].name) != 0)
			continue;
		*kind = primitives[i].kind;
		if (has_text(json, "connect.type", "int8"))
			*kind = CONNECT_INT8;
		else if (has_text(json, "connect.type", "int16"))
			*kind = CONNECT_INT16;
		return true;
	}
	return false;
}

static ConnectLogical
read_logical(const json_t *json)
{
	static const struct
	{
		const char *name;
		ConnectLogical logical;
	}			logicals[] = {
		{CONNECT_NAME "Decimal", LOGICAL_DECIMAL},
		{CONNECT_NAME "Date", LOGICAL_DATE},
		{CONNECT_NAME "Time", LOGICAL_TIME},
		{CONNECT_NAME "Timestamp", LOGICAL_TIMESTAMP},
	};

	for (int i = 0; i < lengthof(logicals); i++)
		if (has_text(json, "connect.name", logicals[i].name))
			return logicals[i].logical;
	return has_text(json, "logicalType", "decimal") ?
		LOGICAL_DECIMAL : LOGICAL_NONE;
}

static char *
qualified_name(const char *name, const char *namespace)
{
	if (strchr(name, '.') || namespace == NULL || namespace[0] == '\0')
		return pstrdup(name);
	return psprintf("%s.%s", namespace, name);
}

static Piece
make_piece(const AvroBuffer *text)
{
	Piece		piece = {
		.data = pnstrdup((const char *) text->data, text->len),
		.len = (int) text->len,
	};

	return piece;
}

/*
 * A string within quotes, as SimpleHeaderConverter escapes it.
 */
static void
put_header_string(AvroBuffer *out, const char *text, size_t len)
{
	avro_put_raw(out, "\"", 1);
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] == '"' || text[i] == '\\')
			avro_put_raw(out, "\\", 1);
		avro_put_raw(out, text + i, 1);
	}
	avro_put_raw(out, "\"", 1);
}

/*
 * What stands before the field's value in each style.  A comma precedes it
 * where it is not the first.
 */
static void
make_labels(ConnectField *field, bool first)
{
	size_t		len = strlen(field->name);
	AvroBuffer	text;

	avro_buffer_init(&text, CurrentMemoryContext);
	avro_put_raw(&text, first ? "{" : ",", 1);
	java_put_json_string(&text, field->name, len);
	avro_put_raw(&text, ":", 1);
	field->label[STYLE_JSON] = make_piece(&text);

	text.len = 0;
	avro_put_raw(&text, field->name, len);
	avro_put_raw(&text, "=", 1);
	field->label[STYLE_STRING] = make_piece(&text);

	text.len = 0;
	avro_put_raw(&text, first ? "{" : ",", 1);
	put_header_string(&text, field->name, len);
	avro_put_raw(&text, ":", 1);
	field->label[STYLE_HEADER] = make_piece(&text);
	pfree(text.data);
}

static void
read_record(const json_t *json, const char *namespace, List **named,
			ConnectType *type)
{
	const json_t *fields = json_object_get(json, "fields");
	const char *own = text_property(json, "namespace");
	const char *name = text_property(json, "name");
	const char *dot;

	if (name == NULL)
		raise_no_schema("a record has no name");
	type->kind = CONNECT_STRUCT;
	type->full_name = qualified_name(name, own ? own : namespace);
	*named = lappend(*named, type);

	dot = strrchr(type->full_name, '.');
	namespace = dot ? pnstrdup(type->full_name, dot - type->full_name) : "";

	type->nfields = (int) json_array_size(fields);
	type->fields = palloc0(sizeof(ConnectField) * Max(type->nfields, 1));
	for (int i = 0; i < type->nfields; i++)
	{
		const json_t *field = json_array_get(fields, i);

		name = text_property(field, "name");
		if (name == NULL)
			raise_no_schema("a field has no name");
		type->fields[i].name = pstrdup(name);
		make_labels(&type->fields[i], i == 0);
		read_place(json_object_get(field, "type"), namespace, named,
				   &type->fields[i].place);
	}
}

static void
read_array(const json_t *json, const char *namespace, List **named,
		   ConnectType *type)
{
	const ConnectType *entry;

	type->kind = CONNECT_ARRAY;
	read_place(json_object_get(json, "items"), namespace, named, &type->item);
	entry = type->item.type;

	/* said of the array or of its items, or by the items' name */
	if (entry->kind == CONNECT_STRUCT && entry->nfields == 2 &&
		(has_text(json, "connect.internal.type", "MapEntry") ||
		 has_text(entry->json, "connect.internal.type", "MapEntry") ||
		 strcmp(entry->full_name, MAP_ENTRY) == 0))
	{
		type->kind = CONNECT_ENTRIES;
		type->key = entry->fields[0].place;
		type->item = entry->fields[1].place;
	}
}

static ConnectType *
read_object(const json_t *json, const char *namespace, List **named)
{
	const char *name = text_property(json, "type");
	ConnectType *type = palloc0(sizeof(ConnectType));

	if (name == NULL)
		raise_no_schema("a type has no name");
	type->json = json;
	type->logical = read_logical(json);
	type->scale = (int) json_integer_value(json_object_get(json, "scale"));

	if (strcmp(name, "record") == 0)
		read_record(json, namespace, named, type);
	else if (strcmp(name, "array") == 0)
		read_array(json, namespace, named, type);
	else if (strcmp(name, "map") == 0)
	{
		type->kind = CONNECT_MAP;
		type->key.type = palloc0(sizeof(ConnectType));
		type->key.type->kind = CONNECT_STRING;
		read_place(json_object_get(json, "values"), namespace, named,
				   &type->item);
	}
	else if (!read_primitive(name, json, &type->kind))
		raise_no_schema(psprintf("unknown type \"%s\"", name));
	return type;
}

/* A primitive, or a record that was defined before. */
static ConnectType *
read_name(const char *name, const char *namespace, const List *named)
{
	ConnectType *type = palloc0(sizeof(ConnectType));
	const char *full_name;
	ListCell   *cell;

	if (read_primitive(name, NULL, &type->kind))
		return type;
	full_name = qualified_name(name, namespace);
	foreach(cell, named)
	{
		type = lfirst(cell);
		if (strcmp(type->full_name, full_name) == 0)
			return type;
	}
	raise_no_schema(psprintf("unknown type \"%s\"", full_name));
	return NULL;				/* not reached */
}

/*
 * A type, or a union of one with null.
 */
static void
read_place(const json_t *json, const char *namespace, List **named,
		   ConnectPlace *place)
{
	check_stack_depth();

	if (json_is_array(json))
	{
		const json_t *first = json_array_get(json, 0);
		bool		null_first = json_is_string(first) &&
			strcmp(json_string_value(first), "null") == 0;

		if (json_array_size(json) != 2)
			raise_no_schema("a union has other than two branches");
		place->optional = true;
		place->null_branch = null_first ? 0 : 1;
		json = json_array_get(json, null_first ? 1 : 0);
	}
	if (json_is_string(json))
		place->type = read_name(json_string_value(json), namespace, *named);
	else if (json_is_object(json))
		place->type = read_object(json, namespace, named);
	else
		raise_no_schema("a type is neither a name nor an object");
}

/* ---------------------------------------------------------------------
 * From a Connect schema to the schema that is embedded in JSON
 * --------------------------------------------------------------------- */

static void
put_text(AvroBuffer *out, const char *text)
{
	avro_put_raw(out, text, strlen(text));
}

static void
put_quoted(AvroBuffer *out, const json_t *string)
{
	java_put_json_string(out, json_string_value(string),
						 json_string_length(string));
}

/*
 * Bytes in JSON: base64, or the number that they are.
 */
static void
put_bytes(AvroBuffer *out, const ConnectType *type, const uint8 *bytes,
		  size_t len, bool numeric)
{
	if (type->logical == LOGICAL_DECIMAL && numeric)
		java_put_decimal(out, bytes, len, type->scale);
	else
	{
		avro_put_raw(out, "\"", 1);
		java_put_base64(out, bytes, len);
		avro_put_raw(out, "\"", 1);
	}
}

/*
 * A default of bytes: each character is one.
 */
static void
put_default_bytes(AvroBuffer *out, const ConnectType *type,
				  const json_t *value, bool numeric)
{
	const uint8 *p = (const uint8 *) json_string_value(value);
	const uint8 *end = p + json_string_length(value);
	uint8	   *bytes = palloc(end - p + 1);
	size_t		len = 0;

	while (p < end)
	{
		if (*p < 0x80)
			bytes[len++] = *p++;
		else
		{
			bytes[len++] = (p[0] & 0x03) << 6 | (p[1] & 0x3F);
			p += 2;
		}
	}
	put_bytes(out, type, bytes, len, numeric);
	pfree(bytes);
}

static void
put_special_quoted(AvroBuffer *out, double value)
{
	avro_put_raw(out, "\"", 1);
	java_put_double(out, value);
	avro_put_raw(out, "\"", 1);
}

/*
 * A default as Avro writes it, in the form of JSON values.
 */
static void
put_default(AvroBuffer *out, const ConnectType *type, const json_t *value,
			bool numeric)
{
	switch (type->kind)
	{
		case CONNECT_BOOLEAN:
			put_text(out, json_is_true(value) ? "true" : "false");
			return;
		case CONNECT_INT8:
		case CONNECT_INT16:
		case CONNECT_INT32:
		case CONNECT_INT64:
			java_put_int64(out, json_integer_value(value));
			return;
		case CONNECT_FLOAT:
		case CONNECT_DOUBLE:
			/* numbers that JSON lacks are texts */
			if (json_is_string(value))
				put_quoted(out, value);
			else if (type->kind == CONNECT_FLOAT)
				java_put_float(out, (float) json_number_value(value));
			else
				java_put_double(out, json_number_value(value));
			return;
		case CONNECT_BYTES:
			if (!json_is_string(value))
				break;
			put_default_bytes(out, type, value, numeric);
			return;
		case CONNECT_STRING:
			if (!json_is_string(value))
				break;
			put_quoted(out, value);
			return;
		case CONNECT_STRUCT:
		case CONNECT_ARRAY:
		case CONNECT_MAP:
		case CONNECT_ENTRIES:
			break;
	}
	raise_no_schema("a default does not fit its type");
}

/*
 * name, version, doc, parameters, default
 */
static void
put_annotations(AvroBuffer *out, const ConnectType *type, bool numeric)
{
	const json_t *json = type->json;
	const json_t *name = json_object_get(json, "connect.name");
	const json_t *version = json_object_get(json, "connect.version");
	const json_t *doc = json_object_get(json, "connect.doc");
	json_t	   *parameters = json_object_get(json, "connect.parameters");
	const json_t *default_value = json_object_get(json, "connect.default");

	if (name)
	{
		put_text(out, ",\"name\":");
		put_quoted(out, name);
	}
	if (version)
	{
		put_text(out, ",\"version\":");
		java_put_int64(out, json_integer_value(version));
	}
	if (doc)
	{
		put_text(out, ",\"doc\":");
		put_quoted(out, doc);
	}
	if (parameters)
	{
		const char *key;
		json_t	   *value;
		const char *before = ",\"parameters\":{";

		json_object_foreach(parameters, key, value)
		{
			put_text(out, before);
			java_put_json_string(out, key, strlen(key));
			put_text(out, ":");
			put_quoted(out, value);
			before = ",";
		}
		put_text(out, json_object_size(parameters) > 0 ? "}" :
				 ",\"parameters\":{}");
	}
	if (default_value)
	{
		put_text(out, ",\"default\":");
		put_default(out, type, default_value, numeric);
	}
}

static void
put_schema(AvroBuffer *out, const ConnectPlace *place, const char *field,
		   bool numeric)
{
	const ConnectType *type = place->type;

	check_stack_depth();

	put_text(out, "{\"type\":\"");
	put_text(out, type_names[type->kind]);
	put_text(out, "\"");
	if (type->kind == CONNECT_STRUCT)
	{
		put_text(out, ",\"fields\":[");
		for (int i = 0; i < type->nfields; i++)
		{
			if (i > 0)
				put_text(out, ",");
			put_schema(out, &type->fields[i].place, type->fields[i].name,
					   numeric);
		}
		put_text(out, "]");
	}
	else if (type->kind == CONNECT_ARRAY)
	{
		put_text(out, ",\"items\":");
		put_schema(out, &type->item, NULL, numeric);
	}
	else if (type->kind == CONNECT_MAP || type->kind == CONNECT_ENTRIES)
	{
		put_text(out, ",\"keys\":");
		put_schema(out, &type->key, NULL, numeric);
		put_text(out, ",\"values\":");
		put_schema(out, &type->item, NULL, numeric);
	}
	put_text(out, place->optional ? ",\"optional\":true" :
			 ",\"optional\":false");
	if (type->json)
		put_annotations(out, type, numeric);
	if (field)
	{
		put_text(out, ",\"field\":");
		java_put_json_string(out, field, strlen(field));
	}
	put_text(out, "}");
}

/*
 * Read the schema's text.
 */
static JsonPlan *
make_plan(const EventSchema *schema, const Settings *settings, bool is_key)
{
	json_error_t error;
	json_t	   *json = json_loadb(schema->text, schema->text_len,
								  JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	JsonPlan   *plan = palloc0(sizeof(JsonPlan));
	bool		embeds =
		record_format(settings, is_key) == RECORD_FORMAT_JSON &&
		(is_key ? settings->key_converter_schemas_enable :
		 settings->value_converter_schemas_enable);
	List	   *named = NIL;

	if (json == NULL)
		raise_no_schema(psprintf("%s", error.text));

	PG_TRY();
	{
		read_place(json, "", &named, &plan->root);
		if (embeds)
		{
			AvroBuffer	text;

			avro_buffer_init(&text, CurrentMemoryContext);
			put_text(&text, "{\"schema\":");
			put_schema(&text, &plan->root, NULL,
					   settings->decimal_format == DECIMAL_FORMAT_NUMERIC);
			put_text(&text, ",\"payload\":");
			plan->before = make_piece(&text);
			pfree(text.data);
		}
	}
	PG_FINALLY();
	{
		json_decref(json);
	}
	PG_END_TRY();
	list_free(named);
	return plan;
}

/*
 * A schema's plan, made when it is first asked for.  Where that fails nothing
 * is left behind.
 */
static const JsonPlan *
get_plan(EventSchema *schema, const Settings *settings, bool is_key)
{
	MemoryContext owner;
	MemoryContext context;
	MemoryContext caller;
	JsonPlan   *plan;

	if (likely(schema->plan != NULL))
		return schema->plan;
	owner = GetMemoryChunkContext(schema->text);
	context = AllocSetContextCreate(CurrentMemoryContext,
									"wal2kafka JSON plan",
									ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	plan = make_plan(schema, settings, is_key);
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, owner);
	schema->plan = plan;
	return plan;
}

/* ---------------------------------------------------------------------
 * From Avro bytes to text
 * --------------------------------------------------------------------- */

static void
walk_float(Walk *walk, bool is_double)
{
	uint64		bits = avro_read_little_endian(&walk->in, is_double ? 8 : 4);
	uint32		low = (uint32) bits;
	double		value;
	float		single;

	memcpy(&value, &bits, sizeof(value));
	memcpy(&single, &low, sizeof(single));
	if (!is_double)
		value = single;
	/* JSON has no word for these */
	if (walk->style == STYLE_JSON && !isfinite(value))
		put_special_quoted(walk->out, value);
	else if (is_double)
		java_put_double(walk->out, value);
	else
		java_put_float(walk->out, single);
}

/*
 * A time as SimpleHeaderConverter writes Java's Date, which it takes for a
 * time of day before 1970-01-02, and for a date at midnight.
 */
static void
put_header_time(AvroBuffer *out, int64 ms)
{
	int64		days = ms / MS_PER_DAY;
	int			of_day = (int) (ms % MS_PER_DAY);
	char		text[80];
	int			len = 0;
	int			year;
	int			month;
	int			day;

	if (of_day < 0)
	{
		of_day += (int) MS_PER_DAY;
		days--;
	}
	if (ms >= MS_PER_DAY)
	{
		j2date((int) days + UNIX_EPOCH_JDATE, &year, &month, &day);
		len = snprintf(text, sizeof(text), "%04d-%02d-%02d%s", year, month,
					   day, of_day == 0 ? "" : "T");
	}
	if (ms < MS_PER_DAY || of_day != 0)
		len += snprintf(text + len, sizeof(text) - len,
						"%02d:%02d:%02d.%03dZ", of_day / 3600000,
						of_day / 60000 % 60, of_day / 1000 % 60,
						of_day % 1000);
	avro_put_raw(out, text, len);
}

static void
walk_integer(Walk *walk, const ConnectType *type)
{
	int64		value = avro_read_long(&walk->in);

	if (walk->style != STYLE_HEADER || type->logical == LOGICAL_NONE)
		java_put_int64(walk->out, value);
	else
		put_header_time(walk->out, type->logical == LOGICAL_DATE ?
						value * MS_PER_DAY : value);
}

static void
walk_string(Walk *walk, bool embedded)
{
	int64		len = avro_read_long(&walk->in);
	const char *text = (const char *) avro_read_raw(&walk->in, len);

	if (walk->style == STYLE_JSON)
		java_put_json_string(walk->out, text, len);
	else if (walk->style == STYLE_HEADER && embedded)
		put_header_string(walk->out, text, len);
	else
		avro_put_raw(walk->out, text, len);
}

static void
walk_bytes(Walk *walk, const ConnectType *type, bool embedded)
{
	int64		len = avro_read_long(&walk->in);
	const uint8 *bytes = avro_read_raw(&walk->in, len);

	if (walk->style == STYLE_JSON)
		put_bytes(walk->out, type, bytes, len, walk->numeric);
	else if (type->logical == LOGICAL_DECIMAL)
		java_put_decimal(walk->out, bytes, len, type->scale);
	else if (walk->style == STYLE_HEADER && embedded)
		put_bytes(walk->out, type, bytes, len, false);
	else
		java_put_base64(walk->out, bytes, len);
}

/*
 * In Java's text form fields that are null are left out.
 */
static void
walk_struct_as_string(Walk *walk, const ConnectType *type)
{
	bool		first = true;

	put_text(walk->out, "Struct{");
	for (int i = 0; i < type->nfields; i++)
	{
		const ConnectField *field = &type->fields[i];
		const Piece *label = &field->label[STYLE_STRING];
		ConnectPlace place = field->place;

		if (place.optional && avro_read_long(&walk->in) == place.null_branch)
			continue;
		place.optional = false;
		if (!first)
			avro_put_raw(walk->out, ",", 1);
		first = false;
		avro_put_raw(walk->out, label->data, label->len);
		walk_place(walk, &place, true);
	}
	avro_put_raw(walk->out, "}", 1);
}

static void
walk_struct(Walk *walk, const ConnectType *type)
{
	if (walk->style == STYLE_STRING)
	{
		walk_struct_as_string(walk, type);
		return;
	}
	for (int i = 0; i < type->nfields; i++)
	{
		const ConnectField *field = &type->fields[i];
		const Piece *label = &field->label[walk->style];

		avro_put_raw(walk->out, label->data, label->len);
		walk_place(walk, &field->place, true);
	}
	if (type->nfields == 0)
		avro_put_raw(walk->out, "{", 1);
	avro_put_raw(walk->out, "}", 1);
}

/*
 * One item, or key and value.
 */
static void
walk_item(Walk *walk, const ConnectType *type)
{
	bool		pairs = type->kind == CONNECT_ENTRIES &&
		walk->style == STYLE_JSON;

	if (type->kind == CONNECT_ARRAY)
	{
		walk_place(walk, &type->item, true);
		return;
	}
	if (pairs)
		avro_put_raw(walk->out, "[", 1);
	walk_place(walk, &type->key, true);
	avro_put_raw(walk->out, pairs ? "," :
				 walk->style == STYLE_STRING ? "=" : ":", 1);
	walk_place(walk, &type->item, true);
	if (pairs)
		avro_put_raw(walk->out, "]", 1);
}

/*
 * Arrays and maps come in blocks; a negative count is followed by the block's
 * size.
 */
static void
walk_blocks(Walk *walk, const ConnectType *type)
{
	bool		brackets = type->kind == CONNECT_ARRAY ||
		(type->kind == CONNECT_ENTRIES && walk->style == STYLE_JSON);
	const char *separator = walk->style == STYLE_STRING ? ", " : ",";
	bool		first = true;
	int64		count;

	avro_put_raw(walk->out, brackets ? "[" : "{", 1);
	while ((count = avro_read_long(&walk->in)) != 0)
	{
		if (count < 0)
		{
			count = count == PG_INT64_MIN ? PG_INT64_MAX : -count;
			(void) avro_read_long(&walk->in);
		}
		for (; count > 0; count--)
		{
			CHECK_FOR_INTERRUPTS();
			if (!first)
				put_text(walk->out, separator);
			first = false;
			walk_item(walk, type);
		}
	}
	avro_put_raw(walk->out, brackets ? "]" : "}", 1);
}

static void
walk_place(Walk *walk, const ConnectPlace *place, bool embedded)
{
	const ConnectType *type = place->type;

	if (place->optional && avro_read_long(&walk->in) == place->null_branch)
	{
		avro_put_raw(walk->out, "null", 4);
		return;
	}
	switch (type->kind)
	{
		case CONNECT_BOOLEAN:
			put_text(walk->out, *avro_read_raw(&walk->in, 1) ? "true" : "false");
			break;
		case CONNECT_INT8:
		case CONNECT_INT16:
		case CONNECT_INT32:
		case CONNECT_INT64:
			walk_integer(walk, type);
			break;
		case CONNECT_FLOAT:
		case CONNECT_DOUBLE:
			walk_float(walk, type->kind == CONNECT_DOUBLE);
			break;
		case CONNECT_BYTES:
			walk_bytes(walk, type, embedded);
			break;
		case CONNECT_STRING:
			walk_string(walk, embedded);
			break;
		case CONNECT_STRUCT:
			check_stack_depth();
			walk_struct(walk, type);
			break;
		case CONNECT_ARRAY:
		case CONNECT_MAP:
		case CONNECT_ENTRIES:
			check_stack_depth();
			walk_blocks(walk, type);
			break;
	}
}

static void
walk_datum(AvroBuffer *out, const ConnectPlace *root, EventBytes bytes,
		   TextStyle style, bool numeric)
{
	Walk		walk = {
		.in = {bytes.data, bytes.data + bytes.len},
		.out = out,
		.style = style,
		.numeric = numeric,
	};

	walk_place(&walk, root, false);
	if (walk.in.p != walk.in.end)
		avro_read_failed();
}

/* ---------------------------------------------------------------------
 * Events
 * --------------------------------------------------------------------- */

static void
raise_too_large(const JsonConverter *converter, const Event *event,
				bool is_key, size_t size)
{
	const EventBytes *bytes = &event->key;
	char	   *key = is_key ? "what is too large" : "null";
	size_t		len = strlen(key);

	if (is_key)
		 /* it is not converted */ ;
	else if (bytes->data != NULL &&
			 event->target->key.format == EVENT_FORMAT_BARE)
	{
		key = (char *) bytes->data;
		len = bytes->len;
	}
	else if (bytes->data != NULL)
		json_encode_header(&event->target->key, converter->settings, *bytes,
						   &key, &len);
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("event of topic \"%s\" is too large as JSON",
					event->target->topic),
			 errdetail("Its key is %s, its LSN %X/%X. It needs %zu bytes, the limit is %zu.",
					   pg_any_to_server(pnstrdup(key, len), len, PG_UTF8),
					   LSN_FORMAT_ARGS(event->lsn), size,
					   (size_t) MAX_EVENT_SIZE)));
}

static void
start_buffer(JsonConverter *converter, AvroBuffer *buf)
{
	if (unlikely(buf->size > KEEP_BUFFER_SIZE))
	{
		pfree(buf->data);
		avro_buffer_init(buf, converter->context);
	}
	buf->len = 0;
	avro_buffer_reserve(buf, EVENT_HEADROOM);
	buf->len = EVENT_HEADROOM;
}

static void
convert(JsonConverter *converter, const Event *event, EventSchema *schema,
		bool is_key, AvroBuffer *buf, EventBytes *bytes)
{
	const Settings *settings = converter->settings;
	RecordFormat format = record_format(settings, is_key);
	const JsonPlan *plan;

	if (format == RECORD_FORMAT_AVRO || schema->text == NULL)
		return;
	schema->format = EVENT_FORMAT_BARE;
	if (bytes->data == NULL)
		return;

	plan = get_plan(schema, settings, is_key);
	start_buffer(converter, buf);
	if (plan->before.len > 0)
		avro_put_raw(buf, plan->before.data, plan->before.len);
	walk_datum(buf, &plan->root, *bytes,
			   format == RECORD_FORMAT_STRING ? STYLE_STRING : STYLE_JSON,
			   settings->decimal_format == DECIMAL_FORMAT_NUMERIC);
	if (plan->before.len > 0)
		avro_put_raw(buf, "}", 1);
	if (buf->len > MAX_EVENT_SIZE)
		raise_too_large(converter, event, is_key, buf->len);
	bytes->data = buf->data + EVENT_HEADROOM;
	bytes->len = buf->len - EVENT_HEADROOM;
}

void
json_encode_event(JsonConverter *converter, Event *event)
{
	convert(converter, event, &event->target->key, true, &converter->key,
			&event->key);
	convert(converter, event, &event->target->value, false,
			&converter->value, &event->value);
}

void
json_encode_header(const EventSchema *schema, const Settings *settings,
				   EventBytes bytes, char **text, size_t *len)
{
	const JsonPlan *plan = get_plan(unconstify(EventSchema *, schema),
									settings, true);
	AvroBuffer	buf;

	avro_buffer_init(&buf, CurrentMemoryContext);
	walk_datum(&buf, &plan->root, bytes, STYLE_HEADER, false);
	*text = (char *) buf.data;
	*len = buf.len;
}
