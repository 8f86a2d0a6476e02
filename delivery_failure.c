/*
 * delivery_failure.c
 *		Delivery of what tells of events that cannot be sent, and the judgement
 *		of messages that a broker has refused.
 *
 * A refused message ends the process, as all that fails does, and makes
 * suspects of those like it (suspect.h).  The next process tries each suspect
 * by a producer of its own, that has nothing else under way: what that is told
 * is about the one message, ends nothing, and can be asked for again.  A
 * message that is refused so SUSPECT_TRIES times is bad; no other is.
 *
 * At least once, a trial that succeeds has sent the message: what came before
 * it is acknowledged then, and nothing follows it before it is.  Exactly once,
 * the message goes out in the stream's transactions alone: a trial is a
 * transaction that is aborted, and a process that ends leaves one behind that
 * nobody commits.
 *
 * Whether a bad one is left out is decided before it is encoded for good, by
 * who asks refused(); here only what comes from elsewhere (rows of a reader,
 * tombstones).  What tells of a bad one is no suspect ever: if that is
 * refused, the stream tries again with backoff.
 */
#include "postgres.h"

#include "dead_letter.h"
#include "delivery_private.h"
#include "json_encode.h"
#include "miscadmin.h"
#include "selection.h"
#include "slot_state.h"
#include "storage/latch.h"
#include "suspect.h"
#include "utils/memutils.h"

/* A trial that is waited for is looked at at least so often. */
#define TRIAL_POLL_MS		100

/* To abort a trial's transaction has so long when its producer goes. */
#define TRIAL_END_MS		500

/*
 * Counters of the event's table, for what is rare.
 */
static TableStats *
table_of(Delivery *delivery, const EventTarget *target)
{
	DeliveryFailures *failures = &delivery->failures;

	if (failures->table == NULL || failures->table->relid != target->relid ||
		!OidIsValid(target->relid))
		failures->table = stream_table(delivery->tables, target->relid,
									   target->schema_name,
									   target->table_name);
	return failures->table;
}

/* ---- dead letters ---- */

static KafkaTopic *
dead_letter_topic(Delivery *delivery)
{
	DeliveryFailures *failures = &delivery->failures;

	if (failures->topic != NULL)
		return failures->topic;
	delivery_make_deleting(delivery, failures->letters);
	failures->topic = kafka_sink_topic(delivery->kafka, failures->letters);
	return failures->topic;
}

/*
 * An event that has no key is known by its place: the topic may be one that
 * somebody made, and that takes no record without a key.
 */
static void
send_dead_letter(Delivery *delivery, const Event *event)
{
	KafkaTopic *topic = dead_letter_topic(delivery);
	EventBytes	key = event->key;
	char		place[32];

	if (key.data == NULL)
	{
		snprintf(place, sizeof(place), "{\"lsn\":\"%X/%X\"}",
				 LSN_FORMAT_ARGS(event->lsn));
		key.data = (uint8 *) place;
		key.len = strlen(place);
	}
	ack_tracker_add(delivery->tracker, delivery->ticket);
	if (delivery_send(delivery, topic, key.data, key.len,
					  event->value.data, event->value.len,
					  event->headers, event->nheaders,
					  EVENT_PARTITION_BY_KEY,
					  delivery_timestamp(delivery, event),
					  delivery->ticket) == KAFKA_TOO_LARGE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a dead letter exceeds the message limit of Kafka"),
				 errhint("Raise message.max.bytes in wal2kafka.kafka_options.")));
}

void
delivery_emit_dead_letter(Delivery *delivery, const Event *event)
{
	TableStats *table = table_of(delivery, event->target);
	bool		sent = event->value.data != NULL;

	if (sent)
		send_dead_letter(delivery, event);
	if (delivery->exactly_once)
		transaction_count(delivery, event,
						  event->key.len + event->value.len);
	if (sent)
		delivery->failures.dead_letters++;
	else
		delivery->failures.skipped++;
	if (table == NULL)
		return;
	if (sent)
		table->dead_letters++;
	else
		table->skipped++;
}

void
delivery_count_reduced(Delivery *delivery, const Event *event)
{
	TableStats *table = table_of(delivery, event->target);

	delivery->failures.truncated++;
	if (table != NULL)
		table->truncated++;
}

/* ---- suspects ---- */

static void
describe_refusal(EventFailure *failure, const KafkaRefusal *refusal)
{
	memset(failure, 0, sizeof(EventFailure));
	failure->sqlerrcode = refusal->sqlerrcode;
	failure->oversized = refusal->oversized;
	failure->refused = true;
	failure->message = "Kafka refuses it";
	failure->detail = refusal->reason;

	/* what the limit is the broker does not say */
	if (refusal->oversized)
	{
		failure->size = refusal->key_len + refusal->value_len;
		failure->limit = failure->size / 2;
	}
}

static bool
is_suspect(const Delivery *delivery, const Event *event,
		   const EventBytes *key, const EventBytes *value)
{
	return suspects_has(delivery->failures.suspects, event->target->topic,
						key->data != NULL, key->len + value->len);
}

/*
 * The letter's key as text, from the event's, where the row is not at hand.
 */
static void
show_key(Delivery *delivery, Event *letter, const Event *event)
{
	const EventSchema *schema = &event->target->key;
	char	   *text;

	if (event->key.data == NULL)
		return;
	letter->key = event->key;
	if (schema->text == NULL || schema->format != EVENT_FORMAT_AVRO)
		return;
	json_encode_header(schema, delivery->settings, event->key, &text,
					   &letter->key.len);
	letter->key.data = (uint8 *) text;
}

/*
 * Leave out a bad message that nobody has asked about.
 */
static void
leave_out(Delivery *delivery, const Event *event)
{
	EventFailure failure;
	DeadLetter	letter = {
		.failure = &failure,
		.name = selection_topic_prefix(delivery->settings,
									   NameStr(delivery->stream->database)),
		.event = event,
		.xid = event->txn != NULL ? event->txn->xid : InvalidTransactionId,
		.max_bytes = delivery->sink.message_limit,
	};
	FailureHandling handling;
	Event		result;

	describe_refusal(&failure, &delivery->failures.refusal);
	handling = failure_handling(delivery->settings, failure.oversized);
	if (handling == FAILURE_FAIL)
		ereport(ERROR,
				(errcode(failure.sqlerrcode),
				 errmsg("%s of table \"%s.%s\" at LSN %X/%X cannot be sent: %s",
						event_kinds[event->kind].name,
						event->target->schema_name,
						event->target->table_name,
						LSN_FORMAT_ARGS(event->lsn), failure.message),
				 errdetail("%s", failure.detail)));
	dead_letter_fill(&result, &letter, handling);
	if (handling == FAILURE_DEAD_LETTER && result.key.data == NULL)
		show_key(delivery, &result, event);
	dead_letter_log(&letter, handling);
	delivery_emit_dead_letter(delivery, &result);
}

/* ---- trials ---- */

static void
on_trial_ack(void *arg, uint64 ticket)
{
	((DeliveryFailures *) arg)->trial_acked = true;
}

static void
end_trials(Delivery *delivery, int timeout_ms)
{
	DeliveryFailures *failures = &delivery->failures;
	KafkaSink  *trial = failures->trial;

	failures->trial = NULL;
	kafka_sink_destroy(trial, timeout_ms);
}

/*
 * See what came of it.  True: the message was refused, and the producer is
 * gone.  Everything else that goes wrong is raised.
 */
static bool
poll_trial(Delivery *delivery)
{
	DeliveryFailures *failures = &delivery->failures;
	MemoryContext cxt = CurrentMemoryContext;
	const KafkaRefusal *volatile refusal = NULL;

	PG_TRY();
	{
		kafka_sink_poll(failures->trial);
	}
	PG_CATCH();
	{
		refusal = kafka_sink_refusal(failures->trial);
		if (refusal == NULL || geterrcode() != refusal->sqlerrcode)
			PG_RE_THROW();
		MemoryContextSwitchTo(cxt);
		FlushErrorState();
	}
	PG_END_TRY();
	if (refusal == NULL)
		return false;
	failures->refusal = *refusal;
	end_trials(delivery, TRIAL_END_MS);
	return true;
}

/*
 * Wait a moment for the trial's producer, or for the stream's.
 */
static void
wait_for_trial(Delivery *delivery)
{
	(void) WaitLatchOrSocket(MyLatch,
							 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH |
							 WL_SOCKET_READABLE,
							 kafka_sink_fd(delivery->failures.trial),
							 TRIAL_POLL_MS, delivery->wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	delivery_publish(delivery);
	delivery_service(delivery);
}

static void
wait_for_transactions(Delivery *delivery)
{
	while (kafka_transaction_state(delivery->failures.trial) !=
		   KAFKA_TRANSACTION_READY)
	{
		wait_for_trial(delivery);
		if (poll_trial(delivery))
			elog(ERROR, "a message was refused that was not sent");
	}
}

/*
 * A producer that can take a message, now.
 */
static KafkaSink *
ready_trial(Delivery *delivery)
{
	DeliveryFailures *failures = &delivery->failures;
	MemoryContext cxt;
	MemoryContext old;

	if (failures->trial == NULL)
	{
		cxt = AllocSetContextCreate(CurrentMemoryContext, "wal2kafka trial",
									ALLOCSET_SMALL_SIZES);
		old = MemoryContextSwitchTo(cxt);
		failures->trial = delivery_connect(delivery, failures->trial_id, true,
										   on_trial_ack, failures);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(cxt);
		if (delivery->exactly_once)
			kafka_transaction_init(failures->trial);
	}
	if (delivery->exactly_once)
	{
		wait_for_transactions(delivery);
		kafka_transaction_begin(failures->trial);
	}
	return failures->trial;
}

static void
idle_while_asking(void *arg)
{
	wait_for_trial(arg);
}

/*
 * Where a partition ends is asked of the stream's producer.
 */
static void
note_end(void *arg, const char *topic, int32 partition, int64 offset)
{
	KafkaSink  *kafka = ((Delivery *) arg)->kafka;

	kafka_sink_note_end(kafka, kafka_sink_topic(kafka, topic), partition,
						offset);
}

/*
 * Once.  What failures->refusal says is of use after VERDICT_BAD alone.
 */
static Verdict
try_alone(Delivery *delivery, const Event *event, const EventBytes *key,
		  const EventBytes *value)
{
	DeliveryFailures *failures = &delivery->failures;
	KafkaSink  *trial = ready_trial(delivery);
	KafkaSendResult result;

	failures->trial_acked = false;
	result = kafka_sink_send(trial,
							 kafka_sink_topic(trial, event->target->topic),
							 key->data, key->len, value->data, value->len,
							 event->headers, event->nheaders,
							 event->partition,
							 delivery_timestamp(delivery, event), NO_TICKET);
	while (result == KAFKA_SENT && !failures->trial_acked)
	{
		kafka_sink_push(trial);
		wait_for_trial(delivery);
		if (poll_trial(delivery))
			return VERDICT_BAD;
	}
	if (delivery->exactly_once)
	{
		kafka_transaction_abort(trial);
		wait_for_transactions(delivery);
	}
	else if (result == KAFKA_SENT)
	{
		kafka_sink_offsets(trial, note_end, idle_while_asking, delivery);
		return VERDICT_SENT;
	}

	/* the stream's producer can say what is wrong with it, if anything is */
	return VERDICT_SEND;
}

static Verdict
judge(Delivery *delivery, const Event *event, const EventBytes *key,
	  const EventBytes *value)
{
	if (!delivery->exactly_once)
	{
		while (kafka_sink_queued_messages(delivery->kafka) > 0)
			delivery_wait_in_emit(delivery);
	}
	for (int i = 0; i < SUSPECT_TRIES; i++)
	{
		Verdict		verdict = try_alone(delivery, event, key, value);

		if (verdict != VERDICT_BAD)
			return verdict;
	}
	suspects_keep(delivery->failures.suspects);
	slot_state_take_care();
	return VERDICT_BAD;
}

bool
delivery_refuses(Delivery *delivery, const Event *event,
				 const EventBytes *key, const EventBytes *value,
				 EventFailure *failure)
{
	DeliveryFailures *failures = &delivery->failures;

	failures->judged = NULL;
	if (!is_suspect(delivery, event, key, value))
		return false;
	failures->verdict = judge(delivery, event, key, value);
	if (failures->verdict != VERDICT_BAD)
	{
		/* it is emitted next */
		failures->judged = event;
		return false;
	}
	describe_refusal(failure, &failures->refusal);
	return true;
}

Verdict
delivery_before_send(Delivery *delivery, const Event *event,
					 const EventBytes *key, const EventBytes *value)
{
	DeliveryFailures *failures = &delivery->failures;
	Verdict		verdict = VERDICT_SEND;

	if (failures->judged == event)
		verdict = failures->verdict;
	else if (is_suspect(delivery, event, key, value))
		verdict = judge(delivery, event, key, value);
	failures->judged = NULL;
	if (verdict == VERDICT_BAD)
		leave_out(delivery, event);
	return verdict;
}

/* ---- start and end ---- */

void
delivery_load_failures(Delivery *delivery, const char *transactional_id)
{
	DeliveryFailures *failures = &delivery->failures;

	if (!failure_is_handled(delivery->settings))
		return;
	failures->letters =
		selection_dead_letter_topic(delivery->settings,
									NameStr(delivery->stream->database));
	failures->suspects = suspects_load(delivery->stream->slot_name);
	failures->careful = suspects_any(failures->suspects);
	if (transactional_id != NULL)
		failures->trial_id = psprintf("%s-trial", transactional_id);
	if (failures->careful)
		slot_state_take_care();
}

/*
 * Is there anything that is done with such a refusal but to fail?
 */
static bool
is_handled(const Settings *settings, const KafkaRefusal *refusal)
{
	int			oversized = settings->oversized_event_handling_mode;

	return failure_handling(settings, refusal->oversized) != FAILURE_FAIL ||
		(refusal->oversized && (oversized == OVERSIZED_TRUNCATE_VALUE ||
								oversized == OVERSIZED_KEY_ONLY));
}

/*
 * Is it a topic of events?  What else is sent is never tried.
 */
static bool
takes_events(const Delivery *delivery, const char *topic)
{
	return strcmp(topic, delivery->schemas_topic) != 0 &&
		(delivery->batch.topic_name == NULL ||
		 strcmp(topic, delivery->batch.topic_name) != 0) &&
		strcmp(topic, delivery->failures.letters) != 0;
}

void
delivery_end_failures(Delivery *delivery, int timeout_ms)
{
	DeliveryFailures *failures = &delivery->failures;
	const KafkaRefusal *refusal = kafka_sink_refusal(delivery->kafka);

	end_trials(delivery, Min(timeout_ms, TRIAL_END_MS));

	/* the next process knows more than this one */
	if (refusal != NULL && failures->suspects != NULL &&
		is_handled(delivery->settings, refusal) &&
		takes_events(delivery, refusal->topic) &&
		suspects_add(failures->suspects, refusal, failures->careful))
		slot_state_start_again();
}

void
delivery_learn_refusals(Delivery *delivery)
{
	if (delivery->failures.suspects != NULL &&
		suspects_news(delivery->failures.suspects))
		slot_state_start_again();
}
