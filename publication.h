/*
 * publication.h
 *		What publications say of a relation: operations, columns, rows, root.
 *
 * pgoutput has the same, but in static functions; this is built again on
 * stored node trees and ExprState, with its rules.
 */
#ifndef WAL2KAFKA_PUBLICATION_H
#define WAL2KAFKA_PUBLICATION_H

#include "postgres.h"

#include "event.h"
#include "executor/execdesc.h"
#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

typedef struct PublicationRules
{
	bool		insert;
	bool		update;
	bool		delete;
	bool		truncate;
	Oid			publish_as;		/* itself, or an ancestor to publish as */
	Bitmapset  *columns;		/* attnums of publish_as; NULL: all */
	bool		generated_stored;	/* send stored generated columns */
	ExprState  *filter[3];		/* insert, update, delete; NULL: all rows; on
								 * rows of publish_as */
	EState	   *estate;			/* of the filters; NULL: no filter */
} PublicationRules;

/*
 * Which operation an UPDATE becomes under a row filter: itself, an INSERT
 * (the row moved into the filter), a DELETE (out of it), or nothing.
 */
typedef enum FilterResult
{
	FILTER_SKIP,
	FILTER_AS_IS,
	FILTER_AS_INSERT,
	FILTER_AS_DELETE,
} FilterResult;

/*
 * Rules for a relation under a list of publication names (NIL: no
 * publication, everything of ordinary tables is selected, leaf by leaf).
 * Allocated in CurrentMemoryContext.  Needs catalog access.  A publication
 * that does not exist at this place selects nothing and is warned of once:
 * *missing has the names warned of, and stays in the context that it is in
 * (or, while empty, missing_cxt).  Different column lists for one table are
 * an error, as in pgoutput.
 */
extern void publication_rules(PublicationRules *rules, Relation relation,
							  List *publication_names, List **missing,
							  MemoryContext missing_cxt);

/*
 * Apply the row filter.  kind is a create, update, delete or read; old_slot
 * and new_slot may be NULL as the operation has it.  Both have all attributes
 * deformed, and in new_slot the caller has put in what is unchanged TOAST
 * there and known from old_slot.
 */
extern FilterResult publication_filter(PublicationRules *rules, EventKind kind,
									   TupleTableSlot *old_slot,
									   TupleTableSlot *new_slot);

/*
 * Raise ERRCODE_UNDEFINED_OBJECT, naming it, if one of the publications does
 * not exist now.  For the start of a stream; needs a transaction.
 */
extern void publication_check_exist(List *publication_names);

#endif							/* WAL2KAFKA_PUBLICATION_H */
