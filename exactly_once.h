/*
 * exactly_once.h
 *		The start of a stream whose position is in Kafka.
 *
 * Reads the position back, sees whether this server may go on from it, and
 * takes the stream over: from then on whoever had it before can write no
 * more.  The order matters, and is in exactly_once.c.
 */
#ifndef WAL2KAFKA_EXACTLY_ONCE_H
#define WAL2KAFKA_EXACTLY_ONCE_H

#include "postgres.h"

#include "delivery.h"
#include "preload/settings.h"
#include "preload/shared_state.h"

/* What was found, and what is to be done. */
typedef enum ExactlyOnceVerdict
{
	EXACTLY_ONCE_GO,			/* start at start_lsn */
	EXACTLY_ONCE_HOLD,			/* not before somebody acts; see reason ... */
} ExactlyOnceVerdict;

typedef struct ExactlyOnceStart
{
	ExactlyOnceVerdict verdict;
	XLogRecPtr	start_lsn;		/* changes of transactions that end at or
								 * before it are in Kafka */
	char	   *reason;			/* a message without a period */
	char	   *detail;			/* sentences; may be NULL */
	char	   *hint;
} ExactlyOnceStart;

/* The topic of a stream's position, palloc'd. */
extern char *exactly_once_topic(const Settings *settings,
								const char *database_name);

/*
 * The transactional id of a stream's producer, palloc'd: system identifier,
 * database and slot, and for processes beside the worker their part.
 */
extern char *exactly_once_id(const char *slot_name, const char *part);

/*
 * Take the stream over.  confirmed is the slot's position.  new_stream: the
 * slot is about to be made, so that whose record the topic holds matters only
 * for adopt_topics.  Waits as long as the broker is away, and on a standby
 * until the WAL is replayed that the position asks for.
 */
extern void exactly_once_start(Delivery *delivery, StreamState *stream,
							   const Settings *settings,
							   const char *slot_name, XLogRecPtr confirmed,
							   bool new_stream, ExactlyOnceStart *start);

/*
 * The operator's word that this server is to go on with a stream that another
 * one had (wal2kafka.adopt()): a file in the slot's folder, which the next
 * start uses up.  Raises file errors.
 */
extern void exactly_once_adopt(const char *slot_name);

#endif							/* WAL2KAFKA_EXACTLY_ONCE_H */
