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
 * any number of dimensions.  A column declared with one dimension is an Avro
 * array; a value of more dimensions is flattened there.  A column declared
 * with more ("int[][]") is sent in text form, which keeps the shape.
 * (Debezium sends an array of nulls.)
 *
 * Differences from Debezium's mapping, all where it loses or refuses values:
 * numeric with a negative scale is a decimal of scale 0, numeric whose scale
 * exceeds its precision has the scale as precision; domains are mapped as
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
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/geo_decls.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "avro_schema.h"
#include "type_default.h"
#include "type_encode.h"
#include "type_map.h"
#include "type_text.h"

/*
 * A kind of Avro value.
 */
typedef struct AvroShape
{
	/* primitive: its name; otherwise append writes the schema */
	const char *primitive;
	void		(*append) (StringInfo out, const TypeEncoder *encoder,
						   const char *enclosing_namespace, List **named);
	const struct RecordSchema *record;

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
	void		(*parameters) (StringInfo out, const TypeEncoder *encoder);
	bool		has_default;	/* can a default be in the schema? */

	/* instead of the shape's */
	void		(*put_zero) (const TypeEncoder *encoder, AvroBuffer *buf);
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

static void
zero_uuid(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_string(buf, "00000000-0000-0000-0000-000000000000");
}

static void
zero_timetz(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_string(buf, "00:00:00Z");
}

/* The epoch, with the type's number of fraction digits. */
static void
zero_timestamptz(const TypeEncoder *encoder, AvroBuffer *buf)
{
	TypeEncoder copy = *encoder;

	encode_timestamptz(&copy, TimestampTzGetDatum(SetEpochTimestamp()), buf);
}

static void
zero_decimal(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_decimal_int64(buf, 0);
}

static void
zero_variable_scale_decimal(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_int(buf, 0);
	avro_put_decimal_int64(buf, 0);
}

static void
zero_point(const TypeEncoder *encoder, AvroBuffer *buf)
{
	Point		origin = {0, 0};

	encode_point(NULL, PointPGetDatum(&origin), buf);
}

static void
zero_line(const TypeEncoder *encoder, AvroBuffer *buf)
{
	LINE		line = {0, 0, 0};

	encode_line(NULL, LinePGetDatum(&line), buf);
}

static void
zero_circle(const TypeEncoder *encoder, AvroBuffer *buf)
{
	CIRCLE		circle = {{0, 0}, 0};

	encode_circle(NULL, CirclePGetDatum(&circle), buf);
}

/* An empty geometry collection; no srid, no extensions. */
static void
zero_geometry(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_bytes(buf, "\x01\x07\0\0\0\0\0\0\0", 9);
	avro_put_long(buf, ELEMENT_NULL_BRANCH);
	avro_put_long(buf, ELEMENT_NULL_BRANCH);
}

static void
unavailable_text(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_string(buf, encoder->placeholder);
}

static void
unavailable_variable_scale_decimal(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_int(buf, 0);
	put_string(buf, encoder->placeholder);
}

static void
unavailable_geometry(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_string(buf, encoder->placeholder);
	avro_put_long(buf, ELEMENT_NULL_BRANCH);
	avro_put_long(buf, ELEMENT_NULL_BRANCH);
}

static void
unavailable_hstore(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const char *placeholder = encoder->placeholder;
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	avro_schema_append_string(&json, placeholder, strlen(placeholder));
	appendStringInfoChar(&json, ':');
	avro_schema_append_string(&json, placeholder, strlen(placeholder));
	appendStringInfoChar(&json, '}');
	avro_put_bytes(buf, json.data, json.len);
	pfree(json.data);
}

/* The placeholder's UUID of version 3, as Java's nameUUIDFromBytes(). */
static void
unavailable_uuid(const TypeEncoder *encoder, AvroBuffer *buf)
{
	pg_uuid_t	uuid = {0};
	const char *errstr = NULL;

	if (pg_md5_binary(encoder->placeholder, strlen(encoder->placeholder),
					  uuid.data, &errstr))
	{
		uuid.data[6] = (uuid.data[6] & 0x0F) | 0x30;
		uuid.data[8] = (uuid.data[8] & 0x3F) | 0x80;
	}
	encode_uuid(NULL, UUIDPGetDatum(&uuid), buf);
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

static void
append_record_schema(StringInfo out, const RecordSchema *record,
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
		append_record_schema(out, record->nested, record->namespace, named);
		appendStringInfoString(out, record->more_fields);
	}
	appendStringInfo(out, "],\"connect.doc\":\"%s\",\"connect.version\":%d,\"connect.name\":\"%s\"}",
					 record->doc, record->version, full_name);
}

static void
append_record(StringInfo out, const TypeEncoder *encoder,
			  const char *enclosing_namespace, List **named)
{
	append_record_schema(out, encoder->mapping->shape->record,
						 enclosing_namespace, named);
}

static void
append_array(StringInfo out, const TypeEncoder *encoder,
			 const char *enclosing_namespace, List **named)
{
	bool		nullable = type_element_nullable(encoder->element);

	appendStringInfoString(out, "{\"type\":\"array\",\"items\":");
	if (nullable)
		appendStringInfoString(out, "[\"null\",");
	type_map_append_schema(out, encoder->element, NULL, enclosing_namespace,
						   named);
	appendStringInfoString(out, nullable ? "]}" : "}");
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
	.put_unavailable = unavailable_text,
};

static const AvroShape shape_decimal = {
	.primitive = "bytes",
	.default_format = &default_format_bytes,
	.put_zero = zero_decimal,
	.put_unavailable = unavailable_text,
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

static const AvroShape shape_circle = {
	.append = append_record,
	.record = &circle_record,
	.put_zero = zero_circle,
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
	bool		nullable = type_element_nullable(element);

	if (shape->put_number)
	{
		const unsigned char *p = (const unsigned char *) encoder->placeholder;

		avro_put_long(buf, strlen(encoder->placeholder));
		for (; *p; p++)
		{
			avro_put_long(buf, ELEMENT_VALUE_BRANCH);
			shape->put_number(buf, *p);
		}
	}
	else
	{
		avro_put_long(buf, 1);
		if (shape->put_unavailable == NULL)
			avro_put_long(buf, ELEMENT_NULL_BRANCH);
		else
		{
			if (nullable)
				avro_put_long(buf, ELEMENT_VALUE_BRANCH);
			type_map_put_unavailable(element, buf);
		}
	}
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
is_milliseconds(int32 typmod, const Settings *settings)
{
	return typmod >= 0 && typmod <= 3;
}

static bool
is_one_bit(int32 typmod, const Settings *settings)
{
	return typmod == 1;
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
		.shape = &shape_bytes,
		.encode = encode_bytea,
	},
	{
		.typid = NAMEOID,
		.shape = &shape_string,
		.encode = encode_name,
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
	},
	{
		/* its output function drops the encoding declaration */
		.typid = XMLOID,
		.shape = &shape_string,
		.encode = encode_output,
		.connect_name = "io.debezium.data.Xml",
		.has_default = true,
	},
	{
		.typid = POINTOID,
		.shape = &shape_point,
		.encode = encode_point,
	},
	{
		.typid = LSEGOID,
		.shape = &shape_geometry,
		.encode = encode_lseg,
	},
	{
		.typid = PATHOID,
		.shape = &shape_geometry,
		.encode = encode_path,
	},
	{
		.typid = BOXOID,
		.shape = &shape_geometry,
		.encode = encode_box,
	},
	{
		.typid = POLYGONOID,
		.shape = &shape_geometry,
		.encode = encode_polygon,
	},
	{
		.typid = LINEOID,
		.shape = &shape_line,
		.encode = encode_line,
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
		.shape = &shape_circle,
		.encode = encode_circle,
	},
	{
		.typid = MACADDR8OID,
		.shape = &shape_string,
		.encode = encode_macaddr8,
	},
	{
		.typid = CASHOID,
		.shape = &shape_decimal,
		.encode = encode_money,
		.connect_name = DECIMAL_NAME,
		.parameters = money_parameters,
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
		.shape = &shape_int,
		.encode = encode_date,
		.connect_name = "io.debezium.time.Date",
		.has_default = true,
	},
	{
		.typid = TIMEOID,
		.applies = is_milliseconds,
		.shape = &shape_int,
		.encode = encode_time_ms,
		.connect_name = "io.debezium.time.Time",
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
		.applies = is_milliseconds,
		.shape = &shape_long,
		.encode = encode_timestamp_ms,
		.connect_name = "io.debezium.time.Timestamp",
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
		.shape = &shape_string,
		.encode = encode_timestamptz,
		.connect_name = "io.debezium.time.ZonedTimestamp",
		.has_default = true,
		.put_zero = zero_timestamptz,
	},
	{
		.typid = INTERVALOID,
		.shape = &shape_long,
		.encode = encode_interval,
		.connect_name = "io.debezium.time.MicroDuration",
		.has_default = true,
	},
	{
		.typid = TIMETZOID,
		.shape = &shape_string,
		.encode = encode_timetz,
		.connect_name = "io.debezium.time.ZonedTime",
		.put_zero = zero_timetz,
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
	},
	{
		.typid = VARBITOID,
		.shape = &shape_bytes,
		.encode = encode_bits,
		.connect_name = "io.debezium.data.Bits",
		.parameters = bits_parameters,
		.has_default = true,
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
		.shape = &shape_string,
		.encode = encode_uuid,
		.connect_name = "io.debezium.data.Uuid",
		.has_default = true,
		.put_zero = zero_uuid,
		.put_unavailable = unavailable_uuid,
	},
	{
		.typid = TSVECTOROID,
		.shape = &shape_string,
		.encode = encode_output,
		.connect_name = "io.debezium.data.Tsvector",
	},
	{
		.typid = JSONBOID,
		.shape = &shape_string,
		.encode = encode_jsonb,
		.connect_name = "io.debezium.data.Json",
		.has_default = true,
		.put_zero = zero_json,
	},
	{
		.typid = INT4RANGEOID,
		.shape = &shape_string,
		.encode = encode_int4range,
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
		.shape = &shape_string,
		.encode = encode_hstore,
		.connect_name = "io.debezium.data.Json",
		.put_zero = zero_json,
		.put_unavailable = unavailable_hstore,
	},
	{
		.name = "ltree",
		.extension = "ltree",
		.shape = &shape_string,
		.encode = encode_output,
		.connect_name = "io.debezium.data.Ltree",
	},
};

/* Classes of types */
static const TypeMapping enum_mapping = {
	.shape = &shape_string,
	.encode = encode_enum,
	.connect_name = "io.debezium.data.Enum",
	.parameters = enum_parameters,
	.has_default = true,
};

static const TypeMapping array_mapping = {
	.shape = &shape_array,
	.encode = encode_array,
};

static const TypeMapping text_form_mapping = {
	.shape = &shape_string,
	.encode = encode_output,
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
			!OidIsValid(row->typid) || next->typid != row->typid;

		/* built-in types first, each with one unconditional row, its last */
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

static void *
grow_huge(void *data, size_t size)
{
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
find_extension_mapping(Oid typid)
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

	for (int i = 0; i < lengthof(type_mappings); i++)
	{
		const TypeMapping *row = &type_mappings[i];
		Form_pg_type type = (Form_pg_type) GETSTRUCT(tuple);

		if (row->extension && strcmp(row->extension, extension) == 0 &&
			strcmp(row->name, NameStr(type->typname)) == 0)
			result = row;
	}

	ReleaseSysCache(tuple);
	return result;
}

/*
 * The currency's fraction digits are those of lc_monetary, which the cast of
 * an integer to money applies.  (pg_locale.h has them too, but wants ICU's
 * headers.)
 */
static int
money_fraction_digits(void)
{
	Cash		one = DatumGetCash(DirectFunctionCall1(int4_cash,
													   Int32GetDatum(1)));
	int			digits = 0;

	for (; one > 1; one /= 10)
		digits++;
	return digits;
}

static void
set_precision(TypeEncoder *encoder)
{
	int32		typmod = encoder->typmod;

	switch (encoder->typid)
	{
		case NUMERICOID:
			if (has_precision(typmod, NULL))
			{
				/* numeric.c's make_numeric_typmod() */
				int			bits = typmod - VARHDRSZ;
				int			scale = ((bits & 0x7FF) ^ 1024) - 1024;

				encoder->precision = (bits >> 16) & 0xFFFF;
				if (scale < 0)
					encoder->precision -= scale;
				encoder->scale = Max(scale, 0);
				encoder->precision = Max(encoder->precision, encoder->scale);
			}
			break;
		case CASHOID:
			encoder->scale = money_fraction_digits();
			encoder->precision = 64;	/* what AvroData says for unknown */
			break;
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			encoder->precision = typmod >= 0 ? typmod : MAX_TIMESTAMP_PRECISION;
			break;
	}
}

TypeEncoder *
type_map_resolve(Oid typid, int32 typmod, const TypeOptions *options)
{
	TypeEncoder *encoder = palloc0(sizeof(TypeEncoder));
	const char *placeholder = options->settings->unavailable_value_placeholder;
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
	encoder->placeholder = pstrdup(pg_server_to_any(placeholder,
													strlen(placeholder),
													PG_UTF8));

	element = get_element_type(encoder->typid);
	encoder->mapping = find_builtin_mapping(encoder->typid, encoder->typmod,
											options->settings);
	if (encoder->mapping == NULL && type_is_enum(encoder->typid))
	{
		encoder->mapping = &enum_mapping;
		encoder->cache = enum_cache_create(encoder->typid);
	}
	if (encoder->mapping == NULL && OidIsValid(element) &&
		options->array_dimensions <= 1)
	{
		encoder->mapping = &array_mapping;
		encoder->element = type_map_resolve(element, encoder->typmod, options);
	}
	if (encoder->mapping == NULL)
		encoder->mapping = find_extension_mapping(encoder->typid);
	if (encoder->mapping == NULL)
		encoder->mapping = &text_form_mapping;

	encoder->encode = encoder->mapping->encode;
	if (encoder->encode == encode_output ||
		encoder->encode == encode_inet || encoder->encode == encode_hstore)
	{
		getTypeOutputInfo(encoder->typid, &output, &is_varlena);
		fmgr_info(output, &encoder->output);
	}
	set_precision(encoder);

	return encoder;
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

void
type_map_append_schema(StringInfo out, const TypeEncoder *encoder,
					   const TypeAnnotations *annotations,
					   const char *enclosing_namespace, List **named)
{
	static const TypeAnnotations none = {0};
	const TypeMapping *mapping = encoder->mapping;
	const AvroShape *shape = mapping->shape;
	const char *default_json;

	if (annotations == NULL)
		annotations = &none;
	default_json = annotations->default_json;
	if (shape->append)
	{
		shape->append(out, encoder, enclosing_namespace, named);
		return;
	}
	if (default_json == NULL && annotations->doc == NULL &&
		annotations->nparameters == 0 && mapping->connect_name == NULL &&
		mapping->connect_type == NULL)
	{
		appendStringInfo(out, "\"%s\"", shape->primitive);
		return;
	}

	/* AvroData's order of properties */
	appendStringInfo(out, "{\"type\":\"%s\"", shape->primitive);
	if (shape == &shape_decimal)
		appendStringInfo(out, ",\"scale\":%d,\"precision\":%d",
						 encoder->scale, encoder->precision);
	if (annotations->doc)
	{
		appendStringInfoString(out, ",\"connect.doc\":");
		avro_schema_append_string(out, annotations->doc,
								  strlen(annotations->doc));
	}
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
	appendStringInfoChar(out, '}');
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

/*
 * A function call shows as the type's zero, an enum's as no default at all.
 */
char *
type_map_default_json(const TypeEncoder *encoder, Node *expr)
{
	const DefaultFormat *format = encoder->mapping->shape->default_format;
	AvroBuffer	buf;
	char	   *result = NULL;

	if (expr == NULL || !encoder->mapping->has_default)
		return NULL;

	avro_buffer_init(&buf, CurrentMemoryContext);
	if (default_is_function_call(expr))
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
	if (default_json)
		encoder->mapping->shape->default_format->put(default_json, buf);
	else
		put_zero(encoder, buf);
}

void
type_map_put_unavailable(const TypeEncoder *encoder, AvroBuffer *buf)
{
	if (encoder->mapping->put_unavailable)
		encoder->mapping->put_unavailable(encoder, buf);
	else if (encoder->mapping->shape->put_unavailable)
		encoder->mapping->shape->put_unavailable(encoder, buf);
	else
		put_zero(encoder, buf);
}
