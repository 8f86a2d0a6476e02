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
 * Emit one row as op = r, if the row filter lets it pass.  marker is a value
 * of source.snapshot: "first", "true", "last" ...
 */
extern bool decoder_emit_row(Decoder *decoder, Relation relation,
							 TupleTableSlot *slot, const char *marker);

/*
 * For the last row of a table or snapshot the marker is only known when
 * there is no next row: does the row pass the filter?
 */
extern bool decoder_row_passes(Decoder *decoder, Relation relation,
							   TupleTableSlot *slot);

#endif							/* WAL2KAFKA_DECODER_H */
