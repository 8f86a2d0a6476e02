/*
 * dead_letter.h
 *		Events that can never be encoded or sent: what is done with them, and
 *		the record that tells of one.
 *
 * A dead letter is an Event of kind EVENT_DEAD_LETTER.  Its target is the one
 * of the table that the event was of; the sink sends it to a topic of its own,
 * or only counts it, where it has no value.
 */
#ifndef WAL2KAFKA_DEAD_LETTER_H
#define WAL2KAFKA_DEAD_LETTER_H

#include "postgres.h"

#include "event.h"
#include "preload/settings.h"

struct RelationEntry;
struct TupleTableSlot;

/* Why an event is not sent.  Texts are of the server's encoding. */
typedef struct EventFailure
{
	int			sqlerrcode;
	bool		oversized;
	bool		refused;		/* by Kafka; else it could not be encoded */
	const char *message;
	const char *detail;			/* NULL: none */
	const char *column;			/* the field's name; NULL: none */
	size_t		size;			/* if oversized, and known: else 0 */
	size_t		limit;
} EventFailure;

/*
 * What is known of the event.  Rows are those of the topic's relation, with
 * all attributes deformed.
 */
typedef struct DeadLetter
{
	const EventFailure *failure;
	const char *name;			/* the connector's logical name, UTF-8 */
	const Event *event;			/* kind, target, lsn, txn */
	TransactionId xid;			/* invalid: none */
	const struct RelationEntry *entry;	/* NULL: the event is of no table */
	struct TupleTableSlot *before;	/* NULL: none, or not to be shown */
	struct TupleTableSlot *after;
	bool		before_is_key_only;
	bool		streamed;		/* large values may be missing */
	const char *prefix;			/* of a message; NULL: it is none */
	const char *content;
	size_t		content_len;
	size_t		max_bytes;		/* of key and value together; 0: no limit
								 * but our own */
} DeadLetter;

/*
 * What the settings say of an event that is too large, or bad in another way:
 * FAILURE_FAIL where its columns are to be reduced, and that did not help.
 */
extern FailureHandling failure_handling(const Settings *settings,
										bool oversized);

/* Do they ever say anything but fail? */
extern bool failure_is_handled(const Settings *settings);

/*
 * Is it the event that an error is about, as opposed to anything that may be
 * gone at the next try, or is the matter of another setting?
 */
extern bool failure_is_of_event(const ErrorData *error);

/*
 * An error as a failure, with copies of its texts in CurrentMemoryContext:
 * only how they begin, since a value may be in them.
 */
extern void failure_of_error(EventFailure *failure, const ErrorData *error,
							 const char *column);

/* Is it a limit of Kafka that the event exceeds? */
extern bool failure_exceeds_limit(const EventFailure *failure);

/* Within ereport(): what is to be done then.  The topic is the event's. */
extern int	failure_limit_hint(const char *topic);

/*
 * Make the record: kind, target, lsn, txn of the letter's event, and key,
 * value, headers in CurrentMemoryContext.  For a handling other than
 * FAILURE_DEAD_LETTER there is neither key, value nor header.  Needs a
 * transaction where there are rows; what cannot be shown of them is left out,
 * as are columns whose values are masked.
 */
extern void dead_letter_fill(Event *result, const DeadLetter *letter,
							 FailureHandling handling);

/*
 * Log that an event was left out.  The first ones of a process are logged each,
 * then one now and then, with the number of those that were not.
 */
extern void dead_letter_log(const DeadLetter *letter,
							FailureHandling handling);

#endif							/* WAL2KAFKA_DEAD_LETTER_H */
