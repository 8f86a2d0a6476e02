/*
 * compat.h
 *		Differences between PostgreSQL 15, 16, 17 and 18.  Every test of the
 *		server's version is here, and nothing else is.
 */
#ifndef WAL2KAFKA_COMPAT_H
#define WAL2KAFKA_COMPAT_H

#include "postgres.h"

#include "pgstat.h"
#include "replication/slot.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#if PG_VERSION_NUM >= 160000
#include "replication/walsender_private.h"
#include "storage/relfilelocator.h"
#else
#include "storage/relfilenode.h"
#endif
#if PG_VERSION_NUM >= 170000
#include "utils/wait_event.h"
#endif
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/relmapper.h"

#if PG_VERSION_NUM < 150000
#error "wal2kafka needs PostgreSQL 15 or newer"
#endif

/* A change's tuples lost their wrapper in 17. */
#if PG_VERSION_NUM >= 170000
#define compat_change_tuple(t)	(t)
#else
#define compat_change_tuple(t)	((t) ? &(t)->tuple : NULL)
#endif

/* Slots learned of failover and synchronisation in 17. */
#if PG_VERSION_NUM >= 170000
#define compat_slot_create(name, persistency) \
	ReplicationSlotCreate(name, true, persistency, false, false, false)
#else
#define compat_slot_create(name, persistency) \
	ReplicationSlotCreate(name, true, persistency, false)
#endif

/* An error if somebody has the slot, or else wait for it. */
#if PG_VERSION_NUM >= 180000
#define compat_slot_acquire(name)	ReplicationSlotAcquire(name, true, true)
#define compat_slot_await(name)		ReplicationSlotAcquire(name, false, true)
#else
#define compat_slot_acquire(name)	ReplicationSlotAcquire(name, true)
#define compat_slot_await(name)		ReplicationSlotAcquire(name, false)
#endif

/*
 * Is the slot invalidated?  15 says so only by taking away its position, which
 * a logical slot has from its first moment on.
 */
#if PG_VERSION_NUM >= 160000
#define compat_slot_lost(data)	((data)->invalidated != RS_INVAL_NONE)
#else
#define compat_slot_lost(data)	XLogRecPtrIsInvalid((data)->restart_lsn)
#endif

/*
 * What the server invalidated it for, as a sentence.
 */
static inline const char *
compat_slot_lost_cause(const ReplicationSlotPersistentData *data)
{
#if PG_VERSION_NUM >= 160000
	switch (data->invalidated)
	{
		case RS_INVAL_NONE:
		case RS_INVAL_WAL_REMOVED:
			break;
		case RS_INVAL_HORIZON:
			return "Rows of the catalogs that it needs were removed on the primary server.";
		case RS_INVAL_WAL_LEVEL:
			return "The primary server's wal_level was lowered.";
#if PG_VERSION_NUM >= 180000
		case RS_INVAL_IDLE_TIMEOUT:
			return "It was not in use for longer than idle_replication_slot_timeout.";
#endif
	}
#endif
	return "WAL that it needs was removed: it exceeded max_slot_wal_keep_size.";
}

/*
 * From 16 on every flush of WAL, or on a standby every record that is
 * replayed, wakes those who sleep on WalSndCtl; and a standby can decode.
 */
#if PG_VERSION_NUM >= 160000
#define COMPAT_HAS_WAL_FLUSH_CV	1
#define COMPAT_DECODES_ON_STANDBY	1
#define compat_prepare_wal_sleep() \
	ConditionVariablePrepareToSleep(&WalSndCtl->wal_replay_cv)
#define compat_cancel_wal_sleep()	ConditionVariableCancelSleep()
#else
#define COMPAT_HAS_WAL_FLUSH_CV	0
#define COMPAT_DECODES_ON_STANDBY	0
#define compat_prepare_wal_sleep()	((void) 0)
#define compat_cancel_wal_sleep()	((void) 0)
#endif

/*
 * From 17 on standbys can have copies of a logical slot.  What is decoded of
 * such a slot must be on the standbys of synchronized_standby_slots before,
 * and their answers wake those who sleep on another one of WalSndCtl's.
 */
#if PG_VERSION_NUM >= 170000
#define COMPAT_HAS_FAILOVER_SLOTS	1
#define compat_slot_failover(data)	((data)->failover)
#define compat_slot_set_failover(data, value)	((data)->failover = (value))
#define compat_slot_synced(data)	((data)->synced)
#define compat_standbys_have(lsn, elevel) StandbySlotsHaveCaughtup(lsn, elevel)
#define compat_prepare_standby_sleep() \
	ConditionVariablePrepareToSleep(&WalSndCtl->wal_confirm_rcv_cv)
#else
#define COMPAT_HAS_FAILOVER_SLOTS	0
#define compat_slot_failover(data)	false
#define compat_slot_set_failover(data, value)	((void) 0)
#define compat_slot_synced(data)	false
#define compat_standbys_have(lsn, elevel)	true
#define compat_prepare_standby_sleep()	((void) 0)
#endif

#if PG_VERSION_NUM >= 170000
#define compat_create_wait_event_set(n)	CreateWaitEventSet(NULL, n)
#define compat_wait_event(name)			WaitEventExtensionNew(name)
#else
#define compat_create_wait_event_set(n)	CreateWaitEventSet(TopMemoryContext, n)
#define compat_wait_event(name)			PG_WAIT_EXTENSION
#endif

/*
 * 17 can limit the time of a transaction, and means sessions: what a server
 * has set for those must not end a process that copies tables, or decodes
 * what others wrote in hours.
 */
#if PG_VERSION_NUM >= 170000
#define compat_lift_transaction_timeout() \
	SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE)
#else
#define compat_lift_transaction_timeout()	((void) 0)
#endif

/* An index scan takes counters from 18. */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* Relation files are named by RelFileLocator since 16. */
#if PG_VERSION_NUM >= 160000
typedef RelFileLocator CompatRelFile;
#define compat_relfile_database(f)	((f).dbOid)
#define compat_relfile_number(f)	((f).relNumber)
#define compat_mapped_relfile(relid) \
	RelationMapOidToFilenumber(relid, true)
#else
typedef RelFileNode CompatRelFile;
#define compat_relfile_database(f)	((f).dbNode)
#define compat_relfile_number(f)	((f).relNode)
#define compat_mapped_relfile(relid) \
	RelationMapOidToFilenode(relid, true)
#endif

/* A file of no backend's own; smgropen()'s second argument got a new type. */
#if PG_VERSION_NUM >= 170000
#define compat_smgropen(file)	smgropen(file, INVALID_PROC_NUMBER)
#else
#define compat_smgropen(file)	smgropen(file, InvalidBackendId)
#endif

/* Decoding of a date reports what is wrong in an argument more from 16. */
#if PG_VERSION_NUM >= 160000
#define compat_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz, \
				   &(DateTimeErrorExtra) {0})
#else
#define compat_decode_datetime(field, ftype, nf, dtype, tm, fsec, tz) \
	DecodeDateTime(field, ftype, nf, dtype, tm, fsec, tz)
#endif

/*
 * Is this interval infinite, and to which side?  Before 17 there are none, and
 * the same bits are a finite one.
 */
#if PG_VERSION_NUM >= 170000
#define compat_interval_infinity(interval) \
	(INTERVAL_IS_NOEND(interval) ? 1 : INTERVAL_IS_NOBEGIN(interval) ? -1 : 0)
#else
#define compat_interval_infinity(interval)	0
#endif

/* The map by name between two row types takes an argument more from 16. */
#if PG_VERSION_NUM >= 160000
#define compat_build_attrmap(indesc, outdesc) \
	build_attrmap_by_name_if_req(indesc, outdesc, false)
#else
#define compat_build_attrmap(indesc, outdesc) \
	build_attrmap_by_name_if_req(indesc, outdesc)
#endif

/*
 * From 18 a publication says whether stored generated columns are sent, row
 * filters may refer to virtual ones, and a NOT NULL constraint may be one
 * that old rows were not checked against.
 */
#if PG_VERSION_NUM >= 180000
#define compat_publication_generated(pub) \
	((pub)->pubgencols_type == PUBLISH_GENCOLS_STORED)
#define compat_filter_expr(expr, relation) \
	expand_generated_columns_in_expr(expr, relation, 1)
#define compat_attribute_not_null(desc, i) \
	(TupleDescCompactAttr(desc, i)->attnullability == ATTNULLABLE_VALID)
#else
#define compat_publication_generated(pub)	false
#define compat_filter_expr(expr, relation)	(expr)
#define compat_attribute_not_null(desc, i) \
	(TupleDescAttr(desc, i)->attnotnull)
#endif

/*
 * Named places at which tests of the server act on a process: from 17 on,
 * where the server was built with them.
 */
#if PG_VERSION_NUM >= 180000
#include "utils/injection_point.h"
#define compat_injection_point(name)	INJECTION_POINT(name, NULL)
#elif PG_VERSION_NUM >= 170000
#include "utils/injection_point.h"
#define compat_injection_point(name)	INJECTION_POINT(name)
#else
#define compat_injection_point(name)	((void) 0)
#endif

#endif							/* WAL2KAFKA_COMPAT_H */
