/*
 * signal_table.h
 *		Debezium's signal table: rows that ask for snapshots.
 */
#ifndef WAL2KAFKA_SIGNAL_TABLE_H
#define WAL2KAFKA_SIGNAL_TABLE_H

#include "postgres.h"

#include "preload/settings.h"

/*
 * Watch decoded changes (decoder_watch) for rows of the signal table, if
 * wal2kafka.signal_enabled_channels says so.  What they ask for goes to
 * incremental_request(), once: incremental_last_signal() tells what was seen
 * before.  A row that makes no sense is logged and passed over.  For the
 * streaming worker, before it decodes and after incremental_start().
 */
extern void signal_table_start(const Settings *settings);

#endif							/* WAL2KAFKA_SIGNAL_TABLE_H */
