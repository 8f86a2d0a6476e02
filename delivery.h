/*
 * delivery.h
 *		From events to acknowledged positions: the sink of the streaming
 *		worker and of the snapshot.
 *
 * Ties together Kafka (kafka_sink.h), the schema registry (registry.h) and
 * the tracker (ack_tracker.h): makes topics and resolves schemas when a
 * target is new, frames and sends each event, and turns acknowledgements
 * into one position.  One Delivery for each process that sends.
 */
#ifndef WAL2KAFKA_DELIVERY_H
#define WAL2KAFKA_DELIVERY_H

#include "postgres.h"

#include "event.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "preload/settings.h"
#include "preload/shared_state.h"
#include "progress_record.h"
#include "storage/latch.h"

typedef struct Delivery Delivery;

/*
 * Called after acknowledgements were read, from inside emit() too; confirms
 * the slot, publishes statistics, and may raise or exit.
 */
typedef void (*DeliveryServiceFunc) (void *arg);

/*
 * What a Delivery is for; all but the flags may be NULL where they are not
 * needed.  Strings and settings must stay valid.
 */
typedef struct DeliveryConfig
{
	StreamState *stream;
	const Settings *settings;

	/* takes the schemas' texts where no registry is configured */
	const char *schemas_topic;

	/* of the stream's position, where delivery is exactly once */
	const char *progress_topic;
	const char *transactional_id;

	DeliveryServiceFunc service;
	void	   *arg;
} DeliveryConfig;

/*
 * Connect (in the background) with the settings given.  Registers the sink as event_sink.  Allocates in TopMemoryContext.  Raises
 * on wrong options; never waits.
 */
extern Delivery *delivery_create(const DeliveryConfig *config);

/*
 * End: for at most timeout_ms wait for what was sent to be acknowledged.
 * Never raises.  delivery_acknowledged() stays valid.
 */
extern void delivery_finish(Delivery *delivery, int timeout_ms);

/*
 * A process that sends for the same stream has failed: if it was because
 * Kafka refused a message, and that is of use to the next worker, that is to
 * start at once.
 */
extern void delivery_learn_refusals(Delivery *delivery);

/*
 * Make the topics that do not exist yet; names are char *.  Waits as long as
 * the broker is away.
 */
extern void delivery_make_topics(Delivery *delivery, List *names);

/*
 * The first of the topics that exists and holds records, or NULL.  Waits as
 * long as the broker is away.
 */
extern char *delivery_find_nonempty_topic(Delivery *delivery, List *names);

/*
 * Around the decoding of each record of the WAL: where it ends, which is the
 * position of the changes that it emits outside of transactions; and that it
 * was decoded.  Before the first record: where decoding begins.
 */
extern void delivery_begin_record(Delivery *delivery, XLogRecPtr end_lsn);
extern void delivery_end_record(Delivery *delivery);

/*
 * All up to there was decoded, and what it holds was emitted.
 */
extern XLogRecPtr delivery_decoded(const Delivery *delivery);

/*
 * Rows of a snapshot have no transaction of their own: what is emitted
 * between these two belongs to one unit that ends at end_lsn.
 */
extern void delivery_begin_unit(Delivery *delivery, TimestampTz time);
extern void delivery_end_unit(Delivery *delivery, XLogRecPtr end_lsn);

/* Is a unit or transaction open?  What is emitted then belongs to it. */
extern bool delivery_in_unit(const Delivery *delivery);

/*
 * A mark of everything that was emitted so far, and whether all of that is
 * acknowledged by now, whatever came later.  Of what belongs to an open unit
 * the whole unit counts.
 */
extern uint64 delivery_mark(const Delivery *delivery);
extern bool delivery_passed(const Delivery *delivery, uint64 mark);

/*
 * Wait until everything that was emitted is acknowledged, and append, for
 * each partition that this process has sent to, the offset behind its last
 * record, as lines "topic TAB partition TAB offset".  Between two records
 * only.  Waits as long as the broker is away.
 */
extern void delivery_offsets(Delivery *delivery, StringInfo buf);

/*
 * Read acknowledgements and call the service function.  Cheap when nothing
 * arrived.
 */
extern void delivery_service(Delivery *delivery);

/* No message may be larger, whatever the topic allows. */
extern size_t delivery_message_limit(const Delivery *delivery);

/*
 * May the service function emit an event?  Not while one is being sent.
 */
extern bool delivery_can_emit(const Delivery *delivery);

/*
 * Is everything that was emitted acknowledged?
 */
extern bool delivery_idle(const Delivery *delivery);

/*
 * End of the last unit before which everything is acknowledged;
 * InvalidXLogRecPtr before the first.
 */
extern XLogRecPtr delivery_acknowledged(const Delivery *delivery);

/* End of the last unit that was handed to Kafka whole. */
extern XLogRecPtr delivery_sent(const Delivery *delivery);

/*
 * Wait for the latch, an acknowledgement, or the timeout (ms, -1: none);
 * then delivery_service().  Answers interrupts.
 */
extern void delivery_wait(Delivery *delivery, long timeout_ms);

/* ---- exactly once ---- */

/*
 * With a transactional id, events go out in Kafka transactions: as many units
 * as wal2kafka.transaction_batch_... says in one, or one in one.  What is
 * acknowledged is then what was committed; the functions above say so of
 * nothing else.  A unit that is larger or older than
 * wal2kafka.transaction_split_... is spread over several.
 */
extern bool delivery_exactly_once(const Delivery *delivery);
extern const char *delivery_progress_topic(const Delivery *delivery);

/*
 * Fence other producers and wait until that is done.  Before anything is
 * emitted.
 */
extern void delivery_fence(Delivery *delivery);

/*
 * The position record that the stream goes on from: written anew, with lsn
 * moved, at the end of each Kafka transaction, and at once as a transaction
 * of its own, which is waited for.  Copied.  Without it (processes beside the
 * worker) only notes are written.  Of a transaction that it says was split,
 * the events that are in Kafka are dropped when they come again.
 */
extern void delivery_set_progress(Delivery *delivery,
								  const ProgressRecord *record);

/*
 * Notes: records beside the position, which are in the same Kafka transaction
 * as what was emitted before.  The function is called when a transaction is
 * about to be committed, and calls delivery_note() for what there is to be
 * noted; in_unit: the transaction ends in the middle of a unit.  What must be
 * durable before the stream can go on behind this point (what signals asked
 * for) it makes durable.  It must not emit; delivery_note() may wait for room,
 * and so call the service function.  It may raise file errors.
 */
typedef void (*DeliveryNotesFunc) (Delivery *delivery, bool in_unit, void *arg);
extern void delivery_set_notes(Delivery *delivery, DeliveryNotesFunc notes,
							   void *arg);

/* value NULL: the note is of no more use. */
extern void delivery_note(Delivery *delivery, const char *key,
						  const char *value, size_t value_len);

/*
 * Read the notes (and the position) of the progress topic, as committed: call
 * visit for each record, in order; later ones of a key replace earlier ones.
 * committed_only off: also what a transaction that may still be open wrote.
 * Makes the topic if there is none, and waits for that as long as the broker
 * is away; raises ERRCODE_CONNECTION_FAILURE when it goes away after that.
 */
extern void delivery_read_progress(Delivery *delivery, bool committed_only,
								   void (*visit) (void *arg, const char *key,
												  size_t key_len,
												  const char *value,
												  size_t value_len),
								   void *arg);

/*
 * From now on, units are not spread over several Kafka transactions, however
 * large they are: whoever calls this keeps them small.
 */
extern void delivery_keep_units_whole(Delivery *delivery);

/*
 * While commits are held none is begun: what was emitted is a piece of
 * something whose end is at hand.
 */
extern void delivery_hold_commits(Delivery *delivery, bool hold);

/*
 * Fence the producers with these transactional ids (n char *), and abort what
 * they left open.  Waits as long as the broker is away.
 */
extern void delivery_fence_others(Delivery *delivery, char *const *ids, int n);

/* Commit as soon as the open unit ends, whatever the settings say. */
extern void delivery_hurry(Delivery *delivery);

/* Copy counters to shared memory. */
extern void delivery_publish(Delivery *delivery);

#endif							/* WAL2KAFKA_DELIVERY_H */
