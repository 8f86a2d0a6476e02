/*
 * snapshot.h
 *		The start of a stream: its slot, and its tables as they are there.
 */
#ifndef WAL2KAFKA_SNAPSHOT_H
#define WAL2KAFKA_SNAPSHOT_H

#include "postgres.h"

#include "delivery.h"

/*
 * Create the stream's slot and, with_data, emit every row of the selected
 * tables as it is at the slot's consistent point.  Returns when everything
 * is acknowledged and the slot persistent.  The slot is released; the
 * process must not decode afterwards, its caches have seen the present.
 *
 * An interruption, whatever its reason, leaves either no slot or one that
 * slot_state_snapshot_pending() tells of.  Waits for transactions that are
 * open when it starts.
 */
extern void snapshot_start_stream(Delivery *delivery, StreamState *stream,
								  const Settings *settings,
								  const char *slot_name, bool with_data);

#endif							/* WAL2KAFKA_SNAPSHOT_H */
