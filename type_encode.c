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
 * be a lie.  So a numeric NaN or infinity and a null element of an enum array
 * are errors, for the policy on events that cannot be encoded to decide.
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
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/uuid.h"
#include "utils/varbit.h"

#include "type_encode.h"

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
			 errhint("Set \"wal2kafka.decimal_handling_mode\" to \"string\" or \"double\", which have such values, or keep them out of the column by a check constraint. To get past rows that have it already, see wal2kafka.event_processing_failure_handling_mode.")));
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

/* A value's array, on the way through its elements. */
typedef struct ArrayWalk
{
	TypeEncoder *element;
	bool		nullable;		/* elements are unions with null */
	const bits8 *bitmap;		/* NULL: no nulls */
	int			next;			/* number of the next element */
	char	   *p;				/* its place */
} ArrayWalk;

static inline void
begin_walk(ArrayWalk *walk, const TypeEncoder *encoder, ArrayType *array)
{
	walk->element = encoder->element;
	walk->nullable = encoder->elements_nullable;
	walk->bitmap = ARR_NULLBITMAP(array);
	walk->next = 0;
	walk->p = ARR_DATA_PTR(array);
}

/*
 * Debezium's schema of an array of an enum has no place for null, and every
 * column of that type has that schema; so for a few other types.
 */
static void
raise_null_element(const TypeEncoder *element)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("null element of an array of type %s has no representation in its Avro schema",
					format_type_be(element->typid)),
			 errhint("Keep nulls out of the array by a check constraint, or leave the column out with \"wal2kafka.column_exclude_list\".")));
}

/* One block of elements and the end mark. */
static inline void
put_elements(ArrayWalk *walk, int nitems, AvroBuffer *buf)
{
	TypeEncoder *element = walk->element;
	const bits8 *bitmap = walk->bitmap;
	char	   *p = walk->p;
	int			first = walk->next;

	if (nitems > 0)
		avro_put_long(buf, nitems);
	for (int i = first; i < first + nitems; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (bitmap && !(bitmap[i / 8] & (1 << (i % 8))))
		{
			if (!walk->nullable)
				raise_null_element(element);
			avro_put_long(buf, ELEMENT_NULL_BRANCH);
			continue;
		}
		if (walk->nullable)
			avro_put_long(buf, ELEMENT_VALUE_BRANCH);
		element->encode(element,
						fetch_att(p, element->typbyval, element->typlen), buf);
		p = att_addlength_pointer(p, element->typlen, p);
		p = (char *) att_align_nominal(p, element->typalign);
	}
	avro_put_long(buf, 0);
	walk->p = p;
	walk->next = first + nitems;
}

/*
 * An array of one dimension.  A value of more is sent as the row of its
 * elements, the last subscript varying fastest: the schema is made for the
 * column, and int[] may hold any number of dimensions.
 */
void
encode_array(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	ArrayType  *array = DatumGetArrayTypeP(PointerGetDatum(type_detoast(value)));
	ArrayWalk	walk;

	begin_walk(&walk, encoder, array);
	put_elements(&walk, ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)), buf);
}

static void
put_dimensions(ArrayWalk *walk, const int *sizes, int ndims, AvroBuffer *buf)
{
	if (ndims == 1)
	{
		put_elements(walk, sizes[0], buf);
		return;
	}
	avro_put_long(buf, sizes[0]);
	for (int i = 0; i < sizes[0]; i++)
		put_dimensions(walk, sizes + 1, ndims - 1, buf);
	avro_put_long(buf, 0);
}

/*
 * A column declared with several dimensions: arrays in arrays.  A value of
 * fewer dimensions is alone in the outer ones; of one with more, the outer
 * ones are flattened into the first.  So the innermost rows are always rows,
 * and their order is kept.
 */
void
encode_nested_array(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	ArrayType  *array = DatumGetArrayTypeP(PointerGetDatum(type_detoast(value)));
	int			declared = encoder->dimensions;
	int			excess = ARR_NDIM(array) - declared;
	int			sizes[MAXDIM];
	ArrayWalk	walk;

	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) == 0)
	{
		avro_put_long(buf, 0);
		return;
	}
	for (int i = 0; i < declared; i++)
		sizes[i] = i + excess < 0 ? 1 : ARR_DIMS(array)[i + excess];
	for (int i = 0; i < excess; i++)
		sizes[0] *= ARR_DIMS(array)[i];

	begin_walk(&walk, encoder, array);
	put_dimensions(&walk, sizes, declared, buf);
}
