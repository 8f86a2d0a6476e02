/*
 * test_kafka_sink.c
 *		kafka_sink.c against librdkafka's mock cluster: which properties are
 *		refused, the bound on the queue, what a message costs, outages, errors
 *		that are final, and an end that does not hang.
 *
 * The mock cluster knows neither the creation of topics nor offsets that can
 * be trusted; those are tested with a real broker, in t/.
 */
#include "postgres.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kafka_private.h"
#include "server_shim.h"

#define SECRET	"hunter2"

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
seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* VmHWM, VmRSS ... of this process in kB. */
static long
process_status(const char *field)
{
	FILE	   *file = fopen("/proc/self/status", "r");
	char		line[256];
	long		value = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
	{
		if (strncmp(line, field, strlen(field)) == 0)
			value = atol(line + strlen(field) + 1);
	}
	if (file != NULL)
		fclose(file);
	return value;
}

/* ---- a mock cluster in this process ---- */

typedef struct Mock
{
	rd_kafka_t *rk;
	rd_kafka_mock_cluster_t *cluster;
} Mock;

static Mock
start_mock(void)
{
	Mock		mock;
	char		errstr[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	mock.rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	mock.cluster = rd_kafka_mock_cluster_new(mock.rk, 1);
	rd_kafka_mock_topic_create(mock.cluster, "t", 4, 1);
	return mock;
}

static void
stop_mock(Mock *mock)
{
	rd_kafka_mock_cluster_destroy(mock->cluster);
	rd_kafka_destroy(mock->rk);
}

/* ---- a sink that counts ---- */

static uint64 acked;
static uint64 last_ticket;

static void
on_ack(void *arg, uint64 ticket)
{
	acked++;
	last_ticket = ticket;
}

static KafkaSink *
open_sink(const char *servers, const char *options, size_t max_queue)
{
	KafkaSinkConfig config = {0};
	KafkaSink  *sink;

	acked = 0;
	config.bootstrap_servers = servers;
	config.client_id = "test";
	config.options = options_parse("wal2kafka.kafka_options", options);
	config.max_queue_bytes = max_queue;
	config.on_ack = on_ack;
	sink = kafka_sink_create(&config);
	options_wipe(&config.options);
	return sink;
}

static KafkaSendResult
send_one(KafkaSink *sink, KafkaTopic *topic, size_t size, uint64 ticket)
{
	static char value[200000];
	char		key[16];

	snprintf(key, sizeof(key), "%08d", (int) ticket);
	return kafka_sink_send(sink, topic, key, 8, value, size, NULL, 0,
						   EVENT_PARTITION_BY_KEY, 0, ticket);
}

/* Wait as the worker does: for the descriptor, and at most a moment. */
static void
wait_a_moment(KafkaSink *sink, int ms)
{
	struct pollfd pfd = {.fd = kafka_sink_fd(sink),.events = POLLIN};

	poll(&pfd, 1, ms);
}

static void
wait_for_acks(KafkaSink *sink, uint64 n, double limit)
{
	double		end = seconds(CLOCK_MONOTONIC) + limit;

	while (acked < n && seconds(CLOCK_MONOTONIC) < end)
	{
		kafka_sink_poll(sink);
		if (acked < n)
			wait_a_moment(sink, 100);
	}
}

/* How long until kafka_sink_connected() says so?  -1: not within the limit. */
static double
time_until(KafkaSink *sink, bool connected, double limit)
{
	double		start = seconds(CLOCK_MONOTONIC);
	const char *reason;

	while (kafka_sink_connected(sink, &reason) != connected)
	{
		if (seconds(CLOCK_MONOTONIC) - start > limit)
			return -1;
		wait_a_moment(sink, 100);
		kafka_sink_poll(sink);
	}
	return seconds(CLOCK_MONOTONIC) - start;
}

static double
destroy_time(KafkaSink *sink, int timeout_ms)
{
	double		start = seconds(CLOCK_MONOTONIC);

	kafka_sink_destroy(sink, timeout_ms);
	return seconds(CLOCK_MONOTONIC) - start;
}

/* ---- properties ---- */

static bool
accepted(const char *text, bool from_file)
{
	OptionList	list = options_parse("the.setting", text);
	bool		raised;

	shim_error.message[0] = shim_error.detail[0] = shim_error.hint[0] = '\0';
	RAISES(raised, kafka_sink_check_options("the.setting", &list, from_file));
	if (raised && (strstr(shim_error.message, SECRET) != NULL ||
				   strstr(shim_error.detail, SECRET) != NULL ||
				   strstr(shim_error.hint, SECRET) != NULL))
		check(false, "an error shows a value");
	options_wipe(&list);
	return !raised;
}

static void
properties(void)
{
	static const char *const fine[] = {
		"", "linger.ms=0; compression.codec=lz4", "message.max.bytes=5000000",
		"compression.level=3", "security.protocol=sasl_ssl",
		"sasl.mechanisms=PLAIN; sasl.username=joe", "ssl.ca.location=/x",
		"queue.buffering.backpressure.threshold=10", "debug=broker,topic",
		"debug='broker, eos'", "test.mock.num.brokers=1", "linger.ms='7'",
		"client.id=https://host/path@x",
	};
	static const char *const never[] = {
		"enable.idempotence=true", "acks=1", "request.required.acks=-1",
		"topic.acks=1", "topic.partitioner=random",
		"topic.message.timeout.ms=1",
		"transactional.id=x", "message.timeout.ms=1", "delivery.timeout.ms=1",
		"max.in.flight=1", "max.in.flight.requests.per.connection=1",
		"enable.gapless.guarantee=true", "partitioner=random",
		"queue.buffering.max.messages=1", "queue.buffering.max.kbytes=1",
		"log.queue=false", "dr_cb=1", "dr_msg_cb=1", "opaque=1",
		"bootstrap.servers=x", "metadata.broker.list=x",
		"allow.auto.create.topics=true", "plugin.library.paths=x",
		"ssl.engine.location=x", "ssl.engine.id=x", "ssl.providers=x",
		"sasl.kerberos.kinit.cmd=x", "retries=1", "message.send.max.retries=1",
		"debug=all", "debug=broker,security", "debug=conf", "debug=-broker",
		"delivery.report.only.error=true", "enabled_events=0",
		"internal.termination.signal=29", "no.such.property=" SECRET,
		"linger.ms=" SECRET, "linger.ms=99999999", "security.protocol=" SECRET,
	};
	static const char *const file_only[] = {
		"sasl.password=" SECRET, "ssl.key.password=" SECRET,
		"ssl.keystore.password=" SECRET, "ssl.key.pem=" SECRET,
		"ssl.certificate.pem=" SECRET, "ssl.ca.pem=" SECRET,
		"sasl.oauthbearer.config=" SECRET,
		"client.id=https://joe:" SECRET "@host/",
		"client.id='-----BEGIN X'",
	};

	for (int i = 0; i < lengthof(fine); i++)
		check(accepted(fine[i], false) && accepted(fine[i], true), fine[i]);
	for (int i = 0; i < lengthof(never); i++)
		check(!accepted(never[i], false) && !accepted(never[i], true), never[i]);
	for (int i = 0; i < lengthof(file_only); i++)
		check(!accepted(file_only[i], false) && accepted(file_only[i], true),
			  file_only[i]);

	check(!accepted("sasl.oauthbearer.client.secret=" SECRET, false) &&
		  strstr(shim_error.hint, "kafka_options_file") != NULL,
		  "a secret's place is told");
	check(!accepted("compression.type=" SECRET, false) &&
		  strstr(shim_error.hint, "lz4") != NULL, "allowed values are told");
	check(!accepted("linger.ms=x", false) &&
		  strstr(shim_error.hint, "0 .. 900000") != NULL, "a range is told");
}

/*
 * A text of librdkafka's without the values of these options.
 */
static void
hidden(const char *options, const char *text, const char *expected)
{
	OptionList	list = options_parse("the.setting", options);
	char		buffer[128];

	strlcpy(buffer, text, sizeof(buffer));
	kafka_hide_secrets(buffer, &list);
	check(strcmp(buffer, expected) == 0, buffer);
	options_wipe(&list);
}

static void
secrets_in_texts(void)
{
	hidden("sasl.password=" SECRET, "a " SECRET " b " SECRET,
		   "a ******* b *******");
	hidden("client.id=" SECRET, "a " SECRET, "a " SECRET);
	hidden("sasl.password=''", "text", "text");
	hidden("sasl.password=''", "", "");
	alarm(20);					/* asterisks that are found again for ever */
	hidden("sasl.password=**", "a ** ***", "a ** ***");
	alarm(0);

	/* one secret in another, in either order, and one that meets itself */
	hidden("sasl.password=abc; ssl.key.password=abcdef", "abcdef abc",
		   "****** ***");
	hidden("sasl.password=abcdef; ssl.key.password=abc", "abcdef abc",
		   "****** ***");
	hidden("sasl.password=abc; ssl.key.password=cde", "abcde", "*****");
	hidden("sasl.password=aba", "ababa", "*****");
}

static void
servers(void)
{
	static const char *const fine[] = {
		"localhost", "localhost:9092", "a:1,b:2", " a:1 , b:65535,",
		"SSL://host:9", "[::1]:9092", "[::1]",
	};
	static const char *const wrong[] = {
		"", ",", "host:", "host:0", "host:65536", "host:x", ":9092", "a b:1",
		"[::1:9092", "host:1:2", "[::1]x",
	};
	bool		raised;

	for (int i = 0; i < lengthof(fine); i++)
	{
		KafkaSink  *volatile sink = NULL;

		RAISES(raised, sink = open_sink(fine[i], "", 1000));
		check(!raised, fine[i]);
		kafka_sink_destroy(sink, 0);
	}
	for (int i = 0; i < lengthof(wrong); i++)
	{
		RAISES(raised, open_sink(wrong[i], "", 1000));
		check(raised, wrong[i]);
	}
	RAISES(raised, open_sink("localhost:1", "security.protocol=ssl; ssl.ca.location=/no/such/file", 1000));
	check(raised && strstr(shim_error.detail, "ssl.ca.location") != NULL,
		  "what librdkafka refuses at the end");
	check(shim_external_fds == 0, "descriptors are given back");
}

/* ---- load ---- */

/*
 * A child has the mock cluster, so that memory and CPU measured here are the
 * producer's.
 */
static pid_t
fork_mock(char *bootstrap, size_t size)
{
	int			fds[2];
	pid_t		pid;
	ssize_t		n;

	if (pipe(fds) != 0 || (pid = fork()) < 0)
		abort();
	if (pid == 0)
	{
		Mock		mock = start_mock();
		const char *servers = rd_kafka_mock_cluster_bootstraps(mock.cluster);

		if (write(fds[1], servers, strlen(servers)) < 0)
			_exit(1);
		pause();
		_exit(0);
	}
	close(fds[1]);
	n = read(fds[0], bootstrap, size - 1);
	close(fds[0]);
	bootstrap[n > 0 ? n : 0] = '\0';
	return pid;
}

static void
load(uint64 messages)
{
	char		bootstrap[128];
	pid_t		mock = fork_mock(bootstrap, sizeof(bootstrap));
	long		memory_before = process_status("VmRSS:");
	KafkaSink  *sink = open_sink(bootstrap, "linger.ms=20", 32 * 1024 * 1024);
	KafkaTopic *topic = kafka_sink_topic(sink, "t");
	double		start = seconds(CLOCK_MONOTONIC);
	double		cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
	double		process_cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	uint64		full = 0;
	uint64		most = 0;

	for (uint64 i = 1; i <= messages; i++)
	{
		while (send_one(sink, topic, 200, i) == KAFKA_QUEUE_FULL)
		{
			full++;
			wait_a_moment(sink, 100);
			kafka_sink_poll(sink);
		}
		most = Max(most, kafka_sink_queued_bytes(sink));
		if (i % 1024 == 0)
			kafka_sink_poll(sink);
	}
	wait_for_acks(sink, messages, 30);
	cpu = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
	process_cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - process_cpu;
	printf("# " UINT64_FORMAT " messages of 200 bytes: %.0f/s, %.0f ns of this thread and %.0f ns of the process a message, queue full %d times, memory +%ld kB\n",
		   messages, messages / (seconds(CLOCK_MONOTONIC) - start),
		   cpu * 1e9 / messages, process_cpu * 1e9 / messages, (int) full,
		   process_status("VmHWM:") - memory_before);
	check(acked == messages, "every message is acknowledged once");
	check(most <= 32 * 1024 * 1024, "the bound on the queue holds");
#ifndef __SANITIZE_ADDRESS__	/* which keeps freed memory for a while */
	check(process_status("VmHWM:") - memory_before < 64 * 1024,
		  "and bounds memory");
#endif
	check(kafka_sink_queued_bytes(sink) == 0 &&
		  kafka_sink_queued_messages(sink) == 0, "nothing is left");

	cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
	for (int i = 0; i < 1000000; i++)
		kafka_sink_poll(sink);
	printf("# a poll that finds nothing: %.0f ns\n",
		   (seconds(CLOCK_THREAD_CPUTIME_ID) - cpu) * 1e9 / 1000000);
	kafka_sink_destroy(sink, 1000);
	kill(mock, SIGKILL);
	waitpid(mock, NULL, 0);
}

/* Tombstones, null keys, empty values, headers: all are counted right. */
static void
shapes(void)
{
	Mock		mock = start_mock();
	KafkaSink  *sink = open_sink(rd_kafka_mock_cluster_bootstraps(mock.cluster),
								 "linger.ms=0", 1000000);
	KafkaTopic *topic = kafka_sink_topic(sink, "t");
	EventHeader headers[2] = {{"__debezium.newkey", "abc", 3}, {"b", "", 0}};
	bool		raised;

	check(kafka_sink_topic(sink, "t") == topic, "one handle for a topic");
	check(kafka_sink_send(sink, topic, "k", 1, NULL, 0, NULL, 0, EVENT_PARTITION_BY_KEY, 0, 1) == KAFKA_SENT &&
		  kafka_sink_send(sink, topic, NULL, 0, "v", 1, NULL, 0, EVENT_PARTITION_BY_KEY, 1234, 2) == KAFKA_SENT &&
		  kafka_sink_send(sink, topic, "", 0, "", 0, NULL, 0, EVENT_PARTITION_BY_KEY, 0, 3) == KAFKA_SENT &&
		  kafka_sink_send(sink, topic, "k", 1, "v", 1, headers, 2, EVENT_PARTITION_BY_KEY, 0, 4) == KAFKA_SENT,
		  "shapes of messages");
	check(kafka_sink_queued_bytes(sink) > 4 * 200 + 4, "headers count");
	wait_for_acks(sink, 4, 10);
	check(acked == 4 && kafka_sink_queued_bytes(sink) == 0,
		  "what comes back is what was counted");

	check(send_one(sink, topic, 10, UINT64_C(0xFEDCBA9876543210)) == KAFKA_SENT,
		  "sent");
	wait_for_acks(sink, 5, 10);
	check(last_ticket == UINT64_C(0xFEDCBA9876543210), "all bits of a ticket");

	RAISES(raised, kafka_sink_topic(sink, ""));
	check(raised, "a topic has a name");
	kafka_sink_destroy(sink, 100);

	sink = open_sink(rd_kafka_mock_cluster_bootstraps(mock.cluster),
					 "message.max.bytes=1000", 1000000);
	check(send_one(sink, kafka_sink_topic(sink, "t"), 2000, 1) == KAFKA_TOO_LARGE &&
		  kafka_sink_queued_messages(sink) == 0, "a message that is too large");
	kafka_sink_destroy(sink, 100);
	stop_mock(&mock);
}

/* ---- outages ---- */

static void
outage(void)
{
	Mock		mock = start_mock();
	KafkaSink  *sink = open_sink(rd_kafka_mock_cluster_bootstraps(mock.cluster),
								 "", 10000);
	KafkaTopic *topic = kafka_sink_topic(sink, "t");
	const char *reason;
	uint64		sent = 0;
	int			lines;
	double		time;
	double		cpu;

	send_one(sink, topic, 100, ++sent);
	wait_for_acks(sink, 1, 10);
	check(acked == 1 && kafka_sink_connected(sink, &reason) && reason == NULL,
		  "connected");

	rd_kafka_mock_broker_set_down(mock.cluster, 1);
	time = time_until(sink, false, 5);
	printf("# idle: broker missed after %.1f s\n", time);
	check(time >= 0 && time < 2.5, "an idle producer misses its broker");
	rd_kafka_mock_broker_set_up(mock.cluster, 1);
	time = time_until(sink, true, 5);
	printf("# idle: broker found again after %.1f s\n", time);
	check(time >= 0 && time < 3, "and finds it again");

	rd_kafka_mock_broker_set_down(mock.cluster, 1);
	while (send_one(sink, topic, 100, sent + 1) == KAFKA_SENT)
		sent++;
	check(kafka_sink_queued_bytes(sink) <= 10000 &&
		  kafka_sink_queued_messages(sink) == 10000 / 308, "the queue is full");
	time = time_until(sink, false, 5);
	check(time >= 0 && time < 3, "a busy producer misses its broker");
	check(!kafka_sink_connected(sink, &reason) && reason != NULL && *reason,
		  "there is a reason");
	lines = shim_log_lines;
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (double end = seconds(CLOCK_MONOTONIC) + 8;
		 seconds(CLOCK_MONOTONIC) < end;)
	{
		wait_a_moment(sink, 1000);
		kafka_sink_poll(sink);
	}
	printf("# 8 s of an outage: %d lines logged, %.0f ms of CPU\n",
		   shim_log_lines - lines,
		   (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1000);
	check(shim_log_lines - lines <= 12, "the log is not flooded");
	rd_kafka_mock_broker_set_up(mock.cluster, 1);
	wait_for_acks(sink, sent, 10);
	check(acked == sent && kafka_sink_connected(sink, NULL),
		  "all arrives after the outage");

	/* A broker that is there but does not answer. */
	rd_kafka_mock_broker_set_rtt(mock.cluster, 1, 20000);
	send_one(sink, topic, 100, ++sent);
	time = time_until(sink, false, 5);
	kafka_sink_connected(sink, &reason);
	check(time > 1 && time < 4 && reason != NULL &&
		  strstr(reason, "acknowledged") != NULL, "a broker that hangs");
	time = destroy_time(sink, 100);
	printf("# destroyed with a broker that hangs in %.0f ms\n", time * 1000);
	check(time < 0.3, "destroy does not wait for it");
	stop_mock(&mock);
}

static void
nobody_there(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t	len = sizeof(addr);
	int			listener = socket(AF_INET, SOCK_STREAM, 0);
	char		servers[64];
	KafkaSink  *sink;
	const char *reason = NULL;
	double		time;

	/* A server that accepts connections and says nothing. */
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *) &addr, sizeof(addr)) != 0 ||
		listen(listener, 10) != 0 ||
		getsockname(listener, (struct sockaddr *) &addr, &len) != 0)
		abort();
	snprintf(servers, sizeof(servers), "127.0.0.1:%d", ntohs(addr.sin_port));
	sink = open_sink(servers, "", 1000);
	check(kafka_sink_connected(sink, NULL), "no complaint at once");
	time = time_until(sink, false, 5);
	kafka_sink_connected(sink, &reason);
	check(time >= 0 && time < 2.5 && reason != NULL &&
		  strstr(reason, servers) != NULL, "a server that is no broker");
	check(send_one(sink, kafka_sink_topic(sink, "t"), 3000, 1) == KAFKA_SENT,
		  "one message is always taken");
	check(send_one(sink, kafka_sink_topic(sink, "t"), 1, 2) == KAFKA_QUEUE_FULL,
		  "and no second one");
	time = destroy_time(sink, 500);
	printf("# destroyed with no broker in %.0f ms\n", time * 1000);
	check(time < 0.25, "destroy with no broker");
	check(acked == 0, "nothing was acknowledged");
	close(listener);

	/* Now nobody listens there. */
	sink = open_sink(servers, "", 1000);
	time = time_until(sink, false, 5);
	kafka_sink_connected(sink, &reason);
	check(time >= 0 && time < 2.5 && reason != NULL &&
		  strstr(reason, "refused") != NULL, "a port with no server");
	time = destroy_time(sink, 500);
	check(time < 0.25, "destroy with nobody there");
}

/* ---- errors that are final ---- */

static void
permanent_error(void)
{
	Mock		mock = start_mock();
	KafkaSink  *sink = open_sink(rd_kafka_mock_cluster_bootstraps(mock.cluster),
								 "linger.ms=0", 1000000);
	KafkaTopic *topic = kafka_sink_topic(sink, "t");
	bool		raised = false;
	uint64		ticket = 0;

	send_one(sink, topic, 10, 1);
	wait_for_acks(sink, 1, 10);
	check(!kafka_sink_failed_ticket(sink, &ticket), "nothing failed yet");

	rd_kafka_mock_push_request_errors(mock.cluster, 0 /* Produce */ , 1,
									  RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	send_one(sink, topic, 10, 77);
	for (int i = 0; i < 50 && !raised; i++)
	{
		wait_a_moment(sink, 100);
		RAISES(raised, kafka_sink_poll(sink));
	}
	check(raised && shim_error.sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED,
		  "a message that the broker refuses");
	check(strstr(shim_error.message, "\"t\"") != NULL &&
		  strstr(shim_error.detail, "key of 8 bytes") != NULL &&
		  strstr(shim_error.detail, "value of 10 bytes") != NULL &&
		  strstr(shim_error.hint, "max.message.bytes") != NULL,
		  "the error says which and what to do");
	printf("# %s / %s\n", shim_error.message, shim_error.detail);
	check(kafka_sink_failed_ticket(sink, &ticket) && ticket == 77,
		  "its ticket is known");
	check(acked == 1 && kafka_sink_queued_messages(sink) == 0,
		  "it is not acknowledged");
	RAISES(raised, send_one(sink, topic, 10, 78));
	check(raised, "the sink takes no more");
	RAISES(raised, kafka_sink_poll(sink));
	check(raised, "and goes on to say why");
	kafka_sink_destroy(sink, 1000);
	stop_mock(&mock);
}

static void
last_messages(void)
{
	Mock		mock = start_mock();
	KafkaSink  *sink = open_sink(rd_kafka_mock_cluster_bootstraps(mock.cluster),
								 "linger.ms=5000", 1000000);
	KafkaTopic *topic = kafka_sink_topic(sink, "t");
	double		time;

	send_one(sink, topic, 10, 1);
	time = time_until(sink, true, 5);
	for (int i = 2; i <= 1000; i++)
		send_one(sink, topic, 10, i);
	for (int i = 0; i < 10; i++)
	{
		wait_a_moment(sink, 100);
		kafka_sink_poll(sink);
	}
	time = destroy_time(sink, 2000);
	printf("# destroyed with 1000 messages that linger in %.0f ms\n", time * 1000);
	check(acked == 1000 && time < 1, "what is queued is sent at the end");
	stop_mock(&mock);
	kafka_sink_destroy(NULL, 0);
}

/* The mock cluster by option, as demos without a broker use it. */
static void
mock_by_option(void)
{
	KafkaSink  *sink = open_sink("", "test.mock.num.brokers=1; linger.ms=0", 100000);
	KafkaTopicSpec spec = {"made", 1, -1, NULL};

	kafka_sink_create_topics(sink, &spec, 1);
	check(kafka_sink_request_done(sink), "no request for topics");
	send_one(sink, kafka_sink_topic(sink, "made"), 10, 5);
	wait_for_acks(sink, 1, 10);
	check(acked == 1 && last_ticket == 5, "the mock cluster by option");
	kafka_sink_destroy(sink, 100);
}

int
main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	load(argc > 1 ? strtoull(argv[1], NULL, 10) : 200000);
	properties();
	secrets_in_texts();
	servers();
	shapes();
	outage();
	nobody_there();
	permanent_error();
	last_messages();
	mock_by_option();
	check(shim_external_fds == 0, "no descriptor is left");
	printf("# %s\n", kafka_sink_version());
	printf("test_kafka_sink: %d passed, %d failed\n", passed, failed);
	return failed == 0 ? 0 : 1;
}
