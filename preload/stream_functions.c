/*
 * stream_functions.c
 *		SQL functions over the shared state of the streams.
 *
 * C symbols and what SQL declares for them; all of them are in wal2kafka.so
 * and raise ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE when the library is not
 * preloaded (wal2kafka_stream_parts() excepted, it needs no shared memory).
 *
 * wal2kafka_stat_streams() RETURNS SETOF record, VOLATILE PARALLEL RESTRICTED,
 * one row for each stream that was configured since the server started:
 *
 *		stream text,				as in wal2kafka.streams
 *		database text,
 *		role text,					null: the bootstrap superuser
 *		state text,					starting, snapshot, streaming, backoff,
 *									paused, held, stopped
 *		waiting_for text,			nothing, broker, registry, schema, lock,
 *									guard, standby
 *		pid int4,					null: no worker
 *		slot_name text,				null: not known yet
 *		received_lsn pg_lsn,
 *		sent_lsn pg_lsn,
 *		acknowledged_lsn pg_lsn,
 *		acknowledged_at timestamptz,
 *		acknowledged_commit_time timestamptz,
 *		bytes_behind int8,			flushed WAL less acknowledged_lsn
 *		seconds_behind float8,		0 when everything is acknowledged
 *		events int8,
 *		bytes int8,
 *		transactions int8,
 *		restarts int8,
 *		errors int8,
 *		last_error text,
 *		last_error_hint text,
 *		last_error_at timestamptz,
 *		retry_at timestamptz,		when a stream in backoff or a pause with
 *									an end starts again
 *		started_at timestamptz,
 *		queue_messages int8,
 *		queue_bytes int8,
 *		snapshot_tables int4,		null: no snapshot since server start
 *		snapshot_tables_done int4,
 *		snapshot_rows int8,
 *		latency_p50 float8,			ms, commit to acknowledged; null: none yet
 *		latency_p99 float8,
 *		incremental_rows int8,		sent by snapshots while streaming, since the
 *									worker's start
 *		incremental_ranges int8,
 *		incremental_delay_ms int8,	longest wait of changes for one of them
 *		wal_limit int8,				bytes that the slot may retain; null: any
 *		wal_exceeded bool			it retains more, as was last looked
 *		skipped_events int8,		events that cannot be sent: left out, ...
 *		dead_letters int8,			... told of in a topic, ...
 *		truncated_events int8		... made smaller
 *
 * wal2kafka_stat_tables() RETURNS SETOF record, VOLATILE PARALLEL RESTRICTED:
 *
 *		stream text,
 *		schema_name text,
 *		table_name text,
 *		relid oid,					in the stream's database
 *		events int8,
 *		bytes int8,
 *		last_change timestamptz,	commit time
 *		key_schema_id int4,			null: none or not known yet
 *		value_schema_id int4,
 *		no_identity int8,			changes without identity
 *		skipped int8,				as skipped_events and so on, of this table
 *		dead_letters int8,
 *		truncated int8
 *
 * wal2kafka_restart(stream text) RETURNS void, STRICT: the stream starts
 * anew, out of backoff, held and all; an error if there is no such stream.
 *
 * wal2kafka_wake() RETURNS void: workers and launcher look at settings now,
 * for a caller that changed some with ALTER DATABASE or ALTER ROLE.  It acts
 * when the calling transaction commits.
 *
 * wal2kafka_stream_parts(stream text, OUT stream text, OUT database text,
 * OUT role text, OUT slot_name text) RETURNS record, STRICT: the parts of a
 * stream's name, whether it is configured or not, the name as the views show
 * it, and its slot's name by default.  role is null when there is none.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "settings.h"
#include "shared_state.h"
#include "wal_guard.h"

#define STAT_STREAMS_COLUMNS	39
#define STAT_TABLES_COLUMNS		13
#define STREAM_PARTS_COLUMNS	4

PG_FUNCTION_INFO_V1(wal2kafka_stat_streams);
PG_FUNCTION_INFO_V1(wal2kafka_stat_tables);
PG_FUNCTION_INFO_V1(wal2kafka_restart);
PG_FUNCTION_INFO_V1(wal2kafka_wake);
PG_FUNCTION_INFO_V1(wal2kafka_stream_parts);

/* A row in the making: columns are put in their order. */
typedef struct Row
{
	int			n;
	Datum		values[STAT_STREAMS_COLUMNS];
	bool		nulls[STAT_STREAMS_COLUMNS];
} Row;

static void
require_shared_state(void)
{
	if (!shared_state_available())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("wal2kafka is not preloaded"),
				 errhint("Add wal2kafka to \"shared_preload_libraries\" and restart the server.")));
}

static void
put(Row *row, Datum value, bool is_null)
{
	Assert(row->n < STAT_STREAMS_COLUMNS);
	row->values[row->n] = value;
	row->nulls[row->n++] = is_null;
}

/*
 * Names and messages come from files and other databases, so they may be in
 * another encoding than this one's.  Empty: null.
 */
static void
put_text(Row *row, const char *text)
{
	char	   *copy = pstrdup(text);

	if (!pg_verifymbstr(copy, strlen(copy), true))
		for (char *p = copy; *p != '\0'; p++)
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
	put(row, CStringGetTextDatum(copy), text[0] == '\0');
}

static void
put_time(Row *row, TimestampTz time)
{
	put(row, TimestampTzGetDatum(time), time == 0);
}

static void
put_lsn(Row *row, XLogRecPtr lsn)
{
	put(row, LSNGetDatum(lsn), XLogRecPtrIsInvalid(lsn));
}

static void
put_count(Row *row, int64 count)
{
	put(row, Int64GetDatum(count), false);
}

static const char *
status_name(StreamStatus status)
{
	switch (status)
	{
		case STREAM_UNUSED:
			return "unused";
		case STREAM_STARTING:
			return "starting";
		case STREAM_SNAPSHOT:
			return "snapshot";
		case STREAM_STREAMING:
			return "streaming";
		case STREAM_BACKOFF:
			return "backoff";
		case STREAM_PAUSED:
			return "paused";
		case STREAM_HELD:
			return "held";
		case STREAM_STOPPED:
			return "stopped";
	}
	return "unknown";			/* not reached */
}

static const char *
wait_name(StreamWait wait)
{
	switch (wait)
	{
		case STREAM_WAIT_NOTHING:
			return "nothing";
		case STREAM_WAIT_BROKER:
			return "broker";
		case STREAM_WAIT_REGISTRY:
			return "registry";
		case STREAM_WAIT_SCHEMA:
			return "schema";
		case STREAM_WAIT_LOCK:
			return "lock";
		case STREAM_WAIT_GUARD:
			return "guard";
		case STREAM_WAIT_STANDBY:
			return "standby";
		case STREAM_WAIT_REPLAY:
			return "replay";
	}
	return "unknown";			/* not reached */
}

/*
 * How far behind, in bytes of WAL and in time.  A worker that sleeps with
 * nothing outstanding is not behind, whatever its clock says; otherwise the
 * last time that nothing was outstanding counts, or the commit time of what
 * was acknowledged last.
 */
static void
put_lag(Row *row, const StreamState *stream)
{
	XLogRecPtr	now_at = wal_guard_position();
	XLogRecPtr	acknowledged = stream->acknowledged_lsn;
	TimestampTz since = Max(stream->caught_up_at,
							stream->acknowledged_commit_time);
	bool		asleep = stream->pid != 0 &&
		pg_atomic_read_u32((pg_atomic_uint32 *) &stream->asleep) != 0;
	bool		outstanding = stream->queue_messages > 0 ||
		stream->sent_lsn > acknowledged ||
		stream->waiting_for == STREAM_WAIT_STANDBY;

	put(row, Int64GetDatum(now_at > acknowledged ? now_at - acknowledged : 0),
		XLogRecPtrIsInvalid(acknowledged));
	if (now_at <= acknowledged || (asleep && !outstanding))
		put(row, Float8GetDatum(0), XLogRecPtrIsInvalid(acknowledged));
	else
		put(row,
			Float8GetDatum(Max(0, GetCurrentTimestamp() - since) / 1e6),
			since == 0);
}

static void
put_latency(Row *row, StreamState *stream, double fraction)
{
	double		us = stream_latency_percentile(stream, fraction);

	put(row, Float8GetDatum(us / 1000), us < 0);
}

/*
 * The columns of wal2kafka_stat_streams(): "shared" is the entry itself, for
 * what is read without the mutex, "stream" a copy.
 */
static void
put_stream(Row *row, StreamState *shared, const StreamState *stream)
{
	bool		snapshot = stream->snapshot_tables > 0;

	put_text(row, stream->name);
	put_text(row, NameStr(stream->database));
	put_text(row, NameStr(stream->role));
	put_text(row, status_name(stream->status));
	put_text(row, wait_name(stream->waiting_for));
	put(row, Int32GetDatum(stream->pid), stream->pid == 0);
	put_text(row, stream->slot_name);
	put_lsn(row, stream->received_lsn);
	put_lsn(row, stream->sent_lsn);
	put_lsn(row, stream->acknowledged_lsn);
	put_time(row, stream->acknowledged_at);
	put_time(row, stream->acknowledged_commit_time);
	put_lag(row, stream);
	put_count(row, stream->events);
	put_count(row, stream->bytes);
	put_count(row, stream->transactions);
	put_count(row, stream->restarts);
	put_count(row, stream->errors);
	put_text(row, stream->last_error);
	put_text(row, stream->last_error_hint);
	put_time(row, stream->last_error_at);
	put_time(row, stream->retry_at);
	put_time(row, stream->started_at);
	put_count(row, stream->queue_messages);
	put_count(row, stream->queue_bytes);
	put(row, Int32GetDatum(stream->snapshot_tables), !snapshot);
	put(row, Int32GetDatum(stream->snapshot_tables_done), !snapshot);
	put(row, Int64GetDatum(stream->snapshot_rows), !snapshot);
	put_latency(row, shared, 0.5);
	put_latency(row, shared, 0.99);
	put_count(row, stream->incremental_rows);
	put_count(row, stream->incremental_ranges);
	put_count(row, stream->incremental_delay_ms);
	put(row, Int64GetDatum(stream->guard.limit), stream->guard.limit == 0);
	put(row, BoolGetDatum(stream->guard.exceeded), stream->guard.limit == 0);
	put_count(row, stream->skipped_events);
	put_count(row, stream->dead_letters);
	put_count(row, stream->truncated_events);
}

/*
 * A copy of an entry; false if it is free.
 */
static bool
copy_stream(int i, StreamState *copy)
{
	StreamState *stream = shared_state_stream(i);

	SpinLockAcquire(&stream->mutex);
	memcpy(copy, stream, sizeof(*copy));
	SpinLockRelease(&stream->mutex);
	return copy->status != STREAM_UNUSED;
}

Datum
wal2kafka_stat_streams(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	StreamState *copy = palloc(sizeof(StreamState));

	require_shared_state();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < shared_state_size(); i++)
	{
		Row			row = {0};

		if (!copy_stream(i, copy))
			continue;
		put_stream(&row, shared_state_stream(i), copy);
		tuplestore_putvalues(result->setResult, result->setDesc, row.values,
							 row.nulls);
	}
	return (Datum) 0;
}

/*
 * The rows of one stream.  Its worker may go on counting, and may replace the
 * segment by a larger one before we have it: then its rows come next time.
 */
static void
put_tables(ReturnSetInfo *result, const StreamState *stream)
{
	dsm_segment *mapped = dsm_find_mapping(stream->tables);
	dsm_segment *segment = mapped ? mapped : dsm_attach(stream->tables);
	TableStatsArray *tables;
	uint32		used;

	if (segment == NULL)
		return;
	tables = dsm_segment_address(segment);
	used = pg_atomic_read_u32(&tables->used);
	pg_read_barrier();
	for (uint32 i = 0; i < used; i++)
	{
		const TableStats *table = &tables->entries[i];
		Row			row = {0};

		put_text(&row, stream->name);
		put_text(&row, table->schema_name);
		put_text(&row, table->table_name);
		put(&row, ObjectIdGetDatum(table->relid), false);
		put_count(&row, table->events);
		put_count(&row, table->bytes);
		put_time(&row, table->last_change);
		put(&row, Int32GetDatum(table->key_schema_id),
			table->key_schema_id == 0);
		put(&row, Int32GetDatum(table->value_schema_id),
			table->value_schema_id == 0);
		put_count(&row, table->no_identity);
		put_count(&row, table->skipped);
		put_count(&row, table->dead_letters);
		put_count(&row, table->truncated);
		Assert(row.n == STAT_TABLES_COLUMNS);
		tuplestore_putvalues(result->setResult, result->setDesc, row.values,
							 row.nulls);
	}
	if (mapped == NULL)
		dsm_detach(segment);
}

Datum
wal2kafka_stat_tables(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	StreamState *copy = palloc(sizeof(StreamState));

	require_shared_state();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < shared_state_size(); i++)
		if (copy_stream(i, copy) && copy->tables != DSM_HANDLE_INVALID)
			put_tables(result, copy);
	return (Datum) 0;
}

Datum
wal2kafka_restart(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	StreamState *stream;

	require_shared_state();
	stream = shared_state_find(name);
	if (stream == NULL || stream->status == STREAM_STOPPED)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist", name),
				 errhint("Streams are named in \"wal2kafka.streams\".")));
	SpinLockAcquire(&stream->mutex);
	stream->restart_requested = true;
	stream->fresh_start = true;
	SpinLockRelease(&stream->mutex);
	stream_wake(stream);
	shared_state_wake_launcher();
	PG_RETURN_VOID();
}

static bool wake_at_commit;

static void
wake_after_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && wake_at_commit)
	{
		for (int i = 0; i < shared_state_size(); i++)
			stream_wake(shared_state_stream(i));
		shared_state_wake_launcher();
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		wake_at_commit = false;
}

Datum
wal2kafka_wake(PG_FUNCTION_ARGS)
{
	static bool registered = false;

	require_shared_state();
	if (!registered)
		RegisterXactCallback(wake_after_commit, NULL);
	registered = true;
	wake_at_commit = true;
	PG_RETURN_VOID();
}

Datum
wal2kafka_stream_parts(PG_FUNCTION_ARGS)
{
	char	   *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *cursor = given;
	const char *problem;
	StreamName	name;
	char		slot_name[NAMEDATALEN];
	TupleDesc	desc;
	Row			row = {0};

	if (!settings_next_stream(&cursor, &name, &problem) || *cursor != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" is not the name of a stream", given),
				 problem ? errdetail("%s", problem) : 0,
				 errhint("Write it as database/role.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != STREAM_PARTS_COLUMNS)
		elog(ERROR, "unexpected result type of stream_parts");

	stream_default_slot_name(name.text, name.database, name.role, slot_name);
	put_text(&row, name.text);
	put_text(&row, name.database);
	put_text(&row, name.role);
	put_text(&row, slot_name);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  row.values,
													  row.nulls)));
}
