/*
 * kafka_topic.c
 *		Topics made, searched for records, and their ends.
 *
 * Making topics is a request that goes on beside everything else.  Searches
 * wait, with a function of the caller's called between slices.
 */
#include "postgres.h"

#include "kafka_private.h"
#include "utils/memutils.h"

#define CREATE_BATCH		100 /* topics in one request */
#define OFFSETS_BATCH		200 /* partitions in one request */

/* Times in milliseconds. */
#define REQUEST_TIMEOUT		10000
#define RETRY_INTERVAL		1000
#define LOOK_TIMEOUT		1000

#define HINT_CREATE "The stream's Kafka user needs the operations CREATE and WRITE on the topic, or WRITE alone if somebody else creates it. Then the stream goes on by itself."

/* ---- making them ---- */

/* The broker, or librdkafka before it is asked, does not take a topic. */
static void
topic_refused(KafkaSink *sink, rd_kafka_resp_err_t err, const char *topic,
			  const char *reason)
{
	if (sink->failure.set || sink->closing)
		return;
	kafka_set_failure(sink, err);
	snprintf(sink->failure.message, sizeof(sink->failure.message),
			 "could not create Kafka topic \"%.255s\"", topic);
	kafka_copy_text(sink->failure.detail, sizeof(sink->failure.detail),
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
void
kafka_send_topic_request(KafkaSink *sink)
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
	kafka_send_topic_request(sink);
}

bool
kafka_sink_request_done(const KafkaSink *sink)
{
	return sink->request == NULL;
}

void
kafka_end_topic_request(KafkaSink *sink)
{
	if (sink->request == NULL)
		return;
	MemoryContextDelete(sink->request->cxt);
	sink->request = NULL;
}

/*
 * Whoever may not create topics is not told that they exist.  Ask for the
 * topics that there are; the caller has an answer, so a broker is there, and
 * this takes no time to speak of.
 */
static bool
look_for_refused_topics(KafkaSink *sink)
{
	TopicRequest *request = sink->request;
	const struct rd_kafka_metadata *metadata;
	bool		progress = false;

	if (rd_kafka_metadata(sink->rk, 1, NULL, &metadata,
						  LOOK_TIMEOUT) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;			/* once more, with the next request */
	for (int i = 0; i < request->ntopics; i++)
	{
		PendingTopic *pending = &request->topics[i];

		if (!pending->refused)
			continue;
		for (int j = 0; j < metadata->topic_cnt && !pending->exists; j++)
			pending->exists =
				metadata->topics[j].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
				strcmp(metadata->topics[j].topic, pending->name) == 0;
		progress |= pending->exists;
		if (!pending->exists && !sink->failure.set)
		{
			topic_refused(sink, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
						  pending->name,
						  "The stream's Kafka user may not create it, and sees no topic of that name.");
			sink->failure.hint = HINT_CREATE;
		}
	}
	rd_kafka_metadata_destroy(metadata);
	return progress;
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

	bool		refused = (err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);

	if (err != RD_KAFKA_RESP_ERR_NO_ERROR && !refused &&
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
			pending->refused = refused;
			pending->exists = !refused;
			sink->request->refused |= refused;
			return !refused;
		}
	}
	return false;
}

/* An answer arrived: more topics, the same again later, or the end. */
void
kafka_take_topic_result(KafkaSink *sink, rd_kafka_event_t *event)
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
		kafka_broker_seen(sink);
		results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
													  &nresults);
		for (size_t i = 0; i < nresults; i++)
			progress |= take_topic_result(sink, results[i]);
		if (request->refused)
			progress |= look_for_refused_topics(sink);
	}

	for (int i = 0; i < request->ntopics; i++)
		all_exist &= request->topics[i].exists;
	if (all_exist)
		kafka_end_topic_request(sink);
	else if (!progress)
		request->next_try = kafka_now_ms() + RETRY_INTERVAL;
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

	/* one with a transactional id is none before it is initialised */
	if (sink->transactions == NULL)
		rd_kafka_conf_set(conf, "enable.idempotence", "false",
						  errstr, sizeof(errstr));
	search->rk = kafka_new_client(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
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
	kafka_destroy_client(search->rk, NULL);
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
