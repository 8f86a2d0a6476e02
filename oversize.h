/*
 * oversize.h
 *		Rows that are too large for Kafka: known before they are detoasted, and
 *		made smaller.
 */
#ifndef WAL2KAFKA_OVERSIZE_H
#define WAL2KAFKA_OVERSIZE_H

#include "postgres.h"

#include "envelope.h"
#include "nodes/bitmapset.h"
#include "preload/settings.h"
#include "relation_map.h"

/*
 * How many bytes a value that detoasting makes this large (toast_raw_datum_size)
 * takes at least when it is encoded; 0 where that cannot be said.
 */
extern size_t oversize_least(const TypeEncoder *encoder, size_t raw_size);

/* How many bytes the rows of a change take at least. */
extern size_t oversize_least_of_change(const RelationEntry *entry,
									   const RowChange *change);

/*
 * Make the rows of a change smaller: until oversize_restore() its slots have
 * other values, and the columns of withheld (of the relation that the rows are
 * of) are not to be looked at.  Allocates in CurrentMemoryContext.
 */
typedef struct Oversize Oversize;

extern Oversize *oversize_begin(const RelationEntry *entry,
								const RowChange *change,
								OversizedHandling handling);

/*
 * Take away what is too much of an event of that size, largest values first,
 * as far as their sizes tell: when it was encoded anew, it may still be too
 * large.  size 0: not known.  False: there is nothing more to be taken.
 */
extern bool oversize_reduce(Oversize *oversize, size_t size, size_t limit);

extern const Bitmapset *oversize_withheld(const Oversize *oversize);

/* The columns that were changed, by name and with commas.  Palloc'd. */
extern char *oversize_names(const Oversize *oversize);

extern void oversize_restore(Oversize *oversize);

#endif							/* WAL2KAFKA_OVERSIZE_H */
