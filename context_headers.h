/*
 * context_headers.h
 *		The headers __debezium.context.*, which say who sends.
 */
#ifndef WAL2KAFKA_CONTEXT_HEADERS_H
#define WAL2KAFKA_CONTEXT_HEADERS_H

#include "postgres.h"

#include "event.h"
#include "preload/settings.h"

typedef struct ContextHeaders ContextHeaders;

/*
 * Rendered once, with a new run's id.  Lives in cxt.  NULL where settings do
 * not ask for them.
 */
extern ContextHeaders *context_headers_create(MemoryContext cxt,
											  const Settings *settings,
											  const char *database_name);

/*
 * Add them to an event that does not have them yet, behind what it has.
 */
extern void context_headers_add(const ContextHeaders *headers, Event *event);

#endif							/* WAL2KAFKA_CONTEXT_HEADERS_H */
