/*
 * java_text.h
 *		Numbers and strings as Java and Jackson write them, into a growing
 *		buffer.
 *
 * The hot path of JSON: nothing here allocates, but for a decimal of more
 * than 64 bits.  No server headers but the basics and the digits of floats.
 */
#ifndef WAL2KAFKA_JAVA_TEXT_H
#define WAL2KAFKA_JAVA_TEXT_H

#include "avro_encode.h"

/*
 * Double.toString() and Float.toString() of Java 19 and later: the shortest
 * digits that give the number back.  NaN, Infinity, -Infinity as words.
 */
extern void java_put_double(AvroBuffer *buf, double value);
extern void java_put_float(AvroBuffer *buf, float value);

extern void java_put_int64(AvroBuffer *buf, int64_t value);

/*
 * BigDecimal.toString() of an unscaled integer (two's complement, big-endian)
 * and its scale: with an exponent where there are many zeros behind the point.
 */
extern void java_put_decimal(AvroBuffer *buf, const uint8_t *bytes,
							 size_t len, int scale);

/*
 * A string of UTF-8 between quotes, as Jackson writes it to bytes: what lies
 * beyond 16 bits becomes a pair of \uXXXX.
 */
extern void java_put_json_string(AvroBuffer *buf, const char *text,
								 size_t len);

/* Base64 with padding, without quotes. */
extern void java_put_base64(AvroBuffer *buf, const uint8_t *bytes,
							size_t len);

#endif							/* WAL2KAFKA_JAVA_TEXT_H */
