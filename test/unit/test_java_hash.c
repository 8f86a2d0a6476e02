/*
 * test_java_hash.c
 *		java_hash.c against values that a JVM and Debezium's own class printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../java_hash.h"

static int	passed = 0;
static int	failed = 0;

static void
check(const char *what, const char *text, int32_t got, int32_t expected)
{
	if (got == expected)
		passed++;
	else
	{
		failed++;
		printf("FAILED: %s of %s: %d, not %d\n", what, text, got, expected);
	}
}

/* String.hashCode(), MurmurHash3 */
static const struct
{
	const char *text;
	int32_t		java;
	int32_t		murmur;
}			strings[] = {
	{"", 0, 89125410},
	{"a", 97, -1119243492},
	{"abc", 96354, 1809745788},
	{"Hello, World", -505841268, -1681613802},
	{"\303\277", 255, -710482128},
	{"\303\274\303\261\303\255\360\237\230\200\303\251", -1090799410, -836851086},
	{"aaaaaaa", -1236860927, -701155723},
	{"aaaaaaa\303\251", 312017160, -524969479},
	{"0123456789abcdef", 285443752, 26898387},
	{"0123456789abcdefg", 258821823, -1536414354},
	{"\303\251123456789abcde", -2067697033, 807242526},
	{"the quick brown fox jumps over the lazy dog 0123456789 \303\277", -1028412623, 1172015525},
	{"\344\270\255\346\226\207\345\255\227\347\254\246\344\270\262\346\270\254\350\251\246\344\270\255\346\226\207\345\255\227\347\254\246\344\270\262", -803597722, 1255498528},
	{"\302\200\337\277\340\240\200\357\277\277", 5909438, -905436612},
	{"ah", 3111, 1551994398},
	{"aho", 96552, -424967137},
	{"ahov", 2993230, -1237724327},
	{"ahovc", 92790229, 651741559},
	{"ahovcj", -1418470091, -1057561783},
	{"ahovcjq", -1022899748, 1776457376},
	{"ahovcjqx", -1645120996, -319833519},
	{"ahovcjqxe", 540856777, -1491523262},
	{"ahovcjqxel", -413308989, 647849267},
	{"ahovcjqxels", 72323344, 1794041665},
	{"ahovcjqxelsz", -2052943510, -1664159667},
	{"ahovcjqxelszg", 783260733, -1349623067},
	{"ahovcjqxelszgn", -1488720943, 638741230},
	{"ahovcjqxelszgnu", 1094291140, 1262136274},
	{"ahovcjqxelszgnub", -436712930, -83187473},
	{"ahovcjqxelszgnubi", -653198837, -1405397613},
	{"ahovcjqxelszgnubip", 1225672645, 1285363994},
	{"ahovcjqxelszgnubipw", -658853550, 452117003},
	{"ahovcjqxelszgnubipwd", 1050376530, 143777931},
	{"ahovcjqxelszgnubipwdk", -1798065831, -1965651889},
	{"ahovcjqxelszgnubipwdkr", 94534201, 1960756697},
	{"ahovcjqxelszgnubipwdkry", -1364406944, -1971524134},
	{"ahovcjqxelszgnubipwdkryf", 653057798, -2049521368},
	{"ahovcjqxelszgnubipwdkryfm", -1230044633, 478141101},
	{"ahovcjqxelszgnubipwdkryfmt", 523322157, 753620676},
	{"ahovcjqxelszgnubipwdkryfmta", -956882220, -618794},
	{"ahovcjqxelszgnubipwdkryfmtah", 401422356, 2098701656},
	{"ahovcjqxelszgnubipwdkryfmtaho", -440808741, 2036588663},
	{"ahovcjqxelszgnubipwdkryfmtahov", -780168965, -954597327},
	{"ahovcjqxelszgnubipwdkryfmtahovc", 1584565960, -64337170},
	{"ahovcjqxelszgnubipwdkryfmtahovcj", 1876904610, -1284894844},
	{"ahovcjqxelszgnubipwdkryfmtahovcjq", -1945499121, 373186717},
	{"\303\240", 224, -509355889},
	{"\303\240\303\245", 7173, 50655328},
	{"\303\240\303\245\303\252", 222597, 1639274301},
	{"\303\240\303\245\303\252\303\257", 6900746, -928381570},
	{"\303\240\303\245\303\252\303\257\303\264", 213923370, 1032891171},
	{"\303\240\303\245\303\252\303\257\303\264\303\271", -1958309873, 526678139},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240", -578063695, 53977273},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245", -740105132, -200292925},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252", -1468422378, 758166791},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257", 1723546777, -1069392608},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257\303\264", 1890342779, 1965569467},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257\303\264\303\271", -1528915746, 901751000},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257\303\264\303\271\303\240", -151747646, -1857930241},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245", -409209501, -1764227179},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252", 199407591, -99238340},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257", 1886668264, 218679815},
	{"\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257\303\264\303\271\303\240\303\245\303\252\303\257\303\264", -1642825716, -941599089},
};

/* Long.hashCode(), and MurmurHash3 of it */
static const struct
{
	int64_t		value;
	int32_t		java;
	int32_t		murmur;
}			longs[] = {
	{INT64_C(0), 0, 1805505889},
	{INT64_C(1), 1, -1931162451},
	{INT64_C(-1), 0, 1805505889},
	{INT64_C(2147483647), 2147483647, 925940511},
	{INT64_C(-2147483648), 2147483647, 925940511},
	{INT64_C(4294967296), 1, -1931162451},
	{INT64_C(9223372036854775807), INT32_MIN, -797218156},
	{INT64_MIN, INT32_MIN, -797218156},
	{INT64_C(1577923200000), 1670202735, 1904594540},
	{INT64_C(-1577923200001), 1670202735, 1904594540},
};

/* Double.hashCode(), Float.hashCode() */
static const struct
{
	const char *text;
	int32_t		of_double;
	int32_t		of_float;
}			doubles[] = {
	{"0.0", 0, 0},
	{"-0.0", INT32_MIN, INT32_MIN},
	{"1.5", 1073217536, 1069547520},
	{"-2.25", -1073610752, -1072693248},
	{"nan", 2146959360, 2143289344},
	{"inf", 2146435072, 2139095040},
	{"1.0E308", -100006829, 2139095040},
	{"4.9E-324", 1, 0},
};

/* BigDecimal.hashCode() */
static const struct
{
	const char *unscaled;
	size_t		len;
	int			scale;
	int32_t		java;
}			decimals[] = {
	{"\x00", 1, 0, 0},
	{"\x00", 1, 2, 2},
	{"\x01", 1, 0, 31},
	{"\xff", 1, 0, -31},
	{"\x01", 1, 3, 34},
	{"\xff", 1, 3, -28},
	{"\x30\x39", 2, 3, 382698},
	{"\xcf\xc7", 2, 3, -382692},
	{"\x7f\xff\xff\xff", 4, 0, 2147483617},
	{"\x80\x00\x00\x00", 4, 0, INT32_MIN},
	{"\x00\xff\xff\xff\xff", 5, 0, -31},
	{"\xff\x00\x00\x00\x00", 5, 0, -961},
	{"\x01\x00\x00\x00\x00", 5, 0, 961},
	{"\x7f\xff\xff\xff\xff\xff\xff\xff", 8, 0, 2147482656},
	{"\x80\x00\x00\x00\x00\x00\x00\x00", 8, 0, INT32_MIN},
	{"\x01\x00\x00\x00\x00\x00\x00\x00\x00", 9, 0, 29791},
	{"\xff\x00\x00\x00\x00\x00\x00\x00\x00", 9, 0, -29791},
	{"\xfe\x95\x31\x6f\x52\x00\xaa\x14\xcb\xdc\x86\x6a\xa9\x17\x6f\x5f\xc5\xec", 18, 2, -1730175396},
	{"\x05\x6b\xc7\x5e\x2d\x63\x0f\xff\xff", 9, 3, -1772434260},
	{"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17, 0, -954304},
	{"\xff\x00", 2, 0, -7936},
	{"\xff\x00\x00", 3, 0, -2031616},
	{"\x00\xff", 2, 0, 7905},
};

/* ByteBuffer.hashCode() */
static const struct
{
	const char *bytes;
	size_t		len;
	int32_t		java;
}			buffers[] = {
	{"", 0, 1},
	{"\x00", 1, 31},
	{"\xff", 1, 30},
	{"\x00\xff\x80", 3, -93248},
	{"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a", 10, 302346492},
};

int
main(void)
{
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
	{
		const char *text = strings[i].text;

		check("string", text, java_hash_string(text, strlen(text)),
			  strings[i].java);
		check("murmur", text, java_murmur_string(text, strlen(text)),
			  strings[i].murmur);
	}
	for (size_t i = 0; i < sizeof(longs) / sizeof(longs[0]); i++)
	{
		int32_t		code = java_hash_long(longs[i].value);

		check("long", "a number", code, longs[i].java);
		check("murmur", "a number", java_murmur_code(code), longs[i].murmur);
	}
	for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++)
	{
		double		value = strtod(doubles[i].text, NULL);

		check("double", doubles[i].text, java_hash_double(value),
			  doubles[i].of_double);
		check("float", doubles[i].text, java_hash_float((float) value),
			  doubles[i].of_float);
	}
	for (size_t i = 0; i < sizeof(decimals) / sizeof(decimals[0]); i++)
		check("decimal", "a number",
			  java_hash_decimal((const uint8_t *) decimals[i].unscaled,
								decimals[i].len, decimals[i].scale),
			  decimals[i].java);
	for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
		check("bytes", "a buffer",
			  java_hash_bytes((const uint8_t *) buffers[i].bytes,
							  buffers[i].len), buffers[i].java);
	check("boolean", "true", java_hash_boolean(true), 1231);
	check("boolean", "false", java_hash_boolean(false), 1237);
	check("murmur", "true", java_murmur_code(java_hash_boolean(true)), -1891831265);
	check("murmur", "-2", java_murmur_code(-2), 1322585103);
	printf("test_java_hash: %d passed, %d failed\n", passed, failed);
	return failed > 0;
}
