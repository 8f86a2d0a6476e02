/*
 * test_java_text.c
 *		java_text.c against slow arithmetic by printf() and strtod(), and
 *		against values that Java and Jackson wrote.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "../../java_text.h"
#include "server_shim.h"

static int	passed = 0;
static int	failed = 0;

static void *
grow_buffer(void *data, size_t size)
{
	void	   *result = realloc(data, size);

	if (result == NULL)
		abort();
	return result;
}

static AvroBuffer buf = {NULL, 0, 0, grow_buffer};

/* What was written, as a string. */
static const char *
written(void)
{
	avro_put_raw(&buf, "", 1);
	buf.len = 0;
	return (const char *) buf.data;
}

static void
check(const char *what, const char *got, const char *expected)
{
	if (strcmp(got, expected) == 0)
		passed++;
	else
	{
		failed++;
		printf("FAILED: %s: \"%.200s\", not \"%.200s\"\n", what, got,
			   expected);
	}
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
 * By the words of Double.toString(): of the decimals that round to the number
 * those with the fewest digits, but two where one would do, and of these the
 * nearest.  Not for powers of two, whose neighbours are not equally far, so
 * that the nearest decimal need not be the one that rounds to it.
 */
static void
slow_text(double value, bool is_float, char *out)
{
	char		text[64];
	char		digits[64];
	int			count;
	int			exponent;
	int			n;

	for (n = 1; n <= 17; n++)
	{
		snprintf(text, sizeof(text), "%.*e", n - 1, value);
		if (is_float ? strtof(text, NULL) == (float) value :
			strtod(text, NULL) == value)
			break;
	}
	snprintf(text, sizeof(text), "%.*e", Max(n, 2) - 1, fabs(value));
	exponent = atoi(strchr(text, 'e') + 1);
	*strchr(text, 'e') = '\0';
	snprintf(digits, sizeof(digits), "%c%s", text[0], text + 2);
	for (count = strlen(digits); count > 1 && digits[count - 1] == '0';)
		digits[--count] = '\0';

	if (value < 0)
		*out++ = '-';
	if (exponent < -3 || exponent >= 7)
		sprintf(out, "%c.%sE%d", digits[0], count > 1 ? digits + 1 : "0",
				exponent);
	else if (exponent < 0)
		sprintf(out, "0.%.*s%s", -exponent - 1, "00", digits);
	else if (count > exponent + 1)
		sprintf(out, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
	else
		sprintf(out, "%s%.*s.0", digits, exponent + 1 - count, "0000000");
}

static bool
is_power_of_two(double value)
{
	int			exponent;

	return frexp(fabs(value), &exponent) == 0.5;
}

static void
check_double(double value)
{
	char		expected[80];
	char		what[80];

	if (is_power_of_two(value) && value >= DBL_MIN)
		return;
	slow_text(value, false, expected);
	snprintf(what, sizeof(what), "double %.17g", value);
	java_put_double(&buf, value);
	check(what, written(), expected);
}

static void
check_float(float value)
{
	char		expected[80];
	char		what[80];

	if (is_power_of_two(value) && value >= FLT_MIN)
		return;
	slow_text(value, true, expected);
	snprintf(what, sizeof(what), "float %.9g", (double) value);
	java_put_float(&buf, value);
	check(what, written(), expected);
}

static void
test_floats(void)
{
	static const struct
	{
		double		value;
		const char *text;
	}			doubles[] = {
		{1.1, "1.1"}, {100, "100.0"}, {0.001, "0.001"}, {1e-4, "1.0E-4"},
		{9999999, "9999999.0"}, {1e7, "1.0E7"}, {12345678, "1.2345678E7"},
		{1e23, "1.0E23"}, {2e23, "2.0E23"}, {4.9e-324, "4.9E-324"},
		{9.9e-324, "9.9E-324"}, {1.5e-323, "1.5E-323"},
		{DBL_MAX, "1.7976931348623157E308"}, {-0.0, "-0.0"}, {0.0, "0.0"},
		{NAN, "NaN"}, {INFINITY, "Infinity"}, {-INFINITY, "-Infinity"},
		{9007199254740993.0, "9.007199254740992E15"}, {-0.001, "-0.001"},
	};

	for (int i = 0; i < lengthof(doubles); i++)
	{
		java_put_double(&buf, doubles[i].value);
		check("double", written(), doubles[i].text);
	}
	java_put_float(&buf, 1.4e-45f);
	check("float", written(), "1.4E-45");
	java_put_float(&buf, 3.4e38f);
	check("float", written(), "3.4E38");
	java_put_float(&buf, 1.23794003928538027489912422912e27f);
	check("float", written(), "1.2379401E27");

	for (int i = 0; i < 200000; i++)
	{
		uint64_t	bits = next_random();
		uint32_t	low = (uint32_t) bits;
		double		value;
		float		single;

		memcpy(&value, &bits, sizeof(value));
		memcpy(&single, &low, sizeof(single));
		if (isfinite(value) && value != 0)
			check_double(value);
		if (isfinite(single) && single != 0)
			check_float(single);
		check_double((double) (bits >> 40) / 100 + 0.01);
		check_float((float) (bits >> 44) / 8 + 1);
	}
	/* subnormal numbers, and where neighbours are more than one apart */
	for (uint64_t i = 1; i < 3000; i++)
	{
		uint32_t	low = (uint32_t) i;
		double		value;
		float		single;

		memcpy(&value, &i, sizeof(value));
		memcpy(&single, &low, sizeof(single));
		check_double(value);
		check_float(single);
		check_double(ldexp((double) i, 50 + i % 80));
		check_float(ldexpf((float) i, 20 + i % 80));
	}
	for (int i = -320; i < 308; i++)
	{
		char		text[16];

		for (int digit = 1; digit < 10; digit++)
		{
			sprintf(text, "%de%d", digit, i);
			check_double(strtod(text, NULL));
		}
	}
}

static void
test_decimals(void)
{
	static const struct
	{
		const char *bytes;
		int			len;
		int			scale;
		const char *text;
	}			decimals[] = {
		{"\x00", 1, 0, "0"}, {"\x00", 1, 2, "0.00"}, {"\x00", 1, 12, "0E-12"},
		{"\x00\x96", 2, 2, "1.50"}, {"\xff", 1, 4, "-0.0001"},
		{"\x01", 1, 12, "1E-12"}, {"\x7b", 1, 12, "1.23E-10"},
		{"\x01", 1, 6, "0.000001"}, {"\x01", 1, 7, "1E-7"},
		{"\x7b", 1, -3, "1.23E+5"}, {"\x01", 1, -3, "1E+3"},
		{"\x80\x00\x00\x00\x00\x00\x00\x00", 8, 0, "-9223372036854775808"},
		{"\x00\x80\x00\x00\x00\x00\x00\x00\x00", 9, 3, "9223372036854775.808"},
		{"\x80\x00\x00\x00\x00\x00\x00\x00\x00", 9, 0, "-2361183241434822606848"},
		{"\x01\x00\x00\x00\x00\x00\x00\x00\x00", 9, 30, "1.8446744073709551616E-11"},
		{"\x01\x00\x00\x00\x00\x00\x00\x00\x00", 9, 25, "0.0000018446744073709551616"},
		{"", 0, 0, "0"},
	};

	for (int i = 0; i < lengthof(decimals); i++)
	{
		java_put_decimal(&buf, (const uint8_t *) decimals[i].bytes,
						 decimals[i].len, decimals[i].scale);
		check("decimal", written(), decimals[i].text);
	}
	for (int i = 0; i < 1000; i++)
	{
		uint8_t		big[100];
		int64_t		value = (int64_t) next_random() >> (i % 64);
		char		expected[32];

		snprintf(expected, sizeof(expected), INT64_FORMAT, value);
		java_put_int64(&buf, value);
		check("integer", written(), expected);
		memset(big, value < 0 ? 0xFF : 0, sizeof(big));
		for (int j = 0; j < 8; j++)
			big[99 - j] = (uint8_t) (value >> 8 * j);
		java_put_decimal(&buf, big, sizeof(big), 0);
		check("long decimal", written(), expected);
	}
}

static void
test_strings(void)
{
	static const struct
	{
		const char *text;
		const char *json;
	}			strings[] = {
		{"", "\"\""},
		{"line\nquote\" back\\ tab\t bell\a del\x7f",
		"\"line\\nquote\\\" back\\\\ tab\\t bell\\u0007 del\x7f\""},
		{"\x1b\b\f\r", "\"\\u001B\\b\\f\\r\""},
		{"\xc3\xa9 \xe2\x80\xa8 \xf0\x9f\x98\x80",
		"\"\xc3\xa9 \xe2\x80\xa8 \\uD83D\\uDE00\""},
	};
	static const char *const base64[] = {"", "AP8=", "3q2+7wA="};
	static const uint8_t bytes[] = {0x00, 0xFF, 0xDE, 0xAD, 0xBE, 0xEF, 0x00};

	for (int i = 0; i < lengthof(strings); i++)
	{
		java_put_json_string(&buf, strings[i].text, strlen(strings[i].text));
		check("string", written(), strings[i].json);
	}
	java_put_json_string(&buf, "a\0b", 3);
	check("string", written(), "\"a\\u0000b\"");
	java_put_base64(&buf, bytes, 0);
	check("base64", written(), base64[0]);
	java_put_base64(&buf, bytes, 2);
	check("base64", written(), base64[1]);
	java_put_base64(&buf, bytes + 2, 5);
	check("base64", written(), base64[2]);
}

int
main(void)
{
	test_floats();
	test_decimals();
	test_strings();
	printf("test_java_text: %d passed, %d failed\n", passed, failed);
	return failed > 0;
}
