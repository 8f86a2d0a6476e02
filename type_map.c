/*
 * type_map.c
 *		How a column's type becomes Avro: one row a type.
 *
 * A row of type_mappings[] says everything of a type: which shape of Avro
 * value it takes, under which of Debezium's semantic names, the encoder, and
 * what stands for a value that is not there.  A type whose mapping depends on
 * its modifier has several rows, of which the first that applies counts.
 * What has no row is sent as its text form.
 *
 * Shapes (AvroShape) are what many rows share: the schema's skeleton and the
 * renderings of "no value" and "unavailable value".
 *
 * Arrays.  The schema belongs to the column, but any array column may hold
 * any number of dimensions.  A column declared with n dimensions is n Avro
 * arrays, one in the other; a value of another number of dimensions is
 * brought to that (encode_nested_array()).  (Debezium sends an array of
 * nulls.)
 *
 * Differences from Debezium's mapping, all where it loses or refuses values:
 * numeric with a negative scale is a decimal of scale 0; domains are mapped as
 * their base type in arrays too; types that Debezium drops or sends as bytes
 * (composites, multiranges, tsquery, pg_lsn, xid, reg*, ...) are strings;
 * arrays of any type are arrays.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/md5.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "avro_schema.h"
#include "type_default.h"
#include "type_encode.h"
#include "type_geometry.h"
#include "type_map.h"
#include "type_modes.h"
#include "type_text.h"
#include "type_time.h"
#include "type_vector.h"

/*
 * A kind of Avro value.
 */
typedef struct AvroShape
{
	/* primitive: its name; otherwise append writes the schema */
	const char *primitive;
	void		(*append) (StringInfo out, const TypeEncoder *encoder,
						   const TypeAnnotations *annotations,
						   const char *enclosing_namespace, List **named);
	const struct RecordSchema *record;
	const char *element_primitive;	/* of vectors */

	/* how its defaults are written in schemas; NULL: cannot have any */
	const DefaultFormat *default_format;

	/* what stands for no value */
	void		(*put_zero) (const TypeEncoder *encoder, AvroBuffer *buf);

	/* and for an unchanged TOAST value; NULL: nothing can */
	void		(*put_unavailable) (const TypeEncoder *encoder,
									AvroBuffer *buf);

	/* number: in arrays, bytes of the placeholder stand for themselves */
	void		(*put_number) (AvroBuffer *buf, int number);
} AvroShape;

struct TypeMapping
{
	Oid			typid;			/* InvalidOid: by name, or one of the classes */
	const char *name;			/* of an extension's type */
	const char *extension;
	bool		(*applies) (int32 typmod, const Settings *settings);	/* NULL: always */

	const AvroShape *shape;
	TypeEncodeFunc encode;
	const char *connect_name;	/* NULL: none */
	const char *connect_type;	/* NULL: none */
	const char *logical_type;	/* NULL: none; decimals have theirs */
	void		(*parameters) (StringInfo out, const TypeEncoder *encoder);
	bool		has_default;	/* can a default be in the schema? */
	bool		always_optional;	/* a union with null even if NOT NULL */
	bool		unknown;		/* has Debezium no mapping for it? */
	bool		unknown_array;	/* ... or none for arrays of it? */
	bool		required_element;	/* is an array's element never null? */

	/*
	 * Instead of the shape's: what a default that is a function call shows
	 * as, and what stands for no value where that is something else.
	 */
	void		(*put_zero) (const TypeEncoder *encoder, AvroBuffer *buf);
	void		(*put_fallback) (const TypeEncoder *encoder, AvroBuffer *buf);
	void		(*put_unavailable) (const TypeEncoder *encoder,
									AvroBuffer *buf);
};

/* A record type of Debezium's, written out at its first use in a schema. */
typedef struct RecordSchema
{
	const char *namespace;
	const char *name;
	const char *doc;
	int			version;
	const char *fields;			/* up to the nested record, if there is one */
	const struct RecordSchema *nested;
	const char *more_fields;
} RecordSchema;

static bool has_precision(int32 typmod, const Settings *settings);

/* Digits of a decimal that Spark and others read */
#define MAX_AVRO_PRECISION	38

/* What AvroData says where it does not know */
#define UNKNOWN_PRECISION	64

/* Before the point; 64 bits of cents */
#define MONEY_WHOLE_DIGITS	17

/* ---------------------------------------------------------------------
 * No value, and the unavailable value
 * --------------------------------------------------------------------- */

static void
put_string(AvroBuffer *buf, const char *text)
{
	avro_put_bytes(buf, text, strlen(text));
}

static void
zero_boolean(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_boolean(buf, false);
}

static void
zero_long(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_long(buf, 0);
}

static void
zero_float(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_float(buf, 0);
}

static void
zero_double(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_double(buf, 0);
}

static void
zero_json(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_string(buf, "{}");
}

/* Debezium's for any string. */
static void
fallback_empty(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_long(buf, 0);
}

static void
zero_uuid(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_string(buf, "00000000-0000-0000-0000-000000000000");
}

static void
zero_decimal(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_decimal_int64(buf, 0);
}

/* Zero, with as many digits behind the point as the column has. */
static void
put_zero_digits(AvroBuffer *buf, int scale)
{
	char		text[NUMERIC_MAX_RESULT_SCALE + 3] = "0.";

	memset(text + 2, '0', scale);
	avro_put_bytes(buf, text, scale > 0 ? 2 + scale : 1);
}

static void
fallback_numeric_text(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_zero_digits(buf, encoder->scale);
}

/* Debezium has a zero of one fraction digit for columns without a scale. */
static void
zero_numeric_text(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_zero_digits(buf, has_precision(encoder->typmod, NULL) ?
					encoder->scale : 1);
}

static void
zero_variable_scale_decimal(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_int(buf, 0);
	avro_put_decimal_int64(buf, 0);
}

static void
unavailable_text(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const TypePlaceholder *placeholder = encoder->placeholder;

	avro_put_bytes(buf, placeholder->text, placeholder->text_len);
}

static void
unavailable_bytes(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const TypePlaceholder *placeholder = encoder->placeholder;

	avro_put_bytes(buf, placeholder->bytes, placeholder->nbytes);
}

static void
unavailable_base64(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const TypePlaceholder *placeholder = encoder->placeholder;

	put_base64(buf, placeholder->bytes, placeholder->nbytes);
}

static void
unavailable_base64_url(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const TypePlaceholder *placeholder = encoder->placeholder;

	put_base64_url(buf, placeholder->bytes, placeholder->nbytes);
}

static void
unavailable_variable_scale_decimal(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_int(buf, 0);
	unavailable_bytes(encoder, buf);
}

static void
unavailable_geography(const TypeEncoder *encoder, AvroBuffer *buf)
{
	unavailable_bytes(encoder, buf);
	avro_put_long(buf, ELEMENT_NULL_BRANCH);
}

static void
unavailable_geometry(const TypeEncoder *encoder, AvroBuffer *buf)
{
	unavailable_bytes(encoder, buf);
	avro_put_long(buf, ELEMENT_NULL_BRANCH);
	avro_put_long(buf, ELEMENT_NULL_BRANCH);
}

static void
unavailable_hstore(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const TypePlaceholder *placeholder = encoder->placeholder;
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	avro_schema_append_string(&json, placeholder->text, placeholder->text_len);
	appendStringInfoChar(&json, ':');
	avro_schema_append_string(&json, placeholder->text, placeholder->text_len);
	appendStringInfoChar(&json, '}');
	avro_put_bytes(buf, json.data, json.len);
	pfree(json.data);
}

static void
unavailable_map(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_long(buf, 1);
	unavailable_text(encoder, buf);
	avro_put_long(buf, ELEMENT_VALUE_BRANCH);
	unavailable_text(encoder, buf);
	avro_put_long(buf, 0);
}

/* The placeholder's UUID of version 3, as Java's nameUUIDFromBytes(). */
static void
unavailable_uuid(const TypeEncoder *encoder, AvroBuffer *buf)
{
	pg_uuid_t	uuid = {0};
	const char *errstr = NULL;

	if (pg_md5_binary(encoder->placeholder->bytes,
					  encoder->placeholder->nbytes, uuid.data, &errstr))
	{
		uuid.data[6] = (uuid.data[6] & 0x0F) | 0x30;
		uuid.data[8] = (uuid.data[8] & 0x3F) | 0x80;
	}
	encode_uuid(NULL, UUIDPGetDatum(&uuid), buf);
}

/* No number; zero might be one. */
static void
unavailable_double(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_double(buf, get_float8_nan());
}

static void
number_long(AvroBuffer *buf, int number)
{
	avro_put_long(buf, number);
}

static void
number_float(AvroBuffer *buf, int number)
{
	avro_put_float(buf, number);
}

static void
number_double(AvroBuffer *buf, int number)
{
	avro_put_double(buf, number);
}

/* ---------------------------------------------------------------------
 * Schemas
 * --------------------------------------------------------------------- */

static const TypeAnnotations no_annotations = {0};

static void
append_doc(StringInfo out, const char *doc)
{
	if (doc == NULL)
		return;
	appendStringInfoString(out, ",\"connect.doc\":");
	avro_schema_append_string(out, doc, strlen(doc));
}

/*
 * connect.parameters: the type's own, then the column's.
 */
static void
append_parameters(StringInfo out, const TypeEncoder *encoder,
				  const TypeAnnotations *annotations)
{
	const TypeMapping *mapping = encoder->mapping;

	if (mapping->parameters == NULL && annotations->nparameters == 0)
		return;
	appendStringInfoString(out, ",\"connect.parameters\":{");
	if (mapping->parameters)
		mapping->parameters(out, encoder);
	for (int i = 0; i < annotations->nparameters; i++)
	{
		const char *name = annotations->parameters[2 * i];
		const char *value = annotations->parameters[2 * i + 1];

		if (i > 0 || mapping->parameters)
			appendStringInfoChar(out, ',');
		avro_schema_append_string(out, name, strlen(name));
		appendStringInfoChar(out, ':');
		avro_schema_append_string(out, value, strlen(value));
	}
	appendStringInfoChar(out, '}');
}

/*
 * The list of names that were written out also has, with this in front, those
 * of the records that were the type of a field.
 */
#define SEEN_IN_FIELD	"="

static bool
seen_in_field(const RecordSchema *record, List **named)
{
	char	   *mark = psprintf(SEEN_IN_FIELD "%s.%s", record->namespace,
								record->name);
	ListCell   *lc;

	foreach(lc, *named)
		if (strcmp(lfirst(lc), mark) == 0)
			return true;
	*named = lappend(*named, mark);
	return false;
}

static void
append_record_schema(StringInfo out, const RecordSchema *record,
					 const TypeEncoder *encoder,
					 const TypeAnnotations *annotations,
					 const char *enclosing_namespace, List **named)
{
	bool		same_namespace = strcmp(record->namespace, enclosing_namespace) == 0;
	char	   *full_name = psprintf("%s.%s", record->namespace, record->name);
	ListCell   *lc;

	foreach(lc, *named)
	{
		if (strcmp(lfirst(lc), full_name) == 0)
		{
			appendStringInfo(out, "\"%s\"",
							 same_namespace ? record->name : full_name);
			return;
		}
	}
	*named = lappend(*named, full_name);

	appendStringInfo(out, "{\"type\":\"record\",\"name\":\"%s\"", record->name);
	if (!same_namespace)
		appendStringInfo(out, ",\"namespace\":\"%s\"", record->namespace);
	appendStringInfo(out, ",\"fields\":[%s", record->fields);
	if (record->nested)
	{
		(void) seen_in_field(record->nested, named);
		append_record_schema(out, record->nested, NULL, NULL,
							 record->namespace, named);
		appendStringInfoString(out, record->more_fields);
	}
	appendStringInfoChar(out, ']');
	append_doc(out, record->doc ? record->doc :
			   annotations ? annotations->doc : NULL);
	appendStringInfo(out, ",\"connect.version\":%d", record->version);
	if (annotations)
		append_parameters(out, encoder, annotations);
	appendStringInfo(out, ",\"connect.name\":\"%s\"}", full_name);
}

static void
append_record(StringInfo out, const TypeEncoder *encoder,
			  const TypeAnnotations *annotations,
			  const char *enclosing_namespace, List **named)
{
	append_record_schema(out, encoder->mapping->shape->record, encoder,
						 annotations, enclosing_namespace, named);
}

static void
append_array(StringInfo out, const TypeEncoder *encoder,
			 const TypeAnnotations *annotations,
			 const char *enclosing_namespace, List **named)
{
	for (int i = 0; i < encoder->dimensions; i++)
		appendStringInfoString(out, "{\"type\":\"array\",\"items\":");
	if (encoder->elements_nullable)
		appendStringInfoString(out, "[\"null\",");
	type_map_append_schema(out, encoder->element, NULL, enclosing_namespace,
						   named);
	if (encoder->elements_nullable)
		appendStringInfoChar(out, ']');
	for (int i = 1; i < encoder->dimensions; i++)
		appendStringInfoChar(out, '}');
	append_doc(out, annotations->doc);
	append_parameters(out, encoder, annotations);
	appendStringInfoChar(out, '}');
}

/* An array whose numbers cannot be null. */
static void
append_vector(StringInfo out, const TypeEncoder *encoder,
			  const TypeAnnotations *annotations,
			  const char *enclosing_namespace, List **named)
{
	const TypeMapping *mapping = encoder->mapping;

	appendStringInfo(out, "{\"type\":\"array\",\"items\":\"%s\"",
					 mapping->shape->element_primitive);
	append_doc(out, annotations->doc);
	appendStringInfoString(out, ",\"connect.version\":1");
	append_parameters(out, encoder, annotations);
	appendStringInfo(out, ",\"connect.name\":\"%s\"}", mapping->connect_name);
}

static void
append_map(StringInfo out, const TypeEncoder *encoder,
		   const TypeAnnotations *annotations,
		   const char *enclosing_namespace, List **named)
{
	appendStringInfoString(out, "{\"type\":\"map\",\"values\":[\"null\",\"string\"]");
	append_doc(out, annotations->doc);
	append_parameters(out, encoder, annotations);
	appendStringInfoChar(out, '}');
}

static int
compare_sort_order(const void *a, const void *b)
{
	float4		x = ((const EnumLabel *) a)->sort_order;
	float4		y = ((const EnumLabel *) b)->sort_order;

	return x < y ? -1 : x > y;
}

static void
enum_parameters(StringInfo out, const TypeEncoder *encoder)
{
	EnumCache  *cache = encoder->cache;
	EnumLabel  *labels = palloc(sizeof(EnumLabel) * (cache->nlabels + 1));
	StringInfoData allowed;

	if (cache->nlabels > 0)
		memcpy(labels, cache->labels, sizeof(EnumLabel) * cache->nlabels);
	qsort(labels, cache->nlabels, sizeof(EnumLabel), compare_sort_order);

	initStringInfo(&allowed);
	for (int i = 0; i < cache->nlabels; i++)
		appendStringInfo(&allowed, "%s%s", i > 0 ? "," : "", labels[i].label);
	appendStringInfoString(out, "\"allowed\":");
	avro_schema_append_string(out, allowed.data, allowed.len);
}

static void
bits_parameters(StringInfo out, const TypeEncoder *encoder)
{
	appendStringInfo(out, "\"length\":\"%d\"",
					 encoder->typmod >= 0 ? encoder->typmod : PG_INT32_MAX);
}

static void
decimal_parameters(StringInfo out, const TypeEncoder *encoder)
{
	appendStringInfo(out, "\"scale\":\"%d\",\"connect.decimal.precision\":\"%d\"",
					 encoder->scale, encoder->precision);
}

/* money's precision is not said */
static void
money_parameters(StringInfo out, const TypeEncoder *encoder)
{
	appendStringInfo(out, "\"scale\":\"%d\"", encoder->scale);
}

static void unavailable_array(const TypeEncoder *encoder, AvroBuffer *buf);

static const RecordSchema variable_scale_decimal_record = {
	.namespace = "io.debezium.data",
	.name = "VariableScaleDecimal",
	.doc = "Variable scaled decimal",
	.version = 1,
	.fields = "{\"name\":\"scale\",\"type\":\"int\"},{\"name\":\"value\",\"type\":\"bytes\"}",
};

static const RecordSchema point_record = {
	.namespace = "io.debezium.data.geometry",
	.name = "Point",
	.doc = "Geometry (POINT)",
	.version = 1,
	.fields = "{\"name\":\"x\",\"type\":\"double\"},{\"name\":\"y\",\"type\":\"double\"},"
	"{\"name\":\"wkb\",\"type\":[\"null\",\"bytes\"],\"default\":null},"
	"{\"name\":\"srid\",\"type\":[\"null\",\"int\"],\"default\":null}",
};

static const RecordSchema line_record = {
	.namespace = "io.debezium.data.geometry",
	.name = "Line",
	.doc = "Geometry (LINE)",
	.version = 1,
	.fields = "{\"name\":\"a\",\"type\":\"double\"},{\"name\":\"b\",\"type\":\"double\"},"
	"{\"name\":\"c\",\"type\":\"double\"}",
};

/* Before 3.7 */
static const RecordSchema geometry_1_record = {
	.namespace = "io.debezium.data.geometry",
	.name = "Geometry",
	.doc = "Geometry",
	.version = 1,
	.fields = "{\"name\":\"wkb\",\"type\":\"bytes\"},"
	"{\"name\":\"srid\",\"type\":[\"null\",\"int\"],\"default\":null}",
};

static const RecordSchema geography_record = {
	.namespace = "io.debezium.data.geometry",
	.name = "Geography",
	.doc = "Geography",
	.version = 1,
	.fields = "{\"name\":\"wkb\",\"type\":\"bytes\"},"
	"{\"name\":\"srid\",\"type\":[\"null\",\"int\"],\"default\":null}",
};

static const RecordSchema geometry_record = {
	.namespace = "io.debezium.data.geometry",
	.name = "Geometry",
	.doc = "Geometry",
	.version = 2,
	.fields = "{\"name\":\"wkb\",\"type\":\"bytes\"},"
	"{\"name\":\"srid\",\"type\":[\"null\",\"int\"],\"default\":null},"
	"{\"name\":\"extensions\",\"type\":[\"null\",{\"type\":\"map\",\"values\":\"string\"}],\"default\":null}",
};

static const RecordSchema circle_record = {
	.namespace = "io.debezium.data.geometry",
	.name = "Circle",
	.doc = "Geometry (CIRCLE)",
	.version = 1,
	.fields = "{\"name\":\"center\",\"type\":",
	.nested = &point_record,
	.more_fields = "},{\"name\":\"radius\",\"type\":\"double\"}",
};

/* Indexes are no strings, so Connect makes their map an array. */
static const RecordSchema sparse_vector_record = {
	.namespace = "io.debezium.data",
	.name = "SparseDoubleVector",
	.doc = "Sparse double vector",
	.version = 1,
	.fields = "{\"name\":\"dimensions\",\"type\":{\"type\":\"int\",\"connect.type\":\"int16\"}},"
	"{\"name\":\"vector\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\","
	"\"name\":\"MapEntry\",\"namespace\":\"io.confluent.connect.avro\",\"fields\":["
	"{\"name\":\"key\",\"type\":{\"type\":\"int\",\"connect.type\":\"int16\"}},"
	"{\"name\":\"value\",\"type\":\"double\"}]}}}",
};

/* Fields of structured dates and times; all may be null. */
#define OPTIONAL_FIELD(name, type) \
	"{\"name\":\"" name "\",\"type\":[\"null\"," type "],\"default\":null}"
#define OPTIONAL_INT8(name) \
	OPTIONAL_FIELD(name, "{\"type\":\"int\",\"connect.type\":\"int8\"}")
#define OPTIONAL_INT(name)		OPTIONAL_FIELD(name, "\"int\"")
#define OPTIONAL_STRING(name)	OPTIONAL_FIELD(name, "\"string\"")

#define DATE_FIELDS \
	OPTIONAL_INT("year") "," OPTIONAL_INT8("month") "," OPTIONAL_INT8("day")
#define TIME_FIELDS \
	OPTIONAL_INT8("hour") "," OPTIONAL_INT8("minute") "," \
	OPTIONAL_INT8("second") "," OPTIONAL_INT("nanos")

static const RecordSchema structured_date_record = {
	.namespace = "io.debezium.time",
	.name = "StructuredDate",
	.version = 1,
	.fields = DATE_FIELDS "," OPTIONAL_STRING("specialValue"),
};

static const RecordSchema structured_time_record = {
	.namespace = "io.debezium.time",
	.name = "StructuredTime",
	.version = 1,
	.fields = TIME_FIELDS "," OPTIONAL_INT("precision"),
};

static const RecordSchema structured_timetz_record = {
	.namespace = "io.debezium.time",
	.name = "StructuredZonedTime",
	.version = 1,
	.fields = TIME_FIELDS "," OPTIONAL_INT("offsetSeconds") ","
	OPTIONAL_INT("precision"),
};

static const RecordSchema structured_timestamp_record = {
	.namespace = "io.debezium.time",
	.name = "StructuredTimestamp",
	.version = 1,
	.fields = DATE_FIELDS "," TIME_FIELDS ","
	OPTIONAL_STRING("specialValue") "," OPTIONAL_INT("precision"),
};

static const RecordSchema structured_timestamptz_record = {
	.namespace = "io.debezium.time",
	.name = "StructuredZonedTimestamp",
	.version = 1,
	.fields = DATE_FIELDS "," TIME_FIELDS ","
	OPTIONAL_INT("offsetSeconds") "," OPTIONAL_STRING("zoneId") ","
	OPTIONAL_STRING("specialValue") "," OPTIONAL_INT("precision"),
};

static const RecordSchema structured_interval_record = {
	.namespace = "io.debezium.time",
	.name = "StructuredDuration",
	.version = 1,
	.fields = OPTIONAL_INT("years") "," OPTIONAL_INT("months") ","
	OPTIONAL_INT("days") "," OPTIONAL_INT("hours") ","
	OPTIONAL_INT("minutes") "," OPTIONAL_FIELD("seconds", "\"long\"") ","
	OPTIONAL_INT("nanos") "," OPTIONAL_INT("precision"),
};

static const AvroShape shape_boolean = {
	.primitive = "boolean",
	.default_format = &default_format_boolean,
	.put_zero = zero_boolean,
};

static const AvroShape shape_int = {
	.primitive = "int",
	.default_format = &default_format_long,
	.put_zero = zero_long,
	.put_number = number_long,
};

static const AvroShape shape_long = {
	.primitive = "long",
	.default_format = &default_format_long,
	.put_zero = zero_long,
	.put_number = number_long,
};

static const AvroShape shape_float = {
	.primitive = "float",
	.default_format = &default_format_float,
	.put_zero = zero_float,
	.put_number = number_float,
};

static const AvroShape shape_double = {
	.primitive = "double",
	.default_format = &default_format_double,
	.put_zero = zero_double,
	.put_number = number_double,
};

/* An empty string is a length of zero. */
static const AvroShape shape_string = {
	.primitive = "string",
	.default_format = &default_format_string,
	.put_zero = zero_long,
	.put_unavailable = unavailable_text,
};

static const AvroShape shape_bytes = {
	.primitive = "bytes",
	.default_format = &default_format_bytes,
	.put_zero = zero_long,
	.put_unavailable = unavailable_bytes,
};

static const AvroShape shape_decimal = {
	.primitive = "bytes",
	.default_format = &default_format_bytes,
	.put_zero = zero_decimal,
	.put_unavailable = unavailable_bytes,
};

static const AvroShape shape_variable_scale_decimal = {
	.append = append_record,
	.record = &variable_scale_decimal_record,
	.put_zero = zero_variable_scale_decimal,
	.put_unavailable = unavailable_variable_scale_decimal,
};

static const AvroShape shape_point = {
	.append = append_record,
	.record = &point_record,
	.put_zero = zero_point,
};

static const AvroShape shape_line = {
	.append = append_record,
	.record = &line_record,
	.put_zero = zero_line,
};

static const AvroShape shape_geometry = {
	.append = append_record,
	.record = &geometry_record,
	.put_zero = zero_geometry,
	.put_unavailable = unavailable_geometry,
};

static const AvroShape shape_geometry_1 = {
	.append = append_record,
	.record = &geometry_1_record,
	.put_zero = zero_geography,
	.put_unavailable = unavailable_geography,
};

static const AvroShape shape_geography = {
	.append = append_record,
	.record = &geography_record,
	.put_zero = zero_geography,
	.put_unavailable = unavailable_geography,
};

static const AvroShape shape_circle = {
	.append = append_record,
	.record = &circle_record,
	.put_zero = zero_circle,
};

/* Strings to strings that may be null; an empty map is a block count of zero. */
static const AvroShape shape_map = {
	.append = append_map,
	.put_zero = zero_long,
	.put_unavailable = unavailable_map,
};

static const AvroShape shape_structured_date = {
	.append = append_record,
	.record = &structured_date_record,
	.put_zero = zero_temporal,
};

static const AvroShape shape_structured_time = {
	.append = append_record,
	.record = &structured_time_record,
	.put_zero = zero_temporal,
};

static const AvroShape shape_structured_timetz = {
	.append = append_record,
	.record = &structured_timetz_record,
	.put_zero = zero_temporal,
};

static const AvroShape shape_structured_timestamp = {
	.append = append_record,
	.record = &structured_timestamp_record,
	.put_zero = zero_temporal,
};

static const AvroShape shape_structured_timestamptz = {
	.append = append_record,
	.record = &structured_timestamptz_record,
	.put_zero = zero_timestamptz_structured,
};

static const AvroShape shape_structured_interval = {
	.append = append_record,
	.record = &structured_interval_record,
	.put_zero = zero_temporal,
};

static const AvroShape shape_vector = {
	.append = append_vector,
	.element_primitive = "double",
	.put_zero = zero_long,
	.put_unavailable = unavailable_vector,
};

static const AvroShape shape_halfvec = {
	.append = append_vector,
	.element_primitive = "float",
	.put_zero = zero_long,
	.put_unavailable = unavailable_halfvec,
};

static const AvroShape shape_sparsevec = {
	.append = append_record,
	.record = &sparse_vector_record,
	.put_zero = zero_sparsevec,
	.put_unavailable = unavailable_sparsevec,
};

/* An empty array is a block count of zero. */
static const AvroShape shape_array = {
	.append = append_array,
	.put_zero = zero_long,
	.put_unavailable = unavailable_array,
};

/*
 * Numbers: their bytes, one an element.  What can hold the placeholder: one
 * element.  Others: one null.
 */
static void
unavailable_array(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const TypeEncoder *element = encoder->element;
	const AvroShape *shape = element->mapping->shape;

	for (int i = 1; i < encoder->dimensions; i++)
		avro_put_long(buf, 1);
	if (shape->put_number)
	{
		const TypePlaceholder *placeholder = encoder->placeholder;

		/* Java's bytes have a sign */
		if (placeholder->nbytes > 0)
			avro_put_long(buf, placeholder->nbytes);
		for (int i = 0; i < placeholder->nbytes; i++)
		{
			avro_put_long(buf, ELEMENT_VALUE_BRANCH);
			shape->put_number(buf, (int8) placeholder->bytes[i]);
		}
	}
	else
	{
		avro_put_long(buf, 1);
		if (shape->put_unavailable == NULL)
			avro_put_long(buf, ELEMENT_NULL_BRANCH);
		else
		{
			if (encoder->elements_nullable)
				avro_put_long(buf, ELEMENT_VALUE_BRANCH);
			type_map_put_unavailable(element, buf);
		}
	}
	for (int i = 0; i < encoder->dimensions; i++)
		avro_put_long(buf, 0);
}

/* ---------------------------------------------------------------------
 * The table
 * --------------------------------------------------------------------- */

static bool
has_precision(int32 typmod, const Settings *settings)
{
	return typmod >= (int32) VARHDRSZ;
}

static bool
has_avro_logical_types(int32 typmod, const Settings *settings)
{
	return settings->time_precision_mode == TIME_AVRO;
}

static bool
times_are_connect(int32 typmod, const Settings *settings)
{
	return settings->time_precision_mode == TIME_CONNECT;
}

static bool
times_are_iso(int32 typmod, const Settings *settings)
{
	return settings->time_precision_mode == TIME_ISOSTRING;
}

static bool
times_are_nanoseconds(int32 typmod, const Settings *settings)
{
	return settings->time_precision_mode == TIME_NANOSECONDS;
}

static bool
times_are_structured(int32 typmod, const Settings *settings)
{
	return settings->time_precision_mode == TIME_STRUCTURED;
}

static bool
time_is_milliseconds(int32 typmod, const Settings *settings)
{
	return settings->time_precision_mode == TIME_ADAPTIVE &&
		typmod >= 0 && typmod <= 3;
}

static bool
timestamp_is_milliseconds(int32 typmod, const Settings *settings)
{
	return (settings->time_precision_mode == TIME_ADAPTIVE ||
			settings->time_precision_mode == TIME_ADAPTIVE_TIME_MICROSECONDS) &&
		typmod >= 0 && typmod <= 3;
}

static bool
intervals_are_iso(int32 typmod, const Settings *settings)
{
	return settings->interval_handling_mode == INTERVAL_STRING;
}

static bool
is_one_bit(int32 typmod, const Settings *settings)
{
	return typmod == 1;
}

static bool
decimals_are_strings(int32 typmod, const Settings *settings)
{
	return settings->decimal_handling_mode == DECIMAL_STRING;
}

static bool
decimals_are_doubles(int32 typmod, const Settings *settings)
{
	return settings->decimal_handling_mode == DECIMAL_DOUBLE;
}

/* As what is sent: never fewer than zero fraction digits. */
static void
read_numeric_typmod(int32 typmod, int *precision, int *scale)
{
	/* numeric.c's make_numeric_typmod() */
	int			bits = typmod - VARHDRSZ;

	*precision = (bits >> 16) & 0xFFFF;
	*scale = ((bits & 0x7FF) ^ 1024) - 1024;
	if (*scale < 0)
	{
		*precision -= *scale;
		*scale = 0;
	}
}

/* A number that no Avro decimal holds which all readers can read. */
static bool
is_no_avro_decimal(int32 typmod, const Settings *settings)
{
	int			precision;
	int			scale;

	if (!has_avro_logical_types(typmod, settings))
		return false;
	if (!has_precision(typmod, settings))
		return true;
	read_numeric_typmod(typmod, &precision, &scale);
	return Max(precision, scale) > MAX_AVRO_PRECISION;
}

/* money is stored as cents (lc_monetary is pinned) */
static bool
has_cents(int32 typmod, const Settings *settings)
{
	return settings->money_fraction_digits == MONEY_STORED_DIGITS;
}

static bool
binary_is_base64(int32 typmod, const Settings *settings)
{
	return settings->binary_handling_mode == BINARY_BASE64;
}

static bool
binary_is_base64_url(int32 typmod, const Settings *settings)
{
	return settings->binary_handling_mode == BINARY_BASE64_URL_SAFE;
}

static bool
binary_is_hex(int32 typmod, const Settings *settings)
{
	return settings->binary_handling_mode == BINARY_HEX;
}

static bool
hstore_is_map(int32 typmod, const Settings *settings)
{
	return settings->hstore_handling_mode == HSTORE_MAP;
}

/* Of the built-in geometric types, only point has always had a mapping. */
static bool
has_no_geometry(int32 typmod, const Settings *settings)
{
	return settings->debezium_version < DEBEZIUM_3_7;
}

#define DECIMAL_NAME	"org.apache.kafka.connect.data.Decimal"

/*
 * Built-in types in the order of their OIDs.
 */
static const TypeMapping type_mappings[] = {
	{
		.typid = BOOLOID,
		.shape = &shape_boolean,
		.encode = encode_boolean,
		.has_default = true,
	},
	{
		.typid = BYTEAOID,
		.applies = binary_is_base64,
		.shape = &shape_string,
		.encode = encode_base64,
		.put_unavailable = unavailable_base64,
	},
	{
		.typid = BYTEAOID,
		.applies = binary_is_base64_url,
		.shape = &shape_string,
		.encode = encode_base64_url,
		.put_unavailable = unavailable_base64_url,
	},
	{
		/* its placeholder is text in this mode, too */
		.typid = BYTEAOID,
		.applies = binary_is_hex,
		.shape = &shape_string,
		.encode = encode_hex,
	},
	{
		.typid = BYTEAOID,
		.shape = &shape_bytes,
		.encode = encode_bytea,
	},
	{
		.typid = CHAROID,
		.shape = &shape_string,
		.encode = encode_output,
	},
	{
		.typid = NAMEOID,
		.shape = &shape_string,
		.encode = encode_name,
		.unknown_array = true,
	},
	{
		.typid = INT8OID,
		.shape = &shape_long,
		.encode = encode_int8,
		.has_default = true,
	},
	{
		.typid = INT2OID,
		.shape = &shape_int,
		.encode = encode_int2,
		.connect_type = "int16",
		.has_default = true,
	},
	{
		.typid = INT4OID,
		.shape = &shape_int,
		.encode = encode_int4,
		.has_default = true,
	},
	{
		.typid = TEXTOID,
		.shape = &shape_string,
		.encode = encode_text,
		.has_default = true,
	},
	{
		.typid = OIDOID,
		.shape = &shape_long,
		.encode = encode_oid,
	},
	{
		.typid = JSONOID,
		.shape = &shape_string,
		.encode = encode_text,
		.connect_name = "io.debezium.data.Json",
		.has_default = true,
		.put_zero = zero_json,
		.put_fallback = fallback_empty,
	},
	{
		/* its output function drops the encoding declaration */
		.typid = XMLOID,
		.shape = &shape_string,
		.encode = encode_output,
		.connect_name = "io.debezium.data.Xml",
		.has_default = true,
		.unknown_array = true,
	},
	{
		.typid = POINTOID,
		.shape = &shape_point,
		.encode = encode_point,
		.unknown_array = true,
	},
	{
		.typid = LSEGOID,
		.applies = has_no_geometry,
		.shape = &shape_string,
		.encode = encode_output,
		.unknown = true,
	},
	{
		.typid = LSEGOID,
		.shape = &shape_geometry,
		.encode = encode_lseg,
		.always_optional = true,
		.put_zero = zero_lseg,
	},
	{
		.typid = PATHOID,
		.applies = has_no_geometry,
		.shape = &shape_string,
		.encode = encode_output,
		.unknown = true,
	},
	{
		.typid = PATHOID,
		.shape = &shape_geometry,
		.encode = encode_path,
		.always_optional = true,
		.put_zero = zero_path,
	},
	{
		.typid = BOXOID,
		.applies = has_no_geometry,
		.shape = &shape_string,
		.encode = encode_output,
		.unknown = true,
	},
	{
		.typid = BOXOID,
		.shape = &shape_geometry,
		.encode = encode_box,
		.always_optional = true,
		.put_zero = zero_box,
	},
	{
		.typid = POLYGONOID,
		.applies = has_no_geometry,
		.shape = &shape_string,
		.encode = encode_output,
		.unknown = true,
	},
	{
		.typid = POLYGONOID,
		.shape = &shape_geometry,
		.encode = encode_polygon,
		.always_optional = true,
		.put_zero = zero_polygon,
	},
	{
		.typid = LINEOID,
		.applies = has_no_geometry,
		.shape = &shape_string,
		.encode = encode_output,
		.unknown = true,
	},
	{
		.typid = LINEOID,
		.shape = &shape_line,
		.encode = encode_line,
		.always_optional = true,
	},
	{
		.typid = CIDROID,
		.shape = &shape_string,
		.encode = encode_inet,
	},
	{
		.typid = FLOAT4OID,
		.shape = &shape_float,
		.encode = encode_float4,
		.has_default = true,
	},
	{
		.typid = FLOAT8OID,
		.shape = &shape_double,
		.encode = encode_float8,
		.has_default = true,
	},
	{
		.typid = CIRCLEOID,
		.applies = has_no_geometry,
		.shape = &shape_string,
		.encode = encode_output,
		.unknown = true,
	},
	{
		.typid = CIRCLEOID,
		.shape = &shape_circle,
		.encode = encode_circle,
		.always_optional = true,
	},
	{
		.typid = MACADDR8OID,
		.shape = &shape_string,
		.encode = encode_macaddr8,
	},
	{
		.typid = CASHOID,
		.applies = decimals_are_strings,
		.shape = &shape_string,
		.encode = encode_money_text,
		.unknown_array = true,
		.put_zero = fallback_numeric_text,
	},
	{
		.typid = CASHOID,
		.applies = decimals_are_doubles,
		.shape = &shape_double,
		.encode = encode_money_double,
		.unknown_array = true,
	},
	{
		.typid = CASHOID,
		.applies = has_cents,
		.shape = &shape_decimal,
		.encode = encode_money,
		.connect_name = DECIMAL_NAME,
		.parameters = money_parameters,
		.unknown_array = true,
	},
	{
		.typid = CASHOID,
		.shape = &shape_decimal,
		.encode = encode_money_scaled,
		.connect_name = DECIMAL_NAME,
		.parameters = money_parameters,
		.unknown_array = true,
	},
	{
		.typid = MACADDROID,
		.shape = &shape_string,
		.encode = encode_macaddr,
	},
	{
		.typid = INETOID,
		.shape = &shape_string,
		.encode = encode_inet,
	},
	{
		.typid = BPCHAROID,
		.shape = &shape_string,
		.encode = encode_text,
		.has_default = true,
	},
	{
		.typid = VARCHAROID,
		.shape = &shape_string,
		.encode = encode_text,
		.has_default = true,
	},
	{
		.typid = DATEOID,
		.applies = times_are_connect,
		.shape = &shape_int,
		.encode = encode_date,
		.connect_name = "org.apache.kafka.connect.data.Date",
		.logical_type = "date",
		.has_default = true,
	},
	{
		.typid = DATEOID,
		.applies = times_are_iso,
		.shape = &shape_string,
		.encode = encode_date_iso,
		.connect_name = "io.debezium.time.IsoDate",
		.has_default = true,
		.put_zero = zero_temporal,
	},
	{
		.typid = DATEOID,
		.applies = times_are_structured,
		.shape = &shape_structured_date,
		.encode = encode_date_structured,
	},
	{
		.typid = DATEOID,
		.applies = has_avro_logical_types,
		.shape = &shape_int,
		.encode = encode_date,
		.logical_type = "date",
		.has_default = true,
	},
	{
		.typid = DATEOID,
		.shape = &shape_int,
		.encode = encode_date,
		.connect_name = "io.debezium.time.Date",
		.has_default = true,
	},
	{
		.typid = TIMEOID,
		.applies = time_is_milliseconds,
		.shape = &shape_int,
		.encode = encode_time_ms,
		.connect_name = "io.debezium.time.Time",
		.has_default = true,
	},
	{
		.typid = TIMEOID,
		.applies = times_are_connect,
		.shape = &shape_int,
		.encode = encode_time_ms,
		.connect_name = "org.apache.kafka.connect.data.Time",
		.logical_type = "time-millis",
		.has_default = true,
	},
	{
		.typid = TIMEOID,
		.applies = times_are_iso,
		.shape = &shape_string,
		.encode = encode_time_iso,
		.connect_name = "io.debezium.time.IsoTime",
		.has_default = true,
		.put_zero = zero_temporal,
	},
	{
		.typid = TIMEOID,
		.applies = times_are_nanoseconds,
		.shape = &shape_long,
		.encode = encode_time_ns,
		.connect_name = "io.debezium.time.NanoTime",
		.has_default = true,
	},
	{
		.typid = TIMEOID,
		.applies = times_are_structured,
		.shape = &shape_structured_time,
		.encode = encode_time_structured,
	},
	{
		.typid = TIMEOID,
		.applies = has_avro_logical_types,
		.shape = &shape_long,
		.encode = encode_int8,
		.logical_type = "time-micros",
		.has_default = true,
	},
	{
		.typid = TIMEOID,
		.shape = &shape_long,
		.encode = encode_int8,
		.connect_name = "io.debezium.time.MicroTime",
		.has_default = true,
	},
	{
		.typid = TIMESTAMPOID,
		.applies = timestamp_is_milliseconds,
		.shape = &shape_long,
		.encode = encode_timestamp_ms,
		.connect_name = "io.debezium.time.Timestamp",
		.has_default = true,
	},
	{
		.typid = TIMESTAMPOID,
		.applies = times_are_connect,
		.shape = &shape_long,
		.encode = encode_timestamp_ms,
		.connect_name = "org.apache.kafka.connect.data.Timestamp",
		.logical_type = "timestamp-millis",
		.has_default = true,
	},
	{
		.typid = TIMESTAMPOID,
		.applies = times_are_iso,
		.shape = &shape_string,
		.encode = encode_timestamp_iso,
		.connect_name = "io.debezium.time.IsoTimestamp",
		.has_default = true,
		.put_zero = zero_temporal,
	},
	{
		.typid = TIMESTAMPOID,
		.applies = times_are_nanoseconds,
		.shape = &shape_long,
		.encode = encode_timestamp_ns,
		.connect_name = "io.debezium.time.NanoTimestamp",
		.has_default = true,
	},
	{
		.typid = TIMESTAMPOID,
		.applies = times_are_structured,
		.shape = &shape_structured_timestamp,
		.encode = encode_timestamp_structured,
	},
	{
		.typid = TIMESTAMPOID,
		.applies = has_avro_logical_types,
		.shape = &shape_long,
		.encode = encode_timestamp_us,
		.logical_type = "local-timestamp-micros",
		.has_default = true,
	},
	{
		.typid = TIMESTAMPOID,
		.shape = &shape_long,
		.encode = encode_timestamp_us,
		.connect_name = "io.debezium.time.MicroTimestamp",
		.has_default = true,
	},
	{
		.typid = TIMESTAMPTZOID,
		.applies = times_are_structured,
		.shape = &shape_structured_timestamptz,
		.encode = encode_timestamptz_structured,
	},
	{
		.typid = TIMESTAMPTZOID,
		.applies = has_avro_logical_types,
		.shape = &shape_long,
		.encode = encode_timestamp_us,
		.logical_type = "timestamp-micros",
		.has_default = true,
	},
	{
		.typid = TIMESTAMPTZOID,
		.shape = &shape_string,
		.encode = encode_timestamptz,
		.connect_name = "io.debezium.time.ZonedTimestamp",
		.has_default = true,
		.put_zero = zero_temporal,
		.put_fallback = zero_timestamptz_unknown,
	},
	{
		.typid = INTERVALOID,
		.applies = times_are_structured,
		.shape = &shape_structured_interval,
		.encode = encode_interval_structured,
		.unknown_array = true,
	},
	{
		.typid = INTERVALOID,
		.applies = intervals_are_iso,
		.shape = &shape_string,
		.encode = encode_interval_iso,
		.connect_name = "io.debezium.time.Interval",
		.has_default = true,
		.unknown_array = true,
		.put_zero = zero_temporal,
	},
	{
		.typid = INTERVALOID,
		.shape = &shape_long,
		.encode = encode_interval_us,
		.connect_name = "io.debezium.time.MicroDuration",
		.has_default = true,
		.unknown_array = true,
	},
	{
		.typid = TIMETZOID,
		.applies = times_are_structured,
		.shape = &shape_structured_timetz,
		.encode = encode_timetz_structured,
	},
	{
		.typid = TIMETZOID,
		.shape = &shape_string,
		.encode = encode_timetz,
		.connect_name = "io.debezium.time.ZonedTime",
		.put_zero = zero_temporal,
	},
	{
		.typid = BITOID,
		.applies = is_one_bit,
		.shape = &shape_boolean,
		.encode = encode_bit,
		.has_default = true,
	},
	{
		.typid = BITOID,
		.shape = &shape_bytes,
		.encode = encode_bits,
		.connect_name = "io.debezium.data.Bits",
		.parameters = bits_parameters,
		.has_default = true,
	},
	{
		.typid = VARBITOID,
		.applies = is_one_bit,
		.shape = &shape_boolean,
		.encode = encode_bit,
		.has_default = true,
		.unknown_array = true,
	},
	{
		.typid = VARBITOID,
		.shape = &shape_bytes,
		.encode = encode_bits,
		.connect_name = "io.debezium.data.Bits",
		.parameters = bits_parameters,
		.has_default = true,
		.unknown_array = true,
	},
	{
		.typid = NUMERICOID,
		.applies = decimals_are_strings,
		.shape = &shape_string,
		.encode = encode_numeric_text,
		.has_default = true,
		.put_zero = zero_numeric_text,
		.put_fallback = fallback_numeric_text,
	},
	{
		.typid = NUMERICOID,
		.applies = decimals_are_doubles,
		.shape = &shape_double,
		.encode = encode_numeric_double,
		.has_default = true,
		.put_unavailable = unavailable_double,
	},
	{
		.typid = NUMERICOID,
		.applies = is_no_avro_decimal,
		.shape = &shape_string,
		.encode = encode_numeric_text,
		.has_default = true,
		.put_zero = zero_numeric_text,
		.put_fallback = fallback_numeric_text,
	},
	{
		.typid = NUMERICOID,
		.applies = has_precision,
		.shape = &shape_decimal,
		.encode = encode_decimal,
		.connect_name = DECIMAL_NAME,
		.parameters = decimal_parameters,
		.has_default = true,
	},
	{
		.typid = NUMERICOID,
		.shape = &shape_variable_scale_decimal,
		.encode = encode_variable_scale_decimal,
	},
	{
		.typid = UUIDOID,
		.applies = has_avro_logical_types,
		.shape = &shape_string,
		.encode = encode_uuid,
		.logical_type = "uuid",
		.has_default = true,
		.put_zero = zero_uuid,
		.put_unavailable = unavailable_uuid,
	},
	{
		.typid = UUIDOID,
		.shape = &shape_string,
		.encode = encode_uuid,
		.connect_name = "io.debezium.data.Uuid",
		.has_default = true,
		.put_zero = zero_uuid,
		.put_fallback = fallback_empty,
		.put_unavailable = unavailable_uuid,
	},
	{
		.typid = TSVECTOROID,
		.shape = &shape_string,
		.encode = encode_output,
		.connect_name = "io.debezium.data.Tsvector",
		.required_element = true,
	},
	{
		.typid = JSONBOID,
		.shape = &shape_string,
		.encode = encode_jsonb,
		.connect_name = "io.debezium.data.Json",
		.has_default = true,
		.put_zero = zero_json,
		.put_fallback = fallback_empty,
	},
	{
		.typid = INT4RANGEOID,
		.shape = &shape_string,
		.encode = encode_int4range,
	},
	{
		.typid = NUMRANGEOID,
		.shape = &shape_string,
		.encode = encode_output,
	},
	{
		.typid = TSRANGEOID,
		.shape = &shape_string,
		.encode = encode_output,
	},
	{
		.typid = TSTZRANGEOID,
		.shape = &shape_string,
		.encode = encode_output,
	},
	{
		.typid = DATERANGEOID,
		.shape = &shape_string,
		.encode = encode_output,
	},
	{
		.typid = INT8RANGEOID,
		.shape = &shape_string,
		.encode = encode_int8range,
	},
	{
		.name = "citext",
		.extension = "citext",
		.shape = &shape_string,
		.encode = encode_text,
	},
	{
		.name = "hstore",
		.extension = "hstore",
		.applies = hstore_is_map,
		.shape = &shape_map,
		.encode = encode_hstore_map,
	},
	{
		.name = "hstore",
		.extension = "hstore",
		.shape = &shape_string,
		.encode = encode_hstore,
		.connect_name = "io.debezium.data.Json",
		.put_zero = zero_json,
		.put_unavailable = unavailable_hstore,
	},
	{
		.name = "isbn",
		.extension = "isn",
		.shape = &shape_string,
		.encode = encode_output,
	},
	{
		.name = "ltree",
		.extension = "ltree",
		.shape = &shape_string,
		.encode = encode_output,
		.connect_name = "io.debezium.data.Ltree",
	},
	{
		.name = "geometry",
		.extension = "postgis",
		.applies = has_no_geometry,
		.shape = &shape_geometry_1,
		.encode = encode_postgis_geography,
		.always_optional = true,
	},
	{
		.name = "geometry",
		.extension = "postgis",
		.shape = &shape_geometry,
		.encode = encode_postgis_geometry,
		.always_optional = true,
	},
	{
		.name = "geography",
		.extension = "postgis",
		.shape = &shape_geography,
		.encode = encode_postgis_geography,
	},
	{
		.name = "vector",
		.extension = "vector",
		.shape = &shape_vector,
		.encode = encode_vector,
		.connect_name = "io.debezium.data.DoubleVector",
		.required_element = true,
	},
	{
		.name = "halfvec",
		.extension = "vector",
		.shape = &shape_halfvec,
		.encode = encode_halfvec,
		.connect_name = "io.debezium.data.FloatVector",
		.required_element = true,
	},
	{
		.name = "sparsevec",
		.extension = "vector",
		.shape = &shape_sparsevec,
		.encode = encode_sparsevec,
	},
};

/* Classes of types */
static const TypeMapping enum_mapping = {
	.shape = &shape_string,
	.encode = encode_enum,
	.connect_name = "io.debezium.data.Enum",
	.parameters = enum_parameters,
	.has_default = true,
	.required_element = true,
};

static const TypeMapping array_mapping = {
	.shape = &shape_array,
	.encode = encode_array,
};

static const TypeMapping nested_array_mapping = {
	.shape = &shape_array,
	.encode = encode_nested_array,
};

static const TypeMapping text_form_mapping = {
	.shape = &shape_string,
	.encode = encode_output,
	.unknown = true,
};

void
type_map_check(void)
{
	bool		by_name = false;

	for (int i = 0; i < lengthof(type_mappings); i++)
	{
		const TypeMapping *row = &type_mappings[i];
		const TypeMapping *next = i + 1 < lengthof(type_mappings) ? row + 1 : NULL;
		bool		last_of_type = next == NULL ||
			next->typid != row->typid ||
			(row->name && strcmp(row->name, next->name) != 0);

		/* built-in types first; the last row of each is unconditional */
		by_name |= !OidIsValid(row->typid);
		if (by_name != !OidIsValid(row->typid) ||
			by_name != (row->name != NULL) ||
			by_name != (row->extension != NULL) ||
			last_of_type != (row->applies == NULL))
			elog(PANIC, "row %d of type_mappings is misplaced", i);
		if (next && OidIsValid(next->typid) && next->typid < row->typid)
			elog(PANIC, "row %d of type_mappings is out of order", i + 1);

		if (row->encode == NULL || row->shape->put_zero == NULL ||
			(row->shape->primitive == NULL) == (row->shape->append == NULL) ||
			(row->has_default && row->shape->default_format == NULL))
			elog(PANIC, "row %d of type_mappings is incomplete", i);
	}
}

/* ---------------------------------------------------------------------
 * Resolving a type
 * --------------------------------------------------------------------- */

/*
 * No event may be as large as this.  The row's own size says little of that:
 * the numeric 1e131071 is stored in ten bytes.
 */
#define MAX_BUFFER_SIZE		(2 * MaxAllocSize)

/* A buffer that is to be used again keeps this much. */
#define KEEP_BUFFER_SIZE	((size_t) 1024 * 1024)

static void *
grow_huge(void *data, size_t size)
{
	CHECK_FOR_INTERRUPTS();
	if (size > MAX_BUFFER_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row is too large for an event"),
				 errdetail("Its encoded form needs more than %zu bytes.",
						   (size_t) MaxAllocSize)));
	return repalloc_huge(data, size);
}

void
avro_buffer_init(AvroBuffer *buf, MemoryContext cxt)
{
	buf->size = 8192;
	buf->data = MemoryContextAllocHuge(cxt, buf->size);
	buf->len = 0;
	buf->grow = grow_huge;
}

void
avro_buffer_restart(AvroBuffer *buf)
{
	if (unlikely(buf->size > KEEP_BUFFER_SIZE))
	{
		MemoryContext cxt = GetMemoryChunkContext(buf->data);

		pfree(buf->data);
		avro_buffer_init(buf, cxt);
	}
	buf->len = 0;
}

static const TypeMapping *
find_builtin_mapping(Oid typid, int32 typmod, const Settings *settings)
{
	for (int i = 0; i < lengthof(type_mappings); i++)
	{
		const TypeMapping *row = &type_mappings[i];

		if (OidIsValid(row->typid) && row->typid == typid &&
			(row->applies == NULL || row->applies(typmod, settings)))
			return row;
	}
	return NULL;
}

static const TypeMapping *
find_extension_mapping(Oid typid, int32 typmod, const Settings *settings)
{
	const TypeMapping *result = NULL;
	Oid			extension_oid;
	char	   *extension;
	HeapTuple	tuple;

	if (typid < FirstNormalObjectId)
		return NULL;
	extension_oid = getExtensionOfObject(TypeRelationId, typid);
	if (!OidIsValid(extension_oid))
		return NULL;
	extension = get_extension_name(extension_oid);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	if (extension == NULL || !HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", typid);

	for (int i = 0; i < lengthof(type_mappings) && result == NULL; i++)
	{
		const TypeMapping *row = &type_mappings[i];
		Form_pg_type type = (Form_pg_type) GETSTRUCT(tuple);

		if (row->extension && strcmp(row->extension, extension) == 0 &&
			strcmp(row->name, NameStr(type->typname)) == 0 &&
			(row->applies == NULL || row->applies(typmod, settings)))
			result = row;
	}

	ReleaseSysCache(tuple);
	return result;
}

static void
set_precision(TypeEncoder *encoder, const Settings *settings)
{
	int32		typmod = encoder->typmod;

	switch (encoder->typid)
	{
		case NUMERICOID:
			if (has_precision(typmod, NULL))
				read_numeric_typmod(typmod, &encoder->precision,
									&encoder->scale);
			/* Avro's own rule, which Debezium does not heed */
			if (has_avro_logical_types(typmod, settings))
				encoder->precision = Max(encoder->precision, encoder->scale);
			break;
		case CASHOID:
			encoder->scale = settings->money_fraction_digits;
			encoder->precision = UNKNOWN_PRECISION;
			if (has_avro_logical_types(typmod, settings))
				encoder->precision = MONEY_WHOLE_DIGITS + encoder->scale;
			break;
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			encoder->precision = typmod >= 0 ? typmod : MAX_TIMESTAMP_PRECISION;
			break;
		case INTERVALOID:
			encoder->precision = MAX_INTERVAL_PRECISION;
			if (typmod >= 0 &&
				INTERVAL_PRECISION(typmod) != INTERVAL_FULL_PRECISION)
				encoder->precision = INTERVAL_PRECISION(typmod);
			break;
	}
}

/*
 * How many bytes Java takes as one malformed character: those that might have
 * begun one.
 */
static int
malformed_length(const uint8 *p, int nbytes)
{
	int			wanted = pg_utf_mblen(p);
	int			n = 1;

	/* half of a surrogate pair */
	if (*p == 0xED && nbytes >= 3 && p[1] >= 0xA0 && p[1] <= 0xBF &&
		(p[2] & 0xC0) == 0x80)
		return 3;
	if (wanted == 1 || *p < 0xC2 || *p > 0xF4 || nbytes < 2 ||
		(*p == 0xE0 && p[1] < 0xA0) || (*p == 0xF0 && p[1] < 0x90) ||
		(*p == 0xF4 && p[1] > 0x8F))
		return 1;
	while (n < wanted - 1 && n < nbytes && (p[n] & 0xC0) == 0x80)
		n++;
	return n;
}

static const TypePlaceholder *
make_placeholder(const Settings *settings)
{
	const char *value = settings->unavailable_value_placeholder;
	TypePlaceholder *result = palloc(sizeof(TypePlaceholder));
	int			len = strlen(value);
	StringInfoData text;
	int			length;

	if (strncmp(value, HEX_PREFIX, strlen(HEX_PREFIX)) == 0)
	{
		uint8	   *bytes = palloc(len);

		value += strlen(HEX_PREFIX);
		result->nbytes = hex_decode(value, strlen(value), (char *) bytes);
		result->bytes = bytes;
	}
	else
	{
		value = pstrdup(pg_server_to_any(value, len, PG_UTF8));
		result->nbytes = strlen(value);
		result->bytes = (const uint8 *) value;
	}

	initStringInfo(&text);
	for (int i = 0; i < result->nbytes; i += length)
	{
		const uint8 *p = result->bytes + i;

		length = pg_utf_mblen(p);
		if (i + length <= result->nbytes && pg_utf8_islegal(p, length))
			appendBinaryStringInfo(&text, (const char *) p, length);
		else
		{
			length = malformed_length(p, result->nbytes - i);
			appendStringInfoString(&text, "\xEF\xBF\xBD");
		}
	}
	result->text = text.data;
	result->text_len = text.len;
	return result;
}

/*
 * Does Debezium have no mapping for arrays of this type?  For most domains it
 * does not see what they are of.
 */
static bool
is_unknown_array(Oid element_typid, const TypeEncoder *element)
{
	return element->mapping->unknown_array ||
		(element->mapping != &enum_mapping &&
		 get_typtype(element_typid) == TYPTYPE_DOMAIN);
}

/*
 * How many dimensions an array column has by its declaration, or by that of
 * its domain; one where nothing is said.  The server does not hold a value to
 * it.
 */
static int
declared_dimensions(Oid typid, const TypeOptions *options)
{
	int			dimensions = options->array_dimensions;

	while (get_typtype(typid) == TYPTYPE_DOMAIN)
	{
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
		Form_pg_type type;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for type %u", typid);
		type = (Form_pg_type) GETSTRUCT(tuple);
		dimensions = Max(dimensions, type->typndims);
		typid = type->typbasetype;
		ReleaseSysCache(tuple);
	}
	return Min(Max(dimensions, 1), MAXDIM);
}

TypeEncoder *
type_map_resolve(Oid typid, int32 typmod, const TypeOptions *options)
{
	TypeEncoder *encoder = palloc0(sizeof(TypeEncoder));
	bool		leave_out = !options->settings->include_unknown_datatypes &&
		!options->keep_unknown;
	Oid			element;
	Oid			output;
	bool		is_varlena;

#ifdef USE_ASSERT_CHECKING
	type_map_check();
#endif

	encoder->typmod = typmod;
	encoder->typid = getBaseTypeAndTypmod(typid, &encoder->typmod);
	get_typlenbyvalalign(encoder->typid, &encoder->typlen, &encoder->typbyval,
						 &encoder->typalign);
	encoder->convert_encoding = GetDatabaseEncoding() != PG_UTF8;
	encoder->placeholder = make_placeholder(options->settings);

	element = get_element_type(encoder->typid);
	encoder->mapping = find_builtin_mapping(encoder->typid, encoder->typmod,
											options->settings);
	if (encoder->mapping == NULL && type_is_enum(encoder->typid))
	{
		encoder->mapping = &enum_mapping;
		encoder->cache = enum_cache_create(encoder->typid);
	}
	if (encoder->mapping == NULL && OidIsValid(element))
	{
		TypeOptions element_options = *options;

		element_options.array_dimensions = 0;
		encoder->dimensions = declared_dimensions(typid, options);
		encoder->mapping = encoder->dimensions > 1 ? &nested_array_mapping :
			&array_mapping;
		encoder->element = type_map_resolve(element, encoder->typmod,
											&element_options);
		if (encoder->element == NULL ||
			(leave_out && is_unknown_array(element, encoder->element)))
			return NULL;
		encoder->elements_nullable = encoder->dimensions > 1 ||
			!(encoder->element->mapping->required_element ||
			  encoder->typid == INT2VECTOROID ||
			  encoder->typid == OIDVECTOROID);
	}
	if (encoder->mapping == NULL)
		encoder->mapping = find_extension_mapping(encoder->typid,
												  encoder->typmod,
												  options->settings);
	if (encoder->mapping == NULL)
		encoder->mapping = &text_form_mapping;
	if (leave_out && encoder->mapping->unknown)
		return NULL;

	encoder->encode = encoder->mapping->encode;
	if (encoder->encode == encode_output ||
		encoder->encode == encode_inet || encoder->encode == encode_hstore ||
		encoder->encode == encode_hstore_map)
	{
		getTypeOutputInfo(encoder->typid, &output, &is_varlena);
		fmgr_info(output, &encoder->output);
	}
	if (encoder->encode == encode_postgis_geometry ||
		encoder->encode == encode_postgis_geography)
	{
		getTypeBinaryOutputInfo(encoder->typid, &output, &is_varlena);
		fmgr_info(output, &encoder->output);
	}
	set_precision(encoder, options->settings);

	return encoder;
}

void
type_map_append_schema(StringInfo out, const TypeEncoder *encoder,
					   const TypeAnnotations *annotations,
					   const char *enclosing_namespace, List **named)
{
	const TypeMapping *mapping = encoder->mapping;
	const AvroShape *shape = mapping->shape;
	const char *default_json;

	/* a transform leaves the type alone */
	if (encoder->plain)
		encoder = encoder->plain;
	if (annotations == NULL)
		annotations = &no_annotations;
	default_json = annotations->default_json;
	if (shape->append)
	{
		shape->append(out, encoder, annotations, enclosing_namespace, named);
		return;
	}
	if (default_json == NULL && annotations->doc == NULL &&
		annotations->nparameters == 0 && mapping->connect_name == NULL &&
		mapping->connect_type == NULL && mapping->logical_type == NULL)
	{
		appendStringInfo(out, "\"%s\"", shape->primitive);
		return;
	}

	/* AvroData's order of properties */
	appendStringInfo(out, "{\"type\":\"%s\"", shape->primitive);
	if (shape == &shape_decimal)
		appendStringInfo(out, ",\"scale\":%d,\"precision\":%d",
						 encoder->scale, encoder->precision);
	append_doc(out, annotations->doc);
	if (mapping->connect_name)
		appendStringInfoString(out, ",\"connect.version\":1");
	append_parameters(out, encoder, annotations);
	if (default_json)
		appendStringInfo(out, ",\"connect.default\":%s", default_json);
	if (mapping->connect_name)
		appendStringInfo(out, ",\"connect.name\":\"%s\"", mapping->connect_name);
	if (mapping->connect_type)
		appendStringInfo(out, ",\"connect.type\":\"%s\"", mapping->connect_type);
	if (shape == &shape_decimal)
		appendStringInfoString(out, ",\"logicalType\":\"decimal\"");
	else if (mapping->logical_type)
		appendStringInfo(out, ",\"logicalType\":\"%s\"", mapping->logical_type);
	appendStringInfoChar(out, '}');
}

/*
 * A record's parameters are in the record where it is written out, those of
 * later columns in their fields.  (Those of a column whose record was written
 * out for an array are lost.)
 */
void
type_map_append_field_parameters(StringInfo out, const TypeEncoder *encoder,
								 const TypeAnnotations *annotations,
								 List **named)
{
	const RecordSchema *record = encoder->mapping->shape->record;

	if (record != NULL && encoder->mapping->shape->append == append_record &&
		seen_in_field(record, named))
		append_parameters(out, encoder, annotations);
}

/* ---------------------------------------------------------------------
 * What stands for a value
 * --------------------------------------------------------------------- */

static void
put_zero(const TypeEncoder *encoder, AvroBuffer *buf)
{
	if (encoder->mapping->put_zero)
		encoder->mapping->put_zero(encoder, buf);
	else
		encoder->mapping->shape->put_zero(encoder, buf);
}

bool
type_map_is_string(const TypeEncoder *encoder)
{
	return encoder->mapping->shape == &shape_string;
}

bool
type_map_is_bytes(const TypeEncoder *encoder)
{
	return encoder->encode == encode_bytea;
}

/*
 * A function call shows as the type's zero, an enum's as no default at all;
 * CURRENT_USER, which Debezium takes for a text, as that.
 */
char *
type_map_default_json(const TypeEncoder *encoder, Node *expr)
{
	const DefaultFormat *format = encoder->mapping->shape->default_format;
	AvroBuffer	buf;
	const char *keyword;
	char	   *result = NULL;

	if (expr == NULL || !encoder->mapping->has_default)
		return NULL;

	avro_buffer_init(&buf, CurrentMemoryContext);
	keyword = default_keyword(expr);
	if (keyword != NULL && type_map_is_string(encoder))
	{
		avro_put_bytes(&buf, keyword, strlen(keyword));
		result = default_render(format, &buf);
	}
	else if (default_is_function_call(expr))
	{
		if (encoder->mapping != &enum_mapping)
		{
			put_zero(encoder, &buf);
			result = default_render(format, &buf);
		}
	}
	else if (default_encode_constant(encoder, expr, &buf))
		result = default_render(format, &buf);

	pfree(buf.data);
	return result;
}

void
type_map_put_fallback(const TypeEncoder *encoder, const char *default_json,
					  AvroBuffer *buf)
{
	if (encoder->transform)
	{
		AvroBuffer	plain;

		avro_buffer_init(&plain, CurrentMemoryContext);
		type_map_put_fallback(encoder->plain, default_json, &plain);
		encoder->transform(unconstify(TypeEncoder *, encoder), &plain, buf);
		pfree(plain.data);
	}
	else if (default_json)
		encoder->mapping->shape->default_format->put(default_json, buf);
	else if (encoder->mapping->put_fallback)
		encoder->mapping->put_fallback(encoder, buf);
	else
		put_zero(encoder, buf);
}

/*
 * A placeholder is neither hashed nor cut: nobody would know it again.
 */
bool
type_map_always_optional(const TypeEncoder *encoder)
{
	return encoder->mapping->always_optional;
}

void
type_map_put_unavailable(const TypeEncoder *encoder, AvroBuffer *buf)
{
	if (encoder->constant)
		encoder->encode(unconstify(TypeEncoder *, encoder), (Datum) 0, buf);
	else if (encoder->mapping->put_unavailable)
		encoder->mapping->put_unavailable(encoder, buf);
	else if (encoder->mapping->shape->put_unavailable)
		encoder->mapping->shape->put_unavailable(encoder, buf);
	else
		put_zero(encoder, buf);
}
