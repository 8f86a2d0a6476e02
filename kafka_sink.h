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

	/*
	 * Exactly once: the identity of the producer, which fences others that
	 * have it, and Kafka's limit on the age of a transaction.  NULL: at least
	 * once, without transactions.
	 */
	const char *transactional_id;
	int			transaction_timeout_ms;

	/* no two messages in one request's batch: a refusal is of one then */
	bool		single_messages;

	/*
	 * What goes wrong is raised, and that is enough: librdkafka logs nothing.
	 * Nor does it wait for more to send.
	 */
	bool		trial;

	/*
	 * One message was acknowledged; called from kafka_sink_poll() and
	 * kafka_sink_destroy().  Must not raise.
	 */
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
 * Does not wait for a broker.  Raises on wrong options.  Nothing of config is
 * used after the return, so that the options can be wiped.  The sink's memory
 * is a child of TopMemoryContext.
 */
extern KafkaSink *kafka_sink_create(const KafkaSinkConfig *config);

/*
 * Stop: wait up to timeout_ms for what is queued (polling, so that on_ack is
 * called; not at all when no broker answers), purge the rest, free
 * everything.  Never raises, never blocks longer than timeout_ms plus a few
 * milliseconds; plus at most half a second if librdkafka's threads hang in a
 * name look-up.  NULL is allowed.
 */
extern void kafka_sink_destroy(KafkaSink *sink, int timeout_ms);

/* Readable (level-triggered) when kafka_sink_poll() has work. */
extern int	kafka_sink_fd(KafkaSink *sink);

/*
 * The handle of a topic, made when it is first asked for.  Create the topic
 * in Kafka before: librdkafka gives up messages of a topic that it cannot
 * find for half a minute.  Raises for a name that Kafka would not take.
 */
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
									   int32 partition, int64 timestamp_ms,
									   uint64 ticket);

/*
 * Read events that arrived: call on_ack for acknowledged messages, log
 * librdkafka's log lines (a line that keeps coming is logged less and less
 * often), remember the last transport error, go on with what was requested
 * of topics.  Returns the number of acknowledgements.  Raises when a message
 * failed for good or the producer is fatal; detail has topic, sizes,
 * librdkafka's reason.  From then on only kafka_sink_destroy() is of use.
 *
 * Costs next to nothing when nothing arrived.  Call it whenever the
 * descriptor is readable, and about once a second besides: the return of a
 * broker to an idle producer makes no event.
 */
extern int	kafka_sink_poll(KafkaSink *sink);

/*
 * After kafka_sink_poll() has raised: was it a message that failed, and with
 * which ticket?
 */
extern bool kafka_sink_failed_ticket(const KafkaSink *sink, uint64 *ticket);

/*
 * A message that a broker refused for what it is, rather than for what it
 * meets there.
 */
#define KAFKA_TOPIC_LEN		249

typedef struct KafkaRefusal
{
	char		topic[KAFKA_TOPIC_LEN + 1];
	bool		has_key;
	size_t		key_len;
	size_t		value_len;
	bool		oversized;		/* it is too large */
	int			sqlerrcode;
	char		reason[256];	/* the broker's, for people */
} KafkaRefusal;

/*
 * After kafka_sink_poll() has raised: was it for such a message?  NULL: no.
 * Valid until the sink is destroyed.
 */
extern const KafkaRefusal *kafka_sink_refusal(const KafkaSink *sink);

/* The topic of the message that failed; NULL where none did. */
extern const char *kafka_sink_failed_topic(const KafkaSink *sink);

/*
 * Send what is queued now, rather than wait for more to go with it.  To be
 * called before a sleep: while there is more to decode, full requests cost
 * less.  Does nothing when the options set linger.ms: then that holds.
 */
extern void kafka_sink_push(KafkaSink *sink);

/* message.max.bytes, as it is in force here. */
extern size_t kafka_sink_message_limit(const KafkaSink *sink);

/* What the sink holds, by our count: key + value + 200 bytes a message. */
extern uint64 kafka_sink_queued_bytes(const KafkaSink *sink);
extern uint64 kafka_sink_queued_messages(const KafkaSink *sink);

/*
 * Does a broker answer?  No, if none was connected for a second, or if
 * messages wait and none was acknowledged for two.  Then *reason, for people,
 * is the last transport error or what is waited for (valid until the next
 * call into the sink); otherwise it is set to NULL.  reason may be NULL.
 */
extern bool kafka_sink_connected(const KafkaSink *sink, const char **reason);

/*
 * While no broker answers: what to do about it, a constant, or NULL where the
 * reason tells no more than that.
 */
extern const char *kafka_sink_remedy(const KafkaSink *sink);

/*
 * Transactions, of a sink that has a transactional id.  Nothing here waits:
 * what takes time is done by a thread that runs nothing but librdkafka's code,
 * makes the descriptor readable when it is over, and goes on as long as the
 * broker is away; kafka_sink_poll() takes its result, and raises what is
 * final.  After an error of a transaction only kafka_sink_destroy() is of
 * use: the next producer's kafka_transaction_init() aborts what was left
 * open, so that there is one way to recover.
 */
typedef enum KafkaTransactionState
{
	KAFKA_TRANSACTION_NONE,		/* not initialised, or at least once */
	KAFKA_TRANSACTION_INIT,		/* kafka_transaction_init() is under way */
	KAFKA_TRANSACTION_READY,	/* none is open */
	KAFKA_TRANSACTION_OPEN,		/* messages may be sent */
	KAFKA_TRANSACTION_COMMIT,	/* kafka_transaction_commit() is under way */
} KafkaTransactionState;

extern KafkaTransactionState kafka_transaction_state(const KafkaSink *sink);

/*
 * Fence other producers with the transactional id, and abort what they left
 * open: NONE to INIT, and then READY.
 */
extern void kafka_transaction_init(KafkaSink *sink);

/* READY to OPEN, at once.  Raises what librdkafka says against it. */
extern void kafka_transaction_begin(KafkaSink *sink);

/*
 * OPEN to COMMIT, and to READY when Kafka has committed all messages that
 * were sent, each of which was given to on_ack before.  No message can be
 * sent meanwhile.
 */
extern void kafka_transaction_commit(KafkaSink *sink);

/*
 * The same, but to abort it.  Messages that were sent in it and not
 * acknowledged yet fail.
 */
extern void kafka_transaction_abort(KafkaSink *sink);

/*
 * Topics to be created.  What the specs point to is copied.
 */
typedef struct KafkaTopicSpec
{
	const char *name;
	int			partitions;
	int			replication_factor; /* -1: broker's default */
	const OptionList *config;	/* may be NULL */
} KafkaTopicSpec;

/*
 * Start to create topics; kafka_sink_poll() goes on with it, and
 * kafka_sink_request_done() tells when all exist.  One request at a time.
 * "Already exists" is success.  While the broker is away the request is
 * repeated every second, for ever.  A refusal (authorization, policy, invalid
 * partitions, replication factor or config) is raised by kafka_sink_poll(),
 * naming the topic and the broker's reason.
 */
extern void kafka_sink_create_topics(KafkaSink *sink,
									 const KafkaTopicSpec *topics, int ntopics);
extern bool kafka_sink_request_done(const KafkaSink *sink);

/*
 * The name (palloc'd) of one of these topics that exists and holds records;
 * NULL if there is none.  Waits for the answer, if need be for ever, and
 * calls idle between slices of about 0.1 s (up to 1 s where a broker takes
 * that long to answer).  idle should answer interrupts and poll the sink; it
 * may raise.  Raises itself if the broker does not let us look.
 */
extern char *kafka_sink_find_nonempty(KafkaSink *sink,
									  const char *const *names, int nnames,
									  void (*idle) (void *arg), void *arg);

/*
 * Where the partitions end that this sink has sent to: call visit for each,
 * with the offset behind its last message.  Nothing may be queued.  idle is
 * called as by kafka_sink_find_nonempty() where a broker has to be asked,
 * which is where it did not say what offset a repeated message has.
 */
extern void kafka_sink_offsets(KafkaSink *sink,
							   void (*visit) (void *arg, const char *topic,
											  int32 partition, int64 offset),
							   void (*idle) (void *arg), void *arg);

/*
 * Another sink had a message of the topic acknowledged: the partition ends
 * there, or further on.
 */
extern void kafka_sink_note_end(KafkaSink *sink, KafkaTopic *topic,
								int32 partition, int64 offset);

/* "librdkafka 2.0.2" */
extern const char *kafka_sink_version(void);

#endif							/* WAL2KAFKA_KAFKA_SINK_H */
