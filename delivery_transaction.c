/*
 * delivery_transaction.c
 *		Units in Kafka transactions, with the position beside them.
 *
 * One Kafka transaction is open from the first message after a commit to the
 * next commit.  It takes as many units as come until it is old or large
 * enough; an idle stream commits at once, but not more often than each
 * wal2kafka.transaction_batch_age, so that a single change does not wait and
 * a trickle of changes does not turn into a trickle of Kafka transactions,
 * which cost a broker more than rows do.
 *
 * The last messages of a transaction are notes of snapshots and the position.
 * What is acknowledged moves when the commit is over, and not before: until
 * then a consumer that reads what is committed has seen nothing of it.
 *
 * A database transaction that takes too long or is too large is split: Kafka
 * aborts a transaction that is older than its timeout, and consumers of all
 * its partitions wait for the oldest open one.  The position then also says
 * how far the stream is in that database transaction: the LSN of the last
 * change that was sent, and which of the events of that LSN.  Events of a
 * transaction come in the order of their LSNs, so the next worker decodes
 * the transaction once more and drops what comes up to there.
 */
#include "postgres.h"

#include <time.h>

#include "delivery_private.h"
#include "kafka_source.h"
#include "kill_point.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/*
 * How long the topic of the position may keep silent while it is read: what a
 * process has left open is aborted by the broker when its time is up, and
 * hides what is behind it until then.
 */
#define READ_TIMEOUT_MS(settings) \
	((settings)->transaction_timeout_ms + 30000)

/* How often a producer whose answers do not wake us is looked at. */
#define FENCING_POLL_MS		50

/* Small segments, so that the compacted topic stays small, too. */
static Option progress_topic_options[] = {
	{"cleanup.policy", "compact"},
	{"segment.bytes", "4194304"},
	{"min.cleanable.dirty.ratio", "0.1"},
};

static int64
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
transaction_prepare(Delivery *delivery, const DeliveryConfig *config)
{
	const Settings *settings = config->settings;

	if (settings->transaction_split_age >= settings->transaction_timeout_ms)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("wal2kafka.transaction_split_age must be less than wal2kafka.transaction_timeout_ms"),
				 errdetail("They are %d ms and %d ms.",
						   settings->transaction_split_age,
						   settings->transaction_timeout_ms)));
	delivery->exactly_once = true;
	delivery->batch.topic_name = pstrdup(config->progress_topic);
	delivery->batch.scratch = AllocSetContextCreate(TopMemoryContext,
													"wal2kafka position",
													ALLOCSET_SMALL_SIZES);
}

bool
delivery_exactly_once(const Delivery *delivery)
{
	return delivery->exactly_once;
}

const char *
delivery_progress_topic(const Delivery *delivery)
{
	return delivery->batch.topic_name;
}

/* ---- begin ---- */

void
transaction_enter(Delivery *delivery)
{
	TransactionBatch *batch = &delivery->batch;
	KafkaTransactionState state = kafka_transaction_state(delivery->kafka);

	if (likely(state == KAFKA_TRANSACTION_OPEN))
		return;
	while ((state = kafka_transaction_state(delivery->kafka)) ==
		   KAFKA_TRANSACTION_COMMIT || state == KAFKA_TRANSACTION_INIT)
	{
		delivery_publish(delivery);
		delivery_wait_for_event(delivery, 1000);
	}

	/* the service function, called in the wait, may have sent something */
	if (state == KAFKA_TRANSACTION_OPEN)
		return;
	kafka_transaction_begin(delivery->kafka);
	KILL_POINT("transaction_begun");
	batch->opened_at = now_ms();
	batch->events = 0;
	batch->bytes = 0;
}

void
transaction_unit_begins(Delivery *delivery, const EventTransaction *txn)
{
	TransactionBatch *batch = &delivery->batch;

	batch->txn = txn;
	batch->event_lsn = InvalidXLogRecPtr;
	batch->event_number = 0;
	batch->skipping = (txn != NULL && txn->end_lsn == batch->skip_end &&
					   !XLogRecPtrIsInvalid(batch->skip_end));
}

bool
transaction_skips(Delivery *delivery, const Event *event)
{
	TransactionBatch *batch = &delivery->batch;

	if (event->txn == NULL)
		return false;			/* a row of a snapshot that comes between */
	if (batch->event_lsn != event->lsn)
	{
		batch->event_lsn = event->lsn;
		batch->event_number = 0;
	}
	batch->event_number++;
	if (event->lsn < batch->skip_lsn ||
		(event->lsn == batch->skip_lsn &&
		 batch->event_number <= batch->skip_number))
		return true;

	/* counted once more when it is sent */
	batch->event_number--;
	batch->skipping = false;
	return false;
}

/* ---- end ---- */

static void
send_record(Delivery *delivery, const char *key, size_t key_len,
			const char *value, size_t value_len)
{
	TransactionBatch *batch = &delivery->batch;

	if (batch->topic == NULL)
		batch->topic = kafka_sink_topic(delivery->kafka, batch->topic_name);
	if (delivery_send(delivery, batch->topic, key, key_len, value, value_len,
					  NULL, 0, 0, 0, NO_TICKET) == KAFKA_TOO_LARGE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("record of the stream's progress exceeds the message limit of Kafka"),
				 errdetail("Record \"%.*s\" has %zu bytes.",
						   (int) key_len, key, value_len),
				 errhint("Raise message.max.bytes in wal2kafka.kafka_options.")));
}

/*
 * How far the stream is with what the open transaction holds.
 */
static void
advance_record(Delivery *delivery)
{
	TransactionBatch *batch = &delivery->batch;
	ProgressRecord *record = &batch->record;

	record->lsn = Max(record->lsn, delivery->sent);
	record->written_at = GetCurrentTimestamp();
	record->split_end = InvalidXLogRecPtr;
	if (delivery->unit_open && batch->txn != NULL && !batch->skipping &&
		batch->event_number > 0)
	{
		record->split_end = batch->txn->end_lsn;
		record->split_lsn = batch->event_lsn;
		record->split_events = batch->event_number;
		record->split_xid = batch->txn->xid;
	}
	else if (record->lsn < batch->skip_end)
	{
		/* of the transaction that another worker split nothing new is sent */
		record->split_end = batch->skip_end;
		record->split_lsn = batch->skip_lsn;
		record->split_events = batch->skip_number;
	}
}

static void
write_record(Delivery *delivery)
{
	TransactionBatch *batch = &delivery->batch;
	MemoryContext old = MemoryContextSwitchTo(batch->scratch);
	StringInfoData buf;

	initStringInfo(&buf);
	progress_record_write(&buf, &batch->record);
	KILL_POINT("progress_record_written");
	send_record(delivery, PROGRESS_KEY, strlen(PROGRESS_KEY), buf.data,
				buf.len);
	MemoryContextSwitchTo(old);
	MemoryContextReset(batch->scratch);
}

void
transaction_commit_now(Delivery *delivery)
{
	TransactionBatch *batch = &delivery->batch;

	/* waiting for room calls the service function, and that may come here */
	if (batch->writing ||
		kafka_transaction_state(delivery->kafka) != KAFKA_TRANSACTION_OPEN)
		return;
	batch->writing = true;
	KILL_POINT("transaction_sent");
	if (batch->notes != NULL)
		batch->notes(delivery, delivery->unit_open, batch->notes_arg);
	if (batch->has_record)
	{
		advance_record(delivery);
		write_record(delivery);
	}
	KILL_POINT("before_transaction_commit");
	kafka_transaction_commit(delivery->kafka);
	KILL_POINT("transaction_commit_begun");
	batch->commit_began = now_ms();
	batch->hurry = false;
	batch->writing = false;
}

/* Is the open transaction, between two units, due for its size or age? */
static bool
batch_is_full(const Delivery *delivery)
{
	const TransactionBatch *batch = &delivery->batch;
	const Settings *settings = delivery->settings;

	return batch->hurry ||
		settings->transaction_mapping == TRANSACTION_PER_COMMIT ||
		batch->events >= settings->transaction_batch_rows ||
		batch->bytes >= (uint64) settings->transaction_batch_bytes * 1024;
}

/*
 * In how many ms does the open unit have to be split, for the size or age of
 * the open transaction?  -1: never.
 */
static long
until_split(const Delivery *delivery, int64 now)
{
	const TransactionBatch *batch = &delivery->batch;
	const Settings *settings = delivery->settings;

	if (batch->whole_units)
		return -1;
	if (batch->bytes >= (uint64) settings->transaction_split_bytes * 1024)
		return 0;
	return Max(batch->opened_at + settings->transaction_split_age - now, 0);
}

long
transaction_consider_commit(Delivery *delivery, bool idle)
{
	TransactionBatch *batch = &delivery->batch;
	int64		now;
	long		left;

	if (batch->writing || batch->held ||
		kafka_transaction_state(delivery->kafka) != KAFKA_TRANSACTION_OPEN)
		return -1;
	now = now_ms();
	if (delivery->unit_open)
	{
		if ((left = until_split(delivery, now)) < 0)
			return -1;
	}
	else if (batch_is_full(delivery))
		left = 0;
	else
	{
		int			age = delivery->settings->transaction_batch_age;

		/* with nothing more to come the pause since the last one counts */
		left = (idle ? batch->commit_began : batch->opened_at) + age - now;
	}
	if (left > 0)
		return left;
	if (delivery->unit_open)
		KILL_POINT("before_split");
	transaction_commit_now(delivery);
	return -1;
}

void
transaction_unit_ended(Delivery *delivery)
{
	TransactionBatch *batch = &delivery->batch;

	if (batch->txn != NULL)
		batch->record.commit_time = batch->txn->commit_time;
	batch->txn = NULL;
	batch->skipping = false;
	if (batch_is_full(delivery))
		(void) transaction_consider_commit(delivery, false);
}

void
delivery_hurry(Delivery *delivery)
{
	delivery->batch.hurry = true;
}

/* ---- notes and the position ---- */

void
delivery_set_notes(Delivery *delivery, DeliveryNotesFunc notes, void *arg)
{
	delivery->batch.notes = notes;
	delivery->batch.notes_arg = arg;
}

void
delivery_note(Delivery *delivery, const char *key, const char *value,
			  size_t value_len)
{
	transaction_enter(delivery);
	send_record(delivery, key, strlen(key), value, value_len);
}

void
delivery_fence(Delivery *delivery)
{
	KILL_POINT("before_fence");
	kafka_transaction_init(delivery->kafka);
	while (kafka_transaction_state(delivery->kafka) ==
		   KAFKA_TRANSACTION_INIT)
	{
		delivery_publish(delivery);
		delivery_wait(delivery, 1000);
	}

	/* what a trial of a killed process has left keeps consumers waiting */
	if (delivery->failures.careful)
		delivery_fence_others(delivery, &delivery->failures.trial_id, 1);
	KILL_POINT("fenced");
}

void
delivery_keep_units_whole(Delivery *delivery)
{
	delivery->batch.whole_units = true;
}

void
delivery_hold_commits(Delivery *delivery, bool hold)
{
	delivery->batch.held = hold;
	if (!hold)
		(void) transaction_consider_commit(delivery, false);
}

static void
ignore_ack(void *arg, uint64 ticket)
{
}

/*
 * A producer that does nothing but take an id.  What there is of it is freed
 * with the process, should an error come between.
 */
static KafkaSink *
fencing_sink(Delivery *delivery, const char *id)
{
	KafkaSink  *sink = delivery_connect(delivery, id, false, ignore_ack,
										NULL);

	kafka_transaction_init(sink);
	return sink;
}

void
delivery_fence_others(Delivery *delivery, char *const *ids, int n)
{
	for (int i = 0; i < n; i++)
	{
		KafkaSink  *sink = fencing_sink(delivery, ids[i]);

		while (kafka_sink_poll(sink) == 0 &&
			   kafka_transaction_state(sink) == KAFKA_TRANSACTION_INIT)
			delivery_wait(delivery, FENCING_POLL_MS);
		kafka_sink_destroy(sink, 0);
	}
}

static void
copy_identity(ProgressIdentity *identity)
{
	identity->slot_name = pstrdup(identity->slot_name);
	identity->machine = pstrdup(identity->machine);
	identity->data_directory = pstrdup(identity->data_directory);
}

void
delivery_set_progress(Delivery *delivery, const ProgressRecord *record)
{
	TransactionBatch *batch = &delivery->batch;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	batch->record = *record;
	copy_identity(&batch->record.identity);
	MemoryContextSwitchTo(old);
	batch->has_record = true;
	/* of use as long as the transaction has not come by */
	batch->skip_end = record->split_end;
	batch->skip_lsn = record->split_lsn;
	batch->skip_number = record->split_events;

	/*
	 * As it is, also where it says that a transaction was split: that holds
	 * until a transaction commits.
	 */
	transaction_enter(delivery);
	batch->writing = true;
	batch->record.written_at = GetCurrentTimestamp();
	write_record(delivery);
	kafka_transaction_commit(delivery->kafka);
	batch->writing = false;
	while (!transaction_settled(delivery))
	{
		delivery_publish(delivery);
		delivery_wait(delivery, 1000);
	}
	KILL_POINT("claimed");
}

/*
 * The topic is made before it is read: that waits until there is a broker.
 */
static void
make_topic(Delivery *delivery)
{
	const OptionList config = {
		lengthof(progress_topic_options), progress_topic_options
	};

	delivery_make_compacted(delivery, delivery->batch.topic_name, &config);
}

/*
 * The topic's partition, which brokers may not know of yet when the topic was
 * just made.
 */
static const KafkaPartition *
find_partition(Delivery *delivery, KafkaSource *source)
{
	const char *topic = delivery->batch.topic_name;
	int64		limit = now_ms() + READ_TIMEOUT_MS(delivery->settings);
	KafkaPartition *partitions;
	int			n;

	while ((n = kafka_source_look(source, &topic, 1, &partitions)) == 0 &&
		   now_ms() < limit)
		delivery_wait(delivery, 100);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no Kafka topic \"%s\"", topic)));
	if (n > 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("Kafka topic \"%s\" has %d partitions", topic, n),
				 errdetail("The topic of a stream's position has one."),
				 errhint("Set wal2kafka.progress_topic_name to another name.")));
	return partitions;
}

void
delivery_read_progress(Delivery *delivery, bool committed_only,
					   void (*visit) (void *arg, const char *key,
									  size_t key_len, const char *value,
									  size_t value_len),
					   void *arg)
{
	const Settings *settings = delivery->settings;
	OptionList	options;
	KafkaSource *volatile source = NULL;
	KafkaRecord record;

	make_topic(delivery);
	options = options_read("wal2kafka.kafka_options", settings->kafka_options,
						   "wal2kafka.kafka_options_file",
						   settings->kafka_options_file,
						   kafka_sink_check_options);
	PG_TRY();
	{
		source = kafka_source_create(settings->bootstrap_servers,
									 psprintf("wal2kafka-%s",
											  delivery->stream->name),
									 &options, READ_TIMEOUT_MS(settings),
									 committed_only);
		kafka_source_begin(source, find_partition(delivery, source));
		while (kafka_source_next(source, &record))
			visit(arg, (const char *) record.key, record.key_len,
				  (const char *) record.value, record.value_len);
	}
	PG_FINALLY();
	{
		kafka_source_destroy(source);
		options_wipe(&options);
	}
	PG_END_TRY();
}
