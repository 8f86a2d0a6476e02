/*
 * wakeup.c
 *		A commit wakes the streams of its database.
 *
 * Workers sleep while there is no flushed WAL to decode.  From 16 on the
 * server signals a condition variable at each flush, so that a synchronous
 * commit needs nothing of ours.  15 has none: there each commit sets the
 * latch of the streams that sleep.
 *
 * An asynchronous commit is flushed by nobody for up to three times
 * wal_writer_delay.  It publishes its end, on every version, and the worker
 * flushes up to there when wal2kafka.async_flush_delay has passed.
 *
 * This runs in every transaction that wrote WAL, after it became visible: the
 * cost counts.  Nothing here takes a lock.  The worker sets "asleep", then
 * looks at the flushed position and at async_commit_lsn, then sleeps; we
 * publish, then look at "asleep".  With a full barrier between the two steps
 * on either side, one of us sees the other.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/latch.h"

#include "../compat.h"
#include "shared_state.h"

/* Of the last commit that we have seen in this backend. */
static XLogRecPtr last_commit_end = InvalidXLogRecPtr;

static void
publish(StreamState *stream, XLogRecPtr end)
{
	uint64		old = pg_atomic_read_u64(&stream->async_commit_lsn);

	while (old < end &&
		   !pg_atomic_compare_exchange_u64(&stream->async_commit_lsn,
										   &old, end))
		;
}

/*
 * Publishing happens before the barrier and waking after it, for all streams
 * of the database: there is rarely more than one.  Fields are read without
 * the mutex.  They change only when a stream starts or ends, and then it
 * looks for WAL by itself.
 */
static void
wake_streams(int used, bool asynchronous)
{
	if (asynchronous)
		for (int i = 0; i < used; i++)
		{
			StreamState *stream = shared_state_stream(i);

			if (stream->database_oid == MyDatabaseId)
				publish(stream, XactLastCommitEnd);
		}

	pg_memory_barrier();
	for (int i = 0; i < used; i++)
	{
		StreamState *stream = shared_state_stream(i);
		Latch	   *latch;

		if (stream->database_oid != MyDatabaseId ||
			pg_atomic_read_u32(&stream->asleep) == 0)
			continue;
		latch = *(Latch *volatile *) &stream->latch;
		if (latch != NULL)
			SetLatch(latch);
	}
}

/*
 * A commit without transaction id is one of COMMIT PREPARED, which has
 * flushed, or of a reader that pruned pages, which need not be flushed.
 */
static void
after_commit(XactEvent event, void *arg)
{
	bool		asynchronous;
	int			used;

	if (event != XACT_EVENT_COMMIT || XactLastCommitEnd == last_commit_end)
		return;
	last_commit_end = XactLastCommitEnd;
	used = shared_state_used();
	if (used == 0)
		return;
	asynchronous = synchronous_commit == SYNCHRONOUS_COMMIT_OFF &&
		TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		XLogNeedsFlush(XactLastCommitEnd);
	if (asynchronous || !COMPAT_HAS_WAL_FLUSH_CV)
		wake_streams(used, asynchronous);
}

void
wakeup_init(void)
{
	RegisterXactCallback(after_commit, NULL);
}
