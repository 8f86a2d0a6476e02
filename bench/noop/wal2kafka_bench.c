/*
 * wal2kafka_bench.c
 *		What the benchmark compares wal2kafka with: nothing.
 *
 * An output plugin that counts changes and writes nothing, and a background
 * worker that decodes a slot through it as the worker of wal2kafka does: in
 * process, outside any transaction, with a page_read that never waits.  Its
 * cost is what the server itself needs to read WAL and to put transactions
 * together, the limit for everything that decodes.
 *
 * A slot of wal2kafka is decoded by the same worker into a sink that counts
 * events and drops them: what our decoding costs without Kafka.
 *
 * And a stopwatch for the commit callback of wal2kafka.  The server calls
 * transaction callbacks in the reverse order of their registration, so one
 * that is registered before those of wal2kafka (this library is preloaded
 * first) and one that is registered after them (by bench_commit_start() in
 * the session) have exactly them between each other.  It counts CPU time:
 * a worker that is woken may take the CPU before we have the next reading.
 */
#include "postgres.h"

#include <sys/resource.h>
#include <time.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogreader.h"
#include "access/xlogrecovery.h"
#include "access/xlogutils.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/output_plugin.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/resowner.h"

#include "../../compat.h"
#include "../../event.h"

PG_MODULE_MAGIC;

/* What the SQL function asks and the worker answers, in a DSM segment. */
typedef struct DecodeRun
{
	Oid			database;
	NameData	slot;
	XLogRecPtr	upto;			/* decode up to here */

	bool		done;			/* the fields below are valid */
	int64		rows;
	int64		transactions;
	double		wall;			/* seconds, decoding alone */
	double		cpu;			/* user and system */
	int64		max_rss;		/* kB, all of the process */
} DecodeRun;

/* Of the plugin; there is one decoding session in a process. */
static int64 decoded_rows;
static int64 decoded_transactions;

/* Of the stopwatch */
#define NO_TIME (-1)
static int64 commit_started = NO_TIME;
static int32 *commit_times;		/* ns of CPU, while armed */
static int	commit_times_size;
static int	commit_times_used;

PGDLLEXPORT void _PG_init(void);
PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);
PGDLLEXPORT void bench_decode_main(Datum arg);

PG_FUNCTION_INFO_V1(bench_decode);
PG_FUNCTION_INFO_V1(bench_commit_start);
PG_FUNCTION_INFO_V1(bench_commit_times);

/* ----------
 * The plugin
 * ----------
 */
static void
noop_startup(LogicalDecodingContext *ctx, OutputPluginOptions *opt, bool is_init)
{
	opt->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
}

static void
noop_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
}

static void
noop_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			Relation relation, ReorderBufferChange *change)
{
	decoded_rows++;
}

static void
noop_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			XLogRecPtr commit_lsn)
{
	decoded_transactions++;
}

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = noop_startup;
	cb->begin_cb = noop_begin;
	cb->change_cb = noop_change;
	cb->commit_cb = noop_commit;
}

/* ----------
 * The sink
 * ----------
 */
static void
discard_transaction(EventSink *sink, const EventTransaction *txn)
{
}

static void
count_commit(EventSink *sink, const EventTransaction *txn)
{
	decoded_transactions++;
}

static void
count_event(EventSink *sink, const Event *event)
{
	decoded_rows++;
}

static void
discard_target(EventSink *sink, EventTarget *target)
{
}

/*
 * Let wal2kafka's events come to us.  Its library reads the variable when a
 * decoding context is created.
 */
static void
register_sink(void)
{
	static EventSink discarding = {
		.begin = discard_transaction,
		.emit = count_event,
		.commit = count_commit,
		.release = discard_target,
	};
	EventSink **variable;

	variable = (EventSink **) load_external_function("$libdir/wal2kafka_stream",
													 "event_sink", true, NULL);
	*variable = &discarding;
}

/* ----------
 * Decoding in process
 * ----------
 */

/* page_read: -1 instead of waiting; all that is asked for is flushed. */
static int
bench_page_read(XLogReaderState *state, XLogRecPtr page, int req_len,
				XLogRecPtr target, char *buf)
{
	static XLogRecPtr flushed = InvalidXLogRecPtr;
	static TimeLineID tli = 0;
	WALReadError error;
	int			count;

	if (flushed < page + req_len)
		flushed = GetFlushRecPtr(&tli);
	if (flushed < page + req_len)
		return -1;

	XLogReadDetermineTimeline(state, page, req_len, tli);
	count = Min(flushed - page, XLOG_BLCKSZ);
	if (!WALRead(state, buf, page, count, tli, &error))
		WALReadRaiseError(&error);
	return count;
}

static double
seconds(struct timeval t)
{
	return t.tv_sec + t.tv_usec / 1e6;
}

static int64
now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64) t.tv_sec * 1000000000 + t.tv_nsec;
}

static void
decode_all(LogicalDecodingContext *ctx, XLogRecPtr upto)
{
	MemoryContext loop_context = CurrentMemoryContext;

	XLogBeginRead(ctx->reader, MyReplicationSlot->data.restart_lsn);
	InvalidateSystemCaches();
	while (ctx->reader->EndRecPtr < upto)
	{
		char	   *error = NULL;

		if (XLogReadRecord(ctx->reader, &error) == NULL)
		{
			if (error)
				elog(ERROR, "could not read WAL: %s", error);
			break;
		}
		LogicalDecodingProcessRecord(ctx, ctx->reader);
		MemoryContextSwitchTo(loop_context);
		CHECK_FOR_INTERRUPTS();
	}
}

void
bench_decode_main(Datum arg)
{
	LogicalDecodingContext *ctx;
	struct rusage before,
				after;
	dsm_segment *segment;
	DecodeRun  *run;
	int64		started;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	CurrentResourceOwner = ResourceOwnerCreate(NULL, "wal2kafka_bench");
	segment = dsm_attach(DatumGetUInt32(arg));
	if (segment == NULL)
		elog(ERROR, "the session that asked is gone");
	run = dsm_segment_address(segment);
	BackgroundWorkerInitializeConnectionByOid(run->database, InvalidOid, 0);

	CurrentMemoryContext = AllocSetContextCreate(TopMemoryContext,
												 "wal2kafka_bench",
												 ALLOCSET_DEFAULT_SIZES);
	CheckLogicalDecodingRequirements();
	compat_slot_acquire(NameStr(run->slot));
	if (strcmp(NameStr(MyReplicationSlot->data.plugin), "wal2kafka") == 0)
		register_sink();
	ctx = CreateDecodingContext(InvalidXLogRecPtr, NIL, false,
								XL_ROUTINE(.page_read = bench_page_read,
										   .segment_open = wal_segment_open,
										   .segment_close = wal_segment_close),
								NULL, NULL, NULL);

	getrusage(RUSAGE_SELF, &before);
	started = now_ns(CLOCK_MONOTONIC);
	decode_all(ctx, run->upto);
	run->wall = (now_ns(CLOCK_MONOTONIC) - started) / 1e9;
	getrusage(RUSAGE_SELF, &after);

	run->cpu = seconds(after.ru_utime) - seconds(before.ru_utime) +
		seconds(after.ru_stime) - seconds(before.ru_stime);
	run->max_rss = after.ru_maxrss;
	run->rows = decoded_rows;
	run->transactions = decoded_transactions;
	run->done = true;

	FreeDecodingContext(ctx);
	ReplicationSlotRelease();
	dsm_detach(segment);
}

/*
 * bench_decode(slot name, upto pg_lsn): decode the slot in a background
 * worker and wait for its end.  The slot does not move.
 */
Datum
bench_decode(PG_FUNCTION_ARGS)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	dsm_segment *segment;
	DecodeRun  *run;
	TupleDesc	tupdesc;
	Datum		values[5];
	bool		nulls[5] = {0};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	segment = dsm_create(sizeof(DecodeRun), 0);
	run = dsm_segment_address(segment);
	memset(run, 0, sizeof(DecodeRun));
	run->database = MyDatabaseId;
	run->slot = *PG_GETARG_NAME(0);
	run->upto = PG_GETARG_LSN(1);

	strlcpy(worker.bgw_name, "wal2kafka benchmark limit", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "wal2kafka benchmark limit", BGW_MAXLEN);
	strcpy(worker.bgw_library_name, "wal2kafka_bench");
	strcpy(worker.bgw_function_name, "bench_decode_main");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start a background worker"),
				 errhint("Raise max_worker_processes.")));
	if (WaitForBackgroundWorkerShutdown(handle) != BGWH_STOPPED || !run->done)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("the background worker failed"),
				 errhint("The server's log has its error.")));

	values[0] = Int64GetDatum(run->rows);
	values[1] = Int64GetDatum(run->transactions);
	values[2] = Float8GetDatum(run->wall);
	values[3] = Float8GetDatum(run->cpu);
	values[4] = Int64GetDatum(run->max_rss);
	dsm_detach(segment);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc),
													  values, nulls)));
}

/* ----------
 * The stopwatch
 * ----------
 */

/* Registered last, runs first */
static void
before_callbacks(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && commit_times)
		commit_started = now_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Registered first, runs last */
static void
after_callbacks(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT || commit_started == NO_TIME)
		return;
	if (commit_times_used < commit_times_size)
		commit_times[commit_times_used++] =
			now_ns(CLOCK_THREAD_CPUTIME_ID) - commit_started;
	commit_started = NO_TIME;
}

void
_PG_init(void)
{
	if (process_shared_preload_libraries_in_progress)
		RegisterXactCallback(after_callbacks, NULL);
}

/*
 * bench_commit_start(n): take the CPU time of the callbacks of this session's
 * next n commits.
 */
Datum
bench_commit_start(PG_FUNCTION_ARGS)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(before_callbacks, NULL);
	registered = true;
	if (commit_times)
		pfree(commit_times);
	commit_times_size = PG_GETARG_INT32(0);
	commit_times = MemoryContextAlloc(TopMemoryContext,
									  sizeof(int32) * commit_times_size);
	commit_times_used = 0;
	PG_RETURN_VOID();
}

/* bench_commit_times(): ns of each, the stopwatch's own cost included */
Datum
bench_commit_times(PG_FUNCTION_ARGS)
{
	Datum	   *times = palloc(sizeof(Datum) * (commit_times_used + 1));

	for (int i = 0; i < commit_times_used; i++)
		times[i] = Int32GetDatum(commit_times[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(times, commit_times_used, INT4OID,
										  sizeof(int32), true, TYPALIGN_INT));
}
