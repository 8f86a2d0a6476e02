/*
 * timescale.h
 *		TimescaleDB's chunks, and what they are chunks of.
 *
 * TimescaleDB's own catalog is made of ordinary tables, which cannot be read
 * as of a place in the WAL.  What is needed stands in the server's: a chunk
 * inherits from its hypertable, and a continuous aggregate is a view of the
 * hypertable that holds its rows.
 */
#ifndef WAL2KAFKA_TIMESCALE_H
#define WAL2KAFKA_TIMESCALE_H

#include "postgres.h"

#include "utils/rel.h"

/* The schema that TimescaleDB keeps chunks in. */
#define TIMESCALE_SCHEMA	"_timescaledb_internal"

/*
 * The hypertable of a chunk; InvalidOid where the relation is none.  Needs
 * catalog access.
 */
extern Oid	timescale_hypertable(Relation relation);

/*
 * The continuous aggregate whose rows the hypertable holds; InvalidOid if it
 * holds none's.  Needs catalog access.
 */
extern Oid	timescale_aggregate(Oid hypertable);

#endif							/* WAL2KAFKA_TIMESCALE_H */
