/*
 * row_predicate.h
 *		A condition on the rows of a table that somebody asked for by SQL.
 *
 * What it may say is what a publication's row filter may: columns of the
 * table, immutable functions, operators and types that are built in, no
 * subqueries, no system columns.  It runs as the stream's role.
 */
#ifndef WAL2KAFKA_ROW_PREDICATE_H
#define WAL2KAFKA_ROW_PREDICATE_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/rel.h"

typedef struct RowPredicate RowPredicate;

/*
 * Parse and check.  Raises ERRCODE_SYNTAX_ERROR, ERRCODE_UNDEFINED_COLUMN,
 * ERRCODE_FEATURE_NOT_SUPPORTED and the like, naming the table.  Needs a
 * transaction and a lock on the relation; the result is allocated in
 * CurrentMemoryContext.
 */
extern RowPredicate *row_predicate_create(Relation relation,
										  const char *predicate);

/* Is it true of the row?  Null is not true. */
extern bool row_predicate_passes(RowPredicate *predicate,
								 TupleTableSlot *slot);

extern void row_predicate_free(RowPredicate *predicate);

#endif							/* WAL2KAFKA_ROW_PREDICATE_H */
