/* wal2kafka--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION wal2kafka" to load this file. \quit

/*
 * Streaming needs nothing of this: it shows and steers.
 *
 * Functions run with the rights of their caller.  None is executable by
 * PUBLIC; pg_monitor may read the views and call health().  Whoever is granted
 * pause(), for one, also needs the right to change the setting behind it,
 * which a superuser has.
 *
 * Names that begin with an underscore are for the other objects here.
 */

------------------------------------------------------------------------------
-- Functions of the library
------------------------------------------------------------------------------

/*
 * What the launcher and the workers have published in shared memory; streams
 * in state "stopped" have left wal2kafka.streams.
 */
CREATE FUNCTION wal2kafka._streams(
	OUT stream text,
	OUT database text,
	OUT role text,
	OUT state text,
	OUT waiting_for text,
	OUT pid integer,
	OUT slot_name text,
	OUT received_lsn pg_lsn,
	OUT sent_lsn pg_lsn,
	OUT acknowledged_lsn pg_lsn,
	OUT acknowledged_at timestamptz,
	OUT acknowledged_commit_time timestamptz,
	OUT bytes_behind bigint,
	OUT seconds_behind double precision,
	OUT events bigint,
	OUT bytes bigint,
	OUT transactions bigint,
	OUT restarts bigint,
	OUT errors bigint,
	OUT last_error text,
	OUT last_error_hint text,
	OUT last_error_at timestamptz,
	OUT retry_at timestamptz,
	OUT started_at timestamptz,
	OUT queue_messages bigint,
	OUT queue_bytes bigint,
	OUT snapshot_tables integer,
	OUT snapshot_tables_done integer,
	OUT snapshot_rows bigint,
	OUT latency_p50 double precision,
	OUT latency_p99 double precision)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'wal2kafka_stat_streams'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

/* Counters of tables, by stream. */
CREATE FUNCTION wal2kafka._tables(
	OUT stream text,
	OUT schema_name text,
	OUT table_name text,
	OUT relid oid,
	OUT events bigint,
	OUT bytes bigint,
	OUT last_change timestamptz,
	OUT key_schema_id integer,
	OUT value_schema_id integer,
	OUT no_identity bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'wal2kafka_stat_tables'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

/* Workers and launcher look at settings and slots when this commits. */
CREATE FUNCTION wal2kafka._wake()
RETURNS void
AS 'MODULE_PATHNAME', 'wal2kafka_wake'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

/*
 * The parts of a stream's name, configured or not; the name as the views show
 * it; and the slot it has unless wal2kafka.slot_name says otherwise.
 */
CREATE FUNCTION wal2kafka._stream_parts(text,
	OUT stream text, OUT database text, OUT role text, OUT slot_name text)
RETURNS record
AS 'MODULE_PATHNAME', 'wal2kafka_stream_parts'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION wal2kafka.restart(stream text)
RETURNS void
AS 'MODULE_PATHNAME', 'wal2kafka_restart'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.restart(text) IS
'start a stream''s worker anew: takes up a new library, releases a held stream';

/* A table's schemas under these settings. */
CREATE FUNCTION wal2kafka._schema_for(
	relation regclass,
	names text[],
	"values" text[],
	OUT topic text,
	OUT key_subject text,
	OUT key_schema json,
	OUT value_subject text,
	OUT value_schema json)
RETURNS record
AS 'MODULE_PATHNAME', 'wal2kafka_schema_for'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION wal2kafka.decode(event bytea)
RETURNS json
AS 'MODULE_PATHNAME', 'wal2kafka_decode'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.decode(bytea) IS
'a binary event of the output plugin (option format=avro) as JSON';

------------------------------------------------------------------------------
-- Streams and their settings
------------------------------------------------------------------------------

/* The stream by the name that the views show; an error if there is none. */
CREATE FUNCTION wal2kafka._configured(stream text,
	OUT name text, OUT database text, OUT role text)
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	SELECT p.stream, p.database, p.role INTO name, database, role
	FROM wal2kafka._stream_parts($1) AS p;
	IF NOT EXISTS (SELECT FROM wal2kafka._streams() AS s
				   WHERE s.stream = name AND s.state <> 'stopped') THEN
		RAISE undefined_object USING
			MESSAGE = format('there is no stream "%s"', name),
			HINT = coalesce((SELECT 'Streams are: '
									|| string_agg(s.stream, ', ') || '.'
							 FROM wal2kafka._streams() AS s
							 WHERE s.state <> 'stopped'),
							'Name it in wal2kafka.streams.');
	END IF;
END
$$;

/* A stream that names no role runs as the bootstrap superuser. */
CREATE FUNCTION wal2kafka._role_of(role text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(role, (SELECT r.rolname::text FROM pg_roles AS r
						   WHERE r.oid = 10))
$$;

/*
 * The settings that a worker of this role in this database gets, and where
 * each comes from.  A value that the caller's own session overrides is looked
 * up in the configuration files, as far as the caller may read them.
 */
CREATE FUNCTION wal2kafka._settings(database text, role text)
RETURNS TABLE (name text, setting text, source text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	files jsonb;
BEGIN
	IF has_function_privilege('pg_show_all_file_settings()', 'EXECUTE') THEN
		SELECT jsonb_object_agg(f.name, f.setting) INTO files
		FROM pg_file_settings AS f
		WHERE f.applied AND f.name LIKE 'wal2kafka.%';
	END IF;

	RETURN QUERY
	WITH stored AS (
		SELECT DISTINCT ON (split_part(c, '=', 1))
			split_part(c, '=', 1) AS name,
			substr(c, strpos(c, '=') + 1) AS setting,
			concat_ws(' in ', 'role ' || r.rolname, 'database ' || d.datname)
			AS source
		FROM pg_db_role_setting AS s
			LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
			LEFT JOIN pg_roles AS r ON r.oid = s.setrole,
			unnest(s.setconfig) AS c
		WHERE c LIKE 'wal2kafka.%'
			AND (s.setdatabase = 0 OR d.datname = $1)
			AND (s.setrole = 0 OR r.rolname = wal2kafka._role_of($2))
		ORDER BY 1, (s.setdatabase <> 0 AND s.setrole <> 0) DESC,
			s.setrole <> 0 DESC, s.setdatabase <> 0 DESC
	)
	SELECT g.name,
		CASE WHEN stored.name IS NOT NULL THEN stored.setting
			WHEN g.source IN ('default', 'configuration file',
							  'command line', 'environment variable')
			THEN current_setting(g.name)
			ELSE coalesce(files ->> g.name, g.boot_val) END,
		coalesce(nullif(stored.source, ''), 'server')
	FROM pg_settings AS g LEFT JOIN stored ON stored.name = g.name
	WHERE g.name LIKE 'wal2kafka.%';
END
$$;

/* One of them. */
CREATE FUNCTION wal2kafka._setting(database text, role text, setting text)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.setting FROM wal2kafka._settings(database, role) AS s
	WHERE s.name = $3
$$;

/*
 * Names and values of what ALTER DATABASE and ALTER ROLE say for a stream:
 * what a session of the caller does not have by itself.
 */
CREATE FUNCTION wal2kafka._stored_settings(database text, role text,
	OUT names text[], OUT "values" text[])
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(s.name ORDER BY s.name), '{}'),
		coalesce(array_agg(s.setting ORDER BY s.name), '{}')
	FROM wal2kafka._settings(database, role) AS s
		JOIN pg_settings AS g ON g.name = s.name
	WHERE s.source <> 'server' AND g.context = 'superuser'
$$;

------------------------------------------------------------------------------
-- Views
------------------------------------------------------------------------------

/*
 * A row a stream, and a row a slot of ours that no stream uses.  What is
 * configured but not in shared memory has not been seen by the launcher.
 */
CREATE VIEW wal2kafka.stat_streams AS
WITH wal AS (
	SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
		ELSE pg_current_wal_flush_lsn() END AS lsn
), oldest AS (
	SELECT t.xid, t.pid
	FROM (SELECT a.backend_xid, a.pid
		  FROM pg_stat_activity AS a WHERE a.backend_xid IS NOT NULL
		  UNION ALL
		  SELECT p.transaction, NULL FROM pg_prepared_xacts AS p)
		AS t (xid, pid)
	ORDER BY age(t.xid) DESC LIMIT 1
), streams AS (
	SELECT * FROM wal2kafka._streams()
)
SELECT
	s.stream,
	s.database,
	s.role,
	s.state,
	s.waiting_for,
	s.pid,
	s.slot_name,
	s.received_lsn,
	s.sent_lsn,
	coalesce(s.acknowledged_lsn, r.confirmed_flush_lsn) AS acknowledged_lsn,
	s.acknowledged_at AS last_acknowledged_at,
	coalesce(s.bytes_behind,
			 greatest(pg_wal_lsn_diff(wal.lsn, r.confirmed_flush_lsn), 0)
			 ::bigint) AS bytes_behind,
	s.seconds_behind,
	pg_wal_lsn_diff(wal.lsn, r.restart_lsn)::bigint AS retained_bytes,
	r.safe_wal_size,
	r.wal_status,
	CASE WHEN r.slot_name IS NOT NULL THEN oldest.xid END AS oldest_xid,
	CASE WHEN r.slot_name IS NOT NULL THEN oldest.pid END AS oldest_xid_pid,
	s.events,
	s.bytes,
	s.transactions,
	s.restarts,
	s.errors,
	s.last_error,
	s.last_error_hint,
	s.last_error_at,
	s.retry_at,
	s.queue_messages,
	s.queue_bytes,
	s.snapshot_tables,
	s.snapshot_tables_done,
	s.snapshot_rows,
	s.latency_p50 AS latency_p50_ms,
	s.latency_p99 AS latency_p99_ms
FROM streams AS s
	LEFT JOIN pg_replication_slots AS r ON r.slot_name::text = s.slot_name
	CROSS JOIN wal
	LEFT JOIN oldest ON true
WHERE s.state <> 'stopped'
UNION ALL
SELECT
	coalesce(s.stream, r.slot_name::text),
	r.database::text,
	s.role,
	'orphaned',
	'nothing',
	NULL,
	r.slot_name::text,
	NULL,
	NULL,
	r.confirmed_flush_lsn,
	NULL,
	greatest(pg_wal_lsn_diff(wal.lsn, r.confirmed_flush_lsn), 0)::bigint,
	NULL,
	pg_wal_lsn_diff(wal.lsn, r.restart_lsn)::bigint,
	r.safe_wal_size,
	r.wal_status,
	oldest.xid,
	oldest.pid,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	NULL, NULL, NULL, NULL
FROM pg_replication_slots AS r
	LEFT JOIN streams AS s ON s.slot_name = r.slot_name::text
	CROSS JOIN wal
	LEFT JOIN oldest ON true
WHERE r.plugin = 'wal2kafka' AND NOT r.temporary AND NOT r.active
	AND (s.stream IS NULL OR s.state = 'stopped');

COMMENT ON VIEW wal2kafka.stat_streams IS
'state, position, lag, errors of each stream, and slots without a stream';

CREATE VIEW wal2kafka.stat_tables AS
SELECT
	t.stream,
	t.schema_name,
	t.table_name,
	t.relid,
	t.events,
	t.bytes,
	t.last_change,
	t.key_schema_id,
	t.value_schema_id,
	t.no_identity
FROM wal2kafka._tables() AS t;

COMMENT ON VIEW wal2kafka.stat_tables IS
'what was sent of each table since the server started';

------------------------------------------------------------------------------
-- Health
------------------------------------------------------------------------------

/*
 * A stream is well when it makes progress, connected or not: everything is
 * acknowledged, or the last acknowledgement is not older than the limit.
 */
CREATE FUNCTION wal2kafka.health(max_seconds_behind integer DEFAULT 60,
	OUT stream text, OUT ok boolean, OUT reason text)
RETURNS SETOF record
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT v.stream, v.problem IS NULL, coalesce(v.problem, v.remark)
	FROM (
		SELECT s.stream,
			CASE
				WHEN s.state = 'orphaned' THEN
					format('no stream uses slot "%s", which retains %s of WAL',
						   s.slot_name, pg_size_pretty(s.retained_bytes))
				WHEN s.wal_status = 'lost' THEN
					format('slot "%s" was invalidated: the WAL that it needs'
						   ' is gone', s.slot_name)
				WHEN s.state IN ('held', 'backoff', 'stopped') THEN
					concat_ws(': ', s.state, s.last_error)
				WHEN s.state = 'paused' THEN 'paused'
				WHEN s.state = 'starting'
					AND s.started_at < clock_timestamp() - f.grace THEN
					concat_ws(': ', 'starting for a long time',
							  'waiting for ' || nullif(s.waiting_for,
													   'nothing'))
				WHEN s.state = 'streaming' AND s.seconds_behind
					> max_seconds_behind AND (s.last_acknowledged_at IS NULL
						OR s.last_acknowledged_at < clock_timestamp()
							- f.grace) THEN
					format('nothing was acknowledged for %s s',
						   round(s.seconds_behind))
					|| coalesce('; waiting for '
								|| nullif(s.waiting_for, 'nothing'), '')
				WHEN s.wal_status = 'unreserved' THEN
					format('slot "%s" is about to lose WAL that it needs',
						   s.slot_name)
			END AS problem,
			CASE
				WHEN s.state = 'snapshot' THEN
					format('snapshot: %s of %s tables, %s rows',
						   s.snapshot_tables_done, s.snapshot_tables,
						   s.snapshot_rows)
				WHEN s.waiting_for <> 'nothing' THEN
					'waiting for ' || s.waiting_for
				WHEN s.seconds_behind > max_seconds_behind THEN
					format('catching up, %s s behind',
						   round(s.seconds_behind))
			END AS remark
		FROM (SELECT v.*, c.started_at
			  FROM wal2kafka.stat_streams AS v
				  LEFT JOIN wal2kafka._streams() AS c USING (stream)) AS s,
			make_interval(secs => max_seconds_behind) AS f (grace)
	) AS v
$$;

COMMENT ON FUNCTION wal2kafka.health(integer) IS
'whether each stream makes progress, and if not, the reason';

------------------------------------------------------------------------------
-- Steering
------------------------------------------------------------------------------

/*
 * ALTER ROLE ... IN DATABASE ... SET, or RESET for a null value: what holds
 * for this stream and no other, and comes before all other places.
 */
CREATE FUNCTION wal2kafka._alter(database text, role text, setting text,
	value text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('ALTER ROLE %I IN DATABASE %I', wal2kafka._role_of(role),
				   database)
		|| CASE WHEN value IS NULL THEN format(' RESET %s', setting)
				ELSE format(' SET %s = %L', setting, value) END;
END
$$;

CREATE FUNCTION wal2kafka.pause(stream text,
	for_interval interval DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record := wal2kafka._configured(stream);
BEGIN
	IF for_interval IS NULL THEN
		PERFORM wal2kafka._alter(s.database, s.role, 'wal2kafka.paused', 'on');
	ELSIF for_interval <= interval '0' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'the interval of a pause must be positive';
	ELSE
		PERFORM wal2kafka._alter(s.database, s.role, 'wal2kafka.paused',
								 NULL);
		PERFORM wal2kafka._alter(
			s.database, s.role, 'wal2kafka.paused_until',
			to_char((clock_timestamp() + for_interval) AT TIME ZONE 'UTC',
					'YYYY-MM-DD HH24:MI:SS.MS"+00"'));
	END IF;
	PERFORM wal2kafka._wake();
END
$$;

COMMENT ON FUNCTION wal2kafka.pause(text, interval) IS
'stop a stream until resume(), or for a time; its slot keeps the WAL';

CREATE FUNCTION wal2kafka.resume(stream text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record := wal2kafka._configured(stream);
	left_over record;
BEGIN
	PERFORM wal2kafka._alter(s.database, s.role, 'wal2kafka.paused', NULL);
	PERFORM wal2kafka._alter(s.database, s.role, 'wal2kafka.paused_until',
							 NULL);

	/* A pause that was set for the whole database, say, is overruled. */
	FOR left_over IN
		SELECT e.name, e.source,
			CASE e.name WHEN 'wal2kafka.paused' THEN 'off' ELSE '' END
			AS value
		FROM wal2kafka._settings(s.database, s.role) AS e
		WHERE e.name = 'wal2kafka.paused' AND e.setting::boolean
			OR e.name = 'wal2kafka.paused_until' AND e.setting <> ''
	LOOP
		RAISE NOTICE '% was set for %; it is overruled for stream "%"',
			left_over.name, left_over.source, s.name;
		PERFORM wal2kafka._alter(s.database, s.role, left_over.name,
								 left_over.value);
	END LOOP;
	PERFORM wal2kafka._wake();
END
$$;

COMMENT ON FUNCTION wal2kafka.resume(text) IS
'end a stream''s pause';

CREATE FUNCTION wal2kafka.drop_stream(stream text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	orphan record;
	s record;
BEGIN
	/* The view names a slot that is not known by its stream by itself. */
	SELECT v.stream, v.slot_name INTO orphan
	FROM wal2kafka.stat_streams AS v
	WHERE v.state = 'orphaned' AND (v.stream = $1 OR v.slot_name = $1)
	ORDER BY v.slot_name = $1 LIMIT 1;

	IF NOT FOUND THEN
		s := wal2kafka._stream_parts(stream);
		IF EXISTS (SELECT FROM wal2kafka._streams() AS c
				   WHERE c.stream = s.stream AND c.state <> 'stopped') THEN
			RAISE object_in_use USING
				MESSAGE = format('stream "%s" is configured', s.stream),
				HINT = 'Remove it from wal2kafka.streams and reload first.';
		END IF;
		SELECT v.stream, v.slot_name INTO orphan
		FROM wal2kafka.stat_streams AS v
		WHERE v.state = 'orphaned' AND v.slot_name IN
			(nullif(wal2kafka._setting(s.database, s.role,
									   'wal2kafka.slot_name'), ''),
			 s.slot_name);
		IF NOT FOUND THEN
			RAISE undefined_object USING
				MESSAGE = format('there is no slot of stream "%s"', s.stream),
				HINT = 'wal2kafka.stat_streams shows slots without a stream as orphaned; a slot''s name may be given too.';
		END IF;
	END IF;
	PERFORM pg_drop_replication_slot(orphan.slot_name);
	PERFORM wal2kafka._wake();
END
$$;

COMMENT ON FUNCTION wal2kafka.drop_stream(text) IS
'drop the slot of a stream that left wal2kafka.streams';
