/*
 * verify.h
 *		Is what is in Kafka what is in the table?
 *
 * wal2kafka._verify(stream text, relation regclass) has a process read the
 * table with a snapshot that is a place in the stream, and the topic up to
 * that place, and compare the two key by key.
 */
#ifndef WAL2KAFKA_VERIFY_H
#define WAL2KAFKA_VERIFY_H

#include "postgres.h"

#include "fmgr.h"

/* Entry point of the process; main_arg is the segment's handle. */
extern PGDLLEXPORT void verify_main(Datum main_arg);

extern PGDLLEXPORT Datum wal2kafka_stream_verify(PG_FUNCTION_ARGS);

#endif							/* WAL2KAFKA_VERIFY_H */
