/*
 * type_modes.c
 *		Encoders of what decimal_handling_mode, binary_handling_mode and
 *		hstore_handling_mode choose.
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/numeric.h"

#include "avro_schema.h"
#include "java_hash.h"
#include "type_encode.h"
#include "type_modes.h"

/* What a double holds exactly. */
#define MAX_EXACT_INTEGER	(INT64CONST(1) << 53)

/* ---------------------------------------------------------------------
 * Decimals
 * --------------------------------------------------------------------- */

/*
 * Names of what is no number, in numeric's text form and in Java's enum.
 */
static const struct
{
	const char *text;
	const char *name;
	double		number;
}			no_numbers[] = {
	{"NaN", "NAN", NAN},
	{"Infinity", "POSITIVE_INFINITY", INFINITY},
	{"-Infinity", "NEGATIVE_INFINITY", -INFINITY},
};

/*
 * The text form: with all the digits that the value is stored with, never
 * with an exponent.
 */
static char *
numeric_text(Datum value)
{
	struct varlena *numeric = type_detoast(value);

	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   PointerGetDatum(numeric)));
}

/* Index into no_numbers, -1 for a number. */
static inline int
no_number(const char *text)
{
	if (text[0] != 'N' && text[0] != 'I' && text[1] != 'I')
		return -1;
	return text[0] == 'N' ? 0 : text[0] == 'I' ? 1 : 2;
}

void
encode_numeric_text(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	const char *text = numeric_text(value);
	int			special = no_number(text);

	if (special >= 0)
		text = no_numbers[special].name;
	avro_put_bytes(buf, text, strlen(text));
}

/*
 * The nearest double, an infinity if it is too large: what strtod() makes of
 * it, with any number of digits.
 */
void
encode_numeric_double(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	const char *text = numeric_text(value);
	int			special = no_number(text);

	avro_put_double(buf, special >= 0 ? no_numbers[special].number :
					strtod(text, NULL));
}

/* money's text form without currency and separators */
static void
money_text(char *out, size_t size, Cash cash)
{
	uint64		cents = cash < 0 ? -(uint64) cash : (uint64) cash;

	snprintf(out, size, "%s" UINT64_FORMAT ".%02d", cash < 0 ? "-" : "",
			 cents / 100, (int) (cents % 100));
}

void
encode_money_text(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	char		text[32];

	money_text(text, sizeof(text), DatumGetCash(value));
	avro_put_bytes(buf, text, strlen(text));
}

void
encode_money_double(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Cash		cash = DatumGetCash(value);

	if (cash >= -MAX_EXACT_INTEGER && cash <= MAX_EXACT_INTEGER)
		avro_put_double(buf, (double) cash / 100.0);
	else
	{
		char		text[32];

		money_text(text, sizeof(text), cash);
		avro_put_double(buf, strtod(text, NULL));
	}
}

void
encode_money_scaled(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	__int128	number = DatumGetCash(value);

	for (int i = MONEY_STORED_DIGITS; i < encoder->scale; i++)
		number *= 10;
	if (encoder->scale < MONEY_STORED_DIGITS)
	{
		int			divisor = encoder->scale == 0 ? 100 : 10;

		number = (number + (number < 0 ? -divisor / 2 : divisor / 2)) / divisor;
	}
	avro_put_decimal_int128(buf, number);
}

/* ---------------------------------------------------------------------
 * Bytes
 * --------------------------------------------------------------------- */

#define BASE64_COMMON \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static inline void
put_base64_digits(AvroBuffer *buf, const uint8 *bytes, size_t nbytes,
				  const char *digits)
{
	size_t		len = (nbytes + 2) / 3 * 4;
	uint8	   *p;

	avro_put_long(buf, len);
	avro_buffer_reserve(buf, len);
	p = buf->data + buf->len;
	for (; nbytes >= 3; nbytes -= 3, bytes += 3)
	{
		uint32		three = (bytes[0] << 16) | (bytes[1] << 8) | bytes[2];

		*p++ = digits[three >> 18];
		*p++ = digits[(three >> 12) & 63];
		*p++ = digits[(three >> 6) & 63];
		*p++ = digits[three & 63];
	}
	if (nbytes > 0)
	{
		uint32		rest = (bytes[0] << 16) | (nbytes > 1 ? bytes[1] << 8 : 0);

		*p++ = digits[rest >> 18];
		*p++ = digits[(rest >> 12) & 63];
		*p++ = nbytes > 1 ? digits[(rest >> 6) & 63] : '=';
		*p++ = '=';
	}
	buf->len += len;
}

void
put_base64(AvroBuffer *buf, const uint8 *bytes, size_t nbytes)
{
	put_base64_digits(buf, bytes, nbytes, BASE64_COMMON "+/");
}

void
put_base64_url(AvroBuffer *buf, const uint8 *bytes, size_t nbytes)
{
	put_base64_digits(buf, bytes, nbytes, BASE64_COMMON "-_");
}

void
encode_base64(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	struct varlena *bytes = type_detoast(value);

	put_base64(buf, (const uint8 *) VARDATA_ANY(bytes),
			   VARSIZE_ANY_EXHDR(bytes));
}

void
encode_base64_url(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	struct varlena *bytes = type_detoast(value);

	put_base64_url(buf, (const uint8 *) VARDATA_ANY(bytes),
				   VARSIZE_ANY_EXHDR(bytes));
}

void
encode_hex(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	struct varlena *bytes = type_detoast(value);
	size_t		len = (size_t) VARSIZE_ANY_EXHDR(bytes) * 2;

	avro_put_long(buf, len);
	avro_buffer_reserve(buf, len);
	hex_encode(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes),
			   (char *) buf->data + buf->len);
	buf->len += len;
}

/* ---------------------------------------------------------------------
 * hstore
 *
 * Its text form is "key"=>"value", "key"=>NULL, in which backslashes escape
 * quotes and backslashes.  Keys and values are always quoted.  Debezium puts
 * the pairs into a HashMap, whose order JSON shows; so do we.
 * --------------------------------------------------------------------- */

typedef struct HstorePair
{
	const char *key;
	const char *value;			/* NULL: null */
	int			key_len;
	int			value_len;
	uint32		hash;
	int			place;			/* in the text */
} HstorePair;

typedef struct HstorePairs
{
	int			count;
	HstorePair *pairs;
} HstorePairs;

/* A quoted word at *text; it is unescaped in place. */
static char *
read_word(char **text, int *len)
{
	char	   *p = *text + 1;
	char	   *word = p;
	char	   *out = p;

	for (; *p && *p != '"'; p++)
	{
		if (*p == '\\' && p[1])
			p++;
		*out++ = *p;
	}
	*text = *p ? p + 1 : p;
	*len = out - word;
	return word;
}

/* A HashMap's buckets: a power of two, never filled by more than 3/4. */
static uint32
bucket_mask(int count)
{
	uint32		buckets = 16;

	while ((uint64) count * 4 > (uint64) buckets * 3)
		buckets *= 2;
	return buckets - 1;
}

static int
compare_pairs(const void *a, const void *b)
{
	const HstorePair *x = a;
	const HstorePair *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->place - y->place;
}

static HstorePairs
read_hstore(TypeEncoder *encoder, Datum value)
{
	HstorePairs result = {0};
	int			size = 8;
	char	   *p = OutputFunctionCall(&encoder->output,
									   PointerGetDatum(type_detoast(value)));
	uint32		mask;

	if (encoder->convert_encoding)
		p = pg_server_to_any(p, strlen(p), PG_UTF8);
	result.pairs = palloc(size * sizeof(HstorePair));
	while (*p == '"')
	{
		HstorePair *pair;

		if (result.count == size)
		{
			size *= 2;
			result.pairs = repalloc_huge(result.pairs,
										 size * sizeof(HstorePair));
		}
		pair = &result.pairs[result.count];
		pair->place = result.count++;
		pair->key = read_word(&p, &pair->key_len);
		pair->hash = java_hash_string(pair->key, pair->key_len);
		pair->hash ^= pair->hash >> 16;
		p += strlen("=>");
		pair->value = NULL;
		pair->value_len = 0;
		if (*p == '"')
			pair->value = read_word(&p, &pair->value_len);
		else
			p += strlen("NULL");
		p += strspn(p, ", ");
	}

	mask = bucket_mask(result.count);
	for (int i = 0; i < result.count; i++)
		result.pairs[i].hash &= mask;
	qsort(result.pairs, result.count, sizeof(HstorePair), compare_pairs);
	return result;
}

void
encode_hstore(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	HstorePairs hstore = read_hstore(encoder, value);
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; i < hstore.count; i++)
	{
		HstorePair *pair = &hstore.pairs[i];

		if (i > 0)
			appendStringInfoChar(&json, ',');
		avro_schema_append_string(&json, pair->key, pair->key_len);
		appendStringInfoChar(&json, ':');
		if (pair->value)
			avro_schema_append_string(&json, pair->value, pair->value_len);
		else
			appendStringInfoString(&json, "null");
	}
	appendStringInfoChar(&json, '}');
	avro_put_bytes(buf, json.data, json.len);
}

void
encode_hstore_map(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	HstorePairs hstore = read_hstore(encoder, value);

	if (hstore.count > 0)
		avro_put_long(buf, hstore.count);
	for (int i = 0; i < hstore.count; i++)
	{
		HstorePair *pair = &hstore.pairs[i];

		avro_put_bytes(buf, pair->key, pair->key_len);
		avro_put_long(buf, pair->value ? ELEMENT_VALUE_BRANCH :
					  ELEMENT_NULL_BRANCH);
		if (pair->value)
			avro_put_bytes(buf, pair->value, pair->value_len);
	}
	avro_put_long(buf, 0);
}
