/*
 * place.c
 *		Snapshots of the tables that are exactly a place in the stream.
 *
 * Which commits must a snapshot be given to see just those before a place?
 * It was taken before the place, and the WAL had been written up to "wanted"
 * then.  What it sees was committed before "wanted", so it sees no commit
 * behind the place.  What it does not see, but was committed before the
 * place, is of two kinds:
 *
 * - The worker met the commit since it began to track.  It names these.
 * - The worker met it before that, and yet the transaction was still in the
 *   array of running ones when the snapshot was taken: it is on its way out,
 *   perhaps for long (synchronous replication).  The requester finds these
 *   once, when the worker tracks already: it lets whoever is between its
 *   commit's record and its entry in pg_xact pass (as a checkpoint does), and
 *   then asks pg_xact about all that run.  The commit of a transaction that
 *   is committed there is before every place that is wanted later; that of
 *   one that is not, is met by the worker.
 *
 * A transaction that is added to a snapshot must have left the array of
 * running ones before the snapshot is used.  Else the server would take it
 * for aborted, and note that in the row for good.
 *
 * The worker forgets commits of transactions that are over, but only while
 * nobody is between taking a snapshot and the answer: they cannot be running
 * in a snapshot to come.
 */
#include "postgres.h"

#include "access/subtrans.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "compat.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "place.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Commits that the worker keeps before it looks which ones it can forget. */
#define PRUNE_XIDS		4096

/*
 * How long a requester waits for a place.  It holds a snapshot and a lock
 * meanwhile, and the worker may wait for a broker.
 */
#define GIVE_UP_MS		5000

/* How long for transactions to end; changes of the table may wait for it. */
#define LEAVE_MS		1000

/* A snapshot's list of running transactions must stay one to search through. */
#define MAX_RUNNING		(1024 * 1024)

Size
place_exchange_size(Size offsets_size)
{
	return add_size(sizeof(PlaceExchange), offsets_size);
}

void
place_exchange_init(PlaceExchange *exchange, Size offsets_size)
{
	memset(exchange, 0, offsetof(PlaceExchange, xids));
	SpinLockInit(&exchange->mutex);
	exchange->offsets_size = offsets_size;
}

/* ---------------------------------------------------------------------
 * The requester
 * --------------------------------------------------------------------- */

/*
 * Allocated where place_session_begin() was called; private to the process.
 */
struct PlaceSession
{
	StreamState *stream;
	PlaceExchange *exchange;
	pid_t		worker;			/* whose places these are */
	int			nleaving;		/* committed before any place, but running */
	TransactionId *leaving;		/* ... when the session began; sorted */
};

static int
compare_xids(const void *a, const void *b)
{
	TransactionId x = *(const TransactionId *) a;
	TransactionId y = *(const TransactionId *) b;

	return (x > y) - (x < y);
}

static bool
has_xid(const TransactionId *xids, int n, TransactionId xid)
{
	return n > 0 &&
		bsearch(&xid, xids, n, sizeof(TransactionId), compare_xids) != NULL;
}

/*
 * The worker's process ID while it streams, else 0.
 */
static pid_t
streaming_worker(StreamState *stream)
{
	pid_t		result;

	SpinLockAcquire(&stream->mutex);
	result = stream->status == STREAM_STREAMING ? stream->pid : 0;
	SpinLockRelease(&stream->mutex);
	return result;
}

static void
raise_no_worker(const StreamState *stream)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stream \"%s\" has no worker that streams",
					stream->name),
			 errhint("See wal2kafka.stat_streams for its state.")));
}

/*
 * Sleep until the worker may have done something.  Raises when it is gone.
 */
static void
wait_for_worker(PlaceSession *session)
{
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (streaming_worker(session->stream) != session->worker)
		raise_no_worker(session->stream);
}

/*
 * Let those pass that are between the record of their commit and its entry in
 * pg_xact.  Nothing tells when they are through; it is the time of a flush.
 */
static void
wait_for_commits_under_way(void)
{
	VirtualTransactionId *vxids;
	int			n;

	vxids = GetVirtualXIDsDelayingChkpt(&n, DELAY_CHKPT_START);
	while (n > 0 && HaveVirtualXIDsDelayingChkpt(vxids, n, DELAY_CHKPT_START))
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000L);
	}
	pfree(vxids);
}

static void
add_if_committed(PlaceSession *session, TransactionId xid)
{
	if (!TransactionIdDidCommit(xid))
		return;
	if ((session->nleaving & (session->nleaving + 1)) == 0)
		session->leaving = session->leaving == NULL ?
			palloc(sizeof(TransactionId)) :
			repalloc(session->leaving, sizeof(TransactionId) *
					 (session->nleaving + 1) * 2);
	session->leaving[session->nleaving++] = xid;
}

/*
 * Transactions whose commit the worker may have met before it tracked, and
 * which a snapshot may still take for running.
 */
static void
find_leaving(PlaceSession *session)
{
	Snapshot	snapshot;
	TransactionId next;

	wait_for_commits_under_way();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	next = ReadNextTransactionId();
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		add_if_committed(session, snapshot->xip[i]);
	if (!snapshot->suboverflowed)
		for (int i = 0; i < snapshot->subxcnt; i++)
			add_if_committed(session, snapshot->subxip[i]);

	/* running, but younger than all that are over: in neither list */
	for (TransactionId xid = snapshot->xmax; TransactionIdPrecedes(xid, next);)
	{
		CHECK_FOR_INTERRUPTS();
		add_if_committed(session, xid);
		TransactionIdAdvance(xid);
	}
	UnregisterSnapshot(snapshot);
	if (session->nleaving > 0)
		qsort(session->leaving, session->nleaving, sizeof(TransactionId),
			  compare_xids);
}

PlaceSession *
place_session_begin(StreamState *stream, PlaceExchange *exchange)
{
	MemoryContext old = CurrentMemoryContext;
	PlaceSession *session = palloc0(sizeof(PlaceSession));
	bool		own = !IsTransactionState();

	/* the snapshots of a standby have no list of who commits */
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("tables cannot be read beside the changes on a standby"),
				 errhint("Ask a stream of the primary server.")));

	session->stream = stream;
	session->exchange = exchange;
	session->worker = streaming_worker(stream);
	if (session->worker == 0)
		raise_no_worker(stream);

	SpinLockAcquire(&exchange->mutex);
	exchange->pid = MyProcPid;
	exchange->latch = MyLatch;
	SpinLockRelease(&exchange->mutex);
	stream_wake(stream);
	for (;;)
	{
		pid_t		tracked_by;

		/* one that ended meanwhile may have, but its places are not asked for */
		SpinLockAcquire(&exchange->mutex);
		tracked_by = exchange->tracked_by;
		SpinLockRelease(&exchange->mutex);
		if (tracked_by == session->worker)
			break;
		wait_for_worker(session);
	}

	if (own)
		StartTransactionCommand();
	MemoryContextSwitchTo(old);
	find_leaving(session);
	if (own)
		CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return session;
}

static void
set_state(PlaceExchange *exchange, PlaceState state)
{
	SpinLockAcquire(&exchange->mutex);
	exchange->state = state;
	SpinLockRelease(&exchange->mutex);
}

static PlaceState
get_state(PlaceExchange *exchange)
{
	PlaceState	state;

	SpinLockAcquire(&exchange->mutex);
	state = exchange->state;
	SpinLockRelease(&exchange->mutex);
	return state;
}

void
place_taking(PlaceSession *session)
{
	set_state(session->exchange, PLACE_TAKING);
}

void
place_done(PlaceSession *session)
{
	set_state(session->exchange, PLACE_IDLE);
}

/*
 * The end of what is written: of the last record, where the position for the
 * next one is behind a page's header.
 */
static XLogRecPtr
end_of_wal(void)
{
	XLogRecPtr	result = GetXLogInsertRecPtr();
	uint32		offset = result % XLOG_BLCKSZ;
	bool		first_page = XLogSegmentOffset(result - offset,
											   wal_segment_size) == 0;

	if (offset == (first_page ? SizeOfXLogLongPHD : SizeOfXLogShortPHD))
		result -= offset;
	return result;
}

/*
 * Ask, and wait for the answer.
 */
static XLogRecPtr
ask(PlaceSession *session, Oid relid, bool want_offsets)
{
	PlaceExchange *exchange = session->exchange;
	TimestampTz began = GetCurrentTimestamp();
	XLogRecPtr	wanted = end_of_wal();
	PlaceState	state;

	SpinLockAcquire(&exchange->mutex);
	exchange->relid = relid;
	exchange->want_offsets = want_offsets;
	exchange->wanted = wanted;
	exchange->state = PLACE_WANTED;
	SpinLockRelease(&exchange->mutex);

	/* asynchronous commits that the snapshot sees may not be flushed */
	XLogFlush(wanted);
	stream_wake(session->stream);
	while ((state = get_state(exchange)) == PLACE_WANTED)
	{
		if (TimestampDifferenceExceeds(began, GetCurrentTimestamp(),
									   GIVE_UP_MS))
			break;
		wait_for_worker(session);
	}

	/* an answer that comes at this very moment is nobody's any more */
	if (state == PLACE_WANTED)
	{
		SpinLockAcquire(&exchange->mutex);
		if (exchange->state == PLACE_WANTED)
			exchange->state = PLACE_FAILED;
		state = exchange->state;
		SpinLockRelease(&exchange->mutex);
	}
	pg_read_barrier();
	if (state == PLACE_FAILED)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("stream \"%s\" gave no place for a snapshot in time",
						session->stream->name),
				 errdetail("It is far behind, or waits for something."),
				 errhint("Try again; see wal2kafka.stat_streams.")));
	return exchange->given;
}

/*
 * Is the commit of a transaction, or of the one that it is part of, among
 * those to be seen?
 */
static bool
is_seen(const TransactionId *seen, int nseen, TransactionId xid)
{
	return has_xid(seen, nseen, xid) ||
		has_xid(seen, nseen, SubTransGetTopmostTransaction(xid));
}

/*
 * All that the snapshot must see before it is used must be over.  That takes a
 * moment, but one that waits for a synchronous standby may stay for as long as
 * there is none; and the stream may wait for us.
 */
static void
wait_until_over(Snapshot base, const TransactionId *seen, int nseen)
{
	TimestampTz began = GetCurrentTimestamp();

	for (int i = 0; i < nseen; i++)
	{
		CHECK_FOR_INTERRUPTS();
		while (!TransactionIdPrecedes(seen[i], base->xmin) &&
			   TransactionIdIsInProgress(seen[i]))
		{
			if (TimestampDifferenceExceeds(began, GetCurrentTimestamp(),
										   LEAVE_MS))
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("transaction %u was committed, but does not end",
								seen[i]),
						 errdetail("It may wait for a synchronous standby."),
						 errhint("Try again.")));
			(void) WaitLatch(MyLatch,
							 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 1, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
}

/*
 * Those that were leaving when the session began are over soon, and then seen
 * by any snapshot.
 */
static void
forget_leaving(PlaceSession *session, Snapshot base)
{
	int			kept = 0;

	for (int i = 0; i < session->nleaving; i++)
		if (!TransactionIdPrecedes(session->leaving[i], base->xmin))
			session->leaving[kept++] = session->leaving[i];
	session->nleaving = kept;
}

/*
 * One past the youngest of them, if that is behind the snapshot's.
 */
static TransactionId
extend_xmax(TransactionId xmax, const TransactionId *seen, int nseen)
{
	for (int i = 0; i < nseen; i++)
	{
		if (TransactionIdFollowsOrEquals(seen[i], xmax))
		{
			xmax = seen[i];
			TransactionIdAdvance(xmax);
		}
	}
	return xmax;
}

/*
 * A copy of the snapshot that sees these transactions, too.  In one chunk in
 * TopTransactionContext, as the server's own copies are.
 */
static Snapshot
see_more(Snapshot base, const TransactionId *seen, int nseen)
{
	TransactionId xmax = extend_xmax(base->xmax, seen, nseen);
	int32		nyounger = (int32) (xmax - base->xmax);
	int			nsub = base->suboverflowed ? 0 : base->subxcnt;
	Snapshot	result;

	if (nyounger > MAX_RUNNING)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("too many transactions have begun while a snapshot was taken"),
				 errhint("Try again.")));
	result = MemoryContextAlloc(TopTransactionContext, sizeof(SnapshotData) +
								sizeof(TransactionId) *
								(base->xcnt + nsub + nyounger));
	*result = *base;
	result->xmax = xmax;
	result->xip = (TransactionId *) (result + 1);
	result->xcnt = 0;
	result->subxip = result->xip + base->xcnt + nyounger;
	result->subxcnt = 0;
	result->copied = true;
	result->active_count = 0;
	result->regd_count = 0;
	result->snapXactCompletionCount = 0;

	for (uint32 i = 0; i < base->xcnt; i++)
		if (!has_xid(seen, nseen, base->xip[i]))
			result->xip[result->xcnt++] = base->xip[i];
	for (TransactionId xid = base->xmax; TransactionIdPrecedes(xid, xmax);)
	{
		if (!is_seen(seen, nseen, xid))
			result->xip[result->xcnt++] = xid;
		TransactionIdAdvance(xid);
	}
	for (int i = 0; i < nsub; i++)
		if (!is_seen(seen, nseen, base->subxip[i]))
			result->subxip[result->subxcnt++] = base->subxip[i];
	return result;
}

Snapshot
place_take(PlaceSession *session, Snapshot base, Oid relid,
		   bool want_offsets, XLogRecPtr *place)
{
	PlaceExchange *exchange = session->exchange;
	TransactionId *seen;
	int			nseen;
	Snapshot	snapshot;

	Assert(get_state(exchange) == PLACE_TAKING);
	Assert(!base->takenDuringRecovery);
	*place = ask(session, relid, want_offsets);
	forget_leaving(session, base);

	seen = palloc(sizeof(TransactionId) *
				  Max(exchange->nxids + session->nleaving, 1));
	nseen = exchange->nxids;
	memcpy(seen, exchange->xids, sizeof(TransactionId) * nseen);
	if (session->nleaving > 0)
		memcpy(seen + nseen, session->leaving,
			   sizeof(TransactionId) * session->nleaving);
	nseen += session->nleaving;
	qsort(seen, nseen, sizeof(TransactionId), compare_xids);

	wait_until_over(base, seen, nseen);
	snapshot = RegisterSnapshot(see_more(base, seen, nseen));
	pfree(seen);
	return snapshot;
}

/* ---- being known to a worker ---- */

/* What this process has registered, for its end. */
typedef struct Registration
{
	StreamState *stream;
	dsm_handle	handle;
} Registration;

static Registration registration;

static void
clear_registration(void)
{
	StreamState *stream = registration.stream;

	if (stream == NULL)
		return;
	SpinLockAcquire(&stream->mutex);
	for (int i = 0; i < STREAM_PLACES; i++)
		if (stream->places[i] == registration.handle)
			stream->places[i] = DSM_HANDLE_INVALID;
	SpinLockRelease(&stream->mutex);
	registration.stream = NULL;
}

static void
withdraw_at_exit(int code, Datum arg)
{
	clear_registration();
}

void
place_register(StreamState *stream, dsm_handle handle)
{
	static bool exit_registered = false;
	bool		found = false;

	/* what an error left behind */
	clear_registration();
	if (!exit_registered)
	{
		before_shmem_exit(withdraw_at_exit, (Datum) 0);
		exit_registered = true;
	}
	SpinLockAcquire(&stream->mutex);
	for (int i = 0; i < STREAM_PLACES && !found; i++)
	{
		if (stream->places[i] == DSM_HANDLE_INVALID)
		{
			stream->places[i] = handle;
			found = true;
		}
	}
	SpinLockRelease(&stream->mutex);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("%d processes ask stream \"%s\" for snapshots already",
						STREAM_PLACES, stream->name),
				 errhint("Try again later.")));
	registration.stream = stream;
	registration.handle = handle;
}

void
place_withdraw(StreamState *stream, dsm_handle handle)
{
	if (registration.stream == stream && registration.handle == handle)
		clear_registration();
}

/* ---------------------------------------------------------------------
 * The worker
 * --------------------------------------------------------------------- */

/*
 * An exchange that the worker knows.  In the list known, in TopMemoryContext.
 */
typedef struct KnownExchange
{
	PlaceExchange *exchange;
	dsm_segment *segment;		/* NULL: adopted, somebody else's */
	dsm_handle	handle;			/* of segment */
} KnownExchange;

bool		place_tracking;

static StreamState *my_stream;
static void (*get_offsets) (StringInfo buf, void *arg);
static void *get_offsets_arg;
static List *known;				/* KnownExchange */

/* Commits that were met, in the order of the WAL. */
static TransactionId *committed;
static int	ncommitted;
static int	committed_size;
static int	prune_at = PRUNE_XIDS;

void
place_worker_init(StreamState *stream,
				  void (*offsets) (StringInfo buf, void *arg), void *arg)
{
	my_stream = stream;
	get_offsets = offsets;
	get_offsets_arg = arg;
}

static void
wake_requester(PlaceExchange *exchange)
{
	Latch	   *latch;

	SpinLockAcquire(&exchange->mutex);
	latch = exchange->latch;
	SpinLockRelease(&exchange->mutex);
	if (latch != NULL)
		SetLatch(latch);
}

static void
add_known(PlaceExchange *exchange, dsm_segment *segment, dsm_handle handle)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	KnownExchange *entry = palloc(sizeof(KnownExchange));

	entry->exchange = exchange;
	entry->segment = segment;
	entry->handle = handle;
	known = lappend(known, entry);
	MemoryContextSwitchTo(old);

	place_tracking = true;
	SpinLockAcquire(&exchange->mutex);
	exchange->tracked_by = MyProcPid;
	SpinLockRelease(&exchange->mutex);
	wake_requester(exchange);
}

static void
remove_known(KnownExchange *entry)
{
	known = list_delete_ptr(known, entry);
	if (entry->segment != NULL)
		dsm_detach(entry->segment);
	pfree(entry);
	if (known == NIL)
	{
		place_tracking = false;
		ncommitted = 0;
		prune_at = PRUNE_XIDS;
	}
}

void
place_adopt(PlaceExchange *exchange)
{
	add_known(exchange, NULL, DSM_HANDLE_INVALID);
}

void
place_forget(PlaceExchange *exchange)
{
	ListCell   *cell;

	foreach(cell, known)
	{
		KnownExchange *entry = lfirst(cell);

		if (entry->exchange == exchange)
		{
			remove_known(entry);
			return;
		}
	}
}

static void
attach(dsm_handle handle)
{
	dsm_segment *segment;

	/* whoever asked may be gone by now */
	segment = dsm_attach(handle);
	if (segment == NULL)
		return;
	dsm_pin_mapping(segment);
	add_known(dsm_segment_address(segment), segment, handle);
}

void
place_look(void)
{
	dsm_handle	handles[STREAM_PLACES];
	List	   *gone = NIL;
	ListCell   *cell;

	SpinLockAcquire(&my_stream->mutex);
	memcpy(handles, my_stream->places, sizeof(handles));
	SpinLockRelease(&my_stream->mutex);

	foreach(cell, known)
	{
		KnownExchange *entry = lfirst(cell);
		bool		found = entry->segment == NULL;

		for (int i = 0; i < STREAM_PLACES; i++)
		{
			if (handles[i] != DSM_HANDLE_INVALID &&
				entry->segment != NULL && entry->handle == handles[i])
			{
				handles[i] = DSM_HANDLE_INVALID;
				found = true;
			}
		}
		if (!found)
			gone = lappend(gone, entry);
	}
	foreach(cell, gone)
		remove_known(lfirst(cell));
	list_free(gone);
	for (int i = 0; i < STREAM_PLACES; i++)
		if (handles[i] != DSM_HANDLE_INVALID)
			attach(handles[i]);
}

/*
 * Is somebody between taking a snapshot and the answer?
 */
static bool
snapshot_is_taken(void)
{
	ListCell   *cell;

	foreach(cell, known)
	{
		PlaceState	state =
			get_state(((KnownExchange *) lfirst(cell))->exchange);

		if (state == PLACE_TAKING || state == PLACE_WANTED)
			return true;
	}
	return false;
}

/*
 * Forget those that no snapshot to come can take for running.  It must not
 * have been taken while we looked, either: one of them may have run then, and
 * be over now.
 */
static void
prune(void)
{
	TransactionId *running;
	int			nrunning = 0;

	if (snapshot_is_taken())
		return;
	running = palloc(sizeof(TransactionId) * Max(ncommitted, 1));
	for (int i = 0; i < ncommitted; i++)
		if (TransactionIdIsInProgress(committed[i]))
			running[nrunning++] = committed[i];
	if (!snapshot_is_taken())
	{
		memcpy(committed, running, sizeof(TransactionId) * nrunning);
		ncommitted = nrunning;
		prune_at = nrunning + PRUNE_XIDS;
	}
	pfree(running);
}

static void
add_committed(TransactionId xid)
{
	if (ncommitted == committed_size)
	{
		committed_size = Max(committed_size * 2, PRUNE_XIDS * 2);
		committed = committed == NULL ?
			MemoryContextAlloc(TopMemoryContext,
							   sizeof(TransactionId) * committed_size) :
			repalloc(committed, sizeof(TransactionId) * committed_size);
	}
	committed[ncommitted++] = xid;
}

void
place_note_record(XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record) & XLOG_XACT_OPMASK;
	xl_xact_parsed_commit parsed;

	if (XLogRecGetRmid(record) != RM_XACT_ID ||
		(info != XLOG_XACT_COMMIT && info != XLOG_XACT_COMMIT_PREPARED))
		return;
	ParseCommitRecord(XLogRecGetInfo(record),
					  (xl_xact_commit *) XLogRecGetData(record), &parsed);

	if (ncommitted >= prune_at)
		prune();
	add_committed(info == XLOG_XACT_COMMIT_PREPARED ? parsed.twophase_xid :
				  XLogRecGetXid(record));
	for (int i = 0; i < parsed.nsubxacts; i++)
		add_committed(parsed.subxacts[i]);
}

bool
place_give(PlaceExchange *exchange, XLogRecPtr position)
{
	bool		want_offsets;
	bool		failed;
	StringInfoData offsets;

	SpinLockAcquire(&exchange->mutex);
	failed = (exchange->state != PLACE_WANTED || exchange->wanted > position);
	want_offsets = exchange->want_offsets;
	SpinLockRelease(&exchange->mutex);
	if (failed)
		return false;

	failed = ncommitted > PLACE_MAX_XIDS;
	if (!failed)
	{
		/* without any there may be no array yet */
		if (ncommitted > 0)
			memcpy(exchange->xids, committed,
				   sizeof(TransactionId) * ncommitted);
		exchange->nxids = ncommitted;
	}
	if (want_offsets && !failed)
	{
		initStringInfo(&offsets);
		get_offsets(&offsets, get_offsets_arg);
		if ((Size) offsets.len > exchange->offsets_size)
			failed = true;
		else
			memcpy(place_offsets(exchange), offsets.data, offsets.len);
		exchange->offsets_len = offsets.len;
		pfree(offsets.data);
	}

	pg_write_barrier();
	SpinLockAcquire(&exchange->mutex);
	if (exchange->state != PLACE_WANTED || exchange->wanted > position)
		failed = true;			/* it gave up, and may have asked anew */
	else
	{
		exchange->given = position;
		exchange->state = failed ? PLACE_FAILED : PLACE_GIVEN;
	}
	SpinLockRelease(&exchange->mutex);
	wake_requester(exchange);
	return !failed;
}

void
place_serve(XLogRecPtr position)
{
	ListCell   *cell;

	foreach(cell, known)
	{
		KnownExchange *entry = lfirst(cell);

		if (entry->segment != NULL)
			(void) place_give(entry->exchange, position);
	}
}
