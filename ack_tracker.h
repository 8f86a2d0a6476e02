/*
 * ack_tracker.h
 *		From acknowledgements of single messages to one position.
 *
 * A ring of decoded transactions in commit order, each with the number of
 * its messages that Kafka has not acknowledged yet.  The position is the end
 * of the longest prefix of finished transactions with nothing outstanding.
 * Pure C: nothing of the server but basic types, so that test/unit compares
 * it with a brute-force model.
 */
#ifndef WAL2KAFKA_ACK_TRACKER_H
#define WAL2KAFKA_ACK_TRACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct AckTracker AckTracker;

/* What is known of a transaction when it leaves the head of the ring. */
typedef struct AckTransaction
{
	uint64_t	end_lsn;
	int64_t		commit_time;	/* microseconds, the caller's epoch */
	uint64_t	messages;
} AckTransaction;

/* NULL when out of memory (malloc); so may ack_tracker_open() return. */
extern AckTracker *ack_tracker_create(void);
extern void ack_tracker_destroy(AckTracker *tracker);

/*
 * Open the next transaction and return its ticket, to be passed with each of
 * its messages; false when out of memory.  The one before must be closed.
 * A ticket stays valid until its transaction was popped.
 */
extern bool ack_tracker_open(AckTracker *tracker, int64_t commit_time,
							 uint64_t *ticket);

/* One more message of the open transaction was handed to Kafka. */
extern void ack_tracker_add(AckTracker *tracker, uint64_t ticket);

/* One message of the ticket's transaction was acknowledged. */
extern void ack_tracker_ack(AckTracker *tracker, uint64_t ticket);

/* The open transaction has no more messages. */
extern void ack_tracker_close(AckTracker *tracker, uint64_t ticket,
							  uint64_t end_lsn);

/*
 * Take the head of the ring, if it is closed and wholly acknowledged.
 */
extern bool ack_tracker_pop(AckTracker *tracker, AckTransaction *out);

/* The end of a ticket's transaction; 0 while it is open, and when it is gone. */
extern uint64_t ack_tracker_end_lsn(const AckTracker *tracker, uint64_t ticket);

/* Transactions in the ring; 0: everything sent is acknowledged and popped. */
extern size_t ack_tracker_pending(const AckTracker *tracker);

#endif							/* WAL2KAFKA_ACK_TRACKER_H */
