/*
 * test_avro_encode.c
 *		avro_encode.c against libavro's writer, against vectors of the Avro
 *		specification, and against slow arithmetic on decimal strings.
 */
#include <avro.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../avro_encode.h"

static int	passed = 0;
static int	failed = 0;

static void
check(bool ok, const char *what, const char *detail)
{
	if (ok)
		passed++;
	else
	{
		failed++;
		printf("FAILED: %s: %.200s\n", what, detail);
	}
}

static void *
grow(void *data, size_t size)
{
	void	   *result = realloc(data, size);

	if (result == NULL)
		abort();
	return result;
}

static AvroBuffer buf = {NULL, 0, 0, grow};

static bool
buffer_is(const void *expected, size_t len)
{
	bool		same = buf.len == len && memcmp(buf.data, expected, len) == 0;

	buf.len = 0;
	return same;
}

/* Deterministic, so that a failure can be repeated. */
static uint64_t
next_random(void)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/*
 * libavro's bytes for one value of a primitive schema.
 */
static size_t
libavro_bytes(avro_value_t *value, char *out, size_t size)
{
	avro_writer_t writer = avro_writer_memory(out, size);
	size_t		len;

	if (avro_value_write(writer, value) != 0)
		abort();
	len = avro_writer_tell(writer);
	avro_writer_free(writer);
	return len;
}

static void
check_long(int64_t n)
{
	char		expected[32];
	char		detail[32];
	avro_value_t value;

	avro_generic_long_new(&value, n);
	avro_put_long(&buf, n);
	snprintf(detail, sizeof(detail), "%lld", (long long) n);
	check(buffer_is(expected, libavro_bytes(&value, expected, sizeof(expected))),
		  "long", detail);
	avro_value_decref(&value);

	if (n == (int32_t) n)
	{
		avro_generic_int_new(&value, (int32_t) n);
		avro_put_int(&buf, (int32_t) n);
		check(buffer_is(expected, libavro_bytes(&value, expected, sizeof(expected))),
			  "int", detail);
		avro_value_decref(&value);
	}
}

static void
test_longs(void)
{
	static const struct
	{
		int64_t		value;
		const char *bytes;
	}			known[] = {
		{0, "\x00"}, {-1, "\x01"}, {1, "\x02"}, {-2, "\x03"}, {2, "\x04"},
		{-64, "\x7f"}, {64, "\x80\x01"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
	{
		avro_put_long(&buf, known[i].value);
		check(buffer_is(known[i].bytes, known[i].value == 64 ? 2 : 1),
			  "zig-zag of the specification", "");
	}

	for (int bits = 0; bits < 64; bits++)
	{
		int64_t		n = (int64_t) ((uint64_t) 1 << bits);

		check_long(n);
		check_long((int64_t) ((uint64_t) n - 1));
		check_long((int64_t) - (uint64_t) n);
		check_long((int64_t) (-(uint64_t) n - 1));
	}
	check_long(INT64_MIN);
	check_long(INT64_MAX);
	check_long(INT32_MIN);
	check_long(INT32_MAX);
	for (int i = 0; i < 10000; i++)
	{
		int			shift = (int) (next_random() % 64);

		check_long((int64_t) (next_random() >> shift));
	}
}

static void
check_floating(double d)
{
	char		expected[16];
	char		detail[32];
	avro_value_t value;

	snprintf(detail, sizeof(detail), "%g", d);
	avro_generic_double_new(&value, d);
	avro_put_double(&buf, d);
	check(buffer_is(expected, libavro_bytes(&value, expected, sizeof(expected))),
		  "double", detail);
	avro_value_decref(&value);

	avro_generic_float_new(&value, (float) d);
	avro_put_float(&buf, (float) d);
	check(buffer_is(expected, libavro_bytes(&value, expected, sizeof(expected))),
		  "float", detail);
	avro_value_decref(&value);
}

static void
test_other_primitives(void)
{
	static char data[100000];
	static char expected[100032];
	avro_value_t value;

	check_floating(0.0);
	check_floating(-0.0);
	check_floating(1.5);
	check_floating(-2.2e-300);
	check_floating(1.0 / 0.0);
	check_floating(-1.0 / 0.0);
	check_floating(0.0 / 0.0);

	for (int i = 0; i < 2; i++)
	{
		avro_generic_boolean_new(&value, i);
		avro_put_boolean(&buf, i);
		check(buffer_is(expected, libavro_bytes(&value, expected, sizeof(expected))),
			  "boolean", "");
		avro_value_decref(&value);
	}

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char) next_random();
	for (size_t len = 0; len <= sizeof(data); len = len * 3 + 1)
	{
		avro_generic_bytes_new(&value, data, len);
		avro_put_bytes(&buf, data, len);
		check(buffer_is(expected, libavro_bytes(&value, expected, sizeof(expected))),
			  "bytes", "");
		avro_value_decref(&value);
	}
}

/*
 * Minimal two's complement of a decimal string, nine digits and one byte at a
 * time.
 */
static size_t
slow_twos_complement(const char *text, uint8_t *out, size_t size)
{
	bool		negative = *text == '-';
	size_t		len = 1;
	size_t		start = 0;

	memset(out, 0, size);
	text += negative;
	while (*text)
	{
		uint64_t	carry = 0;
		uint64_t	factor = 1;

		for (int j = 0; j < 9 && *text; j++)
		{
			carry = carry * 10 + (*text++ - '0');
			factor *= 10;
		}
		for (size_t i = 0; i < len || carry; i++)
		{
			carry += out[size - 1 - i] * factor;
			out[size - 1 - i] = carry & 0xFF;
			carry >>= 8;
			if (i >= len)
				len = i + 1;
		}
	}
	if (negative)
	{
		unsigned	carry = 1;

		for (size_t i = size; i-- > 0;)
		{
			carry += (uint8_t) ~out[i];
			out[i] = carry & 0xFF;
			carry >>= 8;
		}
	}
	while (start + 1 < size &&
		   ((out[start] == 0x00 && !(out[start + 1] & 0x80)) ||
			(out[start] == 0xFF && (out[start + 1] & 0x80))))
		start++;
	memmove(out, out + start, size - start);
	return size - start;
}

/*
 * Encode an unscaled integer as if it were a numeric of the given scale: the
 * digits are aligned to the decimal point as numeric.c does, zero digits at
 * either end are stripped.
 */
static void
check_decimal(const char *text, int scale)
{
	static int16_t digits[40000];
	static char padded[150000];
	static uint8_t expected[80000];
	bool		negative = *text == '-';
	size_t		len = strlen(text + negative);
	size_t		fraction_pad = (4 - scale % 4) % 4;
	size_t		before = len > (size_t) scale ? len - scale : 0;
	size_t		front_pad = (4 - before % 4) % 4;
	size_t		zeroes = len > (size_t) scale ? 0 : scale - len;
	size_t		n = 0;
	int			ndigits;
	int			weight = (int) ((before + front_pad) / 4) - 1;
	int16_t    *first = digits;
	AvroBuffer	reference = {NULL, 0, 0, grow};

	memset(padded, '0', front_pad + zeroes);
	n = front_pad + zeroes;
	memcpy(padded + n, text + negative, len);
	n += len;
	memset(padded + n, '0', fraction_pad);
	n += fraction_pad;
	ndigits = (int) (n / 4);
	for (int i = 0; i < ndigits; i++)
	{
		char		four[5] = {0};

		memcpy(four, padded + 4 * i, 4);
		digits[i] = (int16_t) atoi(four);
	}
	while (ndigits > 0 && first[0] == 0)
	{
		first++;
		ndigits--;
		weight--;
	}
	while (ndigits > 0 && first[ndigits - 1] == 0)
		ndigits--;

	avro_put_decimal(&buf, first, ndigits, ndigits ? weight : 0, negative, scale);
	len = slow_twos_complement(text, expected, sizeof(expected));
	avro_put_bytes(&reference, expected, len);
	check(buffer_is(reference.data, reference.len), "decimal", text);
	free(reference.data);
}

static void
test_known_decimals(void)
{
	static const struct
	{
		int64_t		value;
		const char *bytes;
		size_t		len;
	}			known[] = {
		{0, "\x02\x00", 2}, {1, "\x02\x01", 2}, {-1, "\x02\xff", 2},
		{127, "\x02\x7f", 2}, {128, "\x04\x00\x80", 3},
		{-128, "\x02\x80", 2}, {-129, "\x04\xff\x7f", 3},
		{255, "\x04\x00\xff", 3}, {256, "\x04\x01\x00", 3},
		{-256, "\x04\xff\x00", 3}, {32767, "\x04\x7f\xff", 3},
		{32768, "\x06\x00\x80\x00", 4}, {-32768, "\x04\x80\x00", 3},
		{INT64_MAX, "\x10\x7f\xff\xff\xff\xff\xff\xff\xff", 9},
		{INT64_MIN, "\x10\x80\x00\x00\x00\x00\x00\x00\x00", 9},
	};
	char		text[32];

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
	{
		snprintf(text, sizeof(text), "%lld", (long long) known[i].value);
		avro_put_decimal_int64(&buf, known[i].value);
		check(buffer_is(known[i].bytes, known[i].len), "decimal of int64", text);
		for (int scale = 0; scale < 12; scale++)
			check_decimal(text, scale);
	}
}

static void
test_decimals(void)
{
	static char text[150000];

	test_known_decimals();

	/* around each power of two, by way of its decimal string */
	for (int bits = 1; bits < 126; bits++)
	{
		for (int delta = -1; delta <= 1; delta++)
		{
			__int128	n = ((__int128) 1 << bits) + delta;
			char	   *p = text + 64;

			*p = '\0';
			for (; n > 0; n /= 10)
				*--p = (char) ('0' + (int) (n % 10));
			if (*p == '\0')
				continue;
			check_decimal(p, bits % 9);
			*--p = '-';
			check_decimal(p, bits % 7);
		}
	}

	/* lengths on both sides of the 128-bit path, and far beyond */
	for (int len = 1; len < 300; len++)
	{
		for (int i = 0; i < 20; i++)
		{
			int			start = i % 2;

			text[0] = '-';
			for (int j = 0; j < len; j++)
				text[start + j] = (char) ('0' + next_random() % 10);
			if (text[start] == '0')
				text[start] = '7';
			for (int j = 0; j < i && j < len - 1; j++)
				text[start + len - 1 - j] = '0';
			text[start + len] = '\0';
			check_decimal(text, (int) (next_random() % 40));
		}
	}

	/* the largest numeric: 131072 digits before the point, 16383 behind it */
	for (int j = 0; j < 131072 + 16383; j++)
		text[j] = '9';
	text[131072 + 16383] = '\0';
	check_decimal(text, 16383);
	text[0] = '-';
	check_decimal(text, 16383);
	memset(text + 2, '0', 131072 + 16383 - 2);
	check_decimal(text, 16383);
}

static void
test_fingerprints(void)
{
	static const struct
	{
		const char *text;
		uint64_t	fingerprint;
	}			known[] = {
		{"\"null\"", UINT64_C(0x63dd24e7cc258f8a)},
		{"\"boolean\"", UINT64_C(0x9f42fc78a4d4f764)},
		{"\"int\"", UINT64_C(0x7275d51a3f395c8f)},
		{"\"long\"", UINT64_C(0xd054e14493f41db7)},
		{"\"bytes\"", UINT64_C(0x4fc016dac3201965)},
		{"\"string\"", UINT64_C(0x8f014872634503c7)},
		{"", UINT64_C(0xc15d213aa4d7a795)},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		check(avro_fingerprint(known[i].text, strlen(known[i].text)) ==
			  known[i].fingerprint, "fingerprint", known[i].text);
}

int
main(void)
{
	test_longs();
	test_other_primitives();
	test_decimals();
	test_fingerprints();
	free(buf.data);

	printf("%d passed, %d failed\n", passed, failed);
	return failed == 0 ? 0 : 1;
}
