/*
 * java_hash.c
 *		Hash codes as Java computes them, and the MurmurHash3 that Debezium
 *		offers beside them.
 *
 * All arithmetic is on unsigned integers, which wrap as Java's do.
 */
#include <string.h>

#include "java_hash.h"

/* Debezium's seed */
#define MURMUR_SEED		9001

typedef struct Murmur
{
	uint64_t	h1;
	uint64_t	h2;
	uint64_t	c1;
	uint64_t	c2;
} Murmur;

int32_t
java_hash_boolean(bool value)
{
	return value ? 1231 : 1237;
}

int32_t
java_hash_long(int64_t value)
{
	uint64_t	bits = (uint64_t) value;

	return (int32_t) (uint32_t) (bits ^ (bits >> 32));
}

int32_t
java_hash_float(float value)
{
	uint32_t	bits;

	if (value != value)
		return 0x7FC00000;		/* there is one NaN */
	memcpy(&bits, &value, sizeof(bits));
	return (int32_t) bits;
}

int32_t
java_hash_double(double value)
{
	int64_t		bits;

	if (value != value)
		return 0x7FF80000;
	memcpy(&bits, &value, sizeof(bits));
	return java_hash_long(bits);
}

int32_t
java_hash_string(const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *) text;
	const uint8_t *end = p + len;
	uint32_t	hash = 0;

	/* of its UTF-16 code units */
	while (p < end)
	{
		uint32_t	c = *p++;
		int			more = c < 0xC0 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;

		if (more > 0)
			c &= 0x3F >> more;
		while (more-- > 0 && p < end)
			c = (c << 6) | (*p++ & 0x3F);
		if (c >= 0x10000)
		{
			hash = 31 * hash + 0xD800 + ((c - 0x10000) >> 10);
			c = 0xDC00 + ((c - 0x10000) & 0x3FF);
		}
		hash = 31 * hash + c;
	}
	return (int32_t) hash;
}

int32_t
java_hash_bytes(const uint8_t *bytes, size_t len)
{
	uint32_t	hash = 1;

	while (len-- > 0)
		hash = 31 * hash + (uint32_t) (int8_t) bytes[len];
	return (int32_t) hash;
}

/*
 * A 32-bit word of the magnitude, counted from the least significant one.  Of
 * a negative number that is the complement plus one; the one is carried up
 * through what is zero.
 */
static uint32_t
magnitude_word(const uint8_t *unscaled, size_t len, size_t zeros,
			   size_t index)
{
	bool		negative = len > 0 && (unscaled[0] & 0x80) != 0;
	uint32_t	word = 0;

	for (size_t at = index * 4 + 4; at-- > index * 4;)
		word = (word << 8) | (at < len ? unscaled[len - 1 - at] :
							  negative ? 0xFF : 0);
	if (!negative)
		return word;
	return ~word + (index * 4 <= zeros ? 1 : 0);
}

int32_t
java_hash_decimal(const uint8_t *unscaled, size_t len, int scale)
{
	uint32_t	hash = 0;
	size_t		zeros = 0;		/* bytes at the end */

	while (zeros < len && unscaled[len - 1 - zeros] == 0)
		zeros++;
	/* leading words that are zero leave the hash at zero */
	for (size_t index = len / 4 + 1; index-- > 0;)
		hash = 31 * hash + magnitude_word(unscaled, len, zeros, index);
	if (len > 0 && (unscaled[0] & 0x80) != 0)
		hash = 0 - hash;
	return (int32_t) (31 * hash + (uint32_t) scale);
}

static uint64_t
rotate(uint64_t value, int bits)
{
	return (value << bits) | (value >> (64 - bits));
}

static void
murmur_mix(Murmur *state, uint64_t k1, uint64_t k2)
{
	k1 = rotate(k1 * state->c1, 23) * state->c2;
	state->h1 = (state->h1 ^ k1) + state->h2;
	state->h2 = rotate(state->h2, 41);
	k2 = rotate(k2 * state->c2, 23) * state->c1;
	state->h2 = (state->h2 ^ k2) + state->h1;
	state->h1 = state->h1 * 3 + 0x52DCE729;
	state->h2 = state->h2 * 3 + 0x38495AB5;
	state->c1 = state->c1 * 5 + 0x7B7D159C;
	state->c2 = state->c2 * 5 + 0x6BCE6396;
}

static uint64_t
murmur_finish(uint64_t k)
{
	k = (k ^ (k >> 33)) * UINT64_C(0xFF51AFD7ED558CCD);
	k = (k ^ (k >> 33)) * UINT64_C(0xC4CEB9FE1A85EC53);
	return k ^ (k >> 33);
}

/*
 * Eight bytes or fewer, the least significant first.  Of a last block the
 * bytes are signed, so that each may change all bits above it.
 */
static uint64_t
murmur_block(const uint8_t *bytes, size_t len, bool is_last)
{
	uint64_t	block = 0;

	for (size_t i = 0; i < len; i++)
		block ^= (is_last ? (uint64_t) (int64_t) (int8_t) bytes[i] :
				  (uint64_t) bytes[i]) << (8 * i);
	return block;
}

static int32_t
murmur(const uint8_t *bytes, size_t len)
{
	Murmur		state = {
		.h1 = UINT64_C(0x9368E53C2F6AF274) ^ MURMUR_SEED,
		.h2 = UINT64_C(0x586DCD208F7CD3FD) ^ MURMUR_SEED,
		.c1 = UINT64_C(0x87C37B91114253D5),
		.c2 = UINT64_C(0x4CF5AD432745937F),
	};
	size_t		rest = len;

	for (; rest >= 16; rest -= 16, bytes += 16)
		murmur_mix(&state, murmur_block(bytes, 8, false),
				   murmur_block(bytes + 8, 8, false));
	if (rest > 8)
		murmur_mix(&state, murmur_block(bytes, 8, true),
				   murmur_block(bytes + 8, rest - 8, true));
	else if (rest > 0)
		murmur_mix(&state, murmur_block(bytes, rest, true), 0);

	state.h2 ^= len;
	state.h1 += state.h2;
	state.h2 += state.h1;
	state.h1 = murmur_finish(state.h1);
	state.h2 = murmur_finish(state.h2);
	state.h1 += state.h2;
	return (int32_t) (uint32_t) (state.h1 >> 32);
}

int32_t
java_murmur_string(const char *text, size_t len)
{
	return murmur((const uint8_t *) text, len);
}

int32_t
java_murmur_code(int32_t code)
{
	uint32_t	bits = (uint32_t) code;
	uint8_t		bytes[4];

	for (int i = 0; i < 4; i++)
		bytes[i] = (uint8_t) (bits >> (8 * i));
	return murmur(bytes, sizeof(bytes));
}
