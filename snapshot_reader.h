/*
 * snapshot_reader.h
 *		The process that reads one table while its changes are streamed.
 *
 * A dynamic background worker, which the streaming worker starts for one
 * table (incremental.c) and which ends with it.  It reads ranges of the
 * table's key, each in a transaction of its own and with a snapshot that is
 * exactly a place in the stream (place.h), and puts their events into a queue
 * (relay.h).  A table without a primary key is one range.
 *
 * The segment is a shm_toc.  The worker writes everything in it before it
 * starts the process, and the two talk by the exchange and the queue.
 */
#ifndef WAL2KAFKA_SNAPSHOT_READER_H
#define WAL2KAFKA_SNAPSHOT_READER_H

#include "postgres.h"

#include "place.h"
#include "relay.h"
#include "snapshot_progress.h"
#include "storage/shm_toc.h"

#define READER_MAGIC		0x57324B52	/* "W2KR" */

/* Keys of the table of contents */
#define READER_KEY_TASK		1	/* ReaderTask */
#define READER_KEY_EXCHANGE	2	/* PlaceExchange */
#define READER_KEY_QUEUE	3	/* shm_mq */
#define READER_KEY_PREDICATE 4	/* text, NUL terminated; may be missing */
#define READER_KEY_CURSOR	5	/* ncursor texts, each NUL terminated */
#define READER_KEY_BLOCKS	6	/* SnapshotBlocks[nblocks] */
#define READER_KEY_SEEN		7	/* text of those rows, NUL terminated */

typedef struct ReaderTask
{
	int			stream;			/* index of the stream's entry */
	pid_t		worker;			/* the streaming worker */
	Oid			relid;			/* InvalidOid: tell what is selected now */
	int			ncursor;		/* texts; 0: from the start */

	/* rows that an initial snapshot has sent; 0 and 0: none */
	uint64		storage;
	int			nblocks;

	/* a range ends when it has taken this long, or has so many rows */
	int			range_ms;
	int			range_rows;		/* 0: no limit */

	/* report with each block of events how far it is */
	bool		checkpoints;

	/* what the worker's sink takes: EventSink */
	size_t		message_limit;
	size_t		frame_len;

	/* by the reader: it ends since nobody took its rows */
	bool		stalled;
} ReaderTask;

/*
 * Reports in the queue: a ReaderReport, and texts, each NUL terminated.
 */
typedef enum ReaderReportKind
{
	READER_RANGE_END,			/* texts: a cursor, which is what key it is
								 * of, and the last row's key.  A range may
								 * have no row, or the table no key: then
								 * ncursor is 0, and the last one stays */
	READER_CHECKPOINT,			/* the same, of the rows of the open range so
								 * far; see ReaderTask.checkpoints */
	READER_TABLE_END,			/* follows the last range's end */
	READER_TABLE_GONE,			/* the table does not exist any more */
	READER_TABLE_FAILED,		/* texts: message, detail, hint ("": none) */
	READER_TABLE_SELECTED,		/* relid; texts: schema, table.  For a task
								 * without a table: one report for each that
								 * is selected, then READER_TABLE_END */
} ReaderReportKind;

typedef struct ReaderReport
{
	ReaderReportKind kind;
	Oid			relid;			/* of READER_TABLE_SELECTED */
	uint64		estimate;		/* rows of the table by its statistics */
	int			ncursor;		/* texts of the cursor */
	uint64		rows;			/* sent in this range */
	uint64		skipped;		/* known to be sent before */
	int64		wait_ms;		/* for a place, and for transactions */
	int64		read_ms;		/* from the place to the end */
} ReaderReport;

/* Entry point.  main_arg is the segment's handle. */
extern PGDLLEXPORT void snapshot_reader_main(Datum main_arg);

/*
 * Settings, role and database of a stream for a process beside its worker,
 * which becomes a reader of its tables: connects the background worker, and
 * sets search_path and the like.  Returns the settings.  For other workers
 * that read tables (verify.c).
 */
extern const struct Settings *snapshot_reader_connect(StreamState *stream);

#endif							/* WAL2KAFKA_SNAPSHOT_READER_H */
