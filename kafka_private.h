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
#include <pthread.h>

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
	bool		fenced;			/* the broker takes nothing more from us */
	bool		of_message;		/* it is about one message, and will be the
								 * same at the next try */
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
	bool		fenced;			/* the transactional id is another's, or the
								 * transaction took too long: Kafka does not
								 * tell which */
	uint64		ticket;
	int			sqlerrcode;
	char		message[384];
	char		detail[768];
	const char *hint;			/* may be NULL */
	bool		refused;		/* a message, for what it is: see refusal */
	KafkaRefusal refusal;		/* topic alone where it is another failure */
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
	bool		refused;		/* we may not create it: it may exist */
} PendingTopic;

typedef struct TopicRequest
{
	MemoryContext cxt;			/* holds the request */
	int			ntopics;
	PendingTopic *topics;
	bool		refused;		/* one was */
	bool		in_flight;
	int64		next_try;
} TopicRequest;

typedef struct Sender Sender;
typedef struct KafkaTransactions KafkaTransactions;

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
	KafkaTransactions *transactions;	/* NULL: at least once */
	SinkFailure failure;

	/* The connection; times as now_ms() has them. */
	int64		lost_since;		/* no usable broker since; 0: there is one */
	bool		suspect;		/* a connection broke since the last probe */
	int64		next_probe;
	int64		progress;		/* last acknowledgement, or first message of a
								 * queue that was empty */
	int64		stalled_after;
	char		reason[384];	/* last transport error; empty: none yet */
	const char *remedy;			/* for that; NULL: none in particular */
	char		certificate[384];	/* a broker's that was not accepted */
	char		servers[128];	/* for people */

	LogThrottle throttles[LOG_THROTTLES];
};

/* Monotonic. */
extern int64 kafka_now_ms(void);

/* What is known of an error; never NULL. */
extern const KafkaError *kafka_error(rd_kafka_resp_err_t err);

/*
 * The remedy for what keeps a connection from being made; NULL if the text
 * has to do.
 */
extern const char *kafka_connection_hint(rd_kafka_resp_err_t err,
										 const char *text);

/* See kafka_error.c: librdkafka's callback, and the line that it leads to. */
extern int	kafka_name_certificate_error(rd_kafka_t *rk,
										 const char *broker_name,
										 int32_t broker_id, int *x509_error,
										 int depth, const char *certificate,
										 size_t size, char *errstr,
										 size_t errstr_size, void *opaque);
extern bool kafka_certificate_reason(char *dest, size_t size,
									 const char *line);

/*
 * Copy a text of librdkafka for a message of ours: one line, ASCII, without
 * user information.  Truncates to size.
 */
extern void kafka_copy_text(char *dest, size_t size, const char *src);

/* Raises unless the list of brokers is well-formed and not empty. */
extern void kafka_check_servers(const char *servers);

/* Raises for a way to authenticate that nobody could go. */
extern void kafka_check_mechanism(const OptionList *options);

/* Overwrite in a text what is the value of a secret property. */
extern void kafka_hide_secrets(char *text, const OptionList *options);

/*
 * Something failed for good: code and hint of the failure.  The caller adds
 * message and detail, if sink->failure was not set before.
 */
extern void kafka_set_failure(KafkaSink *sink, rd_kafka_resp_err_t err);
extern void kafka_raise_failure(const KafkaSink *sink)
	__attribute__((noreturn));

/* A broker has answered. */
extern void kafka_broker_seen(KafkaSink *sink);

/* Read what librdkafka has to say; see kafka_sink_poll().  Never raises. */
extern int	kafka_sink_drain(KafkaSink *sink);

/* A thread of ours, with all signals blocked. */
extern bool kafka_start_thread(pthread_t *thread, void *(*run) (void *arg),
							   void *arg);

/*
 * As rd_kafka_new().  Clients are counted until they are destroyed: with one
 * left, the process ends without the C library's cleaning up, in the middle
 * of which that one's threads could do harm.  NULL also where too many are
 * left.
 */
extern rd_kafka_t *kafka_new_client(rd_kafka_type_t type,
									rd_kafka_conf_t *conf, char *errstr,
									size_t size);

/*
 * Wait for a client's end, but for no longer than half a second.  Before it
 * the thread of its transactions ends, which was told to stop; NULL: none.
 */
extern void kafka_destroy_client(rd_kafka_t *rk,
								 KafkaTransactions *transactions);

/*
 * Transactions: a thread for each sink that has them; false if there is none
 * to be had.  To stop does not wait, and returns whether no transaction is
 * open or being ended, so that the client may be destroyed; to join does.
 * What is done after a result was taken, or messages were given up by
 * librdkafka, is done when reports were read.
 */
extern bool kafka_transactions_start(KafkaSink *sink);
extern void kafka_transactions_settle(KafkaSink *sink, int64 limit);
extern bool kafka_transactions_stop(KafkaTransactions *transactions);
extern void kafka_transactions_join(KafkaTransactions *transactions);
extern void kafka_transactions_take(KafkaSink *sink);
extern void kafka_transactions_check(KafkaSink *sink);
extern void kafka_transaction_given_up(KafkaSink *sink);

/* Did something go wrong with the open transaction?  kafka_sink_poll() tells. */
extern bool kafka_transaction_broken(KafkaSink *sink);

/* Is a start or an end of a transaction under way for too long? */
extern bool kafka_transaction_stalled(const KafkaSink *sink, int64 now,
									  char *text, size_t size);

/* The request for topics: send (again), take an answer, forget. */
extern void kafka_send_topic_request(KafkaSink *sink);
extern void kafka_take_topic_result(KafkaSink *sink, rd_kafka_event_t *event);
extern void kafka_end_topic_request(KafkaSink *sink);

#endif							/* WAL2KAFKA_KAFKA_PRIVATE_H */
