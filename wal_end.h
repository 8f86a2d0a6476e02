/*
 * wal_end.h
 *		How far WAL may be decoded now.
 *
 * For the process that decodes MyReplicationSlot.  There is one such end in a
 * process.
 */
#ifndef WAL2KAFKA_WAL_END_H
#define WAL2KAFKA_WAL_END_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

/*
 * The end of what may be decoded and sent: what is flushed; of a failover
 * slot only what the standbys of synchronized_standby_slots have, too; on a
 * standby what is replayed.  Never goes back.  *timeline is the one that the
 * server is on.  Invalid until the standbys have answered for the first time.
 */
extern XLogRecPtr wal_end_now(TimeLineID *timeline);

/*
 * Between these two the process's latch is set when the end moves (15 does so
 * for standbys only, and then there are none): like wal_end_now(), but what
 * moves it after the call wakes.
 */
extern XLogRecPtr wal_end_prepare_sleep(TimeLineID *timeline);
extern void wal_end_cancel_sleep(void);

/*
 * Since when standbys have been keeping us from WAL that is flushed; 0: they
 * do not.  As of the last of the calls above.
 */
extern TimestampTz wal_end_standbys_since(void);

#endif							/* WAL2KAFKA_WAL_END_H */
