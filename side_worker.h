/*
 * side_worker.h
 *		A process beside a stream's worker that does something for one call
 *		of an SQL function, with the stream's settings and as its role.
 *
 * A dynamic background worker.  It ends when its work is done, when the call
 * is cancelled or its session ends.  Caller and process share a segment, which
 * begins with a PlaceExchange (place.h), so that either may ask the stream
 * for a place.
 */
#ifndef WAL2KAFKA_SIDE_WORKER_H
#define WAL2KAFKA_SIDE_WORKER_H

#include "postgres.h"

#include "place.h"
#include "preload/settings.h"
#include "preload/shared_state.h"
#include "storage/dsm.h"

/* ---- in the session ---- */

/*
 * The entry of the stream that is named, or with NULL of this database's only
 * one; its index goes to *index.  Raises where there is none.
 */
extern StreamState *side_worker_stream(const char *name, int *index);

/*
 * A segment with a zeroed payload, and room for so many bytes of topics'
 * ends.  It goes with the transaction's resources, or by dsm_detach(), and a
 * process that works for it then ends, and the exchange is withdrawn.
 */
extern dsm_segment *side_worker_segment(int stream, Size offsets_size,
										Size payload_size);
extern PlaceExchange *side_worker_exchange(dsm_segment *segment);
extern void *side_worker_payload(dsm_segment *segment);

/*
 * Have a function of this library run in a process, and wait for its end.
 * The function is a background worker's main function, which calls
 * side_worker_main().  what names it in pg_stat_activity.  Raises the errors
 * that were raised there.
 */
extern void side_worker_run(dsm_segment *segment, const char *function,
							const char *what);

/* ---- in the process ---- */

typedef void (*SideWork) (StreamState *stream, const Settings *settings,
						  dsm_segment *segment);

/* Connect, do the work outside of a transaction, and end. */
extern void side_worker_main(Datum main_arg, SideWork work)
			__attribute__((noreturn));

#endif							/* WAL2KAFKA_SIDE_WORKER_H */
