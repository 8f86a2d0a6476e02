/*
 * json_encode.h
 *		The second format: JSON as Kafka Connect's JsonConverter writes it,
 *		keys as its StringConverter does, and struct headers as its
 *		SimpleHeaderConverter does.
 *
 * Events are encoded as Avro first; here the Avro bytes are walked by a plan
 * that is made once from the schema's text, and written anew.
 */
#ifndef WAL2KAFKA_JSON_ENCODE_H
#define WAL2KAFKA_JSON_ENCODE_H

#include "postgres.h"

#include "avro_encode.h"
#include "event.h"
#include "preload/settings.h"

/*
 * What keys, or values, are when this process's sink gets them.  Without a
 * sink everything stays Avro, but for the plugin's format=connect.
 */
extern EventFormat json_encode_format(const Settings *settings, bool is_key);

/*
 * Converts the keys and values of events, to a sink or to the output.  Lives in
 * cxt; settings must stay valid.  NULL where everything stays Avro.
 */
typedef struct JsonConverter JsonConverter;

extern JsonConverter *json_encode_create(MemoryContext cxt,
										 const Settings *settings);

/*
 * Replace key and value of an event by what is sent.  The bytes are the
 * converter's and valid until its next call.  A schema that had Avro's format
 * gets EVENT_FORMAT_BARE; a null stays null, and bytes without a schema's
 * text stay as they are.
 *
 * Raises ERRCODE_PROGRAM_LIMIT_EXCEEDED for an event of 1 GB or more.
 */
extern void json_encode_event(JsonConverter *converter, Event *event);

/*
 * A header whose value is a key: its Avro bytes and their schema.  Palloc'd,
 * not terminated.
 */
extern void json_encode_header(const EventSchema *schema,
							   const Settings *settings, EventBytes bytes,
							   char **text, size_t *len);

#endif							/* WAL2KAFKA_JSON_ENCODE_H */
