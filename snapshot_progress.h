/*
 * snapshot_progress.h
 *		What is known of a stream's snapshots: asked for, under way, over.
 *
 * One file in the slot's folder, "wal2kafka.snapshot", a JSON object that the
 * streaming worker alone writes (as a whole, atomically and durably).  Others
 * ask by files of their own beside it, "wal2kafka.request.<random>", which
 * the worker takes over and removes: asking needs no lock and no running
 * worker, and is durable when it returns.
 *
 * All structs are palloc'd in the progress's memory context.
 */
#ifndef WAL2KAFKA_SNAPSHOT_PROGRESS_H
#define WAL2KAFKA_SNAPSHOT_PROGRESS_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* Of a table in a snapshot. */
typedef enum SnapshotTableState
{
	SNAPSHOT_TABLE_WAITING,		/* not begun, or to be gone on with */
	SNAPSHOT_TABLE_READING,
	SNAPSHOT_TABLE_DONE,
	SNAPSHOT_TABLE_FAILED,		/* see error */
	SNAPSHOT_TABLE_GONE,		/* dropped before its end */
	SNAPSHOT_TABLE_CANCELLED,
} SnapshotTableState;

/* Who asked for a snapshot. */
typedef enum SnapshotKind
{
	SNAPSHOT_KIND_INITIAL,		/* the stream's start */
	SNAPSHOT_KIND_RESTART,		/* snapshot_mode = always */
	SNAPSHOT_KIND_AD_HOC,		/* wal2kafka.snapshot() */
	SNAPSHOT_KIND_SIGNAL,		/* the signal table */
	SNAPSHOT_KIND_NEW_TABLE,	/* snapshot_new_tables */
} SnapshotKind;

/* Blocks [first, end) of a table's heap. */
typedef struct SnapshotBlocks
{
	uint32		first;
	uint32		end;
} SnapshotBlocks;

typedef struct SnapshotTable
{
	Oid			relid;
	char	   *schema_name;
	char	   *table_name;
	SnapshotTableState state;
	char	   *predicate;		/* NULL: all rows */

	/* how far it is */
	List	   *cursor;			/* text forms (char *) of the last row's key;
								 * NIL: from the start */
	uint64		estimate;		/* rows, from the statistics */
	uint64		rows;			/* acknowledged */
	uint64		ranges;
	int			attempts;		/* readers that ended without a word */
	TimestampTz started_at;		/* 0: not begun */
	TimestampTz ended_at;		/* 0: not over */
	int64		active_ms;		/* time with a reader, for rates */
	char	   *error;			/* NULL: none */
	char	   *hint;

	/*
	 * Initial snapshot: what was sent before its interruption, by blocks of
	 * the heap that had this storage; in order, adjacent ones joined.
	 */
	uint64		storage;		/* relfilenumber; 0: nothing */
	SnapshotBlocks *blocks;
	int			nblocks;
} SnapshotTable;

typedef struct SnapshotJob
{
	uint64		id;				/* 1, 2, ... in a stream */
	SnapshotKind kind;
	char	   *request;		/* unique id of what asked for it */
	char	   *signal_id;		/* of a signal; NULL: none */
	bool		paused;
	TimestampTz requested_at;
	TimestampTz ended_at;		/* 0: not over */

	/* initial: rows that the snapshot saw in its blocks were sent */
	XLogRecPtr	consistent_point;	/* invalid: not known */
	TransactionId xmin;
	char	   *seen;			/* see seen_rows.h; NULL: those before xmin */
	int			readers;		/* processes that had producers */
	List	   *tables;			/* SnapshotTable */
} SnapshotJob;

typedef struct SnapshotProgress
{
	MemoryContext context;
	uint64		next_id;
	XLogRecPtr	last_signal;	/* commit of the last signal's transaction */
	int			last_signal_index;	/* which signal of it, from 1 */
	bool		tables_known;	/* known_tables was set */
	List	   *known_tables;	/* OIDs that a snapshot or its absence covered */
	List	   *jobs;			/* SnapshotJob, oldest first */
	List	   *forgotten;		/* jobs whose memory the next save frees */
} SnapshotProgress;

/* What can be asked for. */
typedef enum SnapshotCommand
{
	SNAPSHOT_REQUEST,
	SNAPSHOT_PAUSE,
	SNAPSHOT_RESUME,
	SNAPSHOT_CANCEL,
} SnapshotCommand;

typedef struct SnapshotRequest
{
	SnapshotCommand command;
	char	   *request;		/* unique; NULL: one is made */
	SnapshotKind kind;			/* of SNAPSHOT_REQUEST */
	char	   *signal_id;
	bool		paused;			/* of SNAPSHOT_REQUEST: it begins so */
	uint64		id;				/* of the others: the job; 0: all */
	List	   *tables;			/* SnapshotTable: relid, names, predicate; of
								 * SNAPSHOT_CANCEL: these only; NIL: all */
	char	   *target;			/* of the others: the request that the job was
								 * made for, in place of id; NULL: none */
	TimestampTz requested_at;	/* 0: now */
} SnapshotRequest;

/* In the slot's folder */
#define SNAPSHOT_PROGRESS_FILE	"wal2kafka.snapshot"
#define SNAPSHOT_DAMAGE_HINT \
	"Move the file away and call wal2kafka.restart(). What it knew is " \
	"forgotten: call wal2kafka.snapshot() for tables whose snapshot was " \
	"not complete."

/* For views and files. */
extern const char *snapshot_table_state_name(SnapshotTableState state);
extern const char *snapshot_kind_name(SnapshotKind kind);

/*
 * Read a slot's file; an empty progress if there is none.  In a new context
 * below cxt.  Raises file errors, and ERRCODE_DATA_CORRUPTED.
 */
extern SnapshotProgress *snapshot_progress_load(MemoryContext cxt,
												const char *slot_name);

/* The same, but a damaged file gives NULL, and what is wrong, palloc'd. */
extern SnapshotProgress *snapshot_progress_try_load(MemoryContext cxt,
													const char *slot_name,
													const char **problem);

/*
 * Write it, durably.  Forgets all but the last jobs that are over (ended_at
 * is set): pointers to them and to their tables are valid until the next save,
 * so look up after each whether those in use were cancelled.
 */
extern void snapshot_progress_save(SnapshotProgress *progress,
								   const char *slot_name);

/* The same without forgetting: all pointers stay valid. */
extern void snapshot_progress_write(SnapshotProgress *progress,
									const char *slot_name);

/* Leave a request for the worker.  Returns its unique id, palloc'd. */
extern char *snapshot_request_write(const char *slot_name,
									const SnapshotRequest *request);

/*
 * The same in steps, for a request that comes with a transaction: written
 * durably, then handed over (at ERROR or less), or not.  prepare returns the
 * file's name, palloc'd; it needs an id, which snapshot_request_id() makes.
 */
extern char *snapshot_request_id(void);
extern char *snapshot_request_prepare(const char *slot_name,
									  const SnapshotRequest *request);
extern void snapshot_request_publish(const char *slot_name, const char *file,
									 int elevel);
extern void snapshot_request_discard(const char *slot_name,
									 const char *file);

/* Those that the worker has not taken yet, oldest first; SnapshotRequest. */
extern List *snapshot_requests_list(const char *slot_name);

/*
 * Take over all requests: apply them, save if there were any, remove them.
 * Returns whether there were.  A request that makes no sense (an unknown job)
 * is dropped with a WARNING.
 */
extern bool snapshot_requests_take(SnapshotProgress *progress,
								   const char *slot_name);

/*
 * Apply one; returns the job that it made or named, NULL for none.  What is
 * cancelled has that state and an end at once; its reader is the caller's.
 */
extern SnapshotJob *snapshot_progress_apply(SnapshotProgress *progress,
											const SnapshotRequest *request);

/* The job of a request, or if that is NULL with the id; NULL: none. */
extern SnapshotJob *snapshot_progress_find(SnapshotProgress *progress,
										   uint64 id, const char *request);

extern SnapshotTable *snapshot_progress_add_table(SnapshotProgress *progress,
												  SnapshotJob *job, Oid relid,
												  const char *schema_name,
												  const char *table_name,
												  const char *predicate);

/* Is a table of the job neither done nor failed, gone or cancelled? */
extern bool snapshot_job_unfinished(const SnapshotJob *job);

/* Note that blocks were sent. */
extern void snapshot_table_add_blocks(SnapshotProgress *progress,
									  SnapshotTable *table, uint32 first,
									  uint32 end);

/* Were the row's block and storage sent? */
extern bool snapshot_blocks_have(const SnapshotBlocks *blocks, int nblocks,
								 uint32 block);

#endif							/* WAL2KAFKA_SNAPSHOT_PROGRESS_H */
