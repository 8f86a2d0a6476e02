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
