/*
 * type_encode.c
 *		From a non-null datum to Avro bytes, without text in between wherever
 *		the datum's layout is known.
 *
 * Fixed-length values are read in place.  Variable-length ones are detoasted
 * into CurrentMemoryContext only if they are compressed or out of line; those
 * that an array or the numeric format reads are read through their short
 * header.  What PostgreSQL alone knows how to render goes through its output
 * function.
 *
 * Avro has no notion of a value that its type cannot hold, and a null would
 * be a lie.  So a numeric NaN or infinity, a timestamp too late for 64 bits
 * of microseconds since 1970 and a null element of an enum array are errors,
 * for the policy on events that cannot be encoded to decide.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tupmacs.h"
#include "catalog/indexing.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/cash.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/geo_decls.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/varbit.h"

#include "type_encode.h"

#define EPOCH_DAYS		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)
#define EPOCH_USECS		((int64) EPOCH_DAYS * USECS_PER_DAY)
#define USECS_PER_MSEC	INT64CONST(1000)

/* What Debezium streams for the infinite dates. */
#define DATE_INFINITY			2146033979
#define DATE_MINUS_INFINITY		(-2147472691)

/* 365.25 / 12 days */
#define USECS_PER_MONTH			INT64CONST(2629800000000)

static const char hex_digits[] = "0123456789abcdef";

/* ---------------------------------------------------------------------
 * Variable-length values
 * --------------------------------------------------------------------- */

void
encode_text(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	struct varlena *text = type_detoast(value);

	type_put_text(encoder, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text), buf);
}

void
encode_name(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	const char *name = NameStr(*DatumGetName(value));

	type_put_text(encoder, name, strlen(name), buf);
}

/* The text form, by the type's output function. */
void
encode_output(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	char	   *text;

	/* Output functions detoast for themselves, with no look at the size. */
	if (encoder->typlen == -1)
		value = PointerGetDatum(type_detoast(value));

	text = OutputFunctionCall(&encoder->output, value);
	type_put_text(encoder, text, strlen(text), buf);
}

/*
 * hstore's text form is "key"=>"value", "key"=>NULL, in which backslashes
 * escape quotes and backslashes.  Keys and values are always quoted.
 */
void
encode_hstore(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	StringInfoData json;
	StringInfoData word;
	char	   *p;

	p = OutputFunctionCall(&encoder->output,
						   PointerGetDatum(type_detoast(value)));
	initStringInfo(&json);
	initStringInfo(&word);

	appendStringInfoChar(&json, '{');
	while (*p)
	{
		if (*p == '"')
		{
			resetStringInfo(&word);
			for (p++; *p && *p != '"'; p++)
			{
				if (*p == '\\' && p[1])
					p++;
				appendStringInfoChar(&word, *p);
			}
			escape_json(&json, word.data);
		}
		else if (*p == '=')
		{
			appendStringInfoChar(&json, ':');
			p++;				/* the > */
		}
		else if (*p == 'N')
		{
			appendStringInfoString(&json, "null");
			p += strlen("NULL") - 1;
		}
		else if (*p == ',')
			appendStringInfoChar(&json, ',');

		if (*p)
			p++;
	}
	appendStringInfoChar(&json, '}');

	type_put_text(encoder, json.data, json.len, buf);
}

void
encode_bytea(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	struct varlena *bytes = type_detoast(value);

	avro_put_bytes(buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
}

void
encode_uuid(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	const unsigned char *data = DatumGetUUIDP(value)->data;
	char		text[36];
	char	   *p = text;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex_digits[data[i] >> 4];
		*p++ = hex_digits[data[i] & 0x0F];
	}
	avro_put_bytes(buf, text, sizeof(text));
}

/* ---------------------------------------------------------------------
 * Numbers
 * --------------------------------------------------------------------- */

void
encode_boolean(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_boolean(buf, DatumGetBool(value));
}

void
encode_int2(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_int(buf, DatumGetInt16(value));
}

void
encode_int4(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_int(buf, DatumGetInt32(value));
}

/* Also time, whose microseconds since midnight are what is sent. */
void
encode_int8(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_long(buf, DatumGetInt64(value));
}

void
encode_oid(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_long(buf, DatumGetObjectId(value));
}

void
encode_float4(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_float(buf, DatumGetFloat4(value));
}

void
encode_float8(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_double(buf, DatumGetFloat8(value));
}

/*
 * numeric's storage format, which numeric.c keeps to itself.  It has been the
 * same since 9.1; changing it would break pg_upgrade.  All words are in the
 * machine's byte order.
 *
 * The first 16-bit word's two highest bits tell the form.  10, short: a sign
 * bit, six bits of display scale, seven of weight in two's complement; digits
 * follow.  00 and 01, long: positive and negative, 14 bits of display scale;
 * the next word is the weight; digits follow.  11: not a number, 00 in the
 * next two bits for NaN, 01 and 11 for positive and negative infinity.
 * Digits are of base 10000, the first one counts 10000^weight; zero digits at
 * both ends are not stored.
 */
#define NUMERIC_FORM_MASK			0xC000
#define NUMERIC_FORM_NEGATIVE		0x4000
#define NUMERIC_FORM_SHORT			0x8000
#define NUMERIC_FORM_SPECIAL		0xC000
#define NUMERIC_SPECIAL_MASK		0xF000
#define NUMERIC_POSITIVE_INFINITY	0xD000
#define NUMERIC_NEGATIVE_INFINITY	0xF000
#define NUMERIC_SHORT_NEGATIVE		0x2000
#define NUMERIC_SHORT_WEIGHT_SIGN	0x0040
#define NUMERIC_SHORT_WEIGHT		0x003F

#define INLINE_DIGITS	64		/* more than most numbers have */

typedef struct NumericDigits
{
	bool		negative;
	int			weight;
	int			ndigits;
	int16	   *digits;
	int16		inline_digits[INLINE_DIGITS];
} NumericDigits;

static void
raise_not_a_number(uint16 header)
{
	const char *name = "NaN";

	if ((header & NUMERIC_SPECIAL_MASK) == NUMERIC_POSITIVE_INFINITY)
		name = "Infinity";
	else if ((header & NUMERIC_SPECIAL_MASK) == NUMERIC_NEGATIVE_INFINITY)
		name = "-Infinity";

	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("numeric value \"%s\" has no representation as an Avro decimal",
					name),
			 errhint("Keep such values out of the column by a check constraint. To get past this row, pause the stream and move its slot behind the transaction with pg_replication_slot_advance(); nothing of the transaction is sent then.")));
}

static void
read_numeric(Datum value, NumericDigits *result)
{
	struct varlena *numeric = type_detoast(value);
	const char *p = VARDATA_ANY(numeric);
	int			len = VARSIZE_ANY_EXHDR(numeric);
	uint16		header;

	/* A short varlena header leaves the words unaligned. */
	memcpy(&header, p, sizeof(header));
	p += sizeof(header);
	len -= sizeof(header);

	if ((header & NUMERIC_FORM_MASK) == NUMERIC_FORM_SPECIAL)
		raise_not_a_number(header);
	else if ((header & NUMERIC_FORM_MASK) == NUMERIC_FORM_SHORT)
	{
		result->negative = (header & NUMERIC_SHORT_NEGATIVE) != 0;
		result->weight = header & NUMERIC_SHORT_WEIGHT;
		if (header & NUMERIC_SHORT_WEIGHT_SIGN)
			result->weight -= NUMERIC_SHORT_WEIGHT_SIGN;
	}
	else
	{
		int16		weight;

		memcpy(&weight, p, sizeof(weight));
		p += sizeof(weight);
		len -= sizeof(weight);
		result->negative = (header & NUMERIC_FORM_MASK) == NUMERIC_FORM_NEGATIVE;
		result->weight = weight;
	}

	result->ndigits = len / sizeof(int16);
	result->digits = result->inline_digits;
	if (result->ndigits > INLINE_DIGITS)
		result->digits = palloc(len);
	memcpy(result->digits, p, result->ndigits * sizeof(int16));
}

void
encode_decimal(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	NumericDigits number;

	read_numeric(value, &number);
	avro_put_decimal(buf, number.digits, number.ndigits, number.weight,
					 number.negative, encoder->scale);
}

/*
 * A record of scale and unscaled value: the smallest scale, not negative,
 * that holds the number.
 */
void
encode_variable_scale_decimal(TypeEncoder *encoder, Datum value,
							  AvroBuffer *buf)
{
	NumericDigits number;
	int			scale = 0;

	read_numeric(value, &number);
	if (number.ndigits > 0)
	{
		int			last = number.digits[number.ndigits - 1];

		scale = 4 * (number.ndigits - 1 - number.weight);
		for (; scale > 0 && last % 10 == 0; last /= 10)
			scale--;
		scale = Max(scale, 0);
	}

	avro_put_int(buf, scale);
	avro_put_decimal(buf, number.digits, number.ndigits, number.weight,
					 number.negative, scale);
}

/* Stored as a count of the currency's smallest unit. */
void
encode_money(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_decimal_int64(buf, DatumGetCash(value));
}

/* bit(1) and varbit(1) */
void
encode_bit(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	VarBit	   *bits = DatumGetVarBitP(PointerGetDatum(type_detoast(value)));

	avro_put_boolean(buf, VARBITLEN(bits) > 0 && (*VARBITS(bits) & 0x80));
}

/*
 * The bit string, read as a binary number, in little-endian bytes with no
 * zero bytes on top.  PostgreSQL keeps it left-aligned, first bit highest.
 */
void
encode_bits(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	VarBit	   *bits = DatumGetVarBitP(PointerGetDatum(type_detoast(value)));
	const uint8 *data = VARBITS(bits);
	int			nbytes = VARBITBYTES(bits);
	int			shift = VARBITPAD(bits);
	int			first = 0;
	int			skipped;
	uint8	   *p;

	while (first < nbytes && data[first] == 0)
		first++;
	skipped = first;
	if (first < nbytes && (data[first] >> shift) == 0)
		skipped++;

	avro_put_long(buf, nbytes - skipped);
	avro_buffer_reserve(buf, nbytes - skipped);
	p = buf->data + buf->len;
	for (int i = nbytes - 1; i >= skipped; i--)
	{
		unsigned	two = data[i];

		if (i > 0)
			two |= (unsigned) data[i - 1] << 8;
		*p++ = (uint8) (two >> shift);
	}
	buf->len += nbytes - skipped;
}

/* ---------------------------------------------------------------------
 * Dates and times
 * --------------------------------------------------------------------- */

/* Exactly ndigits decimal digits, with leading zeroes. */
static inline char *
put_digits(char *p, uint32 number, int ndigits)
{
	for (int i = ndigits - 1; i >= 0; i--)
	{
		p[i] = '0' + number % 10;
		number /= 10;
	}
	return p + ndigits;
}

static char *
put_time_of_day(char *p, int64 usecs)
{
	int			seconds = usecs / USECS_PER_SEC;

	p = put_digits(p, seconds / SECS_PER_HOUR, 2);
	*p++ = ':';
	p = put_digits(p, seconds / SECS_PER_MINUTE % MINS_PER_HOUR, 2);
	*p++ = ':';
	return put_digits(p, seconds % SECS_PER_MINUTE, 2);
}

/* Days since 1970 in the proleptic Gregorian calendar. */
void
encode_date(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	DateADT		date = DatumGetDateADT(value);

	if (DATE_IS_NOEND(date))
		avro_put_int(buf, DATE_INFINITY);
	else if (DATE_IS_NOBEGIN(date))
		avro_put_int(buf, DATE_MINUS_INFINITY);
	else
		avro_put_int(buf, date + EPOCH_DAYS);
}

void
encode_time_ms(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_int(buf, DatumGetTimeADT(value) / USECS_PER_MSEC);
}

/* In UTC, with as many fraction digits as there are. */
void
encode_timetz(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	TimeTzADT  *timetz = DatumGetTimeTzADTP(value);
	int64		usecs = timetz->time + timetz->zone * USECS_PER_SEC;
	uint32		fraction;
	char		text[32];
	char	   *p;

	usecs %= USECS_PER_DAY;
	if (usecs < 0)
		usecs += USECS_PER_DAY;

	p = put_time_of_day(text, usecs);
	fraction = usecs % USECS_PER_SEC;
	if (fraction != 0)
	{
		*p++ = '.';
		p = put_digits(p, fraction, 6);
		while (p[-1] == '0')
			p--;
	}
	*p++ = 'Z';
	avro_put_bytes(buf, text, p - text);
}

/* Infinities are the ends of the range, as Debezium sends them. */
void
encode_timestamp_ms(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Timestamp	timestamp = DatumGetTimestamp(value);

	if (TIMESTAMP_NOT_FINITE(timestamp))
		avro_put_long(buf, timestamp);
	else
	{
		int64		msecs = timestamp / USECS_PER_MSEC;

		if (timestamp % USECS_PER_MSEC < 0)
			msecs--;
		avro_put_long(buf, msecs + EPOCH_USECS / USECS_PER_MSEC);
	}
}

void
encode_timestamp_us(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Timestamp	timestamp = DatumGetTimestamp(value);

	if (!TIMESTAMP_NOT_FINITE(timestamp) &&
		pg_add_s64_overflow(timestamp, EPOCH_USECS, &timestamp))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp is too late for microseconds since 1970")));

	avro_put_long(buf, timestamp);
}

/* ISO 8601 in UTC, with exactly the type's number of fraction digits. */
void
encode_timestamptz(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	TimestampTz timestamp = DatumGetTimestampTz(value);
	int64		days;
	int64		usecs;
	int			year,
				month,
				day;
	char		text[48];
	char	   *p = text;

	if (TIMESTAMP_NOT_FINITE(timestamp))
	{
		const char *name = TIMESTAMP_IS_NOEND(timestamp) ? "infinity" : "-infinity";

		avro_put_bytes(buf, name, strlen(name));
		return;
	}

	days = timestamp / USECS_PER_DAY;
	usecs = timestamp % USECS_PER_DAY;
	if (usecs < 0)
	{
		usecs += USECS_PER_DAY;
		days--;
	}
	j2date((int) days + POSTGRES_EPOCH_JDATE, &year, &month, &day);

	/* Year 0 is 1 BC; beyond four digits Java wants a sign. */
	if (year < 0)
		*p++ = '-';
	else if (year > 9999)
		*p++ = '+';
	year = abs(year);
	p = put_digits(p, year, year > 99999 ? 6 : year > 9999 ? 5 : 4);
	*p++ = '-';
	p = put_digits(p, month, 2);
	*p++ = '-';
	p = put_digits(p, day, 2);
	*p++ = 'T';
	p = put_time_of_day(p, usecs);
	if (encoder->precision > 0)
	{
		*p++ = '.';
		put_digits(p, usecs % USECS_PER_SEC, 6);
		p += encoder->precision;
	}
	*p++ = 'Z';
	avro_put_bytes(buf, text, p - text);
}

/*
 * Microseconds, a month being 365.25 / 12 days.  What exceeds 64 bits becomes
 * the end of the range, as with Debezium; so do the infinite intervals of 17
 * and later, which are stored as the extremes of all three fields.
 */
void
encode_interval(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Interval   *interval = DatumGetIntervalP(value);
	__int128	usecs = interval->time;

	usecs += (__int128) interval->day * USECS_PER_DAY;
	usecs += (__int128) interval->month * USECS_PER_MONTH;
	if (usecs > PG_INT64_MAX)
		usecs = PG_INT64_MAX;
	else if (usecs < PG_INT64_MIN)
		usecs = PG_INT64_MIN;
	avro_put_long(buf, (int64) usecs);
}

/* ---------------------------------------------------------------------
 * Geometric types: records with little-endian well-known binary
 * --------------------------------------------------------------------- */

#define WKB_POINT			1
#define WKB_LINESTRING		2
#define WKB_POLYGON			3

#define WKB_HEADER_SIZE		5	/* byte order, kind */
#define WKB_COUNT_SIZE		4
#define WKB_POINT_SIZE		16

#define BRANCH_NULL			0
#define BRANCH_VALUE		1

static void
put_wkb_uint32(AvroBuffer *buf, uint32 n)
{
	uint8		bytes[4] = {n, n >> 8, n >> 16, n >> 24};

	avro_put_raw(buf, bytes, sizeof(bytes));
}

static void
put_wkb_header(AvroBuffer *buf, size_t size, uint32 kind)
{
	uint8		little_endian = 1;

	avro_put_long(buf, size);
	avro_put_raw(buf, &little_endian, 1);
	put_wkb_uint32(buf, kind);
}

static void
put_wkb_point(AvroBuffer *buf, const Point *point)
{
	avro_put_double(buf, point->x);
	avro_put_double(buf, point->y);
}

/* io.debezium.data.geometry.Point */
static void
put_point(AvroBuffer *buf, const Point *point)
{
	put_wkb_point(buf, point);	/* x and y are plain doubles too */
	avro_put_long(buf, BRANCH_VALUE);
	put_wkb_header(buf, WKB_HEADER_SIZE + WKB_POINT_SIZE, WKB_POINT);
	put_wkb_point(buf, point);
	avro_put_long(buf, BRANCH_NULL);	/* srid */
}

/* What follows wkb in io.debezium.data.geometry.Geometry */
static void
put_extensions(AvroBuffer *buf, const char *type, const char *closed)
{
	avro_put_long(buf, BRANCH_NULL);	/* srid */
	avro_put_long(buf, BRANCH_VALUE);
	avro_put_long(buf, closed ? 2 : 1);
	if (closed)
	{
		avro_put_bytes(buf, "closed", strlen("closed"));
		avro_put_bytes(buf, closed, strlen(closed));
	}
	avro_put_bytes(buf, "type", strlen("type"));
	avro_put_bytes(buf, type, strlen(type));
	avro_put_long(buf, 0);
}

static void
put_linestring(AvroBuffer *buf, const Point *points, int npoints)
{
	put_wkb_header(buf, WKB_HEADER_SIZE + WKB_COUNT_SIZE +
				   (size_t) npoints * WKB_POINT_SIZE, WKB_LINESTRING);
	put_wkb_uint32(buf, npoints);
	for (int i = 0; i < npoints; i++)
		put_wkb_point(buf, &points[i]);
}

/* A polygon of one ring, which is closed here if it is not. */
static void
put_ring(AvroBuffer *buf, const Point *points, int npoints)
{
	bool		close = npoints > 0 &&
		(points[0].x != points[npoints - 1].x ||
		 points[0].y != points[npoints - 1].y);

	put_wkb_header(buf, WKB_HEADER_SIZE + 2 * WKB_COUNT_SIZE +
				   (size_t) (npoints + close) * WKB_POINT_SIZE, WKB_POLYGON);
	put_wkb_uint32(buf, 1);
	put_wkb_uint32(buf, npoints + close);
	for (int i = 0; i < npoints; i++)
		put_wkb_point(buf, &points[i]);
	if (close)
		put_wkb_point(buf, &points[0]);
}

void
encode_point(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_point(buf, DatumGetPointP(value));
}

void
encode_line(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	LINE	   *line = DatumGetLineP(value);

	avro_put_double(buf, line->A);
	avro_put_double(buf, line->B);
	avro_put_double(buf, line->C);
}

void
encode_lseg(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_linestring(buf, DatumGetLsegP(value)->p, 2);
	put_extensions(buf, "lseg", NULL);
}

void
encode_box(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	BOX		   *box = DatumGetBoxP(value);
	Point		ring[5] = {
		{box->high.x, box->high.y},
		{box->high.x, box->low.y},
		{box->low.x, box->low.y},
		{box->low.x, box->high.y},
		{box->high.x, box->high.y},
	};

	put_ring(buf, ring, lengthof(ring));
	put_extensions(buf, "box", NULL);
}

void
encode_path(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	PATH	   *path = DatumGetPathP(PointerGetDatum(type_detoast(value)));

	put_linestring(buf, path->p, path->npts);
	put_extensions(buf, "path", path->closed ? "true" : "false");
}

void
encode_polygon(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	POLYGON    *polygon = DatumGetPolygonP(PointerGetDatum(type_detoast(value)));

	put_ring(buf, polygon->p, polygon->npts);
	put_extensions(buf, "polygon", NULL);
}

void
encode_circle(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	CIRCLE	   *circle = DatumGetCircleP(value);

	put_point(buf, &circle->center);
	avro_put_double(buf, circle->radius);
}

/* ---------------------------------------------------------------------
 * Enums
 * --------------------------------------------------------------------- */

static int
compare_labels(const void *a, const void *b)
{
	Oid			x = ((const EnumLabel *) a)->oid;
	Oid			y = ((const EnumLabel *) b)->oid;

	return x < y ? -1 : x > y;
}

/* Append a label; in the cache's context. */
static void
add_label(EnumCache *cache, Form_pg_enum row)
{
	MemoryContext caller = MemoryContextSwitchTo(cache->context);
	const char *server_label = NameStr(row->enumlabel);
	EnumLabel  *label;

	if (cache->labels == NULL)
		cache->labels = palloc(sizeof(EnumLabel) * 8);
	else if (cache->nlabels >= 8 && (cache->nlabels & (cache->nlabels - 1)) == 0)
		cache->labels = repalloc(cache->labels,
								 sizeof(EnumLabel) * cache->nlabels * 2);

	label = &cache->labels[cache->nlabels++];
	label->oid = row->oid;
	label->sort_order = row->enumsortorder;
	label->label = pstrdup(pg_server_to_any(server_label, strlen(server_label),
											PG_UTF8));
	label->len = strlen(label->label);

	MemoryContextSwitchTo(caller);
}

EnumCache *
enum_cache_create(Oid typid)
{
	EnumCache  *cache = palloc0(sizeof(EnumCache));
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	cache->context = CurrentMemoryContext;

	rel = table_open(EnumRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(typid));
	scan = systable_beginscan(rel, EnumTypIdLabelIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		add_label(cache, (Form_pg_enum) GETSTRUCT(tuple));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	qsort(cache->labels, cache->nlabels, sizeof(EnumLabel), compare_labels);
	return cache;
}

/* A label that was added to the enum after the cache was made. */
static void
learn_label(TypeEncoder *encoder, Oid oid)
{
	EnumCache  *cache = encoder->cache;
	HeapTuple	tuple = SearchSysCache1(ENUMOID, ObjectIdGetDatum(oid));

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid internal value for enum: %u", oid)));
	add_label(cache, (Form_pg_enum) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);

	qsort(cache->labels, cache->nlabels, sizeof(EnumLabel), compare_labels);
}

void
encode_enum(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	EnumCache  *cache = encoder->cache;
	EnumLabel	wanted = {.oid = DatumGetObjectId(value)};
	EnumLabel  *label;

	label = bsearch(&wanted, cache->labels, cache->nlabels, sizeof(EnumLabel),
					compare_labels);
	if (label == NULL)
	{
		learn_label(encoder, wanted.oid);
		label = bsearch(&wanted, cache->labels, cache->nlabels,
						sizeof(EnumLabel), compare_labels);
	}
	avro_put_bytes(buf, label->label, label->len);
}

/* ---------------------------------------------------------------------
 * Arrays
 * --------------------------------------------------------------------- */

bool
type_element_nullable(const TypeEncoder *element)
{
	return element->encode != encode_enum;
}

/*
 * One block of elements.  An array of more dimensions is sent as the row of
 * its elements, the last subscript varying fastest: the schema is made for
 * the column, and int[] may hold any number of dimensions.
 */
void
encode_array(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	ArrayType  *array = DatumGetArrayTypeP(PointerGetDatum(type_detoast(value)));
	TypeEncoder *element = encoder->element;
	bool		nullable = type_element_nullable(element);
	int			nitems = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	const bits8 *bitmap = ARR_NULLBITMAP(array);
	char	   *p = ARR_DATA_PTR(array);

	if (nitems > 0)
		avro_put_long(buf, nitems);
	for (int i = 0; i < nitems; i++)
	{
		if (bitmap && !(bitmap[i / 8] & (1 << (i % 8))))
		{
			if (!nullable)
				ereport(ERROR,
						(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						 errmsg("null element of an enum array has no representation in its Avro schema")));
			avro_put_long(buf, ELEMENT_NULL_BRANCH);
			continue;
		}
		if (nullable)
			avro_put_long(buf, ELEMENT_VALUE_BRANCH);
		element->encode(element,
						fetch_att(p, element->typbyval, element->typlen), buf);
		p = att_addlength_pointer(p, element->typlen, p);
		p = (char *) att_align_nominal(p, element->typalign);
	}
	avro_put_long(buf, 0);
}
