/*
 * adopt.c
 *		A slot that was copied from another reader's becomes a stream's.
 *
 * wal2kafka.adopt_slot() copies Debezium's slot with the server's own
 * function.  What makes the copy more than a slot that somebody decodes by
 * SQL is the state file beside it: it says that the slot is a stream's, and
 * that no snapshot is wanting.  So the worker goes on from the slot's
 * position, and the slot is missed when its stream loses it.
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "slot_state.h"

PG_FUNCTION_INFO_V1(wal2kafka_stream_own_slot);

/*
 * own_slot(name): mark a slot of ours in this database as a stream's.  The
 * slot is held meanwhile, so that no worker writes the same file.
 */
Datum
wal2kafka_stream_own_slot(PG_FUNCTION_ARGS)
{
	Name		name = PG_GETARG_NAME(0);

	CheckSlotPermissions();
	CheckSlotRequirements();
	compat_slot_acquire(NameStr(*name));
	if (strcmp(NameStr(MyReplicationSlot->data.plugin), "wal2kafka") != 0 ||
		MyReplicationSlot->data.database != MyDatabaseId ||
		MyReplicationSlot->data.persistency != RS_PERSISTENT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" cannot become a stream's",
						NameStr(*name)),
				 errdetail("It is not a permanent logical slot of output plugin wal2kafka in this database.")));
	if (slot_state_exists(NameStr(*name)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("replication slot \"%s\" is a stream's already",
						NameStr(*name))));
	slot_state_set_snapshot_pending(NameStr(*name), false);
	ReplicationSlotRelease();
	PG_RETURN_VOID();
}
