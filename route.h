/*
 * route.h
 *		Topics that a row's value names: their targets, kept for the next row.
 */
#ifndef WAL2KAFKA_ROUTE_H
#define WAL2KAFKA_ROUTE_H

#include "postgres.h"

#include "event.h"

/*
 * The targets of one relation's entry, made from its own.  Bounded: when there
 * are too many all are given back to the sink by its release().
 */
typedef struct RouteCache RouteCache;

extern RouteCache *route_cache_create(MemoryContext cxt);

/*
 * The target for a topic, or NULL if it is not kept.  variant tells targets
 * of one topic apart whose schemas differ; "" where there are none.
 * Valid until the next route_add().
 */
extern EventTarget *route_find(RouteCache *cache, const char *topic,
							   const char *variant);

/*
 * Make that target: a copy of the base with another topic and, unless value
 * is NULL, with that schema of its values.  The topic must be valid.
 */
extern EventTarget *route_add(RouteCache *cache, const EventTarget *base,
							  const char *topic, const char *variant,
							  const EventSchema *value);

/* Give all targets back to the sink; before the cache's context goes. */
extern void route_cache_release(RouteCache *cache);

#endif							/* WAL2KAFKA_ROUTE_H */
