/*
 * heartbeat.h
 *		Records at an interval, also while nothing changes
 *		(debezium-format.md, 9).
 */
#ifndef WAL2KAFKA_HEARTBEAT_H
#define WAL2KAFKA_HEARTBEAT_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "preload/settings.h"

typedef struct Heartbeat Heartbeat;

/*
 * Lives in TopMemoryContext; settings must stay valid.  NULL where none are
 * asked for.  The first one is due at once.
 */
extern Heartbeat *heartbeat_create(const Settings *settings,
								   const char *database_name);

/* Milliseconds from now to the next; 0: it is due. */
extern long heartbeat_due_in(const Heartbeat *heartbeat, TimestampTz now);

/*
 * Give one to the sink if it is due.  Waits as emit() does.
 */
extern void heartbeat_send(Heartbeat *heartbeat, TimestampTz now);

#endif							/* WAL2KAFKA_HEARTBEAT_H */
