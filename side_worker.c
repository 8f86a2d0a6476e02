/*
 * side_worker.c
 *		A process beside a stream's worker that does something for one call
 *		of an SQL function.
 *
 * Errors of the process go into the segment and are raised by the call, where
 * somebody reads them; they are not in the log.
 */
#include "postgres.h"

#include "compat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "side_worker.h"
#include "snapshot_reader.h"
#include "sql_functions.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/*
 * In ms.  The caller may have a lock that the process waits for, which the
 * server would never find out.
 */
#define LOCK_TIMEOUT	"10000"

typedef struct SideTask
{
	int			stream;
	Size		payload;		/* offset in the segment */
	pid_t		caller;

	/* set by the process before it ends */
	bool		done;
	bool		failed;
	int			sqlerrcode;
	char		message[1024];
	char		detail[1024];
	char		hint[1024];
} SideTask;

/* What a session has to end when its segment goes; in TopMemoryContext. */
typedef struct SideCall
{
	StreamState *stream;
	dsm_handle	handle;
	BackgroundWorkerHandle *worker; /* NULL: not started */
} SideCall;

/* The segment's parts: exchange, texts of topics' ends, task, payload. */
static SideTask *
task_of(dsm_segment *segment)
{
	PlaceExchange *exchange = dsm_segment_address(segment);

	return (SideTask *) ((char *) exchange +
						 MAXALIGN(place_exchange_size(exchange->offsets_size)));
}

PlaceExchange *
side_worker_exchange(dsm_segment *segment)
{
	return dsm_segment_address(segment);
}

void *
side_worker_payload(dsm_segment *segment)
{
	return (char *) dsm_segment_address(segment) + task_of(segment)->payload;
}

/* ---------------------------------------------------------------------
 * The session
 * --------------------------------------------------------------------- */

StreamState *
side_worker_stream(const char *name, int *index)
{
	StreamName	found;
	StreamState *stream;

	find_stream(name, &found);
	stream = shared_state_find(found.text);
	if (stream == NULL || stream->status == STREAM_STOPPED)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no stream \"%s\"", found.text),
				 errhint("Name it in \"wal2kafka.streams\".")));
	for (*index = 0; shared_state_stream(*index) != stream; (*index)++)
		;
	return stream;
}

static void
end_call(dsm_segment *segment, Datum arg)
{
	SideCall   *call = (SideCall *) DatumGetPointer(arg);

	if (call->worker != NULL)
		TerminateBackgroundWorker(call->worker);
	place_withdraw(call->stream, call->handle);
	pfree(call);
}

/* The call of this process; valid while its segment is. */
static SideCall *current_call;

dsm_segment *
side_worker_segment(int stream, Size offsets_size, Size payload_size)
{
	Size		task = MAXALIGN(place_exchange_size(offsets_size));
	Size		payload = task + MAXALIGN(sizeof(SideTask));
	dsm_segment *segment = dsm_create(payload + payload_size, 0);
	char	   *start = dsm_segment_address(segment);
	SideCall   *call;

	place_exchange_init((PlaceExchange *) start, offsets_size);
	memset(start + task, 0, payload - task + payload_size);
	task_of(segment)->stream = stream;
	task_of(segment)->payload = payload;
	task_of(segment)->caller = MyProcPid;

	call = MemoryContextAllocZero(TopMemoryContext, sizeof(SideCall));
	call->stream = shared_state_stream(stream);
	call->handle = dsm_segment_handle(segment);
	on_dsm_detach(segment, end_call, PointerGetDatum(call));
	current_call = call;
	return segment;
}

static void
raise_task_error(const SideTask *task, const char *what)
{
	if (task->failed)
		ereport(ERROR,
				(errcode(task->sqlerrcode),
				 errmsg_internal("%s", task->message),
				 task->detail[0] != '\0' ?
				 errdetail_internal("%s", task->detail) : 0,
				 task->hint[0] != '\0' ? errhint("%s", task->hint) : 0));
	if (!task->done)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the process for %s has ended before its work was done",
						what),
				 errhint("See the server's log.")));
}

void
side_worker_run(dsm_segment *segment, const char *function, const char *what)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	MemoryContext old;
	bool		started;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "$libdir/wal2kafka_stream",
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function,
			sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "wal2kafka %s for process %d", what, MyProcPid);
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "wal2kafka %s", what);

	/* the handle is needed when the transaction's memory is gone */
	old = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &handle);
	MemoryContextSwitchTo(old);
	if (!started)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no process can be started for %s", what),
				 errhint("Raise max_worker_processes.")));
	current_call->worker = handle;
	if (WaitForBackgroundWorkerShutdown(handle) == BGWH_POSTMASTER_DIED)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("postmaster exited while a process worked for this session")));
	current_call->worker = NULL;
	pfree(handle);
	raise_task_error(task_of(segment), what);
}

/* ---------------------------------------------------------------------
 * The process
 * --------------------------------------------------------------------- */

static void
copy_message(char *dest, size_t size, const char *src)
{
	size_t		len = src != NULL ? strlen(src) : 0;

	if (len > 0)
		len = pg_mbcliplen(src, len, size - 1);
	if (len > 0)
		memcpy(dest, src, len);
	dest[len] = '\0';
}

/*
 * Keep an error for who called.
 */
static void
note_error(SideTask *task, const ErrorData *error)
{
	copy_message(task->message, sizeof(task->message), error->message);
	copy_message(task->detail, sizeof(task->detail), error->detail);
	copy_message(task->hint, sizeof(task->hint), error->hint);
	task->sqlerrcode = error->sqlerrcode;
	task->failed = true;
}

static void
do_work(SideTask *task, SideWork work, dsm_segment *segment)
{
	MemoryContext cxt = CurrentMemoryContext;

	PG_TRY();
	{
		StreamState *stream = shared_state_stream(task->stream);
		const Settings *settings = snapshot_reader_connect(stream);

		SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET,
						PGC_S_OVERRIDE);
		work(stream, settings, segment);
		task->done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		note_error(task, CopyErrorData());
		FlushErrorState();
	}
	PG_END_TRY();
}

void
side_worker_main(Datum main_arg, SideWork work)
{
	dsm_segment *segment;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "wal2kafka side worker");
	segment = dsm_attach(DatumGetUInt32(main_arg));
	if (segment != NULL)
	{
		dsm_pin_mapping(segment);
		do_work(task_of(segment), work, segment);
	}
	proc_exit(0);
}
