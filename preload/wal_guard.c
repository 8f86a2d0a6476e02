/*
 * wal_guard.c
 *		The limit on the WAL that a stream's slot retains.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"

#include "wal_guard.h"

#define MEGABYTE	UINT64CONST(1048576)

void
wal_guard_publish(StreamState *stream, const Settings *settings,
				  Oid database, bool renews)
{
	SpinLockAcquire(&stream->mutex);
	stream->guard.limit = settings->max_retained_wal * MEGABYTE;
	stream->guard.action = settings->max_retained_wal_action;
	stream->guard.database = database;
	stream->guard.renews = renews;
	if (settings->max_retained_wal == 0)
		stream->guard.exceeded = false;
	SpinLockRelease(&stream->mutex);
}

XLogRecPtr
wal_guard_position(void)
{
	if (RecoveryInProgress())
		return GetXLogReplayRecPtr(NULL);
	return GetFlushRecPtr(NULL);
}

/*
 * What the action means for somebody who reads the log.
 */
static const char *
action_hint(RetainedWalAction action)
{
	switch (action)
	{
		case RETAINED_WAL_WARN:
			return "See wal2kafka.health() for what the stream waits for.";
		case RETAINED_WAL_PAUSE_SNAPSHOT:
			return "Snapshots of the stream wait until it is less. See wal2kafka.health() for what the stream itself waits for.";
		case RETAINED_WAL_DROP_SLOT:
			return "The slot will be dropped.";
	}
	return "";					/* not reached */
}

static void
report_change(const StreamState *stream, const WalGuard *guard,
			  uint64 retained, XLogRecPtr restart_lsn)
{
	if (!guard->exceeded)
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" retains no more WAL than wal2kafka.max_retained_wal again",
						stream->name),
				 errdetail("It is " UINT64_FORMAT " MB from %X/%X on.",
						   retained / MEGABYTE,
						   LSN_FORMAT_ARGS(restart_lsn))));
	else
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errhidecontext(true),
				 errmsg("stream \"%s\" retains more WAL than wal2kafka.max_retained_wal",
						stream->name),
				 errdetail("Slot \"%s\" retains " UINT64_FORMAT " MB from %X/%X on; the limit is " UINT64_FORMAT " MB.",
						   stream->slot_name, retained / MEGABYTE,
						   LSN_FORMAT_ARGS(restart_lsn),
						   guard->limit / MEGABYTE),
				 errhint("%s", action_hint(guard->action))));
}

bool
wal_guard_look(StreamState *stream, XLogRecPtr restart_lsn)
{
	XLogRecPtr	position;
	uint64		retained;
	WalGuard	guard;
	bool		changed;

	if (likely(stream->guard.limit == 0) || XLogRecPtrIsInvalid(restart_lsn))
		return false;
	position = wal_guard_position();
	retained = position > restart_lsn ? position - restart_lsn : 0;

	SpinLockAcquire(&stream->mutex);
	guard = stream->guard;
	if (guard.exceeded)
		guard.exceeded = retained >= guard.limit / 10 * 9;
	else
		guard.exceeded = retained > guard.limit;
	changed = guard.exceeded != stream->guard.exceeded;
	stream->guard.exceeded = guard.exceeded;
	SpinLockRelease(&stream->mutex);

	if (changed)
		report_change(stream, &guard, retained, restart_lsn);
	return guard.exceeded;
}
