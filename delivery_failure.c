/*
 * delivery_failure.c
 *		Delivery of what tells of events that cannot be sent, and the judgement
 *		of messages that a broker has refused.
 *
 * A refused message ends the process, as all that fails does.  What the next
 * ones do differently is here: a suspect (suspect.h) is sent when nothing else
 * is under way, and nothing follows it before it is acknowledged, so that a
 * refusal is its own.  Whether a bad one is left out is decided before it is
 * encoded for good, by who asks refused(); here only what comes from elsewhere
 * (rows of a reader, tombstones).
 */
#include "postgres.h"

#include "dead_letter.h"
#include "delivery_private.h"
#include "miscadmin.h"
#include "selection.h"
#include "slot_state.h"
#include "suspect.h"
#include "utils/memutils.h"

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
	MemoryContext old;
	char	   *name;

	if (failures->topic != NULL)
		return failures->topic;
	old = MemoryContextSwitchTo(TopMemoryContext);
	name = selection_dead_letter_topic(delivery->settings,
									   NameStr(delivery->stream->database));
	delivery_make_topics(delivery, list_make1(name));
	failures->topic = kafka_sink_topic(delivery->kafka, name);
	MemoryContextSwitchTo(old);
	return failures->topic;
}

static void
send_dead_letter(Delivery *delivery, const Event *event)
{
	KafkaTopic *topic = dead_letter_topic(delivery);

	ack_tracker_add(delivery->tracker, delivery->ticket);
	if (delivery_send(delivery, topic, event->key.data, event->key.len,
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

static Suspect *
find_suspect(Delivery *delivery, const Event *event, const EventBytes *key,
			 const EventBytes *value)
{
	return suspects_find(delivery->failures.suspects, event->target->topic,
						 key->data, key->len, value->data, value->len,
						 event->lsn, event->kind);
}

/*
 * The sink's refused().
 */
static bool
sink_refused(EventSink *sink, const Event *event, EventFailure *failure)
{
	Delivery   *delivery = (Delivery *) sink;
	EventBytes	key;
	EventBytes	value;
	Suspect    *suspect;

	delivery_frame(delivery, event, &key, &value);
	suspect = find_suspect(delivery, event, &key, &value);
	if (suspect == NULL || !suspect_is_bad(suspect))
		return false;
	describe_refusal(failure, suspect_refusal(suspect));
	return true;
}

/*
 * Leave out a bad message that nobody has asked about.
 */
static void
leave_out(Delivery *delivery, const Event *event, const Suspect *suspect)
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

	describe_refusal(&failure, suspect_refusal(suspect));
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
	dead_letter_log(&letter, handling);
	delivery_emit_dead_letter(delivery, &result);
}

static void
wait_until_sent(Delivery *delivery)
{
	while (kafka_sink_queued_messages(delivery->kafka) > 0)
		delivery_wait_in_emit(delivery);
}

bool
delivery_before_send(Delivery *delivery, const Event *event,
					 const EventBytes *key, const EventBytes *value)
{
	DeliveryFailures *failures = &delivery->failures;
	Suspect    *suspect = find_suspect(delivery, event, key, value);

	if (suspect == NULL)
		return true;
	if (suspect_is_bad(suspect))
	{
		leave_out(delivery, event, suspect);
		return false;
	}
	wait_until_sent(delivery);
	suspect_try(suspect, event->lsn, event->kind);
	failures->trying = suspect;
	return true;
}

void
delivery_after_send(Delivery *delivery)
{
	DeliveryFailures *failures = &delivery->failures;

	if (failures->trying == NULL)
		return;
	wait_until_sent(delivery);
	suspect_acquit(failures->suspects, failures->trying);
	failures->trying = NULL;
}

/* ---- start and end ---- */

void
delivery_load_failures(Delivery *delivery)
{
	DeliveryFailures *failures = &delivery->failures;

	if (!failure_is_handled(delivery->settings))
		return;
	failures->suspects = suspects_load(delivery->stream->slot_name);
	failures->careful = suspects_any(failures->suspects);
	if (failures->careful)
	{
		delivery->sink.refused = sink_refused;
		slot_state_take_care();
	}
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

void
delivery_note_refusal(Delivery *delivery)
{
	DeliveryFailures *failures = &delivery->failures;
	const KafkaRefusal *refusal = kafka_sink_refusal(delivery->kafka);
	bool		noted;

	if (refusal == NULL || failures->suspects == NULL ||
		!is_handled(delivery->settings, refusal))
		return;
	if (failures->trying != NULL)
		noted = suspect_refused(failures->suspects, failures->trying,
								refusal);
	else
		noted = suspects_add(failures->suspects, refusal);

	/* the next process knows more than this one */
	if (noted)
		slot_state_start_again();
}
