/*
 * type_time.h
 *		Dates, times and intervals in each of the modes of
 *		wal2kafka.time_precision_mode and interval_handling_mode.  Private to
 *		the type map.
 *
 * Encoders have the contract of TypeEncodeFunc (type_map.h), raise no error
 * and allocate nothing.
 */
#ifndef WAL2KAFKA_TYPE_TIME_H
#define WAL2KAFKA_TYPE_TIME_H

#include "type_map.h"

/* Numbers; microseconds of a time are encode_int8(). */
extern void encode_date(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_time_ms(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_time_ns(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_timestamp_ms(TypeEncoder *encoder, Datum value,
								AvroBuffer *buf);
extern void encode_timestamp_us(TypeEncoder *encoder, Datum value,
								AvroBuffer *buf);
extern void encode_timestamp_ns(TypeEncoder *encoder, Datum value,
								AvroBuffer *buf);
extern void encode_interval_us(TypeEncoder *encoder, Datum value,
							   AvroBuffer *buf);

/* ISO 8601, in UTC */
extern void encode_date_iso(TypeEncoder *encoder, Datum value,
							AvroBuffer *buf);
extern void encode_time_iso(TypeEncoder *encoder, Datum value,
							AvroBuffer *buf);
extern void encode_timetz(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_timestamp_iso(TypeEncoder *encoder, Datum value,
								 AvroBuffer *buf);
extern void encode_timestamptz(TypeEncoder *encoder, Datum value,
							   AvroBuffer *buf);
extern void encode_interval_iso(TypeEncoder *encoder, Datum value,
								AvroBuffer *buf);

/* Records of optional fields, io.debezium.time.Structured... */
extern void encode_date_structured(TypeEncoder *encoder, Datum value,
								   AvroBuffer *buf);
extern void encode_time_structured(TypeEncoder *encoder, Datum value,
								   AvroBuffer *buf);
extern void encode_timetz_structured(TypeEncoder *encoder, Datum value,
									 AvroBuffer *buf);
extern void encode_timestamp_structured(TypeEncoder *encoder, Datum value,
										AvroBuffer *buf);
extern void encode_timestamptz_structured(TypeEncoder *encoder, Datum value,
										  AvroBuffer *buf);
extern void encode_interval_structured(TypeEncoder *encoder, Datum value,
									   AvroBuffer *buf);

/*
 * The epoch, midnight, no time at all: as the type's own encoder writes it.
 * For dates, times without and with zone, timestamps of both kinds, and
 * intervals.
 */
extern void zero_temporal(const TypeEncoder *encoder, AvroBuffer *buf);

/*
 * The epoch as Debezium writes it for a value that is not there: without
 * fraction digits, and without a zone's name.
 */
extern void zero_timestamptz_unknown(const TypeEncoder *encoder,
									 AvroBuffer *buf);
extern void zero_timestamptz_structured(const TypeEncoder *encoder,
										AvroBuffer *buf);

#endif							/* WAL2KAFKA_TYPE_TIME_H */
