/*
 * kafka_source.c
 *		Topics read back: a consumer of librdkafka behind a handful of
 *		functions.
 *
 * One partition is read at a time, through librdkafka's simple consumer, so
 * that what is fetched ahead is bounded however many partitions there are.
 *
 * No error is raised while something of librdkafka's is held that only we
 * can give back: records that were taken from its queue belong to the source
 * until it gives them back.
 *
 * A consumer that reads what is committed is told, where a partition ends,
 * only about the end of that.  A transaction that is still open hides what is
 * behind its first record, of other producers, too.  So the ends are asked for
 * by a consumer that reads everything; whoever reads up to them has all, or
 * waits.  The consumer that reads is another one, made when it is needed.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "kafka_private.h"
#include "kafka_source.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Records that are taken from librdkafka's queue at once. */
#define BATCH			500

/* Partitions whose ends are asked for in one request. */
#define OFFSETS_BATCH	200

/* Longest time, in ms, without a look at interrupts. */
#define SLICE_MS		250

typedef struct SourceClient
{
	rd_kafka_t *rk;				/* NULL: not made yet */
	rd_kafka_queue_t *main_queue;	/* errors and logs */
} SourceClient;

struct KafkaSource
{
	SourceClient looking;		/* reads everything */
	SourceClient reading;		/* what is committed; NULL where that is not
								 * asked for, too */
	rd_kafka_conf_t *reading_conf;	/* NULL: used, or of no use */
	int			timeout_ms;
	TimestampTz progress;		/* something arrived */
	char		reason[256];	/* last transport error; empty: none */

	/* what is being read; topic NULL: nothing */
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *records;
	int			wake_read;		/* pipe that records' arrival writes to */
	int			wake_write;
	int32		partition;
	int64		position;		/* next offset to be expected */
	int64		end;
	bool		hidden;			/* what comes next is not committed */
	rd_kafka_message_t *batch[BATCH];
	int			nbatch;
	int			next;			/* in batch */
};

/*
 * What a consumer needs that the producer's options do not say.  Bounds of
 * memory come last.
 */
static const Option fixed_properties[] = {
	{"enable.partition.eof", "true"},
	{"enable.auto.commit", "false"},
	{"auto.offset.reset", "error"},
	{"allow.auto.create.topics", "false"},
	{"isolation.level", "read_uncommitted"},
	/* the end of a partition shows in a fetch that finds nothing */
	{"fetch.wait.max.ms", "10"},
	{"queued.min.messages", "100000"},
	{"queued.max.messages.kbytes", "8192"},
	{"fetch.message.max.bytes", "2097152"},
	/* also the time until a full queue is looked at again */
	{"fetch.error.backoff.ms", "10"},
	{"log.queue", "true"},
	{"log.thread.name", "false"},
};

/* ---- life ---- */

static bool
set_properties(rd_kafka_conf_t *conf, const Option *options, int n)
{
	char		errstr[256];	/* may quote the value: not used */

	for (int i = 0; i < n; i++)
	{
		if (rd_kafka_conf_set(conf, options[i].name, options[i].value,
							  errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK)
			return false;
	}
	return true;
}

static rd_kafka_conf_t *
make_conf(const char *bootstrap_servers, const char *client_id,
		  const OptionList *options)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	Option		first[] = {
		{"bootstrap.servers", unconstify(char *, bootstrap_servers)},
		{"client.id", unconstify(char *, client_id)},
		{"reconnect.backoff.max.ms", "1000"},
		{"socket.keepalive.enable", "true"},
	};
	char		errstr[256];

	if (!set_properties(conf, first, lengthof(first)) ||
		!set_properties(conf, options->options, options->count) ||
		!set_properties(conf, fixed_properties, lengthof(fixed_properties)))
	{
		rd_kafka_conf_destroy(conf);
		return NULL;
	}

	/* as the producer's: no shell is run for a ticket of Kerberos */
	rd_kafka_conf_set(conf, "sasl.kerberos.min.time.before.relogin", "0",
					  errstr, sizeof(errstr));
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
	return conf;
}

static void
make_pipe(KafkaSource *source)
{
	int			fds[2];

	if (pipe(fds) != 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create a pipe: %m")));
	for (int i = 0; i < 2; i++)
	{
		(void) fcntl(fds[i], F_SETFD, FD_CLOEXEC);
		(void) fcntl(fds[i], F_SETFL, O_NONBLOCK);
	}
	source->wake_read = fds[0];
	source->wake_write = fds[1];
	ReserveExternalFD();
	ReserveExternalFD();
}

static void
close_pipe(KafkaSource *source)
{
	close(source->wake_read);
	close(source->wake_write);
	ReleaseExternalFD();
	ReleaseExternalFD();
}

/*
 * Make a client; conf is used up.  False if librdkafka refuses it.
 */
static bool
make_client(SourceClient *client, rd_kafka_conf_t *conf)
{
	rd_kafka_error_t *error;
	char		errstr[512];	/* may quote a secret: not used */

	client->rk = kafka_new_client(RD_KAFKA_CONSUMER, conf, errstr, sizeof(errstr));
	if (client->rk == NULL)
	{
		rd_kafka_conf_destroy(conf);
		return false;
	}
	rd_kafka_set_log_queue(client->rk, NULL);
	client->main_queue = rd_kafka_queue_get_main(client->rk);
	error = rd_kafka_sasl_background_callbacks_enable(client->rk);
	if (error != NULL)
		rd_kafka_error_destroy(error);
	return true;
}

static void
end_client(SourceClient *client)
{
	if (client->rk == NULL)
		return;
	rd_kafka_queue_destroy(client->main_queue);
	kafka_destroy_client(client->rk, NULL);
	client->rk = NULL;
}

static void
raise_refusal(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("could not create a Kafka consumer"),
			 errhint("See wal2kafka.kafka_options and wal2kafka.kafka_options_file.")));
}

KafkaSource *
kafka_source_create(const char *bootstrap_servers, const char *client_id,
					const OptionList *options, int timeout_ms,
					bool committed_only)
{
	static const Option committed = {"isolation.level", "read_committed"};
	KafkaSource *source;
	rd_kafka_conf_t *conf;

	kafka_sink_check_options("wal2kafka.kafka_options", options, true);
	source = MemoryContextAllocZero(TopMemoryContext, sizeof(KafkaSource));
	source->timeout_ms = timeout_ms;
	make_pipe(source);
	conf = make_conf(bootstrap_servers, client_id, options);
	if (conf != NULL && committed_only)
	{
		source->reading_conf = rd_kafka_conf_dup(conf);
		if (!set_properties(source->reading_conf, &committed, 1))
		{
			rd_kafka_conf_destroy(conf);
			conf = NULL;
		}
	}
	if (conf == NULL || !make_client(&source->looking, conf))
	{
		kafka_source_destroy(source);
		raise_refusal();
	}
	return source;
}

void
kafka_source_destroy(KafkaSource *source)
{
	if (source == NULL)
		return;
	kafka_source_end(source);
	end_client(&source->reading);
	end_client(&source->looking);
	if (source->reading_conf != NULL)
		rd_kafka_conf_destroy(source->reading_conf);
	close_pipe(source);
	pfree(source);
}

/*
 * The client that reads.
 */
static rd_kafka_t *
reader_of(KafkaSource *source)
{
	rd_kafka_conf_t *conf = source->reading_conf;

	source->reading_conf = NULL;
	if (conf != NULL && !make_client(&source->reading, conf))
		raise_refusal();
	return source->reading.rk != NULL ? source->reading.rk : source->looking.rk;
}

/* ---- waiting ---- */

/*
 * Errors of the network are librdkafka's to retry.  The last one is the
 * reason, should that take too long.  Lines of its log repeat them.
 */
static void
take_events(KafkaSource *source, SourceClient *client)
{
	rd_kafka_event_t *event;

	if (client->rk == NULL)
		return;
	while ((event = rd_kafka_queue_poll(client->main_queue, 0)) != NULL)
	{
		if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
			rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
			strlcpy(source->reason,
					rd_kafka_err2str(rd_kafka_event_error(event)),
					sizeof(source->reason));
		rd_kafka_event_destroy(event);
	}
}

static void
note_progress(KafkaSource *source)
{
	source->progress = GetCurrentTimestamp();
	source->reason[0] = '\0';
}

/*
 * Between two tries.
 */
static void
check_wait(KafkaSource *source)
{
	CHECK_FOR_INTERRUPTS();
	take_events(source, &source->looking);
	take_events(source, &source->reading);
	if (!TimestampDifferenceExceeds(source->progress, GetCurrentTimestamp(),
									source->timeout_ms))
		return;
	if (source->hidden)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("an open transaction hides records of Kafka topic \"%s\"",
						rd_kafka_topic_name(source->topic)),
				 errdetail("Partition %d ends at offset " INT64_FORMAT ", but for %d seconds could only be read up to " INT64_FORMAT ".",
						   (int) source->partition, source->end,
						   source->timeout_ms / 1000, source->position),
				 errhint("Look for a program that writes to the topic, or for a transaction that hangs (kafka-transactions.sh).")));
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("no Kafka broker has answered for %d seconds",
					source->timeout_ms / 1000),
			 source->reason[0] != '\0' ?
			 errdetail("%s.", source->reason) : 0,
			 errhint("Check wal2kafka.bootstrap_servers and the broker.")));
}

/*
 * A refusal of the broker is raised; what may pass is not.
 */
static void
check_refusal(KafkaSource *source, rd_kafka_resp_err_t err, const char *topic)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("the Kafka broker does not let the stream read topic \"%s\"",
							topic),
					 errdetail("%s.", rd_kafka_err2str(err)),
					 errhint("The stream's Kafka user needs the operation READ on the topic.")));
			break;
		default:				/* librdkafka's enum, not ours */
			if (err != RD_KAFKA_RESP_ERR__TIMED_OUT)
				strlcpy(source->reason, rd_kafka_err2str(err),
						sizeof(source->reason));
			break;
	}
}

/* ---- what there is ---- */

/* The number of a topic's partitions; 0: it does not exist.  -1: ask again. */
static int
count_partitions(KafkaSource *source, const char *name)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_t *topic = rd_kafka_topic_new(source->looking.rk, name, NULL);
	rd_kafka_resp_err_t err;
	int			result = -1;

	if (topic == NULL)
		return 0;
	err = rd_kafka_metadata(source->looking.rk, 0, topic, &metadata, SLICE_MS);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		if (metadata->topic_cnt == 1)
		{
			err = metadata->topics[0].err;
			result = metadata->topics[0].partition_cnt;
		}
		rd_kafka_metadata_destroy(metadata);
	}
	rd_kafka_topic_destroy(topic);
	if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return 0;
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return result;
	check_refusal(source, err, name);
	return -1;
}

/*
 * One end of some partitions; false: ask again.
 */
static bool
ask_ends(KafkaSource *source, KafkaPartition *partitions, int n, bool high)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(n);
	rd_kafka_resp_err_t err;

	for (int i = 0; i < n; i++)
		rd_kafka_topic_partition_list_add(list, partitions[i].topic,
										  partitions[i].id)->offset =
			high ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING;
	err = rd_kafka_offsets_for_times(source->looking.rk, list, SLICE_MS);
	for (int i = 0; i < n && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
	{
		rd_kafka_topic_partition_t *answer =
			rd_kafka_topic_partition_list_find(list, partitions[i].topic,
											   partitions[i].id);

		if (answer == NULL || answer->offset < 0)
			err = RD_KAFKA_RESP_ERR__TIMED_OUT;
		else if (answer->err != RD_KAFKA_RESP_ERR_NO_ERROR)
			err = answer->err;
		else if (high)
			partitions[i].high = answer->offset;
		else
			partitions[i].low = answer->offset;
	}
	rd_kafka_topic_partition_list_destroy(list);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	check_refusal(source, err, partitions[0].topic);
	return false;
}

int
kafka_source_look(KafkaSource *source, const char *const *topics, int ntopics,
				  KafkaPartition **partitions)
{
	KafkaPartition *result = palloc(sizeof(KafkaPartition));
	int			n = 0;

	note_progress(source);
	for (int i = 0; i < ntopics; i++)
	{
		int			count;

		while ((count = count_partitions(source, topics[i])) < 0)
			check_wait(source);
		note_progress(source);
		CHECK_FOR_INTERRUPTS();
		result = repalloc(result, sizeof(KafkaPartition) * (n + count + 1));
		for (int j = 0; j < count; j++)
		{
			memset(&result[n], 0, sizeof(KafkaPartition));
			result[n].topic = topics[i];
			result[n++].id = j;
		}
	}
	for (int i = 0; i < n; i += OFFSETS_BATCH)
	{
		int			size = Min(n - i, OFFSETS_BATCH);

		while (!ask_ends(source, result + i, size, false))
			check_wait(source);
		while (!ask_ends(source, result + i, size, true))
			check_wait(source);
		note_progress(source);
		CHECK_FOR_INTERRUPTS();
	}
	*partitions = result;
	return n;
}

/* ---- reading ---- */

static void
give_back_batch(KafkaSource *source)
{
	for (int i = 0; i < source->nbatch; i++)
		rd_kafka_message_destroy(source->batch[i]);
	source->nbatch = source->next = 0;
}

void
kafka_source_begin(KafkaSource *source, const KafkaPartition *partition)
{
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_t *rk;

	kafka_source_end(source);
	source->hidden = false;
	source->partition = partition->id;
	source->position = partition->low;
	source->end = partition->high;
	if (source->position >= source->end)
		return;

	rk = reader_of(source);
	source->topic = rd_kafka_topic_new(rk, partition->topic, NULL);
	if (source->topic == NULL)
		err = rd_kafka_last_error();
	else
	{
		source->records = rd_kafka_queue_new(rk);
		rd_kafka_queue_io_event_enable(source->records, source->wake_write,
									   "", 1);
		if (rd_kafka_consume_start_queue(source->topic, partition->id,
										 partition->low,
										 source->records) != 0)
			err = rd_kafka_last_error();
	}
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not read Kafka topic \"%s\"", partition->topic),
				 errdetail("%s.", rd_kafka_err2str(err))));
	note_progress(source);
}

void
kafka_source_end(KafkaSource *source)
{
	give_back_batch(source);
	if (source->records != NULL)
	{
		rd_kafka_queue_io_event_enable(source->records, -1, NULL, 0);
		rd_kafka_consume_stop(source->topic, source->partition);
		rd_kafka_queue_destroy(source->records);
		source->records = NULL;
	}
	if (source->topic != NULL)
		rd_kafka_topic_destroy(source->topic);
	source->topic = NULL;
}

/*
 * Sleep until records arrive.  Those that arrive after the pipe was emptied
 * write to it again, where the queue was empty; it is looked at again besides.
 */
static void
wait_for_records(KafkaSource *source)
{
	char		buffer[64];

	(void) WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE |
							 WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 source->wake_read, SLICE_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	while (read(source->wake_read, buffer, sizeof(buffer)) == sizeof(buffer))
		;
	check_wait(source);
}

/*
 * Take what is there.
 */
static void
fetch_batch(KafkaSource *source)
{
	ssize_t		n;

	give_back_batch(source);
	n = rd_kafka_consume_batch_queue(source->records, 0, source->batch, BATCH);
	if (n > 0)
	{
		source->nbatch = (int) n;
		note_progress(source);
		CHECK_FOR_INTERRUPTS();
	}
	else
		wait_for_records(source);
}

/*
 * What is no record: the end of the partition, or an error.
 */
static void
take_error(KafkaSource *source, const rd_kafka_message_t *message)
{
	rd_kafka_resp_err_t err = message->err;

	if (err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
	{
		/*
		 * The last offsets may have no record, compacted as they were.  Where
		 * that is not the end, what is open has to end first.
		 */
		source->position = Max(source->position, message->offset);
		source->hidden = true;
		return;
	}
	check_refusal(source, err, rd_kafka_topic_name(source->topic));
	if (err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE ||
		err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
		err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
		err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
		err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("records of Kafka topic \"%s\" were removed while it was read",
						rd_kafka_topic_name(source->topic)),
				 errdetail("%s.", rd_kafka_err2str(err))));
}

bool
kafka_source_next(KafkaSource *source, KafkaRecord *record)
{
	while (source->position < source->end)
	{
		rd_kafka_message_t *message;
		rd_kafka_timestamp_type_t type;

		if (source->next >= source->nbatch)
		{
			fetch_batch(source);
			continue;
		}
		message = source->batch[source->next++];
		if (unlikely(message->err != RD_KAFKA_RESP_ERR_NO_ERROR))
		{
			take_error(source, message);
			continue;
		}
		source->position = message->offset + 1;
		source->hidden = false;
		if (message->offset >= source->end)
			break;
		record->partition = message->partition;
		record->offset = message->offset;
		record->timestamp_ms = rd_kafka_message_timestamp(message, &type);
		record->key = message->key;
		record->key_len = message->key_len;
		record->value = message->payload;
		record->value_len = message->len;
		return true;
	}
	kafka_source_end(source);
	return false;
}
