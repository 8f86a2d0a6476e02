/*
 * java_hash.h
 *		Hash codes as Java computes them, and the MurmurHash3 that Debezium
 *		offers beside them.
 *
 * Plain C.  Partitions are chosen with these, so that they must not differ in
 * a bit.
 */
#ifndef WAL2KAFKA_JAVA_HASH_H
#define WAL2KAFKA_JAVA_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern int32_t java_hash_boolean(bool value);
extern int32_t java_hash_long(int64_t value);
extern int32_t java_hash_float(float value);
extern int32_t java_hash_double(double value);

/* A String; text is valid UTF-8. */
extern int32_t java_hash_string(const char *text, size_t len);

/* A ByteBuffer with these bytes. */
extern int32_t java_hash_bytes(const uint8_t *bytes, size_t len);

/* A BigDecimal; unscaled is in two's complement, big-endian. */
extern int32_t java_hash_decimal(const uint8_t *unscaled, size_t len,
								 int scale);

/*
 * Debezium's MurmurHash3: of a string's UTF-8 bytes, and of any other value
 * by its hash code.
 */
extern int32_t java_murmur_string(const char *text, size_t len);
extern int32_t java_murmur_code(int32_t code);

#endif							/* WAL2KAFKA_JAVA_HASH_H */
