/*
 * incremental.h
 *		Snapshots while streaming: the streaming worker's side.
 *
 * Keeps the progress (snapshot_progress.h), starts readers
 * (snapshot_reader.h), gives them their places (place.h), and emits what they
 * read (relay.h) at that place of the stream: what has changed in a table
 * behind the place of an open range waits until the range is out.
 *
 * Everything is called from the streaming worker's only thread.
 */
#ifndef WAL2KAFKA_INCREMENTAL_H
#define WAL2KAFKA_INCREMENTAL_H

#include "postgres.h"

#include "delivery.h"
#include "preload/settings.h"
#include "preload/shared_state.h"
#include "snapshot_progress.h"

/*
 * Begin: load the progress of the slot, which this process has acquired.
 * Registers the decoder's gate.  restart_snapshot: snapshot_mode is always,
 * and the stream was started anew: everything that is selected is read.
 */
extern void incremental_start(Delivery *delivery, StreamState *stream,
							  const Settings *settings, const char *slot_name,
							  bool restart_snapshot);

/*
 * To be called between two records, after each when incremental_busy, and
 * else now and then and before a sleep: takes requests over, starts and ends
 * readers, gives places, emits what is there.  position is the end of what
 * was decoded; idle: there is nothing more to decode now.
 */
extern bool incremental_busy;
extern void incremental_service(XLogRecPtr position, bool idle);

/*
 * Within a record that takes long, between two events: emit what is there, so
 * that readers do not hold their snapshots and locks until it is over.
 */
extern void incremental_relieve(void);

/*
 * While it holds, tables are not read: what is open comes to its end, and
 * nothing new is begun.  May be called at any time.
 */
extern void incremental_hold(bool hold);

/* Longest sleep, in ms; -1: none of ours. */
extern long incremental_timeout(void);

/*
 * A signal (signal_table.c) or the worker itself asks for something.  What
 * makes no sense is a WARNING.  Called from within decoding too: nothing is
 * emitted or written here.
 */
extern void incremental_request(const SnapshotRequest *request);

/*
 * Which signal was seen last: its transaction's commit (start of the record),
 * and which signal of the transaction, from 1.  In the order of commits these
 * only grow; positions of changes do not.  It becomes durable together with
 * what the signal asked for, before the slot is confirmed behind it.
 */
extern XLogRecPtr incremental_last_signal(int *index);
extern void incremental_set_last_signal(XLogRecPtr commit, int index);

/*
 * A transaction that is about to end changed catalogs of publications: find
 * out whether tables joined.
 */
extern void incremental_tables_changed(TransactionId xid);

/*
 * The process ends, and the delivery is finished: end the readers, save what
 * is acknowledged.
 */
extern void incremental_finish(void);

#endif							/* WAL2KAFKA_INCREMENTAL_H */
