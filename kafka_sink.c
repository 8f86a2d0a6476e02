/*
 * kafka_sink.c
 *		librdkafka behind a handful of functions.
 *
 * Whose code runs where.  librdkafka has threads of its own, and what it has to
 * say is an event on its main queue; a byte in a pipe wakes the main thread.  No
 * callback is set but one that names what is wrong with a certificate, in a
 * buffer of librdkafka's (kafka_name_certificate_error()).  The
 * other way round, no error is raised while a function of librdkafka is on
 * the stack, and none while something of librdkafka's is held that only we
 * can give back: what is wrong is copied first, then given back, then raised.
 *
 * What is an error.  librdkafka retries whatever can be retried, for ever
 * (message.timeout.ms is 0).  So an outage is a state, which
 * kafka_sink_connected() shows.  A message that comes back undelivered is
 * final, and the messages behind it may have arrived: the stream must go back
 * to where everything is acknowledged, and the sink is done with.
 *
 * The state of the connection.  librdkafka tells when a connection breaks,
 * but not when one is made.  So after a transport error, and until a broker
 * was seen, we ask now and then whether it has a broker that it could use
 * (see probe()); an acknowledgement answers the same question.  A broker that
 * accepts connections and then keeps silent shows in acknowledgements that do
 * not come.
 */
#include "postgres.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "kafka_private.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#define MESSAGE_OVERHEAD	200 /* what librdkafka needs for a message */

/* Times in milliseconds. */
#define LOST_AFTER			1000	/* without a broker: say so */
#define STALLED_AFTER		2000	/* without an acknowledgement: say so */
#define PROBE_INTERVAL		250
#define SUSPECT_INTERVAL	1000
#define LOG_INTERVAL_MAX	(5 * 60 * 1000)
#define DESTROY_LIMIT		500

/* The first version of librdkafka whose transactions are sound. */
#define FIXED_VERSION	0x020503ff

/* See the sender. */
#define SENDER_LINGER	"500"
#define SENDER_FLUSH_MS	5

/* Defaults of ours, which options may change. */
static const Option default_properties[] = {
	{"linger.ms", SENDER_LINGER},
	{"batch.size", "1000000"},
	{"reconnect.backoff.max.ms", "1000"},
	{"socket.keepalive.enable", "true"},
	{"log.thread.name", "false"},
};

/*
 * What options may not change; max_queue_bytes bounds the queue, since
 * librdkafka counts nothing but values.
 */
static const Option fixed_properties[] = {
	{"enable.idempotence", "true"},
	{"acks", "all"},
	{"partitioner", "murmur2_random"},
	{"queue.buffering.max.messages", "0"},
	{"queue.buffering.max.kbytes", "2097151"},
	{"log.queue", "true"},
};

/* ---- small things ---- */

int64
kafka_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const char *
kafka_sink_version(void)
{
	static char version[64];

	if (version[0] == '\0')
		snprintf(version, sizeof(version), "librdkafka %s",
				 rd_kafka_version_str());
	return version;
}

/* ---- logs ---- */

/*
 * May a line of this facility be logged now?  If so, *suppressed is how many
 * were not since the last one that was.  Facilities beyond the table share
 * its last place.
 */
static bool
log_allowed(KafkaSink *sink, const char *facility, uint64 *suppressed)
{
	LogThrottle *throttle = NULL;
	int64		now = kafka_now_ms();

	for (int i = 0; i < LOG_THROTTLES && throttle == NULL; i++)
	{
		LogThrottle *candidate = &sink->throttles[i];

		if (candidate->facility[0] == '\0')
			strlcpy(candidate->facility, facility,
					sizeof(candidate->facility));
		if (i == LOG_THROTTLES - 1 ||
			strncmp(candidate->facility, facility,
					sizeof(candidate->facility) - 1) == 0)
			throttle = candidate;
	}

	if (now < throttle->next)
	{
		throttle->suppressed++;
		return false;
	}
	if (throttle->interval == 0 ||
		now > throttle->next + throttle->interval)
		throttle->interval = 1000;
	else
		throttle->interval = Min(throttle->interval * 2, LOG_INTERVAL_MAX);
	throttle->next = now + throttle->interval;
	*suppressed = throttle->suppressed;
	throttle->suppressed = 0;
	return true;
}

/*
 * Log a line of librdkafka's.  debug: the user asked for these, all of them.
 */
static void
log_line(KafkaSink *sink, const char *facility, const char *text, bool debug)
{
	uint64		suppressed = 0;

	if (sink->closing || (!debug && !log_allowed(sink, facility, &suppressed)))
		return;
	if (suppressed > 0)
		ereport(LOG,
				(errmsg("librdkafka: %s: %s", facility, text),
				 errdetail("" UINT64_FORMAT " similar lines before it were not logged.",
						   suppressed)));
	else
		ereport(LOG,
				(errmsg("librdkafka: %s: %s", facility, text)));
}

/* ---- failures ---- */

/*
 * Record that something failed for good.  The caller has seen that nothing
 * did before, and says what it was.
 */
void
kafka_set_failure(KafkaSink *sink, rd_kafka_resp_err_t err)
{
	const KafkaError *error = kafka_error(err);

	sink->failure.set = true;
	sink->failure.fenced = error->fenced;
	sink->failure.sqlerrcode = error->sqlerrcode;
	sink->failure.hint = error->hint;
}

void
kafka_raise_failure(const KafkaSink *sink)
{
	const SinkFailure *failure = &sink->failure;

	ereport(ERROR,
			(errcode(failure->sqlerrcode),
			 errmsg_internal("%s", failure->message),
			 errdetail_internal("%s", failure->detail),
			 failure->hint ? errhint("%s", failure->hint) : 0));
}

static void
note_refusal(SinkFailure *failure, const rd_kafka_message_t *message,
			 const char *reason)
{
	KafkaRefusal *refusal = &failure->refusal;
	const KafkaError *error = kafka_error(message->err);

	memset(refusal, 0, sizeof(KafkaRefusal));
	strlcpy(refusal->topic, rd_kafka_topic_name(message->rkt),
			sizeof(refusal->topic));
	failure->refused = error->of_message;
	if (!error->of_message)
		return;
	refusal->oversized =
		error->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
	refusal->sqlerrcode = error->sqlerrcode;
	strlcpy(refusal->reason, reason, sizeof(refusal->reason));
	refusal->has_key = message->key != NULL;
	refusal->key_len = message->key_len;
	refusal->value_len = message->len;
}

const KafkaRefusal *
kafka_sink_refusal(const KafkaSink *sink)
{
	return sink->failure.refused ? &sink->failure.refusal : NULL;
}

const char *
kafka_sink_failed_topic(const KafkaSink *sink)
{
	return sink->failure.has_ticket ? sink->failure.refusal.topic : NULL;
}

/* A message came back undelivered. */
static void
message_failed(KafkaSink *sink, const rd_kafka_message_t *message)
{
	SinkFailure *failure = &sink->failure;
	char		key[2 * 32 + 1];
	char		reason[256];
	size_t		shown = Min(message->key_len, 32);

	if (failure->set || sink->closing)
		return;
	if (sink->transactions != NULL &&
		(message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
		 message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT))
	{
		kafka_transaction_given_up(sink);
		return;
	}
	for (size_t i = 0; i < shown; i++)
		snprintf(key + 2 * i, 3, "%02x", ((const uint8 *) message->key)[i]);
	key[2 * shown] = '\0';
	kafka_copy_text(reason, sizeof(reason), rd_kafka_err2str(message->err));

	kafka_set_failure(sink, message->err);
	failure->has_ticket = !failure->fenced &&
		!kafka_error(message->err)->passing;
	failure->ticket = (uint64) (uintptr_t) message->_private;
	note_refusal(failure, message, reason);
	snprintf(failure->message, sizeof(failure->message),
			 "could not deliver a message to Kafka topic \"%s\"",
			 rd_kafka_topic_name(message->rkt));
	snprintf(failure->detail, sizeof(failure->detail),
			 "%s (partition %d, key of %zu bytes \\x%s%s, value of %zu bytes).",
			 reason, (int) message->partition, message->key_len, key,
			 message->key_len > shown ? "..." : "", message->len);
}

/* The producer as a whole cannot go on. */
static void
producer_failed(KafkaSink *sink)
{
	SinkFailure *failure = &sink->failure;
	char		text[512];
	rd_kafka_resp_err_t err = rd_kafka_fatal_error(sink->rk, text,
												   sizeof(text));

	if (err == RD_KAFKA_RESP_ERR_NO_ERROR || failure->set || sink->closing)
		return;
	kafka_set_failure(sink, err);
	strlcpy(failure->message, "the Kafka producer cannot go on",
			sizeof(failure->message));
	kafka_copy_text(failure->detail, sizeof(failure->detail), text);
}

bool
kafka_sink_failed_ticket(const KafkaSink *sink, uint64 *ticket)
{
	*ticket = sink->failure.ticket;
	return sink->failure.has_ticket;
}

/* ---- the connection ---- */

void
kafka_broker_seen(KafkaSink *sink)
{
	sink->lost_since = 0;
	sink->suspect = false;
	sink->reason[0] = '\0';
	sink->remedy = NULL;
	sink->certificate[0] = '\0';
}

/*
 * Does librdkafka have a broker that it could send to?  A request for
 * metadata that may take no time at all fails before it is sent if there is
 * none (librdkafka then also looks for one, if it has nothing else to do),
 * and otherwise is sent and given up.
 */
static void
probe(KafkaSink *sink, int64 now)
{
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t err = rd_kafka_metadata(sink->rk, 0, NULL, &metadata, 0);

	if (metadata != NULL)
		rd_kafka_metadata_destroy(metadata);
	if (err != RD_KAFKA_RESP_ERR__TRANSPORT)
	{
		kafka_broker_seen(sink);
		sink->next_probe = now + SUSPECT_INTERVAL;
		return;
	}
	sink->suspect = false;
	if (sink->lost_since == 0)
		sink->lost_since = now;
	sink->next_probe = now + PROBE_INTERVAL;
}

bool
kafka_sink_connected(const KafkaSink *sink, const char **reason)
{
	static char text[384];
	const char *unused;
	int64		now = 0;

	if (reason == NULL)
		reason = &unused;
	*reason = NULL;
	if (sink->lost_since == 0 && sink->queued_messages == 0 &&
		sink->transactions == NULL)
		return true;

	now = kafka_now_ms();
	if (sink->lost_since != 0 && now - sink->lost_since >= LOST_AFTER)
	{
		if (sink->reason[0] != '\0')
			*reason = sink->reason;
		else
		{
			snprintf(text, sizeof(text), "No broker of \"%s\" has answered.",
					 sink->servers);
			*reason = text;
		}
		return false;
	}
	if (sink->queued_messages > 0 && now - sink->progress >= sink->stalled_after)
	{
		snprintf(text, sizeof(text),
				 "No message was acknowledged for %d seconds.%s%s",
				 (int) ((now - sink->progress) / 1000),
				 sink->reason[0] != '\0' ? " " : "", sink->reason);
		*reason = text;
		return false;
	}
	if (kafka_transaction_stalled(sink, now, text, sizeof(text)))
	{
		*reason = text;
		return false;
	}
	return true;
}

const char *
kafka_sink_remedy(const KafkaSink *sink)
{
	return sink->remedy;
}

/* ---- topics ---- */

KafkaTopic *
kafka_sink_topic(KafkaSink *sink, const char *name)
{
	size_t		len = strlen(name);
	uint32		hash = hash_bytes((const unsigned char *) name, (int) len);
	KafkaTopic **bucket = &sink->topics[hash & (TOPIC_BUCKETS - 1)];
	KafkaTopic *topic;
	rd_kafka_topic_conf_t *conf;

	for (topic = *bucket; topic != NULL; topic = topic->next)
	{
		if (strcmp(topic->name, name) == 0)
			return topic;
	}

	if (len == 0 || len > MAX_TOPIC_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid Kafka topic name \"%s\"", name),
				 errdetail("The name of a topic has 1 to %d characters.",
						   MAX_TOPIC_NAME)));
	topic = MemoryContextAllocZero(sink->cxt, sizeof(KafkaTopic));
	memcpy(topic->name, name, len + 1);
	conf = rd_kafka_default_topic_conf_dup(sink->rk);
	rd_kafka_topic_conf_set_opaque(conf, topic);
	topic->rkt = rd_kafka_topic_new(sink->rk, name, conf);
	if (topic->rkt == NULL)
	{
		rd_kafka_resp_err_t err = rd_kafka_last_error();

		rd_kafka_topic_conf_destroy(conf);
		pfree(topic);
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not use Kafka topic \"%s\"", name),
				 errdetail("%s.", rd_kafka_err2str(err))));
	}
	topic->next = *bucket;
	*bucket = topic;
	return topic;
}

/* ---- sending ---- */

/* What headers add to a message's size. */
static uint64
headers_size(const EventHeader *headers, int nheaders)
{
	uint64		size = 0;

	for (int i = 0; i < nheaders; i++)
		size += strlen(headers[i].name) + headers[i].value_len + MESSAGE_OVERHEAD;
	return size;
}

static void
add_mem(rd_kafka_vu_t *vu, rd_kafka_vtype_t vtype, const void *ptr, size_t size)
{
	vu->vtype = vtype;
	vu->u.mem.ptr = unconstify(void *, ptr);
	vu->u.mem.size = size;
}

/*
 * librdkafka did not take a message.  Does not return unless that is one of
 * kafka_sink_send()'s results.
 */
static KafkaSendResult
send_failed(KafkaSink *sink, KafkaTopic *topic, rd_kafka_error_t *error)
{
	rd_kafka_resp_err_t err = rd_kafka_error_code(error);
	const KafkaError *known = kafka_error(err);
	char		reason[256];

	kafka_copy_text(reason, sizeof(reason), rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return KAFKA_QUEUE_FULL;
	if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		return KAFKA_TOO_LARGE;

	producer_failed(sink);
	if (sink->failure.set)
		kafka_raise_failure(sink);
	if (kafka_transaction_broken(sink))
		return KAFKA_QUEUE_FULL;	/* and poll raises */
	ereport(ERROR,
			(errcode(known->sqlerrcode),
			 errmsg("could not send a message to Kafka topic \"%s\"",
					topic->name),
			 errdetail("%s.", reason),
			 known->hint ? errhint("%s", known->hint) : 0));
}

KafkaSendResult
kafka_sink_send(KafkaSink *sink, KafkaTopic *topic,
				const void *key, size_t key_len,
				const void *value, size_t value_len,
				const EventHeader *headers, int nheaders,
				int32 partition, int64 timestamp_ms, uint64 ticket)
{
	rd_kafka_vu_t vus[7 + EVENT_MAX_HEADERS];
	int			n = 0;
	uint64		size = key_len + value_len + MESSAGE_OVERHEAD;
	uint64		extra = 0;
	rd_kafka_error_t *error;

	StaticAssertStmt(sizeof(void *) >= sizeof(uint64),
					 "a ticket must fit into a pointer");
	Assert(nheaders <= EVENT_MAX_HEADERS);

	if (sink->failure.set)
		kafka_raise_failure(sink);
	if (sink->transactions != NULL &&
		unlikely(kafka_transaction_state(sink) != KAFKA_TRANSACTION_OPEN))
		elog(ERROR, "message outside of a Kafka transaction");
	if (nheaders > 0)
		size += (extra = headers_size(headers, nheaders));
	if (sink->queued_messages > 0 &&
		sink->queued_bytes + size > sink->max_queue_bytes)
		return KAFKA_QUEUE_FULL;

	vus[n].vtype = RD_KAFKA_VTYPE_RKT;
	vus[n++].u.rkt = topic->rkt;
	vus[n].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
	vus[n++].u.i = RD_KAFKA_MSG_F_COPY;
	vus[n].vtype = RD_KAFKA_VTYPE_OPAQUE;
	vus[n++].u.ptr = (void *) (uintptr_t) ticket;
	vus[n].vtype = RD_KAFKA_VTYPE_TIMESTAMP;
	vus[n++].u.i64 = timestamp_ms;
	if (partition != EVENT_PARTITION_BY_KEY)
	{
		vus[n].vtype = RD_KAFKA_VTYPE_PARTITION;
		vus[n++].u.i32 = partition;
	}
	if (key != NULL)
		add_mem(&vus[n++], RD_KAFKA_VTYPE_KEY, key, key_len);
	if (value != NULL)
		add_mem(&vus[n++], RD_KAFKA_VTYPE_VALUE, value, value_len);
	for (int i = 0; i < nheaders; i++)
	{
		vus[n].vtype = RD_KAFKA_VTYPE_HEADER;
		vus[n].u.header.name = headers[i].name;
		vus[n].u.header.val = headers[i].value;
		vus[n++].u.header.size = headers[i].value_len;
	}

	error = rd_kafka_produceva(sink->rk, vus, n);
	if (error != NULL)
		return send_failed(sink, topic, error);

	if (sink->queued_messages == 0)
		sink->progress = kafka_now_ms();
	sink->queued_messages++;
	sink->queued_bytes += size;
	sink->header_bytes += extra;
	return KAFKA_SENT;
}

uint64
kafka_sink_queued_bytes(const KafkaSink *sink)
{
	return sink->queued_bytes;
}

uint64
kafka_sink_queued_messages(const KafkaSink *sink)
{
	return sink->queued_messages;
}

size_t
kafka_sink_message_limit(const KafkaSink *sink)
{
	char		value[32];
	size_t		size = sizeof(value);

	if (rd_kafka_conf_get(rd_kafka_conf(sink->rk), "message.max.bytes",
						  value, &size) != RD_KAFKA_CONF_OK)
		return 0;
	return strtoul(value, NULL, 10);
}

/* ---- events ---- */

/* Headers of a message that comes back; see headers_size(). */
static uint64
returned_headers_size(const rd_kafka_message_t *message)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t		value_len;
	uint64		size = 0;

	if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return 0;
	for (size_t i = 0;
		 rd_kafka_header_get_all(headers, i, &name, &value, &value_len) ==
		 RD_KAFKA_RESP_ERR_NO_ERROR;
		 i++)
		size += strlen(name) + value_len + MESSAGE_OVERHEAD;
	return size;
}

/*
 * Room for a topic's partitions up to this one.  Must not raise: a report is
 * being read.
 */
static bool
grow_offsets(KafkaSink *sink, KafkaTopic *topic, int32 partition)
{
	int			n = Max(partition + 1, topic->npartitions * 2);
	int64	   *offsets = MemoryContextAllocExtended(sink->cxt,
													 n * sizeof(int64),
													 MCXT_ALLOC_NO_OOM |
													 MCXT_ALLOC_ZERO);

	if (offsets == NULL)
	{
		topic->offsets_lost = true;
		return false;
	}
	if (topic->offsets != NULL)
	{
		memcpy(offsets, topic->offsets, topic->npartitions * sizeof(int64));
		pfree(topic->offsets);
	}
	topic->offsets = offsets;
	topic->npartitions = n;
	return true;
}

/* A message was acknowledged: its partition ends behind it. */
static inline void
note_offset(KafkaSink *sink, const rd_kafka_message_t *message)
{
	KafkaTopic *topic = rd_kafka_topic_opaque(message->rkt);
	int32		partition = message->partition;

	if (unlikely(partition >= topic->npartitions) &&
		!grow_offsets(sink, topic, partition))
		return;
	topic->offsets[partition] = likely(message->offset >= 0) ?
		message->offset + 1 : OFFSET_UNKNOWN;
}

void
kafka_sink_note_end(KafkaSink *sink, KafkaTopic *topic, int32 partition,
					int64 offset)
{
	if (partition >= topic->npartitions &&
		!grow_offsets(sink, topic, partition))
		return;
	if (topic->offsets[partition] != OFFSET_UNKNOWN)
		topic->offsets[partition] = Max(topic->offsets[partition], offset);
}

/* Delivery reports.  Returns how many messages were acknowledged. */
static int
take_reports(KafkaSink *sink, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;
	int			acknowledged = 0;

	while ((message = rd_kafka_event_message_next(event)) != NULL)
	{
		uint64		size = message->key_len + message->len + MESSAGE_OVERHEAD;

		if (sink->header_bytes > 0)
		{
			uint64		extra = returned_headers_size(message);

			sink->header_bytes -= extra;
			size += extra;
		}
		sink->queued_bytes -= size;
		sink->queued_messages--;
		if (likely(message->err == RD_KAFKA_RESP_ERR_NO_ERROR))
		{
			acknowledged++;
			note_offset(sink, message);
			sink->on_ack(sink->arg, (uint64) (uintptr_t) message->_private);
		}
		else
			message_failed(sink, message);
	}
	return acknowledged;
}

static void
take_error(KafkaSink *sink, rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	char		text[sizeof(sink->reason)];
	char	   *moment;

	kafka_copy_text(text, sizeof(text), rd_kafka_event_error_string(event));
	if (rd_kafka_event_error_is_fatal(event))
	{
		producer_failed(sink);
		return;
	}

	if (!kafka_error(err)->passing)
	{
		log_line(sink, rd_kafka_err2name(err), text, false);
		return;
	}

	/*
	 * librdkafka logs what happens to a connection besides.  "All brokers are
	 * down" only sums up what was said of each before, and is a reason only
	 * where there is no better one.
	 */
	sink->suspect = true;
	if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && sink->reason[0] != '\0')
		return;

	/* one trouble has one text, however long a try took */
	moment = strstr(text, " (after ");
	if (moment != NULL)
		*moment = '\0';
	if (sink->certificate[0] != '\0' &&
		strstr(text, "certificate verify failed") != NULL)
		strlcpy(text, sink->certificate, sizeof(text));
	strlcpy(sink->reason, text, sizeof(sink->reason));
	sink->remedy = kafka_connection_hint(err, text);
}

static void
take_log(KafkaSink *sink, rd_kafka_event_t *event)
{
	const char *facility;
	const char *line;
	int			level;
	char		facility_copy[64];
	char		text[1024];

	if (rd_kafka_event_log(event, &facility, &line, &level) != 0)
		return;
	kafka_copy_text(facility_copy, sizeof(facility_copy), facility);
	kafka_copy_text(text, sizeof(text), line);
	if (strcmp(facility_copy, "SSLCERTVRFY") == 0)
		kafka_certificate_reason(sink->certificate, sizeof(sink->certificate),
								 text);
	log_line(sink, facility_copy, text, level >= 7);
}

static int
take_event(KafkaSink *sink, rd_kafka_event_t *event)
{
	switch (rd_kafka_event_type(event))
	{
		case RD_KAFKA_EVENT_DR:
			return take_reports(sink, event);
		case RD_KAFKA_EVENT_ERROR:
			take_error(sink, event);
			return 0;
		case RD_KAFKA_EVENT_LOG:
			take_log(sink, event);
			return 0;
		case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
			kafka_take_topic_result(sink, event);
			return 0;
		default:				/* librdkafka's enum, not ours */
			return 0;
	}
}

static void
empty_pipe(KafkaSink *sink)
{
	char		buffer[64];

	while (read(sink->wake_read, buffer, sizeof(buffer)) == sizeof(buffer))
		;
	sink->wake_pending = false;
}

/*
 * Read the queue until it is empty, and leave no byte in the pipe that
 * belongs to an event that was read.
 *
 * librdkafka writes a byte, with the queue locked, when an event comes to an
 * empty queue.  So after the pipe was emptied and then nothing was found in
 * the queue, the next event will write one; and as long as nothing was found
 * in the queue since, the pipe need not be looked at.
 */
int
kafka_sink_drain(KafkaSink *sink)
{
	int			acknowledged = 0;

	while (sink->wake_pending || rd_kafka_queue_length(sink->queue) > 0)
	{
		empty_pipe(sink);
		while (rd_kafka_queue_length(sink->queue) > 0)
		{
			rd_kafka_event_t *event = rd_kafka_queue_poll(sink->queue, 0);

			sink->wake_pending = true;
			if (event == NULL)
				break;
			acknowledged += take_event(sink, event);
			rd_kafka_event_destroy(event);
		}
	}
	if (acknowledged > 0)
	{
		sink->progress = kafka_now_ms();
		kafka_broker_seen(sink);
	}
	return acknowledged;
}

/* What must be done from time to time, if there is something to do. */
static void
service(KafkaSink *sink)
{
	int64		now;

	if (likely(sink->lost_since == 0 && !sink->suspect && sink->request == NULL))
		return;
	now = kafka_now_ms();
	if ((sink->lost_since != 0 || sink->suspect) && now >= sink->next_probe)
		probe(sink, now);
	if (sink->request != NULL && !sink->request->in_flight &&
		now >= sink->request->next_try && !sink->failure.set)
		kafka_send_topic_request(sink);
}

int
kafka_sink_poll(KafkaSink *sink)
{
	int			acknowledged;

	if (sink->transactions != NULL)
		kafka_transactions_take(sink);
	acknowledged = kafka_sink_drain(sink);
	if (sink->transactions != NULL)
	{
		/* one that came meanwhile has had its byte in the pipe */
		kafka_transactions_take(sink);
		kafka_transactions_check(sink);
	}
	service(sink);
	if (unlikely(sink->failure.set))
	{
		kafka_end_topic_request(sink);
		kafka_raise_failure(sink);
	}
	return acknowledged;
}

int
kafka_sink_fd(KafkaSink *sink)
{
	return sink->wake_read;
}

/* ---- life ---- */

/*
 * Set properties that are known to be acceptable; false if librdkafka has
 * another opinion.
 */
static bool
set_properties(rd_kafka_conf_t *conf, const Option *options, int n)
{
	char		errstr[256];

	for (int i = 0; i < n; i++)
	{
		if (rd_kafka_conf_set(conf, options[i].name, options[i].value,
							  errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK)
			return false;
	}
	return true;
}

/* The producer's configuration, or NULL if librdkafka refuses ours. */
static rd_kafka_conf_t *
make_conf(const KafkaSinkConfig *config, bool mock)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	Option		first[] = {
		{"bootstrap.servers", unconstify(char *, config->bootstrap_servers)},
		{"client.id", unconstify(char *, config->client_id)},
	};
	Option		last[] = {
		{"allow.auto.create.topics", mock ? "true" : "false"},
	};
	Option		single[] = {
		{"batch.num.messages", "1"},
	};
	Option		trial[] = {
		{"log_level", "1"},
		{"linger.ms", "0"},
	};
	char		timeout[32];

	/* A message of a transaction waits no longer than that may take. */
	Option		at_least_once[] = {
		{"message.timeout.ms", "0"},
	};
	Option		exactly_once[] = {
		{"transactional.id", unconstify(char *, config->transactional_id)},
		{"transaction.timeout.ms", timeout},
	};
	char		errstr[256];

	snprintf(timeout, sizeof(timeout), "%d", config->transaction_timeout_ms);

	if ((!mock && !set_properties(conf, first, 1)) ||
		(config->client_id != NULL && !set_properties(conf, first + 1, 1)) ||
		!set_properties(conf, default_properties, lengthof(default_properties)) ||
		!set_properties(conf, config->options.options, config->options.count) ||
		!set_properties(conf, fixed_properties, lengthof(fixed_properties)) ||
		!set_properties(conf, last, lengthof(last)) ||
		(config->single_messages && !set_properties(conf, single, 1)) ||
		(config->trial && !set_properties(conf, trial, lengthof(trial))) ||
		(config->transactional_id == NULL ?
		 !set_properties(conf, at_least_once, lengthof(at_least_once)) :
		 !set_properties(conf, exactly_once, lengthof(exactly_once))))
	{
		rd_kafka_conf_destroy(conf);
		return NULL;
	}

	/*
	 * Kerberos tickets are renewed outside of the server: librdkafka would
	 * run a shell for it.  A build without Kerberos refuses the property.
	 */
	rd_kafka_conf_set(conf, "sasl.kerberos.min.time.before.relogin", "0",
					  errstr, sizeof(errstr));
	/* a build without TLS refuses it */
	rd_kafka_conf_set_ssl_cert_verify_cb(conf, kafka_name_certificate_error);
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
							 RD_KAFKA_EVENT_LOG);
	return conf;
}

/* Both ends of the pipe do not block and are not inherited. */
static bool
make_pipe(KafkaSink *sink)
{
	int			fds[2];

	if (pipe(fds) != 0)
		return false;
	for (int i = 0; i < 2; i++)
	{
		if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0 ||
			fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0)
		{
			int			save_errno = errno;

			close(fds[0]);
			close(fds[1]);
			errno = save_errno;
			return false;
		}
	}
	sink->wake_read = fds[0];
	sink->wake_write = fds[1];
	ReserveExternalFD();
	ReserveExternalFD();
	return true;
}

static void
free_sink(KafkaSink *sink)
{
	close(sink->wake_read);
	close(sink->wake_write);
	ReleaseExternalFD();
	ReleaseExternalFD();
	MemoryContextDelete(sink->cxt);
}

static KafkaSink *
allocate_sink(const KafkaSinkConfig *config, bool mock)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "Kafka sink",
											  ALLOCSET_DEFAULT_SIZES);
	KafkaSink  *sink = MemoryContextAllocZero(cxt, sizeof(KafkaSink));

	sink->cxt = cxt;
	sink->mock = mock;
	sink->on_ack = config->on_ack;
	sink->arg = config->arg;
	sink->max_queue_bytes = config->max_queue_bytes;
	sink->wake_pending = true;
	sink->lost_since = kafka_now_ms();
	kafka_copy_text(sink->servers, sizeof(sink->servers),
			  mock ? "the mock cluster" : config->bootstrap_servers);
	if (!make_pipe(sink))
	{
		MemoryContextDelete(cxt);
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create a pipe: %m")));
	}
	return sink;
}

/*
 * Tickets and tokens of SASL mechanisms that librdkafka renews by itself are
 * renewed on a thread of its own, not in our polls; where no such mechanism
 * is configured, that is the error.
 */
static void
renew_tokens_in_background(KafkaSink *sink)
{
	rd_kafka_error_t *error = rd_kafka_sasl_background_callbacks_enable(sink->rk);

	if (error != NULL)
		rd_kafka_error_destroy(error);
}

/*
 * The sender.
 *
 * An idempotent producer has one request under way for a partition.  While
 * that one is out and the first message behind it is older than linger.ms,
 * librdkafka's broker thread does not sleep: with a short linger it spins
 * whenever there is more to send than a request holds, and takes the
 * processor from whoever decodes.  So the linger is long, and what fills a
 * request goes out by its size.  What does not is sent when the caller has
 * nothing else to do and says so by kafka_sink_push(): while somebody is in
 * rd_kafka_flush(), librdkafka does not linger.  That call blocks, since
 * reports are events that only the caller's thread reads; so a thread makes
 * it.  It runs nothing but librdkafka's code, with all signals blocked.
 */
struct Sender
{
	rd_kafka_t *rk;
	pthread_t	thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool		wanted;			/* under mutex, as is stop */
	bool		stop;
};

static void *
sender_thread(void *arg)
{
	Sender	   *sender = arg;

	pthread_mutex_lock(&sender->mutex);
	for (;;)
	{
		while (!sender->wanted && !sender->stop)
			pthread_cond_wait(&sender->cond, &sender->mutex);
		if (sender->stop)
			break;
		sender->wanted = false;
		pthread_mutex_unlock(&sender->mutex);
		rd_kafka_flush(sender->rk, SENDER_FLUSH_MS);
		pthread_mutex_lock(&sender->mutex);
	}
	pthread_mutex_unlock(&sender->mutex);
	return NULL;
}

bool
kafka_start_thread(pthread_t *thread, void *(*run) (void *arg), void *arg)
{
	sigset_t	all;
	sigset_t	before;
	bool		started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(thread, NULL, run, arg) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

/*
 * NULL if there is no thread to be had: then everything waits for its linger.
 */
static Sender *
start_sender(rd_kafka_t *rk)
{
	Sender	   *sender = calloc(1, sizeof(Sender));

	if (sender == NULL)
		return NULL;
	sender->rk = rk;
	pthread_mutex_init(&sender->mutex, NULL);
	pthread_cond_init(&sender->cond, NULL);
	if (kafka_start_thread(&sender->thread, sender_thread, sender))
		return sender;
	free(sender);
	return NULL;
}

static void
stop_sender(Sender *sender)
{
	if (sender == NULL)
		return;
	pthread_mutex_lock(&sender->mutex);
	sender->stop = true;
	pthread_cond_signal(&sender->cond);
	pthread_mutex_unlock(&sender->mutex);
	pthread_join(sender->thread, NULL);
	pthread_cond_destroy(&sender->cond);
	pthread_mutex_destroy(&sender->mutex);
	free(sender);
}

void
kafka_sink_push(KafkaSink *sink)
{
	Sender	   *sender = sink->sender;

	/* A commit pushes by itself. */
	if (sender == NULL || sink->queued_messages == 0 ||
		kafka_transaction_state(sink) == KAFKA_TRANSACTION_COMMIT)
		return;
	pthread_mutex_lock(&sender->mutex);
	if (!sender->wanted)
	{
		sender->wanted = true;
		pthread_cond_signal(&sender->cond);
	}
	pthread_mutex_unlock(&sender->mutex);
}

static bool
lingers_by_choice(const OptionList *options)
{
	for (int i = 0; i < options->count; i++)
	{
		const char *name = options->options[i].name;

		if (strcmp(name, "linger.ms") == 0 ||
			strcmp(name, "queue.buffering.max.ms") == 0)
			return true;
	}
	return false;
}

/*
 * Up to 2.5.2 there are defects that end in a fatal error or, seldom, in a
 * crash.  Either way the next process starts where Kafka's transactions ended.
 */
static void
warn_of_version(void)
{
	static bool warned = false;

	if (warned || rd_kafka_version() >= FIXED_VERSION)
		return;
	warned = true;
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("%s has known defects in transactions", kafka_sink_version()),
			 errdetail("They are mended in 2.5.3.  They may end the stream's worker, which then starts again: they cost time and never a row.")));
}

KafkaSink *
kafka_sink_create(const KafkaSinkConfig *config)
{
	KafkaSink  *sink;
	rd_kafka_conf_t *conf;
	bool		mock = false;
	char		linger[16] = "0";
	size_t		linger_size = sizeof(linger);
	char		errstr[512];
	char		reason[512];

	kafka_sink_check_options("wal2kafka.kafka_options", &config->options, true);
	kafka_check_mechanism(&config->options);
	for (int i = 0; i < config->options.count; i++)
		mock |= strcmp(config->options.options[i].name,
					   "test.mock.num.brokers") == 0;
	if (!mock)
		kafka_check_servers(config->bootstrap_servers);

	sink = allocate_sink(config, mock);
	conf = make_conf(config, mock);
	if (conf == NULL)
	{
		free_sink(sink);
		elog(ERROR, "%s refuses a property that wal2kafka needs",
			 kafka_sink_version());
	}
	rd_kafka_conf_get(conf, "linger.ms", linger, &linger_size);
	sink->stalled_after = STALLED_AFTER + atoi(linger);

	sink->rk = kafka_new_client(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (sink->rk == NULL)
	{
		rd_kafka_conf_destroy(conf);
		free_sink(sink);
		kafka_hide_secrets(errstr, &config->options);
		kafka_copy_text(reason, sizeof(reason), errstr);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not create a Kafka producer"),
				 errdetail("%s.", reason),
				 errhint("See wal2kafka.kafka_options and wal2kafka.kafka_options_file.")));
	}
	rd_kafka_set_log_queue(sink->rk, NULL);
	sink->queue = rd_kafka_queue_get_main(sink->rk);
	rd_kafka_queue_io_event_enable(sink->queue, sink->wake_write, "", 1);
	renew_tokens_in_background(sink);
	if (!lingers_by_choice(&config->options))
		sink->sender = start_sender(sink->rk);
	if (config->transactional_id != NULL)
	{
		if (!kafka_transactions_start(sink))
		{
			kafka_sink_destroy(sink, 0);
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("could not start a thread for Kafka transactions")));
		}
		warn_of_version();
	}
	return sink;
}

/* More would not be used: those that could not be ended are too many. */
#define MAX_CLIENTS			32

/* Clients that live; also threads that destroy one count it down. */
static pg_atomic_uint32 clients;

/*
 * exit() would run the destructors of libraries, OpenSSL's among them, below
 * the threads of a client that is still there; a crash of this process
 * restarts the server.  Everything of PostgreSQL's is done by now.
 */
static void
end_beside_clients(int code, Datum arg)
{
	if (pg_atomic_read_u32(&clients) > 0)
		_exit(code);
}

rd_kafka_t *
kafka_new_client(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *errstr,
				 size_t size)
{
	static bool prepared = false;
	rd_kafka_t *rk;

	if (pg_atomic_read_u32(&clients) >= MAX_CLIENTS)
	{
		snprintf(errstr, size, "%d clients could not be ended", MAX_CLIENTS);
		return NULL;
	}
	if (!prepared)
		on_proc_exit(end_beside_clients, 0);
	prepared = true;
	rk = rd_kafka_new(type, conf, errstr, size);
	if (rk != NULL)
		pg_atomic_fetch_add_u32(&clients, 1);
	return rk;
}

/*
 * Destroying a client waits for its threads, which may hang in a name
 * look-up for as long as the resolver likes.  So it is done by a thread, for
 * which the caller waits a limited time.  It runs nothing but librdkafka's
 * code, with all signals blocked, and cleans up behind itself when the caller
 * has given up.
 */
typedef struct DestroyJob
{
	rd_kafka_t *rk;
	KafkaTransactions *transactions;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool		done;
	bool		abandoned;
} DestroyJob;

static void
destroy_client(rd_kafka_t *rk, KafkaTransactions *transactions)
{
	if (transactions != NULL)
		kafka_transactions_join(transactions);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	pg_atomic_fetch_sub_u32(&clients, 1);
}

static void *
destroy_thread(void *arg)
{
	DestroyJob *job = arg;
	bool		abandoned;

	destroy_client(job->rk, job->transactions);
	pthread_mutex_lock(&job->mutex);
	job->done = true;
	abandoned = job->abandoned;
	pthread_cond_signal(&job->cond);
	pthread_mutex_unlock(&job->mutex);
	if (abandoned)
		free(job);
	return NULL;
}

void
kafka_destroy_client(rd_kafka_t *rk, KafkaTransactions *transactions)
{
	DestroyJob *job = malloc(sizeof(DestroyJob));
	pthread_t	thread;
	struct timespec limit;
	bool		done;

	if (job == NULL)
	{
		destroy_client(rk, transactions);
		return;
	}
	job->rk = rk;
	job->transactions = transactions;
	job->done = job->abandoned = false;
	pthread_mutex_init(&job->mutex, NULL);
	pthread_cond_init(&job->cond, NULL);
	if (!kafka_start_thread(&thread, destroy_thread, job))
	{
		free(job);
		destroy_client(rk, transactions);
		return;
	}
	pthread_detach(thread);

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += (limit.tv_nsec / 1000000 + DESTROY_LIMIT) / 1000;
	limit.tv_nsec = (limit.tv_nsec + DESTROY_LIMIT * 1000000L) % 1000000000L;
	pthread_mutex_lock(&job->mutex);
	while (!job->done &&
		   pthread_cond_timedwait(&job->cond, &job->mutex, &limit) == 0)
		;
	done = job->done;
	job->abandoned = !done;
	pthread_mutex_unlock(&job->mutex);
	if (done)
		free(job);
}

void
kafka_sink_destroy(KafkaSink *sink, int timeout_ms)
{
	int64		limit = kafka_now_ms() + timeout_ms;
	bool		settled = true;

	if (sink == NULL)
		return;

	/*
	 * Reports are events, so rd_kafka_flush() would not end before its time
	 * is up; in small slices it makes librdkafka send without lingering.
	 */
	sink->closing = true;
	kafka_sink_drain(sink);
	if (sink->transactions != NULL)
	{
		if ((!sink->failure.set || sink->failure.refused) &&
			sink->lost_since == 0 && !sink->suspect)
			kafka_transactions_settle(sink, limit);
		settled = kafka_transactions_stop(sink->transactions);
	}
	while (sink->transactions == NULL && sink->queued_messages > 0 && sink->lost_since == 0 &&
		   !sink->suspect && kafka_now_ms() < limit)
	{
		rd_kafka_flush(sink->rk, 2);
		kafka_sink_drain(sink);
	}

	stop_sender(sink->sender);

	/* What is sent now or later counts as not acknowledged. */
	if (settled)
		rd_kafka_purge(sink->rk, RD_KAFKA_PURGE_F_QUEUE |
					   RD_KAFKA_PURGE_F_INFLIGHT |
					   RD_KAFKA_PURGE_F_NON_BLOCKING);
	kafka_sink_drain(sink);

	rd_kafka_queue_io_event_enable(sink->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(sink->queue);
	for (int i = 0; i < TOPIC_BUCKETS; i++)
	{
		for (KafkaTopic *topic = sink->topics[i]; topic != NULL;
			 topic = topic->next)
			rd_kafka_topic_destroy(topic->rkt);
	}

	/*
	 * librdkafka aborts the process when a producer is destroyed just as a
	 * partition becomes part of its transaction (seen with 2.0.2; 2.11 has
	 * the same assertion).  So one whose transaction is not over is left as
	 * it is.  Only a commit that is under way may still end.
	 */
	if (settled)
		kafka_destroy_client(sink->rk, sink->transactions);
	free_sink(sink);
}
