/*
 * snapshot_functions.c
 *		Functions of SQL that ask for snapshots, and show them.
 *
 * What can be known of a request is checked here, in the session that asks;
 * the rest the reader finds out, and the view shows it.
 *
 * A request is part of its transaction, which may be the one that makes the
 * table and adds it to the publication: the worker gets to know of it when
 * that is committed, and never where it is not.  Nothing may fail at that
 * moment, so files are written before the commit and only renamed after it.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "preload/settings.h"
#include "preload/shared_state.h"
#include "relation_map.h"
#include "row_predicate.h"
#include "snapshot_progress.h"
#include "sql_functions.h"
#include "table_access.h"

/* Columns of snapshots()'s result. */
enum
{
	SNAPSHOTS_ID,
	SNAPSHOTS_NUMBER,
	SNAPSHOTS_KIND,
	SNAPSHOTS_RELID,
	SNAPSHOTS_TABLE,
	SNAPSHOTS_PREDICATE,
	SNAPSHOTS_STATE,
	SNAPSHOTS_ROWS_ESTIMATED,
	SNAPSHOTS_ROWS_DONE,
	SNAPSHOTS_RANGES,
	SNAPSHOTS_ACTIVE_MS,
	SNAPSHOTS_REQUESTED_AT,
	SNAPSHOTS_STARTED_AT,
	SNAPSHOTS_ENDED_AT,
	SNAPSHOTS_ERROR,
	SNAPSHOTS_REMEDY,
	SNAPSHOTS_COLUMNS
};

PG_FUNCTION_INFO_V1(wal2kafka_stream_snapshot);
PG_FUNCTION_INFO_V1(wal2kafka_stream_snapshot_of_tables);
PG_FUNCTION_INFO_V1(wal2kafka_stream_pause_snapshot);
PG_FUNCTION_INFO_V1(wal2kafka_stream_resume_snapshot);
PG_FUNCTION_INFO_V1(wal2kafka_stream_cancel_snapshot);
PG_FUNCTION_INFO_V1(wal2kafka_stream_snapshots);

/* The stream that a call is about. */
typedef struct Target
{
	StreamName	name;
	Settings   *settings;		/* the stream's, while the call lasts */
	char	   *slot_name;
} Target;

/* A request of this transaction. */
typedef struct PendingRequest
{
	SubTransactionId subid;
	char		stream[STREAM_NAME_LEN];
	char		slot_name[NAMEDATALEN];
	SnapshotRequest *request;
	char	   *file;			/* NULL: not written yet */
} PendingRequest;

/* In TopTransactionContext, in the order of the calls. */
static List *pending_requests;

/* ------------------------------------------------------------------------
 * Streams
 * ------------------------------------------------------------------------
 */

/* An argument, or NULL. */
static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * The i-th entry's stream; false if it is free, or of no stream that is
 * configured.
 */
static bool
configured_stream(int i, StreamName *name)
{
	StreamState *stream = shared_state_stream(i);
	bool		used;

	SpinLockAcquire(&stream->mutex);
	used = stream->status != STREAM_UNUSED &&
		stream->status != STREAM_STOPPED;
	if (used)
	{
		strlcpy(name->text, stream->name, sizeof(name->text));
		strlcpy(name->database, NameStr(stream->database),
				sizeof(name->database));
		strlcpy(name->role, NameStr(stream->role), sizeof(name->role));
	}
	SpinLockRelease(&stream->mutex);
	return used;
}

/*
 * The only stream of this database; an error that names them where there are
 * more.
 */
static void
find_only_stream(StreamName *result)
{
	const char *database = get_database_name(MyDatabaseId);
	StringInfoData names;
	int			n = 0;

	initStringInfo(&names);
	for (int i = 0; i < shared_state_size(); i++)
	{
		StreamName	name;

		if (!configured_stream(i, &name) ||
			strcmp(name.database, database) != 0)
			continue;
		appendStringInfo(&names, "%s%s", n > 0 ? ", " : "", name.text);
		*result = name;
		n++;
	}
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("database \"%s\" has no stream", database),
				 errhint("Name it in \"wal2kafka.streams\".")));
	if (n > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the stream must be named"),
				 errdetail("Database \"%s\" has these: %s.", database,
						   names.data)));
}

static void
parse_stream(const char *given, StreamName *result)
{
	const char *cursor = given;
	const char *problem;

	if (!settings_next_stream(&cursor, result, &problem) || *cursor != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" is not the name of a stream", given),
				 problem ? errdetail("%s", problem) : 0,
				 errhint("Write it as database/role.")));
	if (strcmp(result->database, get_database_name(MyDatabaseId)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("stream \"%s\" is of another database", result->text),
				 errhint("Connect to database \"%s\".", result->database)));
}

/*
 * The stream's settings, on top of those of the session: what ALTER DATABASE
 * and ALTER ROLE say for it.  They hold until the caller's GUC nest level
 * ends.
 */
static Settings *
stream_settings(const StreamName *name)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		args[2];
	char		nulls[2] = {' ', ' '};
	Datum		stored[2];
	int			rc;

	args[0] = CStringGetTextDatum(name->database);
	args[1] = CStringGetTextDatum(name->role);
	if (name->role[0] == '\0')
		nulls[1] = 'n';

	SPI_connect();
	rc = SPI_execute_with_args("SELECT s.names, s.\"values\""
							   " FROM wal2kafka._stored_settings($1, $2) AS s",
							   2, types, args, nulls, true, 1);
	if (rc != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the settings of stream \"%s\"",
			 name->text);
	for (int i = 0; i < lengthof(stored); i++)
	{
		bool		isnull;

		stored[i] = SPI_getbinval(SPI_tuptable->vals[0],
								  SPI_tuptable->tupdesc, i + 1, &isnull);
		stored[i] = PointerGetDatum(PG_DETOAST_DATUM(stored[i]));
		stored[i] = SPI_datumTransfer(stored[i], false, -1);
	}
	SPI_finish();

	apply_settings(DatumGetArrayTypeP(stored[0]),
				   DatumGetArrayTypeP(stored[1]));
	return settings_copy(CurrentMemoryContext);
}

/*
 * Is there a slot for the stream to go on from?  While it is being made it
 * has no position, and may yet go away.
 */
static bool
has_slot(const char *slot_name)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(slot_name, true);
	bool		result = false;

	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		result = slot->data.database == MyDatabaseId &&
			slot->data.persistency == RS_PERSISTENT &&
			!XLogRecPtrIsInvalid(slot->data.confirmed_flush) &&
			strcmp(NameStr(slot->data.plugin), "wal2kafka") == 0;
		SpinLockRelease(&slot->mutex);
	}
	return result;
}

void
find_stream(const char *given, StreamName *result)
{
	if (!shared_state_available())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("wal2kafka is not preloaded"),
				 errhint("Add wal2kafka to \"shared_preload_libraries\" and restart the server.")));
	if (given != NULL)
		parse_stream(given, result);
	else
		find_only_stream(result);
}

/*
 * The stream that the argument names, or the only one; an error unless it has
 * a slot.  The caller has begun a GUC nest level.
 */
static void
find_target(const char *given, Target *target)
{
	StreamName *name = &target->name;
	StreamState *stream;
	char	   *slot_name;

	find_stream(given, name);
	target->settings = stream_settings(name);
	slot_name = palloc0(NAMEDATALEN);
	stream = shared_state_find(name->text);
	if (stream != NULL)
	{
		/* what a worker has is what holds */
		SpinLockAcquire(&stream->mutex);
		if (stream->pid != 0)
			strlcpy(slot_name, stream->slot_name, NAMEDATALEN);
		SpinLockRelease(&stream->mutex);
	}
	if (slot_name[0] == '\0')
		strlcpy(slot_name, target->settings->slot_name, NAMEDATALEN);
	if (slot_name[0] == '\0')
		stream_default_slot_name(name->text, name->database, name->role,
								 slot_name);
	target->slot_name = slot_name;

	if (!has_slot(slot_name))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" has no slot yet", name->text),
				 errdetail("Its slot would be \"%s\".", slot_name),
				 errhint("A stream makes its slot when it is named in \"wal2kafka.streams\" and starts; with \"wal2kafka.snapshot_mode\" as it is by default, that also reads all tables.")));
}

/* ------------------------------------------------------------------------
 * Requests are part of their transaction
 * ------------------------------------------------------------------------
 */

/*
 * The worker may meet a snapshot's request before that of its pause, which is
 * another file.  One that is paused in the transaction that asks for it must
 * not begin.
 */
static void
set_paused(const PendingRequest *steering, bool paused)
{
	const char *target = steering->request->target;
	ListCell   *cell;

	foreach(cell, pending_requests)
	{
		PendingRequest *pending = lfirst(cell);

		if (pending == steering)
			break;
		if (pending->request->command == SNAPSHOT_REQUEST &&
			strcmp(pending->slot_name, steering->slot_name) == 0 &&
			(target == NULL || strcmp(target, pending->request->request) == 0))
			pending->request->paused = paused;
	}
}

static void
write_pending(void)
{
	MemoryContext old_cxt = MemoryContextSwitchTo(TopTransactionContext);
	ListCell   *cell;

	foreach(cell, pending_requests)
	{
		PendingRequest *pending = lfirst(cell);
		SnapshotCommand command = pending->request->command;

		if (command == SNAPSHOT_PAUSE || command == SNAPSHOT_RESUME)
			set_paused(pending, command == SNAPSHOT_PAUSE);
	}
	foreach(cell, pending_requests)
	{
		PendingRequest *pending = lfirst(cell);

		pending->file = snapshot_request_prepare(pending->slot_name,
												 pending->request);
	}
	MemoryContextSwitchTo(old_cxt);
}

static void
end_pending(bool committed)
{
	ListCell   *cell;

	foreach(cell, pending_requests)
	{
		PendingRequest *pending = lfirst(cell);
		StreamState *stream;

		if (pending->file == NULL)
			continue;
		if (!committed)
		{
			snapshot_request_discard(pending->slot_name, pending->file);
			continue;
		}
		snapshot_request_publish(pending->slot_name, pending->file, WARNING);
		stream = shared_state_find(pending->stream);
		if (stream != NULL)
			stream_wake(stream);
	}
	pending_requests = NIL;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (pending_requests == NIL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			write_pending();
			break;
		case XACT_EVENT_COMMIT:
			end_pending(true);
			break;
		case XACT_EVENT_ABORT:
			end_pending(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has asked for a snapshot")));
			break;
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			break;
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid,
					  SubTransactionId parent_subid, void *arg)
{
	ListCell   *cell;

	foreach(cell, pending_requests)
	{
		PendingRequest *pending = lfirst(cell);

		if (pending->subid != subid)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			pending->subid = parent_subid;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
			pending_requests = foreach_delete_current(pending_requests, cell);
	}
}

/* The request is allocated in TopTransactionContext. */
static void
add_pending(const Target *target, SnapshotRequest *request)
{
	static bool registered = false;
	MemoryContext old_cxt = MemoryContextSwitchTo(TopTransactionContext);
	PendingRequest *pending = palloc0(sizeof(PendingRequest));

	if (!registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		registered = true;
	}
	pending->subid = GetCurrentSubTransactionId();
	strlcpy(pending->stream, target->name.text, sizeof(pending->stream));
	strlcpy(pending->slot_name, target->slot_name,
			sizeof(pending->slot_name));
	request->request = snapshot_request_id();
	request->requested_at = GetCurrentTimestamp();
	pending->request = request;
	pending_requests = lappend(pending_requests, pending);
	MemoryContextSwitchTo(old_cxt);
}

/* ------------------------------------------------------------------------
 * snapshot()
 * ------------------------------------------------------------------------
 */

/* Why a relation has no snapshots, as a sentence; NULL: it has. */
static const char *
why_no_snapshot(Relation relation)
{
	switch (relation->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_VIEW:
			return "It is a view: changes of a view are not in the WAL, only those of the tables that it reads.";
		case RELKIND_MATVIEW:
			return "It is a materialized view, whose changes are not decoded.";
		case RELKIND_FOREIGN_TABLE:
			return "It is a foreign table: its rows are elsewhere, and their changes are not in the WAL of this server.";
		default:
			return "It is not a table.";
	}
	if (RelationGetRelid(relation) < FirstNormalObjectId)
		return "It is a table of the system, whose changes are not sent.";
	switch (relation->rd_rel->relpersistence)
	{
		case RELPERSISTENCE_TEMP:
			return "It is a temporary table: its rows are its session's alone, and their changes are not in the WAL.";
		case RELPERSISTENCE_UNLOGGED:
			return "It is an unlogged table: its changes are not in the WAL.";
		default:
			return NULL;
	}
}

/* The predicate and the right to read, as the role that will read. */
static void
check_readable(Relation relation, const char *predicate, Oid role)
{
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(role, context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	table_check_readable(relation);
	if (predicate != NULL)
		row_predicate_free(row_predicate_create(relation, predicate));
	SetUserIdAndSecContext(user, context);
}

/* Does the request have the table already? */
static bool
is_requested(const SnapshotRequest *request, Oid relid)
{
	ListCell   *cell;

	foreach(cell, request->tables)
		if (((SnapshotTable *) lfirst(cell))->relid == relid)
			return true;
	return false;
}

static void
request_table(SnapshotRequest *request, Relation relation,
			  const char *predicate)
{
	MemoryContext old_cxt = MemoryContextSwitchTo(TopTransactionContext);
	SnapshotTable *table = palloc0(sizeof(SnapshotTable));

	table->relid = RelationGetRelid(relation);
	table->schema_name = get_namespace_name(RelationGetNamespace(relation));
	table->table_name = pstrdup(RelationGetRelationName(relation));
	table->predicate = predicate ? pstrdup(predicate) : NULL;
	table->estimate = Max(relation->rd_rel->reltuples, 0);
	request->tables = lappend(request->tables, table);
	MemoryContextSwitchTo(old_cxt);
}

/*
 * Add one table, which is not partitioned.  Of one that was not named itself,
 * but is a partition of what was, a reason against it is a warning.
 */
static void
add_table(const Target *target, SnapshotRequest *request, RelationMap *map,
		  Relation relation, bool is_partition, const char *predicate)
{
	const char *schema =
		get_namespace_name_or_temp(RelationGetNamespace(relation));
	const char *name =
		quote_qualified_identifier(schema, RelationGetRelationName(relation));
	const char *reason = why_no_snapshot(relation);
	Oid			role = BOOTSTRAP_SUPERUSERID;

	if (is_requested(request, RelationGetRelid(relation)))
		return;
	if (reason != NULL)
	{
		ereport(is_partition ? WARNING : ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 is_partition ? errmsg("partition \"%s\" is left out", name) :
				 errmsg("\"%s\" cannot have a snapshot", name),
				 errdetail("%s", reason)));
		return;
	}
	if (!relation_map_get(map, relation)->selected)
	{
		ereport(is_partition ? WARNING : ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 is_partition ? errmsg("partition \"%s\" is left out", name) :
				 errmsg("\"%s\" cannot have a snapshot", name),
				 errdetail("Stream \"%s\" does not select it.",
						   target->name.text),
				 target->settings->publication_name[0] == '\0' ?
				 errhint("See the settings that list schemas and tables.") :
				 errhint("Add it to a publication of \"wal2kafka.publication_name\", which is \"%s\", or see the settings that list schemas and tables.",
						 target->settings->publication_name)));
		return;
	}
	if (target->name.role[0] != '\0')
		role = get_role_oid(target->name.role, false);
	check_readable(relation, predicate, role);
	request_table(request, relation, predicate);
}

/* Add what a name says: a table, or all partitions that have rows. */
static void
add_named(const Target *target, SnapshotRequest *request, RelationMap *map,
		  const char *name, const char *predicate)
{
	Oid			relid =
		DatumGetObjectId(DirectFunctionCall1(regclassin,
											 CStringGetDatum(name)));
	Relation	relation = NULL;
	int			before = list_length(request->tables);
	ListCell   *cell;

	if (OidIsValid(relid))
		relation = try_relation_open(relid, AccessShareLock);
	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s\" does not exist", name)));
	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
	{
		add_table(target, request, map, relation, false, predicate);
		relation_close(relation, NoLock);
		return;
	}

	foreach(cell, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		Relation	partition = relation_open(lfirst_oid(cell), NoLock);

		CHECK_FOR_INTERRUPTS();
		if (partition->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
			add_table(target, request, map, partition, true, predicate);
		relation_close(partition, NoLock);
	}
	if (list_length(request->tables) == before)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" cannot have a snapshot", name),
				 errdetail("It is a partitioned table without partitions that can.")));
	relation_close(relation, NoLock);
}

/*
 * Ask for a snapshot of these tables (char *); the request's id, as text.
 */
static Datum
request_snapshot(List *names, const char *predicate, const char *stream)
{
	int			nest_level = NewGUCNestLevel();
	MemoryContext map_cxt;
	RelationMap *map;
	SnapshotRequest *request;
	Target		target;
	ListCell   *cell;

	find_target(stream, &target);
	map_cxt = AllocSetContextCreate(CurrentMemoryContext,
									"wal2kafka snapshot",
									ALLOCSET_DEFAULT_SIZES);
	map = relation_map_create(map_cxt, target.settings,
							  get_database_name(MyDatabaseId));

	request = MemoryContextAllocZero(TopTransactionContext,
									 sizeof(SnapshotRequest));
	request->command = SNAPSHOT_REQUEST;
	request->kind = SNAPSHOT_KIND_AD_HOC;
	foreach(cell, names)
		add_named(&target, request, map, lfirst(cell), predicate);

	MemoryContextDelete(map_cxt);
	AtEOXact_GUC(true, nest_level);
	add_pending(&target, request);
	return CStringGetTextDatum(request->request);
}

static void
raise_no_table(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("the table must not be null")));
}

/* snapshot(table text, predicate text, stream text) */
Datum
wal2kafka_stream_snapshot(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, 0);

	if (name == NULL)
		raise_no_table();
	return request_snapshot(list_make1(name), text_argument(fcinfo, 1),
							text_argument(fcinfo, 2));
}

/* snapshot(tables text[], predicate text, stream text) */
Datum
wal2kafka_stream_snapshot_of_tables(PG_FUNCTION_ARGS)
{
	List	   *names = NIL;
	Datum	   *values;
	bool	   *nulls;
	int			n = 0;

	if (!PG_ARGISNULL(0))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false,
						  TYPALIGN_INT, &values, &nulls, &n);
	if (n == 0)
		raise_no_table();
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			raise_no_table();
		names = lappend(names, TextDatumGetCString(values[i]));
	}
	return request_snapshot(names, text_argument(fcinfo, 1),
							text_argument(fcinfo, 2));
}

/* ------------------------------------------------------------------------
 * pause_snapshot() and the like
 * ------------------------------------------------------------------------
 */

/* Was the request asked for, but not taken by the worker yet? */
static bool
is_waiting(const char *slot_name, const char *id)
{
	ListCell   *cell;

	foreach(cell, pending_requests)
	{
		const PendingRequest *pending = lfirst(cell);

		if (strcmp(pending->slot_name, slot_name) == 0 &&
			strcmp(pending->request->request, id) == 0)
			return true;
	}
	foreach(cell, snapshot_requests_list(slot_name))
		if (strcmp(((SnapshotRequest *) lfirst(cell))->request, id) == 0)
			return true;
	return false;
}

/*
 * Name the snapshot in a request: by the id of what asked for it, or by its
 * number in the stream.  An error if there is none, or it is over.
 */
static void
name_snapshot(const Target *target, SnapshotRequest *request, const char *id)
{
	bool		waiting = is_waiting(target->slot_name, id);
	bool		is_number = strlen(id) <= 10 && id[0] != '\0' &&
		strspn(id, "0123456789") == strlen(id);
	SnapshotProgress *progress;
	SnapshotJob *job;

	request->target = MemoryContextStrdup(TopTransactionContext, id);
	if (waiting)
		return;

	/* after the requests: what is not among them any more is here */
	progress = snapshot_progress_load(CurrentMemoryContext,
									  target->slot_name);
	job = snapshot_progress_find(progress, 0, id);
	if (job == NULL && is_number)
		job = snapshot_progress_find(progress, strtoul(id, NULL, 10), NULL);
	if (job == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" has no snapshot \"%s\"",
						target->name.text, id),
				 errhint("See wal2kafka.stat_snapshots.")));
	if (job->ended_at != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("snapshot \"%s\" is over", id)));
	request->target = MemoryContextStrdup(TopTransactionContext,
										  job->request);
	MemoryContextDelete(progress->context);
}

static Datum
steer_snapshot(FunctionCallInfo fcinfo, SnapshotCommand command)
{
	char	   *id = text_argument(fcinfo, 0);
	char	   *stream = text_argument(fcinfo, 1);
	int			nest_level = NewGUCNestLevel();
	SnapshotRequest *request;
	Target		target;

	find_target(stream, &target);
	AtEOXact_GUC(true, nest_level);
	request = MemoryContextAllocZero(TopTransactionContext,
									 sizeof(SnapshotRequest));
	request->command = command;
	request->kind = SNAPSHOT_KIND_AD_HOC;
	if (id != NULL)
		name_snapshot(&target, request, id);
	add_pending(&target, request);
	PG_RETURN_VOID();
}

Datum
wal2kafka_stream_pause_snapshot(PG_FUNCTION_ARGS)
{
	return steer_snapshot(fcinfo, SNAPSHOT_PAUSE);
}

Datum
wal2kafka_stream_resume_snapshot(PG_FUNCTION_ARGS)
{
	return steer_snapshot(fcinfo, SNAPSHOT_RESUME);
}

Datum
wal2kafka_stream_cancel_snapshot(PG_FUNCTION_ARGS)
{
	return steer_snapshot(fcinfo, SNAPSHOT_CANCEL);
}

/* ------------------------------------------------------------------------
 * The view
 * ------------------------------------------------------------------------
 */

static void
put_text(Datum *values, bool *nulls, int column, const char *text)
{
	nulls[column] = text == NULL;
	if (text != NULL)
		values[column] = CStringGetTextDatum(text);
}

static void
put_count(Datum *values, bool *nulls, int column, uint64 count)
{
	nulls[column] = false;
	values[column] = Int64GetDatum((int64) count);
}

static void
put_time(Datum *values, bool *nulls, int column, TimestampTz time)
{
	nulls[column] = time == 0;
	values[column] = TimestampTzGetDatum(time);
}

/*
 * A table of a snapshot.  number 0: the worker has not taken it yet; state
 * NULL: what the table's says.
 */
static void
put_snapshot(ReturnSetInfo *result, const SnapshotTable *table,
			 const char *id, uint64 number, SnapshotKind kind,
			 const char *state, TimestampTz requested_at)
{
	Datum		values[SNAPSHOTS_COLUMNS] = {0};
	bool		nulls[SNAPSHOTS_COLUMNS];

	if (state == NULL)
		state = snapshot_table_state_name(table->state);
	put_text(values, nulls, SNAPSHOTS_ID, id);
	put_count(values, nulls, SNAPSHOTS_NUMBER, number);
	nulls[SNAPSHOTS_NUMBER] = number == 0;
	put_text(values, nulls, SNAPSHOTS_KIND, snapshot_kind_name(kind));
	nulls[SNAPSHOTS_RELID] = false;
	values[SNAPSHOTS_RELID] = ObjectIdGetDatum(table->relid);
	put_text(values, nulls, SNAPSHOTS_TABLE,
			 quote_qualified_identifier(table->schema_name,
										table->table_name));
	put_text(values, nulls, SNAPSHOTS_PREDICATE, table->predicate);
	put_text(values, nulls, SNAPSHOTS_STATE, state);
	put_count(values, nulls, SNAPSHOTS_ROWS_ESTIMATED, table->estimate);
	put_count(values, nulls, SNAPSHOTS_ROWS_DONE, table->rows);
	put_count(values, nulls, SNAPSHOTS_RANGES, table->ranges);
	put_count(values, nulls, SNAPSHOTS_ACTIVE_MS, table->active_ms);
	put_time(values, nulls, SNAPSHOTS_REQUESTED_AT, requested_at);
	put_time(values, nulls, SNAPSHOTS_STARTED_AT, table->started_at);
	put_time(values, nulls, SNAPSHOTS_ENDED_AT, table->ended_at);
	put_text(values, nulls, SNAPSHOTS_ERROR, table->error);
	put_text(values, nulls, SNAPSHOTS_REMEDY, table->hint);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
put_job(ReturnSetInfo *result, const SnapshotJob *job)
{
	ListCell   *cell;

	foreach(cell, job->tables)
	{
		const SnapshotTable *table = lfirst(cell);
		bool		paused = job->paused &&
			(table->state == SNAPSHOT_TABLE_WAITING ||
			 table->state == SNAPSHOT_TABLE_READING);

		put_snapshot(result, table, job->request, job->id, job->kind,
					 paused ? "paused" : NULL, job->requested_at);
	}
}

/* A row that tells of a file. */
static void
put_damage(ReturnSetInfo *result, const char *slot_name, const char *problem)
{
	Datum		values[SNAPSHOTS_COLUMNS] = {0};
	bool		nulls[SNAPSHOTS_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	put_text(values, nulls, SNAPSHOTS_STATE, "damaged");
	put_text(values, nulls, SNAPSHOTS_ERROR,
			 psprintf("file \"pg_replslot/%s/%s\" is damaged: %s", slot_name,
					  SNAPSHOT_PROGRESS_FILE, problem));
	put_text(values, nulls, SNAPSHOTS_REMEDY, SNAPSHOT_DAMAGE_HINT);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * snapshots(slot_name name): what the files of a slot say; no rows if there
 * is no such slot, or it goes away meanwhile.
 */
Datum
wal2kafka_stream_snapshots(PG_FUNCTION_ARGS)
{
	const char *slot_name = NameStr(*PG_GETARG_NAME(0));
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	SnapshotProgress *progress;
	const char *problem;
	List	   *requests;
	ListCell   *cell;
	ListCell   *table;

	InitMaterializedSRF(fcinfo, 0);
	if (SearchNamedReplicationSlot(slot_name, true) == NULL)
		return (Datum) 0;

	/* requests first: a worker moves them from there to here */
	requests = snapshot_requests_list(slot_name);
	progress = snapshot_progress_try_load(CurrentMemoryContext, slot_name,
										  &problem);
	if (progress == NULL)
		put_damage(result, slot_name, problem);
	else
		foreach(cell, progress->jobs)
			put_job(result, lfirst(cell));
	foreach(cell, requests)
	{
		const SnapshotRequest *request = lfirst(cell);

		if (request->command != SNAPSHOT_REQUEST ||
			(progress != NULL &&
			 snapshot_progress_find(progress, 0, request->request) != NULL))
			continue;
		foreach(table, request->tables)
			put_snapshot(result, lfirst(table), request->request, 0,
						 request->kind, "requested", request->requested_at);
	}
	return (Datum) 0;
}
