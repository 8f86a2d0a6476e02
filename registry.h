/*
 * registry.h
 *		Schema texts to ids, by a Confluent-compatible schema registry.
 *
 * One Registry for each process that sends events.  A look-up that is not
 * cached blocks in the caller's transaction, but never deaf: it waits on the
 * latch and the connection's socket together, answers interrupts, and calls
 * the caller's idle function, so that acknowledgements are served meanwhile.
 */
#ifndef WAL2KAFKA_REGISTRY_H
#define WAL2KAFKA_REGISTRY_H

#include "options.h"
#include "preload/settings.h"

typedef struct Registry Registry;

typedef enum RegistryProblem
{
	REGISTRY_OK,
	REGISTRY_AWAY,				/* cannot connect, 5xx, 408, 425, 429,
								 * nonsense: tried again for ever, with
								 * backoff */
} RegistryProblem;

typedef struct RegistryConfig
{
	const char *urls;			/* comma-separated, each with its path */
	OptionList	options;		/* schema_registry_options, then the file's */
	bool		auto_register_schemas;
	bool		use_latest_version;
	bool		normalize_schemas;

	/*
	 * Called whenever the registry's state changes and at least every 100 ms
	 * while a look-up waits.  reason is for people, NULL when all is well;
	 * it never has user information of a URL or other secrets, and it is the
	 * same text for as long as the trouble is the same.  The current memory
	 * context is that of registry_schema_id()'s caller.  May raise.
	 */
	void		(*on_wait) (void *arg, RegistryProblem problem,
							const char *reason);
	void	   *arg;
} RegistryConfig;

/*
 * What to do about a reason of on_wait(): a constant, NULL where the reason
 * tells no more than that the registry is away.
 */
extern const char *registry_remedy(const char *reason);

/* Check option names and values; raises, never quoting a value. */
extern void registry_check_options(const char *setting,
								   const OptionList *options, bool from_file);

/*
 * Make a client; asks nobody yet.  It belongs to CurrentMemoryContext, and
 * goes with it if registry_destroy() is not called.  config and its options,
 * which were checked before, are not needed any more afterwards.  Raises for
 * wrong URLs (of which user information is one), and options that do not go
 * together or name files that cannot be read.
 */
extern Registry *registry_create(const RegistryConfig *config);
extern void registry_destroy(Registry *registry);

/* The same with a stream's settings; reads and checks its options. */
extern Registry *registry_open(const Settings *settings,
							   void (*on_wait) (void *arg,
												RegistryProblem problem,
												const char *reason),
							   void *arg);

/*
 * The subject of a topic's key or value.  record_name is the schema's full
 * name.  Palloc'd.
 */
extern char *registry_subject(SubjectStrategy strategy, const char *topic,
							  const char *record_name, bool is_key);

/*
 * The id of a schema, JSON in UTF-8, under a subject: from the cache, else
 * registered, looked up or compared with the latest version, as configured.
 * Retries outages for ever.  Raises when the registry refuses (409, 422, 401, 403,
 * 404 for a look-up only) or when bytes of our schema must not have the
 * latest version's id: the detail says how our schema differs from the
 * registered one, the hint what can be done.  An error or interrupt leaves
 * the Registry usable.  MyLatch is set again if it was reset meanwhile.
 */
extern int32 registry_schema_id(Registry *registry, const char *subject,
								const char *schema_text);

/*
 * The text of the schema with this id, palloc'd; NULL where the registry does
 * not have it.  Not cached.  Waits and raises as registry_schema_id().
 */
extern char *registry_schema_text(Registry *registry, int32 id);

/*
 * Empty the cache: every schema is asked for again.  For a registry that
 * came back from an outage, perhaps without what it had.
 */
extern void registry_forget_ids(Registry *registry);

#endif							/* WAL2KAFKA_REGISTRY_H */
