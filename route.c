/*
 * route.c
 *		Topics that a row's value names: their targets, kept for the next row.
 *
 * Whoever may insert rows chooses the values, so that there may be any number
 * of them.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "route.h"

/* Everything is dropped when there is more than this. */
#define MAX_ROUTES		1000
#define MAX_ROUTE_BYTES	((size_t) 4 * 1024 * 1024)

/* Both parts lie behind each other in one string, each with its NUL. */
typedef struct RouteKey
{
	const char *topic;
	const char *variant;
} RouteKey;

typedef struct Route
{
	RouteKey	key;
	uint32		hash;
	char		status;			/* simplehash's */
	EventTarget *target;
} Route;

static inline uint32
route_key_hash(RouteKey key)
{
	return hash_combine(hash_bytes((const unsigned char *) key.topic,
								   (int) strlen(key.topic)),
						hash_bytes((const unsigned char *) key.variant,
								   (int) strlen(key.variant)));
}

#define SH_PREFIX				routes
#define SH_ELEMENT_TYPE			Route
#define SH_KEY_TYPE				RouteKey
#define SH_KEY					key
#define SH_HASH_KEY(tb, key)	route_key_hash(key)
#define SH_EQUAL(tb, a, b) \
	(strcmp((a).topic, (b).topic) == 0 && strcmp((a).variant, (b).variant) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)		((a)->hash)
#define SH_SCOPE				static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct RouteCache
{
	MemoryContext context;		/* of all routes; reset to drop them */
	routes_hash *routes;		/* NULL: none yet */
	size_t		bytes;			/* of their texts */
	Route		last;			/* the one that was found last, if any */
};

RouteCache *
route_cache_create(MemoryContext cxt)
{
	RouteCache *cache = MemoryContextAllocZero(cxt, sizeof(RouteCache));

	cache->context = AllocSetContextCreate(cxt, "wal2kafka routes",
										   ALLOCSET_SMALL_SIZES);
	return cache;
}

EventTarget *
route_find(RouteCache *cache, const char *topic, const char *variant)
{
	RouteKey	key = {topic, variant};
	Route	   *route;

	/* most rows go where the one before went */
	if (cache->last.target != NULL &&
		strcmp(cache->last.key.topic, topic) == 0 &&
		strcmp(cache->last.key.variant, variant) == 0)
		return cache->last.target;
	if (cache->routes == NULL)
		return NULL;
	route = routes_lookup(cache->routes, key);
	if (route == NULL)
		return NULL;
	cache->last = *route;
	return route->target;
}

static size_t
schema_size(const EventSchema *schema)
{
	return schema->text != NULL ? schema->text_len : 0;
}

/*
 * A copy of its own: what others keep beside a schema's text must go with the
 * route.
 */
static void
copy_schema(EventSchema *schema, const EventSchema *from)
{
	*schema = *from;
	schema->plan = NULL;
	if (from->text == NULL)
		return;
	schema->text = pnstrdup(from->text, from->text_len);
	schema->full_name = pstrdup(from->full_name);
}

EventTarget *
route_add(RouteCache *cache, const EventTarget *base, const char *topic,
		  const char *variant, const EventSchema *value)
{
	size_t		bytes;
	MemoryContext old;
	EventTarget *target;
	RouteKey	key;
	bool		found;

	if (value == NULL)
		value = &base->value;
	bytes = strlen(topic) + strlen(variant) + schema_size(&base->key) +
		schema_size(value);
	if (cache->routes != NULL &&
		(cache->routes->members >= MAX_ROUTES ||
		 cache->bytes + bytes > MAX_ROUTE_BYTES))
		route_cache_release(cache);

	old = MemoryContextSwitchTo(cache->context);
	if (cache->routes == NULL)
		cache->routes = routes_create(cache->context, 16, NULL);
	target = palloc(sizeof(EventTarget));
	*target = *base;
	target->topic = pstrdup(topic);
	target->routed = true;
	target->collection = NULL;
	target->collection_epoch = 0;
	target->sink_data = NULL;
	copy_schema(&target->key, &base->key);
	copy_schema(&target->value, value);
	key.topic = target->topic;
	key.variant = pstrdup(variant);
	routes_insert(cache->routes, key, &found)->target = target;
	Assert(!found);
	cache->bytes += bytes;
	MemoryContextSwitchTo(old);
	return target;
}

void
route_cache_release(RouteCache *cache)
{
	routes_iterator iterator;
	Route	   *route;

	if (cache->routes == NULL)
		return;
	if (event_sink != NULL)
	{
		routes_start_iterate(cache->routes, &iterator);
		while ((route = routes_iterate(cache->routes, &iterator)) != NULL)
			event_sink->release(event_sink, route->target);
	}
	cache->routes = NULL;
	cache->bytes = 0;
	memset(&cache->last, 0, sizeof(cache->last));
	MemoryContextReset(cache->context);
}
