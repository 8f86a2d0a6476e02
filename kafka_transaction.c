/*
 * kafka_transaction.c
 *		Kafka transactions of a sink that has a transactional id.
 *
 * librdkafka waits in the functions that start the transactional producer and
 * end a transaction.  A thread calls them, one for each sink, again and again
 * for as long as librdkafka says that this is of use; it runs nothing but
 * librdkafka's code, with all signals blocked.  A process that ends does not
 * wait for it (see kafka_destroy_client()).  The result stays
 * with it, under a mutex, until kafka_sink_poll() takes it.  Meanwhile the
 * main thread has to go on to read delivery reports, without which
 * librdkafka's commit does not end.
 *
 * What broke a transaction.  When a message fails, librdkafka gives up all
 * others of the transaction, and their reports, which say no more than that,
 * may come before the one that says why.  So the first of them only shows
 * that the transaction is broken; the error is raised when all reports are
 * here, or none came for a while, and it is that of the message that failed
 * of itself, if there is one.
 */
#include "postgres.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "kafka_private.h"

/* Times in milliseconds. */
#define SLICE			50		/* of a wait for reports */
#define REPORTS_LIMIT	1000	/* wait for reports of a broken transaction */

/*
 * A call that is given up in the middle and made again can leave librdkafka
 * with an answer to the first that it takes for one to the next transaction:
 * a commit then ends before its time (seen on a busy machine; its
 * documentation warns of it).  To start a producer this is twice the
 * transaction timeout, to end a transaction it is no limit at all: a process
 * that ends leaves the call behind.
 */
#define LIBRARYS_OWN_LIMIT	(-1)

/* What the thread is to do. */
typedef enum TransactionJob
{
	JOB_NONE,
	JOB_INIT,
	JOB_COMMIT,
	JOB_ABORT,
} TransactionJob;

typedef struct JobKind
{
	rd_kafka_error_t *(*call) (rd_kafka_t *rk, int timeout_ms);
	const char *failure;
	const char *waiting;
} JobKind;

static const JobKind jobs[] = {
	[JOB_INIT] = {rd_kafka_init_transactions,
		"could not start the transactional Kafka producer",
	"Kafka has not made the transactional producer ready"},
	[JOB_COMMIT] = {rd_kafka_commit_transaction,
		"could not commit a Kafka transaction",
	"Kafka has not committed a transaction"},
	[JOB_ABORT] = {rd_kafka_abort_transaction,
		"could not abort a Kafka transaction",
	"Kafka has not aborted a transaction"},
};

/* An error of librdkafka, copied: nothing has to be given back. */
typedef struct TransactionError
{
	rd_kafka_resp_err_t err;	/* NO_ERROR: none */
	char		text[512];
} TransactionError;

struct KafkaTransactions
{
	rd_kafka_t *rk;
	pthread_t	thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;

	/* under mutex */
	TransactionJob job;			/* JOB_NONE: nothing is to be done */
	bool		stop;
	bool		done;			/* result is there, and a byte in the pipe */
	int			wake_fd;		/* -1: no longer */
	TransactionError result;
	char		waiting_for[256];	/* last error that passes; empty: none */

	/* of the main thread */
	KafkaTransactionState state;
	TransactionJob current;		/* that is under way */
	int64		since;			/* when it was begun */
	int64		broken_since;	/* 0: the transaction is whole */
	const char *failure;		/* what failed, where that is known */
	TransactionError error;
};

/* ---- the thread ---- */

static void
copy_error(TransactionError *copy, const rd_kafka_error_t *error)
{
	copy->err = rd_kafka_error_code(error);
	kafka_copy_text(copy->text, sizeof(copy->text),
					error != NULL ? rd_kafka_error_string(error) : "");
}

/*
 * Do a job.  Called, and left, with the mutex held; released in between.
 */
static void
do_job(KafkaTransactions *txn)
{
	const JobKind *job = &jobs[txn->job];
	rd_kafka_error_t *error;
	TransactionError copy;

	for (;;)
	{
		bool		again;

		pthread_mutex_unlock(&txn->mutex);
		error = job->call(txn->rk, LIBRARYS_OWN_LIMIT);
		again = rd_kafka_error_is_retriable(error) != 0;
		copy_error(&copy, error);
		if (error != NULL)
			rd_kafka_error_destroy(error);
		pthread_mutex_lock(&txn->mutex);
		if (!again || txn->stop)
			break;
		if (copy.err != RD_KAFKA_RESP_ERR__TIMED_OUT)
			strlcpy(txn->waiting_for, copy.text, sizeof(txn->waiting_for));
	}
	txn->result = copy;
	txn->job = JOB_NONE;
	txn->done = true;

	/* A full pipe is as good. */
	if (txn->wake_fd >= 0 && write(txn->wake_fd, "", 1) < 0)
		return;
}

static void *
transaction_thread(void *arg)
{
	KafkaTransactions *txn = arg;

	pthread_mutex_lock(&txn->mutex);
	while (!txn->stop)
	{
		if (txn->job == JOB_NONE)
			pthread_cond_wait(&txn->cond, &txn->mutex);
		else
			do_job(txn);
	}
	pthread_mutex_unlock(&txn->mutex);
	return NULL;
}

/* ---- life ---- */

bool
kafka_transactions_start(KafkaSink *sink)
{
	KafkaTransactions *txn = calloc(1, sizeof(KafkaTransactions));

	if (txn == NULL)
		return false;
	txn->rk = sink->rk;
	txn->wake_fd = sink->wake_write;
	pthread_mutex_init(&txn->mutex, NULL);
	pthread_cond_init(&txn->cond, NULL);
	if (!kafka_start_thread(&txn->thread, transaction_thread, txn))
	{
		free(txn);
		return false;
	}
	sink->transactions = txn;
	return true;
}

static void
start_job(KafkaTransactions *txn, TransactionJob job)
{
	txn->current = job;
	txn->since = kafka_now_ms();
	pthread_mutex_lock(&txn->mutex);
	txn->done = false;
	txn->waiting_for[0] = '\0';
	txn->job = job;
	pthread_cond_signal(&txn->cond);
	pthread_mutex_unlock(&txn->mutex);
}

/*
 * Before the sink is destroyed: let a commit end, if there is time, and abort
 * what is open, for which consumers would otherwise have to wait.
 */
void
kafka_transactions_settle(KafkaSink *sink, int64 limit)
{
	KafkaTransactions *txn = sink->transactions;
	int64		now = kafka_now_ms();

	if (txn->state == KAFKA_TRANSACTION_OPEN && now < limit)
	{
		start_job(txn, JOB_ABORT);
		txn->state = KAFKA_TRANSACTION_COMMIT;
	}
	while (txn->state == KAFKA_TRANSACTION_COMMIT &&
		   (now = kafka_now_ms()) < limit)
	{
		struct pollfd fd = {.fd = sink->wake_read, .events = POLLIN};

		kafka_transactions_take(sink);
		kafka_sink_drain(sink);
		if (txn->current == JOB_NONE)
			return;
		(void) poll(&fd, 1, (int) Min(limit - now, SLICE));
	}
}

bool
kafka_transactions_stop(KafkaTransactions *txn)
{
	pthread_mutex_lock(&txn->mutex);
	txn->stop = true;
	txn->wake_fd = -1;
	pthread_cond_signal(&txn->cond);
	pthread_mutex_unlock(&txn->mutex);
	return txn->state == KAFKA_TRANSACTION_NONE ||
		txn->state == KAFKA_TRANSACTION_READY;
}

void
kafka_transactions_join(KafkaTransactions *txn)
{
	pthread_join(txn->thread, NULL);
	pthread_cond_destroy(&txn->cond);
	pthread_mutex_destroy(&txn->mutex);
	free(txn);
}

/* ---- results ---- */

/*
 * The transaction cannot be committed any more: remember why, unless that is
 * known.
 */
static void
transaction_broke(KafkaTransactions *txn, const char *failure,
				  const TransactionError *error)
{
	if (txn->broken_since == 0)
		txn->broken_since = kafka_now_ms();
	if (txn->error.err != RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	txn->failure = failure;
	txn->error = *error;
}

/*
 * What broke the open transaction?  No second one can be begun within it; and
 * where librdkafka knows what became of the first it says that instead.
 */
static bool
ask_for_error(KafkaTransactions *txn)
{
	TransactionError copy;
	rd_kafka_error_t *error;

	if (txn->state != KAFKA_TRANSACTION_OPEN ||
		txn->error.err != RD_KAFKA_RESP_ERR_NO_ERROR)
		return txn->error.err != RD_KAFKA_RESP_ERR_NO_ERROR;
	error = rd_kafka_begin_transaction(txn->rk);
	if (error == NULL)
		return false;
	copy_error(&copy, error);
	if (!rd_kafka_error_txn_requires_abort(error) &&
		!rd_kafka_error_is_fatal(error))
		copy.err = RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_error_destroy(error);
	if (copy.err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	transaction_broke(txn, "a Kafka transaction failed", &copy);
	return true;
}

void
kafka_transaction_given_up(KafkaSink *sink)
{
	KafkaTransactions *txn = sink->transactions;

	if (txn->broken_since == 0)
		txn->broken_since = kafka_now_ms();
	(void) ask_for_error(txn);
}

bool
kafka_transaction_broken(KafkaSink *sink)
{
	return sink->transactions != NULL && ask_for_error(sink->transactions);
}

void
kafka_transactions_take(KafkaSink *sink)
{
	KafkaTransactions *txn = sink->transactions;
	bool		done;

	if (txn->current == JOB_NONE)
		return;
	pthread_mutex_lock(&txn->mutex);
	done = txn->done;
	txn->done = false;
	pthread_mutex_unlock(&txn->mutex);
	if (!done)
		return;

	/* There is a byte in the pipe, though the queue may be empty. */
	sink->wake_pending = true;
	if (txn->result.err != RD_KAFKA_RESP_ERR_NO_ERROR)
		transaction_broke(txn, jobs[txn->current].failure, &txn->result);
	else
	{
		txn->state = KAFKA_TRANSACTION_READY;
		kafka_broker_seen(sink);
	}
	txn->current = JOB_NONE;
}

void
kafka_transactions_check(KafkaSink *sink)
{
	KafkaTransactions *txn = sink->transactions;
	SinkFailure *failure = &sink->failure;

	if (likely(txn->broken_since == 0) || failure->set)
		return;
	if (sink->queued_messages > 0 &&
		kafka_now_ms() - txn->broken_since < REPORTS_LIMIT)
		return;
	if (!ask_for_error(txn))
	{
		/* Of a commit that is under way the result will come. */
		if (txn->current != JOB_NONE)
			return;
		txn->failure = "a Kafka transaction failed";
		txn->error.err = RD_KAFKA_RESP_ERR__INCONSISTENT;
		strlcpy(txn->error.text, "Messages were given up",
				sizeof(txn->error.text));
	}
	kafka_set_failure(sink, txn->error.err);
	strlcpy(failure->message, txn->failure, sizeof(failure->message));
	snprintf(failure->detail, sizeof(failure->detail), "%s.",
			 txn->error.text);
}

bool
kafka_transaction_stalled(const KafkaSink *sink, int64 now, char *text,
						  size_t size)
{
	KafkaTransactions *txn = sink->transactions;
	int64		since;
	char		reason[sizeof(txn->waiting_for)];

	if (txn == NULL || txn->current == JOB_NONE)
		return false;
	since = Max(txn->since, sink->progress);
	if (now - since < sink->stalled_after)
		return false;
	pthread_mutex_lock(&txn->mutex);
	strlcpy(reason, txn->waiting_for, sizeof(reason));
	pthread_mutex_unlock(&txn->mutex);
	snprintf(text, size, "%s for %d seconds.%s%s", jobs[txn->current].waiting,
			 (int) ((now - since) / 1000), reason[0] != '\0' ? " " : "", reason);
	return true;
}

/* ---- transactions ---- */

KafkaTransactionState
kafka_transaction_state(const KafkaSink *sink)
{
	return sink->transactions != NULL ? sink->transactions->state :
		KAFKA_TRANSACTION_NONE;
}

/* Are we where the caller thinks? */
static KafkaTransactions *
expect_state(KafkaSink *sink, KafkaTransactionState state)
{
	if (sink->transactions == NULL || sink->transactions->state != state)
		elog(ERROR, "unexpected state %d of a Kafka transaction",
			 (int) kafka_transaction_state(sink));
	return sink->transactions;
}

void
kafka_transaction_init(KafkaSink *sink)
{
	KafkaTransactions *txn = expect_state(sink, KAFKA_TRANSACTION_NONE);

	start_job(txn, JOB_INIT);
	txn->state = KAFKA_TRANSACTION_INIT;
}

void
kafka_transaction_begin(KafkaSink *sink)
{
	KafkaTransactions *txn = expect_state(sink, KAFKA_TRANSACTION_READY);
	rd_kafka_error_t *error;
	TransactionError copy;

	if (sink->failure.set)
		kafka_raise_failure(sink);
	error = rd_kafka_begin_transaction(txn->rk);
	if (error != NULL)
	{
		copy_error(&copy, error);
		rd_kafka_error_destroy(error);
		transaction_broke(txn, "could not begin a Kafka transaction", &copy);
		kafka_transactions_check(sink);
		kafka_raise_failure(sink);
	}
	txn->state = KAFKA_TRANSACTION_OPEN;
}

void
kafka_transaction_commit(KafkaSink *sink)
{
	KafkaTransactions *txn = expect_state(sink, KAFKA_TRANSACTION_OPEN);

	start_job(txn, JOB_COMMIT);
	txn->state = KAFKA_TRANSACTION_COMMIT;
}

void
kafka_transaction_abort(KafkaSink *sink)
{
	KafkaTransactions *txn = expect_state(sink, KAFKA_TRANSACTION_OPEN);

	start_job(txn, JOB_ABORT);
	txn->state = KAFKA_TRANSACTION_COMMIT;
}
