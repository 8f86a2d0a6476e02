/*
 * toast_reselect.h
 *		The true value of a large column that an update did not change.
 *
 * The WAL has only a pointer into the TOAST table for it.  A process beside
 * the streaming worker reads the row by its key, in the present, and where
 * its column still has the very same pointer, the value behind it is the
 * event's value.  Otherwise there is none, and the placeholder goes out.  A
 * pointer from the WAL is never followed itself.
 */
#ifndef WAL2KAFKA_TOAST_RESELECT_H
#define WAL2KAFKA_TOAST_RESELECT_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "preload/settings.h"
#include "preload/shared_state.h"

struct RelationEntry;

/*
 * Begin, in the streaming worker; does nothing where wal2kafka.toast_reselect
 * is off.  The helper process is started when it is first needed, again when
 * it ended, and ends with this one.  What a message may not hold, of
 * message_limit bytes, is not read.
 */
extern void toast_reselect_start(StreamState *stream,
								 const Settings *settings,
								 size_t message_limit);

/* Is it on in this process? */
extern bool toast_reselect_on;

/*
 * Put true values in the place of TOAST pointers, in columns that are sent.
 * The row is one of the relation whose topic it is, with all attributes
 * deformed.  Values are allocated in CurrentMemoryContext.  Returns the
 * attnums that got one; NULL: none.  Waits for the helper, answering
 * interrupts; where that cannot help (no key, no process, an error there),
 * pointers stay what they are.
 */
extern Bitmapset *toast_reselect(const struct RelationEntry *entry,
								 TupleTableSlot *slot);

/* The process ends. Never raises. */
extern void toast_reselect_finish(void);

/* Entry point of the helper.  main_arg is its segment's handle. */
extern PGDLLEXPORT void toast_reselect_main(Datum main_arg);

#endif							/* WAL2KAFKA_TOAST_RESELECT_H */
