/*
 * kafka_bgworker.c
 *		The background worker of a stream: slot, WAL, Kafka, slot.
 *
 * The worker decodes its slot in process, outside of a transaction, as a
 * walsender does: read a record, give it to the server's decoder, which calls
 * the plugin (decoder.c) for the changes of each committed transaction, which
 * calls the sink (delivery.c).  What Kafka acknowledged comes back as one
 * position, and the slot moves there.
 *
 * At least once.  The slot's confirmed position never passes the end of a
 * transaction that has a message without acknowledgement: it is taken from
 * the tracker, or, when nothing at all is outstanding, from the end of what
 * was decoded.  Whatever goes wrong ends the process; the next one starts at
 * the slot, and what was sent but not confirmed is sent again, in the same
 * order.  So there is one way to recover, and it is the way of every start.
 *
 * The confirmed position does not make a slot dirty: it is saved about once
 * a second, or else a crash of the server would go back to the last
 * checkpoint.
 *
 * Sleeping.  The worker sleeps in one place, delivery_wait(), on its latch,
 * Kafka's file descriptor and the postmaster's death.  Its latch is set by
 * flushes of WAL (16 and later: WalSndCtl's condition variable), by commits
 * (15, and asynchronous commits everywhere: the commit callback of the
 * preloaded library), by the launcher, and by signals.  Before it sleeps it
 * says so (StreamState.asleep), then looks at the flush position once more.
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "access/heapam_xlog.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogreader.h"
#include "access/xlogrecovery.h"
#include "access/xlogutils.h"
#include "catalog/pg_db_role_setting.h"
#include "compat.h"
#include "connection_files.h"
#include "delivery.h"
#include "exactly_once.h"
#include "heartbeat.h"
#include "incremental.h"
#include "kafka_bgworker.h"
#include "kill_point.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "place.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "preload/settings.h"
#include "preload/shared_state.h"
#include "preload/wal_guard.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "selection.h"
#include "signal_table.h"
#include "slot_state.h"
#include "snapshot.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "toast_reselect.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "wal_end.h"

/* Acknowledgements are served once in so many records. */
#define RECORDS_PER_SERVICE		1024

/* The slot goes to disk this often while it moves. */
#define SAVE_INTERVAL_MS		1000

/* Statistics go to shared memory this often while there is work. */
#define PUBLISH_INTERVAL_MS		50

/*
 * Longest sleep.  Where each flush of WAL wakes us this is for nothing that
 * we know of.  On 15 commits in other databases do not: settings are altered
 * from there, too, and their WAL moves an idle slot.
 */
#define LONGEST_SLEEP_MS		(COMPAT_HAS_WAL_FLUSH_CV ? 10000 : 1000)

/*
 * When standbys keep WAL from us for so long, the view says so, and we look
 * again: nobody wakes us when the slot of one is dropped.
 */
#define STANDBY_INTERVAL_MS		1000

/* While Kafka or the registry is away: files are looked at this often. */
#define FILES_INTERVAL_MS		3000

/* How long the end of a worker waits for acknowledgements. */
#define EXIT_DRAIN_MS			500
#define RESTART_DRAIN_MS		5000

/* Changes of pg_db_role_setting whose transactions are still running. */
#define MAX_SETTING_XIDS		8

/*
 * The worker of this process.  Everything but "stream" and what it points to
 * is private to the process.
 */
typedef struct Worker
{
	StreamState *stream;
	Settings   *settings;		/* as at the start */
	uint64		settings_digest;	/* of pg_db_role_setting */
	uint64		files_digest;	/* of those that connections are made with */
	TimestampTz files_checked_at;
	char	   *database_name;
	char		slot_name[NAMEDATALEN];
	Delivery   *delivery;		/* NULL until connected */
	Heartbeat  *heartbeat;		/* NULL: none */

	/* decoding; NULL before that */
	LogicalDecodingContext *ctx;
	ResourceOwner owner;
	XLogRecPtr	wal_end;		/* of what may be decoded, when last asked */
	XLogRecPtr	end_at_start;	/* the same; what made trouble is before it */
	TimeLineID	timeline;

	/* the slot */
	XLogRecPtr	start_lsn;		/* exactly once: go on from here */
	XLogRecPtr	confirmed;
	bool		unsaved;		/* confirmed since the last save */
	TimestampTz saved_at;
	TimestampTz published_at;

	/* an asynchronous commit that is not flushed yet was first seen */
	TimestampTz async_since;	/* 0: none */

	/* an initial snapshot was interrupted, and goes on beside the changes */
	bool		resumed;
	bool		restart_snapshot;	/* snapshot_mode = always asks for one */
	TimestampTz resumed_checked_at; /* see check_resumed() */
	bool		on_standby;		/* the server was one at the start */

	TransactionId setting_xids[MAX_SETTING_XIDS];
	int			nsetting_xids;
	bool		setting_xids_overflow;
} Worker;

static Worker worker;
static emit_log_hook_type previous_emit_log_hook;

static void leave(StreamExit reason) __attribute__((noreturn));

/* ---- errors and exit ---- */

/*
 * Detail and context of an error on one line: the context names table, column
 * and LSN.  It names the stream as well, which the view does anyway.
 */
static char *
join_detail(const ErrorData *edata)
{
	StringInfoData text;
	const char *line = edata->context;

	initStringInfo(&text);
	if (edata->detail != NULL)
		appendStringInfoString(&text, edata->detail);
	while (line != NULL && *line != '\0')
	{
		size_t		len = strcspn(line, "\n");

		if (strncmp(line, "stream \"", strlen("stream \"")) != 0)
			appendStringInfo(&text, "%s%.*s", text.len > 0 ? " " : "",
							 (int) len, line);
		line += len;
		line += (*line == '\n');
		if (*line != '\0' && text.len > 0 &&
			strncmp(line, "stream \"", strlen("stream \"")) != 0)
			appendStringInfoChar(&text, ',');
	}
	return text.len > 0 ? text.data : NULL;
}

/*
 * Every error of this process that reaches the log is the stream's last
 * error, FATAL ones included, which cannot be caught.  So is a warning: one
 * of a publication that is gone means changes that are not sent.
 */
static void
note_error(ErrorData *edata)
{
	if (edata->elevel >= WARNING && worker.stream != NULL &&
		edata->sqlerrcode != ERRCODE_ADMIN_SHUTDOWN)
		stream_set_error(worker.stream, edata->message, join_detail(edata),
						 edata->hint);
	if (edata->elevel >= ERROR && worker.stream != NULL &&
		edata->sqlerrcode != ERRCODE_ADMIN_SHUTDOWN)
	{
		SpinLockAcquire(&worker.stream->mutex);
		worker.stream->exit = STREAM_EXIT_ERROR;
		SpinLockRelease(&worker.stream->mutex);
	}
	if (previous_emit_log_hook)
		previous_emit_log_hook(edata);
}

static void
name_stream(void *arg)
{
	errcontext("stream \"%s\"", worker.stream->name);
}

static void
set_exit(StreamExit reason)
{
	SpinLockAcquire(&worker.stream->mutex);
	worker.stream->exit = reason;
	SpinLockRelease(&worker.stream->mutex);
}

/*
 * End of the worker for a reason of its own.
 */
static void
leave(StreamExit reason)
{
	set_exit(reason);
	proc_exit(0);
}

/*
 * Do not start until somebody acts.
 */
static void
hold(StreamWait waiting_for, const char *message, const char *detail,
	 const char *hint)
{
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" is held: %s", worker.stream->name, message),
			 detail ? errdetail("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0));
	stream_set_error(worker.stream, message, detail, hint);
	stream_set_status(worker.stream, STREAM_HELD);
	stream_set_waiting(worker.stream, waiting_for);
	leave(STREAM_EXIT_HELD);
}

/*
 * Move the slot to what is acknowledged, in memory.
 */
static void
confirm(void)
{
	XLogRecPtr	position = delivery_acknowledged(worker.delivery);

	if (worker.ctx == NULL)
		return;

	/* Nothing outstanding: all that was decoded needs no sending again. */
	if (delivery_idle(worker.delivery))
		position = delivery_decoded(worker.delivery);
	if (position <= worker.confirmed)
		return;
	KILL_POINT("before_confirm");
	LogicalConfirmReceivedLocation(position);
	KILL_POINT("confirmed");
	worker.confirmed = position;
	worker.unsaved = true;
}

static void
save_slot(void)
{
	if (!worker.unsaved)
		return;
	KILL_POINT("before_save");
	ReplicationSlotMarkDirty();
	ReplicationSlotSave();
	KILL_POINT("saved");
	worker.unsaved = false;
	worker.saved_at = GetCurrentTimestamp();
}

/*
 * Last chance, for any kind of exit but a crash: give what is under way a
 * moment, and keep what was achieved.
 */
static void
worker_exit(int code, Datum arg)
{
	/* an error may have left some, and saving the slot needs its own */
	LWLockReleaseAll();

	KILL_POINT("exit_begun");
	toast_reselect_finish();
	if (worker.delivery != NULL)
	{
		delivery_finish(worker.delivery, EXIT_DRAIN_MS);
		KILL_POINT("exit_drained");

		/* a signal is saved before the slot is behind it */
		incremental_finish();
		if (worker.ctx != NULL && MyReplicationSlot != NULL)
		{
			/*
			 * What lies between the last acknowledged transaction and the
			 * place of the error was perhaps not decoded whole: only the
			 * tracker's word counts here.
			 */
			XLogRecPtr	position = delivery_acknowledged(worker.delivery);

			if (position > worker.confirmed)
			{
				LogicalConfirmReceivedLocation(position);
				worker.confirmed = position;
				worker.unsaved = true;
			}
			save_slot();
		}
	}
	if (slot_state_starts_again())
		set_exit(STREAM_EXIT_RESTART);
	KILL_POINT("exit_saved");
}

/*
 * A callback of its own, which runs after worker_exit() and also when that
 * fails, say because the disk is full: an end in order all the same.
 */
static void
note_end(int code, Datum arg)
{
	slot_state_worker_ended();
}

/*
 * The server goes down, or a crash elsewhere makes it start again.  Not our
 * fault, so say so, and nothing else: as SignalHandlerForCrashExit().
 */
static void
worker_quickdie(SIGNAL_ARGS)
{
	slot_state_worker_ended();
	_exit(2);
}

/* ---- settings ---- */

static void
in_transaction(void (*function) (void))
{
	MemoryContext old = CurrentMemoryContext;

	StartTransactionCommand();
	function();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	CurrentResourceOwner = worker.owner;
}

static void
read_settings(void)
{
	char	   *refused;

	worker.database_name =
		MemoryContextStrdup(TopMemoryContext,
							NameStr(worker.stream->database));
	worker.settings_digest = settings_catalog_digest(MyDatabaseId,
													 GetSessionUserId());

	/*
	 * The settings were read when the process connected, the digest just now.
	 * What changed between the two would go unnoticed from then on.
	 */
	if (settings_rows_digest(MyDatabaseId, GetSessionUserId()) !=
		worker.stream->rows_digest)
		leave(STREAM_EXIT_RESTART);

	refused = settings_refused_in_catalog(MyDatabaseId, GetSessionUserId());
	if (refused != NULL)
		hold(STREAM_WAIT_NOTHING, refused, NULL,
			 "Correct the setting with ALTER DATABASE or ALTER ROLE; the stream then starts by itself.");

	/* nobody else checks it for a decoder in process */
	CheckSlotPermissions();
}

static uint64 current_digest;

static void
read_digest(void)
{
	current_digest = settings_catalog_digest(MyDatabaseId,
											 GetSessionUserId());
}

/*
 * Is the stream paused, and if so, say so and end.
 */
static void
check_paused(void)
{
	const Settings *settings = worker.settings;
	bool		paused = settings->paused;
	TimestampTz until = 0;

	if (!paused && settings->paused_until[0] != '\0')
	{
		until = settings_paused_until(settings->paused_until);
		paused = until > GetCurrentTimestamp();
	}
	if (paused)
	{
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" is paused", worker.stream->name)));
		stream_set_status(worker.stream, STREAM_PAUSED);
		SpinLockAcquire(&worker.stream->mutex);
		worker.stream->retry_at = until;
		worker.stream->fresh_start = true;
		SpinLockRelease(&worker.stream->mutex);
		leave(STREAM_EXIT_PAUSED);
	}
}

/*
 * At a boundary between transactions: end, so that the launcher starts a
 * worker that knows the new settings.
 */
static void
restart(const char *why)
{
	TimestampTz began = GetCurrentTimestamp();

	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" starts anew: %s", worker.stream->name,
					why)));
	worker.heartbeat = NULL;	/* nothing new from here on */
	delivery_hurry(worker.delivery);
	while (!delivery_idle(worker.delivery) &&
		   !TimestampDifferenceExceeds(began, GetCurrentTimestamp(),
									   RESTART_DRAIN_MS))
		delivery_wait(worker.delivery, 50);
	confirm();
	leave(STREAM_EXIT_RESTART);
}

/*
 * A change of pg_db_role_setting went by in the WAL: remember its
 * transaction, to look at the settings when it is over.
 */
static void
watch_settings(XLogReaderState *record)
{
	CompatRelFile file;

	if (XLogRecGetRmid(record) != RM_HEAP_ID ||
		!XLogRecGetBlockTagExtended(record, 0, &file, NULL, NULL, NULL) ||
		likely(compat_relfile_database(file) != InvalidOid) ||
		compat_relfile_number(file) !=
		compat_mapped_relfile(DbRoleSettingRelationId))
		return;
	if (worker.nsetting_xids == MAX_SETTING_XIDS)
		worker.setting_xids_overflow = true;
	else
		worker.setting_xids[worker.nsetting_xids++] =
			XLogRecGetXid(record);
}

/*
 * A transaction that changed publications commits: tables may have joined.
 * Its invalidations tell, whatever files these catalogs are in.
 */
static void
watch_publications(XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record);
	uint8		operation = info & XLOG_XACT_OPMASK;
	xl_xact_parsed_commit commit;

	if (likely(XLogRecGetRmid(record) != RM_XACT_ID) ||
		(operation != XLOG_XACT_COMMIT &&
		 operation != XLOG_XACT_COMMIT_PREPARED))
		return;
	ParseCommitRecord(info, (xl_xact_commit *) XLogRecGetData(record),
					  &commit);
	for (int i = 0; i < commit.nmsgs; i++)
	{
		const SharedInvalidationMessage *message = &commit.msgs[i];

		if ((message->id == PUBLICATIONOID ||
			 message->id == PUBLICATIONRELMAP ||
			 message->id == PUBLICATIONNAMESPACEMAP) &&
			message->cc.dbId == MyDatabaseId)
		{
			incremental_tables_changed(operation == XLOG_XACT_COMMIT ?
									   XLogRecGetXid(record) :
									   commit.twophase_xid);
			return;
		}
	}
}

/*
 * Were passwords or certificates renewed, so that connections can be made
 * with others?
 */
static bool
files_renewed(void)
{
	uint64		digest = connection_files_digest(worker.settings);

	worker.files_checked_at = GetCurrentTimestamp();
	if (digest == worker.files_digest)
		return false;
	worker.files_digest = digest;
	return connection_files_usable(worker.settings);
}

/*
 * Files were read again: why to start anew, or NULL.
 */
static const char *
reload_settings(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (!settings_equal(worker.settings, &wal2kafka_settings))
		return "settings changed";
	if (files_renewed())
		return "files of passwords or certificates changed";
	return NULL;
}

/*
 * Look whether something asks for a restart.  Between transactions only.
 */
static void
check_settings(void)
{
	bool		look = false;

	if (ConfigReloadPending)
	{
		const char *why = reload_settings();

		if (why != NULL)
			restart(why);
	}

	for (int i = 0; i < worker.nsetting_xids;)
	{
		if (TransactionIdIsInProgress(worker.setting_xids[i]))
			i++;
		else
		{
			worker.setting_xids[i] =
				worker.setting_xids[--worker.nsetting_xids];
			look = true;
		}
	}
	if (look || worker.setting_xids_overflow)
	{
		worker.setting_xids_overflow = (worker.nsetting_xids > 0 &&
										worker.setting_xids_overflow);
		in_transaction(read_digest);
		if (current_digest != worker.settings_digest)
			restart("settings changed");
	}
	if (worker.stream->restart_requested)
		restart("requested");
	if (worker.confirmed >= worker.end_at_start && slot_state_care_is_over())
		restart("no more events that cannot be sent");
	if (worker.on_standby && !RecoveryInProgress())
		restart("the server was promoted");
}

/* ---- the slot ---- */

/* What is known of the stream's slot, and of others in its database. */
typedef struct SlotFacts
{
	bool		exists;
	bool		logical;
	bool		ours;			/* plugin is wal2kafka */
	const char *lost;			/* why the server invalidated it, or NULL */
	bool		synced;			/* a copy of the primary's */
	Oid			database;
	XLogRecPtr	confirmed;
	pid_t		active_pid;
	NameData	orphan;			/* slot of ours here that no stream has */
} SlotFacts;

/*
 * Does a stream use this slot?
 */
static bool
slot_has_stream(const char *slot_name)
{
	for (int i = 0; i < wal2kafka_settings.max_streams; i++)
	{
		StreamState *stream = shared_state_stream(i);
		bool		same;

		SpinLockAcquire(&stream->mutex);
		same = (stream->status != STREAM_UNUSED &&
				stream->status != STREAM_STOPPED &&
				strcmp(stream->slot_name, slot_name) == 0);
		SpinLockRelease(&stream->mutex);
		if (same)
			return true;
	}
	return false;
}

/*
 * Does another stream of this database not say yet which slot it has?
 */
static bool
others_unnamed(void)
{
	for (int i = 0; i < wal2kafka_settings.max_streams; i++)
	{
		StreamState *stream = shared_state_stream(i);
		bool		unnamed;

		SpinLockAcquire(&stream->mutex);
		unnamed = (stream->status == STREAM_STARTING &&
				   stream->slot_name[0] == '\0' &&
				   strcmp(NameStr(stream->database),
						  worker.database_name) == 0);
		SpinLockRelease(&stream->mutex);
		if (unnamed)
			return true;
	}
	return false;
}

static void
examine_slots(SlotFacts *facts)
{
	memset(facts, 0, sizeof(*facts));
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		ReplicationSlotPersistentData data;
		pid_t		active_pid;
		bool		ours;

		if (!slot->in_use)
			continue;
		SpinLockAcquire(&slot->mutex);
		data = slot->data;
		active_pid = slot->active_pid;
		SpinLockRelease(&slot->mutex);

		ours = strcmp(NameStr(data.plugin), "wal2kafka") == 0;
		if (strcmp(NameStr(data.name), worker.slot_name) == 0)
		{
			facts->exists = true;
			facts->logical = (data.database != InvalidOid);
			facts->ours = ours;
			facts->lost = compat_slot_lost(&data) ?
				compat_slot_lost_cause(&data) : NULL;
			facts->synced = compat_slot_synced(&data);
			facts->database = data.database;
			facts->confirmed = data.confirmed_flush;
			facts->active_pid = active_pid;
		}
		else if (ours && data.database == MyDatabaseId && active_pid == 0 &&
				 data.persistency == RS_PERSISTENT &&
				 !slot_has_stream(NameStr(data.name)) &&
				 slot_state_exists(NameStr(data.name)))
			facts->orphan = data.name;
	}
	LWLockRelease(ReplicationSlotControlLock);
}

/*
 * Does another stream have our slot or topic prefix?  One that runs, or, as
 * long as both wait for their turn, one before ours in the array.  Copies its
 * name, of STREAM_NAME_LEN bytes.
 */
static bool
find_rival(const char *prefix, char *name, bool *same_slot)
{
	const StreamState *me = worker.stream;

	for (int i = 0; i < wal2kafka_settings.max_streams; i++)
	{
		StreamState *other = shared_state_stream(i);
		bool		before_me;
		bool		same_prefix;

		if (other == me)
			continue;
		SpinLockAcquire(&other->mutex);
		before_me = other->claimed ||
			(other->status != STREAM_UNUSED &&
			 other->status != STREAM_STOPPED &&
			 other->status != STREAM_HELD && other < me);
		*same_slot = (before_me &&
					  strcmp(other->slot_name, worker.slot_name) == 0);
		same_prefix = (before_me &&
					   strcmp(other->topic_prefix, prefix) == 0);
		strlcpy(name, other->name, STREAM_NAME_LEN);
		SpinLockRelease(&other->mutex);
		if (*same_slot || same_prefix)
			return true;
	}
	return false;
}

/*
 * Which slot the stream has, and what the launcher needs to know to look
 * after it while there is no worker.
 */
static void
name_slot(void)
{
	StreamState *me = worker.stream;

	if (worker.settings->slot_name[0] != '\0')
		strlcpy(worker.slot_name, worker.settings->slot_name, NAMEDATALEN);
	else
		stream_default_slot_name(me->name, worker.database_name,
								 NameStr(me->role), worker.slot_name);
	SpinLockAcquire(&me->mutex);
	strlcpy(me->slot_name, worker.slot_name, NAMEDATALEN);
	SpinLockRelease(&me->mutex);
}

/*
 * The limits on what the slot retains.  A snapshot that was not complete
 * would hardly be so the next time: only a stream that came further begins
 * anew by itself.  One that has no slot yet has not.
 */
static void
publish_guard(void)
{
	const Settings *settings = worker.settings;

	wal_guard_publish(worker.stream, settings, MyDatabaseId,
					  settings->snapshot_mode == SNAPSHOT_WHEN_NEEDED &&
					  slot_state_exists(worker.slot_name) &&
					  !slot_state_snapshot_pending(worker.slot_name));
}

/*
 * Publish what identifies the stream, and refuse two streams with one slot
 * or one topic prefix.  Looking and claiming are one step, under a lock of
 * the server for who gets a slot: streams start together.
 */
static void
claim_identity(void)
{
	StreamState *me = worker.stream;
	const char *prefix = selection_topic_prefix(worker.settings,
												worker.database_name);
	char		rival[STREAM_NAME_LEN];
	bool		has_rival;
	bool		same_slot;

	LWLockAcquire(ReplicationSlotAllocationLock, LW_EXCLUSIVE);
	has_rival = find_rival(prefix, rival, &same_slot);
	SpinLockAcquire(&me->mutex);
	strlcpy(me->topic_prefix, prefix, sizeof(me->topic_prefix));
	me->database_oid = MyDatabaseId;
	me->claimed = !has_rival;
	if (has_rival && same_slot)
		me->slot_name[0] = '\0';	/* the launcher looks after the rival's */
	SpinLockRelease(&me->mutex);
	LWLockRelease(ReplicationSlotAllocationLock);

	if (has_rival)
		hold(STREAM_WAIT_NOTHING,
			 psprintf("streams \"%s\" and \"%s\" have the same %s",
					  me->name, rival, same_slot ? "slot" : "topic prefix"),
			 psprintf("The %s is \"%s\".",
					  same_slot ? "slot" : "topic prefix",
					  same_slot ? worker.slot_name : prefix),
			 same_slot ? "Set wal2kafka.slot_name for one of them." :
			 "Set wal2kafka.topic_prefix for one of them.");
}

static void
check_slot_usable(const SlotFacts *facts)
{
	if (!facts->logical || !facts->ours)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" belongs to something else",
						worker.slot_name),
				 errdetail("It is not a logical slot of output plugin wal2kafka."),
				 errhint("Set wal2kafka.slot_name to another name, or drop the slot.")));
	if (facts->database != MyDatabaseId)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" belongs to another database",
						worker.slot_name),
				 errhint("Set wal2kafka.slot_name to another name.")));
	if (facts->synced && RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" is a copy of the primary's",
						worker.slot_name),
				 errdetail("Until this server is promoted, the stream can only run there."),
				 errhint("For a stream of the standby's own, set wal2kafka.slot_name and wal2kafka.topic_prefix to other values here.")));
	if (facts->active_pid != 0)
	{
		stream_set_waiting(worker.stream, STREAM_WAIT_LOCK);
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("replication slot \"%s\" is in use by process %d",
						worker.slot_name, (int) facts->active_pid),
				 errhint("End that process, for example with pg_terminate_backend().")));
	}
}

/*
 * Trying again does not bring WAL back.
 */
static void
hold_if_lost(const SlotFacts *facts)
{
	if (facts->lost == NULL)
		return;
	hold(STREAM_WAIT_NOTHING,
		 psprintf("replication slot \"%s\" was invalidated by the server",
				  worker.slot_name),
		 psprintf("%s Changes after %X/%X that were not sent can only come with a new snapshot.",
				  facts->lost, LSN_FORMAT_ARGS(facts->confirmed)),
		 "To begin anew, set wal2kafka.snapshot_mode to \"when_needed\" and call wal2kafka.restart().");
}

/*
 * A row that crashes the worker must not restart the server for ever.
 * forgive: the operator called restart().
 */
static void
hold_if_crashing(const SlotFacts *facts, bool forgive)
{
	if (forgive)
		slot_state_forget_crashes(worker.slot_name);
	if (slot_state_worker_started(worker.slot_name) >= CRASH_LIMIT)
		hold(STREAM_WAIT_NOTHING,
			 "the worker ended abnormally twice in ten minutes",
			 psprintf("The slot's confirmed position is %X/%X.",
					  LSN_FORMAT_ARGS(facts->confirmed)),
			 "Look at the server's log for the reason, then call wal2kafka.restart().");
}

/*
 * The topics of the tables that are selected now, also of those without a
 * row, exist before the first event.
 */
static List *
select_topics(void)
{
	int			ntables;
	List	   *topics = selection_topics(worker.settings,
										  worker.database_name, &ntables);

	CurrentResourceOwner = worker.owner;
	if (worker.settings->guardrail_collections_max > 0 &&
		ntables > worker.settings->guardrail_collections_max)
		hold(STREAM_WAIT_GUARD,
			 psprintf("%d tables are selected, more than wal2kafka.guardrail_collections_max",
					  ntables),
			 psprintf("The limit is %d.",
					  worker.settings->guardrail_collections_max),
			 "Name a publication in wal2kafka.publication_name, or raise the limit.");
	return topics;
}

/*
 * Never a silent fresh start beside a slot that was perhaps this stream's.
 */
static void
hold_if_slot_is_orphaned(void)
{
	SlotFacts	facts;
	TimestampTz began = GetCurrentTimestamp();

	/* streams that start together must not take each other's for orphans */
	while (others_unnamed() &&
		   !TimestampDifferenceExceeds(began, GetCurrentTimestamp(), 5000))
		delivery_wait(worker.delivery, 20);
	examine_slots(&facts);
	if (NameStr(facts.orphan)[0] == '\0')
		return;
	hold(STREAM_WAIT_NOTHING,
		 psprintf("slot \"%s\" of this database belongs to no stream",
				  NameStr(facts.orphan)),
		 "The stream has no slot of its own; perhaps its database or role was renamed, or its settings changed.",
		 psprintf("To go on from there, set wal2kafka.slot_name to \"%s\"; to begin anew, drop that slot and call wal2kafka.restart().",
				  NameStr(facts.orphan)));
}

/*
 * What a worker finds at its start.
 */
typedef enum StartKind
{
	START_STREAMING,			/* a slot to go on from */
	START_NEW,					/* no slot */
	START_AGAIN,				/* a slot whose consistent point was not found
								 * before an interruption */
	START_LOST,					/* a slot that was lost, and is to be replaced */
} StartKind;

static StartKind
find_start(const SlotFacts *facts)
{
	if (!facts->exists)
		return START_NEW;
	check_slot_usable(facts);
	if (facts->lost != NULL &&
		worker.settings->snapshot_mode == SNAPSHOT_WHEN_NEEDED)
		return START_LOST;
	if (slot_state_snapshot_pending(worker.slot_name))
	{
		if (!snapshot_was_begun(worker.slot_name))
			return START_AGAIN;
		/* it may have been completed in the last moment */
		worker.resumed = slot_state_snapshot_pending(worker.slot_name);
	}
	return START_STREAMING;
}

/*
 * End of the start for a reason that asks for another worker.
 */
static void
leave_start(const char *why)
{
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" starts anew: %s", worker.stream->name,
					why)));
	leave(STREAM_EXIT_RESTART);
}

/*
 * What waits for Kafka or the registry must not keep new settings from
 * helping.  Why to leave, or NULL.
 */
static const char *
reason_to_leave(void)
{
	const char *why = NULL;

	if (worker.stream->waiting_for == STREAM_WAIT_NOTHING)
		return NULL;
	if (ConfigReloadPending)
		why = reload_settings();
	else if (TimestampDifferenceExceeds(worker.files_checked_at,
										GetCurrentTimestamp(),
										FILES_INTERVAL_MS) &&
			 files_renewed())
		why = "files of passwords or certificates changed";
	if (why == NULL && worker.stream->restart_requested)
		why = "requested";
	return why;
}

/*
 * Does the slot retain more WAL than it may?  The launcher drops it, when it
 * is nobody's any more.
 */
static void
guard_wal(void)
{
	const WalGuard *guard = &worker.stream->guard;
	bool		exceeded;

	if (likely(guard->limit == 0) || MyReplicationSlot == NULL)
		return;
	exceeded = wal_guard_look(worker.stream,
							  MyReplicationSlot->data.restart_lsn);
	if (guard->action == RETAINED_WAL_PAUSE_SNAPSHOT)
		incremental_hold(exceeded);
	if (exceeded && guard->action == RETAINED_WAL_DROP_SLOT)
	{
		publish_guard();
		leave(STREAM_EXIT_WAL_LIMIT);
	}
}

/*
 * Called by delivery_service() while a stream starts.
 */
static void
service_start(void *arg)
{
	const char *stop = snapshot_service();
	TimestampTz now = GetCurrentTimestamp();

	if (now - worker.published_at >= PUBLISH_INTERVAL_MS * INT64CONST(1000))
	{
		worker.published_at = now;
		delivery_publish(worker.delivery);
		guard_wal();
	}
	if (stop == NULL)
		stop = reason_to_leave();
	if (stop != NULL)
		leave_start(stop);
}

/*
 * A stream without a slot finds records in its topics.
 */
static void
hold_new_with_records(const char *topic)
{
	if (worker.settings->snapshot_mode == SNAPSHOT_INITIAL_ONLY)
		hold(STREAM_WAIT_NOTHING,
			 psprintf("topic \"%s\" has records, and wal2kafka.snapshot_mode is \"initial_only\"",
					  topic),
			 "The stream has no slot: its snapshot was completed, or something else has written to the topic.",
			 "To make the snapshot again, set wal2kafka.adopt_topics to on for the time being. To stream, set wal2kafka.snapshot_mode to another value.");
	hold(STREAM_WAIT_NOTHING,
		 psprintf("the stream is new, but topic \"%s\" has records", topic),
		 "Something else has written to the topic, or the stream's slot was lost.",
		 "To go on where Debezium stopped, call wal2kafka.adopt_slot(). Otherwise set wal2kafka.adopt_topics to on to write to the topics all the same, or choose another wal2kafka.topic_prefix.");
}

/*
 * Where the position is in Kafka: see whether it is ours, and whoever else
 * writes to the stream's topics cannot any more.
 */
static void
take_over(XLogRecPtr confirmed, bool new_stream)
{
	ExactlyOnceStart start;

	if (!delivery_exactly_once(worker.delivery))
		return;
	exactly_once_start(worker.delivery, worker.stream, worker.settings,
					   worker.slot_name, confirmed, new_stream, &start);
	switch (start.verdict)
	{
		case EXACTLY_ONCE_GO:
			worker.start_lsn = start.start_lsn;
			break;
		case EXACTLY_ONCE_HOLD:
			/* a new one is let go on by wal2kafka.adopt_topics */
			SpinLockAcquire(&worker.stream->mutex);
			worker.stream->awaits_adoption = !new_stream;
			SpinLockRelease(&worker.stream->mutex);
			hold(STREAM_WAIT_NOTHING, start.reason, start.detail, start.hint);
			break;
	}
}

/*
 * Never a second time by accident, unless that is the mode.
 */
static void
check_topics_of_new(List *topics)
{
	char	   *nonempty;

	if (worker.settings->adopt_topics)
		return;
	nonempty = delivery_find_nonempty_topic(worker.delivery, topics);
	if (nonempty == NULL)
		return;
	if (worker.settings->snapshot_mode != SNAPSHOT_WHEN_NEEDED)
		hold_new_with_records(nonempty);
	ereport(WARNING,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("stream \"%s\" has no slot, but topic \"%s\" has records: it begins anew with a snapshot",
					worker.stream->name, nonempty),
			 errdetail("Rows that were deleted meanwhile stay in the topics.")));
}

static void
drop_former_slot(const SlotFacts *facts, StartKind kind, bool forgive)
{
	hold_if_crashing(facts, forgive);
	if (kind == START_LOST)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" was invalidated by the server: stream \"%s\" begins anew with a snapshot",
						worker.slot_name, worker.stream->name),
				 errdetail("%s Changes after %X/%X are not sent; rows that were deleted meanwhile stay in the topics.",
						   facts->lost,
						   LSN_FORMAT_ARGS(facts->confirmed))));
	slot_state_carry_over(worker.slot_name);
	ReplicationSlotDrop(worker.slot_name, true);
}

static void
set_fresh_start(bool value)
{
	SpinLockAcquire(&worker.stream->mutex);
	worker.stream->fresh_start = value;
	SpinLockRelease(&worker.stream->mutex);
}

/*
 * snapshot_mode is initial_only, and the snapshot complete: nothing would
 * ever move the slot.
 */
static void
end_initial_only(void)
{
	ReplicationSlotDrop(worker.slot_name, true);
	hold(STREAM_WAIT_NOTHING,
		 "the snapshot is complete, and wal2kafka.snapshot_mode is \"initial_only\"",
		 "The slot was dropped.",
		 "Take the stream out of wal2kafka.streams. To stream changes from now on, set wal2kafka.snapshot_mode to \"no_data\" and wal2kafka.adopt_topics to on.");
}

/*
 * A slot that is none of initial_only's: that mode was set later.  It may be
 * what somebody still needs, so it stays.
 */
static void
hold_if_only_snapshot(void)
{
	if (worker.settings->snapshot_mode != SNAPSHOT_INITIAL_ONLY ||
		worker.resumed)
		return;
	hold(STREAM_WAIT_NOTHING,
		 "wal2kafka.snapshot_mode is \"initial_only\", and the stream has its snapshot",
		 psprintf("Slot \"%s\" is kept, and retains WAL.", worker.slot_name),
		 "To stream from it, set wal2kafka.snapshot_mode to another value. Else drop it: take the stream out of wal2kafka.streams, then call wal2kafka.drop_stream().");
}

/*
 * Let standbys have copies of the slot, or no longer.  None of a slot whose
 * initial snapshot is not complete: a copy does not tell, and after a
 * failover the stream would go on without the rows that are wanting.
 */
static void
set_slot_failover(void)
{
	bool		wanted = worker.settings->slot_failover && !worker.resumed;

	if (compat_slot_failover(&MyReplicationSlot->data) == wanted ||
		RecoveryInProgress())
		return;
	SpinLockAcquire(&MyReplicationSlot->mutex);
	compat_slot_set_failover(&MyReplicationSlot->data, wanted);
	SpinLockRelease(&MyReplicationSlot->mutex);
	ReplicationSlotMarkDirty();
	ReplicationSlotSave();
	ereport(LOG,
			(errhidecontext(true),
			 wanted ?
			 errmsg("slot \"%s\" of stream \"%s\" is a failover slot from now on",
					worker.slot_name, worker.stream->name) :
			 errmsg("slot \"%s\" of stream \"%s\" is no failover slot any more",
					worker.slot_name, worker.stream->name)));
}

/*
 * Where an interrupted snapshot is completed beside the changes: from its end
 * on the slot may be a failover slot, and initial_only ends with it, too.
 * Between transactions.
 */
static void
check_resumed(void)
{
	TimestampTz now;

	if (likely(!worker.resumed))
		return;
	now = GetCurrentTimestamp();
	if (!TimestampDifferenceExceeds(worker.resumed_checked_at, now, 1000))
		return;
	worker.resumed_checked_at = now;
	if (slot_state_snapshot_pending(worker.slot_name))
		return;
	worker.resumed = false;
	set_slot_failover();
	if (worker.settings->snapshot_mode != SNAPSHOT_INITIAL_ONLY)
		return;
	worker.ctx = NULL;			/* nothing is confirmed from here on */
	incremental_finish();		/* its file goes with the slot */
	ReplicationSlotRelease();
	end_initial_only();
}

/*
 * A stream without a slot.  Makes the slot, reads the tables, and ends: the
 * next worker streams.
 */
static void
start_new_stream(const SlotFacts *facts, StartKind kind, bool forgive)
{
	List	   *topics = select_topics();
	SnapshotStart start = {
		.delivery = worker.delivery,
		.stream = worker.stream,
		.settings = worker.settings,
		.settings_digest = worker.settings_digest,
		.slot_name = worker.slot_name,
		.database_name = worker.database_name,
	};
	const char *stop;

	if (kind == START_NEW)
		hold_if_slot_is_orphaned();
	delivery_make_topics(worker.delivery, topics);
	if (kind == START_NEW)
		check_topics_of_new(topics);
	take_over(InvalidXLogRecPtr, true);
	if (facts->exists)
		drop_former_slot(facts, kind, forgive);

	stop = snapshot_start_stream(&start);

	/* without a snapshot the next worker's start is one, too */
	set_fresh_start(worker.settings->snapshot_mode == SNAPSHOT_NO_DATA);
	if (stop != NULL)
		leave_start(stop);
	if (worker.settings->snapshot_mode == SNAPSHOT_INITIAL_ONLY)
		end_initial_only();
	leave(STREAM_EXIT_RESTART);
}

/*
 * Does this start of a stream that has its slot ask for a snapshot?
 */
static bool
wants_restart_snapshot(void)
{
	return worker.settings->snapshot_mode == SNAPSHOT_ALWAYS &&
		worker.stream->fresh_start && !worker.resumed;
}

/* ---- WAL ---- */

/*
 * The reader's page_read callback: what is there, and never a wait.  A
 * record that is not there yet makes XLogReadRecord() return NULL without an
 * error, and the next call tries the same record again.
 */
static int
read_wal(XLogReaderState *reader, XLogRecPtr page, int needed,
		 XLogRecPtr target, char *buf)
{
	XLogRecPtr	limit;
	TimeLineID	timeline;
	WALReadError error;
	int			count;

	if (worker.wal_end < page + needed)
		worker.wal_end = wal_end_now(&worker.timeline);
	limit = worker.wal_end;
	XLogReadDetermineTimeline(reader, page, needed, worker.timeline);
	timeline = reader->currTLI;
	if (timeline != worker.timeline)
		limit = Min(limit, reader->currTLIValidUntil);
	if (limit < page + needed)
		return -1;

	count = (limit - page >= XLOG_BLCKSZ) ? XLOG_BLCKSZ : limit - page;
	if (!WALRead(reader, buf, page, count, timeline, &error))
		WALReadRaiseError(&error);
	return count;
}

/*
 * One that is late because nothing can be sent would only queue up, and to
 * wait for its time would be to wake up for nothing during an outage.
 */
static bool
can_send_heartbeat(void)
{
	return worker.heartbeat != NULL && delivery_can_emit(worker.delivery) &&
		worker.stream->waiting_for == STREAM_WAIT_NOTHING;
}

/*
 * How long to sleep at most, and what to do instead: asynchronous commits
 * are flushed by us when they are old enough.  Returns 0 for not sleeping.
 */
static long
sleep_time(XLogRecPtr wal_end)
{
	const int	delay = worker.settings->async_flush_delay;
	XLogRecPtr	async_lsn;
	TimestampTz now = GetCurrentTimestamp();
	long		timeout = LONGEST_SLEEP_MS;
	long		until_snapshot = incremental_timeout();

	async_lsn = pg_atomic_read_u64(&worker.stream->async_commit_lsn);
	if (async_lsn <= wal_end || async_lsn <= GetFlushRecPtr(NULL))
		worker.async_since = 0;
	else if (delay < 0)
		timeout = 20;			/* the WAL writer wakes nobody on 15 */
	else
	{
		if (worker.async_since == 0)
			worker.async_since = now;
		timeout = delay - (now - worker.async_since) / 1000;
		if (timeout <= 0)
		{
			XLogFlush(async_lsn);
			worker.async_since = 0;
			return 0;
		}
	}

	if (worker.unsaved)
	{
		long		until_save = SAVE_INTERVAL_MS -
			(now - worker.saved_at) / 1000;

		timeout = Min(timeout, Max(until_save, 1));
	}
	if (worker.nsetting_xids > 0)
		timeout = Min(timeout, 10);
	if (wal_end_standbys_since() != 0)
		timeout = Min(timeout, STANDBY_INTERVAL_MS);
	if (until_snapshot >= 0)
		timeout = Min(timeout, until_snapshot);
	if (!delivery_idle(worker.delivery))
		timeout = Min(timeout, 1000);
	if (can_send_heartbeat())
		timeout = Min(timeout,
					  Max(heartbeat_due_in(worker.heartbeat, now), 1));
#if COMPAT_HAS_WAL_FLUSH_CV
	/* flushes wake those on WalSndCtl only if there may be walsenders */
	if (max_wal_senders == 0)
		timeout = Min(timeout, 20);
#endif
	return timeout;
}

static void
wait_for_wal(void)
{
	TimeLineID	timeline;
	XLogRecPtr	wal_end;
	long		timeout;

	pg_atomic_write_u32(&worker.stream->asleep, 1);
	pg_memory_barrier();
	wal_end = wal_end_prepare_sleep(&timeline);
	if (wal_end <= worker.wal_end)
	{
		timeout = sleep_time(wal_end);
		if (timeout > 0)
			delivery_wait(worker.delivery, timeout);
	}
	pg_atomic_write_u32(&worker.stream->asleep, 0);
	wal_end_cancel_sleep();
}

/*
 * Say whether it is standbys that the stream waits for.
 */
static void
show_standbys(TimestampTz now)
{
	TimestampTz since = wal_end_standbys_since();
	StreamWait	shown = worker.stream->waiting_for;

	if (since == 0 && shown == STREAM_WAIT_STANDBY)
		stream_set_waiting(worker.stream, STREAM_WAIT_NOTHING);
	else if (since != 0 && shown == STREAM_WAIT_NOTHING &&
			 TimestampDifferenceExceeds(since, now, STANDBY_INTERVAL_MS))
		stream_set_waiting(worker.stream, STREAM_WAIT_STANDBY);
}

/*
 * Called by delivery_service(), also from within the decoding of a large
 * transaction.
 */
static void
service(void *arg)
{
	StreamState *stream = worker.stream;
	TimestampTz now;

	confirm();
	now = GetCurrentTimestamp();
	if (worker.unsaved &&
		now - worker.saved_at >= SAVE_INTERVAL_MS * INT64CONST(1000))
		save_slot();
	if (now - worker.published_at >= PUBLISH_INTERVAL_MS * INT64CONST(1000))
	{
		worker.published_at = now;
		show_standbys(now);
		SpinLockAcquire(&stream->mutex);
		if (worker.ctx != NULL)
			stream->received_lsn = delivery_decoded(worker.delivery);
		stream->acknowledged_lsn = worker.confirmed;
		if (delivery_idle(worker.delivery) && wal_end_standbys_since() == 0)
			stream->caught_up_at = now;
		SpinLockRelease(&stream->mutex);
		delivery_publish(worker.delivery);
		guard_wal();
	}

	if (can_send_heartbeat())
		heartbeat_send(worker.heartbeat, now);

	incremental_relieve();

	/*
	 * This may be in the middle of a transaction; nothing of it is confirmed,
	 * so it comes again.
	 */
	if (reason_to_leave() != NULL)
		leave(STREAM_EXIT_RESTART);
}

/* Before the worker sleeps its statistics are up to date. */
static void
publish_now(void)
{
	worker.published_at = 0;
	service(NULL);
}

static void
start_decoding(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	worker.confirmed = MyReplicationSlot->data.confirmed_flush;
	worker.ctx =
		CreateDecodingContext(worker.start_lsn, NIL, false,
							  XL_ROUTINE(.page_read = read_wal,
										 .segment_open = wal_segment_open,
										 .segment_close = wal_segment_close),
							  NULL, NULL, NULL);
	XLogBeginRead(worker.ctx->reader, MyReplicationSlot->data.restart_lsn);
	MemoryContextSwitchTo(old);

	worker.wal_end = worker.end_at_start = wal_end_now(&worker.timeline);

	/* entries of the present must not serve the past */
	InvalidateSystemCaches();
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" streams from %X/%X", worker.stream->name,
					LSN_FORMAT_ARGS(Max(worker.confirmed,
										worker.start_lsn)))));
	stream_set_status(worker.stream, STREAM_STREAMING);
	pgstat_report_activity(STATE_RUNNING, "streaming to Kafka");
}

static void
append_offsets(StringInfo buf, void *arg)
{
	delivery_offsets(worker.delivery, buf);
}

/*
 * Between two records: see to those who read tables beside the stream.
 */
static void
serve_readers(bool idle)
{
	XLogRecPtr	position = worker.ctx->reader->EndRecPtr;

	/* to serve others may confirm: what a signal asked for is saved before */
	incremental_service(position, idle);
	place_serve(position);
}

/*
 * Decode until there is nothing left that is flushed.
 */
static void
decode_available(MemoryContext loop_context)
{
	XLogReaderState *reader = worker.ctx->reader;
	int			until_service = RECORDS_PER_SERVICE;

	for (;;)
	{
		char	   *error = NULL;
		XLogRecord *record;

		/* the reader keeps what it allocates from one record to the next */
		MemoryContextSwitchTo(worker.ctx->context);
		record = XLogReadRecord(reader, &error);
		MemoryContextSwitchTo(loop_context);
		if (record == NULL)
		{
			if (error != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_DATA_CORRUPTED),
						 errmsg("could not read WAL at %X/%X: %s",
								LSN_FORMAT_ARGS(reader->EndRecPtr), error)));
			return;
		}
		watch_settings(reader);
		watch_publications(reader);
		if (unlikely(place_tracking))
			place_note_record(reader);
		delivery_begin_record(worker.delivery, reader->EndRecPtr);
		LogicalDecodingProcessRecord(worker.ctx, reader);
		delivery_end_record(worker.delivery);

		/* the server's decoder leaves both as a transaction's end does */
		MemoryContextSwitchTo(loop_context);
		CurrentResourceOwner = worker.owner;

		if (unlikely(place_tracking || incremental_busy))
			serve_readers(false);
		if (--until_service == 0)
		{
			CHECK_FOR_INTERRUPTS();
			delivery_service(worker.delivery);
			check_settings();
			place_look();
			serve_readers(false);
			MemoryContextReset(loop_context);
			until_service = RECORDS_PER_SERVICE;
		}
	}
}

static void
stream_changes(void)
{
	MemoryContext loop_context =
		AllocSetContextCreate(TopMemoryContext, "wal2kafka worker",
							  ALLOCSET_DEFAULT_SIZES);

	toast_reselect_start(worker.stream, worker.settings,
						 delivery_message_limit(worker.delivery));
	start_decoding();
	delivery_begin_record(worker.delivery,
						  Max(worker.confirmed, worker.start_lsn));
	delivery_end_record(worker.delivery);
	worker.heartbeat = heartbeat_create(worker.settings,
										worker.database_name);
	MemoryContextSwitchTo(loop_context);
	place_worker_init(worker.stream, append_offsets, NULL);
	incremental_start(worker.delivery, worker.stream, worker.settings,
					  worker.slot_name, worker.restart_snapshot);
	signal_table_start(worker.settings);
	for (;;)
	{
		decode_available(loop_context);
		place_look();
		serve_readers(true);
		publish_now();
		check_settings();
		check_resumed();
		MemoryContextReset(loop_context);
		wait_for_wal();
		check_settings();
	}
}

/* ---- start ---- */

/*
 * Where the server has a list of trusted output plugins, ours is on it in
 * this process: preloading the library and naming the stream is the
 * administrator's word.
 */
static void
trust_own_plugin(void)
{
	const char *list = GetConfigOption("output_plugin_libraries", true,
									   false);

	if (list != NULL)
		SetConfigOption("output_plugin_libraries",
						list[0] != '\0' ?
						psprintf("%s, wal2kafka", list) : "wal2kafka",
						PGC_SUSET, PGC_S_OVERRIDE);
}

static void
connect_worker(Datum main_arg)
{
	static ErrorContextCallback context;
	StreamState *stream;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGQUIT, worker_quickdie);
	BackgroundWorkerUnblockSignals();

	/* the server ignored a reload that came before the handler was there */
	ProcessConfigFile(PGC_SIGHUP);

	stream = shared_state_attach_worker(DatumGetInt32(main_arg));
	worker.stream = stream;
	previous_emit_log_hook = emit_log_hook;
	emit_log_hook = note_error;
	context.callback = name_stream;
	context.previous = error_context_stack;
	error_context_stack = &context;
	before_shmem_exit(note_end, (Datum) 0);
	before_shmem_exit(worker_exit, (Datum) 0);

	BackgroundWorkerInitializeConnection(NameStr(stream->database),
										 NameStr(stream->role)[0] != '\0' ?
										 NameStr(stream->role) : NULL, 0);
	compat_lift_transaction_timeout();
	worker.on_standby = RecoveryInProgress();
	worker.owner = ResourceOwnerCreate(NULL, "wal2kafka worker");
	CurrentResourceOwner = worker.owner;
	worker.settings = settings_copy(TopMemoryContext);
}

static void
check_can_stream(void)
{
	if (worker.settings->bootstrap_servers[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("wal2kafka.bootstrap_servers is not set"),
				 errhint("Set it to the address of a Kafka broker, such as \"localhost:9092\".")));
	if (wal_level < WAL_LEVEL_LOGICAL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("logical decoding requires wal_level >= logical"),
				 errhint("Set wal_level to \"logical\" and restart the server.")));
	CheckLogicalDecodingRequirements();
	trust_own_plugin();
}

static void
connect_delivery(StartKind kind)
{
	DeliveryConfig config = {
		.stream = worker.stream,
		.settings = worker.settings,
		.schemas_topic = selection_schemas_topic(worker.settings,
												 worker.database_name),
		.service = kind == START_STREAMING ? service : service_start,
	};

	if (worker.settings->delivery == DELIVERY_EXACTLY_ONCE)
	{
		config.progress_topic = exactly_once_topic(worker.settings,
												   worker.database_name);
		config.transactional_id = exactly_once_id(worker.slot_name, NULL);
	}

	/* before they are read: what changes from now on is noticed */
	worker.files_digest = connection_files_digest(worker.settings);
	worker.delivery = delivery_create(&config);
}

void
kafka_bgworker_main(Datum main_arg)
{
	SlotFacts	facts;
	StartKind	kind;
	bool		requested;

	connect_worker(main_arg);
	SpinLockAcquire(&worker.stream->mutex);
	requested = worker.stream->restart_requested;
	worker.stream->restart_requested = false;
	SpinLockRelease(&worker.stream->mutex);

	in_transaction(read_settings);
	name_slot();
	publish_guard();
	in_transaction(check_paused);
	claim_identity();
	check_can_stream();

	examine_slots(&facts);
	kind = find_start(&facts);
	if (kind == START_STREAMING)
	{
		hold_if_lost(&facts);
		hold_if_only_snapshot();
		compat_slot_acquire(worker.slot_name);
		hold_if_crashing(&facts, requested);

		/* a copy of the primary's has no state, but is a stream's from now on */
		if (!slot_state_exists(worker.slot_name))
			slot_state_set_snapshot_pending(worker.slot_name, false);
		set_slot_failover();
	}

	connect_delivery(kind);
	if (kind != START_STREAMING)
		start_new_stream(&facts, kind, requested);

	take_over(MyReplicationSlot->data.confirmed_flush, false);
	delivery_make_topics(worker.delivery, select_topics());
	worker.restart_snapshot = wants_restart_snapshot();
	stream_changes();
}
