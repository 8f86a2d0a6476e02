/*
 * shared_state.h
 *		What the processes of wal2kafka tell each other and the SQL views.
 *
 * One StreamState for each stream that is or was configured since the server
 * started, in an array of wal2kafka.max_streams entries.  The launcher
 * assigns entries; a stream's worker writes its own entry; views read.
 *
 * Fields under "mutex" are read and written with the spinlock held and for
 * no longer than it takes to copy them.  The atomics are read and written
 * without it.
 */
#ifndef WAL2KAFKA_SHARED_STATE_H
#define WAL2KAFKA_SHARED_STATE_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "settings.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "storage/spin.h"

/* In the order a stream normally passes through. */
typedef enum StreamStatus
{
	STREAM_UNUSED,				/* the entry is free */
	STREAM_STARTING,			/* worker started, not yet decoding */
	STREAM_SNAPSHOT,			/* reading tables */
	STREAM_STREAMING,
	STREAM_BACKOFF,				/* ended with an error; starts again at
								 * retry_at */
	STREAM_PAUSED,				/* by wal2kafka.paused or paused_until */
	STREAM_HELD,				/* does not start until somebody acts; see
								 * last_error */
	STREAM_STOPPED,				/* left wal2kafka.streams */
} StreamStatus;

/* What a stream that makes no progress is waiting for. */
typedef enum StreamWait
{
	STREAM_WAIT_NOTHING,
	STREAM_WAIT_BROKER,
	STREAM_WAIT_REGISTRY,
	STREAM_WAIT_SCHEMA,			/* the registry refused a schema */
	STREAM_WAIT_LOCK,			/* old transactions, while a slot is created;
								 * or the slot, held by someone else */
	STREAM_WAIT_GUARD,			/* a guardrail or policy of the operator */
	STREAM_WAIT_STANDBY,		/* one of synchronized_standby_slots */
	STREAM_WAIT_REPLAY,			/* the standby that this is does not have the
								 * WAL yet */
} StreamWait;

/* Why a worker ended, for the launcher; set just before it exits. */
typedef enum StreamExit
{
	STREAM_EXIT_NONE,			/* still running, or it crashed */
	STREAM_EXIT_RESTART,		/* start again at once: settings changed,
								 * restart() was called, snapshot complete */
	STREAM_EXIT_ERROR,			/* start again after a backoff */
	STREAM_EXIT_PAUSED,			/* start when settings change or the pause
								 * ends */
	STREAM_EXIT_HELD,			/* start when settings change or somebody
								 * calls restart() */
	STREAM_EXIT_SHUTDOWN,		/* server shutdown, or left the list */
	STREAM_EXIT_WAL_LIMIT,		/* drop the slot: it retains too much WAL */
} StreamExit;

#define STREAM_ERROR_LEN	1024

/*
 * The limit on WAL that the slot retains (wal_guard.h).
 */
typedef struct WalGuard
{
	uint64		limit;			/* bytes; 0: none, or none known yet */
	int			action;			/* RetainedWalAction */
	Oid			database;
	bool		renews;			/* without its slot the stream begins anew */
	bool		exceeded;
} WalGuard;

/*
 * Commit-to-acknowledged latency, counted in buckets whose upper bounds grow
 * by a quarter: bound(i) = 16 us * 1.25^i; the last bucket takes the rest.
 */
#define LATENCY_BUCKETS		80

/* How many processes can ask for a place in a stream at once. */
#define STREAM_PLACES		8

typedef struct StreamState
{
	slock_t		mutex;

	/* identity; written by the launcher, constant while in use */
	char		name[STREAM_NAME_LEN];	/* as in wal2kafka.streams, quoted */
	NameData	database;
	NameData	role;			/* empty: bootstrap superuser */
	Oid			database_oid;	/* InvalidOid until the worker knows */
	char		slot_name[NAMEDATALEN]; /* empty until the worker knows */
	char		topic_prefix[256];	/* likewise */

	/* written by launcher and worker */
	StreamStatus status;
	StreamExit	exit;
	StreamWait	waiting_for;
	pid_t		pid;			/* worker; 0: none */
	Latch	   *latch;			/* worker's; NULL: none */
	bool		claimed;		/* slot_name and topic_prefix are a running
								 * worker's, which nobody else may take */
	bool		restart_requested;	/* by restart(); worker clears it */
	bool		awaits_adoption;	/* held until adopt() */
	uint64		rows_digest;	/* settings_rows_digest() before the start */
	uint32		restarts;		/* worker starts since server start, less one */
	uint32		backoff_count;	/* errors in a row; progress resets it */
	TimestampTz retry_at;		/* in backoff; or the end of a pause, which
								 * the worker sets before STREAM_EXIT_PAUSED,
								 * 0: none */
	TimestampTz started_at;

	/* position, written by the worker */
	XLogRecPtr	received_lsn;	/* end of the last record decoded */
	XLogRecPtr	sent_lsn;		/* end of the last transaction handed to Kafka */
	XLogRecPtr	acknowledged_lsn;	/* the slot's confirmed position */
	TimestampTz acknowledged_at;	/* last acknowledgement by a broker */
	TimestampTz acknowledged_commit_time;	/* commit time of the last
											 * acknowledged transaction */
	TimestampTz caught_up_at;	/* last time that everything decoded was
								 * acknowledged */

	/* counters since server start, written by the worker */
	uint64		events;
	uint64		bytes;
	uint64		transactions;
	uint64		errors;
	uint64		skipped_events; /* that cannot be sent, and were left out, ... */
	uint64		dead_letters;	/* ... are told of in a topic, ... */
	uint64		truncated_events;	/* ... or were made smaller */
	uint64		queue_messages; /* now */
	uint64		queue_bytes;	/* now */
	uint32		snapshot_tables;	/* 0: no snapshot since start */
	uint32		snapshot_tables_done;
	uint64		snapshot_rows;

	char		last_error[STREAM_ERROR_LEN];	/* message, detail */
	char		last_error_hint[STREAM_ERROR_LEN];	/* remedy */
	TimestampTz last_error_at;

	/*
	 * A snapshot while streaming, written by the worker: rows and ranges since
	 * the worker's start, and how long changes have waited for one range.
	 */
	uint64		incremental_rows;
	uint64		incremental_ranges;
	int64		incremental_delay_ms;	/* longest */
	bool		fresh_start;	/* a start that snapshot_mode = always counts:
								 * set by the launcher and restart(), cleared
								 * by the worker that acted on it */

	/* the limits by the worker, the rest by whoever looks after the slot */
	WalGuard	guard;

	/* who asks for a place (place.h); DSM_HANDLE_INVALID: free */
	dsm_handle	places[STREAM_PLACES];

	dsm_handle	tables;			/* TableStats array; DSM_HANDLE_INVALID: none */

	/* without the mutex */
	pg_atomic_uint32 asleep;	/* worker waits for WAL: a commit must set its
								 * latch */
	pg_atomic_uint64 async_commit_lsn;	/* end of the last asynchronous
										 * commit in its database */
	pg_atomic_uint64 latency[LATENCY_BUCKETS];
} StreamState;

/*
 * Counters of one table of one stream, in the stream's DSM segment.  Only
 * the worker writes; readers may see a count that is a moment old.  An entry
 * is in use from the moment `used` counts it.
 */
typedef struct TableStats
{
	char		schema_name[NAMEDATALEN];
	char		table_name[NAMEDATALEN];
	Oid			relid;
	int32		key_schema_id;	/* 0: none or not known yet */
	int32		value_schema_id;
	uint64		events;
	uint64		bytes;
	uint64		no_identity;	/* changes without identity */
	uint64		skipped;		/* as StreamState.skipped_events, ... */
	uint64		dead_letters;
	uint64		truncated;
	TimestampTz last_change;	/* commit time */
} TableStats;

typedef struct TableStatsArray
{
	uint32		size;
	pg_atomic_uint32 used;
	TableStats	entries[FLEXIBLE_ARRAY_MEMBER];
} TableStatsArray;

/* Is the library preloaded, so that shared memory exists? */
extern PGDLLEXPORT bool shared_state_available(void);

/*
 * Entry i, 0 <= i < max_streams.  Behind them are SPARE_STREAMS entries that
 * never get a worker: they show streams that exceed max_streams.
 */
#define SPARE_STREAMS		8
extern PGDLLEXPORT StreamState *shared_state_stream(int i);

/* How many entries there are, the spare ones included. */
extern PGDLLEXPORT int shared_state_size(void);

/* Entry of the stream with this name in any quoting; NULL if there is none. */
extern PGDLLEXPORT StreamState *shared_state_find(const char *name);

/*
 * The calling process becomes the worker of entry i: publishes pid and latch,
 * and withdraws them when the process exits.  FATAL if the entry has another
 * worker or is nobody's.
 */
extern PGDLLEXPORT StreamState *shared_state_attach_worker(int i);

/* Set the latch of the stream's worker, if it has one. */
extern PGDLLEXPORT void stream_wake(StreamState *stream);

/* Set status (and waiting_for = nothing). */
extern PGDLLEXPORT void stream_set_status(StreamState *stream, StreamStatus status);
extern PGDLLEXPORT void stream_set_waiting(StreamState *stream, StreamWait wait);

/*
 * Record an error for the views.  Counts it, truncates the texts at character
 * boundaries.  detail and hint may be NULL.
 */
extern PGDLLEXPORT void stream_set_error(StreamState *stream, const char *message,
										 const char *detail, const char *hint);

/* Count one commit-to-acknowledged time, in microseconds. */
extern PGDLLEXPORT void stream_count_latency(StreamState *stream, int64 us);

/*
 * The latency in microseconds that the given fraction (0.5, 0.99) of counts
 * does not exceed, to the precision of a bucket; -1 if nothing was counted.
 */
extern PGDLLEXPORT double stream_latency_percentile(StreamState *stream,
													double fraction);

/*
 * Attach (worker: create or reuse, pinned so that counts outlive the worker)
 * the stream's table counters.  The mapping lasts for the process.
 */
extern PGDLLEXPORT TableStatsArray *stream_attach_tables(StreamState *stream, int size);

/*
 * Find or add a table's counters; NULL when the array is full.  Linear in
 * the number of tables: call it when a relation's target is new, not for
 * each event.
 */
extern PGDLLEXPORT TableStats *stream_table(TableStatsArray *tables, Oid relid,
											const char *schema_name,
											const char *table_name);

/* The launcher's latch and what sets it; NULL withdraws the latch. */
extern void shared_state_set_launcher(Latch *latch);
extern PGDLLEXPORT void shared_state_wake_launcher(void);

/*
 * How many of the first entries may have a worker, for those who look at each
 * commit; 0 without shared memory.
 */
extern int	shared_state_used(void);
extern void shared_state_set_used(int n);

/* Set up hooks; called from _PG_init() of the postmaster. */
extern void shared_state_init(void);
extern void wakeup_init(void);

/*
 * The slot of a stream by default: wal2kafka_<database>, and a hash of the
 * stream's name where that is needed (design 1.2).  buf has NAMEDATALEN bytes.
 */
extern PGDLLEXPORT void stream_default_slot_name(const char *stream_name,
												 const char *database,
												 const char *role,
												 char *buf);

/* Version of the interface between the two libraries. */
#define WAL2KAFKA_VERSION	"1.0"
extern PGDLLEXPORT const char *const wal2kafka_preload_version;

#endif							/* WAL2KAFKA_SHARED_STATE_H */
