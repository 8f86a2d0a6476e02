/*
 * type_encode.h
 *		From a non-null datum to Avro bytes: the encoders that type_map.c's
 *		table refers to.  Private to the type map.
 *
 * Each has the contract of TypeEncodeFunc (type_map.h).
 */
#ifndef WAL2KAFKA_TYPE_ENCODE_H
#define WAL2KAFKA_TYPE_ENCODE_H

#include "access/detoast.h"
#include "mb/pg_wchar.h"
#include "type_map.h"
#include "utils/memutils.h"

extern void encode_boolean(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_int2(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_int4(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_int8(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_oid(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_float4(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_float8(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_decimal(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_variable_scale_decimal(TypeEncoder *encoder, Datum value,
										  AvroBuffer *buf);
extern void encode_money(TypeEncoder *encoder, Datum value, AvroBuffer *buf);

extern void encode_text(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_name(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_output(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_uuid(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_enum(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_bytea(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_bit(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_bits(TypeEncoder *encoder, Datum value, AvroBuffer *buf);

extern void encode_array(TypeEncoder *encoder, Datum value, AvroBuffer *buf);
extern void encode_nested_array(TypeEncoder *encoder, Datum value,
								AvroBuffer *buf);

/*
 * Detoast, if need be.  The result has a short or long header and any
 * alignment.
 */
static inline struct varlena *
type_detoast(Datum value)
{
	struct varlena *attr = (struct varlena *) DatumGetPointer(value);

	if (!VARATT_IS_COMPRESSED(attr) && !VARATT_IS_EXTERNAL(attr))
		return attr;

	/* Look before we leap: the error of palloc() would not say what it is. */
	if (!AllocSizeIsValid(toast_raw_datum_size(value)))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value of %zu bytes is too large to be sent",
						(size_t) toast_raw_datum_size(value))));

	return pg_detoast_datum_packed(attr);
}

/* Text of the server's encoding as an Avro string. */
static inline void
type_put_text(const TypeEncoder *encoder, const char *text, size_t len,
		 AvroBuffer *buf)
{
	if (encoder->convert_encoding)
	{
		char	   *converted = pg_server_to_any(text, (int) len, PG_UTF8);

		/* SQL_ASCII is only checked: the same text, without an end mark */
		if (converted != text)
			len = strlen(converted);
		text = converted;
	}
	avro_put_bytes(buf, text, len);
}

/*
 * The labels of an enum, as TypeEncoder.cache has them: converted to UTF-8,
 * ordered by OID.  A label that the cache lacks (it was added after the
 * encoder was made) is looked up and added.
 */
typedef struct EnumLabel
{
	Oid			oid;
	float4		sort_order;
	char	   *label;
	int			len;
} EnumLabel;

typedef struct EnumCache
{
	MemoryContext context;
	int			nlabels;
	EnumLabel  *labels;
} EnumCache;

/* Read pg_enum; allocated in CurrentMemoryContext.  Needs catalog access. */
extern EnumCache *enum_cache_create(Oid typid);

/* An array's elements may be null: branches of ["null", T] */
#define ELEMENT_NULL_BRANCH		0
#define ELEMENT_VALUE_BRANCH	1

#endif							/* WAL2KAFKA_TYPE_ENCODE_H */
