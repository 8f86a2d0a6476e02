/*
 * wal_end.c
 *		How far WAL may be decoded now.
 *
 * Consumers must not have what a failover can take back.  So nothing of a
 * failover slot is sent before it is on those standbys one of which will be
 * the next primary.  The server sees to that in its walsenders, and a process
 * that decodes by itself has to.
 *
 * Whether standbys have WAL up to a position can be asked for, but not what
 * they have.  So the position is one at which WAL was flushed at some time,
 * and it is kept until they have it: one that moved on with each commit would
 * never be reached on a busy server.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "compat.h"
#include "utils/timestamp.h"
#include "wal_end.h"

/*
 * The server has a warning for a standby that is not there.  It comes when
 * we have waited for so long, and again in such intervals.
 */
#define FIRST_WARNING_MS	1000
#define WARNING_INTERVAL_MS	60000

static XLogRecPtr allowed;		/* standbys have WAL up to here */
static XLogRecPtr awaited;		/* and are to have it up to here */
static TimestampTz waiting_since;	/* 0: not waiting */
static TimestampTz warn_at;

/*
 * For a failover slot: ask whether standbys have what was flushed when we
 * asked first, and if so, go on to what is flushed now.
 */
static XLogRecPtr
confirmed_end(XLogRecPtr flushed)
{
	TimestampTz now = 0;

	if (awaited <= allowed)
		awaited = flushed;
	if (awaited <= allowed)
		return allowed;

	if (waiting_since != 0)
		now = GetCurrentTimestamp();
	if (compat_standbys_have(awaited,
							 waiting_since != 0 && now >= warn_at ?
							 WARNING : DEBUG1))
	{
		allowed = awaited;
		waiting_since = 0;
		return allowed;
	}

	if (waiting_since == 0)
	{
		waiting_since = GetCurrentTimestamp();
		warn_at = TimestampTzPlusMilliseconds(waiting_since,
											  FIRST_WARNING_MS);
	}
	else if (now >= warn_at)
		warn_at = TimestampTzPlusMilliseconds(now, WARNING_INTERVAL_MS);
	return allowed;
}

XLogRecPtr
wal_end_now(TimeLineID *timeline)
{
	XLogRecPtr	flushed;

	if (RecoveryInProgress())
		return GetXLogReplayRecPtr(timeline);
	flushed = GetFlushRecPtr(timeline);
	if (MyReplicationSlot == NULL ||
		!compat_slot_failover(&MyReplicationSlot->data))
	{
		waiting_since = 0;
		return flushed;
	}
	return confirmed_end(flushed);
}

XLogRecPtr
wal_end_prepare_sleep(TimeLineID *timeline)
{
	XLogRecPtr	end;
	bool		standbys;

	/* what is waited for may change when it is asked for */
	do
	{
		standbys = waiting_since != 0;
		if (standbys)
			compat_prepare_standby_sleep();
		else
			compat_prepare_wal_sleep();
		end = wal_end_now(timeline);
	} while (standbys != (waiting_since != 0));
	return end;
}

void
wal_end_cancel_sleep(void)
{
	compat_cancel_wal_sleep();
}

TimestampTz
wal_end_standbys_since(void)
{
	return waiting_since;
}
