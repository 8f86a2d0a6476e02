/*
 * adopt.c
 *		What another reader or another server had becomes a stream's.
 *
 * wal2kafka.adopt_slot() copies Debezium's slot with the server's own
 * function.  What makes the copy more than a slot that somebody decodes by
 * SQL is the state file beside it: it says that the slot is a stream's, and
 * that no snapshot is wanting.  So the worker goes on from the slot's
 * position, and the slot is missed when its stream loses it.
 *
 * wal2kafka.adopt() leaves word in the slot's folder that a stream's position
 * in Kafka is this server's from now on, whoever wrote it (exactly_once.h).
 */
#include "postgres.h"

#include "compat.h"
#include "exactly_once.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "preload/shared_state.h"
#include "replication/slot.h"
#include "slot_state.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(wal2kafka_stream_adopt);
PG_FUNCTION_INFO_V1(wal2kafka_stream_own_slot);

/*
 * The stream's worker and we must not write the same files, so the slot is
 * held, until ReplicationSlotRelease().
 */
static void
check_own_slot(const char *name)
{
	if (strcmp(NameStr(MyReplicationSlot->data.plugin), "wal2kafka") != 0 ||
		MyReplicationSlot->data.persistency != RS_PERSISTENT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" cannot become a stream's",
						name),
				 errdetail("It is not a permanent logical slot of output plugin wal2kafka.")));
}

/*
 * The stream with this name, which is held until somebody adopts it.  Copies
 * its slot's name, of NAMEDATALEN bytes.
 */
static StreamState *
find_adoptable(const char *name, char *slot_name)
{
	StreamState *stream = shared_state_available() ?
		shared_state_find(name) : NULL;
	bool		awaits;

	if (stream == NULL || stream->status == STREAM_STOPPED)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist", name),
				 errhint("Streams are named in \"wal2kafka.streams\".")));
	SpinLockAcquire(&stream->mutex);
	awaits = stream->awaits_adoption;
	strlcpy(slot_name, stream->slot_name, NAMEDATALEN);
	SpinLockRelease(&stream->mutex);
	if (!awaits)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" does not wait for being adopted",
						name),
				 errdetail("Only a stream whose position in Kafka was written by another server, or cannot be read, does.")));
	return stream;
}

/*
 * adopt(stream): it goes on, although its position in Kafka was written by
 * another server.
 */
Datum
wal2kafka_stream_adopt(PG_FUNCTION_ARGS)
{
	StreamState *stream;
	char		slot_name[NAMEDATALEN];

	stream = find_adoptable(text_to_cstring(PG_GETARG_TEXT_PP(0)), slot_name);

	/* the worker that asked for it may not be gone yet */
	compat_slot_await(slot_name);
	check_own_slot(slot_name);
	exactly_once_adopt(slot_name);
	ReplicationSlotRelease();

	SpinLockAcquire(&stream->mutex);
	stream->awaits_adoption = false;
	stream->restart_requested = true;
	SpinLockRelease(&stream->mutex);
	shared_state_wake_launcher();
	PG_RETURN_VOID();
}

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
	check_own_slot(NameStr(*name));
	if (MyReplicationSlot->data.database != MyDatabaseId)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" is of another database",
						NameStr(*name))));
	if (slot_state_exists(NameStr(*name)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("replication slot \"%s\" is a stream's already",
						NameStr(*name))));
	slot_state_set_snapshot_pending(NameStr(*name), false);
	ReplicationSlotRelease();
	PG_RETURN_VOID();
}
