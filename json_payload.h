/*
 * json_payload.h
 *		A JSON text as a structure of its own: Avro schema and bytes inferred
 *		from the text, as Debezium's outbox router does it.
 */
#ifndef WAL2KAFKA_JSON_PAYLOAD_H
#define WAL2KAFKA_JSON_PAYLOAD_H

#include "postgres.h"

#include "avro_encode.h"
#include "lib/stringinfo.h"
#include "preload/settings.h"

/* How a text is read. */
typedef struct JsonPayloadOptions
{
	const char *name;			/* of the outermost record */
	bool		enclosed;		/* that record is in another, which has a
								 * namespace */
	NameAdjustment field_names;
	bool		keep_nulls;		/* as null bytes, which can be nothing else */
	bool		keep_empty_arrays;	/* as arrays of strings */
} JsonPayloadOptions;

/*
 * Append the schema, ["null", record], and the value of that schema.  Returns
 * NULL, or why this is not possible, with nothing appended: a static text.
 * Only an object can be expanded; arrays must be of one type.
 */
extern const char *json_payload_expand(const JsonPayloadOptions *options,
									   const char *text, size_t len,
									   StringInfo schema, AvroBuffer *value);

#endif							/* WAL2KAFKA_JSON_PAYLOAD_H */
