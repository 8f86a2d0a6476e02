/*
 * kafka_error.c
 *		Errors and texts of librdkafka, for messages of ours.
 *
 * What is an outage, which errcode and which remedy an error has: one row each.
 * An error that has no row is final, and has no remedy that we know of.
 */
#include "postgres.h"

#include "kafka_private.h"

#define HINT_SIZE "The limits are max.message.bytes of the topic, message.max.bytes of the broker, and message.max.bytes in wal2kafka.kafka_options."
#define HINT_ACL_TOPIC "The stream's Kafka user needs the operation WRITE on the topic, CREATE where it does not exist yet, and READ where it is read. Once they are allowed, the stream goes on by itself."
#define HINT_ACL_CLUSTER "The stream's Kafka user needs the operation WRITE on its topics, or IDEMPOTENT_WRITE on the cluster where Kafka is older than 2.8. Once it is allowed, the stream goes on by itself."
#define HINT_TOPIC "Topics are made when a stream starts; one that was deleted since comes back when the stream starts again."

#define HINT_FENCED "This is so when another server or worker uses the stream's transactional id, and when a transaction was open for longer than wal2kafka.transaction_timeout_ms."
#define HINT_TIMEOUT "wal2kafka.transaction_timeout_ms cannot be larger than transaction.max.timeout.ms of the brokers."
#define HINT_TRANSACTIONAL_ID "The stream's Kafka user needs the operation WRITE on the transactional id, which begins with \"wal2kafka-\". Once it is allowed, the stream goes on by itself."
#define HINT_NO_TRANSACTIONS "Set wal2kafka.delivery to at_least_once, or use brokers that have transactions (Apache Kafka 0.11 or later)."
#define HINT_RECORD "A topic that is compacted takes no record without a key."
#define HINT_TIME "See message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic, and wal2kafka.record_timestamp."
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
	{RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_NOT_COORDINATOR, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED, HINT_SIZE,.of_message = true},
	{RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED, HINT_SIZE,.of_message = true},
	{RD_KAFKA_RESP_ERR_INVALID_RECORD, false, ERRCODE_DATA_EXCEPTION, HINT_RECORD,.of_message = true},
	{RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, false, ERRCODE_DATA_EXCEPTION, HINT_TIME,.of_message = true},
	{RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, false, ERRCODE_PROGRAM_LIMIT_EXCEEDED, HINT_SIZE},
	{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, false, ERRCODE_INSUFFICIENT_PRIVILEGE, HINT_ACL_TOPIC},
	{RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, false, ERRCODE_INSUFFICIENT_PRIVILEGE, HINT_ACL_CLUSTER},
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

	/* A transaction lives no longer than this. */
	{RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, true, ERRCODE_CONNECTION_FAILURE},
	{RD_KAFKA_RESP_ERR__FENCED, false, ERRCODE_OBJECT_IN_USE, HINT_FENCED, true},
	{RD_KAFKA_RESP_ERR_PRODUCER_FENCED, false, ERRCODE_OBJECT_IN_USE, HINT_FENCED, true},
	{RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, false, ERRCODE_OBJECT_IN_USE, HINT_FENCED, true},
	{RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, false, ERRCODE_OBJECT_IN_USE, HINT_FENCED},
	{RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, false, ERRCODE_OBJECT_IN_USE,
	"Kafka forgets a transactional id that was not used for transactional.id.expiration.ms."},
	{RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, false, ERRCODE_INVALID_PARAMETER_VALUE, HINT_TIMEOUT},
	{RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, false, ERRCODE_INSUFFICIENT_PRIVILEGE, HINT_TRANSACTIONAL_ID},
	{RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, false, ERRCODE_FEATURE_NOT_SUPPORTED, HINT_NO_TRANSACTIONS},
	{RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, false, ERRCODE_FEATURE_NOT_SUPPORTED, HINT_NO_TRANSACTIONS},
	{RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, false, ERRCODE_FEATURE_NOT_SUPPORTED, HINT_NO_TRANSACTIONS},
};

/* Any other error. */
static const KafkaError other_error = {
	RD_KAFKA_RESP_ERR_UNKNOWN, false, ERRCODE_SYSTEM_ERROR
};

const KafkaError *
kafka_error(rd_kafka_resp_err_t err)
{
	for (int i = 0; i < lengthof(kafka_errors); i++)
	{
		if (kafka_errors[i].err == err)
			return &kafka_errors[i];
	}
	return &other_error;
}

/* ---- connections ---- */

/*
 * What OpenSSL finds wrong with a certificate, by its numbers (X509_V_ERR_...),
 * which never change: librdkafka's own text is the same for all of them.
 */
static const struct
{
	int			code;
	const char *text;
}			certificate_errors[] = {
	{9, "is not valid yet"},
	{10, "has expired"},
	{18, "is signed by itself"},
	{19, "is signed by an authority that is not known"},
	{20, "is signed by an authority that is not known"},
	{21, "is signed by an authority that is not known"},
	{23, "was revoked"},
	{62, "is for another host"},
	{64, "is for another address"},
};

/*
 * Called by librdkafka, on a thread of its own, about each certificate of a
 * broker: with the verdict, which stays as it is.  All that it does is to name
 * the error, for the line that librdkafka logs then.
 */
int
kafka_name_certificate_error(rd_kafka_t *rk, const char *broker_name,
							 int32_t broker_id, int *x509_error, int depth,
							 const char *certificate, size_t size,
							 char *errstr, size_t errstr_size, void *opaque)
{
	const char *text = NULL;

	if (*x509_error == 0)
		return 1;
	for (int i = 0; i < lengthof(certificate_errors); i++)
	{
		if (certificate_errors[i].code == *x509_error)
			text = certificate_errors[i].text;
	}
	if (text != NULL)
		strlcpy(errstr, text, errstr_size);
	else
		snprintf(errstr, errstr_size, "is not accepted (OpenSSL's error %d)",
				 *x509_error);
	return 0;
}

/*
 * Turn the line that librdkafka logs of a certificate into a sentence:
 * "BROKER: The broker's certificate (subject=..., issuer=...) has expired."
 */
bool
kafka_certificate_reason(char *dest, size_t size, const char *line)
{
	static const char before[] = "Certificate (";
	static const char after[] = ") verification callback failed: ";
	const char *names = strstr(line, before);
	const char *text = names ? strstr(names, after) : NULL;

	if (text == NULL)
		return false;
	names += strlen(before);
	snprintf(dest, size, "%.*sThe broker's certificate (%.*s) %s.",
			 (int) (names - strlen(before) - line), line,
			 (int) (text - names), names, text + strlen(after));
	return true;
}

#define HINT_PASSWORD "Check sasl.mechanism in wal2kafka.kafka_options, sasl.username and sasl.password in the file that wal2kafka.kafka_options_file names, and the user in Kafka. A changed file or user is noticed, and the stream goes on by itself."
#define HINT_SCRAM "Before version 2.6.1 librdkafka cannot authenticate by SCRAM to Kafka 4 and newer: use PLAIN or a client's certificate, or install a newer librdkafka. With an older Kafka check sasl.username and sasl.password in the file that wal2kafka.kafka_options_file names."
#define HINT_MECHANISM "Set sasl.mechanism in wal2kafka.kafka_options to one that the broker's listener has."
#define HINT_BROKER_EXPIRED "Renew the certificate of the broker."
#define HINT_CLOCK "Compare the clocks of this server and the broker."
#define HINT_AUTHORITY "Set ssl.ca.location in wal2kafka.kafka_options to a PEM file of the authority that signed the broker's certificate. A changed file is noticed, and the stream goes on by itself."
#define HINT_HOST "The certificate has to have the name by which wal2kafka.bootstrap_servers, and advertised.listeners of the broker, reach it."
#define HINT_CLIENT "The broker refuses the client's certificate: it has expired, is of an authority that the broker does not know, or is missing. See ssl.certificate.location and ssl.key.location, and the broker's log. A renewed file is noticed, and the stream goes on by itself."
#define HINT_PROTOCOL "Check whether security.protocol in wal2kafka.kafka_options fits the broker's listener in wal2kafka.bootstrap_servers."

/*
 * What keeps a connection from being made, by texts of librdkafka and ours,
 * and the remedy.  The first row that fits counts.
 */
static const struct
{
	rd_kafka_resp_err_t err;	/* 0: any */
	const char *text;			/* part of it; NULL: any */
	int			before_version; /* of librdkafka; 0: any */
	const char *hint;
}			connection_troubles[] = {
	{RD_KAFKA_RESP_ERR__AUTHENTICATION, "unsupported SASL mechanism", 0, HINT_MECHANISM},
	{RD_KAFKA_RESP_ERR__AUTHENTICATION, "not supported by broker", 0, HINT_MECHANISM},
	{RD_KAFKA_RESP_ERR__AUTHENTICATION, "mechanism SCRAM", 0x02060100, HINT_SCRAM},
	{RD_KAFKA_RESP_ERR__AUTHENTICATION, NULL, 0, HINT_PASSWORD},
	{0, "certificate (", 0, NULL},	/* see certificate_hint() */
	{0, "alert certificate", 0, HINT_CLIENT},
	{0, "alert bad certificate", 0, HINT_CLIENT},
	{0, "alert unknown ca", 0, HINT_CLIENT},
	{0, "alert handshake failure", 0, HINT_CLIENT},
	{0, "certificate required", 0, HINT_CLIENT},
	{0, "certificate verify failed", 0, HINT_AUTHORITY},
	{0, "security.protocol", 0, HINT_PROTOCOL},
	{0, "wrong version number", 0, HINT_PROTOCOL},
	{0, "connecting to a PLAINTEXT", 0, HINT_PROTOCOL},
	{0, "requesting ApiVersion", 0, HINT_PROTOCOL},
};

static const struct
{
	const char *text;
	const char *hint;
}			certificate_hints[] = {
	{") has expired", HINT_BROKER_EXPIRED},
	{") is not valid yet", HINT_CLOCK},
	{") is for another", HINT_HOST},
};

static const char *
certificate_hint(const char *text)
{
	for (int i = 0; i < lengthof(certificate_hints); i++)
	{
		if (strstr(text, certificate_hints[i].text) != NULL)
			return certificate_hints[i].hint;
	}
	return HINT_AUTHORITY;
}

const char *
kafka_connection_hint(rd_kafka_resp_err_t err, const char *text)
{
	for (int i = 0; i < lengthof(connection_troubles); i++)
	{
		if (connection_troubles[i].err != 0 &&
			connection_troubles[i].err != err)
			continue;
		if (connection_troubles[i].text != NULL &&
			strstr(text, connection_troubles[i].text) == NULL)
			continue;
		if (connection_troubles[i].before_version != 0 &&
			rd_kafka_version() >= connection_troubles[i].before_version)
			continue;
		return connection_troubles[i].hint != NULL ?
			connection_troubles[i].hint : certificate_hint(text);
	}
	return NULL;
}

/* ---- texts ---- */

/*
 * Copy a text of librdkafka for a message of ours: one line, ASCII (whatever
 * the server's encoding is), and without the user information of a URL.
 */
void
kafka_copy_text(char *dest, size_t size, const char *src)
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
