/*
 * transaction_metadata.h
 *		Order within transactions, and the records that say where they begin
 *		and end (debezium-format.md, 8).
 */
#ifndef WAL2KAFKA_TRANSACTION_METADATA_H
#define WAL2KAFKA_TRANSACTION_METADATA_H

#include "postgres.h"

#include "avro_encode.h"
#include "event.h"
#include "preload/settings.h"

typedef struct TransactionMetadata TransactionMetadata;

/* Room for the id of a transaction or of an event in it. */
#define TRANSACTION_ID_LEN	40

/*
 * Lives in cxt.  NULL where settings do not ask for it.
 */
extern TransactionMetadata *transaction_metadata_create(MemoryContext cxt,
														const Settings *settings,
														const char *database_name);

/* A transaction begins, or what comes has none (NULL). */
extern void transaction_metadata_start(TransactionMetadata *metadata,
									   const EventTransaction *txn);

/*
 * The record that precedes a transaction's first event, whose LSN is given,
 * and the one that follows its last.  Fill kind, target, lsn, key and value;
 * the bytes are valid until the next of these calls.
 */
extern void transaction_metadata_begin(TransactionMetadata *metadata,
									   XLogRecPtr lsn, Event *event);
extern void transaction_metadata_end(TransactionMetadata *metadata,
									 Event *event);

/*
 * The place of the next event of a target: among all and among those of its
 * table, from 1.  False where there is no transaction.
 */
extern bool transaction_metadata_order(TransactionMetadata *metadata,
									   EventTarget *target, uint64 *total,
									   uint64 *in_collection);

/* An event of the target was sent; it takes that place. */
extern void transaction_metadata_count(TransactionMetadata *metadata,
									   EventTarget *target);

/*
 * "<xid>:<lsn>", as the id of an event at that LSN; returns its length.
 */
extern int	transaction_metadata_id(const TransactionMetadata *metadata,
									XLogRecPtr lsn, char *id);

#endif							/* WAL2KAFKA_TRANSACTION_METADATA_H */
