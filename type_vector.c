/*
 * type_vector.c
 *		Types of the extension pgvector, as arrays of numbers.
 *
 * Their layouts, which pgvector keeps across its versions, since pg_upgrade
 * does not convert values.  All begin with a length word; numbers are of the
 * machine's byte order:
 *
 *	 vector		int16 dimensions, int16 unused, float4 for each
 *	 halfvec	int16 dimensions, int16 unused, half precision float for each
 *	 sparsevec	int32 dimensions, int32 elements, int32 unused, int32 index
 *				from 0 for each element, float4 for each element
 *
 * Debezium reads their text: a vector's 0.1 is a double's 0.1, not the
 * single precision number that is nearest to it.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"

#include "type_encode.h"
#include "type_vector.h"

#define VECTOR_HEADER		(2 * sizeof(int16))
#define SPARSEVEC_HEADER	(3 * sizeof(int32))

static void
check_layout(bool right, const char *type)
{
	if (!right)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("value of type %s has an unexpected size", type)));
}

/* The double that the number's shortest text means. */
static double
read_as_double(const char *p)
{
	char		text[FLOAT_SHORTEST_DECIMAL_LEN];
	float		number;

	memcpy(&number, p, sizeof(number));

	/* the usual whole numbers, halves, quarters: the text is exact */
	if (fabsf(number) < 1024 && number * 4 == rintf(number * 4))
		return number;
	float_to_shortest_decimal_buf(number, text);
	return strtod(text, NULL);
}

/* Elements of a vector or halfvec, and how many there are. */
static const char *
read_vector(Datum value, size_t element_size, const char *type, int *ndims)
{
	struct varlena *vector = type_detoast(value);
	const char *p = VARDATA_ANY(vector);
	size_t		len = VARSIZE_ANY_EXHDR(vector);
	int16		dimensions = -1;

	if (len >= VECTOR_HEADER)
		memcpy(&dimensions, p, sizeof(dimensions));
	check_layout(dimensions >= 0 &&
				 len == VECTOR_HEADER + dimensions * element_size, type);
	*ndims = dimensions;
	return p + VECTOR_HEADER;
}

void
encode_vector(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	int			ndims;
	const char *p = read_vector(value, sizeof(float), "vector", &ndims);

	if (ndims > 0)
		avro_put_long(buf, ndims);
	for (int i = 0; i < ndims; i++, p += sizeof(float))
		avro_put_double(buf, read_as_double(p));
	avro_put_long(buf, 0);
}

/* IEEE 754: one bit of sign, five of exponent, ten of fraction. */
static float
read_half(const char *p)
{
	uint16		bits;
	int			exponent;
	float		fraction;
	float		number;

	memcpy(&bits, p, sizeof(bits));
	exponent = (bits >> 10) & 0x1F;
	fraction = bits & 0x03FF;
	if (exponent == 0x1F)
		number = fraction == 0 ? INFINITY : NAN;
	else if (exponent == 0)
		number = ldexpf(fraction, -24);
	else
		number = ldexpf(1024 + fraction, exponent - 25);
	return bits & 0x8000 ? -number : number;
}

void
encode_halfvec(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	int			ndims;
	const char *p = read_vector(value, sizeof(uint16), "halfvec", &ndims);

	if (ndims > 0)
		avro_put_long(buf, ndims);
	for (int i = 0; i < ndims; i++, p += sizeof(uint16))
		avro_put_float(buf, read_half(p));
	avro_put_long(buf, 0);
}

/* Indexes count from 1, as in the text form. */
void
encode_sparsevec(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	struct varlena *vector = type_detoast(value);
	const char *p = VARDATA_ANY(vector);
	size_t		len = VARSIZE_ANY_EXHDR(vector);
	int32		header[2] = {0, -1};	/* dimensions, elements */
	const char *numbers;

	if (len >= SPARSEVEC_HEADER)
		memcpy(header, p, sizeof(header));
	check_layout(header[1] >= 0 &&
				 len == SPARSEVEC_HEADER + (size_t) header[1] *
				 (sizeof(int32) + sizeof(float)), "sparsevec");
	p += SPARSEVEC_HEADER;
	numbers = p + header[1] * sizeof(int32);

	avro_put_int(buf, header[0]);
	if (header[1] > 0)
		avro_put_long(buf, header[1]);
	for (int i = 0; i < header[1]; i++)
	{
		int32		index;

		memcpy(&index, p + i * sizeof(int32), sizeof(index));
		avro_put_int(buf, index + 1);
		avro_put_double(buf, read_as_double(numbers + i * sizeof(float)));
	}
	avro_put_long(buf, 0);
}

void
zero_sparsevec(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_int(buf, 0);
	avro_put_long(buf, 0);
}

void
unavailable_vector(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const TypePlaceholder *placeholder = encoder->placeholder;

	if (placeholder->nbytes > 0)
		avro_put_long(buf, placeholder->nbytes);
	for (int i = 0; i < placeholder->nbytes; i++)
		avro_put_double(buf, (int8) placeholder->bytes[i]);
	avro_put_long(buf, 0);
}

void
unavailable_halfvec(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const TypePlaceholder *placeholder = encoder->placeholder;

	if (placeholder->nbytes > 0)
		avro_put_long(buf, placeholder->nbytes);
	for (int i = 0; i < placeholder->nbytes; i++)
		avro_put_float(buf, (int8) placeholder->bytes[i]);
	avro_put_long(buf, 0);
}

void
unavailable_sparsevec(const TypeEncoder *encoder, AvroBuffer *buf)
{
	const TypePlaceholder *placeholder = encoder->placeholder;

	avro_put_int(buf, placeholder->nbytes);
	if (placeholder->nbytes > 0)
		avro_put_long(buf, placeholder->nbytes);
	for (int i = 0; i < placeholder->nbytes; i++)
	{
		avro_put_int(buf, i + 1);
		avro_put_double(buf, (int8) placeholder->bytes[i]);
	}
	avro_put_long(buf, 0);
}
