/*
 * type_modes.h
 *		Encoders of what decimal_handling_mode, binary_handling_mode and
 *		hstore_handling_mode choose.  Private to the type map.
 *
 * Each has the contract of TypeEncodeFunc (type_map.h).
 */
#ifndef WAL2KAFKA_TYPE_MODES_H
#define WAL2KAFKA_TYPE_MODES_H

#include "type_map.h"

/* Fraction digits of money as it is stored: lc_monetary is pinned to C. */
#define MONEY_STORED_DIGITS	2

extern void encode_numeric_text(TypeEncoder *encoder, Datum value,
								AvroBuffer *buf);
extern void encode_numeric_double(TypeEncoder *encoder, Datum value,
								  AvroBuffer *buf);
extern void encode_money_text(TypeEncoder *encoder, Datum value,
							  AvroBuffer *buf);
extern void encode_money_double(TypeEncoder *encoder, Datum value,
								AvroBuffer *buf);

/* A decimal of another scale than money is stored with, half rounded up. */
extern void encode_money_scaled(TypeEncoder *encoder, Datum value,
								AvroBuffer *buf);

extern void encode_base64(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_base64_url(TypeEncoder *encoder, Datum value,
							  AvroBuffer *buf);
extern void encode_hex(TypeEncoder *encoder, Datum value, AvroBuffer *buf);

extern void encode_hstore(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_hstore_map(TypeEncoder *encoder, Datum value,
							  AvroBuffer *buf);

/* An Avro string: base64 with padding, by either alphabet. */
extern void put_base64(AvroBuffer *buf, const uint8 *bytes, size_t nbytes);
extern void put_base64_url(AvroBuffer *buf, const uint8 *bytes,
						   size_t nbytes);

#endif							/* WAL2KAFKA_TYPE_MODES_H */
