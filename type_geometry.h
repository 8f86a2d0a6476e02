/*
 * type_geometry.h
 *		Geometric types of the server and of PostGIS.  Private to the type
 *		map.
 */
#ifndef WAL2KAFKA_TYPE_GEOMETRY_H
#define WAL2KAFKA_TYPE_GEOMETRY_H

#include "type_map.h"

/* Each has the contract of TypeEncodeFunc (type_map.h). */
extern void encode_point(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_line(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_lseg(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_box(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_path(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_polygon(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_circle(TypeEncoder *encoder, Datum value, AvroBuffer *buf);

/* TypeEncoder.output must be the type's send function. */
extern void encode_postgis_geometry(TypeEncoder *encoder, Datum value,
									AvroBuffer *buf);
extern void encode_postgis_geography(TypeEncoder *encoder, Datum value,
									 AvroBuffer *buf);

/* What stands for no value; Debezium's. */
extern void zero_point(const TypeEncoder *encoder, AvroBuffer *buf);
extern void zero_line(const TypeEncoder *encoder, AvroBuffer *buf);
extern void zero_lseg(const TypeEncoder *encoder, AvroBuffer *buf);
extern void zero_box(const TypeEncoder *encoder, AvroBuffer *buf);
extern void zero_path(const TypeEncoder *encoder, AvroBuffer *buf);
extern void zero_polygon(const TypeEncoder *encoder, AvroBuffer *buf);
extern void zero_circle(const TypeEncoder *encoder, AvroBuffer *buf);
extern void zero_geography(const TypeEncoder *encoder, AvroBuffer *buf);
extern void zero_geometry(const TypeEncoder *encoder, AvroBuffer *buf);

#endif							/* WAL2KAFKA_TYPE_GEOMETRY_H */
