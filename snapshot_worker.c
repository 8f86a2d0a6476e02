/*
 * snapshot_worker.c
 *		A process that reads tables for the initial snapshot beside the
 *		stream's worker.
 *
 * It has a connection as the stream's role, the leader's snapshot, and a
 * Delivery of its own.  To that it shows a StreamState of its own, too: an
 * entry of the shared array has one writer, the stream's worker.  What is
 * counted there is added to the stream's.
 */
#include "postgres.h"

#include "access/xact.h"
#include "exactly_once.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "selection.h"
#include "snapshot_reader.h"
#include "snapshot_scan.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "table_access.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* What is sent has so long to be acknowledged when the process ends. */
#define EXIT_DRAIN_MS		500

/* A range that is being read may go on for so long after the stop. */
#define STOP_DELAY_MS		2000

/* Counters are passed on this often. */
#define FORWARD_INTERVAL_US	100000

typedef struct SnapshotWorker
{
	SnapshotScan *scan;
	ScanReader *me;				/* of scan->readers */
	int			number;
	StreamState *stream;		/* the stream's */
	StreamState *own;
	Delivery   *delivery;		/* NULL until connected */
	SnapshotScanner *scanner;
	TimestampTz stop_seen;		/* 0: no stop yet */
	TimestampTz forwarded_at;
} SnapshotWorker;

static SnapshotWorker worker;
static emit_log_hook_type previous_emit_log_hook;

static void
wake_leader(void)
{
	Latch	   *latch;

	SpinLockAcquire(&worker.scan->mutex);
	latch = worker.scan->leader_latch;
	SpinLockRelease(&worker.scan->mutex);
	if (latch != NULL)
		SetLatch(latch);
}

/* Cut at a character's boundary. */
static void
copy_text(char *to, const char *from, Size size)
{
	int			len = 0;

	if (from != NULL)
	{
		len = pg_mbcliplen(from, strlen(from), size - 1);
		memcpy(to, from, len);
	}
	to[len] = '\0';
}

/*
 * The leader fails with our error: what is the stream's last error is the
 * cause.  While a stop is under way, whatever fails is its consequence.
 */
static void
note_error(ErrorData *edata)
{
	if (edata->elevel >= ERROR && worker.me != NULL)
	{
		ScanReader *me = worker.me;

		SpinLockAcquire(&worker.scan->mutex);
		if (worker.scan->stop && edata->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			edata->output_to_server = false;
		me->sqlerrcode = edata->sqlerrcode;
		copy_text(me->message, edata->message, sizeof(me->message));
		copy_text(me->detail, edata->detail, sizeof(me->detail));
		copy_text(me->hint, edata->hint, sizeof(me->hint));
		SpinLockRelease(&worker.scan->mutex);
	}
	if (previous_emit_log_hook)
		previous_emit_log_hook(edata);
}

static void
name_stream(void *arg)
{
	errcontext("stream \"%s\"", worker.stream->name);
}

/* ---- what is told to the leader ---- */

/*
 * Put ranges that are over into the mailbox, as far as there is room.
 */
static void
report_ranges(void)
{
	SnapshotRange range;
	bool		room;
	bool		any = false;

	for (;;)
	{
		/* only we add to it */
		SpinLockAcquire(&worker.scan->mutex);
		room = worker.me->nranges < SNAPSHOT_MAILBOX;
		SpinLockRelease(&worker.scan->mutex);
		if (!room || !scanner_next_over(worker.scanner, &range))
			break;
		SpinLockAcquire(&worker.scan->mutex);
		worker.me->mailbox[worker.me->nranges++] = range;
		SpinLockRelease(&worker.scan->mutex);
		any = true;
	}
	if (any)
		wake_leader();
}

static void
forward_counters(void)
{
	StreamState *own = worker.own;
	uint64		rows = worker.scanner ? scanner_rows(worker.scanner) : 0;

	delivery_publish(worker.delivery);
	SpinLockAcquire(&worker.stream->mutex);
	worker.stream->events += own->events;
	worker.stream->bytes += own->bytes;
	worker.stream->errors += own->errors;
	worker.stream->skipped_events += own->skipped_events;
	worker.stream->dead_letters += own->dead_letters;
	worker.stream->truncated_events += own->truncated_events;
	SpinLockRelease(&worker.stream->mutex);
	own->events = own->bytes = own->errors = 0;
	own->skipped_events = own->dead_letters = own->truncated_events = 0;

	SpinLockAcquire(&worker.scan->mutex);
	worker.me->rows += rows;
	worker.me->waiting_for = own->waiting_for;
	SpinLockRelease(&worker.scan->mutex);
}

/*
 * The leader has stopped: leave at the end of a range, and what waits for
 * Kafka or takes long leaves at once.
 */
static void
check_stop(bool at_once)
{
	bool		stop;

	SpinLockAcquire(&worker.scan->mutex);
	stop = worker.scan->stop;
	SpinLockRelease(&worker.scan->mutex);
	if (!stop)
		return;
	if (worker.stop_seen == 0)
		worker.stop_seen = GetCurrentTimestamp();
	if (at_once || worker.own->waiting_for != STREAM_WAIT_NOTHING ||
		TimestampDifferenceExceeds(worker.stop_seen, GetCurrentTimestamp(),
								   STOP_DELAY_MS))
		proc_exit(0);
}

/*
 * Called by delivery_service(), also while a row is being sent.
 */
static void
service(void *arg)
{
	TimestampTz now = GetCurrentTimestamp();

	if (worker.scanner != NULL)
		report_ranges();
	if (now - worker.forwarded_at >= FORWARD_INTERVAL_US)
	{
		worker.forwarded_at = now;
		forward_counters();
	}
	check_stop(false);
}

/*
 * Add what was counted of tables to the stream's counters, where nobody else
 * counts at that moment.
 */
static void
add_table_counters(void)
{
	TableStatsArray *from = stream_attach_tables(worker.own, 0);
	TableStatsArray *to = stream_attach_tables(worker.stream, 0);
	uint32		used = pg_atomic_read_u32(&from->used);

	LWLockAcquire(&worker.scan->counters_lock, LW_EXCLUSIVE);
	for (uint32 i = 0; i < used; i++)
	{
		const TableStats *table = &from->entries[i];
		TableStats *sum = stream_table(to, table->relid, table->schema_name,
									   table->table_name);

		if (sum == NULL)
			continue;
		if (sum->value_schema_id == 0)
		{
			sum->key_schema_id = table->key_schema_id;
			sum->value_schema_id = table->value_schema_id;
		}
		sum->events += table->events;
		sum->bytes += table->bytes;
		sum->no_identity += table->no_identity;
		sum->skipped += table->skipped;
		sum->dead_letters += table->dead_letters;
		sum->truncated += table->truncated;
		sum->last_change = Max(sum->last_change, table->last_change);
	}
	LWLockRelease(&worker.scan->counters_lock);
}

/*
 * Whatever the reason: what is acknowledged by now counts.
 */
static void
worker_exit(int code, Datum arg)
{
	LWLockReleaseAll();
	if (worker.delivery != NULL)
	{
		delivery_finish(worker.delivery, EXIT_DRAIN_MS);
		if (worker.scanner != NULL)
			report_ranges();
	}
	if (worker.own->tables != DSM_HANDLE_INVALID)
		dsm_unpin_segment(worker.own->tables);
	SpinLockAcquire(&worker.scan->mutex);
	worker.me->latch = NULL;
	SpinLockRelease(&worker.scan->mutex);
	wake_leader();
}

/* ---- start ---- */

/*
 * The stream's entry as it is now, with counters at zero.
 */
static StreamState *
make_own_state(StreamState *stream)
{
	StreamState *own = MemoryContextAllocZero(TopMemoryContext,
											  sizeof(StreamState));

	SpinLockInit(&own->mutex);
	strlcpy(own->name, stream->name, sizeof(own->name));

	/* what Kafka has refused is known of the slot */
	strlcpy(own->slot_name, worker.scan->slot_name, sizeof(own->slot_name));
	own->database = stream->database;
	own->role = stream->role;
	own->pid = MyProcPid;
	own->tables = DSM_HANDLE_INVALID;
	pg_atomic_init_u32(&own->asleep, 0);
	pg_atomic_init_u64(&own->async_commit_lsn, 0);
	for (int i = 0; i < LATENCY_BUCKETS; i++)
		pg_atomic_init_u64(&own->latency[i], 0);
	return own;
}

/*
 * Our number is in bgw_extra.  False if the leader has given up meanwhile.
 */
static bool
attach(dsm_handle handle)
{
	dsm_segment *segment = dsm_attach(handle);
	bool		stop;

	if (segment == NULL)
		return false;
	worker.scan = dsm_segment_address(segment);
	memcpy(&worker.number, MyBgworkerEntry->bgw_extra, sizeof(int));
	worker.stream = shared_state_stream(worker.scan->stream);
	worker.own = make_own_state(worker.stream);
	worker.me = &worker.scan->readers[worker.number];
	SpinLockAcquire(&worker.scan->mutex);
	worker.me->pid = MyProcPid;
	stop = worker.scan->stop;
	SpinLockRelease(&worker.scan->mutex);
	return !stop;
}

/*
 * Begin a transaction that sees what the leader's sees.
 */
static void
begin_reading(const Settings *settings)
{
	PGPROC	   *leader = BackendPidGetProc(worker.scan->leader);
	MemoryContext cxt;
	Decoder    *decoder;

	if (leader == NULL)
		proc_exit(0);
	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	RestoreTransactionSnapshot(RestoreSnapshot(scan_snapshot(worker.scan)),
							   leader);
	PushActiveSnapshot(GetTransactionSnapshot());
	table_access_restrict();

	cxt = AllocSetContextCreate(TopMemoryContext, "wal2kafka snapshot",
								ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(cxt);
	decoder = decoder_create_for_snapshot(cxt, settings, worker.scan->xid,
										  worker.scan->consistent_point,
										  worker.scan->begin_time);
	worker.scanner = scanner_create(worker.scan, worker.number,
									worker.delivery, decoder);
}

/* ---- the work ---- */

static ScanReaderState
set_state(ScanReaderState state)
{
	SpinLockAcquire(&worker.scan->mutex);
	worker.me->state = state;
	worker.me->holds_row = scanner_holds_row(worker.scanner);
	SpinLockRelease(&worker.scan->mutex);
	wake_leader();
	return state;
}

static ScanReaderState
get_state(void)
{
	ScanReaderState state;

	SpinLockAcquire(&worker.scan->mutex);
	state = worker.me->state;
	SpinLockRelease(&worker.scan->mutex);
	return state;
}

/*
 * The row that is held back goes out when the leader says as what.
 */
static void
finish_reading(void)
{
	ScanReaderState state = set_state(SCAN_WAITING);

	while (state == SCAN_WAITING)
	{
		delivery_wait(worker.delivery, 1000);
		check_stop(true);
		scanner_relieve(worker.scanner);
		state = get_state();
	}
	scanner_flush(worker.scanner, state == SCAN_FLUSHING_LAST);
	while (!scanner_idle(worker.scanner))
	{
		delivery_wait(worker.delivery, 100);
		check_stop(false);
	}
	forward_counters();
	add_table_counters();
	(void) set_state(SCAN_DONE);
}

void
snapshot_worker_main(Datum main_arg)
{
	DeliveryConfig config = {.service = service};
	static ErrorContextCallback context;
	const Settings *settings;

	if (!attach(DatumGetUInt32(main_arg)))
		proc_exit(0);
	previous_emit_log_hook = emit_log_hook;
	emit_log_hook = note_error;
	context.callback = name_stream;
	context.previous = error_context_stack;
	error_context_stack = &context;
	before_shmem_exit(worker_exit, (Datum) 0);

	settings = snapshot_reader_connect(worker.stream);
	pgstat_report_activity(STATE_RUNNING, "reading tables for a snapshot");
	config.stream = worker.own;
	config.settings = settings;
	config.schemas_topic =
		selection_schemas_topic(settings, NameStr(worker.stream->database));
	if (settings->delivery == DELIVERY_EXACTLY_ONCE)
	{
		config.progress_topic =
			exactly_once_topic(settings, NameStr(worker.stream->database));
		config.transactional_id =
			scan_transactional_id(worker.scan->slot_name, worker.number);
	}
	worker.delivery = delivery_create(&config);
	if (delivery_exactly_once(worker.delivery))
		delivery_fence(worker.delivery);
	begin_reading(settings);
	do
	{
		check_stop(true);
	} while (scanner_read_range(worker.scanner));
	finish_reading();
	table_access_lift();
	PopActiveSnapshot();
	CommitTransactionCommand();
	proc_exit(0);
}
