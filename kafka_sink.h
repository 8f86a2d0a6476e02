/*
 * kafka_sink.h
 *		librdkafka behind a handful of functions.
 *
 * Everything here is called from the process's main thread.  librdkafka's
 * own threads never run our code: delivery reports, errors and logs arrive
 * as events that kafka_sink_poll() reads in the main thread.  The file
 * descriptor becomes readable when there are some.
 *
 * Errors of configuration are raised (ereport); errors of the network are
 * librdkafka's to retry and only reported; errors that end the stream's
 * order (a message that failed for good, a fatal producer) are remembered
 * and raised by kafka_sink_poll().
 */
#ifndef WAL2KAFKA_KAFKA_SINK_H
#define WAL2KAFKA_KAFKA_SINK_H

#include "event.h"
#include "options.h"

typedef struct KafkaSink KafkaSink;
typedef struct KafkaTopic KafkaTopic;	/* one per topic and sink; freed with
										 * the sink */

typedef struct KafkaSinkConfig
{
	const char *bootstrap_servers;
	const char *client_id;
	OptionList	options;		/* kafka_options, then the file's */
	size_t		max_queue_bytes;
	/* one message was acknowledged; called from kafka_sink_poll() */
	void		(*on_ack) (void *arg, uint64 ticket);
	void	   *arg;
} KafkaSinkConfig;

typedef enum KafkaSendResult
{
	KAFKA_SENT,
	KAFKA_QUEUE_FULL,			/* poll, wait for the fd, try again */
	KAFKA_TOO_LARGE,			/* exceeds message.max.bytes */
} KafkaSendResult;

/*
 * Is this property acceptable?  Checks the deny-list (what delivery rests
 * on, commands and code), for the inline form also secrets, and asks
 * librdkafka about name and value.  Raises an error that names the property
 * and never its value.
 */
extern void kafka_sink_check_options(const char *setting,
									 const OptionList *options, bool from_file);

/*
 * Make a producer: idempotent, acks=all, murmur2_random, endless retries.
 * Does not wait for a broker.  Raises on wrong options.
 */
extern KafkaSink *kafka_sink_create(const KafkaSinkConfig *config);

/*
 * Stop: wait up to timeout_ms for what is queued (polling, so that on_ack is
 * called), purge the rest, free everything.  Never raises, never blocks
 * longer than timeout_ms plus a few milliseconds.
 */
extern void kafka_sink_destroy(KafkaSink *sink, int timeout_ms);

/* Readable (level-triggered) when kafka_sink_poll() has work. */
extern int	kafka_sink_fd(KafkaSink *sink);

extern KafkaTopic *kafka_sink_topic(KafkaSink *sink, const char *name);

/*
 * Hand one message over; key and value are copied.  key NULL: none;
 * value NULL: tombstone.  timestamp_ms 0: now.  ticket comes back in on_ack.
 * Raises for anything but the three results.
 */
extern KafkaSendResult kafka_sink_send(KafkaSink *sink, KafkaTopic *topic,
									   const void *key, size_t key_len,
									   const void *value, size_t value_len,
									   const EventHeader *headers, int nheaders,
									   int64 timestamp_ms, uint64 ticket);

/*
 * Read events that arrived: call on_ack for acknowledged messages, log
 * librdkafka's log lines, remember the last transport error.  Returns the
 * number of acknowledgements.  Raises when a message failed for good or the
 * producer is fatal; detail has topic, size, librdkafka's reason.
 */
extern int	kafka_sink_poll(KafkaSink *sink);

/* What the sink holds, by our count: key + value + 200 bytes a message. */
extern uint64 kafka_sink_queued_bytes(const KafkaSink *sink);
extern uint64 kafka_sink_queued_messages(const KafkaSink *sink);

/*
 * Does any broker answer?  When not, *reason is the last transport error
 * (static storage, valid until the next poll).
 */
extern bool kafka_sink_connected(const KafkaSink *sink, const char **reason);

/*
 * Topics.  Both start a request and are finished in kafka_sink_poll(); at
 * most one is under way at a time.  kafka_sink_request_done() tells; after
 * an outage of the broker the request is repeated by kafka_sink_poll()
 * itself, until it has an answer.
 *
 * kafka_sink_create_topics: "already exists" is success.  A refusal
 * (authorization, policy, invalid partitions, replication factor or config)
 * is raised by kafka_sink_poll(), naming the topic and the broker's reason.
 *
 * kafka_sink_inspect_topics: do any of the topics exist and hold records?
 * The answer is the name of one that does, or NULL.
 */
typedef struct KafkaTopicSpec
{
	const char *name;
	int			partitions;
	int			replication_factor; /* -1: broker's default */
	const OptionList *config;
} KafkaTopicSpec;

extern void kafka_sink_create_topics(KafkaSink *sink,
									 const KafkaTopicSpec *topics, int ntopics);
extern void kafka_sink_inspect_topics(KafkaSink *sink,
									  const char *const *names, int nnames);
extern bool kafka_sink_request_done(const KafkaSink *sink);
extern const char *kafka_sink_nonempty_topic(const KafkaSink *sink);

/* "librdkafka 2.0.2" */
extern const char *kafka_sink_version(void);

#endif							/* WAL2KAFKA_KAFKA_SINK_H */
