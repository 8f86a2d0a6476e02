/*
 * decoder.h
 *		The output plugin, and the way into it for a snapshot.
 */
#ifndef WAL2KAFKA_DECODER_H
#define WAL2KAFKA_DECODER_H

#include "postgres.h"

#include "event.h"
#include "executor/tuptable.h"
#include "preload/settings.h"
#include "relation_map.h"
#include "replication/logical.h"

/* Called by the thin library's _PG_output_plugin_init(). */
extern PGDLLEXPORT void decoder_output_plugin_init(OutputPluginCallbacks *cb);

/*
 * Pin the settings that values' text forms depend on, to what decoding has
 * them.  In a transaction, or for the process where there is none: see there.
 * Returns the nest level for AtEOXact_GUC(), 0 for the process.
 */
extern int	decoder_pin_settings(void);

/*
 * A decoder for reading tables instead of WAL: snapshot rows go through the
 * same entries, encoders and sink.  Needs a transaction throughout.
 * consistent_point is the slot's; begin_time the snapshot's begin.
 */
typedef struct Decoder Decoder;

extern Decoder *decoder_create_for_snapshot(MemoryContext cxt,
											const Settings *settings,
											TransactionId xid,
											XLogRecPtr consistent_point,
											TimestampTz begin_time);
extern RelationMap *decoder_relation_map(Decoder *decoder);

/*
 * Tell the sink of the relation's topic and schemas before its first row, if
 * it has a topic of its own.
 */
extern void decoder_announce(Decoder *decoder, Relation relation);

/*
 * Rows that follow are of another place: their source block names this
 * transaction id, LSN and time.
 */
extern void decoder_set_place(Decoder *decoder, TransactionId xid,
							  XLogRecPtr place, TimestampTz time);

/*
 * Called before each decoded change of a relation, if set: something may have
 * to be sent before it.  It must not look at the catalogs.
 */
extern void (*decoder_gate) (Oid relid);

/*
 * Called for each decoded INSERT, if set, whether it is sent or not: signals
 * are rows of a table (signal_table.c).  commit_lsn is its transaction's.
 */
extern void (*decoder_watch) (Relation relation, HeapTuple row,
							  XLogRecPtr commit_lsn);

/*
 * Emit one row as op = r, if the row filter lets it pass.  marker is a value
 * of source.snapshot: "first", "true", "last" ..., or "incremental" while
 * streaming.
 */
extern bool decoder_emit_row(Decoder *decoder, Relation relation,
							 TupleTableSlot *slot, const char *marker);

/*
 * For the last row of a table or snapshot the marker is only known when
 * there is no next row: does the row pass the filter?
 */
extern bool decoder_row_passes(Decoder *decoder, Relation relation,
							   TupleTableSlot *slot);

/* Emit one that does, without looking at the filter again. */
extern void decoder_emit_passed_row(Decoder *decoder, Relation relation,
									TupleTableSlot *slot, const char *marker);

#endif							/* WAL2KAFKA_DECODER_H */
