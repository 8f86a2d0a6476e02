/*
 * snapshot_scan.h
 *		The initial snapshot's tables, read by several processes at once.
 *
 * The stream's worker (snapshot.c, the leader) plans what is read: tables,
 * and in each of them ranges of blocks.  It and the processes that it starts
 * (snapshot_worker.c) take one range after the other, read it with the
 * snapshot of the slot's consistent point, and send its rows by a Delivery of
 * their own.  What they know in common is a SnapshotScan, in dynamic shared
 * memory, or in the leader's own where it is alone.
 *
 * A range is over when all of its rows are acknowledged.  Then its process
 * puts it into its mailbox, and the leader notes it in the progress file.
 * Where delivery is exactly once, each process has a producer of its own, and
 * its Kafka transactions have notes of the ranges in them (snapshot_notes.h).
 */
#ifndef WAL2KAFKA_SNAPSHOT_SCAN_H
#define WAL2KAFKA_SNAPSHOT_SCAN_H

#include "postgres.h"

#include "decoder.h"
#include "delivery.h"
#include "storage/block.h"
#include "storage/dsm.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"

/*
 * What a range reads at most, TOAST included; so much is sent again after a
 * crash, for each process.
 */
#define SNAPSHOT_RANGE_BLOCKS	1024

/* wal2kafka.snapshot_workers is not more than this */
#define SNAPSHOT_MAX_READERS	64

/* Ranges that a mailbox holds. */
#define SNAPSHOT_MAILBOX	64

typedef enum SnapshotRangeResult
{
	SNAPSHOT_RANGE_SENT,		/* its blocks */
	SNAPSHOT_RANGE_WHOLE,		/* all of the table, as it is now */
	SNAPSHOT_RANGE_VOID,		/* another process reads all of the table */
	SNAPSHOT_RANGE_GONE,		/* the table was dropped */
	SNAPSHOT_RANGE_UNSELECTED,	/* ... or taken out of the publications */
	SNAPSHOT_RANGE_LEFT,		/* the table is left to the streaming worker */
} SnapshotRangeResult;

/* Of a request's id, with NUL */
#define SNAPSHOT_REQUEST_SIZE	64

/* Some blocks of a table, with what came of them. */
typedef struct SnapshotRange
{
	int			table;			/* index */
	BlockNumber first;
	BlockNumber end;
	SnapshotRangeResult result;
	uint64		rows;
} SnapshotRange;

/* A table; all but relid is under SnapshotScan.mutex. */
typedef struct ScanTable
{
	Oid			relid;
	BlockNumber nblocks;
	BlockNumber range_blocks;
	BlockNumber next;			/* first block of the next range */
	uint32		storage;		/* relfilenumber that the ranges are of */
	bool		whole;			/* its storage is not the snapshot's: one
								 * range, read as it is now */
	bool		whole_taken;
	int			reading;		/* ranges that are being read */
	uint32		taken;			/* ranges */
	bool		any_row;		/* its first row was sent */
	bool		last_marked;	/* ... and the one that is marked as last */
	TimestampTz began;			/* 0: no range was taken */
} ScanTable;

/* How far a process is. */
typedef enum ScanReaderState
{
	SCAN_NOT_STARTED,
	SCAN_READING,
	SCAN_WAITING,				/* no range is left */
	SCAN_FLUSHING,				/* by the leader: send the row held back */
	SCAN_FLUSHING_LAST,			/* ... as the last of all */
	SCAN_DONE,					/* everything is acknowledged and reported */
} ScanReaderState;

typedef struct ScanReader
{
	ScanReaderState state;
	pid_t		pid;			/* 0: not started */
	bool		holds_row;		/* SCAN_WAITING: one is held back */
	Latch	   *latch;			/* NULL: not started, or gone */
	StreamWait	waiting_for;
	uint64		rows;			/* sent, and not added up by the leader yet */
	int			nranges;		/* in the mailbox */
	SnapshotRange mailbox[SNAPSHOT_MAILBOX];
	int			sqlerrcode;		/* of its error, and the texts; 0: none */
	char		message[STREAM_ERROR_LEN];
	char		detail[STREAM_ERROR_LEN];
	char		hint[STREAM_ERROR_LEN];
} ScanReader;

typedef struct SnapshotScan
{
	/* written before processes are started */
	int			stream;			/* index of the stream's entry */
	pid_t		leader;
	XLogRecPtr	consistent_point;
	TransactionId xid;			/* what source.txId says */
	TimestampTz begin_time;
	int			ntables;
	int			nreaders;		/* the leader is reader 0 */
	char		slot_name[NAMEDATALEN];
	char		request[SNAPSHOT_REQUEST_SIZE]; /* of the job */
	Size		tables_at;		/* offsets from here */
	Size		snapshot_at;

	LWLock		counters_lock;	/* the stream's counters of tables are added
								 * to by one of the processes at a time */
	slock_t		mutex;			/* of everything below, tables too */
	Latch	   *leader_latch;
	bool		stop;			/* end without reading on */
	int			next_table;		/* those before have no range left */
	bool		first_sent;		/* a row marked "first" */
	ScanReader	readers[SNAPSHOT_MAX_READERS];
} SnapshotScan;

#define scan_tables(scan) \
	((ScanTable *) ((char *) (scan) + (scan)->tables_at))
#define scan_snapshot(scan)		((char *) (scan) + (scan)->snapshot_at)

/* What a process of the snapshot works with. */
typedef struct SnapshotScanner SnapshotScanner;

/*
 * Begin to read in this process, in a transaction whose active snapshot is
 * the one of the consistent point, until its end.  number is its index of
 * SnapshotScan.readers.  Allocates in CurrentMemoryContext.
 */
extern SnapshotScanner *scanner_create(SnapshotScan *scan, int number,
									   Delivery *delivery, Decoder *decoder);

/*
 * Read one more range; false if none is left.  The last row that was read is
 * held back until another one follows.  Calls delivery_service() often, also
 * while nothing is sent.  Raises for tables that may not be read and rows that
 * cannot be sent.
 */
extern bool scanner_read_range(SnapshotScanner *scanner);

/*
 * Where delivery is exactly once a Kafka transaction is open while a row is
 * held back: send it, when that has lasted too long.
 */
extern void scanner_relieve(SnapshotScanner *scanner);

/* Send the row that is held back, if any; last: of all. */
extern void scanner_flush(SnapshotScanner *scanner, bool last);
extern bool scanner_holds_row(const SnapshotScanner *scanner);

/*
 * The next range that is over; false if there is none now.
 */
extern bool scanner_next_over(SnapshotScanner *scanner, SnapshotRange *range);

/* Is nothing sent by this process unacknowledged or not asked for above? */
extern bool scanner_idle(const SnapshotScanner *scanner);

/* Rows that were sent since the last call. */
extern uint64 scanner_rows(SnapshotScanner *scanner);

/*
 * Has the relation, which is open, other storage than the transaction's
 * snapshot knows?  To the snapshot a table is empty that was rewritten since.
 */
extern bool scan_storage_is_new(Relation relation);

/* What a process other than the leader is to Kafka; palloc'd. */
extern char *scan_transactional_id(const char *slot_name, int number);

/* snapshot_worker.c: entry point; main_arg is the segment's handle */
extern PGDLLEXPORT void snapshot_worker_main(Datum main_arg);

#endif							/* WAL2KAFKA_SNAPSHOT_SCAN_H */
