/*
 * kafka_bgworker.h
 *		The background worker of a stream.
 */
#ifndef WAL2KAFKA_KAFKA_BGWORKER_H
#define WAL2KAFKA_KAFKA_BGWORKER_H

#include "postgres.h"

/*
 * Entry point; the launcher registers it.  main_arg is the index of the
 * stream's entry in shared memory.
 */
extern PGDLLEXPORT void kafka_bgworker_main(Datum main_arg);

#endif							/* WAL2KAFKA_KAFKA_BGWORKER_H */
