/*
 * avro_encode.c
 *		Avro's binary encoding: what is too long to be inlined.
 *
 * Pure C, no server header: test/unit compiles this file into a plain
 * program.
 */
#include "avro_encode.h"

#include <assert.h>

#define MIN_BUFFER_SIZE		((size_t) 1024)

/* Above this size a buffer grows by half instead of doubling. */
#define DOUBLING_LIMIT		((size_t) 64 * 1024 * 1024)

static const uint32_t power_of_10[] = {1, 10, 100, 1000, 10000};

/*
 * Make room for at least "needed" more bytes.
 */
void
avro_buffer_enlarge(AvroBuffer *buf, size_t needed)
{
	size_t		minimum = buf->len + needed;
	size_t		size = buf->size < MIN_BUFFER_SIZE ? MIN_BUFFER_SIZE : buf->size;

	while (size < minimum)
		size += size < DOUBLING_LIMIT ? size : size / 2;

	buf->data = buf->grow(buf->data, size);
	buf->size = size;
}

/*
 * Length and minimal two's complement, big-endian, of a 128-bit integer:
 * leading bytes that only repeat the sign are left out.
 */
static void
put_int128(AvroBuffer *buf, __int128 value)
{
	uint8_t    *p;
	int			nbytes = 1;

	while (nbytes < 16 && (value >> (8 * nbytes - 1)) != (value < 0 ? -1 : 0))
		nbytes++;

	avro_buffer_reserve(buf, 17);
	p = buf->data + buf->len;
	*p++ = (uint8_t) (nbytes << 1);
	for (int i = nbytes - 1; i >= 0; i--)
		*p++ = (uint8_t) (value >> (8 * i));
	buf->len = p - buf->data;
}

void
avro_put_decimal_int128(AvroBuffer *buf, __int128 unscaled)
{
	put_int128(buf, unscaled);
}

/*
 * The bits that differ from the sign, and one for the sign.  Writes 8 bytes,
 * of which so many count.
 */
void
avro_put_decimal_int64(AvroBuffer *buf, int64_t unscaled)
{
	uint64_t	magnitude = (uint64_t) (unscaled ^ (unscaled >> 63));
	int			nbytes = (64 - __builtin_clzll(magnitude | 1)) / 8 + 1;
	uint64_t	bits = (uint64_t) unscaled << (64 - 8 * nbytes);
	uint8_t    *p;

	avro_buffer_reserve(buf, 1 + sizeof(bits));
	p = buf->data + buf->len;
	*p++ = (uint8_t) (nbytes << 1);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	bits = __builtin_bswap64(bits);
#endif
	memcpy(p, &bits, sizeof(bits));
	buf->len += 1 + nbytes;
}

/*
 * limbs = limbs * factor + addend.  *nlimbs grows by at most one.
 */
static void
multiply_add(uint64_t *limbs, size_t *nlimbs, uint64_t factor, uint64_t addend)
{
	uint64_t	carry = addend;

	for (size_t i = 0; i < *nlimbs; i++)
	{
		unsigned __int128 product = (unsigned __int128) limbs[i] * factor + carry;

		limbs[i] = (uint64_t) product;
		carry = (uint64_t) (product >> 64);
	}
	if (carry != 0)
		limbs[(*nlimbs)++] = carry;
}

/*
 * Write a number of any size.  limbs is its magnitude, least significant
 * first, lies behind the place that the bytes go to, and has one spare limb
 * of zeroes on top, so that there is always a sign bit.
 */
static void
put_limbs(AvroBuffer *buf, uint64_t *limbs, size_t nlimbs, bool negative)
{
	size_t		nbytes = nlimbs * 8;
	uint8_t    *p;

#define LIMB_BYTE(i)	((uint8_t) (limbs[(i) / 8] >> (8 * ((i) % 8))))

	if (negative)
	{
		uint64_t	carry = 1;

		for (size_t i = 0; i < nlimbs; i++)
		{
			limbs[i] = ~limbs[i] + carry;
			carry = carry && limbs[i] == 0;
		}
	}

	while (nbytes > 1 &&
		   LIMB_BYTE(nbytes - 1) == (negative ? 0xFF : 0x00) &&
		   (LIMB_BYTE(nbytes - 2) & 0x80) == (negative ? 0x80 : 0x00))
		nbytes--;

	avro_put_long(buf, (int64_t) nbytes);
	p = buf->data + buf->len;
	for (size_t i = nbytes; i-- > 0;)
		*p++ = LIMB_BYTE(i);
	buf->len += nbytes;

#undef LIMB_BYTE
}

/*
 * The general path of avro_put_decimal: schoolbook multiplication, 16 decimal
 * digits a step.  The limbs are built in the buffer itself, behind the place
 * of the result, since this file has no allocator.
 */
static void
put_big_decimal(AvroBuffer *buf, const int16_t *digits, int ndigits,
				int exponent, bool negative)
{
	/* log2(10) / 64 < 0.052; the spare limb holds the sign */
	size_t		capacity = (size_t) ((4.0 * ndigits + (exponent > 0 ? exponent : 0)) * 0.052) + 3;
	size_t		nlimbs = 0;
	uint64_t   *limbs;
	uint8_t    *scratch;
	int			last = exponent < 0 ? ndigits - 1 : ndigits;
	int			i = 0;

	avro_buffer_reserve(buf, 10 + capacity * 16 + 8);
	scratch = buf->data + buf->len + 10 + capacity * 8;
	limbs = (uint64_t *) (((uintptr_t) scratch + 7) & ~(uintptr_t) 7);

	while (i < last)
	{
		uint64_t	chunk = 0;
		uint64_t	factor = 1;

		for (int j = 0; j < 4 && i < last; j++)
		{
			chunk = chunk * 10000 + digits[i++];
			factor *= 10000;
		}
		multiply_add(limbs, &nlimbs, factor, chunk);
	}
	if (exponent < 0)
		multiply_add(limbs, &nlimbs, power_of_10[4 + exponent],
					 digits[last] / power_of_10[-exponent]);
	for (; exponent >= 16; exponent -= 16)
		multiply_add(limbs, &nlimbs, UINT64_C(10000000000000000), 0);
	for (; exponent > 0; exponent -= 4)
		multiply_add(limbs, &nlimbs, power_of_10[exponent < 4 ? exponent : 4], 0);

	assert(nlimbs < capacity);
	limbs[nlimbs++] = 0;
	put_limbs(buf, limbs, nlimbs, negative);
}

/*
 * What has up to 18 digits is computed in 64 bits, up to 38 in 128.
 */
void
avro_put_decimal(AvroBuffer *buf, const int16_t *digits, int ndigits,
				 int weight, bool negative, int scale)
{
	/* The number is the digits, read as one integer, times 10^exponent. */
	int			exponent = 4 * (weight - ndigits + 1) + scale;
	int			last;
	__int128	value = 0;

	while (ndigits > 0 && exponent <= -4)
	{
		assert(digits[ndigits - 1] == 0);
		ndigits--;
		exponent += 4;
	}
	if (ndigits == 0)
	{
		put_int128(buf, 0);
		return;
	}
	if (4 * ndigits + exponent > 38)
	{
		put_big_decimal(buf, digits, ndigits, exponent, negative);
		return;
	}

	last = exponent < 0 ? ndigits - 1 : ndigits;
	if (4 * ndigits + exponent <= 18)
	{
		int64_t		narrow = 0;

		for (int i = 0; i < last; i++)
			narrow = narrow * 10000 + digits[i];
		if (exponent < 0)
			narrow = narrow * power_of_10[4 + exponent] +
				digits[last] / power_of_10[-exponent];
		for (; exponent > 0; exponent -= 4)
			narrow *= power_of_10[exponent < 4 ? exponent : 4];
		avro_put_decimal_int64(buf, negative ? -narrow : narrow);
		return;
	}
	for (int i = 0; i < last; i++)
		value = value * 10000 + digits[i];
	if (exponent < 0)
		value = value * power_of_10[4 + exponent] +
			digits[last] / power_of_10[-exponent];
	for (; exponent > 0; exponent -= 4)
		value *= power_of_10[exponent < 4 ? exponent : 4];

	put_int128(buf, negative ? -value : value);
}

/* Fingerprint of the empty text, and the polynomial (specification). */
#define CRC64_EMPTY		UINT64_C(0xc15d213aa4d7a795)

uint64_t
avro_fingerprint(const char *text, size_t len)
{
	static uint64_t table[256];
	uint64_t	fingerprint = CRC64_EMPTY;

	if (table[255] == 0)
	{
		for (int i = 0; i < 256; i++)
		{
			uint64_t	entry = i;

			for (int bit = 0; bit < 8; bit++)
				entry = (entry >> 1) ^ (entry & 1 ? CRC64_EMPTY : 0);
			table[i] = entry;
		}
	}

	for (size_t i = 0; i < len; i++)
		fingerprint = (fingerprint >> 8) ^
			table[(fingerprint ^ (uint8_t) text[i]) & 0xFF];

	return fingerprint;
}
