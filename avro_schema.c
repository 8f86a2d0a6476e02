/*
 * avro_schema.c
 *		Avro schema texts, as Debezium's records get them from Confluent's
 *		AvroData.
 *
 * The registry compares schemas as parsed and rendered text, so the order and
 * presence of every property counts: equal text means that ids which are
 * registered already are found again.
 *
 * libavro parses each schema before it is used, as an independent check.  It
 * allocates with malloc() and never calls back into the server, so no error
 * can be raised through it; what it allocated is freed before we raise one.
 */
#include "postgres.h"

#include <avro.h>
#include <jansson.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "avro_schema.h"

/* numeric.c's limit of what a value can have (NUMERIC_DSCALE_MAX) */
#define MAX_DECIMAL_SCALE	0x3FFF

#define CONNECTOR_NAMESPACE	"io.debezium.connector.postgresql"

/*
 * The source block's fields and the versions of Debezium that have them
 * (debezium-format.md, 4 and 5)
 */
#define FIRST_VERSION	DEBEZIUM_2_7
#define LAST_VERSION	DEBEZIUM_3_7

#define SNAPSHOT_FIELD(allowed) \
	"{\"name\":\"snapshot\",\"type\":[{\"type\":\"string\",\"connect.version\":1," \
	"\"connect.parameters\":{\"allowed\":\"" allowed "\"}," \
	"\"connect.default\":\"false\",\"connect.name\":\"io.debezium.data.Enum\"}," \
	"\"null\"],\"default\":\"false\"},"

static const struct
{
	DebeziumVersion first;
	DebeziumVersion last;
	const char *text;
}			source_parts[] = {
	{FIRST_VERSION, LAST_VERSION,
		"{\"name\":\"version\",\"type\":\"string\"},"
		"{\"name\":\"connector\",\"type\":\"string\"},"
		"{\"name\":\"name\",\"type\":\"string\"},"
	"{\"name\":\"ts_ms\",\"type\":\"long\"},"},
	{FIRST_VERSION, DEBEZIUM_2_7,
	SNAPSHOT_FIELD("true,last,false,incremental")},
	{DEBEZIUM_3_1, LAST_VERSION,
		SNAPSHOT_FIELD("true,first,first_in_data_collection,"
	"last_in_data_collection,last,false,incremental")},
	{FIRST_VERSION, LAST_VERSION,
		"{\"name\":\"db\",\"type\":\"string\"},"
		"{\"name\":\"sequence\",\"type\":[\"null\",\"string\"],\"default\":null},"
		"{\"name\":\"ts_us\",\"type\":[\"null\",\"long\"],\"default\":null},"
		"{\"name\":\"ts_ns\",\"type\":[\"null\",\"long\"],\"default\":null},"
		"{\"name\":\"schema\",\"type\":\"string\"},"
		"{\"name\":\"table\",\"type\":\"string\"},"
		"{\"name\":\"txId\",\"type\":[\"null\",\"long\"],\"default\":null},"
		"{\"name\":\"lsn\",\"type\":[\"null\",\"long\"],\"default\":null},"
	"{\"name\":\"xmin\",\"type\":[\"null\",\"long\"],\"default\":null}"},
	{DEBEZIUM_3_5, LAST_VERSION,
		",{\"name\":\"origin\",\"type\":[\"null\",\"string\"],\"default\":null},"
	"{\"name\":\"origin_lsn\",\"type\":[\"null\",\"long\"],\"default\":null}"},
	{FIRST_VERSION, LAST_VERSION, "],"},
	{DEBEZIUM_3_1, LAST_VERSION, "\"connect.version\":1,"},
	{FIRST_VERSION, LAST_VERSION,
	"\"connect.name\":\"" CONNECTOR_NAMESPACE ".Source\"}"},
};

#define TRANSACTION_FIELD \
	"{\"name\":\"transaction\",\"type\":[\"null\"," \
	"{\"type\":\"record\",\"name\":\"block\",\"namespace\":\"event\",\"fields\":[" \
	"{\"name\":\"id\",\"type\":\"string\"}," \
	"{\"name\":\"total_order\",\"type\":\"long\"}," \
	"{\"name\":\"data_collection_order\",\"type\":\"long\"}]," \
	"\"connect.version\":1,\"connect.name\":\"event.block\"}],\"default\":null}"

/* What follows the source block in the envelope */
static const char envelope_end[] =
TRANSACTION_FIELD ","
"{\"name\":\"op\",\"type\":\"string\"},"
"{\"name\":\"ts_ms\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"ts_us\",\"type\":[\"null\",\"long\"],\"default\":null},"
"{\"name\":\"ts_ns\",\"type\":[\"null\",\"long\"],\"default\":null}]";

static const char message_key_text[] =
"{\"type\":\"record\",\"name\":\"MessageKey\",\"namespace\":\"" CONNECTOR_NAMESPACE "\",\"fields\":["
"{\"name\":\"prefix\",\"type\":[\"null\",\"string\"],\"default\":null}],"
"\"connect.version\":1,\"connect.name\":\"" CONNECTOR_NAMESPACE ".MessageKey\"}";

static void append_canonical(StringInfo out, const AvroNode *node,
							 List **written);

/* ---------------------------------------------------------------------
 * Names
 * --------------------------------------------------------------------- */

static bool
is_letter(unsigned c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(unsigned c)
{
	return c >= '0' && c <= '9';
}

/* ---------------------------------------------------------------------
 * Texts
 * --------------------------------------------------------------------- */

void
avro_schema_append_string(StringInfo out, const char *text, size_t len)
{
	static const char escaped[] = "\b\t\n\f\r\"\\";
	static const char letters[] = "btnfr\"\\";
	size_t		start = 0;		/* of what is copied as it is */

	if (len >= MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("text of %zu bytes is too large for JSON", len)));

	appendStringInfoChar(out, '"');
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = text[i];
		const char *special;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;

		appendBinaryStringInfo(out, text + start, (int) (i - start));
		start = i + 1;
		special = c != '\0' ? strchr(escaped, c) : NULL;
		if (special)
		{
			appendStringInfoChar(out, '\\');
			appendStringInfoChar(out, letters[special - escaped]);
		}
		else
			appendStringInfo(out, "\\u%04X", c);
	}
	appendBinaryStringInfo(out, text + start, (int) (len - start));
	appendStringInfoChar(out, '"');
}

/*
 * libavro is no validator (it accepts wrong defaults and duplicate fields),
 * but what it cannot parse no consumer can.  It gets the canonical form: it
 * has no use for the rest, and refuses the \u0000 in a decimal's default.
 */
static void
check_with_libavro(const char *canonical)
{
	avro_schema_t schema;

	if (avro_schema_from_json_length(canonical, strlen(canonical), &schema) != 0)
		elog(ERROR, "libavro refuses a generated schema: %s: %s",
			 avro_strerror(), canonical);
	avro_schema_decref(schema);
}

/*
 * Schemas are built in a scratch context, and only what lasts is copied into
 * the caller's: an entry of a relation should be small.
 */
static MemoryContext
enter_scratch_context(void)
{
	return MemoryContextSwitchTo(AllocSetContextCreate(CurrentMemoryContext,
													   "wal2kafka schema",
													   ALLOCSET_DEFAULT_SIZES));
}

/*
 * Check and copy; leaves the scratch context for the caller's, and drops it.
 * What is not sent as Avro may have names that Avro forbids, and needs no
 * fingerprint.
 */
static void
finish_schema(EventSchema *schema, const char *text, const char *full_name,
			  MemoryContext caller)
{
	MemoryContext scratch = CurrentMemoryContext;
	size_t		len = strlen(text);

	if (schema->format == EVENT_FORMAT_AVRO)
	{
		char	   *canonical = avro_schema_canonical_form(text);

		check_with_libavro(canonical);
		schema->fingerprint = avro_fingerprint(canonical, strlen(canonical));
	}

	MemoryContextSwitchTo(caller);
	schema->text = pnstrdup(text, len);
	schema->text_len = len;
	schema->full_name = pstrdup(full_name);
	MemoryContextDelete(scratch);
}

static void
check_field_names(const char *namespace, const SchemaField *fields,
				  int nfields)
{
	for (int i = 0; i < nfields; i++)
	{
		for (int j = 0; j < i; j++)
		{
			if (strcmp(fields[i].name, fields[j].name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("two columns of \"%s\" have the field name \"%s\" after adjustment",
								namespace, fields[i].name),
						 errhint("Set \"wal2kafka.field_name_adjustment_mode\" to \"avro_unicode\", or rename a column.")));
		}
	}
}

void
avro_schema_append_type(StringInfo out, const char *namespace,
						const SchemaField *field, List **named)
{
	bool		null_first = avro_schema_null_branch(field) == 0;

	if (field->optional)
		appendStringInfoString(out, null_first ? "[\"null\"," : "[");
	type_map_append_schema(out, field->type, &field->annotations, namespace,
						   named);
	if (field->optional)
		appendStringInfoString(out, null_first ? "]" : ",\"null\"]");
}

void
avro_schema_append_fields(StringInfo out, const char *namespace,
						  const SchemaField *fields, int nfields,
						  List **named)
{
	check_field_names(namespace, fields, nfields);
	for (int i = 0; i < nfields; i++)
	{
		const SchemaField *field = &fields[i];
		const char *default_json = field->annotations.default_json;

		appendStringInfo(out, "%s{\"name\":", i > 0 ? "," : "");
		avro_schema_append_string(out, field->name, strlen(field->name));
		appendStringInfoString(out, ",\"type\":");
		avro_schema_append_type(out, namespace, field, named);
		if (default_json == NULL && field->optional)
			default_json = "null";
		if (default_json)
			appendStringInfo(out, ",\"default\":%s", default_json);
		type_map_append_field_parameters(out, field->type,
										 &field->annotations, named);
		appendStringInfoChar(out, '}');
	}
}

static void
append_fields(StringInfo out, const char *namespace,
			  const SchemaField *fields, int nfields)
{
	List	   *named = NIL;

	avro_schema_append_fields(out, namespace, fields, nfields, &named);
}

void
avro_schema_finish(EventSchema *schema, const char *text,
				   const char *full_name)
{
	MemoryContext caller = enter_scratch_context();

	finish_schema(schema, text, full_name, caller);
}

bool
avro_schema_is_name(const char *name)
{
	if (!is_letter((unsigned char) name[0]) && name[0] != '_')
		return false;
	for (const char *p = name; *p != '\0'; p++)
		if (!is_letter((unsigned char) *p) && !is_digit((unsigned char) *p) &&
			*p != '_')
			return false;
	return true;
}

void
avro_schema_key(EventSchema *schema, const char *namespace,
				const SchemaField *fields, int nfields)
{
	MemoryContext caller = enter_scratch_context();
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"type\":\"record\",\"name\":\"Key\",\"namespace\":\"%s\",\"fields\":[",
					 namespace);
	append_fields(&out, namespace, fields, nfields);
	appendStringInfo(&out, "],\"connect.name\":\"%s.Key\"}", namespace);

	finish_schema(schema, out.data, psprintf("%s.Key", namespace), caller);
}

/*
 * The record "Source"; its namespace is left out where it is the enclosing
 * one.
 */
static void
append_source(StringInfo out, DebeziumVersion version,
			  const char *namespace_property)
{
	appendStringInfo(out, "{\"type\":\"record\",\"name\":\"Source\",%s\"fields\":[",
					 namespace_property);
	for (int i = 0; i < lengthof(source_parts); i++)
		if (version >= source_parts[i].first &&
			version <= source_parts[i].last)
			appendStringInfoString(out, source_parts[i].text);
}

void
avro_schema_envelope(EventSchema *schema, DebeziumVersion version,
					 const char *namespace, const SchemaField *fields,
					 int nfields)
{
	MemoryContext caller = enter_scratch_context();
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"%s\",\"fields\":["
					 "{\"name\":\"before\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Value\",\"fields\":[",
					 namespace);
	append_fields(&out, namespace, fields, nfields);
	appendStringInfo(&out, "],\"connect.name\":\"%s.Value\"}],\"default\":null},"
					 "{\"name\":\"after\",\"type\":[\"null\",\"Value\"],\"default\":null},"
					 "{\"name\":\"source\",\"type\":", namespace);
	append_source(&out, version, "\"namespace\":\"" CONNECTOR_NAMESPACE "\",");
	appendStringInfo(&out, "},%s", envelope_end);
	appendStringInfo(&out, ",\"connect.version\":2,\"connect.name\":\"%s.Envelope\"}",
					 namespace);

	finish_schema(schema, out.data, psprintf("%s.Envelope", namespace), caller);
}

void
avro_schema_message(EventSchema *key, EventSchema *value,
					DebeziumVersion version, bool content_is_text)
{
	MemoryContext caller = enter_scratch_context();
	StringInfoData out;

	finish_schema(key, message_key_text, CONNECTOR_NAMESPACE ".MessageKey",
				  caller);

	caller = enter_scratch_context();
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"type\":\"record\",\"name\":\"MessageValue\",\"namespace\":\"" CONNECTOR_NAMESPACE "\",\"fields\":["
						   "{\"name\":\"op\",\"type\":\"string\"},"
						   "{\"name\":\"ts_ms\",\"type\":[\"null\",\"long\"],\"default\":null},"
						   "{\"name\":\"source\",\"type\":");
	append_source(&out, version, "");
	appendStringInfoString(&out, "},");
	if (avro_schema_message_has_transaction(version))
		appendStringInfoString(&out, TRANSACTION_FIELD ",");
	appendStringInfo(&out, "{\"name\":\"message\",\"type\":{\"type\":\"record\",\"name\":\"Message\",\"fields\":["
					 "{\"name\":\"prefix\",\"type\":[\"null\",\"string\"],\"default\":null},"
					 "{\"name\":\"content\",\"type\":[\"null\",\"%s\"],\"default\":null}],"
					 "\"connect.version\":1,\"connect.name\":\"" CONNECTOR_NAMESPACE ".Message\"}}],"
					 "\"connect.version\":1,\"connect.name\":\"" CONNECTOR_NAMESPACE ".MessageValue\"}",
					 content_is_text ? "string" : "bytes");
	finish_schema(value, out.data, CONNECTOR_NAMESPACE ".MessageValue",
				  caller);
}

/* ---------------------------------------------------------------------
 * Parsing
 * --------------------------------------------------------------------- */

static const struct
{
	const char *name;
	AvroKind	kind;
}			primitives[] = {
	{"null", AVRO_KIND_NULL},
	{"boolean", AVRO_KIND_BOOLEAN},
	{"int", AVRO_KIND_INT},
	{"long", AVRO_KIND_LONG},
	{"float", AVRO_KIND_FLOAT},
	{"double", AVRO_KIND_DOUBLE},
	{"bytes", AVRO_KIND_BYTES},
	{"string", AVRO_KIND_STRING},
};

static AvroNode *parse_node(const json_t *json, const char *namespace,
							List **named);

static void
raise_no_schema(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid Avro schema: %s", reason)));
}

static const char *
string_property(const json_t *json, const char *name)
{
	const char *value = json_string_value(json_object_get(json, name));

	if (value == NULL)
		raise_no_schema(psprintf("\"%s\" is missing", name));
	return value;
}

/*
 * A name's characters.  Their order is not looked at: what matters is that a
 * name can be put between quotes as it is.
 */
static char *
name_property(const json_t *json, const char *name)
{
	const char *value = string_property(json, name);

	for (const char *p = value; *p != '\0'; p++)
	{
		if (!is_letter((unsigned char) *p) && !is_digit((unsigned char) *p) &&
			*p != '_' && *p != '.')
			raise_no_schema("a name has other characters than letters, digits, underscores and dots");
	}
	return pstrdup(value);
}

static AvroNode *
make_node(AvroKind kind, int nchildren)
{
	AvroNode   *node = palloc0(sizeof(AvroNode));

	node->kind = kind;
	node->nchildren = nchildren;
	node->children = palloc0(sizeof(AvroNode *) * (nchildren + 1));
	return node;
}

static char *
qualified_name(const char *name, const char *namespace)
{
	if (strchr(name, '.') || namespace[0] == '\0')
		return pstrdup(name);
	return psprintf("%s.%s", namespace, name);
}

/* A primitive, or a record that was defined before. */
static AvroNode *
parse_name(const char *name, const char *namespace, List *named)
{
	char	   *full_name;
	ListCell   *lc;

	for (int i = 0; i < lengthof(primitives); i++)
	{
		if (strcmp(name, primitives[i].name) == 0)
			return make_node(primitives[i].kind, 0);
	}

	full_name = qualified_name(name, namespace);
	foreach(lc, named)
	{
		AvroNode   *node = lfirst(lc);

		if (strcmp(node->full_name, full_name) == 0)
			return node;
	}
	raise_no_schema(psprintf("unknown type \"%s\"", full_name));
	return NULL;				/* not reached */
}

/* Avro allows a name once in a record. */
static void
check_new_name(const AvroNode *node, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(node->names[i], node->names[n]) == 0)
			raise_no_schema(psprintf("two fields have the name \"%s\"",
									 node->names[n]));
}

static AvroNode *
parse_record(const json_t *json, const char *namespace, List **named)
{
	const json_t *fields = json_object_get(json, "fields");
	const char *own = json_object_get(json, "namespace") ?
		name_property(json, "namespace") : NULL;
	AvroNode   *node = make_node(AVRO_KIND_RECORD, (int) json_array_size(fields));
	char	   *dot;

	node->full_name = qualified_name(name_property(json, "name"),
									 own ? own : namespace);
	*named = lappend(*named, node);

	dot = strrchr(node->full_name, '.');
	namespace = dot ? pnstrdup(node->full_name, dot - node->full_name) : "";

	node->names = palloc0(sizeof(char *) * (node->nchildren + 1));
	for (int i = 0; i < node->nchildren; i++)
	{
		const json_t *field = json_array_get(fields, i);

		node->names[i] = name_property(field, "name");
		check_new_name(node, i);
		node->children[i] = parse_node(json_object_get(field, "type"),
									   namespace, named);
	}
	return node;
}

static AvroNode *
parse_object(const json_t *json, const char *namespace, List **named)
{
	const char *type = string_property(json, "type");
	const char *logical = json_string_value(json_object_get(json, "logicalType"));
	AvroNode   *node;

	if (strcmp(type, "record") == 0)
		return parse_record(json, namespace, named);
	if (strcmp(type, "array") == 0)
	{
		node = make_node(AVRO_KIND_ARRAY, 1);
		node->children[0] = parse_node(json_object_get(json, "items"),
									   namespace, named);
		return node;
	}
	if (strcmp(type, "map") == 0)
	{
		node = make_node(AVRO_KIND_MAP, 1);
		node->children[0] = parse_node(json_object_get(json, "values"),
									   namespace, named);
		return node;
	}

	node = parse_name(type, namespace, *named);
	if (node->kind == AVRO_KIND_BYTES && logical &&
		strcmp(logical, "decimal") == 0)
	{
		json_int_t	scale = json_integer_value(json_object_get(json, "scale"));

		if (scale < 0 || scale > MAX_DECIMAL_SCALE)
			raise_no_schema("a decimal's scale is out of range");
		node->decimal = true;
		node->scale = (int) scale;
	}
	return node;
}

static AvroNode *
parse_node(const json_t *json, const char *namespace, List **named)
{
	check_stack_depth();

	if (json_is_string(json))
		return parse_name(json_string_value(json), namespace, *named);
	if (json_is_object(json))
		return parse_object(json, namespace, named);
	if (json_is_array(json))
	{
		AvroNode   *node = make_node(AVRO_KIND_UNION, (int) json_array_size(json));

		for (int i = 0; i < node->nchildren; i++)
			node->children[i] = parse_node(json_array_get(json, i), namespace,
										   named);
		return node;
	}
	raise_no_schema("a type is neither string, object nor array");
	return NULL;				/* not reached */
}

AvroNode *
avro_schema_parse(const char *text, size_t len)
{
	json_error_t error;
	json_t	   *json = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL,
								  &error);
	List	   *named = NIL;
	AvroNode   *volatile node = NULL;

	if (json == NULL)
		raise_no_schema(psprintf("%s", error.text));

	PG_TRY();
	{
		node = parse_node(json, "", &named);
	}
	PG_FINALLY();
	{
		json_decref(json);
	}
	PG_END_TRY();

	list_free(named);
	return node;
}

/* ---------------------------------------------------------------------
 * Canonical form
 * --------------------------------------------------------------------- */

static void
append_canonical_record(StringInfo out, const AvroNode *node, List **written)
{
	/* The second use is by name. */
	if (list_member_ptr(*written, node))
	{
		appendStringInfo(out, "\"%s\"", node->full_name);
		return;
	}
	*written = lappend(*written, (void *) node);

	appendStringInfo(out, "{\"name\":\"%s\",\"type\":\"record\",\"fields\":[",
					 node->full_name);
	for (int i = 0; i < node->nchildren; i++)
	{
		appendStringInfo(out, "%s{\"name\":\"%s\",\"type\":",
						 i > 0 ? "," : "", node->names[i]);
		append_canonical(out, node->children[i], written);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoString(out, "]}");
}

static void
append_canonical(StringInfo out, const AvroNode *node, List **written)
{
	switch (node->kind)
	{
		case AVRO_KIND_NULL:
		case AVRO_KIND_BOOLEAN:
		case AVRO_KIND_INT:
		case AVRO_KIND_LONG:
		case AVRO_KIND_FLOAT:
		case AVRO_KIND_DOUBLE:
		case AVRO_KIND_BYTES:
		case AVRO_KIND_STRING:
			appendStringInfo(out, "\"%s\"", primitives[node->kind].name);
			break;
		case AVRO_KIND_RECORD:
			append_canonical_record(out, node, written);
			break;
		case AVRO_KIND_ARRAY:
			appendStringInfoString(out, "{\"type\":\"array\",\"items\":");
			append_canonical(out, node->children[0], written);
			appendStringInfoChar(out, '}');
			break;
		case AVRO_KIND_MAP:
			appendStringInfoString(out, "{\"type\":\"map\",\"values\":");
			append_canonical(out, node->children[0], written);
			appendStringInfoChar(out, '}');
			break;
		case AVRO_KIND_UNION:
			appendStringInfoChar(out, '[');
			for (int i = 0; i < node->nchildren; i++)
			{
				if (i > 0)
					appendStringInfoChar(out, ',');
				append_canonical(out, node->children[i], written);
			}
			appendStringInfoChar(out, ']');
			break;
	}
}

char *
avro_schema_canonical_form(const char *text)
{
	AvroNode   *node = avro_schema_parse(text, strlen(text));
	List	   *written = NIL;
	StringInfoData out;

	initStringInfo(&out);
	append_canonical(&out, node, &written);
	list_free(written);
	return out.data;
}
