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
#include "nodes/bitmapset.h"
#include "preload/settings.h"
#include "relation_map.h"

typedef struct Envelope Envelope;
struct TransactionMetadata;

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
 * What is known of the transaction, for those who write more than envelopes.
 * Times are us since 1970, strings UTF-8.
 */
typedef struct EnvelopeFacts
{
	const char *name;			/* the connector's logical name */
	const char *database;
	int64		time_us;		/* of the commit, or of the snapshot's begin */
	int64		now_us;
	TransactionId xid;
	const char *origin;			/* NULL: none */
	XLogRecPtr	origin_lsn;
} EnvelopeFacts;

/*
 * A row's change, as the relation of its topic has it.  before_is_key_only:
 * columns outside of the replica identity are not known.  snapshot is NULL
 * for a streamed change, else a value of source.snapshot (a constant string).
 */
typedef struct RowChange
{
	TupleTableSlot *before;		/* NULL: none */
	TupleTableSlot *after;		/* NULL: none */
	bool		before_is_key_only;
	const char *snapshot;
} RowChange;

/*
 * Lives in cxt.  settings must stay valid, and transactions, which is NULL
 * where events do not say their place in their transaction.
 */
extern Envelope *envelope_create(MemoryContext cxt, const Settings *settings,
								 const char *database_name,
								 struct TransactionMetadata *transactions);

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
 * Of the event, envelope_value() needs kind, target and lsn (and the key, for
 * error messages).  before and after may be NULL.  before_is_key_only: columns
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

/*
 * The same in parts, for other shapes of values: a started buffer is one of
 * the two above, and is written to with avro_encode.h and these functions
 * until it is finished.  event may be NULL.
 */
extern AvroBuffer *envelope_start_value(Envelope *envelope);
extern AvroBuffer *envelope_start_key(Envelope *envelope, EnvelopeKey which);
extern EventBytes envelope_finish(AvroBuffer *buf);
extern void envelope_put_row(Envelope *envelope, const Event *event,
							 const RelationEntry *entry,
							 TupleTableSlot *slot, bool key_only,
							 bool streamed);
extern void envelope_put_column(Envelope *envelope, const Event *event,
								const RelationEntry *entry,
								const RelationColumn *column,
								TupleTableSlot *slot, bool streamed,
								AvroBuffer *buf);

/*
 * Refuse a row that selects a topic by a value that is not in the WAL, since
 * an update did not change it and it is TOASTed.  Raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE.
 */
extern void envelope_require_column(const RelationColumn *column,
									TupleTableSlot *slot, bool streamed);

/* Valid until the next envelope_begin(). */
extern const EnvelopeFacts *envelope_facts(const Envelope *envelope);

/* What counts the events of a transaction; NULL: nothing does. */
extern struct TransactionMetadata *envelope_transactions(const Envelope *envelope);

/* source.sequence of a change; written to out. */
#define ENVELOPE_SEQUENCE_LEN	64
extern void envelope_sequence(const Envelope *envelope, XLogRecPtr lsn,
							  char *out);

/* Key and value of a logical decoding message. */
extern void envelope_message(Envelope *envelope, Event *event,
							 const char *prefix, const char *content,
							 size_t len);

/*
 * Until the next call (NULL: none), columns of values that are sent as if they
 * were not known: null, or the default or zero of their type.  Must stay valid.
 */
extern void envelope_withhold(Envelope *envelope, const Bitmapset *attnums);

/*
 * The column that is being encoded, for error messages; NULL: none.  After an
 * error that was caught it has to be forgotten.
 */
extern const RelationColumn *envelope_column(const Envelope *envelope);
extern void envelope_forget_column(Envelope *envelope);

#endif							/* WAL2KAFKA_ENVELOPE_H */
