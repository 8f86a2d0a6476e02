/*
 * wal_guard.h
 *		The limit on the WAL that a stream's slot retains.
 *
 * A slot keeps WAL from its restart_lsn on, whatever it is that keeps the
 * stream from going on.  Here is only what is known of the limit, and whether
 * it is exceeded; what is done about it is the worker's business while there
 * is one, and the launcher's otherwise.
 *
 * The launcher cannot read a stream's settings, so a worker publishes them
 * at each of its starts, also where it finds that the stream is paused or
 * held.  Before the first start since the server's there is no limit.
 */
#ifndef WAL2KAFKA_WAL_GUARD_H
#define WAL2KAFKA_WAL_GUARD_H

#include "settings.h"
#include "shared_state.h"

/*
 * What the settings of the stream's worker say.  renews: where the slot has
 * to be dropped, the stream may begin anew by itself.
 */
extern PGDLLEXPORT void wal_guard_publish(StreamState *stream,
										  const Settings *settings,
										  Oid database, bool renews);

/* End of the WAL that a slot retains, as far as decoding could be by now. */
extern PGDLLEXPORT XLogRecPtr wal_guard_position(void);

/*
 * Does the slot retain more than the limit?  restart_lsn is the slot's.  Tells
 * the log, and the views, when that changes; once it is more, it is so until
 * it is less than nine tenths.  Cheap.
 */
extern PGDLLEXPORT bool wal_guard_look(StreamState *stream,
									   XLogRecPtr restart_lsn);

#endif							/* WAL2KAFKA_WAL_GUARD_H */
