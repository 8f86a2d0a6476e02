/*
 * snapshot.h
 *		The start of a stream: its slot, and its tables as they are there.
 */
#ifndef WAL2KAFKA_SNAPSHOT_H
#define WAL2KAFKA_SNAPSHOT_H

#include "postgres.h"

#include "delivery.h"

/* What a start works with; all of it stays the caller's. */
typedef struct SnapshotStart
{
	Delivery   *delivery;		/* its service calls snapshot_service() */
	StreamState *stream;
	const Settings *settings;
	uint64		settings_digest;	/* settings_catalog_digest() of these */
	const char *slot_name;
	const char *database_name;
} SnapshotStart;

/*
 * Create the stream's slot and, unless wal2kafka.snapshot_mode is no_data,
 * emit every row of the tables that are to be read as it is at the slot's
 * consistent point.  Returns NULL when everything is acknowledged and the slot
 * persistent; or, if it has to stop before, the reason.  The slot is released
 * in any case; the process must not decode afterwards, its caches have seen
 * the present.
 *
 * An interruption, whatever its reason, leaves either no slot or one that
 * slot_state_snapshot_pending() tells of.  What was sent until then is in the
 * progress file, if snapshot_was_begun(): then the stream goes on from the
 * slot and reads the rest beside its changes (incremental.h).
 *
 * Waits for transactions that are open when it starts.
 */
extern const char *snapshot_start_stream(const SnapshotStart *start);

/*
 * For the service function of the delivery, which may be called at any time
 * until the start returns: sees to the progress and to the other processes.
 * Returns why the start should end now, if it should: the caller exits then.
 * Raises what another process failed with.
 */
extern const char *snapshot_service(void);

/*
 * Where delivery is exactly once: what the other processes of a start that was
 * interrupted had open is aborted, and they can write no more.  Waits as long
 * as the broker is away.
 */
extern void snapshot_fence_readers(Delivery *delivery, const char *slot_name);

/*
 * Has a start that was interrupted found the slot's consistent point?  If it
 * had even come to its end, slot_state_snapshot_pending() knows from now on.
 */
extern bool snapshot_was_begun(const char *slot_name);

#endif							/* WAL2KAFKA_SNAPSHOT_H */
