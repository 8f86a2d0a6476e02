/*
 * type_text.h
 *		Text forms that are written straight into the buffer, where the
 *		server's output functions would format, allocate and copy.  Private to
 *		the type map.
 */
#ifndef WAL2KAFKA_TYPE_TEXT_H
#define WAL2KAFKA_TYPE_TEXT_H

#include "type_map.h"

/* Each has the contract of TypeEncodeFunc (type_map.h). */
extern void encode_inet(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_macaddr(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_macaddr8(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_int4range(TypeEncoder *encoder, Datum value,
							 AvroBuffer *buf);
extern void encode_int8range(TypeEncoder *encoder, Datum value,
							 AvroBuffer *buf);
extern void encode_jsonb(TypeEncoder *encoder, Datum value, AvroBuffer *buf);

#endif							/* WAL2KAFKA_TYPE_TEXT_H */
