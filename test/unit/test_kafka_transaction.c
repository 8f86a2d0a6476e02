/*
 * test_kafka_transaction.c
 *		kafka_transaction.c against librdkafka's mock cluster, which knows the
 *		requests of transactions and forgets what they mean: states, errors,
 *		outages, and an end that does not hang.  With WAL2KAFKA_TEST_BROKER
 *		(host:port) also against a real broker, whose process
 *		WAL2KAFKA_TEST_BROKER_PID may be frozen: fencing, a frozen broker, and
 *		what a commit costs.
 */
#include "postgres.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "kafka_sink.h"
#include "server_shim.h"

/* Kinds of requests, as Kafka's protocol numbers them. */
#define REQUEST_PRODUCE				0
#define REQUEST_INIT_PRODUCER_ID	22
#define REQUEST_ADD_PARTITIONS		24
#define REQUEST_END_TXN				26

static int	passed;
static int	failed;

static void
check(bool ok, const char *what)
{
	if (ok)
		passed++;
	else
	{
		failed++;
		printf("not ok - %s (last message: %s / %s)\n", what,
			   shim_error.message, shim_error.detail);
	}
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* ---- a sink ---- */

static uint64 acked;
static uint64 last_ticket;

static void
on_ack(void *arg, uint64 ticket)
{
	acked++;
	last_ticket = ticket;
}

static KafkaSink *
open_sink(const char *servers, const char *id, const char *options)
{
	KafkaSinkConfig config = {0};
	KafkaSink  *sink;

	acked = 0;
	config.bootstrap_servers = servers;
	config.client_id = "test";
	config.options = options_parse("wal2kafka.kafka_options", options);
	config.max_queue_bytes = 64 * 1024 * 1024;
	config.transactional_id = id;
	config.transaction_timeout_ms = 10000;
	config.on_ack = on_ack;
	sink = kafka_sink_create(&config);
	options_wipe(&config.options);
	return sink;
}

static void
send_one(KafkaSink *sink, uint64 ticket)
{
	KafkaTopic *topic = kafka_sink_topic(sink, "t");

	while (kafka_sink_send(sink, topic, "k", 1, "value", 5, NULL, 0,
						   EVENT_PARTITION_BY_KEY, 0, ticket) != KAFKA_SENT)
	{
		struct pollfd pfd = {.fd = kafka_sink_fd(sink),.events = POLLIN};

		kafka_sink_poll(sink);
		poll(&pfd, 1, 10);
	}
}

/* Wait as the worker does, until the state is reached. */
static bool
wait_for_state(KafkaSink *sink, KafkaTransactionState state, double limit)
{
	double		end = seconds() + limit;

	for (;;)
	{
		struct pollfd pfd = {.fd = kafka_sink_fd(sink),.events = POLLIN};

		kafka_sink_poll(sink);
		if (kafka_transaction_state(sink) == state)
			return true;
		if (seconds() > end)
			return false;
		poll(&pfd, 1, 1000);
	}
}

/* Nothing makes the descriptor readable for ever. */
static bool
quiet(KafkaSink *sink)
{
	for (int i = 0; i < 20; i++)
	{
		struct pollfd pfd = {.fd = kafka_sink_fd(sink),.events = POLLIN};

		if (poll(&pfd, 1, 50) == 0)
			return true;
		kafka_sink_poll(sink);
	}
	return false;
}

static double
destroy_time(KafkaSink *sink, int timeout_ms)
{
	double		start = seconds();

	kafka_sink_destroy(sink, timeout_ms);
	return seconds() - start;
}

/* A sink with an open transaction of one message. */
static KafkaSink *
open_transaction(const char *servers, const char *id)
{
	KafkaSink  *sink = open_sink(servers, id, "");

	kafka_transaction_init(sink);
	check(wait_for_state(sink, KAFKA_TRANSACTION_READY, 20), "a producer is ready");
	kafka_transaction_begin(sink);
	send_one(sink, 1);
	return sink;
}

/* ---- the mock cluster ---- */

typedef struct Mock
{
	rd_kafka_t *rk;
	rd_kafka_mock_cluster_t *cluster;
	const char *servers;
} Mock;

static Mock
start_mock(void)
{
	Mock		mock;
	char		errstr[256];

	mock.rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), errstr,
						   sizeof(errstr));
	mock.cluster = rd_kafka_mock_cluster_new(mock.rk, 1);
	rd_kafka_mock_topic_create(mock.cluster, "t", 4, 1);
	mock.servers = rd_kafka_mock_cluster_bootstraps(mock.cluster);
	return mock;
}

static void
stop_mock(Mock *mock)
{
	rd_kafka_mock_cluster_destroy(mock->cluster);
	rd_kafka_destroy(mock->rk);
}

static void
states(Mock *mock)
{
	KafkaSink  *sink = open_sink(mock->servers, NULL, "");
	bool		raised;

	check(kafka_transaction_state(sink) == KAFKA_TRANSACTION_NONE,
		  "at least once has no transactions");
	RAISES(raised, kafka_transaction_init(sink));
	check(raised, "and begins none");
	kafka_sink_destroy(sink, 0);

	shim_log_lines = 0;
	sink = open_sink(mock->servers, "states", "");
	check(rd_kafka_version() >= 0x020503ff || shim_log_lines == 1,
		  "the version is warned of");
	RAISES(raised, send_one(sink, 1));
	check(raised, "nothing is sent before");
	RAISES(raised, kafka_transaction_begin(sink));
	check(raised, "nothing is begun before");
	kafka_transaction_init(sink);
	check(kafka_transaction_state(sink) == KAFKA_TRANSACTION_INIT, "init");
	check(wait_for_state(sink, KAFKA_TRANSACTION_READY, 10), "ready");
	RAISES(raised, send_one(sink, 1));
	check(raised, "nothing is sent outside of a transaction");
	for (uint64 i = 0; i < 100; i++)
	{
		kafka_transaction_begin(sink);
		for (uint64 j = 0; j < 3; j++)
			send_one(sink, 3 * i + j);
		kafka_transaction_commit(sink);
		if (i == 0)
		{
			RAISES(raised, send_one(sink, 1));
			check(raised, "nothing is sent while committing");
		}
		if (!wait_for_state(sink, KAFKA_TRANSACTION_READY, 10))
			break;
	}
	check(acked == 300 && last_ticket == 299, "everything was acknowledged");
	check(quiet(sink), "the descriptor is quiet");
	kafka_transaction_begin(sink);
	kafka_transaction_commit(sink);
	check(wait_for_state(sink, KAFKA_TRANSACTION_READY, 10), "an empty one");
	check(destroy_time(sink, 1000) < 0.5, "the end of an idle sink");

	RAISES(raised, open_sink(mock->servers, "x", "socket.timeout.ms=60000"));
	check(raised && strstr(shim_error.detail, "transaction.timeout.ms") != NULL,
		  "a socket's timeout that is too long");
}

static void
outages(Mock *mock)
{
	KafkaSink  *sink = open_transaction(mock->servers, "outages");
	const char *reason;

	rd_kafka_mock_broker_set_down(mock->cluster, 1);
	kafka_transaction_commit(sink);
	check(!wait_for_state(sink, KAFKA_TRANSACTION_READY, 3), "down");
	check(!kafka_sink_connected(sink, &reason) && reason != NULL,
		  "an outage is seen");
	rd_kafka_mock_broker_set_up(mock->cluster, 1);
	check(wait_for_state(sink, KAFKA_TRANSACTION_READY, 8) && acked == 1,
		  "and over");
	rd_kafka_mock_broker_set_rtt(mock->cluster, 1, 4000);
	kafka_transaction_begin(sink);
	send_one(sink, 2);
	kafka_transaction_commit(sink);
	check(destroy_time(sink, 300) < 1, "the end while committing");

	sink = open_sink(mock->servers, "outages", "");
	kafka_transaction_init(sink);
	check(!wait_for_state(sink, KAFKA_TRANSACTION_READY, 3), "a slow broker");
	check(!kafka_sink_connected(sink, &reason) && reason != NULL,
		  "is seen, too");
	check(destroy_time(sink, 300) < 1, "the end while starting");
	rd_kafka_mock_broker_set_rtt(mock->cluster, 1, 0);

	sink = open_sink("127.0.0.1:9", "outages", "");
	kafka_transaction_init(sink);
	check(!wait_for_state(sink, KAFKA_TRANSACTION_READY, 1), "no broker");
	check(destroy_time(sink, 300) < 0.6, "the end without one");

	sink = open_transaction(mock->servers, "outages");
	check(destroy_time(sink, 2000) < 1, "the end of an open transaction");
}

/*
 * librdkafka aborts the process if a producer is destroyed while a partition
 * becomes part of its transaction.
 */
static void
early_ends(Mock *mock)
{
	for (int i = 0; i < 20; i++)
	{
		KafkaSink  *sink = open_transaction(mock->servers, "early");

		check(destroy_time(sink, i % 4 == 0 ? 0 : 2000) < 1,
			  "the end just after the first message");
	}
}

static void
raised_error(Mock *mock, int request, rd_kafka_resp_err_t err, int sqlerrcode,
			 bool has_ticket, const char *what)
{
	KafkaSink  *sink = open_sink(mock->servers, "errors", "");
	bool		raised;
	uint64		ticket = 0;

	rd_kafka_mock_push_request_errors(mock->cluster, request, 1, err);
	RAISES(raised,
		   kafka_transaction_init(sink);
		   wait_for_state(sink, KAFKA_TRANSACTION_READY, 10);
		   kafka_transaction_begin(sink);
		   for (int i = 1; i <= 10; i++)
		   send_one(sink, i);
		   kafka_transaction_commit(sink);
		   wait_for_state(sink, KAFKA_TRANSACTION_READY, 10));
	check(raised, what);
	check(shim_error.sqlerrcode == sqlerrcode, what);
	check(kafka_sink_failed_ticket(sink, &ticket) == has_ticket, what);
	check(!has_ticket || (ticket >= 1 && ticket <= 10), what);
	check(destroy_time(sink, 0) < 0.5, what);
	rd_kafka_mock_clear_request_errors(mock->cluster, request);
}

static void
errors(Mock *mock)
{
	raised_error(mock, REQUEST_INIT_PRODUCER_ID,
				 RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT,
				 ERRCODE_INVALID_PARAMETER_VALUE, false, "timeout");
	check(strstr(shim_error.hint, "transaction_timeout_ms") != NULL,
		  "the setting is named");
	raised_error(mock, REQUEST_INIT_PRODUCER_ID,
				 RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
				 ERRCODE_INSUFFICIENT_PRIVILEGE, false, "permission");
	raised_error(mock, REQUEST_INIT_PRODUCER_ID,
				 RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
				 ERRCODE_OBJECT_IN_USE, false, "fenced at the start");
	raised_error(mock, REQUEST_END_TXN, RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
				 ERRCODE_OBJECT_IN_USE, false, "fenced at the end");
	raised_error(mock, REQUEST_PRODUCE, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
				 ERRCODE_OBJECT_IN_USE, false, "fenced in between");
	raised_error(mock, REQUEST_ADD_PARTITIONS,
				 RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
				 ERRCODE_INSUFFICIENT_PRIVILEGE, false, "partitions");
	raised_error(mock, REQUEST_PRODUCE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
				 ERRCODE_PROGRAM_LIMIT_EXCEEDED, true, "a message");
	raised_error(mock, REQUEST_PRODUCE, RD_KAFKA_RESP_ERR_INVALID_RECORD,
				 ERRCODE_DATA_EXCEPTION, true, "another message");
}

/* What passes is waited for. */
static void
passing(Mock *mock)
{
	KafkaSink  *sink = open_sink(mock->servers, "passing", "");

	rd_kafka_mock_push_request_errors(mock->cluster, REQUEST_INIT_PRODUCER_ID, 2,
									  RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
									  RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS);
	rd_kafka_mock_push_request_errors(mock->cluster, REQUEST_ADD_PARTITIONS, 1,
									  RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS);
	rd_kafka_mock_push_request_errors(mock->cluster, REQUEST_END_TXN, 2,
									  RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
									  RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
	kafka_transaction_init(sink);
	check(wait_for_state(sink, KAFKA_TRANSACTION_READY, 10), "init in the end");
	kafka_transaction_begin(sink);
	send_one(sink, 1);
	kafka_transaction_commit(sink);
	check(wait_for_state(sink, KAFKA_TRANSACTION_READY, 10) && acked == 1,
		  "commit in the end");
	kafka_sink_destroy(sink, 0);
}

/* ---- a real broker ---- */

static void
make_topic(const char *servers)
{
	KafkaTopicSpec spec = {.name = "t", .partitions = 4,
	.replication_factor = 1};
	KafkaSink  *sink = open_sink(servers, NULL, "");

	kafka_sink_create_topics(sink, &spec, 1);
	while (!kafka_sink_request_done(sink))
	{
		struct pollfd pfd = {.fd = kafka_sink_fd(sink),.events = POLLIN};

		kafka_sink_poll(sink);
		poll(&pfd, 1, 100);
	}
	kafka_sink_destroy(sink, 0);
}

static void
fencing(const char *servers)
{
	KafkaSink  *first = open_transaction(servers, "w2k-fence");
	KafkaSink  *second;
	bool		raised;
	double		start = seconds();

	wait_for_state(first, KAFKA_TRANSACTION_COMMIT, 0.3);
	second = open_transaction(servers, "w2k-fence");
	printf("# fenced and aborted in %.0f ms\n", (seconds() - start - 0.3) * 1000);
	RAISES(raised,
		   kafka_transaction_commit(first);
		   wait_for_state(first, KAFKA_TRANSACTION_READY, 10));
	check(raised && shim_error.sqlerrcode == ERRCODE_OBJECT_IN_USE, "the first is fenced");
	check(destroy_time(first, 0) < 0.5, "and ends");
	kafka_transaction_commit(second);
	check(wait_for_state(second, KAFKA_TRANSACTION_READY, 10), "the second is not");

	first = open_transaction(servers, "w2k-fence");
	RAISES(raised,
		   kafka_transaction_begin(second);
		   send_one(second, 7);
		   kafka_transaction_commit(second);
		   wait_for_state(second, KAFKA_TRANSACTION_READY, 10));
	check(raised && shim_error.sqlerrcode == ERRCODE_OBJECT_IN_USE, "fenced between two");
	check(destroy_time(second, 0) < 0.5, "and ends");
	check(destroy_time(first, 2000) < 1, "aborted at the end");
	start = seconds();
	first = open_transaction(servers, "w2k-fence");
	printf("# after an abort ready in %.0f ms\n", (seconds() - start) * 1000);
	kafka_sink_destroy(first, 1000);
}

static void
frozen(const char *servers, pid_t pid)
{
	KafkaSink  *sink = open_transaction(servers, "w2k-frozen");
	const char *reason;

	kill(pid, SIGSTOP);
	kafka_transaction_commit(sink);
	check(!wait_for_state(sink, KAFKA_TRANSACTION_READY, 4), "frozen");
	check(!kafka_sink_connected(sink, &reason), "frozen is seen");
	printf("# %s\n", reason ? reason : "(none)");
	kill(pid, SIGCONT);
	check(wait_for_state(sink, KAFKA_TRANSACTION_READY, 10), "thawed");
	check(quiet(sink), "quiet after it");
	kafka_transaction_begin(sink);
	send_one(sink, 2);
	kill(pid, SIGSTOP);
	kafka_transaction_commit(sink);
	wait_for_state(sink, KAFKA_TRANSACTION_READY, 0.3);
	check(destroy_time(sink, 200) < 0.6, "ends while it is frozen");
	kill(pid, SIGCONT);
	sink = open_transaction(servers, "w2k-frozen");
	kafka_transaction_commit(sink);
	check(wait_for_state(sink, KAFKA_TRANSACTION_READY, 10), "and goes on");
	kafka_sink_destroy(sink, 0);
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

static void
cost(const char *servers, int messages)
{
	KafkaSink  *sink = open_transaction(servers, "w2k-cost");
	double		times[200];

	kafka_transaction_commit(sink);
	wait_for_state(sink, KAFKA_TRANSACTION_READY, 10);
	for (int i = 0; i < lengthof(times); i++)
	{
		double		start;

		poll(NULL, 0, 20);
		start = seconds();
		kafka_transaction_begin(sink);
		for (int j = 0; j < messages; j++)
			send_one(sink, j);
		kafka_transaction_commit(sink);
		wait_for_state(sink, KAFKA_TRANSACTION_READY, 10);
		times[i] = seconds() - start;
	}
	qsort(times, lengthof(times), sizeof(double), compare_doubles);
	printf("# %d messages: p10 %.2f p50 %.2f p90 %.2f ms\n", messages,
		   times[20] * 1000, times[100] * 1000, times[180] * 1000);
	kafka_sink_destroy(sink, 0);
}

int
main(void)
{
	Mock		mock = start_mock();
	const char *servers = getenv("WAL2KAFKA_TEST_BROKER");
	const char *pid = getenv("WAL2KAFKA_TEST_BROKER_PID");

	states(&mock);
	outages(&mock);
	early_ends(&mock);
	errors(&mock);
	passing(&mock);
	stop_mock(&mock);
	if (servers != NULL)
	{
		make_topic(servers);
		fencing(servers);
		if (pid != NULL)
			frozen(servers, atoi(pid));
		cost(servers, 1);
		cost(servers, 100);
	}
	check(shim_external_fds == 0, "descriptors are given back");
	printf("kafka_transaction: %d passed, %d failed\n", passed, failed);
	fflush(stdout);
	shim_proc_exit(failed == 0 ? 0 : 1);
	return 1;					/* clients are left: it does not come back */
}
