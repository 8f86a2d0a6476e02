/*
 * snapshot.c
 *		The start of a stream: its slot, and its tables as they are there.
 *
 * Creating a logical slot yields a snapshot of the database at the very
 * place in the WAL where the slot begins.  Tables are read with it in one
 * transaction, so that the rows and the changes that follow have neither gap
 * nor overlap.
 *
 * The process that does this does not decode afterwards.  It ends, and the
 * launcher starts another: relation cache entries of the present and of a
 * historic snapshot must not meet in one process.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlogutils.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "decoder.h"
#include "miscadmin.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "replication/snapbuild.h"
#include "slot_state.h"
#include "snapshot.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Progress is published once in so many rows. */
#define PROGRESS_ROWS	1024

/*
 * What one run works with.  On the stack of snapshot_start_stream().
 */
typedef struct SnapshotRun
{
	Delivery   *delivery;
	StreamState *stream;
	Decoder    *decoder;
	XLogRecPtr	consistent_point;
	uint64		rows;			/* not published yet */
	bool		first;			/* nothing was emitted yet */

	/*
	 * The last row waits until it is known whether another follows: the
	 * markers of source.snapshot tell the last of a table and of all.
	 */
	Relation	pending_relation;	/* NULL: none */
	TupleTableSlot *pending;
	bool		pending_first_in_table;
} SnapshotRun;

/*
 * Create the slot, find its consistent point, and make the transaction's
 * snapshot the one of that point.  The slot is persistent then.
 */
static XLogRecPtr
create_slot(StreamState *stream, const char *slot_name, bool with_data)
{
	LogicalDecodingContext *ctx;
	XLogRecPtr	consistent_point;

	compat_slot_create(slot_name, RS_EPHEMERAL);
	ctx = CreateInitDecodingContext("wal2kafka", NIL, with_data,
									InvalidXLogRecPtr,
									XL_ROUTINE(.page_read = read_local_xlog_page,
											   .segment_open = wal_segment_open,
											   .segment_close = wal_segment_close),
									NULL, NULL, NULL);

	/*
	 * From here on an interruption leaves a slot that is known to be not
	 * complete.  Without it nothing would tell the rows that an earlier,
	 * interrupted run has sent from somebody else's.
	 */
	if (with_data)
	{
		slot_state_set_snapshot_pending(slot_name, true);
		ReplicationSlotPersist();
	}

	/* waits for the transactions that are open now */
	stream_set_waiting(stream, STREAM_WAIT_LOCK);
	DecodingContextFindStartpoint(ctx);
	stream_set_waiting(stream, STREAM_WAIT_NOTHING);

	consistent_point = MyReplicationSlot->data.confirmed_flush;
	if (with_data)
	{
		Snapshot	snapshot = SnapBuildInitialSnapshot(ctx->snapshot_builder);

		RestoreTransactionSnapshot(snapshot, MyProc);
		ReplicationSlotMarkDirty();
		ReplicationSlotSave();
	}
	else
	{
		slot_state_set_snapshot_pending(slot_name, false);
		ReplicationSlotPersist();
	}
	FreeDecodingContext(ctx);
	return consistent_point;
}

static void
check_readable(Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	AclResult	result = pg_class_aclcheck(relid, GetUserId(), ACL_SELECT);

	if (result != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table \"%s.%s\"",
						get_namespace_name(RelationGetNamespace(relation)),
						RelationGetRelationName(relation)),
				 errdetail("The initial snapshot reads tables as role \"%s\".",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("Grant SELECT to the role, leave the table out, or set wal2kafka.snapshot_mode to \"no_data\".")));
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security of table \"%s.%s\" would hide rows from the initial snapshot",
						get_namespace_name(RelationGetNamespace(relation)),
						RelationGetRelationName(relation)),
				 errhint("Give role \"%s\" the attribute BYPASSRLS.",
						 GetUserNameFromId(GetUserId(), false))));
}

/*
 * What will fail must fail before the first row is sent: each attempt sends
 * all rows again.
 */
static void
check_all_readable(List *relids)
{
	ListCell   *cell;

	foreach(cell, relids)
	{
		Relation	relation = try_relation_open(lfirst_oid(cell),
												 AccessShareLock);

		CHECK_FOR_INTERRUPTS();
		if (relation == NULL)
			continue;
		if (relation->rd_rel->relkind == RELKIND_RELATION)
			check_readable(relation);
		relation_close(relation, AccessShareLock);
	}
}

/*
 * Does the relation have other storage than the transaction's snapshot knows?
 */
static bool
has_new_storage(Relation relation)
{
	Relation	pg_class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(relation)));
	scan = systable_beginscan(pg_class, ClassOidIndexId, true,
							  GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode !=
			relation->rd_rel->relfilenode;
	systable_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return result;
}

/*
 * Choose what to read a table with, under its lock.  Tables are not locked
 * before their turn, so one may have been rewritten since the consistent
 * point, and to the snapshot of that point a rewritten table is empty.  It is
 * read as it is now: what the stream then repeats of its changes ends in the
 * same rows.
 */
static Snapshot
choose_snapshot(SnapshotRun *run, Relation relation)
{
	if (!has_new_storage(relation))
		return RegisterSnapshot(GetActiveSnapshot());
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" reads table \"%s.%s\" as it is now",
					run->stream->name,
					get_namespace_name(RelationGetNamespace(relation)),
					RelationGetRelationName(relation)),
			 errdetail("The table was rewritten or truncated after the snapshot began.")));
	return RegisterSnapshot(GetLatestSnapshot());
}

static void
publish_progress(SnapshotRun *run)
{
	SpinLockAcquire(&run->stream->mutex);
	run->stream->snapshot_rows += run->rows;
	SpinLockRelease(&run->stream->mutex);
	run->rows = 0;
	delivery_publish(run->delivery);
	delivery_service(run->delivery);
}

/*
 * Emit the row that waits.  The last of a table lets go of the table, and of
 * its lock: a lock until the end would make DDL, and all that queues behind
 * it, wait for the tables still to come.
 */
static void
emit_pending(SnapshotRun *run, bool last_in_table, bool last)
{
	const char *marker;

	if (run->pending_relation == NULL)
		return;
	if (last)
		marker = "last";
	else if (run->first)
		marker = "first";
	else if (last_in_table)
		marker = "last_in_data_collection";
	else if (run->pending_first_in_table)
		marker = "first_in_data_collection";
	else
		marker = "true";
	decoder_emit_row(run->decoder, run->pending_relation, run->pending,
					 marker);
	if (last_in_table)
	{
		ExecDropSingleTupleTableSlot(run->pending);
		run->pending = NULL;
		relation_close(run->pending_relation, AccessShareLock);
	}
	run->pending_relation = NULL;
	run->first = false;
	if (++run->rows >= PROGRESS_ROWS)
		publish_progress(run);
}

/*
 * Read one table.  Its last row stays pending, and the relation open with it.
 */
static void
read_table(SnapshotRun *run, Oid relid)
{
	Relation	relation = try_relation_open(relid, AccessShareLock);
	Snapshot	snapshot;
	TableScanDesc scan;
	TupleTableSlot *slot;
	TupleTableSlot *pending;
	bool		first_in_table = true;

	if (relation == NULL)
		return;
	if (relation->rd_rel->relkind != RELKIND_RELATION)
	{
		relation_close(relation, AccessShareLock);
		return;
	}
	check_readable(relation);

	slot = table_slot_create(relation, NULL);
	pending = table_slot_create(relation, NULL);
	snapshot = choose_snapshot(run, relation);
	scan = table_beginscan(relation, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (!decoder_row_passes(run->decoder, relation, slot))
			continue;
		emit_pending(run, first_in_table, false);
		run->pending = pending;
		ExecCopySlot(pending, slot);
		run->pending_relation = relation;
		run->pending_first_in_table = first_in_table;
		first_in_table = false;
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	if (first_in_table)
	{
		/* no row */
		ExecDropSingleTupleTableSlot(pending);
		relation_close(relation, AccessShareLock);
	}

	SpinLockAcquire(&run->stream->mutex);
	run->stream->snapshot_tables_done++;
	SpinLockRelease(&run->stream->mutex);
}

static void
read_tables(SnapshotRun *run, const Settings *settings)
{
	TimestampTz begin_time = GetCurrentTimestamp();
	List	   *relids;
	ListCell   *cell;

	/*
	 * Debezium gives its reading transaction an id and sends that.  Ours has
	 * none: whoever creates another slot would wait for its end.  The first
	 * id that the snapshot does not see says the same.
	 */
	run->decoder = decoder_create_for_snapshot(CurrentMemoryContext, settings,
											   GetActiveSnapshot()->xmax,
											   run->consistent_point,
											   begin_time);
	relids = relation_map_selected(decoder_relation_map(run->decoder));

	SpinLockAcquire(&run->stream->mutex);
	run->stream->snapshot_tables = list_length(relids);
	run->stream->snapshot_tables_done = 0;
	run->stream->snapshot_rows = 0;
	SpinLockRelease(&run->stream->mutex);
	stream_set_status(run->stream, STREAM_SNAPSHOT);
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" begins its snapshot at %X/%X",
					run->stream->name,
					LSN_FORMAT_ARGS(run->consistent_point)),
			 errdetail_plural("It reads %d table.", "It reads %d tables.",
							  list_length(relids), list_length(relids))));
	check_all_readable(relids);

	delivery_begin_unit(run->delivery, begin_time);
	foreach(cell, relids)
		read_table(run, lfirst_oid(cell));
	emit_pending(run, true, true);
	delivery_end_unit(run->delivery, run->consistent_point);
	publish_progress(run);

	while (!delivery_idle(run->delivery))
	{
		delivery_publish(run->delivery);
		delivery_wait(run->delivery, 1000);
	}
	delivery_publish(run->delivery);
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" completed its snapshot",
					run->stream->name),
			 errdetail("It sent " UINT64_FORMAT " rows in %.3f s.",
					   run->stream->snapshot_rows,
					   (GetCurrentTimestamp() - begin_time) / 1e6)));
}

void
snapshot_start_stream(Delivery *delivery, StreamState *stream,
					  const Settings *settings, const char *slot_name,
					  bool with_data)
{
	SnapshotRun run = {0};

	StartTransactionCommand();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;

	run.delivery = delivery;
	run.stream = stream;
	run.first = true;
	run.consistent_point = create_slot(stream, slot_name, with_data);
	if (with_data)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		(void) slot_state_worker_started(slot_name);
		read_tables(&run, settings);
		slot_state_set_snapshot_pending(slot_name, false);
		PopActiveSnapshot();
	}
	ReplicationSlotRelease();
	CommitTransactionCommand();
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" starts at %X/%X with slot \"%s\"",
					stream->name, LSN_FORMAT_ARGS(run.consistent_point),
					slot_name)));
}
