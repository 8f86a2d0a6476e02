/*
 * slot_state.h
 *		What must survive a crash and is not in the slot itself.
 *
 * Small files in the slot's own folder, which go away with the slot: one
 * remembers whether the snapshot is complete and when workers crashed, one
 * exists while a worker runs, one tells of events that cannot be encoded.
 * Streaming has no table to keep this in: a standby cannot write one, and
 * CREATE EXTENSION is not needed to stream.
 *
 * Functions raise file-access errors, except where they say otherwise.
 */
#ifndef WAL2KAFKA_SLOT_STATE_H
#define WAL2KAFKA_SLOT_STATE_H

#include "datatype/timestamp.h"

/* A worker that ends abnormally this often in this time holds its stream. */
#define CRASH_LIMIT			2
#define CRASH_WINDOW_SECS	600

/*
 * Is it the slot of a stream?  Slots that somebody makes for decoding by SQL
 * have the same plugin, but no state.  Raises nothing.
 */
extern bool slot_state_exists(const char *slot_name);

/* Is a snapshot that was begun for this slot not complete? */
extern bool slot_state_snapshot_pending(const char *slot_name);
extern void slot_state_set_snapshot_pending(const char *slot_name,
											bool pending);

/*
 * A worker is about to decode.  Counts the one before it as crashed if that
 * never said that it ended.  Returns how many crashed within CRASH_WINDOW_SECS.
 * From CRASH_LIMIT on the caller must not decode, and nothing is marked as
 * running: the stream is held until slot_state_forget_crashes(), also after
 * a restart of the server.
 */
extern int	slot_state_worker_started(const char *slot_name);

/*
 * The worker ends in order, whatever the reason.  Safe to call in a signal
 * handler, and when no worker was marked.  Raises nothing.
 */
extern void slot_state_worker_ended(void);

/*
 * The slot is about to be dropped and made anew under the same name: keep in
 * this process what is known of crashes, for the new slot.
 */
extern void slot_state_carry_over(const char *slot_name);

/* The operator had a look: forget crashes. */
extern void slot_state_forget_crashes(const char *slot_name);

/*
 * An event could not be encoded: for BAD_EVENTS_SECS expect more, also in
 * processes to come.  again: the one that runs ends, and the next is to start
 * at once.  A file that cannot be written is logged; neither function raises
 * anything.
 */
#define BAD_EVENTS_SECS		600

extern void slot_state_expect_bad_events(const char *slot_name, bool again);
extern bool slot_state_expects_bad_events(const char *slot_name);

/*
 * This process takes care, for such events or for messages that were refused,
 * and has met one now.  Is that so long ago that one without care would do?
 * Nothing is raised, nor by the two below.
 */
extern void slot_state_take_care(void);
extern bool slot_state_care_is_over(void);

/*
 * The process ends with an error that the next one has a remedy for: shall
 * that start at once?  Each time, something durable must have changed.
 */
extern void slot_state_start_again(void);
extern bool slot_state_starts_again(void);

#endif							/* WAL2KAFKA_SLOT_STATE_H */
