/*
 * notification.h
 *		Debezium's notifications: records that tell of snapshots.
 *
 * What Debezium 3.7 sends, and when, as recorded.  "id" is that of the
 * signal that asked for the snapshot; "-" is a UUID of each notification's
 * own, as for all of an initial snapshot.  "list" is data_collections: the
 * names (schema.table) of all tables of the snapshot, with commas between; in
 * an incremental snapshot those that are over already are no more in it,
 * but the one that a TABLE_SCAN_COMPLETED is about is.  connector_name is
 * added here.  Callers name entries in the order below: Java's order of a
 * map decides, and where that leaves it open, ours.
 *
 * NOTIFICATION_INITIAL (also of tables that are read at each start):
 *	SKIPPED		-	at a start without a snapshot
 *	STARTED		-
 *	DATA_COLLECTIONS_RESOLVED	-	list
 *	IN_PROGRESS	-	when a table begins:
 *					current_collection_in_progress, list
 *	TABLE_SCAN_COMPLETED	-	scanned_collection, total_rows_scanned, list,
 *					status = SUCCEEDED
 *	TABLE_SCAN_COMPLETED	-	on an error: scanned_collection, status =
 *					SQL_EXCEPTION; then ABORTED
 *	ABORTED		-
 *	COMPLETED	-	behind the last table
 *
 * NOTIFICATION_INCREMENTAL:
 *	STARTED		id	list
 *	DATA_COLLECTIONS_RESOLVED	id	list; at once behind STARTED
 *	IN_PROGRESS	id	when a chunk was read, and before its rows:
 *					current_collection_in_progress, list, maximum_key,
 *					last_processed_key (its last row's key, columns with
 *					commas between), total_rows (of the table), chunk_index
 *					(from 1), total_chunks.  We do not know maximum_key and
 *					total_chunks, and leave them out.
 *	PAUSED, RESUMED		id	list; only where it changes something
 *	TABLE_SCAN_COMPLETED	id	scanned_collection, total_rows_scanned,
 *					total_rows (not on errors, nor of an empty table), list,
 *					status = SUCCEEDED, EMPTY, SQL_EXCEPTION (any error), or
 *					UNKNOWN_SCHEMA (there is no such table)
 *	ABORTED		id	data_collections: those that were cancelled
 *	COMPLETED	id	behind the last table, however it ended; Debezium sends it
 *					before ABORTED too, if that took the last one
 */
#ifndef WAL2KAFKA_NOTIFICATION_H
#define WAL2KAFKA_NOTIFICATION_H

#include "postgres.h"

#include "preload/settings.h"

typedef struct Notifier Notifier;

/* One entry of additional_data, in the server's encoding; at most 15. */
typedef struct NotificationData
{
	const char *name;
	const char *value;
} NotificationData;

/* Debezium's aggregates */
#define NOTIFICATION_INITIAL		"Initial Snapshot"
#define NOTIFICATION_INCREMENTAL	"Incremental Snapshot"

/*
 * NULL where wal2kafka.notification_topic_name is empty.  Allocates in
 * TopMemoryContext.  The process's event_sink must be registered already.
 */
extern Notifier *notifier_create(const Settings *settings,
								 const char *database_name);

/*
 * The topic, for those who make topics: the setting's, as Kafka takes it, or
 * where wal2kafka.topic_router_regex sends it.
 */
extern const char *notifier_topic(const Notifier *notifier);

/*
 * Send one, by event_sink.  notifier may be NULL: nothing happens.  type is
 * Debezium's ("STARTED", "TABLE_SCAN_COMPLETED", ...), id what all
 * notifications of one snapshot have in common; NULL: one of its own.  Not
 * from within emit().  Waits as emit() does.
 */
extern void notifier_send(Notifier *notifier, const char *id,
						  const char *aggregate_type, const char *type,
						  const NotificationData *data, int ndata);

#endif							/* WAL2KAFKA_NOTIFICATION_H */
