/*
 * delivery_private.h
 *		What delivery.c, delivery_transaction.c and delivery_failure.c share.
 *		Nobody else includes it.
 */
#ifndef WAL2KAFKA_DELIVERY_PRIVATE_H
#define WAL2KAFKA_DELIVERY_PRIVATE_H

#include "postgres.h"

#include "ack_tracker.h"
#include "dead_letter.h"
#include "delivery.h"
#include "kafka_sink.h"
#include "options.h"
#include "registry.h"
#include "utils/hsearch.h"

/* Ticket of a message that belongs to no unit. */
#define NO_TICKET		PG_UINT64_MAX

/*
 * The Kafka transaction that is open, or being committed, and what is known
 * of the one before.  Times are of the monotonic clock, in ms.
 */
typedef struct TransactionBatch
{
	const char *topic_name;		/* of the position */
	KafkaTopic *topic;			/* NULL: not asked for yet */
	uint64		events;			/* sent in it */
	uint64		bytes;
	int64		opened_at;
	int64		commit_began;	/* of the last commit; 0: none yet */
	bool		hurry;			/* commit at the next boundary */
	bool		writing;		/* notes and position are being sent */
	bool		whole_units;	/* see delivery_keep_units_whole() */
	bool		held;			/* see delivery_hold_commits() */

	/* written with each commit, where has_record */
	bool		has_record;
	ProgressRecord record;
	MemoryContext scratch;

	DeliveryNotesFunc notes;	/* NULL: none */
	void	   *notes_arg;

	/* where the open unit is, if it is a transaction */
	const EventTransaction *txn;	/* NULL: it is none */
	XLogRecPtr	event_lsn;		/* of the last event, ... */
	uint64		event_number;	/* ... among those of this LSN, from 1 */

	/* events up to there were sent by another worker */
	bool		skipping;
	XLogRecPtr	skip_end;		/* the transaction's end; invalid: none */
	XLogRecPtr	skip_lsn;
	uint64		skip_number;
} TransactionBatch;

/* What becomes of a message. */
typedef enum Verdict
{
	VERDICT_SEND,				/* it is no suspect, or not found guilty */
	VERDICT_SENT,				/* it was acknowledged when it was tried */
	VERDICT_BAD,
} Verdict;

/*
 * Events that cannot be sent; delivery_failure.c's.
 */
typedef struct DeliveryFailures
{
	struct SuspectList *suspects;	/* NULL: the settings have nothing to be
									 * done with them */
	bool		careful;		/* something was refused lately */

	/*
	 * Suspects are tried alone by a producer of their own, so that a refusal
	 * ends nothing else.  NULL: none is there.
	 */
	KafkaSink  *trial;
	char	   *trial_id;		/* its transactional id; NULL: at least once */
	bool		trial_acked;
	KafkaRefusal refusal;		/* the last one's */

	/* what was found of an event before it is emitted; NULL: nothing */
	const Event *judged;
	Verdict		verdict;

	const char *letters;		/* the topic of dead letters */
	KafkaTopic *topic;			/* the same; NULL: not asked for yet */
	TableStats *table;			/* counters of the last one's; NULL: none */

	/* counted since the last delivery_publish() */
	uint64		skipped;
	uint64		dead_letters;
	uint64		truncated;
} DeliveryFailures;

struct Delivery
{
	EventSink	sink;			/* must be first: callbacks cast back */

	StreamState *stream;
	const Settings *settings;
	char	   *schemas_topic;	/* used without a registry */
	OptionList	topic_config;

	KafkaSink  *kafka;
	Registry   *registry;		/* NULL: single-object encoding */
	AckTracker *tracker;
	WaitEventSet *wait_set;		/* latch, death of postmaster, Kafka */
	uint32		wait_event;
	HTAB	   *topics;			/* KnownTopic */
	int			routed_topics;	/* of these, made by values of rows */
	HTAB	   *schemas;		/* PublishedSchema; NULL with a registry */
	TableStatsArray *tables;

	/*
	 * Counts the registry's returns.  It may come back without the schemas it
	 * had, so that ids have to be asked for again.
	 */
	uint32		generation;
	uint32		cached_generation;	/* of the registry's cache */

	/* units, for marks */
	uint64		opened;
	uint64		popped;			/* acknowledged, with all before them */

	/* the open unit */
	bool		unit_open;
	uint64		ticket;
	XLogRecPtr	unit_end;		/* of a transaction; invalid: it is none */
	XLogRecPtr	position;		/* see delivery_begin_record() */
	XLogRecPtr	decoded;		/* see delivery_decoded() */

	/* results */
	XLogRecPtr	acknowledged;
	XLogRecPtr	sent;
	TimestampTz acknowledged_at;
	TimestampTz acknowledged_commit_time;

	/* counted since the last delivery_publish() */
	uint64		events;
	uint64		bytes;
	uint64		transactions;
	TimestampTz published_at;

	int			until_service;	/* events */
	bool		sending;		/* within emit(), which is not entered twice */
	bool		in_service;
	bool		finished;
	bool		broker_away;	/* as last reported */
	const char *broker_remedy;	/* the same */
	TimestampTz broker_reported_at;
	bool		registry_away;
	const char *registry_remedy;

	DeliveryServiceFunc service;
	void	   *service_arg;

	DeliveryFailures failures;

	/* exactly once; delivery_transaction.c's */
	bool		exactly_once;
	TransactionBatch batch;
};

/*
 * Hand one message over, waiting for room as long as it takes.
 */
extern KafkaSendResult delivery_send(Delivery *delivery, KafkaTopic *topic,
									 const void *key, size_t key_len,
									 const void *value, size_t value_len,
									 const EventHeader *headers, int nheaders,
									 int32 partition, int64 timestamp_ms,
									 uint64 ticket);

/* Wait within emit(); as delivery_wait(), without pushing. */
extern void delivery_wait_for_event(Delivery *delivery, long timeout_ms);

/* Make topics with a configuration of their own; waits. */
extern void delivery_make_compacted(Delivery *delivery, const char *name,
									const OptionList *config);

/* Like those of tables, but what is old is deleted, and not compacted. */
extern void delivery_make_deleting(Delivery *delivery, const char *name);

/*
 * A producer with the stream's settings; its on_ack gets arg.  trial: for one
 * message at a time, refusals of which are expected.
 */
extern KafkaSink *delivery_connect(Delivery *delivery,
								   const char *transactional_id, bool trial,
								   void (*on_ack) (void *arg, uint64 ticket),
								   void *arg);

/* Wait within emit() for acknowledgements, sending what is queued. */
extern void delivery_wait_in_emit(Delivery *delivery);

/* Key and value with their framing; the target is prepared if need be. */
extern void delivery_frame(Delivery *delivery, const Event *event,
						   EventBytes *key, EventBytes *value);

/* The time of an event's record, as kafka_sink_send() takes it. */
extern int64 delivery_timestamp(const Delivery *delivery, const Event *event);

/* ---- delivery_failure.c ---- */

/* At delivery_create(), before Kafka is connected to. */
extern void delivery_load_failures(Delivery *delivery,
								   const char *transactional_id);

/* A unit is open: send the dead letter, or count what it stands for. */
extern void delivery_emit_dead_letter(Delivery *delivery, const Event *event);
extern void delivery_count_reduced(Delivery *delivery, const Event *event);

/*
 * For each event while failures.careful, while a unit is open; key and value
 * with their framing.  The first is asked where the caller knows what to do
 * with a bad one, and sets failure for it; the second before each message is
 * sent, and leaves out what is bad.  Both wait.
 */
extern bool delivery_refuses(Delivery *delivery, const Event *event,
							 const EventBytes *key, const EventBytes *value,
							 EventFailure *failure);
extern Verdict delivery_before_send(Delivery *delivery, const Event *event,
									const EventBytes *key,
									const EventBytes *value);

/*
 * At the end, also after an error: was a message refused?  Never raises, and
 * takes no longer than timeout_ms.
 */
extern void delivery_end_failures(Delivery *delivery, int timeout_ms);

/* ---- delivery_transaction.c ---- */

/* At delivery_create(), where there is a transactional id. */
extern void transaction_prepare(Delivery *delivery,
								const DeliveryConfig *config);

/*
 * A message is about to be sent: have a Kafka transaction open for it.
 */
extern void transaction_enter(Delivery *delivery);

/* A message was sent. */
static inline void
transaction_count(Delivery *delivery, const Event *event, size_t bytes)
{
	TransactionBatch *batch = &delivery->batch;

	batch->events++;
	batch->bytes += bytes;
	if (event->txn == NULL)
		return;
	if (batch->event_lsn != event->lsn)
	{
		batch->event_lsn = event->lsn;
		batch->event_number = 0;
	}
	batch->event_number++;
}

/* A unit begins; txn NULL: it is no transaction.  A unit has ended. */
extern void transaction_unit_begins(Delivery *delivery,
									const EventTransaction *txn);
extern void transaction_unit_ended(Delivery *delivery);

/*
 * Is this event, of a transaction that was split, in Kafka already?  To be
 * asked while batch.skipping, of each event that would be sent: what was left
 * out before has to be left out again, or the count would not be the same.
 */
extern bool transaction_skips(Delivery *delivery, const Event *event);

/*
 * Commit if it is time to.  idle: the caller is about to sleep.  Returns in
 * how many ms to ask again, -1: not by time.
 */
extern long transaction_consider_commit(Delivery *delivery, bool idle);

/* Commit now, if one is open, also in the middle of a unit. */
extern void transaction_commit_now(Delivery *delivery);

/* Is everything that was sent committed? */
static inline bool
transaction_settled(const Delivery *delivery)
{
	return !delivery->exactly_once ||
		kafka_transaction_state(delivery->kafka) <= KAFKA_TRANSACTION_READY;
}

#endif							/* WAL2KAFKA_DELIVERY_PRIVATE_H */
