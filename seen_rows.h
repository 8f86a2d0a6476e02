/*
 * seen_rows.h
 *		Which versions of rows a snapshot saw, long after it is gone.
 *
 * A table that was read in part is gone on with by another process, with a
 * snapshot of its own.  A version of a row that is there now was there for the
 * former snapshot, too, unless it was made by a transaction that had not
 * committed then.
 */
#ifndef WAL2KAFKA_SEEN_ROWS_H
#define WAL2KAFKA_SEEN_ROWS_H

#include "postgres.h"

#include "access/htup_details.h"
#include "utils/snapshot.h"

typedef struct SeenRows
{
	TransactionId xmin;			/* those before were over */
	TransactionId xmax;			/* those from here on were not */
	int			nrunning;
	TransactionId running[FLEXIBLE_ARRAY_MEMBER];	/* in order */
} SeenRows;

/*
 * "xmin:xmax:xid,xid,..." of an MVCC snapshot, palloc'd.  Where it knows too
 * many running transactions, or not all of them, fewer are said to be over
 * than were.
 */
extern char *seen_rows_text(Snapshot snapshot);

/* Read that, palloc'd; NULL if it is none. */
extern SeenRows *seen_rows_parse(const char *text);

/* Of a version that is there: was it there then? */
extern bool seen_rows_have(const SeenRows *seen, HeapTuple tuple);

#endif							/* WAL2KAFKA_SEEN_ROWS_H */
