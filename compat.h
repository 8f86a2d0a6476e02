/*
 * compat.h
 *		Differences between PostgreSQL 15, 16, 17 and 18.  Every test of the
 *		server's version is here, and nothing else is.
 */
#ifndef WAL2KAFKA_COMPAT_H
#define WAL2KAFKA_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "wal2kafka needs PostgreSQL 15 or newer"
#endif

/* A change's tuples lost their wrapper in 17. */
#if PG_VERSION_NUM >= 170000
#define compat_change_tuple(tuple)	(tuple)
#else
#define compat_change_tuple(tuple)	((tuple) ? &(tuple)->tuple : NULL)
#endif

#endif							/* WAL2KAFKA_COMPAT_H */
