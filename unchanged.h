/*
 * unchanged.h
 *		Updates that change nothing that is sent.
 */
#ifndef WAL2KAFKA_UNCHANGED_H
#define WAL2KAFKA_UNCHANGED_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "relation_map.h"

/* Compares rows; one for a decoder. */
typedef struct RowComparer RowComparer;

/* Lives in cxt. */
extern RowComparer *row_comparer_create(MemoryContext cxt);

/*
 * Are all columns that are sent, those of the key included, the same in both
 * rows?  Both are whole rows of the relation whose topic it is, with all
 * attributes deformed; what is unchanged TOAST in the new row is unchanged.
 * What is detoasted goes to CurrentMemoryContext.
 */
extern bool row_is_unchanged(RowComparer *comparer,
							 const RelationEntry *entry,
							 TupleTableSlot *old_slot,
							 TupleTableSlot *new_slot);

#endif							/* WAL2KAFKA_UNCHANGED_H */
