/*
 * launcher.h
 *		The process that starts the workers of streams.
 */
#ifndef WAL2KAFKA_LAUNCHER_H
#define WAL2KAFKA_LAUNCHER_H

#include "postgres.h"

/* Register the launcher; called from _PG_init() of the postmaster. */
extern void launcher_register(void);

/* Its main function, for the server. */
extern PGDLLEXPORT void wal2kafka_launcher_main(Datum main_arg);

#endif							/* WAL2KAFKA_LAUNCHER_H */
