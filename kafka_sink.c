/*
 * kafka_sink.c
 *		librdkafka behind a handful of functions.
 *
 * Whose code runs where.  librdkafka has threads of its own.  Ours never run
 * on them: no callback is set, everything that librdkafka has to say is an
 * event on its main queue, and a byte in a pipe wakes the main thread.  The
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
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "kafka_sink.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#define MESSAGE_OVERHEAD	200 /* what librdkafka needs for a message */
#define TOPIC_BUCKETS		256 /* a power of two */
#define MAX_TOPIC_NAME		249 /* Kafka's limit */
#define CREATE_BATCH		100 /* topics in one request */
#define OFFSETS_BATCH		200 /* partitions in one request */

/* Times in milliseconds. */
#define LOST_AFTER			1000	/* without a broker: say so */
#define STALLED_AFTER		2000	/* without an acknowledgement: say so */
#define PROBE_INTERVAL		250
#define SUSPECT_INTERVAL	1000
#define REQUEST_TIMEOUT		10000
#define RETRY_INTERVAL		1000
#define LOG_INTERVAL_MAX	(5 * 60 * 1000)
#define DESTROY_LIMIT		500

/*
 * Properties that are not taken from the user, or not in clear sight.  In a
 * pattern, * at the beginning or end stands for anything.  The first row that
 * matches decides.
 */
typedef struct PropertyRule
{
	const char *pattern;
	enum
	{
		REFUSED,				/* in both forms */
		REFUSED_INLINE,			/* in the setting that everybody can read */
		CHECKED,				/* in both forms, unless acceptable() */
	}			rule;
	const char *reason;			/* a sentence */
	bool		(*acceptable) (const char *value);
} PropertyRule;

static bool harmless_debug(const char *value);

#define BY_DELIVERY "Delivery without loss and in order depends on it."
#define BY_CONSUMERS "Consumers rely on rows being spread over partitions as Kafka's own clients do it."
#define BY_SETTING "Use the setting wal2kafka.bootstrap_servers."
#define BY_QUEUE "Use the setting wal2kafka.max_queue_size_in_bytes."
#define BY_TOPICS "wal2kafka creates topics itself, as its topic settings say."
#define BY_PROGRAM "It belongs to the program that uses librdkafka."
#define IS_CODE "It would make the server run commands or load code."
#define IS_SECRET "It holds a secret, and everybody can read this setting."

static const PropertyRule property_rules[] = {
	{"enable.idempotence", REFUSED, BY_DELIVERY},
	{"enable.gapless.guarantee", REFUSED, BY_DELIVERY},
	{"acks", REFUSED, BY_DELIVERY},
	{"request.required.acks", REFUSED, BY_DELIVERY},
	{"transactional.id", REFUSED, BY_DELIVERY},
	{"transaction.timeout.ms", REFUSED, BY_DELIVERY},
	{"message.timeout.ms", REFUSED, BY_DELIVERY},
	{"delivery.timeout.ms", REFUSED, BY_DELIVERY},
	{"max.in.flight*", REFUSED, BY_DELIVERY},
	{"retries", REFUSED, BY_DELIVERY},
	{"message.send.max.retries", REFUSED, BY_DELIVERY},
	{"queuing.strategy", REFUSED, BY_DELIVERY},
	{"delivery.report.only.error", REFUSED, BY_DELIVERY},
	{"topic.blacklist", REFUSED, BY_DELIVERY},
	{"partitioner", REFUSED, BY_CONSUMERS},
	{"msg_order_cmp", REFUSED, BY_PROGRAM},
	{"bootstrap.servers", REFUSED, BY_SETTING},
	{"metadata.broker.list", REFUSED, BY_SETTING},
	{"queue.buffering.max.messages", REFUSED, BY_QUEUE},
	{"queue.buffering.max.kbytes", REFUSED, BY_QUEUE},
	{"allow.auto.create.topics", REFUSED, BY_TOPICS},
	{"plugin.library.paths", REFUSED, IS_CODE},
	{"ssl.engine.*", REFUSED, IS_CODE},
	{"ssl_engine_callback_data", REFUSED, IS_CODE},
	{"ssl.providers", REFUSED, IS_CODE},
	{"sasl.kerberos.kinit.cmd", REFUSED, IS_CODE},
	{"sasl.kerberos.min.time.before.relogin", REFUSED, IS_CODE},
	{"log.queue", REFUSED, BY_PROGRAM},
	{"enabled_events", REFUSED, BY_PROGRAM},
	{"internal.termination.signal", REFUSED, BY_PROGRAM},
	{"*_cb", REFUSED, BY_PROGRAM},
	{"opaque", REFUSED, BY_PROGRAM},
	{"interceptors", REFUSED, BY_PROGRAM},
	{"default_topic_conf", REFUSED, BY_PROGRAM},
	{"ut_*", REFUSED, BY_PROGRAM},
	{"debug", CHECKED,
		"Of librdkafka's debug contexts only those are allowed that show no secrets: generic, broker, topic, metadata, feature, queue, msg, protocol, eos, admin.",
	harmless_debug},

	/* Secrets.  Names, keys' locations and public URLs are none. */
	{"sasl.oauthbearer.config", REFUSED_INLINE, IS_SECRET},
	{"sasl.oauthbearer.extensions", REFUSED_INLINE, IS_SECRET},
	{"ssl_key", REFUSED_INLINE, IS_SECRET},
	{"*password", REFUSED_INLINE, IS_SECRET},
	{"*passphrase", REFUSED_INLINE, IS_SECRET},
	{"*secret", REFUSED_INLINE, IS_SECRET},
	{"*token", REFUSED_INLINE, IS_SECRET},
	{"*.pem", REFUSED_INLINE, IS_SECRET},
};

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
	{"message.timeout.ms", "0"},
	{"partitioner", "murmur2_random"},
	{"queue.buffering.max.messages", "0"},
	{"queue.buffering.max.kbytes", "2097151"},
	{"log.queue", "true"},
};

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

#define HINT_SIZE "The limits are max.message.bytes of the topic, message.max.bytes of the broker, and message.max.bytes in wal2kafka.kafka_options."
#define HINT_ACL "The user that wal2kafka.kafka_options_file names needs DESCRIBE and WRITE on the topics, CREATE to make them, and IDEMPOTENT_WRITE on older clusters."
#define HINT_TOPIC "Topics are made when a stream starts; one that was deleted since comes back when the stream starts again."

#define HINT_PARTITION "The topic has fewer partitions than wal2kafka.partition_topic_num or a column says: add some to it."

static const KafkaError kafka_errors[] = {
	{RD_KAFKA_RESP_ERR__TRANSPORT, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR__RESOLVE, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR__AUTHENTICATION, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR__SSL, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR__TIMED_OUT, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR__WAIT_COORD, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR__DESTROY, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_NOT_CONTROLLER, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED, HINT_SIZE},
	{RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED, HINT_SIZE},
	{RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED, HINT_SIZE},
	{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, false, ERRCODE_INSUFFICIENT_PRIVILEGE, HINT_ACL},
	{RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, false, ERRCODE_INSUFFICIENT_PRIVILEGE, HINT_ACL},
	{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, false, ERRCODE_UNDEFINED_OBJECT, HINT_TOPIC},
	{RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, false, ERRCODE_UNDEFINED_OBJECT, HINT_TOPIC},
	{RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, false, ERRCODE_UNDEFINED_OBJECT, HINT_PARTITION},
	{RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, false, ERRCODE_INVALID_NAME},
	{RD_KAFKA_RESP_ERR_POLICY_VIOLATION, false, ERRCODE_INSUFFICIENT_PRIVILEGE},
	{RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, false, ERRCODE_INVALID_PARAMETER_VALUE,
	"See wal2kafka.topic_partitions."},
	{RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, false, ERRCODE_INVALID_PARAMETER_VALUE,
	"See wal2kafka.topic_replication_factor; it cannot be larger than the number of brokers."},
	{RD_KAFKA_RESP_ERR_INVALID_CONFIG, false, ERRCODE_INVALID_PARAMETER_VALUE,
	"See wal2kafka.topic_config."},
};

/* Any other error. */
static const KafkaError other_error = {
	RD_KAFKA_RESP_ERR_UNKNOWN, false, ERRCODE_SYSTEM_ERROR
};

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

/* ---- small things ---- */

static int64
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const KafkaError *
kafka_error(rd_kafka_resp_err_t err)
{
	for (int i = 0; i < lengthof(kafka_errors); i++)
	{
		if (kafka_errors[i].err == err)
			return &kafka_errors[i];
	}
	return &other_error;
}

/*
 * Copy a text of librdkafka for a message of ours: one line, ASCII (whatever
 * the server's encoding is), and without the user information of a URL.
 */
static void
copy_text(char *dest, size_t size, const char *src)
{
	size_t		len = 0;

	for (; *src != '\0' && len < size - 1; src++)
	{
		dest[len++] = (*src >= ' ' && *src < 0x7f) ? *src : '?';
		if (len >= 3 && strncmp(dest + len - 3, "://", 3) == 0)
		{
			size_t		authority = strcspn(src + 1, "/ \t\r\n\"'");
			const char *at = NULL;

			for (size_t i = 1; i <= authority; i++)
			{
				if (src[i] == '@')
					at = src + i;
			}
			if (at != NULL)
				src = at;
		}
	}
	while (len > 0 && dest[len - 1] == ' ')
		len--;
	dest[len] = '\0';
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

/* ---- options ---- */

static bool
name_matches(const char *pattern, const char *name)
{
	size_t		len = strlen(pattern);

	if (pattern[0] == '*')
	{
		size_t		name_len = strlen(name);

		return name_len >= len - 1 &&
			strcmp(name + name_len - (len - 1), pattern + 1) == 0;
	}
	if (pattern[len - 1] == '*')
		return strncmp(name, pattern, len - 1) == 0;
	return strcmp(name, pattern) == 0;
}

/*
 * librdkafka takes a topic's property also as "topic." and its name.
 */
static const PropertyRule *
property_rule(const char *name)
{
	if (strncmp(name, "topic.", strlen("topic.")) == 0)
		name += strlen("topic.");
	for (int i = 0; i < lengthof(property_rules); i++)
	{
		if (name_matches(property_rules[i].pattern, name))
			return &property_rules[i];
	}
	return NULL;
}

/*
 * Debug contexts whose lines have neither configuration ("conf", "all") nor
 * what is exchanged to authenticate ("security").  Contexts of consumers are
 * of no use here.
 */
static bool
harmless_debug(const char *value)
{
	static const char *const contexts[] = {
		"generic", "broker", "topic", "metadata", "feature", "queue", "msg",
		"protocol", "eos", "admin",
	};

	while (*value != '\0')
	{
		size_t		len = strcspn(value, ", ");
		bool		found = len == 0;

		for (int i = 0; i < lengthof(contexts) && !found; i++)
			found = strlen(contexts[i]) == len &&
				strncmp(contexts[i], value, len) == 0;
		if (!found)
			return false;
		value += len;
		value += strspn(value, ", ");
	}
	return true;
}

/* PEM text, or a URL with a user or password. */
static bool
value_is_secret(const char *value)
{
	const char *url = value;

	if (strstr(value, "-----BEGIN") != NULL)
		return true;
	while ((url = strstr(url, "://")) != NULL)
	{
		url += 3;
		if (memchr(url, '@', strcspn(url, "/, ")) != NULL)
			return true;
	}
	return false;
}

/*
 * Why this option is refused, by the rules above; NULL if it is not.
 */
static const char *
refusal(const Option *option, bool from_file)
{
	const PropertyRule *rule = property_rule(option->name);

	if (rule != NULL)
	{
		switch (rule->rule)
		{
			case REFUSED:
				return rule->reason;
			case REFUSED_INLINE:
				if (!from_file)
					return rule->reason;
				break;
			case CHECKED:
				if (!rule->acceptable(option->value))
					return rule->reason;
				break;
		}
	}
	if (!from_file && value_is_secret(option->value))
		return IS_SECRET;
	return NULL;
}

/*
 * Copy what librdkafka's own table of properties says of the values that one
 * may have: the column of ranges, or else the type.  Empty if unknown.
 */
static void
allowed_values(const char *name, char *dest, size_t size)
{
	char	   *table = NULL;
	size_t		table_len = 0;
	size_t		name_len = strlen(name);
	FILE	   *file = open_memstream(&table, &table_len);

	dest[0] = '\0';
	if (file == NULL)
		return;
	rd_kafka_conf_properties_show(file);
	if (fclose(file) == 0)
	{
		for (char *line = strtok(table, "\n"); line != NULL;
			 line = strtok(NULL, "\n"))
		{
			char	   *column = strchr(line, '|');
			char	   *type = strstr(line, "*Type: ");

			if (strncmp(line, name, name_len) != 0 || line[name_len] != ' ' ||
				column == NULL || (column = strchr(column + 1, '|')) == NULL)
				continue;
			column++;
			column += strspn(column, " ");
			column[strcspn(column, "|")] = '\0';
			if (column[0] == '\0' && type != NULL)
			{
				column = type + strlen("*Type: ");
				column[strcspn(column, "*")] = '\0';
			}
			copy_text(dest, size, column);
			break;
		}
	}
	free(table);
}

/*
 * Let librdkafka look at the options.  Returns the index of the first that
 * it does not take, with what it says of it, or -1.
 */
static int
first_unacceptable(const OptionList *options, rd_kafka_conf_res_t *result)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char		errstr[256];	/* may quote the value: not used */
	int			bad = -1;

	*result = RD_KAFKA_CONF_OK;
	for (int i = 0; i < options->count && bad < 0; i++)
	{
		*result = rd_kafka_conf_set(conf, options->options[i].name,
									options->options[i].value,
									errstr, sizeof(errstr));
		if (*result != RD_KAFKA_CONF_OK)
			bad = i;
	}
	rd_kafka_conf_destroy(conf);
	return bad;
}

void
kafka_sink_check_options(const char *setting, const OptionList *options,
						 bool from_file)
{
	rd_kafka_conf_res_t result;
	int			bad;

	for (int i = 0; i < options->count; i++)
	{
		const char *reason = refusal(&options->options[i], from_file);

		if (reason != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("setting \"%s\" may not set the Kafka property \"%s\"",
							setting, options->options[i].name),
					 errdetail("%s", reason),
					 strcmp(reason, IS_SECRET) == 0 ?
					 errhint("Put it into the file that wal2kafka.kafka_options_file names.") : 0));
	}

	bad = first_unacceptable(options, &result);
	if (bad < 0)
		return;
	if (result == RD_KAFKA_CONF_UNKNOWN)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_PARAMETER),
				 errmsg("setting \"%s\" has an unknown Kafka property \"%s\"",
						setting, options->options[bad].name),
				 errhint("See the list of properties of %s.",
						 kafka_sink_version())));
	else
	{
		char		allowed[512];

		allowed_values(options->options[bad].name, allowed, sizeof(allowed));
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("setting \"%s\" has an invalid value for the Kafka property \"%s\"",
						setting, options->options[bad].name),
				 allowed[0] != '\0' ?
				 errhint("Allowed: %s (%s).", allowed, kafka_sink_version()) :
				 errhint("This build of %s may not support the property.",
						 kafka_sink_version())));
	}
}

/*
 * One server of bootstrap_servers: [protocol://]host[:port], where a host
 * that is an IPv6 address is in brackets.
 */
static bool
valid_server(const char *server, size_t len)
{
	const char *end = server + len;
	const char *colon;
	long		port = 0;

	for (const char *p = server; p + 3 <= end; p++)
	{
		if (strncmp(p, "://", 3) == 0)
		{
			server = p + 3;
			break;
		}
	}
	if (server < end && *server == '[')
	{
		colon = memchr(server, ']', end - server);
		if (colon == NULL)
			return false;
		colon++;
		if (colon == end)
			return true;
	}
	else
		colon = memchr(server, ':', end - server);
	if (colon == server || server == end || memchr(server, ' ', end - server))
		return false;
	if (colon == NULL)
		return true;
	if (*colon != ':' || colon + 1 == end || end - colon > 6)
		return false;
	for (const char *p = colon + 1; p < end; p++)
	{
		if (*p < '0' || *p > '9')
			return false;
		port = port * 10 + (*p - '0');
	}
	return port >= 1 && port <= 65535;
}

static void
check_servers(const char *servers)
{
	const char *p = servers;
	bool		any = false;

	while (p != NULL && *p != '\0')
	{
		size_t		len = strcspn(p, ",");
		const char *start = p + strspn(p, " \t");
		const char *end = p + len;

		while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if (end > start)
		{
			if (!valid_server(start, end - start))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("invalid server in setting \"%s\": \"%.*s\"",
								"wal2kafka.bootstrap_servers",
								(int) (end - start), start),
						 errhint("The form is host:port, host:port.")));
			any = true;
		}
		p += len;
		if (*p == ',')
			p++;
	}
	if (!any)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("setting \"%s\" is empty",
						"wal2kafka.bootstrap_servers"),
				 errhint("Set it to the brokers to begin with: host:port, host:port.")));
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
	int64		now = now_ms();

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
 * Record that something failed for good, unless something did before.
 */
static void
set_failure(KafkaSink *sink, rd_kafka_resp_err_t err)
{
	const KafkaError *error = kafka_error(err);

	sink->failure.set = true;
	sink->failure.sqlerrcode = error->sqlerrcode;
	sink->failure.hint = error->hint;
}

static void
raise_failure(const KafkaSink *sink)
{
	const SinkFailure *failure = &sink->failure;

	ereport(ERROR,
			(errcode(failure->sqlerrcode),
			 errmsg_internal("%s", failure->message),
			 errdetail_internal("%s", failure->detail),
			 failure->hint ? errhint("%s", failure->hint) : 0));
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
	for (size_t i = 0; i < shown; i++)
		snprintf(key + 2 * i, 3, "%02x", ((const uint8 *) message->key)[i]);
	key[2 * shown] = '\0';
	copy_text(reason, sizeof(reason), rd_kafka_err2str(message->err));

	set_failure(sink, message->err);
	failure->has_ticket = true;
	failure->ticket = (uint64) (uintptr_t) message->_private;
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
	set_failure(sink, err);
	strlcpy(failure->message, "the Kafka producer cannot go on",
			sizeof(failure->message));
	copy_text(failure->detail, sizeof(failure->detail), text);
}

bool
kafka_sink_failed_ticket(const KafkaSink *sink, uint64 *ticket)
{
	*ticket = sink->failure.ticket;
	return sink->failure.has_ticket;
}

/* ---- the connection ---- */

static void
broker_seen(KafkaSink *sink)
{
	sink->lost_since = 0;
	sink->suspect = false;
	sink->reason[0] = '\0';
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
		broker_seen(sink);
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
	if (sink->lost_since == 0 && sink->queued_messages == 0)
		return true;

	now = now_ms();
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
	return true;
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

/* The broker, or librdkafka before it is asked, does not take a topic. */
static void
topic_refused(KafkaSink *sink, rd_kafka_resp_err_t err, const char *topic,
			  const char *reason)
{
	if (sink->failure.set || sink->closing)
		return;
	set_failure(sink, err);
	snprintf(sink->failure.message, sizeof(sink->failure.message),
			 "could not create Kafka topic \"%.255s\"", topic);
	copy_text(sink->failure.detail, sizeof(sink->failure.detail),
			  reason != NULL ? reason : rd_kafka_err2str(err));
}

/* A topic as librdkafka wants it, or NULL with the failure set. */
static rd_kafka_NewTopic_t *
make_new_topic(KafkaSink *sink, const PendingTopic *pending)
{
	char		errstr[256];
	rd_kafka_NewTopic_t *topic;

	topic = rd_kafka_NewTopic_new(pending->name, pending->partitions,
								  pending->replication_factor,
								  errstr, sizeof(errstr));
	if (topic == NULL)
	{
		topic_refused(sink, RD_KAFKA_RESP_ERR_INVALID_PARTITIONS,
					  pending->name, errstr);
		return NULL;
	}
	for (int i = 0; i < pending->nconfig; i++)
		rd_kafka_NewTopic_set_config(topic, pending->config[i].name,
									 pending->config[i].value);
	return topic;
}

/*
 * Ask for the next topics that are not known to exist.  The answer is an
 * event; without a broker it is a timeout.
 */
static void
send_request(KafkaSink *sink)
{
	TopicRequest *request = sink->request;
	rd_kafka_NewTopic_t *batch[CREATE_BATCH];
	rd_kafka_AdminOptions_t *options;
	int			n = 0;

	for (int i = 0; i < request->ntopics && n < CREATE_BATCH; i++)
	{
		if (request->topics[i].exists)
			continue;
		batch[n] = make_new_topic(sink, &request->topics[i]);
		if (batch[n] == NULL)
			break;
		n++;
	}

	if (!sink->failure.set)
	{
		options = rd_kafka_AdminOptions_new(sink->rk,
											RD_KAFKA_ADMIN_OP_CREATETOPICS);
		rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_TIMEOUT,
												  NULL, 0);
		rd_kafka_AdminOptions_set_operation_timeout(options, REQUEST_TIMEOUT / 2,
													NULL, 0);
		rd_kafka_CreateTopics(sink->rk, batch, n, options, sink->queue);
		rd_kafka_AdminOptions_destroy(options);
		request->in_flight = true;
	}
	rd_kafka_NewTopic_destroy_array(batch, n);
}

void
kafka_sink_create_topics(KafkaSink *sink, const KafkaTopicSpec *topics,
						 int ntopics)
{
	MemoryContext cxt;
	MemoryContext old;
	TopicRequest *request;

	if (sink->request != NULL)
		elog(ERROR, "a request for Kafka topics is under way already");

	/* The mock cluster creates topics by itself, and has no request for it. */
	if (sink->mock || ntopics == 0)
		return;

	cxt = AllocSetContextCreate(sink->cxt, "Kafka topic request",
								ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	request = palloc0(sizeof(TopicRequest));
	request->cxt = cxt;
	request->ntopics = ntopics;
	request->topics = palloc0(ntopics * sizeof(PendingTopic));
	for (int i = 0; i < ntopics; i++)
	{
		PendingTopic *pending = &request->topics[i];
		int			nconfig = topics[i].config ? topics[i].config->count : 0;

		pending->name = pstrdup(topics[i].name);
		pending->partitions = topics[i].partitions;
		pending->replication_factor = topics[i].replication_factor;
		pending->nconfig = nconfig;
		pending->config = palloc0(Max(nconfig, 1) * sizeof(Option));
		for (int j = 0; j < nconfig; j++)
		{
			pending->config[j].name = pstrdup(topics[i].config->options[j].name);
			pending->config[j].value = pstrdup(topics[i].config->options[j].value);
		}
	}
	MemoryContextSwitchTo(old);
	sink->request = request;
	send_request(sink);
}

bool
kafka_sink_request_done(const KafkaSink *sink)
{
	return sink->request == NULL;
}

static void
end_request(KafkaSink *sink)
{
	if (sink->request == NULL)
		return;
	MemoryContextDelete(sink->request->cxt);
	sink->request = NULL;
}

/*
 * Take one topic's result.  Returns true if the topic is now known to exist
 * and was not before.
 */
static bool
take_topic_result(KafkaSink *sink, const rd_kafka_topic_result_t *result)
{
	rd_kafka_resp_err_t err = rd_kafka_topic_result_error(result);
	const char *name = rd_kafka_topic_result_name(result);

	if (err != RD_KAFKA_RESP_ERR_NO_ERROR &&
		err != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
	{
		if (!kafka_error(err)->passing)
			topic_refused(sink, err, name,
						  rd_kafka_topic_result_error_string(result));
		return false;
	}
	for (int i = 0; i < sink->request->ntopics; i++)
	{
		PendingTopic *pending = &sink->request->topics[i];

		if (!pending->exists && strcmp(pending->name, name) == 0)
		{
			pending->exists = true;
			return true;
		}
	}
	return false;
}

/* An answer arrived: more topics, the same again later, or the end. */
static void
take_create_result(KafkaSink *sink, rd_kafka_event_t *event)
{
	TopicRequest *request = sink->request;
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	const rd_kafka_topic_result_t **results;
	size_t		nresults = 0;
	bool		all_exist = true;
	bool		progress = false;

	if (request == NULL)
		return;
	request->in_flight = false;
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		if (!kafka_error(err)->passing)
			topic_refused(sink, err, request->topics[0].name,
						  rd_kafka_event_error_string(event));
	}
	else
	{
		broker_seen(sink);
		results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
													  &nresults);
		for (size_t i = 0; i < nresults; i++)
			progress |= take_topic_result(sink, results[i]);
	}

	for (int i = 0; i < request->ntopics; i++)
		all_exist &= request->topics[i].exists;
	if (all_exist)
		end_request(sink);
	else if (!progress)
		request->next_try = now_ms() + RETRY_INTERVAL;
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

	copy_text(reason, sizeof(reason), rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return KAFKA_QUEUE_FULL;
	if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		return KAFKA_TOO_LARGE;

	producer_failed(sink);
	if (sink->failure.set)
		raise_failure(sink);
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
		raise_failure(sink);
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
		sink->progress = now_ms();
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

	copy_text(text, sizeof(text), rd_kafka_event_error_string(event));
	if (err == RD_KAFKA_RESP_ERR__FATAL)
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
	if (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || sink->reason[0] == '\0')
		strlcpy(sink->reason, text, sizeof(sink->reason));
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
	copy_text(facility_copy, sizeof(facility_copy), facility);
	copy_text(text, sizeof(text), line);
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
			take_create_result(sink, event);
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
static int
drain(KafkaSink *sink)
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
		sink->progress = now_ms();
		broker_seen(sink);
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
	now = now_ms();
	if ((sink->lost_since != 0 || sink->suspect) && now >= sink->next_probe)
		probe(sink, now);
	if (sink->request != NULL && !sink->request->in_flight &&
		now >= sink->request->next_try && !sink->failure.set)
		send_request(sink);
}

int
kafka_sink_poll(KafkaSink *sink)
{
	int			acknowledged = drain(sink);

	service(sink);
	if (unlikely(sink->failure.set))
	{
		end_request(sink);
		raise_failure(sink);
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
	char		errstr[256];

	if ((!mock && !set_properties(conf, first, 1)) ||
		(config->client_id != NULL && !set_properties(conf, first + 1, 1)) ||
		!set_properties(conf, default_properties, lengthof(default_properties)) ||
		!set_properties(conf, config->options.options, config->options.count) ||
		!set_properties(conf, fixed_properties, lengthof(fixed_properties)) ||
		!set_properties(conf, last, lengthof(last)))
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
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
							 RD_KAFKA_EVENT_LOG);
	return conf;
}

/*
 * Overwrite in a text of librdkafka what is the value of a secret property.
 */
static void
hide_secrets(char *text, const OptionList *options)
{
	for (int i = 0; i < options->count; i++)
	{
		const PropertyRule *rule = property_rule(options->options[i].name);
		const char *value = options->options[i].value;
		size_t		len = strlen(value);
		char	   *found;

		if (len == 0 || rule == NULL || rule->rule != REFUSED_INLINE)
			continue;
		while ((found = strstr(text, value)) != NULL)
			memset(found, '*', len);
	}
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
	sink->lost_since = now_ms();
	copy_text(sink->servers, sizeof(sink->servers),
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

/*
 * NULL if there is no thread to be had: then everything waits for its linger.
 */
static Sender *
start_sender(rd_kafka_t *rk)
{
	Sender	   *sender = calloc(1, sizeof(Sender));
	sigset_t	all;
	sigset_t	before;
	bool		started;

	if (sender == NULL)
		return NULL;
	sender->rk = rk;
	pthread_mutex_init(&sender->mutex, NULL);
	pthread_cond_init(&sender->cond, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&sender->thread, NULL, sender_thread,
							 sender) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (started)
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

	if (sender == NULL || sink->queued_messages == 0)
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
	for (int i = 0; i < config->options.count; i++)
		mock |= strcmp(config->options.options[i].name,
					   "test.mock.num.brokers") == 0;
	if (!mock)
		check_servers(config->bootstrap_servers);

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

	sink->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (sink->rk == NULL)
	{
		rd_kafka_conf_destroy(conf);
		free_sink(sink);
		hide_secrets(errstr, &config->options);
		copy_text(reason, sizeof(reason), errstr);
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
	return sink;
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
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool		done;
	bool		abandoned;
} DestroyJob;

static void *
destroy_thread(void *arg)
{
	DestroyJob *job = arg;
	bool		abandoned;

	rd_kafka_destroy_flags(job->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	pthread_mutex_lock(&job->mutex);
	job->done = true;
	abandoned = job->abandoned;
	pthread_cond_signal(&job->cond);
	pthread_mutex_unlock(&job->mutex);
	if (abandoned)
		free(job);
	return NULL;
}

static bool
start_destroy_thread(DestroyJob *job)
{
	sigset_t	all;
	sigset_t	before;
	pthread_t	thread;
	bool		started;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	started = pthread_create(&thread, NULL, destroy_thread, job) == 0;
	if (started)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

static void
destroy_client(rd_kafka_t *rk)
{
	DestroyJob *job = malloc(sizeof(DestroyJob));
	struct timespec limit;
	bool		done;

	if (job == NULL)
	{
		rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
		return;
	}
	job->rk = rk;
	job->done = job->abandoned = false;
	pthread_mutex_init(&job->mutex, NULL);
	pthread_cond_init(&job->cond, NULL);
	if (!start_destroy_thread(job))
	{
		free(job);
		rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
		return;
	}

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
	int64		limit = now_ms() + timeout_ms;

	if (sink == NULL)
		return;

	/*
	 * Reports are events, so rd_kafka_flush() would not end before its time
	 * is up; in small slices it makes librdkafka send without lingering.
	 */
	sink->closing = true;
	drain(sink);
	while (sink->queued_messages > 0 && sink->lost_since == 0 &&
		   !sink->suspect && now_ms() < limit)
	{
		rd_kafka_flush(sink->rk, 2);
		drain(sink);
	}

	stop_sender(sink->sender);

	/* What is sent now or later counts as not acknowledged. */
	rd_kafka_purge(sink->rk, RD_KAFKA_PURGE_F_QUEUE |
				   RD_KAFKA_PURGE_F_INFLIGHT |
				   RD_KAFKA_PURGE_F_NON_BLOCKING);
	drain(sink);

	rd_kafka_queue_io_event_enable(sink->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(sink->queue);
	for (int i = 0; i < TOPIC_BUCKETS; i++)
	{
		for (KafkaTopic *topic = sink->topics[i]; topic != NULL;
			 topic = topic->next)
			rd_kafka_topic_destroy(topic->rkt);
	}
	destroy_client(sink->rk);
	free_sink(sink);
}

/* ---- looking into topics ---- */

/*
 * The search of kafka_sink_find_nonempty() has a client of its own, so that
 * names of topics that do not exist leave no trace in the producer.
 *
 * librdkafka's queries block.  They get short times, and a query that was
 * given up is asked again; where they fail for lack of time alone, they get
 * more of it.
 */
typedef struct Search
{
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	const char *const *names;
	int			nnames;
	int			slice;			/* milliseconds for one query */
	rd_kafka_topic_partition_list_t *partitions;	/* NULL: not known yet */
	int			next;			/* first partition that was not asked for */
	const char *found;			/* one of names */
	rd_kafka_resp_err_t refused;	/* what cannot be waited for */
} Search;

static bool
open_search(Search *search, KafkaSink *sink)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_dup(rd_kafka_conf(sink->rk));
	char		errstr[512];

	rd_kafka_conf_set(conf, "enable.idempotence", "false",
					  errstr, sizeof(errstr));
	search->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (search->rk == NULL)
	{
		rd_kafka_conf_destroy(conf);
		return false;
	}
	rd_kafka_set_log_queue(search->rk, NULL);
	search->queue = rd_kafka_queue_get_main(search->rk);
	return true;
}

static void
close_search(Search *search)
{
	if (search->rk == NULL)
		return;
	if (search->partitions != NULL)
		rd_kafka_topic_partition_list_destroy(search->partitions);
	rd_kafka_queue_destroy(search->queue);
	destroy_client(search->rk);
	search->rk = NULL;
}

static const char *
wanted_name(const Search *search, const char *name)
{
	for (int i = 0; i < search->nnames; i++)
	{
		if (strcmp(search->names[i], name) == 0)
			return search->names[i];
	}
	return NULL;
}

/* Note what an error means for the search. */
static void
search_error(Search *search, rd_kafka_resp_err_t err)
{
	if (err == RD_KAFKA_RESP_ERR__TIMED_OUT)
		search->slice = Min(search->slice * 2, 1000);
	else if (!kafka_error(err)->passing)
		search->refused = err;
}

/* Which partitions do the topics have? */
static void
find_partitions(Search *search)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t err;
	rd_kafka_topic_partition_list_t *partitions;

	err = rd_kafka_metadata(search->rk, 1, NULL, &metadata, search->slice);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		search_error(search, err);
		return;
	}
	partitions = rd_kafka_topic_partition_list_new(search->nnames);
	for (int i = 0; i < metadata->topic_cnt; i++)
	{
		const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];

		if (wanted_name(search, topic->topic) == NULL)
			continue;
		if (topic->err != RD_KAFKA_RESP_ERR_NO_ERROR)
			err = topic->err;
		for (int j = 0; j < topic->partition_cnt; j++)
			rd_kafka_topic_partition_list_add(partitions, topic->topic,
											  topic->partitions[j].id);
	}
	rd_kafka_metadata_destroy(metadata);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		rd_kafka_topic_partition_list_destroy(partitions);
		search_error(search, err);
		return;
	}
	search->partitions = partitions;
}

/*
 * Ask for one end of each partition: "offsets" has the ends' symbolic
 * offsets, and is given the real ones.
 */
static bool
query_offsets(Search *search, rd_kafka_topic_partition_list_t *offsets)
{
	rd_kafka_resp_err_t err;

	err = rd_kafka_offsets_for_times(search->rk, offsets, search->slice);
	for (int i = 0; i < offsets->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
		err = offsets->elems[i].err;
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		search_error(search, err);
	return err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Do the next partitions hold records? */
static void
look_into_partitions(Search *search)
{
	int			n = Min(search->partitions->cnt - search->next, OFFSETS_BATCH);
	rd_kafka_topic_partition_list_t *low = rd_kafka_topic_partition_list_new(n);
	rd_kafka_topic_partition_list_t *high = rd_kafka_topic_partition_list_new(n);

	for (int i = 0; i < n; i++)
	{
		rd_kafka_topic_partition_t *partition =
			&search->partitions->elems[search->next + i];

		rd_kafka_topic_partition_list_add(low, partition->topic,
										  partition->partition)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
		rd_kafka_topic_partition_list_add(high, partition->topic,
										  partition->partition)->offset =
			RD_KAFKA_OFFSET_END;
	}
	if (query_offsets(search, low) && query_offsets(search, high))
	{
		for (int i = 0; i < n && search->found == NULL; i++)
		{
			rd_kafka_topic_partition_t *end =
				rd_kafka_topic_partition_list_find(high, low->elems[i].topic,
												   low->elems[i].partition);

			if (end != NULL && end->offset > low->elems[i].offset)
				search->found = wanted_name(search, end->topic);
		}
		search->next += n;
	}
	rd_kafka_topic_partition_list_destroy(low);
	rd_kafka_topic_partition_list_destroy(high);
}

/* One query; true when the search is over. */
static bool
search_step(Search *search)
{
	int			next = search->next;
	bool		had_partitions = search->partitions != NULL;
	rd_kafka_event_t *event;

	if (search->partitions == NULL)
		find_partitions(search);
	else if (search->next < search->partitions->cnt)
		look_into_partitions(search);
	if (search->found != NULL || search->refused != RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	if (search->partitions != NULL && search->next >= search->partitions->cnt)
		return true;

	/* Errors and logs of this client are the producer's as well. */
	while ((event = rd_kafka_queue_poll(search->queue, 0)) != NULL)
		rd_kafka_event_destroy(event);
	if (search->next == next &&
		(search->partitions != NULL) == had_partitions)
		pg_usleep(20 * 1000L);
	return false;
}

char *
kafka_sink_find_nonempty(KafkaSink *sink, const char *const *names, int nnames,
						 void (*idle) (void *arg), void *arg)
{
	Search		search = {0};

	if (sink->mock || nnames == 0)
		return NULL;
	search.names = names;
	search.nnames = nnames;
	search.slice = 100;
	if (!open_search(&search, sink))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not create a second Kafka client")));

	PG_TRY();
	{
		while (!search_step(&search))
			idle(arg);
	}
	PG_FINALLY();
	{
		close_search(&search);
	}
	PG_END_TRY();

	if (search.refused != RD_KAFKA_RESP_ERR_NO_ERROR)
		ereport(ERROR,
				(errcode(kafka_error(search.refused)->sqlerrcode),
				 errmsg("could not look into the Kafka topics of the stream"),
				 errdetail("%s.", rd_kafka_err2str(search.refused)),
				 kafka_error(search.refused)->hint ?
				 errhint("%s", kafka_error(search.refused)->hint) : 0));
	return search.found ? pstrdup(search.found) : NULL;
}

/* ---- ends of partitions ---- */

/*
 * Ask a broker where a partition ends; calls idle until it answers.
 */
static int64
ask_end(KafkaSink *sink, const KafkaTopic *topic, int32 partition,
		void (*idle) (void *arg), void *arg)
{
	rd_kafka_resp_err_t err;
	int64		low;
	int64		high;

	for (;;)
	{
		err = rd_kafka_query_watermark_offsets(sink->rk, topic->name,
											   partition, &low, &high, 100);
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			return high;
		if (!kafka_error(err)->passing)
			ereport(ERROR,
					(errcode(kafka_error(err)->sqlerrcode),
					 errmsg("could not ask for the end of Kafka topic \"%s\"",
							topic->name),
					 errdetail("%s.", rd_kafka_err2str(err))));
		idle(arg);
	}
}

void
kafka_sink_offsets(KafkaSink *sink,
				   void (*visit) (void *arg, const char *topic,
								  int32 partition, int64 offset),
				   void (*idle) (void *arg), void *arg)
{
	Assert(sink->queued_messages == 0);
	for (int i = 0; i < TOPIC_BUCKETS; i++)
	{
		for (KafkaTopic *topic = sink->topics[i]; topic != NULL;
			 topic = topic->next)
		{
			if (topic->offsets_lost)
				ereport(ERROR,
						(errcode(ERRCODE_OUT_OF_MEMORY),
						 errmsg("out of memory")));
			for (int32 p = 0; p < topic->npartitions; p++)
			{
				if (topic->offsets[p] == OFFSET_UNKNOWN)
					topic->offsets[p] = ask_end(sink, topic, p, idle, arg);
				if (topic->offsets[p] > 0)
					visit(arg, topic->name, p, topic->offsets[p]);
			}
		}
	}
}
