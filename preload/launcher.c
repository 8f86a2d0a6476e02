/*
 * launcher.c
 *		Starts a worker for each stream of wal2kafka.streams, and again when
 *		it ended.
 *
 * Each entry of the shared array is in one of these phases, which the shared
 * state has too, so that a launcher that was terminated and started again
 * finds its way:
 *
 *		PHASE_IDLE		no worker; starts when Entry.start_at has come, or
 *						something changes that may help (see is_due())
 *		PHASE_RUNNING	has a worker, or one is on its way
 *		PHASE_ENDING	left the list, and its worker was told to end
 *
 * What raises an error is let alone for a while, and the round goes on: one
 * stream's trouble is no other one's.
 *
 * Nothing here waits but the one latch wait at the end of each round: the
 * server tells us by signal when a worker started or ended, SQL functions set
 * the latch, and a timeout runs only while there is something to look at
 * again.
 *
 * While a stream has no worker, it is the launcher that looks whether its
 * slot retains more WAL than it may, in rounds that take place anyway; and it
 * alone drops slots for that, since it needs one that nobody has.
 *
 * What is known to make a worker fail at once (no such database or role, ...)
 * is looked up before it is started, so that the cause has its own words and
 * the log has one line of it, not one for each attempt.
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "../compat.h"
#include "launcher.h"
#include "settings.h"
#include "shared_state.h"
#include "wal_guard.h"

#define STREAM_LIBRARY		"$libdir/wal2kafka_stream"
#define STREAM_FUNCTION		"kafka_bgworker_main"

#define LAUNCHER_RESTART_S	5

/* Backoff after errors: doubles from the first to the last. */
#define BACKOFF_FIRST_S		1
#define BACKOFF_LAST_S		60

/* How often settings are compared while a stream is held or paused. */
#define LOOK_INTERVAL_MS	5000

/*
 * Two starts within this time are fine, a third waits: restarts on request
 * are not errors, but must not become a storm either.
 */
#define RESTART_WINDOW_MS	1000

/* A worker that ends so soon after a reload may not have seen all of it. */
#define RELOAD_WINDOW_MS	5000

/* How long a worker that a former launcher started may be on its way. */
#define ADOPTION_MS			10000

typedef enum Phase
{
	PHASE_IDLE,
	PHASE_RUNNING,
	PHASE_ENDING,
} Phase;

/* What only the launcher knows of an entry of the shared array. */
typedef struct Entry
{
	Phase		phase;
	bool		listed;			/* in wal2kafka.streams */
	bool		named;			/* ... as far as read_list() has come */
	BackgroundWorkerHandle *handle; /* NULL: adopted, or none */
	TimestampTz adopted_at;
	TimestampTz start_at;		/* 0: at once; DT_NOEND: not by time alone */
	TimestampTz started_at[2];	/* last start, and the one before */
	bool		reloaded;		/* files were read since it stopped */
	uint64		digest;			/* of its catalog rows when it stopped */
	uint32		logged;			/* hash of the last problem in the log */
	TimestampTz broken_until;	/* let alone after an error; 0: no error */
	uint32		failures;		/* errors in a row */
} Entry;

/*
 * Why a stream does not start.  Texts live in the round's memory.  A held
 * stream waits for a change of settings, another for the time of its backoff.
 */
typedef struct Problem
{
	bool		held;
	const char *message;		/* NULL: there is no problem */
	const char *hint;
} Problem;

static Entry *entries;
static MemoryContext round_cxt;
static TimestampTz looked_at;	/* when digests were last compared */
static TimestampTz reloaded_at; /* when files were last read */
static bool list_due = true;	/* wal2kafka.streams is to be read */
static TimestampTz list_retry_at;	/* ... after an error, not before */
static uint32 list_failures;	/* errors in a row */
static bool list_pending;		/* a stream waits for one that ends */
static bool on_standby;			/* when we looked last */

/* ---- the shared side of an entry ---- */

static void
set_idle(StreamState *stream, StreamStatus status, TimestampTz retry_at)
{
	SpinLockAcquire(&stream->mutex);
	stream->status = status;
	stream->retry_at = retry_at;
	stream->database_oid = InvalidOid;
	SpinLockRelease(&stream->mutex);
}

/*
 * When a stream with this many errors in a row tries again.
 */
static TimestampTz
backoff_end(uint32 errors)
{
	int			seconds = BACKOFF_LAST_S;

	if (errors < 6)
		seconds = Min(BACKOFF_LAST_S, BACKOFF_FIRST_S << errors);
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   seconds * INT64CONST(1000));
}

static void
begin_backoff(Entry *entry, StreamState *stream)
{
	uint32		errors;

	SpinLockAcquire(&stream->mutex);
	errors = stream->backoff_count++;
	SpinLockRelease(&stream->mutex);
	entry->start_at = backoff_end(errors);
	set_idle(stream, STREAM_BACKOFF, entry->start_at);
}

/*
 * A stream cannot start: say so once, and again when the words change.
 */
static void
report_problem(Entry *entry, StreamState *stream, const Problem *problem)
{
	uint32		hash = hash_bytes((const unsigned char *) problem->message,
								  strlen(problem->message));

	if (hash != entry->logged)
	{
		ereport(LOG,
				(errmsg("stream \"%s\" %s: %s", stream->name,
						problem->held ? "is held" : "cannot start",
						problem->message),
				 problem->hint ? errhint("%s", problem->hint) : 0));
		stream_set_error(stream, problem->message, NULL, problem->hint);
		entry->logged = hash;
	}

	SpinLockAcquire(&stream->mutex);
	stream->restart_requested = false;
	SpinLockRelease(&stream->mutex);
	if (problem->held)
	{
		entry->start_at = DT_NOEND;
		set_idle(stream, STREAM_HELD, 0);
	}
	else
		begin_backoff(entry, stream);
}

/*
 * When the next start may be, after one that ended without an error.
 */
static TimestampTz
after_restart(const Entry *entry)
{
	if (entry->started_at[1] == 0)
		return 0;
	return TimestampTzPlusMilliseconds(entry->started_at[1],
									   RESTART_WINDOW_MS);
}

/* ---- what slots retain ---- */

/*
 * Is another stream to have this slot, too?  Then it is not this one's alone.
 */
static bool
is_shared_slot(const StreamState *stream)
{
	for (int i = 0; i < wal2kafka_settings.max_streams; i++)
	{
		StreamState *other = shared_state_stream(i);
		bool		same;

		SpinLockAcquire(&other->mutex);
		same = (other != stream && other->status != STREAM_UNUSED &&
				other->status != STREAM_STOPPED &&
				strcmp(other->slot_name, stream->slot_name) == 0);
		SpinLockRelease(&other->mutex);
		if (same)
			return true;
	}
	return false;
}

/*
 * Copy what the server knows of a stream's slot.  False: there is none that
 * nobody has, or it is not the stream's.
 */
static bool
find_idle_slot(StreamState *stream, ReplicationSlotPersistentData *data)
{
	ReplicationSlot *slot;
	bool		idle;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(stream->slot_name, false);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		*data = slot->data;
		idle = slot->active_pid == 0;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return slot != NULL && idle && !compat_slot_lost(data) &&
		!(compat_slot_synced(data) && RecoveryInProgress()) &&
		data->database == stream->guard.database &&
		strcmp(NameStr(data->plugin), "wal2kafka") == 0;
}

/*
 * The stream's slot is gone.  A paused stream stays so, one that is held,
 * too; another one begins anew if that is its mode.
 */
static void
slot_was_dropped(Entry *entry, StreamState *stream,
				 const ReplicationSlotPersistentData *data)
{
	bool		renews = stream->guard.renews;
	char	   *message = psprintf("replication slot \"%s\" was dropped: it retained more WAL than wal2kafka.max_retained_wal",
								   NameStr(data->name));
	char	   *detail = psprintf("It retained WAL from %X/%X on and the end is %X/%X. Changes after %X/%X that were not sent can only come with a new snapshot.",
								  LSN_FORMAT_ARGS(data->restart_lsn),
								  LSN_FORMAT_ARGS(wal_guard_position()),
								  LSN_FORMAT_ARGS(data->confirmed_flush));
	const char *hint = renews ?
		"The stream begins anew with a snapshot. Rows that were deleted meanwhile stay in the topics." :
		"To begin anew, set wal2kafka.snapshot_mode to \"when_needed\". Rows that were deleted meanwhile stay in the topics.";

	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("%s", message),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
	stream_set_error(stream, message, detail, hint);
	SpinLockAcquire(&stream->mutex);
	stream->guard.exceeded = false;
	SpinLockRelease(&stream->mutex);
	if (stream->status == STREAM_PAUSED || stream->status == STREAM_HELD)
		return;
	if (renews)
	{
		entry->start_at = after_restart(entry);
		set_idle(stream, STREAM_STARTING, 0);
		return;
	}
	entry->start_at = DT_NOEND;
	set_idle(stream, STREAM_HELD, 0);
	stream_set_waiting(stream, STREAM_WAIT_GUARD);
}

/*
 * Look after the slot of a stream that has no worker.  is_own: its worker had
 * the slot just now, so it is not another one's, whoever else names it.
 */
static void
guard_slot(Entry *entry, StreamState *stream, bool is_own)
{
	ReplicationSlotPersistentData data;

	if (likely(stream->guard.limit == 0) || !find_idle_slot(stream, &data) ||
		(!is_own && is_shared_slot(stream)) ||
		!wal_guard_look(stream, data.restart_lsn) ||
		stream->guard.action != RETAINED_WAL_DROP_SLOT)
		return;
	ReplicationSlotDrop(NameStr(data.name), true);
	slot_was_dropped(entry, stream, &data);
}

/* ---- before a start ---- */

/*
 * The row of pg_database or pg_authid with this name; NULL if there is none.
 * Without a database, and before any session was in one, the server has these
 * tables and neither their indexes nor a catalog cache.
 */
static HeapTuple
find_row(Oid catalog, AttrNumber column, const char *name)
{
	Relation	relation = table_open(catalog, AccessShareLock);
	NameData	key_name;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	namestrcpy(&key_name, name);
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(&key_name));
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 1, &key);
	tuple = heap_copytuple(systable_getnext(scan));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return tuple;
}

static Form_pg_database
find_database(const StreamState *stream)
{
	HeapTuple	tuple = find_row(DatabaseRelationId, Anum_pg_database_datname,
								 NameStr(stream->database));

	return tuple ? (Form_pg_database) GETSTRUCT(tuple) : NULL;
}

static Form_pg_authid
find_role(const StreamState *stream)
{
	HeapTuple	tuple = find_row(AuthIdRelationId, Anum_pg_authid_rolname,
								 NameStr(stream->role));

	return tuple ? (Form_pg_authid) GETSTRUCT(tuple) : NULL;
}

static Problem
problem_of(bool held, const char *message, const char *hint)
{
	Problem		problem = {held, message, hint};

	return problem;
}

/*
 * Is the role there and fit?
 */
static Problem
examine_role(const StreamState *stream)
{
	const char *name = NameStr(stream->role);
	Form_pg_authid role;

	if (name[0] == '\0')
	{
		if (wal2kafka_settings.allow_superuser)
			return problem_of(false, NULL, NULL);
		return problem_of(true,
						  "the stream names no role and would run as superuser",
						  "Write it as database/role, or set \"wal2kafka.allow_superuser\" to on.");
	}

	role = find_role(stream);
	if (role == NULL)
		return problem_of(false,
						  psprintf("role \"%s\" does not exist", name),
						  psprintf("Use \"CREATE ROLE %s LOGIN REPLICATION\", or correct \"wal2kafka.streams\".",
								   quote_identifier(name)));
	if (!role->rolcanlogin)
		return problem_of(false,
						  psprintf("role \"%s\" lacks LOGIN", name),
						  psprintf("Use \"ALTER ROLE %s LOGIN\".",
								   quote_identifier(name)));
	if (!role->rolreplication && !role->rolsuper)
		return problem_of(false,
						  psprintf("role \"%s\" lacks REPLICATION", name),
						  psprintf("Use \"ALTER ROLE %s REPLICATION\".",
								   quote_identifier(name)));
	return problem_of(false, NULL, NULL);
}

/*
 * Find the database, and what is wrong with it, the role or the settings.
 * Rows of pg_db_role_setting are left to the worker, which can read them.
 * Needs a transaction.
 */
static Problem
examine_stream(const StreamState *stream, Oid *database)
{
	const char *name = NameStr(stream->database);
	Form_pg_database row = find_database(stream);
	Problem		problem;
	char	   *refused;

	*database = row ? row->oid : InvalidOid;
	if (row == NULL)
		return problem_of(false,
						  psprintf("database \"%s\" does not exist", name),
						  "Correct \"wal2kafka.streams\". A database that was renamed is a new stream under its new name.");
	if (!row->datallowconn)
		return problem_of(false,
						  psprintf("database \"%s\" does not accept connections",
								   name),
						  psprintf("Use \"ALTER DATABASE %s ALLOW_CONNECTIONS true\", or correct \"wal2kafka.streams\".",
								   quote_identifier(name)));

	problem = examine_role(stream);
	if (problem.message != NULL)
		return problem;

	refused = settings_refused_in_files();
	if (refused != NULL)
		return problem_of(true, refused,
						  "Correct the setting and reload the configuration; the stream then starts by itself.");
	return problem_of(false, NULL, NULL);
}

/*
 * The digest of a stream's catalog rows; 0 if database or role are gone.
 * Needs a transaction.
 */
static uint64
stream_digest(const StreamState *stream)
{
	Form_pg_database database = find_database(stream);
	Form_pg_authid role = NULL;

	if (NameStr(stream->role)[0] != '\0')
	{
		role = find_role(stream);
		if (role == NULL)
			return 0;
	}
	if (database == NULL)
		return 0;
	return settings_rows_digest(database->oid,
								role ? role->oid : BOOTSTRAP_SUPERUSERID);
}

static void
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(round_cxt);
}

static void
end_transaction(void)
{
	CommitTransactionCommand();
	MemoryContextSwitchTo(round_cxt);
}

/* ---- starting and ending ---- */

/*
 * On a standby launcher and workers wait for its promotion, where nobody said
 * otherwise: the postmaster starts them then.
 */
static BgWorkerStartTime
launcher_start_time(void)
{
	return wal2kafka_settings.stream_on_standby ?
		BgWorkerStart_ConsistentState : BgWorkerStart_RecoveryFinished;
}

static bool
register_worker(int i, Entry *entry, const StreamState *stream)
{
	BackgroundWorker worker;
	MemoryContext old;
	bool		registered;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = launcher_start_time();
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(i);
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, STREAM_LIBRARY,
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, STREAM_FUNCTION,
			sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "wal2kafka stream %s",
			 stream->name);
	strlcpy(worker.bgw_type, "wal2kafka stream", sizeof(worker.bgw_type));

	old = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &entry->handle);
	MemoryContextSwitchTo(old);
	if (!registered)
		entry->handle = NULL;
	return registered;
}

/*
 * Make the entry look as its worker expects it.
 */
static void
prepare_start(StreamState *stream, Oid database, uint64 digest)
{
	TimestampTz now = GetCurrentTimestamp();

	SpinLockAcquire(&stream->mutex);
	stream->status = STREAM_STARTING;
	stream->exit = STREAM_EXIT_NONE;
	stream->waiting_for = STREAM_WAIT_NOTHING;
	stream->awaits_adoption = false;
	stream->database_oid = database;
	stream->pid = 0;
	stream->latch = NULL;
	stream->retry_at = 0;
	stream->rows_digest = digest;
	if (stream->started_at != 0)
		stream->restarts++;
	stream->started_at = now;
	SpinLockRelease(&stream->mutex);
}

static void
start_stream(int i)
{
	Entry	   *entry = &entries[i];
	StreamState *stream = shared_state_stream(i);
	Oid			database;
	Problem		problem;

	begin_transaction();
	problem = examine_stream(stream, &database);
	entry->digest = stream_digest(stream);
	end_transaction();
	entry->reloaded = false;

	if (problem.message == NULL)
	{
		prepare_start(stream, database, entry->digest);
		if (register_worker(i, entry, stream))
		{
			entry->phase = PHASE_RUNNING;
			entry->started_at[1] = entry->started_at[0];
			entry->started_at[0] = GetCurrentTimestamp();
			return;
		}
		problem.message = "there is no free background worker slot";
		problem.hint = "Raise \"max_worker_processes\" and restart the server.";
	}
	report_problem(entry, stream, &problem);
}

/*
 * A worker failed.  The request to start anew that it may not have come to
 * read is met by the backoff.
 */
static void
worker_failed(Entry *entry, StreamState *stream, bool silent)
{
	if (silent)
		stream_set_error(stream,
						 "the worker was terminated, or could not start",
						 NULL, "Look into the server's log for the cause.");
	SpinLockAcquire(&stream->mutex);
	stream->restart_requested = false;
	SpinLockRelease(&stream->mutex);
	begin_backoff(entry, stream);
}

/*
 * A worker is gone: by what it said last, when does the next one start?
 */
static void
worker_ended(Entry *entry, StreamState *stream)
{
	StreamExit	reason;
	TimestampTz retry_at;
	bool		silent;

	if (entry->handle != NULL)
		pfree(entry->handle);
	entry->handle = NULL;
	entry->phase = PHASE_IDLE;
	if (TimestampDifferenceExceeds(reloaded_at, GetCurrentTimestamp(),
								   RELOAD_WINDOW_MS))
		entry->reloaded = false;

	SpinLockAcquire(&stream->mutex);
	reason = stream->exit;
	retry_at = stream->retry_at;
	silent = stream->last_error_at < entry->started_at[0];
	stream->pid = 0;
	stream->latch = NULL;
	SpinLockRelease(&stream->mutex);

	if (!entry->listed)
	{
		set_idle(stream, STREAM_STOPPED, 0);
		return;
	}
	if (reason != STREAM_EXIT_NONE && reason != STREAM_EXIT_ERROR)
		entry->logged = 0;
	switch (reason)
	{
		case STREAM_EXIT_NONE:
		case STREAM_EXIT_ERROR:
			worker_failed(entry, stream, silent);
			break;
		case STREAM_EXIT_RESTART:
		case STREAM_EXIT_SHUTDOWN:
			entry->start_at = after_restart(entry);
			set_idle(stream, STREAM_STARTING, 0);
			break;
		case STREAM_EXIT_PAUSED:
			entry->start_at = retry_at != 0 ? retry_at : DT_NOEND;
			set_idle(stream, STREAM_PAUSED, retry_at);
			break;
		case STREAM_EXIT_HELD:
			entry->start_at = DT_NOEND;
			set_idle(stream, STREAM_HELD, 0);
			break;
		case STREAM_EXIT_WAL_LIMIT:
			/* if the slot cannot be dropped now, the next worker looks again */
			begin_backoff(entry, stream);
			guard_slot(entry, stream, true);
			break;
	}
}

static bool
is_gone(const Entry *entry, StreamState *stream)
{
	pid_t		pid;

	if (entry->handle != NULL)
		return GetBackgroundWorkerPid(entry->handle, &pid) == BGWH_STOPPED;

	SpinLockAcquire(&stream->mutex);
	pid = stream->pid;
	SpinLockRelease(&stream->mutex);
	if (pid != 0)
		return false;
	return stream->status != STREAM_STARTING ||
		TimestampDifferenceExceeds(entry->adopted_at, GetCurrentTimestamp(),
								   ADOPTION_MS);
}

static void
terminate_worker(Entry *entry, StreamState *stream)
{
	pid_t		pid;

	entry->phase = PHASE_ENDING;
	if (entry->handle != NULL)
	{
		TerminateBackgroundWorker(entry->handle);
		return;
	}
	SpinLockAcquire(&stream->mutex);
	pid = stream->pid;
	SpinLockRelease(&stream->mutex);
	if (pid != 0)
		kill(pid, SIGTERM);
}

/* ---- the list ---- */

/*
 * An entry for a stream that has none: an unused one, else one of a stream
 * that left the list.  -1: all are taken.
 */
static int
choose_entry(int first, int end)
{
	int			stopped = -1;

	for (int i = first; i < end; i++)
	{
		StreamState *stream = shared_state_stream(i);

		if (entries[i].phase != PHASE_IDLE || entries[i].listed)
			continue;
		if (stream->status == STREAM_UNUSED)
			return i;
		if (stopped < 0)
			stopped = i;
	}
	return stopped;
}

/*
 * Make an entry a new stream's: everything but the mutex begins at zero.
 */
static void
assign_entry(int i, const StreamName *name)
{
	StreamState *stream = shared_state_stream(i);
	dsm_handle	tables;

	memset(&entries[i], 0, sizeof(Entry));
	SpinLockAcquire(&stream->mutex);
	tables = stream->tables;
	memset((char *) stream + offsetof(StreamState, name), 0,
		   offsetof(StreamState, asleep) - offsetof(StreamState, name));
	stream->tables = DSM_HANDLE_INVALID;
	for (int j = 0; j < STREAM_PLACES; j++)
		stream->places[j] = DSM_HANDLE_INVALID;
	stream->fresh_start = true;
	strlcpy(stream->name, name->text, sizeof(stream->name));
	strlcpy(NameStr(stream->database), name->database, NAMEDATALEN);
	strlcpy(NameStr(stream->role), name->role, NAMEDATALEN);
	stream->status = STREAM_STARTING;
	SpinLockRelease(&stream->mutex);

	pg_atomic_write_u32(&stream->asleep, 0);
	pg_atomic_write_u64(&stream->async_commit_lsn, 0);
	for (int j = 0; j < LATENCY_BUCKETS; j++)
		pg_atomic_write_u64(&stream->latency[j], 0);
	if (tables != DSM_HANDLE_INVALID)
		dsm_unpin_segment(tables);
}

/*
 * A stream that exceeds max_streams: shown by a spare entry, if there is one,
 * and in the log anyway.
 */
static void
report_excess(const StreamName *name)
{
	int			i = choose_entry(wal2kafka_settings.max_streams,
								 shared_state_size());
	Problem		problem = {
		true,
		psprintf("there are more streams than \"wal2kafka.max_streams\" (%d)",
				 wal2kafka_settings.max_streams),
		"Raise \"wal2kafka.max_streams\" and restart the server, or shorten \"wal2kafka.streams\"."
	};

	if (i < 0)
	{
		ereport(LOG,
				(errmsg("stream \"%s\" cannot start: %s", name->text,
						problem.message),
				 errhint("%s", problem.hint)));
		return;
	}
	assign_entry(i, name);
	entries[i].listed = true;
	report_problem(&entries[i], shared_state_stream(i), &problem);
}

static void
stop_unlisted(void)
{
	int			used = 0;

	for (int i = 0; i < shared_state_size(); i++)
	{
		Entry	   *entry = &entries[i];
		StreamState *stream = shared_state_stream(i);

		if (stream->status == STREAM_UNUSED)
			continue;
		if (i < wal2kafka_settings.max_streams)
			used = i + 1;
		if (entry->listed)
			continue;
		if (i >= wal2kafka_settings.max_streams)
			set_idle(stream, STREAM_UNUSED, 0);
		else if (entry->phase == PHASE_RUNNING)
		{
			ereport(LOG,
					(errmsg("stream \"%s\" left \"wal2kafka.streams\"; its replication slot stays",
							stream->name)));
			terminate_worker(entry, stream);
		}
		else if (entry->phase == PHASE_IDLE)
			set_idle(stream, STREAM_STOPPED, 0);
	}
	shared_state_set_used(used);
}

static bool
any_ending(void)
{
	for (int i = 0; i < wal2kafka_settings.max_streams; i++)
		if (entries[i].phase == PHASE_ENDING)
			return true;
	return false;
}

/*
 * Read wal2kafka.streams: streams that left it end, new ones get an entry.
 * After an error the entries are those of the former list, or, where it was
 * for a new stream, of this one.
 */
static void
read_list(void)
{
	const char *cursor = wal2kafka_settings.streams;
	const char *problem;
	StreamName	name;
	List	   *unassigned = NIL;
	ListCell   *cell;

	for (int i = 0; i < shared_state_size(); i++)
		entries[i].named = false;

	while (settings_next_stream(&cursor, &name, &problem))
	{
		StreamState *stream = shared_state_find(name.text);
		int			i = stream ? stream - shared_state_stream(0) : -1;

		if (i >= 0 && i < wal2kafka_settings.max_streams)
			entries[i].named = true;
		else
		{
			StreamName *copy = palloc(sizeof(StreamName));

			*copy = name;
			unassigned = lappend(unassigned, copy);
		}
	}

	for (int i = 0; i < shared_state_size(); i++)
	{
		entries[i].listed = entries[i].named;
		if (entries[i].listed &&
			shared_state_stream(i)->status == STREAM_STOPPED)
		{
			entries[i].start_at = 0;
			entries[i].logged = 0;
			set_idle(shared_state_stream(i), STREAM_STARTING, 0);
		}
	}
	stop_unlisted();

	list_pending = false;
	foreach(cell, unassigned)
	{
		int			i = choose_entry(0, wal2kafka_settings.max_streams);

		if (i >= 0)
		{
			assign_entry(i, lfirst(cell));
			entries[i].listed = true;
		}
		else if (any_ending())
			list_pending = true;
		else
			report_excess(lfirst(cell));
	}
	stop_unlisted();			/* the used ones may be more now */
}

/* ---- the loop ---- */

/*
 * May something have happened that lets an idle stream start before its time?
 * "changed" says that its catalog rows did.
 */
static bool
is_due(Entry *entry, StreamState *stream, TimestampTz now, bool changed)
{
	bool		requested;

	SpinLockAcquire(&stream->mutex);
	requested = stream->restart_requested;
	SpinLockRelease(&stream->mutex);
	return entry->reloaded || requested || changed || entry->start_at <= now;
}

/*
 * Have the catalog rows of a stream changed since its last start?
 */
static bool
rows_changed(const Entry *entry, const StreamState *stream)
{
	uint64		digest;

	begin_transaction();
	digest = stream_digest(stream);
	end_transaction();
	return digest != entry->digest;
}

static bool
is_waiting(StreamState *stream)
{
	StreamWait	waiting_for;

	SpinLockAcquire(&stream->mutex);
	waiting_for = stream->waiting_for;
	SpinLockRelease(&stream->mutex);
	return waiting_for != STREAM_WAIT_NOTHING;
}

/*
 * A worker that waits for Kafka or the registry cannot look at the catalogs:
 * it may be in the middle of a transaction of the past.  New settings may be
 * what it needs, so look for it.
 */
static void
serve_waiting(const Entry *entry, StreamState *stream)
{
	Latch	   *latch;

	if (!rows_changed(entry, stream))
		return;
	SpinLockAcquire(&stream->mutex);
	stream->restart_requested = true;
	latch = stream->latch;
	SpinLockRelease(&stream->mutex);
	if (latch != NULL)
		SetLatch(latch);
}

static void
serve_entry(int i, TimestampTz now, bool look)
{
	Entry	   *entry = &entries[i];
	StreamState *stream = shared_state_stream(i);

	if (entry->phase != PHASE_IDLE && is_gone(entry, stream))
	{
		worker_ended(entry, stream);
		look = true;			/* settings may have changed meanwhile */
	}
	if (entry->phase == PHASE_RUNNING && look && is_waiting(stream))
		serve_waiting(entry, stream);
	if (entry->phase == PHASE_IDLE && entry->listed &&
		is_due(entry, stream, now,
			   look && entry->start_at > now && rows_changed(entry, stream)))
		start_stream(i);
	/* last: a slot that cannot be dropped must not bar new settings */
	if (entry->phase == PHASE_IDLE && entry->listed && look)
		guard_slot(entry, stream, false);
}

/*
 * After an error: report it, and clean up what it left.  Returns a copy.
 */
static ErrorData *
recover_from_error(void)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(round_cxt);
	error = CopyErrorData();
	EmitErrorReport();
	AbortCurrentTransaction();
	LWLockReleaseAll();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	FlushErrorState();
	MemoryContextSwitchTo(round_cxt);
	RESUME_INTERRUPTS();
	return error;
}

/*
 * Show the error that keeps the launcher from looking after a stream.
 */
static void
show_error(const Entry *entry, StreamState *stream, const ErrorData *error)
{
	if (entry->phase != PHASE_IDLE || !entry->listed)
		return;
	stream_set_error(stream, error->message, error->detail, error->hint);
	if (stream->status != STREAM_PAUSED && stream->status != STREAM_HELD)
		set_idle(stream, STREAM_BACKOFF, entry->broken_until);
}

/*
 * An error is this entry's alone, and must not end the launcher.
 */
static void
serve_entry_safely(int i, TimestampTz now, bool look)
{
	Entry	   *entry = &entries[i];

	if (entry->broken_until > now)
		return;
	PG_TRY();
	{
		/* what failed may have been what is done at a look */
		serve_entry(i, now, look || entry->broken_until != 0);
		entry->broken_until = 0;
		entry->failures = 0;
	}
	PG_CATCH();
	{
		ErrorData  *error = recover_from_error();

		entry->broken_until = backoff_end(entry->failures++);
		show_error(entry, shared_state_stream(i), error);
	}
	PG_END_TRY();
}

static void
serve_list(TimestampTz now)
{
	if (!list_due || list_retry_at > now)
		return;
	PG_TRY();
	{
		read_list();
		list_due = false;
		list_failures = 0;
	}
	PG_CATCH();
	{
		recover_from_error();
		list_retry_at = backoff_end(list_failures++);
	}
	PG_END_TRY();
}

/*
 * How long there is nothing to do for an entry; -1: until something happens.
 */
static long
idle_time(int i, TimestampTz now)
{
	Entry	   *entry = &entries[i];
	StreamState *stream = shared_state_stream(i);
	TimestampTz next_look =
		TimestampTzPlusMilliseconds(looked_at, LOOK_INTERVAL_MS);
	long		until_look =
		TimestampDifferenceMilliseconds(now, next_look) + 1;

	if (entry->broken_until != 0)
		return TimestampDifferenceMilliseconds(now, entry->broken_until);
	if (entry->phase == PHASE_IDLE && entry->listed)
		return Min(until_look,
				   TimestampDifferenceMilliseconds(now, entry->start_at));
	if (entry->phase == PHASE_RUNNING && is_waiting(stream))
		return until_look;
	/* an adopted worker that is on its way: nobody tells if it fails */
	if (entry->phase != PHASE_IDLE && entry->handle == NULL &&
		stream->pid == 0)
		return 1000;
	return -1;
}

/*
 * One round: do whatever there is to do.  Returns how long to sleep, -1 for
 * until something happens.
 */
static long
serve_streams(bool look)
{
	TimestampTz now = GetCurrentTimestamp();
	long		timeout = -1;

	if (TimestampDifferenceExceeds(looked_at, now, LOOK_INTERVAL_MS))
		look = true;
	if (look)
		looked_at = now;

	/* what could not be done on a standby can be now */
	if (on_standby && !RecoveryInProgress())
	{
		on_standby = false;
		for (int i = 0; i < shared_state_size(); i++)
			entries[i].reloaded = true;
	}

	serve_list(now);
	for (int i = 0; i < wal2kafka_settings.max_streams; i++)
		serve_entry_safely(i, now, look);

	/* perhaps an entry became free that another stream waits for */
	if (list_pending && !any_ending())
	{
		list_pending = false;
		list_due = true;
	}

	now = GetCurrentTimestamp();
	if (list_due)
		timeout = TimestampDifferenceMilliseconds(now, list_retry_at);
	for (int i = 0; i < wal2kafka_settings.max_streams; i++)
	{
		long		until = idle_time(i, now);

		if (until >= 0)
			timeout = timeout < 0 ? until : Min(timeout, until);
	}
	MemoryContextReset(round_cxt);
	return timeout;
}

/*
 * Take over what a former launcher left: the server may have restarted us.
 */
static void
adopt_workers(void)
{
	TimestampTz now = GetCurrentTimestamp();

	begin_transaction();
	for (int i = 0; i < wal2kafka_settings.max_streams; i++)
	{
		StreamState *stream = shared_state_stream(i);

		if (stream->status == STREAM_UNUSED)
			continue;
		entries[i].digest = stream_digest(stream);
		SpinLockAcquire(&stream->mutex);
		if (stream->pid != 0 ||
			(stream->status == STREAM_STARTING && stream->started_at != 0))
			entries[i].phase = PHASE_RUNNING;
		if (stream->status == STREAM_BACKOFF ||
			stream->status == STREAM_PAUSED)
			entries[i].start_at = stream->retry_at;
		SpinLockRelease(&stream->mutex);
		entries[i].adopted_at = now;
		entries[i].started_at[0] = stream->started_at;
	}
	end_transaction();
}

static void
withdraw_launcher(int code, Datum arg)
{
	shared_state_set_launcher(NULL);
}

static void
reread_files(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	reloaded_at = GetCurrentTimestamp();
	list_due = true;
	list_retry_at = 0;
	for (int i = 0; i < shared_state_size(); i++)
	{
		entries[i].reloaded = true;
		entries[i].broken_until = Min(entries[i].broken_until, reloaded_at);
	}
}

void
wal2kafka_launcher_main(Datum main_arg)
{
	bool		look = false;

	/* the server ignores a reload that comes before the handler is there */
	ConfigReloadPending = true;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	entries = MemoryContextAllocZero(TopMemoryContext,
									 shared_state_size() * sizeof(Entry));
	round_cxt = AllocSetContextCreate(TopMemoryContext, "wal2kafka launcher",
									  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(round_cxt);
	before_shmem_exit(withdraw_launcher, (Datum) 0);
	shared_state_set_launcher(MyLatch);
	on_standby = RecoveryInProgress();
	adopt_workers();

	for (;;)
	{
		long		timeout;
		int			events;

		/* a shutdown is no error; exit code 1 makes the server restart us */
		if (ProcDiePending)
			proc_exit(1);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reread_files();

		timeout = serve_streams(look);
		if (timeout == 0)
			continue;
		pgstat_report_activity(STATE_IDLE, NULL);
		events = WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						   (timeout > 0 ? WL_TIMEOUT : 0),
						   timeout, PG_WAIT_EXTENSION);
		look = (events & WL_LATCH_SET) != 0;
		ResetLatch(MyLatch);
	}
}

void
launcher_register(void)
{
	BackgroundWorker worker;

	/* pg_upgrade is at work: what changes then is no change of the tables */
	if (IsBinaryUpgrade)
		return;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = launcher_start_time();
	worker.bgw_restart_time = LAUNCHER_RESTART_S;
	strlcpy(worker.bgw_library_name, "wal2kafka",
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "wal2kafka_launcher_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "wal2kafka launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "wal2kafka launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}
