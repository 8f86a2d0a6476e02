/*
 * selection.h
 *		What a stream selects now: its tables, and the topics they go to.
 *
 * For the start of a stream, before anything is decoded: a process that has
 * begun to decode never looks at the catalogs of now, whose cache entries
 * would meet those of a historic snapshot.
 */
#ifndef WAL2KAFKA_SELECTION_H
#define WAL2KAFKA_SELECTION_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "preload/settings.h"

/* The prefix that holds, "" in the settings being the database's name. */
extern const char *selection_topic_prefix(const Settings *settings,
										  const char *database_name);

/* <prefix>.schemas, sanitised.  Palloc'd. */
extern char *selection_schemas_topic(const Settings *settings,
									 const char *database_name);

/* The topic of events that cannot be sent.  Palloc'd. */
extern char *selection_dead_letter_topic(const Settings *settings,
										 const char *database_name);

/*
 * The topics of all tables that the stream selects, each once (char *), and
 * the number of tables.  Raises when a publication does not exist.  Starts
 * and ends a transaction of its own; the list is allocated in
 * CurrentMemoryContext.
 */
extern List *selection_topics(const Settings *settings,
							  const char *database_name, int *ntables);

#endif							/* WAL2KAFKA_SELECTION_H */
