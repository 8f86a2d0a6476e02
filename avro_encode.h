/*
 * avro_encode.h
 *		Avro's binary encoding (Apache Avro 1.11 specification, "Binary
 *		encoding"), written straight into a growing buffer.
 *
 * The hot path.  Knows primitives, not relations or types; compiles into a
 * plain test program (test/unit compares it with libavro).
 *
 * A buffer grows by its own function, repalloc_huge() in the server (see
 * avro_buffer_init() in type_map.h) and realloc() in a test program; it is
 * reset, not freed, between rows.
 */
#ifndef WAL2KAFKA_AVRO_ENCODE_H
#define WAL2KAFKA_AVRO_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct AvroBuffer
{
	uint8_t    *data;
	size_t		len;
	size_t		size;			/* allocated */
	void	   *(*grow) (void *data, size_t size);	/* does not return NULL */
} AvroBuffer;

extern void avro_buffer_enlarge(AvroBuffer *buf, size_t needed);

static inline void
avro_buffer_reserve(AvroBuffer *buf, size_t needed)
{
	if (buf->size - buf->len < needed)
		avro_buffer_enlarge(buf, needed);
}

static inline void
avro_put_raw(AvroBuffer *buf, const void *data, size_t len)
{
	avro_buffer_reserve(buf, len);
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
}

/*
 * The 7-bit groups of a number below 2^56, each in a byte of its own, and the
 * mark that more follow in all but the last.  With no loop there is no branch
 * whose way depends on the number: lengths of numbers in rows are as good as
 * random.  Writes 8 bytes; returns how many count.
 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static inline size_t
avro_spread_groups(uint8_t *p, uint64_t n)
{
	size_t		last = (size_t) (63 - __builtin_clzll(n | 1)) / 7;
	uint64_t	marks = UINT64_C(0x8080808080808080) &
		((UINT64_C(1) << (8 * last)) - 1);

	n = (n & 0x000000000FFFFFFF) | (n & 0x00FFFFFFF0000000) << 4;
	n = (n & 0x00003FFF00003FFF) | (n & 0x0FFFC0000FFFC000) << 2;
	n = (n & 0x007F007F007F007F) | (n & 0x3F803F803F803F80) << 1;
	n |= marks;
	memcpy(p, &n, sizeof(n));
	return last + 1;
}
#define AVRO_SPREADS(n)		((n) < UINT64_C(1) << 56)
#else
#define avro_spread_groups(p, n)	((void) (p), (size_t) 0)
#define AVRO_SPREADS(n)		false
#endif

/*
 * long and int: zig-zag, then 7 bits a byte, least significant first.  Bytes
 * behind the number may be overwritten, up to AVRO_LONG_ROOM in all.
 */
#define AVRO_LONG_ROOM	10

static inline void
avro_put_long(AvroBuffer *buf, int64_t value)
{
	uint64_t	n = ((uint64_t) value << 1) ^ (uint64_t) (value >> 63);
	uint8_t    *p;

	avro_buffer_reserve(buf, AVRO_LONG_ROOM);
	p = buf->data + buf->len;
	if (n < 0x80)
	{
		*p = (uint8_t) n;
		buf->len++;
		return;
	}
	if (AVRO_SPREADS(n))
	{
		buf->len += avro_spread_groups(p, n);
		return;
	}
	while (n >= 0x80)
	{
		*p++ = (uint8_t) (n | 0x80);
		n >>= 7;
	}
	*p++ = (uint8_t) n;
	buf->len = p - buf->data;
}

#define avro_put_int(buf, value)	avro_put_long(buf, value)

static inline void
avro_put_boolean(AvroBuffer *buf, bool value)
{
	avro_buffer_reserve(buf, 1);
	buf->data[buf->len++] = value ? 1 : 0;
}

/* bytes and string: length, then the bytes */
static inline void
avro_put_bytes(AvroBuffer *buf, const void *data, size_t len)
{
	avro_put_long(buf, (int64_t) len);
	avro_put_raw(buf, data, len);
}

/* Little-endian, whatever the machine's order is. */
static inline void
avro_put_little_endian(AvroBuffer *buf, uint64_t bits, int nbytes)
{
	uint8_t    *p;

	avro_buffer_reserve(buf, sizeof(bits));
	p = buf->data + buf->len;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	memcpy(p, &bits, sizeof(bits));
#else
	for (int i = 0; i < nbytes; i++)
		p[i] = (uint8_t) (bits >> (8 * i));
#endif
	buf->len += nbytes;
}

static inline void
avro_put_float(AvroBuffer *buf, float value)
{
	uint32_t	bits;

	memcpy(&bits, &value, sizeof(bits));
	avro_put_little_endian(buf, bits, sizeof(bits));
}

static inline void
avro_put_double(AvroBuffer *buf, double value)
{
	uint64_t	bits;

	memcpy(&bits, &value, sizeof(bits));
	avro_put_little_endian(buf, bits, sizeof(bits));
}

/*
 * A decimal's bytes: length, then the minimal two's complement, big-endian,
 * of the integer that PostgreSQL's base-10000 digits make after shifting to
 * the given scale.  digits, weight and negative as in numeric.c: value = sum
 * digits[i] * 10000^(weight - i).  Digits beyond the scale must be zero.
 */
extern void avro_put_decimal(AvroBuffer *buf, const int16_t *digits,
							 int ndigits, int weight, bool negative,
							 int scale);

/* The same for a number that fits. */
extern void avro_put_decimal_int64(AvroBuffer *buf, int64_t unscaled);
extern void avro_put_decimal_int128(AvroBuffer *buf, __int128 unscaled);

/* CRC-64-AVRO (specification, "Schema fingerprints") */
extern uint64_t avro_fingerprint(const char *text, size_t len);

#endif							/* WAL2KAFKA_AVRO_ENCODE_H */
