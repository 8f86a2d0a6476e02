/*
 * snapshot.c
 *		The start of a stream: its slot, and its tables as they are there.
 *
 * Creating a logical slot yields a snapshot of the database at the very
 * place in the WAL where the slot begins.  Tables are read with it, by this
 * process and those that it starts (snapshot_scan.h), in transactions that
 * last as long, so that the rows and the changes that follow have neither gap
 * nor overlap.
 *
 * What is acknowledged is noted in the slot's progress file, as a job of kind
 * "initial".  If the start is interrupted, that snapshot is lost, but not the
 * slot: the stream goes on from the consistent point, and reads beside its
 * changes what the job lacks (incremental.c).  For the same reason a start
 * does not wait for a broker that stays away: all the while it would keep
 * vacuum from its work.
 *
 * The process that does this does not decode afterwards.  It ends, and the
 * launcher starts another: relation cache entries of the present and of a
 * historic snapshot must not meet in one process.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlogutils.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "compat.h"
#include "kill_point.h"
#include "miscadmin.h"
#include "notification.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "preload/regex_list.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "replication/snapbuild.h"
#include "seen_rows.h"
#include "slot_state.h"
#include "snapshot.h"
#include "snapshot_progress.h"
#include "snapshot_scan.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "table_access.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Progress is saved at most this often. */
#define SAVE_INTERVAL_MS		1000

/* The other processes, and the stream's settings, are looked at this often. */
#define LOOK_INTERVAL_MS		100
#define SETTINGS_INTERVAL_MS	1000

/* A range that is being read may go on for so long after the stop. */
#define STOP_DELAY_MS			2000

/* Longest wait for a broker or registry. */
#define OUTAGE_MS				60000

/* The end waits this long for acknowledgements, and for other processes. */
#define STOP_DRAIN_MS			5000
#define EXIT_DRAIN_MS			500

/* Another process for each so many blocks, as far as settings allow. */
#define BLOCKS_PER_READER		SNAPSHOT_RANGE_BLOCKS

/* A table that is read: what SnapshotScan has no need of. */
typedef struct RunTable
{
	SnapshotTable *progress;
	char	   *name;			/* schema.table, for people */
	BlockNumber blocks;			/* with TOAST */
	uint32		over;			/* ranges */
	bool		done;
	bool		left;			/* ... but read while streaming */
	bool		told_begin;		/* in a notification */
} RunTable;

/* The start that this process makes.  In its own memory context. */
typedef struct SnapshotRun
{
	SnapshotStart start;		/* what made it may be gone after an error */
	MemoryContext context;
	XLogRecPtr	consistent_point;
	TimestampTz begin_time;
	Decoder    *decoder;
	Notifier   *notifier;		/* NULL: none */
	SnapshotProgress *progress;
	SnapshotJob *job;			/* NULL: not begun */
	int			ntables;
	RunTable   *tables;
	int			told;			/* notifications told the end of so many */
	ScanTable  *plan;			/* becomes the scan's */
	char	   *collections;	/* names of all, for notifications */

	SnapshotScan *scan;			/* NULL: not begun to read */
	SnapshotScanner *scanner;
	BackgroundWorkerHandle *handles[SNAPSHOT_MAX_READERS];
	bool		joined[SNAPSHOT_MAX_READERS];	/* its end was seen */

	uint64		rows;			/* sent */
	bool		acknowledged;	/* some were, since it was last published */
	bool		dirty;			/* progress is not saved */
	TimestampTz saved_at;
	TimestampTz looked_at;
	TimestampTz settings_at;
	TimestampTz away_since;		/* 0: Kafka and registry are there */
	const char *stop;			/* why it should stop; NULL */
	TimestampTz stop_at;		/* when that was noticed */
} SnapshotRun;

static SnapshotRun *run;		/* NULL: none */

/* ---- the slot ---- */

/*
 * Create the slot, find its consistent point, and make the transaction's
 * snapshot the one of that point.  The slot is persistent then.
 */
static XLogRecPtr
create_slot(const SnapshotStart *start, bool with_data)
{
	LogicalDecodingContext *ctx;
	XLogRecPtr	consistent_point;

	compat_slot_create(start->slot_name, RS_EPHEMERAL);
	KILL_POINT("slot_created");
	ctx = CreateInitDecodingContext("wal2kafka", NIL, with_data,
									InvalidXLogRecPtr,
									XL_ROUTINE(.page_read = read_local_xlog_page,
											   .segment_open = wal_segment_open,
											   .segment_close = wal_segment_close),
									NULL, NULL, NULL);

	/*
	 * From here on an interruption leaves a slot that is known to be not
	 * complete.  Without it nothing would tell the rows that an earlier,
	 * interrupted run has sent from somebody else's.
	 */
	if (with_data)
	{
		slot_state_set_snapshot_pending(start->slot_name, true);
		ReplicationSlotPersist();
		KILL_POINT("slot_persisted");
	}

	/* waits for the transactions that are open now */
	stream_set_waiting(start->stream, STREAM_WAIT_LOCK);
	DecodingContextFindStartpoint(ctx);
	stream_set_waiting(start->stream, STREAM_WAIT_NOTHING);

	consistent_point = MyReplicationSlot->data.confirmed_flush;
	if (with_data)
	{
		Snapshot	snapshot = SnapBuildInitialSnapshot(ctx->snapshot_builder);

		RestoreTransactionSnapshot(snapshot, MyProc);
		ReplicationSlotMarkDirty();
		ReplicationSlotSave();
	}
	else
	{
		slot_state_set_snapshot_pending(start->slot_name, false);
		ReplicationSlotPersist();
	}
	FreeDecodingContext(ctx);
	KILL_POINT("consistent_point_found");
	return consistent_point;
}

/* ---- what is read ---- */

static char *
qualified_name(Relation relation)
{
	return psprintf("%s.%s",
					get_namespace_name(RelationGetNamespace(relation)),
					RelationGetRelationName(relation));
}

/*
 * Partitions that are elsewhere: their changes are not in this server's WAL,
 * so neither are their rows sent.
 */
static void
warn_foreign_partitions(Oid root)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(root, NoLock, NULL))
	{
		Oid			relid = lfirst_oid(cell);

		if (get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE)
			ereport(WARNING,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("rows of foreign table \"%s\", a partition of \"%s\", are not sent",
							get_rel_name(relid), get_rel_name(root)),
					 errdetail("Its changes are not in the WAL of this server."),
					 errhint("Let a stream of the server that has the table send it.")));
	}
}

/*
 * The blocks of a range.  Rows may have most of their bytes in the TOAST
 * table.
 */
static void
plan_ranges(Relation relation, ScanTable *plan, RunTable *table)
{
	int64		bytes = DatumGetInt64(DirectFunctionCall1(pg_table_size,
														  ObjectIdGetDatum(plan->relid)));
	int64		blocks = Max(bytes / BLCKSZ, plan->nblocks);

	table->blocks = (BlockNumber) Min(blocks, MaxBlockNumber);
	plan->range_blocks = plan->nblocks;
	if (relation->rd_tableam == GetHeapamTableAmRoutine() && blocks > 0)
		plan->range_blocks =
			Max((int64) SNAPSHOT_RANGE_BLOCKS * plan->nblocks / blocks, 1);
}

/*
 * Find out all that there is to know of a table before its rows are read, and
 * what will fail: that must fail before the first row is sent.  The sink
 * makes its topic and schemas ready, also for a table without rows.
 */
static void
plan_table(Relation relation, const RegexList *included)
{
	RelationEntry *entry =
		relation_map_get(decoder_relation_map(run->decoder), relation);
	ScanTable  *plan = &run->plan[run->ntables];
	RunTable   *table = &run->tables[run->ntables];
	char	   *published = psprintf("%s.%s", entry->target.schema_name,
									 entry->target.table_name);

	published = unconstify(char *, relation_map_utf8(published));
	regex_list_note(included, published);
	decoder_announce(run->decoder, relation);
	if (included != NULL && !regex_list_matches(included, published))
		return;

	table_check_readable(relation);
	plan->relid = RelationGetRelid(relation);
	plan->nblocks = RelationGetNumberOfBlocks(relation);
	plan->storage = relation->rd_rel->relfilenode;
	plan->whole = scan_storage_is_new(relation);
	plan_ranges(relation, plan, table);
	table->name = qualified_name(relation);
	table->progress =
		snapshot_progress_add_table(run->progress, run->job, plan->relid,
									get_namespace_name(RelationGetNamespace(relation)),
									RelationGetRelationName(relation), NULL);
	table->progress->storage = plan->storage;
	if (relation->rd_rel->reltuples > 0)
		table->progress->estimate = (uint64) relation->rd_rel->reltuples;

	/* what cannot be read in ranges cannot be noted range by range */
	if (delivery_exactly_once(run->start.delivery) &&
		(plan->whole || relation->rd_tableam != GetHeapamTableAmRoutine()))
	{
		plan->whole = false;
		plan->nblocks = 0;
		table->left = table->done = true;
	}
	run->ntables++;
}

static void
warn_unmatched(const RegexList *included)
{
	const char *expression;
	int			cursor = 0;

	while ((expression = regex_list_unmatched(included, &cursor)) != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("\"%s\" of \"wal2kafka.snapshot_include_collection_list\" matches no table that is selected",
						expression),
				 errhint("Expressions match whole names, such as \"schema.table\".")));
}

/*
 * The tables that are selected now are known: of those that come later the
 * rows may be wanted, too (wal2kafka.snapshot_new_tables).
 */
static void
note_known_tables(List *relids)
{
	MemoryContext old = MemoryContextSwitchTo(run->progress->context);

	run->progress->known_tables = list_copy(relids);
	run->progress->tables_known = true;
	MemoryContextSwitchTo(old);
}

static void
plan_tables(void)
{
	const Settings *settings = run->start.settings;
	RegexList  *included =
		regex_list_compile(run->context,
						   settings->snapshot_include_collection_list);
	List	   *relids =
		relation_map_selected(decoder_relation_map(run->decoder));
	List	   *roots = NIL;
	ListCell   *cell;

	note_known_tables(relids);
	run->plan = palloc0(sizeof(ScanTable) * Max(list_length(relids), 1));
	run->tables = palloc0(sizeof(RunTable) * Max(list_length(relids), 1));
	foreach(cell, relids)
	{
		Relation	relation = try_relation_open(lfirst_oid(cell),
												 AccessShareLock);

		CHECK_FOR_INTERRUPTS();
		if (relation == NULL)
			continue;
		if (relation->rd_rel->relkind == RELKIND_RELATION)
			plan_table(relation, included);
		if (relation->rd_rel->relispartition)
			roots = list_append_unique_oid(roots,
										   llast_oid(get_partition_ancestors(lfirst_oid(cell))));
		relation_close(relation, AccessShareLock);
	}
	foreach(cell, roots)
		warn_foreign_partitions(lfirst_oid(cell));
	warn_unmatched(included);
}

/*
 * The job of this snapshot.  It is written before the first row is sent.
 */
static void
begin_job(void)
{
	SnapshotRequest request = {
		.command = SNAPSHOT_REQUEST,
		.kind = SNAPSHOT_KIND_INITIAL,
	};
	StringInfoData names;

	run->progress = snapshot_progress_load(run->context,
										   run->start.slot_name);
	run->job = snapshot_progress_apply(run->progress, &request);
	run->job->consistent_point = run->consistent_point;
	run->job->xmin = GetActiveSnapshot()->xmin;
	run->job->seen = MemoryContextStrdup(run->progress->context,
										 seen_rows_text(GetActiveSnapshot()));

	/* what making topics and schemas sends is of a unit */
	delivery_begin_unit(run->start.delivery, 0);
	plan_tables();
	delivery_end_unit(run->start.delivery, run->consistent_point);

	initStringInfo(&names);
	for (int i = 0; i < run->ntables; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? "," : "",
						 run->tables[i].name);
	run->collections = names.data;
	snapshot_progress_save(run->progress, run->start.slot_name);
	KILL_POINT("snapshot_begun");
	run->saved_at = GetCurrentTimestamp();
}

/* ---- notifications ---- */

static void
notify(const char *type, const NotificationData *data, int ndata)
{
	notifier_send(run->notifier, NULL, NOTIFICATION_INITIAL, type, data,
				  ndata);
}

static void
notify_table(RunTable *table, bool end)
{
	char		rows[32];
	NotificationData begin_data[] = {
		{"current_collection_in_progress", table->name},
		{"data_collections", run->collections},
	};
	NotificationData end_data[] = {
		{"scanned_collection", table->name},
		{"total_rows_scanned", rows},
		{"data_collections", run->collections},
		{"status", "SUCCEEDED"},
	};

	NotificationData gone_data[] = {
		{"scanned_collection", table->name},
		{"status", "SQL_EXCEPTION"},
	};

	snprintf(rows, sizeof(rows), UINT64_FORMAT, table->progress->rows);
	if (!end)
		notify("IN_PROGRESS", begin_data, lengthof(begin_data));
	else if (table->progress->state != SNAPSHOT_TABLE_DONE)
		notify("TABLE_SCAN_COMPLETED", gone_data, lengthof(gone_data));
	else
		notify("TABLE_SCAN_COMPLETED", end_data, lengthof(end_data));
}

/*
 * Which tables were begun, for the views and notifications.
 */
static void
note_begun_tables(void)
{
	for (int i = 0; i < run->ntables; i++)
	{
		SnapshotTable *progress = run->tables[i].progress;
		TimestampTz began;

		if (progress->started_at != 0)
			continue;
		SpinLockAcquire(&run->scan->mutex);
		began = scan_tables(run->scan)[i].began;
		SpinLockRelease(&run->scan->mutex);
		if (began == 0)
			break;
		progress->started_at = began;
		progress->state = SNAPSHOT_TABLE_READING;
		run->dirty = true;
	}
}

/*
 * Tell of tables that were begun or are over, one after the other as Debezium
 * does.  Not while a row is being sent.
 */
static void
notify_tables(void)
{
	if (run->notifier == NULL)
		return;
	note_begun_tables();
	for (; run->told < run->ntables; run->told++)
	{
		RunTable   *table = &run->tables[run->told];

		if (!table->told_begin && table->progress->started_at != 0)
		{
			table->told_begin = true;
			notify_table(table, false);
		}
		if (!table->done)
			break;
		if (!table->left)
			notify_table(table, true);
	}
}

/* ---- progress ---- */

static void
table_is_over(RunTable *table, SnapshotTableState state)
{
	StreamState *stream = run->start.stream;
	SnapshotTable *progress = table->progress;
	double		seconds;

	table->done = true;
	progress->state = state;
	progress->ended_at = GetCurrentTimestamp();
	progress->active_ms = (progress->ended_at - progress->started_at) / 1000;
	run->dirty = true;
	SpinLockAcquire(&stream->mutex);
	stream->snapshot_tables_done++;
	SpinLockRelease(&stream->mutex);

	seconds = (progress->ended_at - progress->started_at) / 1e6;
	if (state == SNAPSHOT_TABLE_FAILED)
		ereport(WARNING,
				(errhidecontext(true),
				 errmsg("stream \"%s\" could not read table \"%s\" to its end: %s",
						stream->name, table->name, progress->error),
				 errhint("%s", progress->hint)));
	else if (state == SNAPSHOT_TABLE_GONE)
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" could not read table \"%s\" to its end: it was dropped",
						stream->name, table->name)));
	else
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" has read table \"%s\": " UINT64_FORMAT " rows in %.3f s, %.0f rows/s",
						stream->name, table->name, progress->rows, seconds,
						progress->rows / Max(seconds, 1e-6))));
}

/*
 * The table was not selected for a while: rows may lack, whatever it is now.
 */
static void
note_unselected(SnapshotTable *progress)
{
	MemoryContext old = MemoryContextSwitchTo(run->progress->context);

	if (progress->state != SNAPSHOT_TABLE_FAILED)
	{
		progress->state = SNAPSHOT_TABLE_FAILED;
		progress->error = pstrdup("it was taken out of the stream's publications");
		progress->hint = pstrdup("If it is back, call wal2kafka.snapshot() for it.");
	}
	MemoryContextSwitchTo(old);
}

/*
 * A range is over in whatever process.
 */
static void
range_is_over(const SnapshotRange *range)
{
	RunTable   *table = &run->tables[range->table];
	ScanTable  *plan = &scan_tables(run->scan)[range->table];
	SnapshotTable *progress = table->progress;
	bool		complete;

	SpinLockAcquire(&run->scan->mutex);
	table->over++;
	if (range->result == SNAPSHOT_RANGE_GONE)
		plan->next = plan->nblocks;
	complete = table->over == plan->taken && plan->reading == 0 &&
		(plan->whole ? plan->whole_taken : plan->next >= plan->nblocks);
	SpinLockRelease(&run->scan->mutex);

	/* a short table may be over before anybody looked at its begin */
	note_begun_tables();
	run->dirty = true;
	run->acknowledged |= range->rows > 0;
	progress->rows += range->rows;
	progress->ranges++;
	switch (range->result)
	{
		case SNAPSHOT_RANGE_SENT:
			snapshot_table_add_blocks(run->progress, progress, range->first,
									  range->end);
			break;
		case SNAPSHOT_RANGE_GONE:
			progress->state = SNAPSHOT_TABLE_GONE;
			break;
		case SNAPSHOT_RANGE_UNSELECTED:
			note_unselected(progress);
			break;
		case SNAPSHOT_RANGE_LEFT:
			table->left = true;
			break;
		case SNAPSHOT_RANGE_WHOLE:
		case SNAPSHOT_RANGE_VOID:
			break;
	}
	if (complete && table->left)
	{
		table->done = true;
		progress->state = SNAPSHOT_TABLE_WAITING;
	}
	else if (complete)
		table_is_over(table, progress->state == SNAPSHOT_TABLE_GONE ||
					  progress->state == SNAPSHOT_TABLE_FAILED ?
					  progress->state : SNAPSHOT_TABLE_DONE);
}

/*
 * Collect what is over, in this process and in the others.
 */
static void
collect_ranges(void)
{
	SnapshotScan *scan = run->scan;
	MemoryContext old = MemoryContextSwitchTo(run->context);
	SnapshotRange range;
	SnapshotRange mail[SNAPSHOT_MAILBOX];

	while (scanner_next_over(run->scanner, &range))
		range_is_over(&range);
	for (int i = 1; i < scan->nreaders; i++)
	{
		ScanReader *reader = &scan->readers[i];
		int			nmail;
		Latch	   *latch;

		SpinLockAcquire(&scan->mutex);
		nmail = reader->nranges;
		memcpy(mail, reader->mailbox, nmail * sizeof(SnapshotRange));
		reader->nranges = 0;
		run->rows += reader->rows;
		reader->rows = 0;
		latch = reader->latch;
		SpinLockRelease(&scan->mutex);

		/* it may have had no more room */
		if (nmail == SNAPSHOT_MAILBOX && latch != NULL)
			SetLatch(latch);
		for (int j = 0; j < nmail; j++)
			range_is_over(&mail[j]);
	}
	run->rows += scanner_rows(run->scanner);
	MemoryContextSwitchTo(old);
}

static void
publish(TimestampTz now)
{
	StreamState *stream = run->start.stream;

	SpinLockAcquire(&stream->mutex);
	if (run->acknowledged)
	{
		/* progress ends a series of errors */
		stream->acknowledged_at = now;
		stream->backoff_count = 0;
	}
	run->acknowledged = false;
	stream->snapshot_rows = run->rows;
	SpinLockRelease(&stream->mutex);
	delivery_publish(run->start.delivery);
}

static void
save_progress(TimestampTz now)
{
	if (!run->dirty)
		return;
	run->dirty = false;
	run->saved_at = now;
	snapshot_progress_save(run->progress, run->start.slot_name);
}

/* ---- the other processes ---- */

/*
 * A process is gone before its time.  One that had not begun is not needed;
 * else it had something in its hands.
 */
static void
reader_is_gone(int i, const ScanReader *reader)
{
	int			sqlerrcode = reader->sqlerrcode;

	run->joined[i] = true;
	if (reader->state == SCAN_DONE)
		return;
	if (reader->state == SCAN_NOT_STARTED)
	{
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("a process that was to read tables for the snapshot could not start"),
				 reader->sqlerrcode ? errdetail("%s", reader->message) : 0,
				 errhint("The snapshot goes on with fewer processes.")));
		return;
	}

	/*
	 * If it is the whole server that ends, we hear of it in a moment.  If
	 * not, it is an error like others.
	 */
	if (sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
	{
		pg_usleep(100000);
		sqlerrcode = ERRCODE_CONNECTION_FAILURE;
	}
	CHECK_FOR_INTERRUPTS();
	delivery_learn_refusals(run->start.delivery);
	if (sqlerrcode == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("process %d, which read tables for the snapshot, ended unexpectedly",
						(int) reader->pid)));
	ereport(ERROR,
			(errcode(sqlerrcode),
			 errmsg("process %d, which read tables for the snapshot, failed: %s",
					(int) reader->pid, reader->message),
			 reader->detail[0] ? errdetail("%s", reader->detail) : 0,
			 reader->hint[0] ? errhint("%s", reader->hint) : 0));
}

static bool
is_running(int i)
{
	pid_t		pid;

	return run->handles[i] != NULL && !run->joined[i] &&
		GetBackgroundWorkerPid(run->handles[i], &pid) != BGWH_STOPPED;
}

static void
look_at_readers(void)
{
	ScanReader *copy = NULL;

	for (int i = 1; i < run->scan->nreaders; i++)
	{
		if (run->handles[i] == NULL || run->joined[i] || is_running(i))
			continue;
		if (copy == NULL)
			copy = palloc(sizeof(ScanReader));
		SpinLockAcquire(&run->scan->mutex);
		*copy = run->scan->readers[i];
		SpinLockRelease(&run->scan->mutex);
		reader_is_gone(i, copy);
	}
	if (copy != NULL)
		pfree(copy);
}

static bool
any_running(void)
{
	for (int i = 1; i < run->scan->nreaders; i++)
		if (is_running(i))
			return true;
	return false;
}

static void
wake_readers(void)
{
	for (int i = 1; i < run->scan->nreaders; i++)
	{
		Latch	   *latch;

		SpinLockAcquire(&run->scan->mutex);
		latch = run->scan->readers[i].latch;
		SpinLockRelease(&run->scan->mutex);
		if (latch != NULL)
			SetLatch(latch);
	}
}

/*
 * End the other processes, and wait until they are gone: what one of them
 * still sent later could come behind newer changes.  Never raises.
 */
static void
stop_readers(void)
{
	TimestampTz began = GetCurrentTimestamp();
	bool		terminated = false;

	SpinLockAcquire(&run->scan->mutex);
	run->scan->stop = true;
	SpinLockRelease(&run->scan->mutex);
	wake_readers();
	while (any_running())
	{
		int			events;

		if (!terminated &&
			TimestampDifferenceExceeds(began, GetCurrentTimestamp(),
									   STOP_DRAIN_MS))
		{
			terminated = true;
			for (int i = 1; i < run->scan->nreaders; i++)
				if (is_running(i))
					TerminateBackgroundWorker(run->handles[i]);
		}
		events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						   WL_POSTMASTER_DEATH, 100, PG_WAIT_EXTENSION);
		if (events & WL_POSTMASTER_DEATH)
			break;
		ResetLatch(MyLatch);
		collect_ranges();
	}
	collect_ranges();
}

static bool
start_reader(dsm_segment *segment, int i)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &i, sizeof(i));
	strlcpy(worker.bgw_library_name, "$libdir/wal2kafka_stream",
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "snapshot_worker_main",
			sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "wal2kafka snapshot of %s", run->start.stream->name);
	strlcpy(worker.bgw_type, "wal2kafka snapshot", sizeof(worker.bgw_type));
	return RegisterDynamicBackgroundWorker(&worker, &run->handles[i]);
}

static void
start_readers(dsm_segment *segment)
{
	for (int i = 1; i < run->scan->nreaders; i++)
	{
		if (start_reader(segment, i))
			continue;
		run->handles[i] = NULL;
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" reads its tables with %d processes, not %d: there is no free background worker slot",
						run->start.stream->name, i, run->scan->nreaders),
				 errhint("Raise \"max_worker_processes\", or lower wal2kafka.snapshot_workers.")));
		break;
	}
}

/* ---- reading ---- */

/*
 * How many processes it takes: small tables are not worth another one.
 */
static int
choose_readers(void)
{
	uint64		blocks = 0;

	for (int i = 0; i < run->ntables; i++)
		blocks += run->tables[i].blocks;
	return Max(1, Min(run->start.settings->snapshot_workers,
					  (int) Min(blocks / BLOCKS_PER_READER,
								SNAPSHOT_MAX_READERS)));
}

/*
 * Make what the processes share.  NULL: there is only this one, and it is in
 * its own memory.
 */
static dsm_segment *
make_scan(void)
{
	Snapshot	snapshot = GetActiveSnapshot();
	int			nreaders = choose_readers();
	Size		tables_at = MAXALIGN(sizeof(SnapshotScan));
	Size		snapshot_at = tables_at +
		MAXALIGN(sizeof(ScanTable) * run->ntables);
	Size		size = snapshot_at + EstimateSnapshotSpace(snapshot);
	dsm_segment *segment = NULL;
	SnapshotScan *scan;

	if (nreaders > 1)
		segment = dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (segment != NULL)
	{
		dsm_pin_mapping(segment);
		scan = dsm_segment_address(segment);
	}
	else
	{
		nreaders = 1;
		scan = palloc(size);
	}
	memset(scan, 0, size);
	scan->stream = run->start.stream - shared_state_stream(0);
	scan->leader = MyProcPid;
	scan->consistent_point = run->consistent_point;
	scan->xid = snapshot->xmax;
	scan->begin_time = run->begin_time;
	scan->ntables = run->ntables;
	scan->nreaders = nreaders;
	strlcpy(scan->slot_name, run->start.slot_name, NAMEDATALEN);
	strlcpy(scan->request, run->job->request, SNAPSHOT_REQUEST_SIZE);
	scan->tables_at = tables_at;
	scan->snapshot_at = snapshot_at;
	LWLockInitialize(&scan->counters_lock, LWLockNewTrancheId());
	SpinLockInit(&scan->mutex);
	scan->leader_latch = MyLatch;
	memcpy(scan_tables(scan), run->plan, sizeof(ScanTable) * run->ntables);
	SerializeSnapshot(snapshot, scan_snapshot(scan));
	run->scan = scan;
	return segment;
}

/*
 * Has something happened that asks for another worker?  Between rows.
 */
static void
check_settings(TimestampTz now)
{
	if (run->stop != NULL ||
		!TimestampDifferenceExceeds(run->settings_at, now,
									SETTINGS_INTERVAL_MS))
		return;
	run->settings_at = now;
	if (settings_catalog_digest(MyDatabaseId, GetSessionUserId()) !=
		run->start.settings_digest)
		run->stop = "settings changed";
}

/*
 * Has nobody taken records for so long that the rest should wait without a
 * snapshot?
 */
static void
watch_outage(TimestampTz now)
{
	StreamWait	waiting_for = run->start.stream->waiting_for;
	bool		away = waiting_for == STREAM_WAIT_BROKER ||
		waiting_for == STREAM_WAIT_REGISTRY;

	for (int i = 1; run->scan != NULL && i < run->scan->nreaders; i++)
	{
		SpinLockAcquire(&run->scan->mutex);
		waiting_for = run->scan->readers[i].waiting_for;
		SpinLockRelease(&run->scan->mutex);
		away |= waiting_for == STREAM_WAIT_BROKER ||
			waiting_for == STREAM_WAIT_REGISTRY;
	}
	if (!away)
		run->away_since = 0;
	else if (run->away_since == 0)
		run->away_since = now;
	else if (TimestampDifferenceExceeds(run->away_since, now, OUTAGE_MS))
		run->stop = "Kafka or the registry has been away for a minute; the rest of the snapshot is read while streaming, so that it does not keep vacuum waiting";
}

/*
 * What is retained while tables are read goes on growing.  When it is too
 * much, changes have their turn, and the rest of the tables after that.
 */
static void
watch_retained(void)
{
	const WalGuard *guard = &run->start.stream->guard;

	if (run->scanner != NULL && run->stop == NULL && guard->exceeded &&
		guard->action == RETAINED_WAL_PAUSE_SNAPSHOT)
		run->stop = "its slot retains more WAL than wal2kafka.max_retained_wal; the rest of the snapshot is read while streaming";
}

const char *
snapshot_service(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (run == NULL)
		return NULL;
	if (run->scanner != NULL &&
		TimestampDifferenceExceeds(run->looked_at, now, LOOK_INTERVAL_MS))
	{
		run->looked_at = now;
		collect_ranges();
		note_begun_tables();
		publish(now);
		if (TimestampDifferenceExceeds(run->saved_at, now, SAVE_INTERVAL_MS))
			save_progress(now);
		look_at_readers();
	}
	watch_outage(now);
	watch_retained();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		if (!settings_equal(run->start.settings, &wal2kafka_settings))
			run->stop = "settings changed";
	}
	if (run->start.stream->restart_requested)
		run->stop = "requested";

	if (run->stop == NULL)
		return NULL;

	/* what waits for Kafka, or takes long, does not end its range */
	if (run->stop_at == 0)
		run->stop_at = now;
	if (run->start.stream->waiting_for != STREAM_WAIT_NOTHING ||
		TimestampDifferenceExceeds(run->stop_at, now, STOP_DELAY_MS))
		return run->stop;
	return NULL;
}

static void
wait_a_moment(void)
{
	scanner_relieve(run->scanner);
	delivery_wait(run->start.delivery, LOOK_INTERVAL_MS);
	run->looked_at = 0;
	delivery_service(run->start.delivery);
}

static ScanReaderState
reader_state(int i, bool *holds_row)
{
	ScanReader *reader = &run->scan->readers[i];
	ScanReaderState state;

	SpinLockAcquire(&run->scan->mutex);
	state = reader->state;
	*holds_row = reader->holds_row;
	SpinLockRelease(&run->scan->mutex);
	return state;
}

/*
 * Let a process send the row that it holds back, and wait for its end.
 */
static void
flush_reader(int i, bool last)
{
	bool		holds_row;

	if (!is_running(i) || reader_state(i, &holds_row) != SCAN_WAITING)
		return;
	SpinLockAcquire(&run->scan->mutex);
	run->scan->readers[i].state = last ? SCAN_FLUSHING_LAST : SCAN_FLUSHING;
	SpinLockRelease(&run->scan->mutex);
	wake_readers();
	while (run->stop == NULL && reader_state(i, &holds_row) != SCAN_DONE)
		wait_a_moment();
}

/*
 * No range is left.  The last row of all comes when everything else is in
 * Kafka, from this process, or where that holds none back, from another one.
 */
static void
finish_readers(void)
{
	int			last = scanner_holds_row(run->scanner) ? 0 : -1;
	bool		holds_row;

	for (int i = 1; i < run->scan->nreaders; i++)
	{
		while (run->stop == NULL && is_running(i) &&
			   reader_state(i, &holds_row) < SCAN_WAITING)
			wait_a_moment();
		(void) reader_state(i, &holds_row);
		if (last < 0 && holds_row)
			last = i;
	}
	for (int i = 1; i < run->scan->nreaders && run->stop == NULL; i++)
		if (i != last)
			flush_reader(i, false);
	if (run->stop != NULL)
		return;
	if (last > 0)
		flush_reader(last, true);
	else
		scanner_flush(run->scanner, true);
}

/* ---- the whole ---- */

static bool
all_over(void)
{
	for (int i = 0; i < run->ntables; i++)
		if (!run->tables[i].done)
			return false;
	return true;
}

/*
 * Wait until everything is acknowledged and noted.
 */
static void
drain(void)
{
	while (run->stop == NULL && !scanner_idle(run->scanner))
		wait_a_moment();
	while (run->stop == NULL && any_running())
		wait_a_moment();
	collect_ranges();
}

static void
complete_job(void)
{
	TimestampTz now = GetCurrentTimestamp();
	StreamState *stream = run->start.stream;

	if (!all_over())
		elog(ERROR, "the snapshot has ended with tables that are not read");
	notify_tables();
	notify("COMPLETED", NULL, 0);
	while (run->stop == NULL && !delivery_idle(run->start.delivery))
		wait_a_moment();
	run->job->ended_at = now;
	run->dirty = true;
	save_progress(now);
	KILL_POINT("snapshot_noted");
	slot_state_set_snapshot_pending(run->start.slot_name, false);
	KILL_POINT("snapshot_completed");
	publish(now);
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" completed its snapshot", stream->name),
			 errdetail("It sent " UINT64_FORMAT " rows in %.3f s, %.0f rows/s.",
					   run->rows, (now - run->begin_time) / 1e6,
					   run->rows * 1e6 / Max(now - run->begin_time, 1))));
}

static bool
any_left(void)
{
	for (int i = 0; i < run->ntables; i++)
		if (run->tables[i].left)
			return true;
	return false;
}

/*
 * Everything is read but tables that are left to the streaming worker, which
 * completes the job.
 */
static void
leave_rest(void)
{
	notify_tables();
	while (run->stop == NULL && !delivery_idle(run->start.delivery))
		wait_a_moment();
	run->dirty = true;
	save_progress(GetCurrentTimestamp());
	if (run->stop == NULL)
		run->stop = "the rest of the snapshot is read while streaming";
}

/*
 * Stop in order.  What was sent gets some time to be acknowledged.
 */
static void
break_off(void)
{
	TimestampTz began = GetCurrentTimestamp();

	stop_readers();
	if (run->start.stream->waiting_for == STREAM_WAIT_NOTHING)
	{
		scanner_flush(run->scanner, false);
		notify_tables();
		notify("ABORTED", NULL, 0);
	}
	while (!scanner_idle(run->scanner) &&
		   !TimestampDifferenceExceeds(began, GetCurrentTimestamp(),
									   STOP_DRAIN_MS))
	{
		delivery_wait(run->start.delivery, 50);
		collect_ranges();
	}
	save_progress(GetCurrentTimestamp());
}

/*
 * Any end of the process, also by an error: the other processes end, and what
 * is acknowledged by now is kept.
 */
static void
end_run(int code, Datum arg)
{
	if (run == NULL || run->scanner == NULL)
		return;
	LWLockReleaseAll();
	stop_readers();
	delivery_finish(run->start.delivery, EXIT_DRAIN_MS);
	collect_ranges();
	save_progress(GetCurrentTimestamp());
	run = NULL;
}

static void
announce_begin(void)
{
	StreamState *stream = run->start.stream;
	NotificationData list = {"data_collections", run->collections};

	SpinLockAcquire(&stream->mutex);
	stream->snapshot_tables = run->ntables;
	stream->snapshot_tables_done = 0;
	stream->snapshot_rows = 0;
	SpinLockRelease(&stream->mutex);
	stream_set_status(stream, STREAM_SNAPSHOT);
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" begins its snapshot at %X/%X",
					stream->name, LSN_FORMAT_ARGS(run->consistent_point)),
			 errdetail_plural("It reads %d table.", "It reads %d tables.",
							  run->ntables, run->ntables)));
	notify("STARTED", NULL, 0);
	notify("DATA_COLLECTIONS_RESOLVED", &list, 1);
}

/*
 * Tables without a block have no range, and are over.
 */
static void
end_empty_tables(void)
{
	for (int i = 0; i < run->ntables; i++)
		if (run->plan[i].nblocks == 0 && !run->plan[i].whole &&
			!run->tables[i].left)
		{
			run->tables[i].progress->started_at = GetCurrentTimestamp();
			table_is_over(&run->tables[i], SNAPSHOT_TABLE_DONE);
		}
}

static void
read_tables(void)
{
	dsm_segment *segment;

	/*
	 * Debezium gives its reading transaction an id and sends that.  Ours has
	 * none: whoever creates another slot would wait for its end.  The first
	 * id that the snapshot does not see says the same.
	 */
	run->decoder = decoder_create_for_snapshot(run->context,
											   run->start.settings,
											   GetActiveSnapshot()->xmax,
											   run->consistent_point,
											   run->begin_time);
	begin_job();
	announce_begin();
	end_empty_tables();
	segment = make_scan();
	run->scanner = scanner_create(run->scan, 0, run->start.delivery,
								  run->decoder);
	before_shmem_exit(end_run, (Datum) 0);
	if (segment != NULL)
	{
		/* whoever goes on after a crash has to fence them */
		run->job->readers = run->scan->nreaders;
		snapshot_progress_save(run->progress, run->start.slot_name);
		start_readers(segment);
	}

	while (run->stop == NULL && scanner_read_range(run->scanner))
	{
		check_settings(GetCurrentTimestamp());
		notify_tables();
	}
	KILL_POINT("snapshot_read");
	finish_readers();
	drain();
	KILL_POINT("snapshot_acknowledged");
	if (run->stop == NULL && any_left())
		leave_rest();
	else if (run->stop == NULL)
		complete_job();
	else
		break_off();
}

/*
 * Without a snapshot, too, it is known which tables are not new.
 */
static void
note_tables_without_data(void)
{
	RelationMap *map = relation_map_create(run->context,
										   run->start.settings,
										   run->start.database_name);

	run->progress = snapshot_progress_load(run->context,
										   run->start.slot_name);
	note_known_tables(relation_map_selected(map));
	snapshot_progress_save(run->progress, run->start.slot_name);
}

static void
make_run(const SnapshotStart *start)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "wal2kafka snapshot",
												  ALLOCSET_DEFAULT_SIZES);

	run = MemoryContextAllocZero(context, sizeof(SnapshotRun));
	run->context = context;
	run->start = *start;
	run->begin_time = run->settings_at = GetCurrentTimestamp();
	run->notifier = notifier_create(start->settings, start->database_name);
	MemoryContextSwitchTo(context);
}

const char *
snapshot_start_stream(const SnapshotStart *start)
{
	bool		with_data = start->settings->snapshot_mode != SNAPSHOT_NO_DATA;
	const char *stop;

	make_run(start);
	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	MemoryContextSwitchTo(run->context);

	run->consistent_point = create_slot(start, with_data);
	MemoryContextSwitchTo(run->context);
	if (with_data)
	{
		run->begin_time = GetCurrentTimestamp();
		PushActiveSnapshot(GetTransactionSnapshot());
		(void) slot_state_worker_started(start->slot_name);
		table_access_restrict();
		read_tables();
		table_access_lift();
		PopActiveSnapshot();
	}
	else
		note_tables_without_data();
	stop = run->stop;
	ReplicationSlotRelease();
	CommitTransactionCommand();
	if (stop == NULL)
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" starts at %X/%X with slot \"%s\"",
						start->stream->name,
						LSN_FORMAT_ARGS(run->consistent_point),
						start->slot_name)));
	run = NULL;
	return stop;
}

void
snapshot_fence_readers(Delivery *delivery, const char *slot_name)
{
	SnapshotProgress *progress = snapshot_progress_load(CurrentMemoryContext,
														slot_name);
	ListCell   *cell;

	foreach(cell, progress->jobs)
	{
		const SnapshotJob *job = lfirst(cell);
		char	   *ids[SNAPSHOT_MAX_READERS];
		int			n = 0;

		if (job->kind != SNAPSHOT_KIND_INITIAL || job->ended_at != 0)
			continue;
		for (int i = 1; i < Min(job->readers, SNAPSHOT_MAX_READERS); i++)
			ids[n++] = scan_transactional_id(slot_name, i);
		delivery_fence_others(delivery, ids, n);
	}
	MemoryContextDelete(progress->context);
}

bool
snapshot_was_begun(const char *slot_name)
{
	SnapshotProgress *progress = snapshot_progress_load(CurrentMemoryContext,
														slot_name);
	bool		result = false;
	ListCell   *cell;

	foreach(cell, progress->jobs)
	{
		SnapshotJob *job = lfirst(cell);

		if (job->kind != SNAPSHOT_KIND_INITIAL ||
			XLogRecPtrIsInvalid(job->consistent_point))
			continue;
		result = true;
		if (job->ended_at != 0)
			slot_state_set_snapshot_pending(slot_name, false);
	}
	MemoryContextDelete(progress->context);
	return result;
}
