/*
 * type_vector.h
 *		Types of the extension pgvector.  Private to the type map.
 */
#ifndef WAL2KAFKA_TYPE_VECTOR_H
#define WAL2KAFKA_TYPE_VECTOR_H

#include "type_map.h"

/*
 * Each has the contract of TypeEncodeFunc (type_map.h); a value that is not
 * laid out as expected raises ERRCODE_DATA_CORRUPTED.
 */
extern void encode_vector(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_halfvec(TypeEncoder *encoder, Datum value,
						   AvroBuffer *buf);
extern void encode_sparsevec(TypeEncoder *encoder, Datum value,
							 AvroBuffer *buf);

/* No dimensions */
extern void zero_sparsevec(const TypeEncoder *encoder, AvroBuffer *buf);

/* The placeholder's bytes (signed), one an element, as in number arrays. */
extern void unavailable_vector(const TypeEncoder *encoder, AvroBuffer *buf);
extern void unavailable_halfvec(const TypeEncoder *encoder, AvroBuffer *buf);
extern void unavailable_sparsevec(const TypeEncoder *encoder,
								  AvroBuffer *buf);

#endif							/* WAL2KAFKA_TYPE_VECTOR_H */
