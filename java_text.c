/*
 * java_text.c
 *		Numbers and strings as Java and Jackson write them.
 *
 * Floats.  PostgreSQL's shortest digits are Java's but at two places.  It
 * takes no decimal that lies on the edge between two floats, which Java does
 * where rounding to even goes to the float: that can happen only where floats
 * are integers without a last digit.  And Java, where one digit would do,
 * takes the nearest of those with two; they differ only among the smallest of
 * subnormal numbers.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "common/shortest_dec.h"

#include "java_text.h"

/* From here on each float has a neighbour one or more away: 2^53, 2^24 */
#define FIRST_COARSE_DOUBLE		9007199254740992.0
#define FIRST_COARSE_FLOAT		16777216.0f

/* Digits of a decimal in 64 bits */
#define MAX_INT64_DIGITS		20

/* What is left of a big decimal is divided by this again and again. */
#define GROUP					1000000000
#define GROUP_DIGITS			9

/* A number's significant digits; the point is behind the first. */
typedef struct Digits
{
	char		text[32];
	int			count;
	int			exponent;
	bool		negative;
} Digits;

/*
 * Take apart "-1.25", "1e+23", "0.00012" ...
 */
static void
parse_digits(const char *text, Digits *digits)
{
	bool		point = false;

	digits->count = 0;
	digits->exponent = -1;		/* of the digit before the first */
	digits->negative = *text == '-';
	if (digits->negative)
		text++;
	for (; *text != '\0' && *text != 'e'; text++)
	{
		if (*text == '.')
			point = true;
		else if (*text == '0' && digits->count == 0)
			digits->exponent -= point ? 1 : 0;
		else
		{
			digits->text[digits->count++] = *text;
			digits->exponent += point ? 0 : 1;
		}
	}
	if (*text == 'e')
		digits->exponent += atoi(text + 1);
	while (digits->count > 1 && digits->text[digits->count - 1] == '0')
		digits->count--;
}

static void
put_zeros(AvroBuffer *buf, int count)
{
	avro_buffer_reserve(buf, Max(count, 0));
	for (; count > 0; count--)
		buf->data[buf->len++] = '0';
}

static inline void
put_char(AvroBuffer *buf, char c)
{
	avro_buffer_reserve(buf, 1);
	buf->data[buf->len++] = c;
}

/*
 * From 0.001 to 10^7 without an exponent, always with a point.
 */
static void
put_digits(AvroBuffer *buf, const Digits *digits)
{
	const char *text = digits->text;
	int			count = digits->count;
	int			whole;			/* digits before the point */

	if (digits->negative)
		put_char(buf, '-');
	if (digits->exponent >= -3 && digits->exponent < 0)
	{
		avro_put_raw(buf, "0.", 2);
		put_zeros(buf, -digits->exponent - 1);
		avro_put_raw(buf, text, count);
		return;
	}
	whole = digits->exponent >= 0 && digits->exponent < 7 ?
		digits->exponent + 1 : 1;
	avro_put_raw(buf, text, Min(whole, count));
	put_zeros(buf, whole - count);
	put_char(buf, '.');
	if (count > whole)
		avro_put_raw(buf, text + whole, count - whole);
	else
		put_char(buf, '0');
	if (whole != digits->exponent + 1)
	{
		put_char(buf, 'E');
		java_put_int64(buf, digits->exponent);
	}
}

/*
 * NaN, infinities and zeros.
 */
static bool
put_special(AvroBuffer *buf, double value)
{
	if (isnan(value))
		avro_put_raw(buf, "NaN", 3);
	else if (isinf(value))
		avro_put_raw(buf, value > 0 ? "Infinity" : "-Infinity",
					 value > 0 ? 8 : 9);
	else if (value == 0)
		avro_put_raw(buf, signbit(value) ? "-0.0" : "0.0",
					 signbit(value) ? 4 : 3);
	else
		return false;
	return true;
}

/*
 * Does the text with so many digits mean the same number?  Then these are the
 * digits.
 */
static void
try_double(double value, int count, Digits *digits)
{
	char		text[64];

	snprintf(text, sizeof(text), "%.*e", count - 1, value);
	if (strtod(text, NULL) == value)
		parse_digits(text, digits);
}

static void
try_float(float value, int count, Digits *digits)
{
	char		text[64];

	snprintf(text, sizeof(text), "%.*e", count - 1, (double) value);
	if (strtof(text, NULL) == value)
		parse_digits(text, digits);
}

void
java_put_double(AvroBuffer *buf, double value)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];
	Digits		digits;

	if (put_special(buf, value))
		return;
	text[double_to_shortest_decimal_bufn(value, text)] = '\0';
	parse_digits(text, &digits);
	if (unlikely(fabs(value) >= FIRST_COARSE_DOUBLE) && digits.count > 1)
		try_double(value, digits.count - 1, &digits);
	else if (unlikely(fabs(value) < DBL_MIN) && digits.count == 1)
		try_double(value, 2, &digits);
	put_digits(buf, &digits);
}

void
java_put_float(AvroBuffer *buf, float value)
{
	char		text[FLOAT_SHORTEST_DECIMAL_LEN];
	Digits		digits;

	if (put_special(buf, value))
		return;
	text[float_to_shortest_decimal_bufn(value, text)] = '\0';
	parse_digits(text, &digits);
	if (unlikely(fabsf(value) >= FIRST_COARSE_FLOAT) && digits.count > 1)
		try_float(value, digits.count - 1, &digits);
	else if (unlikely(fabsf(value) < FLT_MIN) && digits.count == 1)
		try_float(value, 2, &digits);
	put_digits(buf, &digits);
}

/*
 * Digits of a number, in front of "end"; returns how many.
 */
static inline int
digits_before(char *end, uint64 value)
{
	char	   *p = end;

	do
	{
		*--p = '0' + value % 10;
		value /= 10;
	} while (value != 0);
	return (int) (end - p);
}

void
java_put_int64(AvroBuffer *buf, int64_t value)
{
	char		text[MAX_INT64_DIGITS + 1];
	char	   *end = text + sizeof(text);
	int			count = digits_before(end, value < 0 ? 0 - (uint64) value :
									  (uint64) value);

	if (value < 0)
		end[-++count] = '-';
	avro_put_raw(buf, end - count, count);
}

/*
 * Place the point, as BigDecimal does: digits as they are where the scale is
 * not negative and there are at most five zeros in front of them.
 */
static void
put_scaled(AvroBuffer *buf, const char *digits, int count, int scale)
{
	int			exponent = count - 1 - scale;
	int			whole = count - scale;	/* digits before the point */

	if (scale == 0)
		avro_put_raw(buf, digits, count);
	else if (scale > 0 && exponent >= -6)
	{
		if (whole > 0)
			avro_put_raw(buf, digits, whole);
		else
			put_char(buf, '0');
		put_char(buf, '.');
		put_zeros(buf, -whole);
		avro_put_raw(buf, digits + Max(whole, 0), count - Max(whole, 0));
	}
	else
	{
		put_char(buf, digits[0]);
		if (count > 1)
		{
			put_char(buf, '.');
			avro_put_raw(buf, digits + 1, count - 1);
		}
		if (exponent != 0)
		{
			put_char(buf, 'E');
			if (exponent > 0)
				put_char(buf, '+');
			java_put_int64(buf, exponent);
		}
	}
}

/*
 * The digits of a magnitude that 64 bits do not hold, which is destroyed.
 * They end at "end"; returns how many.
 */
static int
big_digits_before(char *end, uint8 *magnitude, size_t len)
{
	char	   *p = end;
	size_t		start = 0;

	while (start < len && magnitude[start] == 0)
		start++;
	while (start < len)
	{
		uint64		remainder = 0;

		for (size_t i = start; i < len; i++)
		{
			uint64		dividend = remainder << 8 | magnitude[i];

			magnitude[i] = (uint8) (dividend / GROUP);
			remainder = dividend % GROUP;
		}
		while (start < len && magnitude[start] == 0)
			start++;
		for (int i = 0; i < GROUP_DIGITS && (start < len || remainder > 0); i++)
		{
			*--p = '0' + remainder % 10;
			remainder /= 10;
		}
	}
	if (p == end)
		*--p = '0';
	return (int) (end - p);
}

/*
 * The work is done at the buffer's end, behind what is written last.
 */
static void
put_big_decimal(AvroBuffer *buf, const uint8 *bytes, size_t len, int scale)
{
	bool		negative = (bytes[0] & 0x80) != 0;
	size_t		max_digits = len * 5 / 2 + GROUP_DIGITS + 1;
	size_t		max_text = max_digits + 32 + (scale > 0 ? 8 : 0);
	unsigned	carry = negative ? 1 : 0;
	uint8	   *magnitude;
	char	   *end;
	int			count;

	if (negative)
		put_char(buf, '-');
	avro_buffer_reserve(buf, max_text + max_digits + len);
	magnitude = buf->data + buf->len + max_text + max_digits;
	end = (char *) magnitude;
	for (size_t i = len; i-- > 0;)
	{
		carry += negative ? (uint8) ~bytes[i] : bytes[i];
		magnitude[i] = carry & 0xFF;
		carry >>= 8;
	}
	count = big_digits_before(end, magnitude, len);
	put_scaled(buf, end - count, count, scale);
}

void
java_put_decimal(AvroBuffer *buf, const uint8_t *bytes, size_t len, int scale)
{
	char		text[MAX_INT64_DIGITS];
	uint64		bits = len > 0 && (bytes[0] & 0x80) ? PG_UINT64_MAX : 0;
	int			count;

	if (len > sizeof(bits))
	{
		put_big_decimal(buf, bytes, len, scale);
		return;
	}
	for (size_t i = 0; i < len; i++)
		bits = bits << 8 | bytes[i];
	if ((int64) bits < 0)
	{
		put_char(buf, '-');
		bits = 0 - bits;
	}
	count = digits_before(text + sizeof(text), bits);
	put_scaled(buf, text + sizeof(text) - count, count, scale);
}

/* ---------------------------------------------------------------------
 * Strings
 * --------------------------------------------------------------------- */

#define IS_PLAIN(c) \
	((c) >= 0x20 && (c) != '"' && (c) != '\\' && (c) < 0xF0)

static const char hex_digits[] = "0123456789ABCDEF";

static void
put_unicode_escape(AvroBuffer *buf, unsigned code)
{
	char		escape[6] = {
		'\\', 'u',
		hex_digits[code >> 12 & 0xF], hex_digits[code >> 8 & 0xF],
		hex_digits[code >> 4 & 0xF], hex_digits[code & 0xF],
	};

	avro_put_raw(buf, escape, sizeof(escape));
}

/*
 * A character that is not written as it is; returns its length in bytes.
 */
static size_t
put_escaped(AvroBuffer *buf, const unsigned char *p, size_t left)
{
	static const char escaped[] = "\b\t\n\f\r\"\\";
	static const char letters[] = "btnfr\"\\";
	const char *special;

	if (*p >= 0xF0)
	{
		unsigned	code;

		if (left < 4)
		{
			put_char(buf, *p);	/* no UTF-8; the database let it in */
			return 1;
		}
		code = (p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 |
			(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
		code -= 0x10000;
		put_unicode_escape(buf, 0xD800 + (code >> 10 & 0x3FF));
		put_unicode_escape(buf, 0xDC00 + (code & 0x3FF));
		return 4;
	}
	special = *p != '\0' ? strchr(escaped, *p) : NULL;
	if (special != NULL)
	{
		put_char(buf, '\\');
		put_char(buf, letters[special - escaped]);
	}
	else
		put_unicode_escape(buf, *p);
	return 1;
}

void
java_put_json_string(AvroBuffer *buf, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *) text;
	const unsigned char *end = p + len;

	avro_buffer_reserve(buf, len + 2);
	put_char(buf, '"');
	while (p < end)
	{
		const unsigned char *start = p;

		while (p < end && IS_PLAIN(*p))
			p++;
		avro_put_raw(buf, start, p - start);
		if (p < end)
			p += put_escaped(buf, p, end - p);
	}
	put_char(buf, '"');
}

void
java_put_base64(AvroBuffer *buf, const uint8_t *bytes, size_t len)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8	   *out;
	size_t		i = 0;

	avro_buffer_reserve(buf, (len + 2) / 3 * 4);
	out = buf->data + buf->len;
	for (; i + 2 < len; i += 3)
	{
		uint32		group = bytes[i] << 16 | bytes[i + 1] << 8 | bytes[i + 2];

		*out++ = alphabet[group >> 18];
		*out++ = alphabet[group >> 12 & 0x3F];
		*out++ = alphabet[group >> 6 & 0x3F];
		*out++ = alphabet[group & 0x3F];
	}
	if (i < len)
	{
		uint32		group = bytes[i] << 16 |
			(i + 1 < len ? bytes[i + 1] << 8 : 0);

		*out++ = alphabet[group >> 18];
		*out++ = alphabet[group >> 12 & 0x3F];
		*out++ = i + 1 < len ? alphabet[group >> 6 & 0x3F] : '=';
		*out++ = '=';
	}
	buf->len = out - buf->data;
}
