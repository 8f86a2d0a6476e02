/*
 * foreign.h
 *		What comes from other programs: texts for messages, JSON values.
 */
#ifndef WAL2KAFKA_FOREIGN_H
#define WAL2KAFKA_FOREIGN_H

#include <jansson.h>

#include "foreign_text.h"
#include "utils/palloc.h"

/* A parsed value that goes with the context it was allocated in. */
typedef struct OwnedJson
{
	MemoryContextCallback release;
	json_t	   *value;
} OwnedJson;

/*
 * An owner in CurrentMemoryContext, of nothing yet: have it first and then
 * let jansson make the value, so that no error can come in between.
 *
 * json_object() cannot be called in the server, which has a function of that
 * name: the dynamic linker takes the server's.  json_pack("{}") does the same.
 */
extern OwnedJson *owned_json(void);

#endif							/* WAL2KAFKA_FOREIGN_H */
