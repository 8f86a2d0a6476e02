/*
 * place.h
 *		Snapshots of the tables that are exactly a place in the stream.
 *
 * Whoever reads a table while its changes are streamed needs to know which
 * changes its snapshot sees.  LSNs do not tell: a commit is in the WAL, and
 * perhaps in Kafka, before the transaction leaves the array of running ones.
 * Here the two sides agree on a place, a position between two records of the
 * WAL at which the streaming worker has emitted all commits before and none
 * behind it, and the reader's snapshot is made to see just those commits.
 *
 * The reader takes an ordinary snapshot, which keeps what it needs from
 * vacuum, and says up to where the WAL was written then.  The worker, when
 * it has decoded that far, names the place where it is, and the transactions
 * whose commits it met on the way.  Those that the snapshot does not see are
 * added to it.  They are all over when the reader reads: it waits for the
 * last of them to leave.
 *
 * So nothing is compared row by row, nothing is read twice, and nothing is
 * written into the database.
 *
 * A PlaceExchange is in dynamic shared memory.  The requester makes it and
 * owns it; its mutex protects all fields but xids, which the worker writes
 * before it sets PLACE_GIVEN and the requester reads after that.
 */
#ifndef WAL2KAFKA_PLACE_H
#define WAL2KAFKA_PLACE_H

#include "postgres.h"

#include "access/xlogreader.h"
#include "preload/shared_state.h"
#include "storage/latch.h"
#include "storage/spin.h"
#include "utils/snapshot.h"

typedef enum PlaceState
{
	PLACE_IDLE,					/* nothing is asked */
	PLACE_TAKING,				/* the requester is about to take a snapshot */
	PLACE_WANTED,				/* a place at or behind "wanted" is asked for */
	PLACE_GIVEN,				/* "given" and xids hold */
	PLACE_FAILED,				/* try again: too many transactions to name */
} PlaceState;

/* Transactions that one answer can name. */
#define PLACE_MAX_XIDS		65536

typedef struct PlaceExchange
{
	slock_t		mutex;
	PlaceState	state;
	pid_t		tracked_by;		/* worker that notes commits for us; 0: none */
	pid_t		pid;			/* requester */
	Latch	   *latch;			/* requester's */

	/*
	 * A range of this table follows the place: the worker sends nothing of
	 * the table's later changes before the range's end.  InvalidOid: none.
	 */
	Oid			relid;
	XLogRecPtr	wanted;			/* by the requester */
	XLogRecPtr	given;			/* by the worker */

	/*
	 * The worker is asked to have everything before the place acknowledged,
	 * and to say where partitions end then: see place_offsets().  It tells of
	 * those that it has sent to.  Others it has not written since it began,
	 * so where they ended at any time before the place is where they end.
	 */
	bool		want_offsets;
	Size		offsets_size;	/* room behind xids; 0: none */
	Size		offsets_len;	/* text, by the worker */

	uint32		nxids;
	TransactionId xids[PLACE_MAX_XIDS];
} PlaceExchange;

/* The size of an exchange, with room for a text of topics' ends. */
extern Size place_exchange_size(Size offsets_size);

/* Make an exchange in shared memory of that size. */
extern void place_exchange_init(PlaceExchange *exchange, Size offsets_size);

/* Where the text is, offsets_len bytes without NUL. */
#define place_offsets(exchange) \
	((char *) (exchange) + sizeof(PlaceExchange))

/* ---- in the requester, a process that does not decode ---- */

typedef struct PlaceSession PlaceSession;

/*
 * Begin to ask a stream's worker for places, for the rest of the transaction
 * or process (the session is allocated in CurrentMemoryContext).  The worker
 * must know the exchange: either it gave it to this process, or
 * place_register() was called.  Waits until the worker tracks commits.  Raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE when the stream has no worker that
 * streams, or loses it.
 */
extern PlaceSession *place_session_begin(StreamState *stream,
										 PlaceExchange *exchange);

/*
 * A snapshot that sees exactly the commits before *place.  It is registered;
 * UnregisterSnapshot() it, and end with place_done().  base, a snapshot of
 * this transaction that is active or registered, keeps rows from vacuum; it
 * must have been taken between place_taking() and this call.  Locks that
 * must keep DDL out are to be taken before it.
 *
 * relid: see PlaceExchange.  Waits for the worker, and for transactions to
 * leave whose commits are before the place.  Raises as place_session_begin(),
 * and ERRCODE_T_R_SERIALIZATION_FAILURE where it failed and should be tried
 * again.
 */
extern void place_taking(PlaceSession *session);
extern Snapshot place_take(PlaceSession *session, Snapshot base, Oid relid,
						   bool want_offsets, XLogRecPtr *place);

/* The place is not needed any more; before the next place_taking(). */
extern void place_done(PlaceSession *session);

/*
 * Make an exchange known to the worker of a stream, or withdraw it (also
 * done at the end of the process).  handle is that of the segment that begins
 * with the exchange.  Raises ERRCODE_CONFIGURATION_LIMIT_EXCEEDED where too
 * many ask at once.
 */
extern void place_register(StreamState *stream, dsm_handle handle);
extern void place_withdraw(StreamState *stream, dsm_handle handle);

/* ---- in the streaming worker, between two records ---- */

/*
 * Begin, once in the process.  offsets, called for an exchange that wants
 * them, must have everything that was sent acknowledged, and append lines
 * "topic TAB partition TAB next offset" to buf; it may wait.
 */
extern void place_worker_init(StreamState *stream,
							  void (*offsets) (StringInfo buf, void *arg),
							  void *arg);

/*
 * Look for exchanges that were registered, and forget those that are gone.
 * Call it when the latch was set, and about once a second.
 */
extern void place_look(void);

/* An exchange that this process made for another one, and its end. */
extern void place_adopt(PlaceExchange *exchange);
extern void place_forget(PlaceExchange *exchange);

/* A record was read; note its commit, while somebody asks. */
extern bool place_tracking;
extern void place_note_record(XLogReaderState *record);

/*
 * Everything up to position was decoded: answer those that wait for it and
 * are not of adopted exchanges.  place_give() answers one of those; true if
 * it was answered now.
 */
extern void place_serve(XLogRecPtr position);
extern bool place_give(PlaceExchange *exchange, XLogRecPtr position);

#endif							/* WAL2KAFKA_PLACE_H */
