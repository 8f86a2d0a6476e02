/*
 * avro_decode.h
 *		Primitive values out of Avro bytes that we wrote ourselves, or that a
 *		frame brings.
 *
 * Nothing is read beyond the end: bytes that end too early raise
 * ERRCODE_DATA_CORRUPTED.
 */
#ifndef WAL2KAFKA_AVRO_DECODE_H
#define WAL2KAFKA_AVRO_DECODE_H

#include "postgres.h"

typedef struct AvroReader
{
	const uint8 *p;
	const uint8 *end;
} AvroReader;

/* Bytes do not fit their schema. */
static inline void
avro_read_failed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("Avro bytes do not fit their schema")));
}

static inline const uint8 *
avro_read_raw(AvroReader *reader, int64 len)
{
	const uint8 *start = reader->p;

	if (unlikely(len < 0 || len > reader->end - reader->p))
		avro_read_failed();
	reader->p += len;
	return start;
}

/* int and long: zig-zag, 7 bits a byte, least significant first */
static inline int64
avro_read_long(AvroReader *reader)
{
	uint64		n = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8		byte = *avro_read_raw(reader, 1);

		n |= (uint64) (byte & 0x7F) << shift;
		if (!(byte & 0x80))
			return (int64) (n >> 1) ^ -(int64) (n & 1);
	}
	avro_read_failed();
	return 0;					/* not reached */
}

/* The bits of a float (4 bytes) or double (8) */
static inline uint64
avro_read_little_endian(AvroReader *reader, int nbytes)
{
	const uint8 *p = avro_read_raw(reader, nbytes);
	uint64		bits = 0;

	for (int i = 0; i < nbytes; i++)
		bits |= (uint64) p[i] << (8 * i);
	return bits;
}

#endif							/* WAL2KAFKA_AVRO_DECODE_H */
