/*
 * source_type.c
 *		A column's type as JDBC's metadata, and so Debezium, describes it.
 *
 * Lengths are what the PostgreSQL JDBC driver calls precision, or where there
 * is none the number of characters that a value takes when it is displayed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "relation_map.h"
#include "source_type.h"
#include "type_default.h"

/* What an unlimited numeric's column says. */
#define NUMERIC_LENGTH		131089

/* Displayed characters */
#define DATE_LENGTH			13	/* 5874897-12-31 */
#define TIME_LENGTH			8	/* 00:00:00 */
#define ZONE_LENGTH			6	/* +00:00 */
#define INTERVAL_LENGTH		49

/* Types of one length and scale. */
static const struct
{
	Oid			typid;
	int			length;
	int			scale;
}			fixed_types[] = {
	{BOOLOID, 1, 0},
	{CHAROID, 1, 0},
	{INT2OID, 5, 0},
	{INT4OID, 10, 0},
	{INT8OID, 19, 0},
	{OIDOID, 10, 0},
	{FLOAT4OID, 8, 8},
	{FLOAT8OID, 17, 17},
	{DATEOID, DATE_LENGTH, 0},
};

/* The point and the digits of seconds. */
static int
fraction_length(int32 typmod)
{
	if (typmod < 0)
		return 1 + MAX_TIMESTAMP_PRECISION;
	if (typmod == 0)
		return 0;
	return 1 + Max(typmod, 2);	/* the driver's own rounding up */
}

static int
fraction_digits(int32 typmod)
{
	return typmod < 0 ? MAX_TIMESTAMP_PRECISION : typmod;
}

static void
describe_base(SourceType *result, Oid typid, int32 typmod)
{
	int			fraction = fraction_length(typmod);

	result->length = SOURCE_TYPE_NO_LIMIT;
	result->scale = 0;
	for (int i = 0; i < lengthof(fixed_types); i++)
	{
		if (fixed_types[i].typid != typid)
			continue;
		result->length = fixed_types[i].length;
		result->scale = fixed_types[i].scale;
		return;
	}

	switch (typid)
	{
		case NUMERICOID:
			result->length = NUMERIC_LENGTH;
			if (typmod >= (int32) VARHDRSZ)
			{
				/* numeric.c's make_numeric_typmod() */
				result->length = ((typmod - VARHDRSZ) >> 16) & 0xFFFF;
				result->scale = (typmod - VARHDRSZ) & 0x7FF;
			}
			break;
		case VARCHAROID:
		case BPCHAROID:
			if (typmod >= (int32) VARHDRSZ)
				result->length = typmod - VARHDRSZ;
			break;
		case BITOID:
		case VARBITOID:
			if (typmod >= 0)
				result->length = typmod;
			break;
		case TIMEOID:
		case TIMETZOID:
			result->length = TIME_LENGTH + fraction +
				(typid == TIMETZOID ? ZONE_LENGTH : 0);
			result->scale = fraction_digits(typmod);
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			result->length = DATE_LENGTH + 1 + TIME_LENGTH + fraction +
				(typid == TIMESTAMPTZOID ? ZONE_LENGTH : 0);
			result->scale = fraction_digits(typmod);
			break;
		case INTERVALOID:
			result->length = INTERVAL_LENGTH;
			result->scale = typmod < 0 ? MAX_TIMESTAMP_PRECISION :
				typmod & 0xFFFF;
			break;
	}
}

/*
 * Columns of the types serial look like what they are made of; the driver
 * tells them by their default.
 */
static const char *
serial_name(Oid typid, Node *default_expr)
{
	if (default_expr == NULL || !default_calls(default_expr, F_NEXTVAL))
		return NULL;
	switch (typid)
	{
		case INT2OID:
			return "smallserial";
		case INT4OID:
			return "serial";
		case INT8OID:
			return "bigserial";
	}
	return NULL;
}

static const char *
type_name(Oid typid)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(typid));
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", typid);
	name = pstrdup(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
	ReleaseSysCache(tuple);
	return relation_map_utf8(name);
}

/* pgvector's types, which Debezium too knows by their names */
static bool
has_dimensions(const char *name)
{
	return strcmp(name, "vector") == 0 || strcmp(name, "halfvec") == 0 ||
		strcmp(name, "sparsevec") == 0;
}

SourceType
source_type(Form_pg_attribute att, Node *default_expr)
{
	SourceType	result;
	int32		typmod = att->atttypmod;
	Oid			base = getBaseTypeAndTypmod(att->atttypid, &typmod);
	Oid			element = get_element_type(base);

	result.name = serial_name(att->atttypid, default_expr);
	if (result.name == NULL)
		result.name = type_name(att->atttypid);
	/* of an array as of its element, but for domains and vectors */
	describe_base(&result, OidIsValid(element) && base != INT2VECTOROID &&
				  base != OIDVECTOROID ? element : base, typmod);
	if (has_dimensions(result.name))
		result.length = typmod >= 0 ? typmod : SOURCE_TYPE_UNSET;
	return result;
}
