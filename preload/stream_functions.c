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
 *									guard
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
 *		latency_p99 float8
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
 *		no_identity int8			changes without identity
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
