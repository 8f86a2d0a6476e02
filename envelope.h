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

#include "avro_encode.h"
#include "event.h"
#include "relation_map.h"

typedef struct Envelope Envelope;

extern Envelope *envelope_create(MemoryContext cxt, const char *topic_prefix,
								 const char *database_name);

/*
 * Start of a transaction (or of a snapshot, with source.snapshot set by each
 * row).  last_commit_lsn: end of the previous commit seen, InvalidXLogRecPtr
 * for none.  Takes the wall clock for ts_ms, ts_us, ts_ns.
 */
extern void envelope_begin(Envelope *envelope, TransactionId xid,
						   TimestampTz commit_time,
						   XLogRecPtr last_commit_lsn);

/*
 * Encode key and value into the envelope's own buffers (EVENT_HEADROOM bytes
 * before each) and point event->key, event->value there; they are valid
 * until the next call.  Slots have all attributes deformed.  snapshot is
 * NULL for a streamed change, else a value of source.snapshot.
 */
extern void envelope_encode_row(Envelope *envelope, Event *event,
								const RelationEntry *entry,
								TupleTableSlot *before,
								bool before_is_key_only,
								TupleTableSlot *after,
								const char *snapshot);
extern void envelope_encode_key(Envelope *envelope, Event *event,
								const RelationEntry *entry,
								TupleTableSlot *slot);
extern void envelope_encode_message(Envelope *envelope, Event *event,
									bool transactional, const char *prefix,
									const char *content, size_t len);

#endif							/* WAL2KAFKA_ENVELOPE_H */
