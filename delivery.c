/*
 * delivery.c
 *		From events to acknowledged positions.
 *
 * The guarantee rests on three rules.  A position is reported only when every
 * message of every transaction up to it was acknowledged (ack_tracker.c).  A
 * message that fails for good ends the process (kafka_sink_poll() raises),
 * and the stream starts again from the slot; nothing is sent twice out of
 * order to repair a gap.  And emit() does not return before its event is in
 * the producer's queue: it waits, answering interrupts, as long as there is
 * no room.
 *
 * A target (one version of a relation) is prepared when its first event
 * arrives: topic, schema ids, counters.  From then on an event costs framing
 * and one call of the producer.
 */
#include "postgres.h"

#include "ack_tracker.h"
#include "compat.h"
#include "dead_letter.h"
#include "delivery_private.h"
#include "kafka_sink.h"
#include "kill_point.h"
#include "miscadmin.h"
#include "options.h"
#include "port/pg_bswap.h"
#include "registry.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Acknowledgements are read at least once in so many events. */
#define SERVICE_EVENTS		512

/* Counters go to shared memory at most this often, but before each sleep. */
#define PUBLISH_INTERVAL_US	50000

/* So long a wait for room without an acknowledgement, and requests go out. */
#define ROOM_WAIT_MS		10

/* An outage that turns out to be another one is reported this often. */
#define BROKER_REPORT_MS	5000

/* Counters are kept for so many tables where there is no guardrail. */
#define UNLIMITED_TABLES	10000

/* Kafka's time of a record is in ms since 1970, PostgreSQL's in us since 2000 */
#define UNIX_EPOCH_US \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* Framing of Confluent's serializers: 0, then the id, big-endian. */
#define CONFLUENT_HEADER_LEN	5

/* Avro's single-object encoding: marker, then the fingerprint, little-endian */
#define SINGLE_OBJECT_HEADER_LEN	10

/* So many bytes of a key are shown in an error. */
#define SHOWN_KEY		32

/* Time of a unit that is no commit, and whose delay says nothing */
#define NO_COMMIT		INT64CONST(0)

StaticAssertDecl(SINGLE_OBJECT_HEADER_LEN <= EVENT_HEADROOM,
				 "headroom too small for framing");

/*
 * What goes in front of a key or value: the rendered bytes of either framing.
 */
typedef struct Frame
{
	int			len;
	uint8		bytes[EVENT_HEADROOM];
} Frame;

/*
 * What the sink hangs off an EventTarget.  Lives in TopMemoryContext from the
 * target's first event until its release().
 */
typedef struct TargetState
{
	KafkaTopic *topic;
	Frame		key_frame;
	Frame		value_frame;
	uint32		generation;		/* of the ids in the frames */
	TableStats *stats;			/* NULL: the array is full */
} TargetState;

/* A topic that is known to exist; in the hash Delivery.topics. */
typedef struct KnownTopic
{
	char		name[256];		/* hash key; Kafka allows 249 */
	char		table[2 * NAMEDATALEN];	/* whose events came first; empty: none
										 * did */
} KnownTopic;

/* A schema whose text was sent to the schemas topic, by fingerprint. */
typedef struct PublishedSchema
{
	uint64		fingerprint;	/* hash key */
} PublishedSchema;

static void sink_begin(EventSink *sink, const EventTransaction *txn);
static void sink_emit(EventSink *sink, const Event *event);
static void sink_commit(EventSink *sink, const EventTransaction *txn);
static void sink_announce(EventSink *sink, EventTarget *target);
static void sink_pass(EventSink *sink);
static void sink_release(EventSink *sink, EventTarget *target);
static bool sink_refused(EventSink *sink, const Event *event,
						 EventFailure *failure);
static TargetState *prepare_target(Delivery *delivery, EventTarget *target);
static void on_ack(void *arg, uint64 ticket);
static void on_registry_wait(void *arg, RegistryProblem problem,
							 const char *reason);

static void
connect_registry(Delivery *delivery)
{
	const Settings *settings = delivery->settings;

	if (settings->schema_registry_url[0] == '\0')
	{
		HASHCTL		ctl = {
			.keysize = sizeof(uint64),
			.entrysize = sizeof(PublishedSchema),
			.hcxt = TopMemoryContext,
		};

		delivery->schemas = hash_create("wal2kafka published schemas", 64,
										&ctl, HASH_ELEM | HASH_BLOBS |
										HASH_CONTEXT);
		return;
	}

	delivery->registry = registry_open(settings, on_registry_wait, delivery);
}

KafkaSink *
delivery_connect(Delivery *delivery, const char *transactional_id, bool trial,
				 void (*callback) (void *arg, uint64 ticket), void *arg)
{
	const Settings *settings = delivery->settings;
	KafkaSinkConfig config = {0};
	KafkaSink  *sink;

	config.bootstrap_servers = settings->bootstrap_servers;
	config.client_id = psprintf("wal2kafka-%s", delivery->stream->name);
	config.options = options_read("wal2kafka.kafka_options",
								  settings->kafka_options,
								  "wal2kafka.kafka_options_file",
								  settings->kafka_options_file,
								  kafka_sink_check_options);
	config.max_queue_bytes = (size_t) settings->max_queue_size_in_bytes * 1024;
	config.transactional_id = transactional_id;
	config.transaction_timeout_ms = settings->transaction_timeout_ms;
	config.single_messages = trial || delivery->failures.careful;
	config.trial = trial;
	config.on_ack = callback;
	config.arg = arg;
	sink = kafka_sink_create(&config);
	options_wipe(&config.options);
	return sink;
}

Delivery *
delivery_create(const DeliveryConfig *config)
{
	const Settings *settings = config->settings;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Delivery   *delivery = palloc0(sizeof(Delivery));
	HASHCTL		ctl = {
		.keysize = sizeof(((KnownTopic *) NULL)->name),
		.entrysize = sizeof(KnownTopic),
		.hcxt = TopMemoryContext,
	};

	delivery->sink.begin = sink_begin;
	delivery->sink.emit = sink_emit;
	delivery->sink.commit = sink_commit;
	delivery->sink.announce = sink_announce;
	delivery->sink.pass = sink_pass;
	delivery->sink.release = sink_release;
	delivery->stream = config->stream;
	delivery->settings = settings;
	delivery->schemas_topic = pstrdup(config->schemas_topic);
	delivery->service = config->service;
	delivery->service_arg = config->arg;
	delivery->until_service = SERVICE_EVENTS;
	delivery->topic_config = options_parse("wal2kafka.topic_config",
										   settings->topic_config);
	delivery->topics = hash_create("wal2kafka known topics", 256, &ctl,
								   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	delivery->tables =
		stream_attach_tables(config->stream,
							 settings->guardrail_collections_max > 0 ?
							 settings->guardrail_collections_max :
							 UNLIMITED_TABLES);
	delivery->tracker = ack_tracker_create();
	if (delivery->tracker == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));

	if (config->transactional_id != NULL)
		transaction_prepare(delivery, config);
	delivery_load_failures(delivery, config->transactional_id);
	if (delivery->failures.careful)
		delivery->sink.refused = sink_refused;
	connect_registry(delivery);
	delivery->kafka = delivery_connect(delivery, config->transactional_id,
									   false, on_ack, delivery);
	delivery->sink.message_limit = kafka_sink_message_limit(delivery->kafka);
	delivery->sink.frame_len = delivery->registry != NULL ?
		CONFLUENT_HEADER_LEN : SINGLE_OBJECT_HEADER_LEN;

	delivery->wait_event = compat_wait_event("Wal2kafkaDelivery");
	delivery->wait_set = compat_create_wait_event_set(3);
	AddWaitEventToSet(delivery->wait_set, WL_LATCH_SET, PGINVALID_SOCKET,
					  MyLatch, NULL);
	AddWaitEventToSet(delivery->wait_set, WL_EXIT_ON_PM_DEATH,
					  PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(delivery->wait_set, WL_SOCKET_READABLE,
					  kafka_sink_fd(delivery->kafka), NULL, NULL);
	MemoryContextSwitchTo(old);

	event_sink = &delivery->sink;
	return delivery;
}

void
delivery_finish(Delivery *delivery, int timeout_ms)
{
	AckTransaction done;
	bool		committed;

	if (delivery->finished)
		return;
	delivery->finished = true;

	/* Nothing will be acknowledged while no broker answers. */
	if (ack_tracker_pending(delivery->tracker) == 0 ||
		!kafka_sink_connected(delivery->kafka, NULL))
		timeout_ms = 0;
	committed = transaction_settled(delivery);
	delivery_end_failures(delivery, timeout_ms);
	kafka_sink_destroy(delivery->kafka, timeout_ms);
	event_sink = NULL;
	while (committed && ack_tracker_pop(delivery->tracker, &done))
	{
		delivery->popped++;
		delivery->acknowledged = Max(delivery->acknowledged, done.end_lsn);
	}
}

/* ---- acknowledgements ---- */

static void
on_ack(void *arg, uint64 ticket)
{
	Delivery   *delivery = arg;

	if (likely(ticket != NO_TICKET))
		ack_tracker_ack(delivery->tracker, ticket);
}

/*
 * Tell the operator when the broker goes away, when that turns out to have
 * another remedy, and when the broker is back.
 */
static void
watch_broker(Delivery *delivery)
{
	const KafkaSink *sink = delivery->kafka;
	const char *reason = NULL;
	bool		away = !kafka_sink_connected(sink, &reason);
	const char *remedy;

	/* while a message is tried, all may be waiting for that */
	if (!away && delivery->failures.trial != NULL)
	{
		sink = delivery->failures.trial;
		away = !kafka_sink_connected(sink, &reason);
	}
	remedy = kafka_sink_remedy(sink);

	if (away == delivery->broker_away &&
		(!away || remedy == NULL || remedy == delivery->broker_remedy ||
		 !TimestampDifferenceExceeds(delivery->broker_reported_at,
									 GetCurrentTimestamp(),
									 BROKER_REPORT_MS)))
		return;
	delivery->broker_away = away;
	delivery->broker_remedy = remedy;
	delivery->broker_reported_at = GetCurrentTimestamp();
	if (away)
	{
		if (remedy == NULL)
			remedy = "Check wal2kafka.bootstrap_servers and the broker.";
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" is waiting for a Kafka broker",
						delivery->stream->name),
				 reason ? errdetail("%s", reason) : 0,
				 errhint("Nothing is lost: changes wait in the WAL. %s",
						 remedy)));
		stream_set_error(delivery->stream, "waiting for a Kafka broker",
						 reason, remedy);
		stream_set_waiting(delivery->stream, STREAM_WAIT_BROKER);
		shared_state_wake_launcher();	/* it looks for new settings */
	}
	else
	{
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" has a Kafka broker again",
						delivery->stream->name)));
		stream_set_waiting(delivery->stream, STREAM_WAIT_NOTHING);
	}
}

/*
 * A message came back undelivered: say what of the database it was.
 */
static void
describe_failure(void *arg)
{
	Delivery   *delivery = arg;
	const char *name = kafka_sink_failed_topic(delivery->kafka);
	const KnownTopic *topic;
	uint64		ticket;
	XLogRecPtr	end_lsn;

	if (name == NULL || !kafka_sink_failed_ticket(delivery->kafka, &ticket))
		return;
	topic = hash_search(delivery->topics, name, HASH_FIND, NULL);
	end_lsn = delivery->unit_open && ticket == delivery->ticket ?
		delivery->unit_end :
		ack_tracker_end_lsn(delivery->tracker, ticket);
	if (topic != NULL && topic->table[0] != '\0')
		errcontext("message of table \"%s\", transaction that ends at LSN %X/%X",
				   topic->table, LSN_FORMAT_ARGS(end_lsn));
}

static void
poll_kafka(Delivery *delivery)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = describe_failure,
		.arg = delivery,
	};

	error_context_stack = &callback;
	kafka_sink_poll(delivery->kafka);
	error_context_stack = callback.previous;
}

void
delivery_service(Delivery *delivery)
{
	AckTransaction done;
	TimestampTz now = 0;

	poll_kafka(delivery);
	if (delivery->exactly_once)
		(void) transaction_consider_commit(delivery, false);
	while (transaction_settled(delivery) &&
		   ack_tracker_pop(delivery->tracker, &done))
	{
		/* one reading of the clock for all that arrived together */
		if (now == 0)
			now = GetCurrentTimestamp();
		KILL_POINT("acknowledged");
		delivery->popped++;
		/* a range of a snapshot may be sent long after its place */
		delivery->acknowledged = Max(delivery->acknowledged, done.end_lsn);
		if (done.commit_time == NO_COMMIT)
			continue;
		delivery->acknowledged_commit_time = done.commit_time;
		if (done.messages > 0)
		{
			delivery->acknowledged_at = now;
			stream_count_latency(delivery->stream, now - done.commit_time);
		}
	}
	watch_broker(delivery);
	delivery->until_service = SERVICE_EVENTS;

	/* The service function may wait or raise; it is not entered twice. */
	if (delivery->service != NULL && !delivery->in_service)
	{
		delivery->in_service = true;
		delivery->service(delivery->service_arg);
		delivery->in_service = false;
	}
}

size_t
delivery_message_limit(const Delivery *delivery)
{
	return kafka_sink_message_limit(delivery->kafka);
}

bool
delivery_can_emit(const Delivery *delivery)
{
	/* what came behind the notes of a transaction would not be in them */
	return !delivery->sending && !delivery->batch.writing;
}

bool
delivery_idle(const Delivery *delivery)
{
	return ack_tracker_pending(delivery->tracker) == 0 &&
		transaction_settled(delivery);
}

bool
delivery_in_unit(const Delivery *delivery)
{
	return delivery->unit_open;
}

uint64
delivery_mark(const Delivery *delivery)
{
	return delivery->opened;
}

bool
delivery_passed(const Delivery *delivery, uint64 mark)
{
	return delivery->popped >= mark;
}

XLogRecPtr
delivery_acknowledged(const Delivery *delivery)
{
	return delivery->acknowledged;
}

XLogRecPtr
delivery_sent(const Delivery *delivery)
{
	return delivery->sent;
}

void
delivery_wait_for_event(Delivery *delivery, long timeout_ms)
{
	WaitEvent	event;

	(void) WaitEventSetWait(delivery->wait_set, timeout_ms, &event, 1,
							delivery->wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	delivery_service(delivery);
}

void
delivery_wait(Delivery *delivery, long timeout_ms)
{
	if (delivery->exactly_once)
	{
		long		left = transaction_consider_commit(delivery,
													   !delivery->sending);

		if (left >= 0 && (timeout_ms < 0 || left < timeout_ms))
			timeout_ms = left;
	}
	kafka_sink_push(delivery->kafka);
	delivery_wait_for_event(delivery, timeout_ms);
}

/*
 * Partitions of a new topic: as many as records are routed to.
 */
static int
topic_partitions(const Settings *settings)
{
	if (settings->partition_payload_fields[0] == '\0')
		return settings->topic_partitions;
	return Max(settings->topic_partitions, settings->partition_topic_num);
}

/*
 * Wait inside emit().  The latch may have been set for the main loop, which
 * looks at everything again before it sleeps, so it need not be set again.
 */
void
delivery_wait_in_emit(Delivery *delivery)
{
	delivery_publish(delivery);
	delivery_wait(delivery, 1000);
}

void
delivery_publish(Delivery *delivery)
{
	StreamState *stream = delivery->stream;

	SpinLockAcquire(&stream->mutex);
	stream->events += delivery->events;
	stream->bytes += delivery->bytes;
	stream->transactions += delivery->transactions;
	stream->skipped_events += delivery->failures.skipped;
	stream->dead_letters += delivery->failures.dead_letters;
	stream->truncated_events += delivery->failures.truncated;
	if (!XLogRecPtrIsInvalid(delivery->sent))
		stream->sent_lsn = delivery->sent;
	if (delivery->acknowledged_at != 0)
	{
		stream->acknowledged_at = delivery->acknowledged_at;
		stream->acknowledged_commit_time = delivery->acknowledged_commit_time;

		/* progress ends a series of errors */
		stream->backoff_count = 0;
	}
	stream->queue_messages = kafka_sink_queued_messages(delivery->kafka);
	stream->queue_bytes = kafka_sink_queued_bytes(delivery->kafka);

	/* a new status of the stream has taken it back */
	if (delivery->broker_away && stream->waiting_for == STREAM_WAIT_NOTHING)
		stream->waiting_for = STREAM_WAIT_BROKER;
	SpinLockRelease(&stream->mutex);

	delivery->events = 0;
	delivery->bytes = 0;
	delivery->transactions = 0;
	delivery->failures.skipped = 0;
	delivery->failures.dead_letters = 0;
	delivery->failures.truncated = 0;
}

/* ---- topics ---- */

static void
wait_for_topics(Delivery *delivery)
{
	while (!kafka_sink_request_done(delivery->kafka))
		delivery_wait_in_emit(delivery);
}

static void
know_topic(Delivery *delivery, const char *name)
{
	bool		found;
	KnownTopic *topic = hash_search(delivery->topics, name, HASH_ENTER,
									&found);

	if (!found)
		topic->table[0] = '\0';
}

void
delivery_make_topics(Delivery *delivery, List *names)
{
	KafkaTopicSpec *specs = palloc0(sizeof(KafkaTopicSpec) *
									Max(list_length(names), 1));
	int			nspecs = 0;
	ListCell   *cell;

	foreach(cell, names)
	{
		char	   *name = lfirst(cell);

		if (hash_search(delivery->topics, name, HASH_FIND, NULL) != NULL)
			continue;
		specs[nspecs].name = name;
		specs[nspecs].partitions = topic_partitions(delivery->settings);
		specs[nspecs].replication_factor =
			delivery->settings->topic_replication_factor;
		specs[nspecs].config = &delivery->topic_config;
		nspecs++;
	}
	if (nspecs > 0)
	{
		KILL_POINT("before_topic");
		kafka_sink_create_topics(delivery->kafka, specs, nspecs);
		wait_for_topics(delivery);
		KILL_POINT("topic_made");
		for (int i = 0; i < nspecs; i++)
			know_topic(delivery, specs[i].name);
	}
	pfree(specs);
}

static void
make_topic(Delivery *delivery, const char *name, int partitions,
		   const OptionList *config)
{
	KafkaTopicSpec spec = {
		.name = name,
		.partitions = partitions,
		.replication_factor = delivery->settings->topic_replication_factor,
		.config = config,
	};

	if (hash_search(delivery->topics, name, HASH_FIND, NULL) != NULL)
		return;
	kafka_sink_create_topics(delivery->kafka, &spec, 1);
	wait_for_topics(delivery);
	know_topic(delivery, name);
}

void
delivery_make_compacted(Delivery *delivery, const char *name,
						const OptionList *config)
{
	make_topic(delivery, name, 1, config);
}

void
delivery_make_deleting(Delivery *delivery, const char *name)
{
	static char policy[] = "cleanup.policy";
	static char deleting[] = "delete";
	const OptionList *all = &delivery->topic_config;
	OptionList	config = {0, palloc((all->count + 1) * sizeof(Option))};

	for (int i = 0; i < all->count; i++)
	{
		if (strcmp(all->options[i].name, policy) != 0)
			config.options[config.count++] = all->options[i];
	}
	config.options[config.count].name = policy;
	config.options[config.count++].value = deleting;
	make_topic(delivery, name, topic_partitions(delivery->settings), &config);
	pfree(config.options);
}

static void
idle_while_inspecting(void *arg)
{
	Delivery   *delivery = arg;

	CHECK_FOR_INTERRUPTS();
	delivery_service(delivery);
}

char *
delivery_find_nonempty_topic(Delivery *delivery, List *names)
{
	const char **array = palloc(sizeof(char *) * Max(list_length(names), 1));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, names)
		array[n++] = lfirst(cell);
	return kafka_sink_find_nonempty(delivery->kafka, array, n,
									idle_while_inspecting, delivery);
}

/* ---- where partitions end ---- */

typedef struct OffsetsReport
{
	Delivery   *delivery;
	StringInfo	buf;
} OffsetsReport;

/*
 * The topic of schemas is not among those whose end somebody wants to know:
 * it is read from its beginning.
 */
static void
append_offset(void *arg, const char *topic, int32 partition, int64 offset)
{
	OffsetsReport *report = arg;

	if (strcmp(topic, report->delivery->schemas_topic) != 0)
		appendStringInfo(report->buf, "%s\t%d\t" INT64_FORMAT "\n", topic,
						 (int) partition, offset);
}

static void
idle_while_asking(void *arg)
{
	idle_while_inspecting(((OffsetsReport *) arg)->delivery);
}

void
delivery_offsets(Delivery *delivery, StringInfo buf)
{
	OffsetsReport report = {delivery, buf};

	/*
	 * What counts is what the producer holds: a unit may be open all the
	 * while.
	 */
	while (kafka_sink_queued_messages(delivery->kafka) > 0 ||
		   !transaction_settled(delivery))
	{
		if (delivery->exactly_once)
			transaction_commit_now(delivery);
		delivery_publish(delivery);
		delivery_wait(delivery, 1000);
	}
	kafka_sink_offsets(delivery->kafka, append_offset, idle_while_asking,
					   &report);
}

/* ---- schemas ---- */

static void
on_registry_wait(void *arg, RegistryProblem problem, const char *reason)
{
	Delivery   *delivery = arg;
	bool		away = (problem == REGISTRY_AWAY);
	bool		was_away = delivery->registry_away;
	const char *remedy = registry_remedy(reason);

	if (away && (!was_away ||
				 (remedy != NULL && remedy != delivery->registry_remedy)))
	{
		delivery->registry_remedy = remedy;
		if (remedy == NULL)
			remedy = "Check wal2kafka.schema_registry_url and the registry.";
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" is waiting for the schema registry",
						delivery->stream->name),
				 reason ? errdetail("%s", reason) : 0,
				 errhint("Nothing is lost: changes wait in the WAL. %s",
						 remedy)));
		stream_set_error(delivery->stream, "waiting for the schema registry",
						 reason, remedy);
	}
	else if (!away && delivery->registry_away)
	{
		delivery->generation++;
		ereport(LOG,
				(errhidecontext(true),
				 errmsg("stream \"%s\" has the schema registry again",
						delivery->stream->name)));
	}
	delivery->registry_away = away;
	kafka_sink_push(delivery->kafka);
	delivery_publish(delivery);
	delivery_service(delivery);
	stream_set_waiting(delivery->stream,
					   away ? STREAM_WAIT_REGISTRY : STREAM_WAIT_NOTHING);
	if (away && !was_away)
		shared_state_wake_launcher();	/* it looks for new settings */
}

static void
confluent_frame(Frame *frame, int32 id)
{
	uint32		id_be = pg_hton32((uint32) id);

	frame->len = CONFLUENT_HEADER_LEN;
	frame->bytes[0] = 0;
	memcpy(frame->bytes + 1, &id_be, sizeof(id_be));
}

static void
single_object_frame(Frame *frame, uint64 fingerprint)
{
	frame->len = SINGLE_OBJECT_HEADER_LEN;
	frame->bytes[0] = 0xC3;
	frame->bytes[1] = 0x01;
	for (int i = 0; i < 8; i++)
		frame->bytes[2 + i] = (uint8) (fingerprint >> (8 * i));
}

KafkaSendResult
delivery_send(Delivery *delivery, KafkaTopic *topic,
			  const void *key, size_t key_len,
			  const void *value, size_t value_len,
			  const EventHeader *headers, int nheaders, int32 partition,
			  int64 timestamp_ms, uint64 ticket)
{
	KafkaSendResult result;
	long		wait = ROOM_WAIT_MS;

	if (delivery->exactly_once && !delivery->batch.writing)
		transaction_enter(delivery);
	while ((result = kafka_sink_send(delivery->kafka, topic, key, key_len,
									 value, value_len, headers, nheaders,
									 partition, timestamp_ms, ticket)) == KAFKA_QUEUE_FULL)
	{
		uint64		queued = kafka_sink_queued_messages(delivery->kafka);

		/*
		 * Mostly there is more than requests hold, and nothing has to be
		 * pushed; with a small queue, or many partitions, none may be full.
		 */
		delivery_publish(delivery);
		delivery_wait_for_event(delivery, wait);
		wait = ROOM_WAIT_MS;
		if (kafka_sink_queued_messages(delivery->kafka) == queued)
		{
			kafka_sink_push(delivery->kafka);
			wait = 1000;
		}
		if (delivery->exactly_once && !delivery->batch.writing)
			transaction_enter(delivery);
	}
	return result;
}

/*
 * Without a registry: the schema's text is a record of <prefix>.schemas,
 * keyed by its fingerprint in hexadecimal, and acknowledged before its first
 * use.
 */
static void
publish_schema(Delivery *delivery, const EventSchema *schema)
{
	const char *name = delivery->schemas_topic;
	char		key[17];
	bool		found;
	Option		compact = {"cleanup.policy", "compact"};
	OptionList	config = {1, &compact};

	if (hash_search(delivery->schemas, &schema->fingerprint, HASH_FIND,
					NULL) != NULL)
		return;
	delivery_make_compacted(delivery, name, &config);

	/*
	 * The record belongs to the open unit; it is acknowledged before any
	 * event that needs it when nothing at all is outstanding.
	 */
	snprintf(key, sizeof(key), "%016llx",
			 (unsigned long long) schema->fingerprint);
	ack_tracker_add(delivery->tracker, delivery->ticket);
	if (delivery_send(delivery, kafka_sink_topic(delivery->kafka, name),
					 key, 16, schema->text, schema->text_len, NULL, 0,
					 EVENT_PARTITION_BY_KEY, 0, delivery->ticket) == KAFKA_TOO_LARGE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("schema of \"%s\" exceeds the message limit of Kafka",
						schema->full_name)));
	while (kafka_sink_queued_messages(delivery->kafka) > 0)
		delivery_wait_in_emit(delivery);
	hash_search(delivery->schemas, &schema->fingerprint, HASH_ENTER, &found);
}

/*
 * Resolve one schema to its framing; returns the registry's id, 0 without
 * one.
 */
static int32
resolve_schema(Delivery *delivery, const EventTarget *target,
			   const EventSchema *schema, bool is_key, Frame *frame)
{
	const Settings *settings = delivery->settings;
	char	   *subject;
	int32		id = 0;

	if (schema->text == NULL || schema->format == EVENT_FORMAT_BARE)
		return 0;
	if (delivery->registry == NULL)
	{
		publish_schema(delivery, schema);
		single_object_frame(frame, schema->fingerprint);
		return 0;
	}

	subject = registry_subject(is_key ? settings->key_subject_name_strategy :
							   settings->value_subject_name_strategy,
							   target->topic, schema->full_name, is_key);
	PG_TRY();
	{
		KILL_POINT("before_schema");
		id = registry_schema_id(delivery->registry, subject, schema->text);
		KILL_POINT("schema_registered");
	}
	PG_CATCH();
	{
		stream_set_waiting(delivery->stream, STREAM_WAIT_SCHEMA);
		PG_RE_THROW();
	}
	PG_END_TRY();
	confluent_frame(frame, id);
	return id;
}

/*
 * A topic that a row's value names.  Whoever may insert rows could make any
 * number of them, and the producer keeps what it knows of each as long as it
 * lives: at the guardrail the stream stops, says so, and starts again.
 */
static void
count_routed_topic(Delivery *delivery, const char *topic)
{
	int			limit = delivery->settings->guardrail_collections_max;

	if (limit <= 0)
		limit = UNLIMITED_TABLES;
	if (hash_search(delivery->topics, topic, HASH_FIND, NULL) != NULL)
		return;
	if (delivery->routed_topics >= limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("values of rows have named more than %d topics",
						limit),
				 errhint("If so many are wanted, raise wal2kafka.guardrail_collections_max. Else see wal2kafka.route_by_field, wal2kafka.outbox_route_by_field and who inserts such rows.")));
	delivery->routed_topics++;
}

static void
note_table(Delivery *delivery, const EventTarget *target)
{
	KnownTopic *topic = hash_search(delivery->topics, target->topic,
									HASH_FIND, NULL);

	if (topic != NULL && topic->table[0] == '\0' && target->relid != 0)
		snprintf(topic->table, sizeof(topic->table), "%s.%s",
				 target->schema_name, target->table_name);
}

static TargetState *
prepare_target(Delivery *delivery, EventTarget *target)
{
	TargetState *state;
	int32		key_id;
	int32		value_id;
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "wal2kafka target",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);

	state = target->sink_data;
	if (state == NULL)
		state = MemoryContextAllocZero(TopMemoryContext, sizeof(TargetState));
	if (target->routed)
		count_routed_topic(delivery, target->topic);
	delivery_make_topics(delivery, list_make1(target->topic));
	note_table(delivery, target);
	state->topic = kafka_sink_topic(delivery->kafka, target->topic);

	/* the registry may go and come back between the two */
	do
	{
		state->generation = delivery->generation;
		if (delivery->cached_generation != delivery->generation)
		{
			delivery->cached_generation = delivery->generation;
			registry_forget_ids(delivery->registry);
		}
		key_id = resolve_schema(delivery, target, &target->key, true,
								&state->key_frame);
		value_id = resolve_schema(delivery, target, &target->value, false,
								  &state->value_frame);
	} while (state->generation != delivery->generation);
	state->stats = stream_table(delivery->tables, target->relid,
								target->schema_name, target->table_name);
	if (state->stats != NULL)
	{
		state->stats->key_schema_id = key_id;
		state->stats->value_schema_id = value_id;
	}
	target->sink_data = state;

	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return state;
}

/* ---- the sink ---- */

static void
open_unit(Delivery *delivery, const EventTransaction *txn, TimestampTz time)
{
	Assert(!delivery->unit_open);
	if (!ack_tracker_open(delivery->tracker, time, &delivery->ticket))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	delivery->unit_open = true;
	delivery->unit_end = txn != NULL ? txn->end_lsn : InvalidXLogRecPtr;
	delivery->opened++;
	if (delivery->exactly_once)
		transaction_unit_begins(delivery, txn);
}

static void
close_unit(Delivery *delivery, XLogRecPtr end_lsn)
{
	Assert(delivery->unit_open);
	ack_tracker_close(delivery->tracker, delivery->ticket, end_lsn);
	delivery->unit_open = false;
	delivery->sent = Max(delivery->sent, end_lsn);
	if (delivery->exactly_once)
		transaction_unit_ended(delivery);
}

void
delivery_begin_unit(Delivery *delivery, TimestampTz time)
{
	open_unit(delivery, NULL, time);
}

void
delivery_end_unit(Delivery *delivery, XLogRecPtr end_lsn)
{
	close_unit(delivery, end_lsn);
	delivery->transactions++;
}

void
delivery_begin_record(Delivery *delivery, XLogRecPtr end_lsn)
{
	delivery->position = end_lsn;
}

void
delivery_end_record(Delivery *delivery)
{
	delivery->decoded = delivery->position;
}

XLogRecPtr
delivery_decoded(const Delivery *delivery)
{
	return delivery->decoded;
}

static void
sink_begin(EventSink *sink, const EventTransaction *txn)
{
	open_unit((Delivery *) sink, txn, txn->commit_time);
}

static void
sink_commit(EventSink *sink, const EventTransaction *txn)
{
	Delivery   *delivery = (Delivery *) sink;

	close_unit(delivery, txn->end_lsn);
	KILL_POINT("unit_closed");
	delivery->transactions++;
}

static void
sink_announce(EventSink *sink, EventTarget *target)
{
	Delivery   *delivery = (Delivery *) sink;
	bool		own_unit = !delivery->unit_open;

	if (target->sink_data != NULL)
		return;
	/* without a registry, schemas are records */
	if (own_unit)
		open_unit(delivery, NULL, NO_COMMIT);
	(void) prepare_target(delivery, target);
	if (own_unit)
		close_unit(delivery, delivery->decoded);
}

/*
 * The service function may take what was decoded for sent where no unit is
 * open, and a transaction without an event so far has none.
 */
static void
sink_pass(EventSink *sink)
{
	Delivery   *delivery = (Delivery *) sink;

	CHECK_FOR_INTERRUPTS();
	if (delivery->unit_open)
		delivery_service(delivery);
	else if (delivery->exactly_once)
	{
		kafka_sink_poll(delivery->kafka);
		(void) transaction_consider_commit(delivery, false);
	}
}

static void
sink_release(EventSink *sink, EventTarget *target)
{
	if (target->sink_data != NULL)
	{
		pfree(target->sink_data);
		target->sink_data = NULL;
	}
}

static void
raise_too_large(const Event *event)
{
	char		key[2 * SHOWN_KEY + 1];
	size_t		shown = Min(event->key.len, SHOWN_KEY);

	key[hex_encode((const char *) event->key.data, shown, key)] = '\0';
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("event of table \"%s.%s\" exceeds the message limit of Kafka",
					event->target->schema_name, event->target->table_name),
			 errdetail("The %s at LSN %X/%X has a key of %zu bytes \\x%s%s and a value of %zu bytes.",
					   event_kinds[event->kind].name,
					   LSN_FORMAT_ARGS(event->lsn),
					   event->key.len, key,
					   event->key.len > shown ? "..." : "",
					   event->value.len),
			 failure_limit_hint(event->target->topic)));
}

#ifdef WAL2KAFKA_TEST_CRASH
/*
 * Test builds only: die on a marked row, as a bug in an encoder would.
 */
static void
crash_on_marked_row(const Event *event)
{
	static const char marker[] = "wal2kafka-crash-here";

	if (event->value.data != NULL &&
		memmem(event->value.data, event->value.len, marker,
			   sizeof(marker) - 1) != NULL)
		abort();
}
#else
#define crash_on_marked_row(event)	((void) 0)
#endif

/*
 * Put the framing in front of key or value.
 */
static inline EventBytes
framed(const EventBytes *bytes, const Frame *frame)
{
	EventBytes	result = *bytes;

	if (result.data != NULL)
	{
		result.data -= frame->len;
		result.len += frame->len;
		memcpy(result.data, frame->bytes, frame->len);
	}
	return result;
}

void
delivery_frame(Delivery *delivery, const Event *event, EventBytes *key,
			   EventBytes *value)
{
	TargetState *state = event->target->sink_data;

	if (unlikely(state == NULL || state->generation != delivery->generation))
		state = prepare_target(delivery, event->target);
	*key = framed(&event->key, &state->key_frame);
	*value = framed(&event->value, &state->value_frame);
}

int64
delivery_timestamp(const Delivery *delivery, const Event *event)
{
	if (event->has_timestamp)
		return event->timestamp_ms;
	if (delivery->settings->record_timestamp == RECORD_TIMESTAMP_COMMIT)
		return (event->time + UNIX_EPOCH_US) / 1000;
	return 0;
}

/*
 * Give time to what has to be done besides, now and then.
 */
static inline void
serve_after_event(Delivery *delivery)
{
	if (unlikely(--delivery->until_service <= 0))
	{
		CHECK_FOR_INTERRUPTS();
		delivery_service(delivery);
	}
}

static inline void
count_bytes(Delivery *delivery, TableStats *stats, const Event *event,
			size_t bytes)
{
	delivery->bytes += bytes;
	if (stats == NULL)
		return;
	stats->events++;
	stats->bytes += bytes;
	stats->last_change = event->time;
	stats->no_identity += event->no_identity;
}

/*
 * A message that is not of a transaction opens its unit when it is emitted.
 */
static bool
sink_refused(EventSink *sink, const Event *event, EventFailure *failure)
{
	Delivery   *delivery = (Delivery *) sink;
	bool		own_unit = !delivery->unit_open;
	EventBytes	key;
	EventBytes	value;
	bool		refused;

	delivery->sending = true;
	if (own_unit)
		open_unit(delivery, NULL, NO_COMMIT);
	delivery_frame(delivery, event, &key, &value);
	refused = delivery_refuses(delivery, event, &key, &value, failure);
	if (own_unit)
		close_unit(delivery, delivery->decoded);
	delivery->sending = false;
	return refused;
}

/*
 * Hand an event's message over; false: it is too large.
 */
static bool
send_event(Delivery *delivery, const Event *event, const EventBytes *key,
		   const EventBytes *value)
{
	TargetState *state = event->target->sink_data;

	ack_tracker_add(delivery->tracker, delivery->ticket);
	if (likely(delivery_send(delivery, state->topic, key->data, key->len,
							 value->data, value->len, event->headers,
							 event->nheaders, event->partition,
							 delivery_timestamp(delivery, event),
							 delivery->ticket) != KAFKA_TOO_LARGE))
		return true;
	ack_tracker_ack(delivery->tracker, delivery->ticket);
	return false;
}

static void
emit_dead_letter(Delivery *delivery, const Event *event)
{
	bool		own_unit = !delivery->unit_open;

	delivery->sending = true;
	if (own_unit)
		open_unit(delivery, NULL, event->time);
	delivery_emit_dead_letter(delivery, event);
	if (own_unit)
		close_unit(delivery, delivery->position);
	delivery->sending = false;
	serve_after_event(delivery);
}

static void
sink_emit(EventSink *sink, const Event *event)
{
	Delivery   *delivery = (Delivery *) sink;
	TargetState *state;
	EventBytes	key;
	EventBytes	value;
	Verdict		verdict = VERDICT_SEND;
	bool		own_unit = !delivery->unit_open;
	bool		is_change = event->kind != EVENT_HEARTBEAT &&
		event->kind != EVENT_NOTIFICATION;
	bool		reports_size = sink->reports_size;

	/* a heartbeat may come while a record is decoded, of which more follows */
	XLogRecPtr	own_end = is_change ? delivery->position : delivery->decoded;

	/* others may emit in a call of the service function */
	sink->reports_size = false;
	if (unlikely(delivery->batch.skipping) &&
		transaction_skips(delivery, event))
	{
		delivery->failures.judged = NULL;
		serve_after_event(delivery);
		return;
	}
	Assert(!delivery->sending);
	if (unlikely(event->kind == EVENT_DEAD_LETTER))
	{
		emit_dead_letter(delivery, event);
		return;
	}
	delivery->sending = true;
	crash_on_marked_row(event);
	if (own_unit)
		open_unit(delivery, NULL, is_change ? event->time : NO_COMMIT);
	delivery_frame(delivery, event, &key, &value);
	state = event->target->sink_data;
	if (unlikely(delivery->failures.careful))
		verdict = delivery_before_send(delivery, event, &key, &value);
	if (unlikely(verdict == VERDICT_BAD))
	{
		if (own_unit)
			close_unit(delivery, own_end);
		delivery->sending = false;
		return;
	}
	if (likely(verdict == VERDICT_SEND) &&
		unlikely(!send_event(delivery, event, &key, &value)))
	{
		if (!reports_size)
			raise_too_large(event);
		sink->too_large = true;
		if (own_unit)
			close_unit(delivery, own_end);
		delivery->sending = false;
		return;
	}
	KILL_POINT("produced");
	if (delivery->exactly_once)
		transaction_count(delivery, event, key.len + value.len);
	if (own_unit)
		close_unit(delivery, own_end);
	delivery->sending = false;

	if (unlikely(event->reduced))
		delivery_count_reduced(delivery, event);
	delivery->events += is_change;
	delivery->transactions += own_unit && is_change;
	count_bytes(delivery, state->stats, event, key.len + value.len);
	serve_after_event(delivery);
}
