/*
 * ack_tracker.c
 *		From acknowledgements of single messages to one position.
 *
 * Transactions are numbered in the order in which they are opened, and the
 * number is the ticket.  The ring holds those from head up to, not including,
 * next; its size is a power of two, so that a ticket's place is its low bits,
 * and stays so when the ring grows.
 *
 * A ticket that is not in the ring is ignored everywhere: the worst that can
 * come of it is a position that does not move, and never one that moves too
 * far.
 */
#include "ack_tracker.h"

#include <stdlib.h>

#define INITIAL_SIZE	64		/* a power of two */

typedef struct Entry
{
	AckTransaction txn;
	uint64_t	outstanding;	/* messages without acknowledgement */
	bool		closed;			/* no message will be added */
} Entry;

struct AckTracker
{
	Entry	   *ring;
	size_t		size;			/* a power of two */
	uint64_t	head;			/* ticket of the oldest transaction */
	uint64_t	next;			/* ticket of the next one to be opened */
};

AckTracker *
ack_tracker_create(void)
{
	AckTracker *tracker = malloc(sizeof(AckTracker));

	if (tracker == NULL)
		return NULL;
	tracker->ring = malloc(INITIAL_SIZE * sizeof(Entry));
	if (tracker->ring == NULL)
	{
		free(tracker);
		return NULL;
	}
	tracker->size = INITIAL_SIZE;
	tracker->head = tracker->next = 1;
	return tracker;
}

void
ack_tracker_destroy(AckTracker *tracker)
{
	if (tracker == NULL)
		return;
	free(tracker->ring);
	free(tracker);
}

static inline Entry *
entry_of(const AckTracker *tracker, uint64_t ticket)
{
	if (ticket < tracker->head || ticket >= tracker->next)
		return NULL;
	return &tracker->ring[ticket & (tracker->size - 1)];
}

/*
 * Double the ring.  Each transaction moves to the place that its ticket has
 * in the larger ring.
 */
static bool
grow(AckTracker *tracker)
{
	size_t		size = tracker->size * 2;
	Entry	   *ring;

	if (size > SIZE_MAX / sizeof(Entry))
		return false;
	ring = malloc(size * sizeof(Entry));
	if (ring == NULL)
		return false;
	for (uint64_t ticket = tracker->head; ticket < tracker->next; ticket++)
		ring[ticket & (size - 1)] = *entry_of(tracker, ticket);
	free(tracker->ring);
	tracker->ring = ring;
	tracker->size = size;
	return true;
}

bool
ack_tracker_open(AckTracker *tracker, int64_t commit_time, uint64_t *ticket)
{
	Entry	   *entry;

	if (ack_tracker_pending(tracker) == tracker->size && !grow(tracker))
		return false;

	*ticket = tracker->next++;
	entry = entry_of(tracker, *ticket);
	entry->txn.end_lsn = 0;
	entry->txn.commit_time = commit_time;
	entry->txn.messages = 0;
	entry->outstanding = 0;
	entry->closed = false;
	return true;
}

void
ack_tracker_add(AckTracker *tracker, uint64_t ticket)
{
	Entry	   *entry = entry_of(tracker, ticket);

	if (entry == NULL || entry->closed)
		return;
	entry->txn.messages++;
	entry->outstanding++;
}

void
ack_tracker_ack(AckTracker *tracker, uint64_t ticket)
{
	Entry	   *entry = entry_of(tracker, ticket);

	if (entry != NULL && entry->outstanding > 0)
		entry->outstanding--;
}

void
ack_tracker_close(AckTracker *tracker, uint64_t ticket, uint64_t end_lsn)
{
	Entry	   *entry = entry_of(tracker, ticket);

	if (entry == NULL)
		return;
	entry->txn.end_lsn = end_lsn;
	entry->closed = true;
}

bool
ack_tracker_pop(AckTracker *tracker, AckTransaction *out)
{
	Entry	   *entry = entry_of(tracker, tracker->head);

	if (entry == NULL || !entry->closed || entry->outstanding > 0)
		return false;
	*out = entry->txn;
	tracker->head++;
	return true;
}

uint64_t
ack_tracker_end_lsn(const AckTracker *tracker, uint64_t ticket)
{
	const Entry *entry = entry_of(tracker, ticket);

	return entry != NULL && entry->closed ? entry->txn.end_lsn : 0;
}

size_t
ack_tracker_pending(const AckTracker *tracker)
{
	return tracker->next - tracker->head;
}
