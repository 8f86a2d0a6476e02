/*
 * envelope.h
 *		Debezium's envelope around a row (debezium-format.md, 4 to 6).
 *
 * What is the same for all changes of a transaction (version, connector,
 * name, times, database; sequence's first half) is rendered once when the
 * transaction begins; what is the same for a relation, once per entry.
 */
#ifndef WAL2KAFKA_ENVELOPE_H
#define WAL2KAFKA_ENVELOPE_H

#include "postgres.h"

#include "event.h"
#include "relation_map.h"

typedef struct Envelope Envelope;

/* What the source block says of a transaction. */
typedef struct EnvelopeTransaction
{
	TransactionId xid;			/* invalid: null */
	TimestampTz time;			/* commit, or begin of a snapshot */
	XLogRecPtr	last_commit_lsn;	/* end of the previous commit seen;
									 * invalid: none */
	const char *origin;			/* replication origin's name; NULL: none */
	XLogRecPtr	origin_lsn;
} EnvelopeTransaction;

/* The two keys that an event may need at once. */
typedef enum EnvelopeKey
{
	ENVELOPE_KEY_NEW,
	ENVELOPE_KEY_OLD,
} EnvelopeKey;

/*
 * Lives in cxt.  prefix is the topics', "" being the database's name.
 */
extern Envelope *envelope_create(MemoryContext cxt, const char *topic_prefix,
								 const char *database_name);

/*
 * Start of a transaction (or of a snapshot).  Takes the wall clock for ts_ms,
 * ts_us, ts_ns.
 */
extern void envelope_begin(Envelope *envelope,
						   const EnvelopeTransaction *transaction);

/*
 * Encode a value or key into the envelope's own buffers (EVENT_HEADROOM bytes
 * before it).  A value is valid until the next value, a key until the next
 * key of the same kind.  Slots have all attributes deformed and are rows of
 * the relation whose topic it is.
 *
 * Of the event, envelope_value() needs kind and lsn (and the key, for error
 * messages).  before and after may be NULL.  before_is_key_only: columns
 * outside of the replica identity are not known.  snapshot is NULL for a
 * streamed change, else a value of source.snapshot (a constant string).
 *
 * envelope_key() returns false where a column of the key is unchanged TOAST
 * that is not in the slot, so that there is no key.
 *
 * Raise ERRCODE_PROGRAM_LIMIT_EXCEEDED for an event of 1 GB or more.
 */
extern EventBytes envelope_value(Envelope *envelope, const Event *event,
								 const RelationEntry *entry,
								 TupleTableSlot *before,
								 bool before_is_key_only,
								 TupleTableSlot *after,
								 const char *snapshot);
extern bool envelope_key(Envelope *envelope, EnvelopeKey which,
						 const RelationEntry *entry, TupleTableSlot *slot,
						 bool is_snapshot, EventBytes *key);

/* Key and value of a logical decoding message. */
extern void envelope_message(Envelope *envelope, Event *event,
							 const char *prefix, const char *content,
							 size_t len);

/* The column that is being encoded, for error messages; NULL: none. */
extern const RelationColumn *envelope_column(const Envelope *envelope);

#endif							/* WAL2KAFKA_ENVELOPE_H */
