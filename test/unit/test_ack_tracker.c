/*
 * test_ack_tracker.c
 *		The acknowledgement tracker against a brute-force model.
 *
 * Each seed plays a few thousand random steps: open, add, close, acknowledge
 * any outstanding message of any transaction, pop.  The model keeps every
 * transaction in an array and scans it.  Seeds differ in how eagerly they
 * acknowledge, so that the ring stays small in some and grows in others.
 */
#include "ack_tracker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SEEDS	400
#define STEPS	20000

typedef struct ModelTxn
{
	uint64_t	ticket;
	uint64_t	end_lsn;
	int64_t		commit_time;
	uint64_t	messages;
	uint64_t	outstanding;
	bool		closed;
} ModelTxn;

typedef struct Model
{
	ModelTxn	txns[STEPS];
	int			count;
	int			popped;
} Model;

static int	passed;
static int	failed;

static void
check(bool ok, const char *what, unsigned seed)
{
	if (ok)
	{
		passed++;
		return;
	}
	failed++;
	printf("not ok - seed %u: %s\n", seed, what);
}

static uint64_t random_state;

static uint32_t
next_random(uint32_t limit)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t) ((random_state >> 33) % limit);
}

/* The oldest transactions that are closed and acknowledged leave, in order. */
static bool
pop_all(AckTracker *tracker, Model *model)
{
	AckTransaction out;

	for (;;)
	{
		ModelTxn   *head = &model->txns[model->popped];
		bool		expected = model->popped < model->count &&
			head->closed && head->outstanding == 0;

		if (ack_tracker_pop(tracker, &out) != expected)
			return false;
		if (!expected)
			return ack_tracker_pending(tracker) ==
				(size_t) (model->count - model->popped);
		if (out.end_lsn != head->end_lsn ||
			out.commit_time != head->commit_time ||
			out.messages != head->messages)
			return false;
		model->popped++;
	}
}

/* Acknowledge a message of a random transaction that waits for one. */
static void
ack_one(AckTracker *tracker, Model *model)
{
	int			pending = model->count - model->popped;
	int			first;

	if (pending == 0)
		return;
	first = next_random(pending);
	for (int i = 0; i < pending; i++)
	{
		ModelTxn   *txn = &model->txns[model->popped + (first + i) % pending];

		if (txn->outstanding > 0)
		{
			txn->outstanding--;
			ack_tracker_ack(tracker, txn->ticket);
			return;
		}
	}
}

static void
play(unsigned seed)
{
	AckTracker *tracker = ack_tracker_create();
	Model	   *model = calloc(1, sizeof(Model));
	ModelTxn   *open = NULL;
	uint32_t	eagerness = 1 + seed % 6;
	uint64_t	lsn = 1000;
	bool		ok = tracker != NULL && model != NULL;

	random_state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
	for (int step = 0; ok && step < STEPS; step++)
	{
		uint32_t	action = next_random(4 + eagerness);

		if (open == NULL)
		{
			open = &model->txns[model->count++];
			open->commit_time = step;
			ok = ack_tracker_open(tracker, step, &open->ticket);
		}
		else if (action == 0)
		{
			lsn += 1 + next_random(1000);
			open->end_lsn = lsn;
			open->closed = true;
			ack_tracker_close(tracker, open->ticket, lsn);
			open = NULL;
		}
		else if (action <= 2)
		{
			open->messages++;
			open->outstanding++;
			ack_tracker_add(tracker, open->ticket);
		}
		else
			ack_one(tracker, model);
		if (next_random(8) == 0)
			ok = ok && pop_all(tracker, model);
	}
	check(ok, "random steps agree with the model", seed);

	if (open != NULL)
	{
		open->closed = true;
		open->end_lsn = lsn + 1;
		ack_tracker_close(tracker, open->ticket, lsn + 1);
	}
	for (int i = 0; i < STEPS; i++)
		ack_one(tracker, model);
	ok = pop_all(tracker, model);
	check(ok && ack_tracker_pending(tracker) == 0, "everything leaves at the end",
		  seed);
	ack_tracker_destroy(tracker);
	free(model);
}

/* What no random run does: wrong tickets, and a ring that grows when full. */
static void
edges(void)
{
	AckTracker *tracker = ack_tracker_create();
	AckTransaction out;
	uint64_t	ticket = 0,
				first = 0;
	bool		ok = true;

	check(!ack_tracker_pop(tracker, &out), "nothing to pop at first", 0);
	ack_tracker_ack(tracker, 0);
	ack_tracker_ack(tracker, 12345);
	ack_tracker_close(tracker, 12345, 1);
	check(ack_tracker_pending(tracker) == 0, "foreign tickets are ignored", 0);

	for (int i = 0; i < 100000; i++)
	{
		ok = ok && ack_tracker_open(tracker, i, &ticket);
		if (i == 0)
			first = ticket;
		ack_tracker_add(tracker, ticket);
		ack_tracker_close(tracker, ticket, i + 1);
	}
	check(ok && ack_tracker_pending(tracker) == 100000, "the ring grows", 0);
	for (uint64_t t = ticket; t > first; t--)
		ack_tracker_ack(tracker, t);
	check(!ack_tracker_pop(tracker, &out), "the head holds all back", 0);
	ack_tracker_ack(tracker, first);
	for (uint64_t i = 1; i <= 100000; i++)
		ok = ok && ack_tracker_pop(tracker, &out) && out.end_lsn == i;
	check(ok, "then all leave in order", 0);
	ack_tracker_ack(tracker, ticket);
	check(!ack_tracker_pop(tracker, &out), "a late acknowledgement is ignored", 0);
	ack_tracker_destroy(tracker);
}

int
main(void)
{
	edges();
	for (unsigned seed = 1; seed <= SEEDS; seed++)
		play(seed);
	printf("test_ack_tracker: %d passed, %d failed\n", passed, failed);
	return failed == 0 ? 0 : 1;
}
