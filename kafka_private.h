/*
 * kafka_private.h
 *		What the files that make up the sink for Kafka share: kafka_sink.c,
 *		kafka_transaction.c, kafka_topic.c, kafka_property.c, kafka_error.c.
 *
 * Nobody else includes it.  As in kafka_sink.h, everything is called from the
 * process's main thread.
 */
#ifndef WAL2KAFKA_KAFKA_PRIVATE_H
#define WAL2KAFKA_KAFKA_PRIVATE_H

#include "postgres.h"

#include <librdkafka/rdkafka.h>

#include "kafka_sink.h"

#define TOPIC_BUCKETS		256 /* a power of two */
#define MAX_TOPIC_NAME		249 /* Kafka's limit */

/*
 * Errors of Kafka that are more than a text to us.  passing: an outage, or
 * something else that may be gone a second later.
 */
typedef struct KafkaError
{
	rd_kafka_resp_err_t err;
	bool		passing;
	int			sqlerrcode;
	const char *hint;
} KafkaError;

struct KafkaTopic
{
	KafkaTopic *next;			/* in its bucket */
	rd_kafka_topic_t *rkt;

	/*
	 * By partition: the offset behind the last acknowledged message, 0 where
	 * none was sent, or OFFSET_UNKNOWN.
	 */
	int			npartitions;	/* room */
	int64	   *offsets;
	bool		offsets_lost;	/* there was no memory for it */
	char		name[MAX_TOPIC_NAME + 1];
};

/* A repeated message was there already: the broker may not say where. */
#define OFFSET_UNKNOWN	INT64CONST(-1)

/*
 * The first thing that went wrong for good.  Fixed buffers: it is written
 * where nothing may be allocated.
 */
typedef struct SinkFailure
{
	bool		set;
	bool		has_ticket;
	uint64		ticket;
	int			sqlerrcode;
	char		message[384];
	char		detail[768];
	const char *hint;			/* may be NULL */
} SinkFailure;

/*
 * How often lines of one facility of librdkafka's log may still be logged.
 * The interval doubles with each line that is, and starts anew when the
 * facility was silent for that long.
 */
typedef struct LogThrottle
{
	char		facility[16];
	int64		next;			/* no line before this time */
	int64		interval;
	uint64		suppressed;
} LogThrottle;

#define LOG_THROTTLES	16

typedef struct PendingTopic
{
	char	   *name;
	int			partitions;
	int			replication_factor;
	int			nconfig;
	Option	   *config;
	bool		exists;			/* created, or was there before */
} PendingTopic;

typedef struct TopicRequest
{
	MemoryContext cxt;			/* holds the request */
	int			ntopics;
	PendingTopic *topics;
	bool		in_flight;
	int64		next_try;
} TopicRequest;

typedef struct Sender Sender;

struct KafkaSink
{
	MemoryContext cxt;			/* holds the sink */
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;	/* rk's main queue */
	int			wake_read;		/* pipe that librdkafka writes to */
	int			wake_write;
	bool		wake_pending;	/* the pipe may hold a byte */
	bool		mock;			/* test.mock.num.brokers is set */
	bool		closing;		/* no more logs, no more errors */
	void		(*on_ack) (void *arg, uint64 ticket);
	void	   *arg;

	uint64		max_queue_bytes;
	uint64		queued_bytes;
	uint64		queued_messages;
	uint64		header_bytes;	/* part of queued_bytes */
	Sender	   *sender;			/* NULL: the operator chose linger.ms */
	KafkaTopic *topics[TOPIC_BUCKETS];
	TopicRequest *request;		/* NULL: nothing is under way */
	SinkFailure failure;

	/* The connection; times as now_ms() has them. */
	int64		lost_since;		/* no usable broker since; 0: there is one */
	bool		suspect;		/* a connection broke since the last probe */
	int64		next_probe;
	int64		progress;		/* last acknowledgement, or first message of a
								 * queue that was empty */
	int64		stalled_after;
	char		reason[256];	/* last transport error; empty: none yet */
	char		servers[128];	/* for people */

	LogThrottle throttles[LOG_THROTTLES];
};

/* Monotonic. */
extern int64 kafka_now_ms(void);

/* What is known of an error; never NULL. */
extern const KafkaError *kafka_error(rd_kafka_resp_err_t err);

/*
 * Copy a text of librdkafka for a message of ours: one line, ASCII, without
 * user information.  Truncates to size.
 */
extern void kafka_copy_text(char *dest, size_t size, const char *src);

/* Raises unless the list of brokers is well-formed and not empty. */
extern void kafka_check_servers(const char *servers);

/* Overwrite in a text what is the value of a secret property. */
extern void kafka_hide_secrets(char *text, const OptionList *options);

/*
 * Something failed for good: code and hint of the failure.  The caller adds
 * message and detail, if sink->failure was not set before.
 */
extern void kafka_set_failure(KafkaSink *sink, rd_kafka_resp_err_t err);

/* A broker has answered. */
extern void kafka_broker_seen(KafkaSink *sink);

/* Wait for a client's end, but for no longer than half a second. */
extern void kafka_destroy_client(rd_kafka_t *rk);

/* The request for topics: send (again), take an answer, forget. */
extern void kafka_send_topic_request(KafkaSink *sink);
extern void kafka_take_topic_result(KafkaSink *sink, rd_kafka_event_t *event);
extern void kafka_end_topic_request(KafkaSink *sink);

#endif							/* WAL2KAFKA_KAFKA_PRIVATE_H */
