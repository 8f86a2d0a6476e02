/*
 * event_serialize.h
 *		Events as text or as self-contained frames, for readers without
 *		Kafka: pg_logical_slot_get_changes(), pg_recvlogical, peek().
 */
#ifndef WAL2KAFKA_EVENT_SERIALIZE_H
#define WAL2KAFKA_EVENT_SERIALIZE_H

#include "postgres.h"

#include "event.h"
#include "lib/stringinfo.h"

/*
 * One line of JSON: {"topic": ..., "key": ..., "value": ..., "headers": {...}}.
 * Keys and values are transcoded from their Avro bytes by walking the schema;
 * with "converted" they are JSON already, which is copied.  In the server's
 * encoding.
 */
extern void event_serialize_json(StringInfo out, const Event *event,
								 bool converted);

/*
 * A frame for wal2kafka.decode(): magic "w2k", version, topic, schema texts,
 * bytes, headers.  See event_serialize.c for the layout.
 */
#define EVENT_FRAME_MAGIC		"w2k\001"
#define EVENT_FRAME_MAGIC_LEN	4

extern void event_serialize_frame(StringInfo out, const Event *event);

/*
 * Avro bytes to JSON, by a schema text.  Strings as they are, bytes as
 * base64 (decimals as numbers in text, Connect's logical types as their
 * numbers), unions without a type wrapper.  Used for header values too.
 * UTF-8.  Raises ERRCODE_DATA_CORRUPTED when the bytes do not fit the schema.
 */
extern void event_serialize_datum(StringInfo out, const EventSchema *schema,
								  const uint8 *data, size_t len);

/*
 * Add a header whose value is some Avro bytes, as Connect's
 * SimpleHeaderConverter writes it: text as it is, bytes as base64, the rest
 * as in JSON.  The null branch of a union is a null.  The text is palloc'd.
 */
extern void event_serialize_header(Event *event, const char *name,
								   const EventSchema *schema,
								   const uint8 *data, size_t len);

/* An unscaled two's complement integer as a number in text. */
extern void event_serialize_decimal(StringInfo out, const uint8 *bytes,
									size_t len, int scale);

#endif							/* WAL2KAFKA_EVENT_SERIALIZE_H */
