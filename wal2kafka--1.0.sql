/* wal2kafka--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION wal2kafka" to load this file. \quit

/*
 * Streaming needs nothing of this: it shows and steers.
 *
 * Functions run with the rights of their caller.  None that shows data or
 * changes a stream is executable by PUBLIC; pg_monitor may read the views and
 * call health().  Whoever is granted
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
	OUT latency_p99 double precision,
	OUT incremental_rows bigint,
	OUT incremental_ranges bigint,
	OUT incremental_delay_ms bigint,
	OUT wal_limit bigint,
	OUT wal_exceeded boolean,
	OUT skipped_events bigint,
	OUT dead_letters bigint,
	OUT truncated_events bigint)
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
	OUT no_identity bigint,
	OUT skipped bigint,
	OUT dead_letters bigint,
	OUT truncated bigint)
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

/*
 * What a stream with these settings would select: a row a table; then a row
 * for each regular expression that matches nothing.
 */
CREATE FUNCTION wal2kafka._examine(
	names text[],
	"values" text[],
	OUT relation oid,
	OUT has_key boolean,
	OUT has_identity boolean,
	OUT setting text,
	OUT expression text,
	OUT of_columns boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'wal2kafka_examine'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION wal2kafka.decode(event bytea)
RETURNS json
AS 'MODULE_PATHNAME', 'wal2kafka_decode'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.decode(bytea) IS
'a binary event of the output plugin (option format=avro) as JSON';

/* A slot of ours, just copied from another reader's, is a stream's. */
CREATE FUNCTION wal2kafka._own_slot(name)
RETURNS void
AS 'MODULE_PATHNAME', 'wal2kafka_own_slot'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

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

/* The slot of a stream that has had no worker to say so. */
CREATE FUNCTION wal2kafka._slot_of(stream text, database text, role text)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(nullif(wal2kafka._setting(database, role,
											  'wal2kafka.slot_name'), ''),
					p.slot_name)
	FROM wal2kafka._stream_parts(stream) AS p
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
 * Why the server has invalidated a slot; null: it has not.  From 17 on the
 * server says so itself, before 16 there is only one reason.
 */
CREATE FUNCTION wal2kafka._invalidation(slot pg_replication_slots)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(to_jsonb(slot) ->> 'invalidation_reason',
					CASE WHEN (to_jsonb(slot) ->> 'conflicting')::boolean
						THEN 'conflicting with recovery'
					ELSE 'wal_removed' END)
	WHERE slot.wal_status = 'lost'
$$;

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
	SELECT *, coalesce(slot_name, wal2kafka._slot_of(stream, database, role))
		AS slot
	FROM wal2kafka._streams()
)
SELECT
	s.stream,
	s.database,
	s.role,
	s.state,
	s.waiting_for,
	/* who has the locks, or the slot */
	CASE WHEN s.waiting_for = 'lock' THEN
		coalesce(nullif(pg_blocking_pids(s.pid), '{}'),
				 CASE WHEN r.active_pid <> s.pid THEN ARRAY[r.active_pid] END)
		END AS waiting_for_pids,
	s.pid,
	coalesce(s.slot_name, r.slot_name::text) AS slot_name,
	s.received_lsn,
	s.sent_lsn,
	coalesce(s.acknowledged_lsn, r.confirmed_flush_lsn) AS acknowledged_lsn,
	s.acknowledged_at AS last_acknowledged_at,
	coalesce(s.bytes_behind,
			 greatest(pg_wal_lsn_diff(wal.lsn, r.confirmed_flush_lsn), 0)
			 ::bigint) AS bytes_behind,
	/* before its first acknowledgement: since it has been trying */
	coalesce(s.seconds_behind,
			 CASE WHEN wal.lsn > coalesce(s.acknowledged_lsn,
										  r.confirmed_flush_lsn) THEN extract(
				 epoch FROM clock_timestamp() - s.started_at)
			 ::double precision END) AS seconds_behind,
	pg_wal_lsn_diff(wal.lsn, r.restart_lsn)::bigint AS retained_bytes,
	s.wal_limit AS max_retained_bytes,
	s.wal_exceeded AS max_retained_exceeded,
	r.safe_wal_size,
	r.wal_status,
	wal2kafka._invalidation(r) AS invalidation_reason,
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
	s.incremental_rows,
	s.incremental_ranges,
	s.incremental_delay_ms,
	s.latency_p50 AS latency_p50_ms,
	s.latency_p99 AS latency_p99_ms,
	s.skipped_events,
	s.dead_letters,
	s.truncated_events
FROM streams AS s
	LEFT JOIN pg_replication_slots AS r ON r.slot_name::text = s.slot
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
	NULL,
	r.slot_name::text,
	NULL,
	NULL,
	r.confirmed_flush_lsn,
	NULL,
	greatest(pg_wal_lsn_diff(wal.lsn, r.confirmed_flush_lsn), 0)::bigint,
	NULL,
	pg_wal_lsn_diff(wal.lsn, r.restart_lsn)::bigint,
	NULL,
	NULL,
	r.safe_wal_size,
	r.wal_status,
	wal2kafka._invalidation(r),
	oldest.xid,
	oldest.pid,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM pg_replication_slots AS r
	LEFT JOIN streams AS s ON s.slot = r.slot_name::text
	CROSS JOIN wal
	LEFT JOIN oldest ON true
WHERE r.plugin = 'wal2kafka' AND NOT r.temporary AND NOT r.active
	AND NOT EXISTS (SELECT FROM streams AS u
					WHERE u.slot = r.slot_name::text
						AND u.state <> 'stopped');

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
	t.no_identity,
	t.skipped,
	t.dead_letters,
	t.truncated
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
					format('slot "%s" was invalidated by the server: %s',
						   s.slot_name, s.invalidation_reason)
				WHEN s.state IN ('held', 'backoff', 'stopped') THEN
					concat_ws(': ', s.state, s.last_error)
				WHEN s.state = 'paused' THEN 'paused'
				WHEN s.state = 'starting'
					AND s.started_at < clock_timestamp() - f.grace THEN
					concat_ws(': ', 'starting for a long time',
							  coalesce(f.outage, 'waiting for '
									   || nullif(s.waiting_for, 'nothing')
									   || f.holders))
				WHEN s.state = 'streaming' AND s.seconds_behind
					> max_seconds_behind AND (s.last_acknowledged_at IS NULL
						OR s.last_acknowledged_at < clock_timestamp()
							- f.grace) THEN
					format('nothing was acknowledged for %s s',
						   round(s.seconds_behind))
					|| coalesce('; ' || f.outage, '; waiting for '
								|| nullif(s.waiting_for, 'nothing')
								|| f.holders, '')
				WHEN s.wal_status = 'unreserved' THEN
					format('slot "%s" is about to lose WAL that it needs',
						   s.slot_name)
				WHEN s.max_retained_exceeded THEN
					format('slot "%s" retains %s of WAL, more than'
						   ' wal2kafka.max_retained_wal (%s)', s.slot_name,
						   pg_size_pretty(s.retained_bytes),
						   pg_size_pretty(s.max_retained_bytes))
			END AS problem,
			CASE
				WHEN f.outage IS NOT NULL THEN f.outage
				WHEN s.state = 'snapshot' THEN
					format('snapshot: %s of %s tables, %s rows',
						   s.snapshot_tables_done, s.snapshot_tables,
						   s.snapshot_rows)
				WHEN s.waiting_for <> 'nothing' THEN
					'waiting for ' || s.waiting_for || f.holders
				WHEN s.seconds_behind > max_seconds_behind THEN
					format('catching up, %s s behind',
						   round(s.seconds_behind))
			END AS remark
		FROM (SELECT v.*, c.started_at
			  FROM wal2kafka.stat_streams AS v
				  LEFT JOIN wal2kafka._streams() AS c USING (stream)) AS s,
			LATERAL (SELECT make_interval(secs => max_seconds_behind),
				coalesce(' (held by ' || array_to_string(s.waiting_for_pids,
														 ', ') || ')', ''),
				CASE WHEN s.waiting_for IN ('broker', 'registry')
					AND s.last_error LIKE 'waiting for %' THEN s.last_error END)
				AS f (grace, holders, outage)
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

/*
 * The position of an exactly-once stream in Kafka is this server's from now
 * on, whoever wrote it: for a stream that is held until somebody says so.
 */
CREATE FUNCTION wal2kafka.adopt(stream text)
RETURNS void
AS 'MODULE_PATHNAME', 'wal2kafka_adopt'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.adopt(text) IS
'let an exactly-once stream go on that another server had';

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

/*
 * What a stream will not see of a slot that it takes over, and what the copy
 * does not keep: warnings only.  A publication that was made or altered after
 * the slot's oldest catalog row may not be there yet at the slot's place.
 */
CREATE FUNCTION wal2kafka._warn_adopted(source text, publications text)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	r record;
	p record;
BEGIN
	SELECT s.catalog_xmin, to_jsonb(s) ->> 'failover' AS failover INTO r
	FROM pg_replication_slots AS s WHERE s.slot_name::text = source;
	IF r.failover::boolean THEN
		RAISE WARNING 'slot "%" is synchronized to standbys, the copy is not',
			source;
	END IF;
	FOR p IN
		SELECT i.name, c.oid IS NOT NULL AS there
		FROM wal2kafka._identifiers(publications) AS i (name)
			LEFT JOIN pg_publication AS c ON c.pubname = i.name
		WHERE c.oid IS NULL OR age(c.xmin) <= age(r.catalog_xmin)
	LOOP
		IF p.there THEN
			RAISE WARNING USING
				MESSAGE = format('publication "%s" may be newer than the position of slot "%s"',
								 p.name, source),
				DETAIL = 'Changes from before the publication are not sent.',
				HINT = 'Name the connector''s own publication, or take over when the connector has confirmed what came after the publication was made.';
		ELSE
			RAISE WARNING 'publication "%" does not exist', p.name;
		END IF;
	END LOOP;
END
$$;

/* An error unless it is a slot of Debezium's here that nobody uses. */
CREATE FUNCTION wal2kafka._check_adoptable(debezium_slot name)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	source record;
BEGIN
	SELECT r.* INTO source
	FROM pg_replication_slots AS r WHERE r.slot_name = debezium_slot;
	IF NOT FOUND THEN
		RAISE undefined_object USING
			MESSAGE = format('there is no slot "%s"', debezium_slot),
			HINT = 'It is the connector''s slot.name.';
	ELSIF source.slot_type <> 'logical' THEN
		RAISE wrong_object_type USING
			MESSAGE = format('slot "%s" is a physical slot', debezium_slot);
	ELSIF source.plugin = 'wal2kafka' THEN
		RAISE wrong_object_type USING
			MESSAGE = format('slot "%s" is one of wal2kafka', debezium_slot),
			HINT = 'A stream goes on from it with wal2kafka.slot_name.';
	ELSIF source.plugin NOT IN ('pgoutput', 'decoderbufs') THEN
		RAISE wrong_object_type USING
			MESSAGE = format('slot "%s" uses output plugin %s', debezium_slot,
							 source.plugin),
			DETAIL = 'Debezium''s slots use pgoutput or decoderbufs.';
	ELSIF source.database <> current_database() THEN
		RAISE wrong_object_type USING
			MESSAGE = format('slot "%s" is of database "%s"', debezium_slot,
							 source.database);
	ELSIF source.active THEN
		RAISE object_in_use USING
			MESSAGE = format('slot "%s" is in use by process %s',
							 debezium_slot, source.active_pid),
			HINT = 'Stop the connector first: PUT /connectors/NAME/stop.';
	ELSIF source.wal_status = 'lost' OR source.restart_lsn IS NULL THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('slot "%s" was invalidated: the WAL that it needs is gone',
							 debezium_slot),
			HINT = 'The stream has to begin with a snapshot: set wal2kafka.adopt_topics = on.';
	ELSIF source.confirmed_flush_lsn IS NULL THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('slot "%s" is not complete', debezium_slot);
	END IF;
END
$$;

/*
 * Copy a slot to one of ours at its position, which is returned.  Where the
 * server has a list of trusted output plugins, the word of who may change it
 * is enough, as it is for a worker.
 */
CREATE FUNCTION wal2kafka._copy_slot(source name, target name)
RETURNS pg_lsn
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	libraries constant text :=
		current_setting('output_plugin_libraries', true);
	trust constant boolean := libraries IS NOT NULL
		AND has_parameter_privilege('output_plugin_libraries', 'SET');
	result pg_lsn;
BEGIN
	IF trust THEN
		PERFORM set_config('output_plugin_libraries',
						   concat_ws(', ', nullif(libraries, ''),
									 'wal2kafka'), true);
	END IF;
	SELECT c.lsn INTO result
	FROM pg_copy_logical_replication_slot(source, target, false,
										  'wal2kafka') AS c;
	IF trust THEN
		PERFORM set_config('output_plugin_libraries', libraries, true);
	END IF;
	PERFORM wal2kafka._own_slot(target);
	RETURN result;
END
$$;

/*
 * The copy is not transactional, as no slot is; and it must come before
 * anything that is written in this transaction, or the server refuses it.
 * No exception block either: an error with a slot held must end the command.
 */
CREATE FUNCTION wal2kafka.adopt_slot(debezium_slot name,
	stream text DEFAULT NULL,
	OUT slot_name name, OUT lsn pg_lsn)
RETURNS record
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	state text;
BEGIN
	IF stream IS NULL THEN
		SELECT min(c.stream) INTO stream FROM wal2kafka._streams() AS c
		WHERE c.database = current_database() AND c.state <> 'stopped'
		HAVING count(*) = 1;
		IF stream IS NULL THEN
			RAISE invalid_parameter_value USING
				MESSAGE = 'the stream must be named',
				DETAIL = format('Database "%s" has no stream, or more than one.',
								current_database()),
				HINT = 'Name it as in wal2kafka.streams: adopt_slot(''debezium'', ''database/role'').';
		END IF;
	END IF;
	s := wal2kafka._stream_parts(stream);
	IF s.database <> current_database() THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('stream "%s" is of another database', s.stream),
			HINT = format('Connect to database "%s".', s.database);
	END IF;

	/* A stream that runs without a slot is about to make one. */
	SELECT c.state INTO state FROM wal2kafka._streams() AS c
	WHERE c.stream = s.stream AND c.state <> 'stopped';
	IF state NOT IN ('paused', 'held') THEN
		RAISE object_in_use USING
			MESSAGE = format('stream "%s" is %s', s.stream, state),
			HINT = 'Call wal2kafka.pause() first.';
	END IF;
	slot_name := coalesce(nullif(wal2kafka._setting(s.database, s.role,
													'wal2kafka.slot_name'), ''),
						  s.slot_name);
	IF EXISTS (SELECT FROM pg_replication_slots AS r
			   WHERE r.slot_name = adopt_slot.slot_name) THEN
		RAISE duplicate_object USING
			MESSAGE = format('stream "%s" has a slot already: "%s"', s.stream,
							 slot_name),
			HINT = 'If nothing of it is needed, drop it with pg_drop_replication_slot() while the stream is paused.';
	END IF;

	PERFORM wal2kafka._check_adoptable(debezium_slot);
	lsn := wal2kafka._copy_slot(debezium_slot, slot_name);
	PERFORM wal2kafka._warn_adopted(
		debezium_slot,
		wal2kafka._setting(s.database, s.role, 'wal2kafka.publication_name'));
	RAISE NOTICE USING
		MESSAGE = format('stream "%s" goes on at %s with slot "%s"',
						 s.stream, lsn, slot_name),
		HINT = format('Slot "%s" is still there and retains WAL: drop it when the connector will not come back to it.',
					  debezium_slot);
	IF state = 'held' THEN
		PERFORM wal2kafka.restart(s.stream);
	END IF;
	PERFORM wal2kafka._wake();
END
$$;

COMMENT ON FUNCTION wal2kafka.adopt_slot(name, text) IS
'take over from a Debezium connector, at the position of its slot';

------------------------------------------------------------------------------
-- Snapshots
------------------------------------------------------------------------------

/*
 * Asking for one is part of the transaction, and durable when that is.  It
 * waits for the stream's worker, which may be away.
 */
CREATE FUNCTION wal2kafka.snapshot("table" text, predicate text DEFAULT NULL,
	stream text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'wal2kafka_snapshot'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.snapshot(text, text, text) IS
'send all rows of a table again, while it is streamed';

CREATE FUNCTION wal2kafka.snapshot(tables text[], predicate text DEFAULT NULL,
	stream text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'wal2kafka_snapshot_of_tables'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.snapshot(text[], text, text) IS
'send all rows of tables again, while they are streamed';

CREATE FUNCTION wal2kafka.pause_snapshot(id text DEFAULT NULL,
	stream text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'wal2kafka_pause_snapshot'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.pause_snapshot(text, text) IS
'let a snapshot rest, or all of a stream; changes go on';

CREATE FUNCTION wal2kafka.resume_snapshot(id text DEFAULT NULL,
	stream text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'wal2kafka_resume_snapshot'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.resume_snapshot(text, text) IS
'go on with a snapshot, or all of a stream';

CREATE FUNCTION wal2kafka.cancel_snapshot(id text DEFAULT NULL,
	stream text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'wal2kafka_cancel_snapshot'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.cancel_snapshot(text, text) IS
'end a snapshot, or all of a stream, where it is';

/* What the files of a slot say: a row a table and snapshot. */
CREATE FUNCTION wal2kafka._snapshots(slot_name name,
	OUT snapshot text,
	OUT number bigint,
	OUT kind text,
	OUT relid oid,
	OUT "table" text,
	OUT predicate text,
	OUT state text,
	OUT rows_estimated bigint,
	OUT rows_done bigint,
	OUT ranges bigint,
	OUT active_ms bigint,
	OUT requested_at timestamptz,
	OUT started_at timestamptz,
	OUT ended_at timestamptz,
	OUT error text,
	OUT remedy text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'wal2kafka_snapshots'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

CREATE VIEW wal2kafka.stat_snapshots AS
SELECT
	s.stream,
	r.slot_name::text AS slot_name,
	t.snapshot,
	t.number,
	t.kind,
	t."table",
	t.predicate,
	t.state,
	t.rows_estimated,
	t.rows_done,
	t.ranges,
	round(t.rows_done * 1000.0 / nullif(t.active_ms, 0), 1)::double precision
		AS rows_per_second,
	CASE WHEN t.state IN ('waiting', 'reading') AND t.rows_done > 0
		AND t.rows_estimated >= t.rows_done THEN
		make_interval(secs => (t.rows_estimated - t.rows_done) * t.active_ms
					  / 1000.0::double precision / t.rows_done)
		END AS time_left,
	/* old transactions, or who alters the table */
	CASE WHEN t.state = 'reading' THEN (
		SELECT array_agg(DISTINCT b.pid)
		FROM pg_stat_activity AS a JOIN pg_locks AS l ON l.pid = a.pid,
			unnest(pg_blocking_pids(a.pid)) AS b (pid)
		WHERE a.backend_type = 'wal2kafka snapshot reader'
			AND l.locktype = 'relation' AND l.relation = t.relid
			AND l.database = r.datoid) END AS waiting_for_pids,
	t.requested_at,
	t.started_at,
	t.ended_at,
	t.error,
	t.remedy
FROM pg_replication_slots AS r
	CROSS JOIN LATERAL wal2kafka._snapshots(r.slot_name) AS t
	LEFT JOIN LATERAL (
		SELECT c.stream FROM wal2kafka._streams() AS c
		WHERE r.slot_name::text = coalesce(
			c.slot_name, wal2kafka._slot_of(c.stream, c.database, c.role))
		ORDER BY c.state = 'stopped' LIMIT 1) AS s ON true
WHERE r.plugin = 'wal2kafka' AND NOT r.temporary;

COMMENT ON VIEW wal2kafka.stat_snapshots IS
'progress of snapshots, a row a table; what was asked for and what is over';

------------------------------------------------------------------------------
-- Loading history otherwise, and checking topics
------------------------------------------------------------------------------

/*
 * The snapshot is exported, and lasts as long as the caller's transaction.
 * It sees what was committed before lsn; records of what was committed behind
 * it are at these offsets of the topics, or later.
 */
CREATE FUNCTION wal2kafka.preload_point(stream text DEFAULT NULL,
	OUT snapshot_name text,
	OUT lsn pg_lsn,
	OUT at timestamptz,
	OUT offsets jsonb)
RETURNS record
AS 'MODULE_PATHNAME', 'wal2kafka_preload_point'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.preload_point(text) IS
'a snapshot to load tables from, and where to read the topics from then';

CREATE FUNCTION wal2kafka.verify("table" text, stream text DEFAULT NULL,
	OUT verdict text,
	OUT reason text,
	OUT lsn pg_lsn,
	OUT rows bigint,
	OUT keys bigint,
	OUT passes integer,
	OUT differences jsonb)
RETURNS record
AS 'MODULE_PATHNAME', 'wal2kafka_verify'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION wal2kafka.verify(text, text) IS
'whether a table''s topic is what the table is: equal, different, unknown';

------------------------------------------------------------------------------
-- Looking at events and schemas
------------------------------------------------------------------------------

/* The streams by name, slot and place; none where nothing is preloaded. */
CREATE FUNCTION wal2kafka._stream_list(
	OUT stream text, OUT database text, OUT role text, OUT slot_name text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY SELECT s.stream, s.database, s.role, s.slot_name
		FROM wal2kafka._streams() AS s WHERE s.state <> 'stopped';
EXCEPTION
	WHEN object_not_in_prerequisite_state THEN
		RETURN;
END
$$;

/*
 * A slot in use is copied: the copy begins where the slot's last confirmed
 * position is, and goes away at the end.  Where a stream has the slot, its
 * settings shape the events, as far as the caller may set them.
 */
CREATE FUNCTION wal2kafka.peek(slot text, n integer DEFAULT 10,
	OUT lsn pg_lsn, OUT xid xid, OUT event json)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	copy constant name := 'wal2kafka_peek_' || pg_backend_pid();
	source record;
	found_stream record;
	stored record;
	setting record;
	before jsonb := '{}';
BEGIN
	IF n < 1 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'the number of events must be positive';
	END IF;
	SELECT s.* INTO found_stream FROM wal2kafka._stream_list() AS s
	WHERE slot IN (s.stream, s.slot_name);
	SELECT r.* INTO source FROM pg_replication_slots AS r
	WHERE r.slot_name::text = coalesce(found_stream.slot_name, slot);
	IF NOT FOUND THEN
		RAISE undefined_object USING
			MESSAGE = format('there is no slot "%s"', slot);
	ELSIF source.plugin IS DISTINCT FROM 'wal2kafka' THEN
		RAISE wrong_object_type USING
			MESSAGE = format('slot "%s" does not use output plugin wal2kafka',
							 slot);
	END IF;

	stored := wal2kafka._stored_settings(found_stream.database,
										 found_stream.role);
	FOR setting IN
		SELECT s.name, s.value FROM unnest(stored.names, stored.values)
			AS s (name, value)
		WHERE found_stream.stream IS NOT NULL
			AND has_parameter_privilege(s.name, 'SET')
	LOOP
		before := before || jsonb_build_object(
			setting.name, current_setting(setting.name));
		PERFORM set_config(setting.name, setting.value, true);
	END LOOP;

	IF source.active THEN
		PERFORM pg_copy_logical_replication_slot(source.slot_name, copy,
												 true);
	END IF;
	RETURN QUERY SELECT c.lsn, c.xid, c.data::json
		FROM pg_logical_slot_peek_changes(
			CASE WHEN source.active THEN copy ELSE source.slot_name END,
			NULL, n) AS c
		LIMIT n;
	IF source.active THEN
		PERFORM pg_drop_replication_slot(copy);
	END IF;

	PERFORM set_config(b.key, b.value, true)
	FROM jsonb_each_text(before) AS b;
END
$$;

COMMENT ON FUNCTION wal2kafka.peek(text, integer) IS
'the next events of a slot or stream as JSON; consumes nothing';

CREATE FUNCTION wal2kafka.schema_for(relation regclass,
	stream text DEFAULT NULL,
	OUT topic text, OUT key_subject text, OUT key_schema json,
	OUT value_subject text, OUT value_schema json)
RETURNS record
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts record;
	stored record;
BEGIN
	IF relation IS NULL THEN
		RAISE null_value_not_allowed USING
			MESSAGE = 'the table must not be null';
	END IF;
	IF stream IS NOT NULL THEN
		parts := wal2kafka._stream_parts(stream);
	ELSE
		/* the stream of this database, if there is one and no more */
		SELECT min(s.stream) AS stream, min(s.database) AS database,
			min(s.role) AS role INTO parts
		FROM wal2kafka._stream_list() AS s
		WHERE s.database = current_database() HAVING count(*) = 1;
	END IF;
	IF parts.database <> current_database() THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('stream "%s" is of another database',
							 parts.stream);
	END IF;

	IF parts.stream IS NOT NULL THEN
		stored := wal2kafka._stored_settings(parts.database, parts.role);
	ELSE
		SELECT '{}'::text[] AS names, '{}'::text[] AS values INTO stored;
	END IF;
	SELECT s.* INTO topic, key_subject, key_schema, value_subject,
		value_schema
	FROM wal2kafka._schema_for(relation, stored.names, stored.values) AS s;
END
$$;

COMMENT ON FUNCTION wal2kafka.schema_for(regclass, text) IS
'topic, subjects and Avro schemas that a table has, or would have';

------------------------------------------------------------------------------
-- What a newcomer would trip over
------------------------------------------------------------------------------

CREATE TYPE wal2kafka._finding AS (
	severity text,
	object text,
	problem text,
	remedy text
);

/* Orphaned slots; none where nothing is preloaded. */
CREATE FUNCTION wal2kafka._orphans(
	OUT stream text, OUT slot_name text, OUT retained_bytes bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY SELECT v.stream, v.slot_name, v.retained_bytes
		FROM wal2kafka.stat_streams AS v WHERE v.state = 'orphaned';
EXCEPTION
	WHEN object_not_in_prerequisite_state THEN
		RETURN;
END
$$;

/* A list of identifiers, folded unless they are quoted. */
CREATE FUNCTION wal2kafka._identifiers(list text)
RETURNS SETOF text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN m[1] LIKE '"%'
			THEN replace(substr(m[1], 2, length(m[1]) - 2), '""', '"')
			ELSE lower(m[1]) END
	FROM regexp_matches(list, '("(?:[^"]|"")+"|[^",[:space:]]+)', 'g') AS m
$$;

/* Settings of the server that decoding depends on. */
CREATE FUNCTION wal2kafka._check_server(slot text)
RETURNS SETOF wal2kafka._finding
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'error', 'wal_level', 'it is ' || current_setting('wal_level'),
		'Set wal_level = logical in postgresql.conf and restart the server.'
	WHERE current_setting('wal_level') <> 'logical'
	UNION ALL
	SELECT 'error', 'max_replication_slots', 'all slots are in use',
		'Raise max_replication_slots and restart the server, or drop a slot that nobody needs.'
	WHERE (SELECT count(*) FROM pg_replication_slots)
		>= current_setting('max_replication_slots')::int
		AND NOT EXISTS (SELECT FROM pg_replication_slots AS r
						WHERE r.slot_name::text = slot)
	UNION ALL
	SELECT 'warning', 'max_wal_senders', 'it is 0: nothing wakes the worker at a flush of WAL, so it looks every 20 ms',
		'Set max_wal_senders = 1 or more and restart the server.'
	WHERE current_setting('max_wal_senders')::int = 0
		AND current_setting('server_version_num')::int >= 160000
	UNION ALL
	SELECT 'warning', 'output_plugin_libraries', 'wal2kafka is not listed: the stream works, but SQL functions, pg_recvlogical and pg_upgrade refuse the plugin',
		format('Set output_plugin_libraries = ''%s'' in postgresql.conf and reload.',
			   concat_ws(', ', nullif(current_setting('output_plugin_libraries'), ''), 'wal2kafka'))
	WHERE NOT 'wal2kafka' = ANY (regexp_split_to_array(
		coalesce(current_setting('output_plugin_libraries', true),
				 'wal2kafka'), '[", ]+'))
	UNION ALL
	SELECT 'info', 'max_slot_wal_keep_size', 'there is no limit: while a stream is stopped, WAL may fill the disk',
		'Set max_slot_wal_keep_size to what the disk can spare: beyond it the slot is invalidated and the stream needs a new snapshot.'
	WHERE current_setting('max_slot_wal_keep_size') = '-1'
	UNION ALL
	SELECT 'error', r.slot_name::text,
		CASE WHEN r.plugin IS DISTINCT FROM 'wal2kafka'
			THEN 'the slot''s output plugin is ' || coalesce(r.plugin, 'none: it is a physical slot')
			ELSE 'the slot is of database ' || r.database END,
		'Set wal2kafka.slot_name to another name, or drop the slot.'
	FROM pg_replication_slots AS r
	WHERE r.slot_name::text = slot
		AND (r.plugin IS DISTINCT FROM 'wal2kafka'
			 OR r.database <> current_database())
	UNION ALL
	SELECT 'error', r.slot_name::text, 'the slot was invalidated by the server: ' || wal2kafka._invalidation(r),
		'Drop the slot with pg_drop_replication_slot() and call wal2kafka.restart(): the stream begins anew with a snapshot.'
	FROM pg_replication_slots AS r
	WHERE r.slot_name::text = slot AND r.wal_status = 'lost'
	UNION ALL
	SELECT 'warning', v.slot_name, format('no stream uses the slot, which retains %s of WAL', pg_size_pretty(v.retained_bytes)),
		format('Drop it with wal2kafka.drop_stream(%L).', v.stream)
	FROM wal2kafka._orphans() AS v
$$;

/* Refused settings in configuration files, for who may read those. */
CREATE FUNCTION wal2kafka._check_files()
RETURNS SETOF wal2kafka._finding
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF has_function_privilege('pg_show_all_file_settings()', 'EXECUTE') THEN
		RETURN QUERY
			SELECT 'error', f.name, format('line %s of %s: %s', f.sourceline,
										   f.sourcefile, f.error),
				'Correct the line and reload.'
			FROM pg_file_settings AS f
			WHERE f.name LIKE 'wal2kafka.%' AND f.error IS NOT NULL;
	END IF;
END
$$;

/* The role that a stream runs as. */
CREATE FUNCTION wal2kafka._check_role(role text, settings jsonb)
RETURNS SETOF wal2kafka._finding
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'error', 'wal2kafka.streams', 'the stream names no role, so it would run as a superuser',
		'Name a role with LOGIN and REPLICATION after the database, as in "shop/cdc", or set wal2kafka.allow_superuser = on.'
	WHERE role IS NULL
		AND NOT (settings ->> 'wal2kafka.allow_superuser')::boolean
	UNION ALL
	SELECT 'error', role, 'the role does not exist',
		format('CREATE ROLE %I LOGIN REPLICATION;', role)
	WHERE role IS NOT NULL
		AND NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role)
	UNION ALL
	SELECT 'error', role, 'the role may not log in',
		format('ALTER ROLE %I LOGIN;', role)
	FROM pg_roles AS r WHERE r.rolname = role AND NOT r.rolcanlogin
	UNION ALL
	SELECT 'error', role, 'the role lacks REPLICATION',
		format('ALTER ROLE %I REPLICATION;', role)
	FROM pg_roles AS r
	WHERE r.rolname = role AND NOT (r.rolreplication OR r.rolsuper)
	UNION ALL
	SELECT 'error', role, 'the role may not connect to the database',
		format('GRANT CONNECT ON DATABASE %I TO %I;', current_database(),
			   role)
	FROM pg_roles AS r
	WHERE r.rolname = role
		AND NOT has_database_privilege(r.oid, current_database(), 'CONNECT')
$$;

/* Settings of the stream. */
CREATE FUNCTION wal2kafka._check_settings(settings jsonb)
RETURNS SETOF wal2kafka._finding
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'error', 'wal2kafka.bootstrap_servers', 'it is not set',
		'Set it to the address of a Kafka broker, such as ''localhost:9092''.'
	WHERE settings ->> 'wal2kafka.bootstrap_servers' = ''
	UNION ALL
	SELECT 'info', 'wal2kafka.schema_registry_url', 'it is not set: values are in Avro''s single-object encoding, which few consumers read without help',
		'Set it to a Confluent-compatible schema registry, with its path, if there is one.'
	WHERE settings ->> 'wal2kafka.schema_registry_url' = ''
	UNION ALL
	SELECT 'error', p.name, 'the publication does not exist in this database',
		format('CREATE PUBLICATION %I FOR ...;', p.name)
	FROM wal2kafka._identifiers(settings ->> 'wal2kafka.publication_name')
		AS p (name)
	WHERE NOT EXISTS (SELECT FROM pg_publication AS c
					  WHERE c.pubname::text = p.name)
	UNION ALL
	SELECT 'warning', 'wal2kafka.max_retained_wal', format('max_slot_wal_keep_size, %s, is not larger: beyond it the server invalidates the slot, whatever wal2kafka.max_retained_wal_action says',
			   current_setting('max_slot_wal_keep_size')),
		'Raise max_slot_wal_keep_size, or lower wal2kafka.max_retained_wal.'
	FROM (SELECT settings ->> 'wal2kafka.max_retained_wal') AS g (size)
	WHERE current_setting('max_slot_wal_keep_size') <> '-1'
		AND pg_size_bytes(regexp_replace(g.size, '^\s*\d+\s*$', '\&MB'))
			>= pg_size_bytes(current_setting('max_slot_wal_keep_size'))
$$;

/* Tables that a stream with these publications selects now. */
CREATE FUNCTION wal2kafka._selected(publications text)
RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.oid FROM pg_class AS c
	WHERE coalesce(publications, '') = '' AND c.relkind = 'r'
		AND c.relpersistence <> 't' AND c.oid >= 16384
		AND c.relnamespace NOT IN ('pg_catalog'::regnamespace,
								   'information_schema'::regnamespace)
	UNION
	SELECT format('%I.%I', p.schemaname, p.tablename)::regclass
	FROM pg_publication_tables AS p
		JOIN wal2kafka._identifiers(publications) AS n (name)
		ON n.name = p.pubname::text
$$;

/*
 * What is known of their keys.  A table is keyed by its primary key, or by a
 * unique index under which no two rows can ever be equal.  examined, if not
 * null, has what lists of regular expressions let pass, and what they key.
 */
CREATE FUNCTION wal2kafka._table_facts(publications text, examined jsonb,
	OUT relid oid, OUT name text, OUT unlogged boolean, OUT identity "char",
	OUT identified boolean, OUT keyed boolean)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.oid, format('%I.%I', s.nspname, c.relname),
		c.relpersistence = 'u', c.relreplident,
		CASE c.relreplident
			WHEN 'f' THEN true
			WHEN 'n' THEN false
			WHEN 'i' THEN EXISTS (SELECT FROM pg_index AS i
								  WHERE i.indrelid = c.oid
									  AND i.indisreplident AND i.indisvalid)
			ELSE EXISTS (SELECT FROM pg_index AS i
						 WHERE i.indrelid = c.oid AND i.indisprimary
							 AND i.indimmediate)
		END,
		coalesce((examined #>> ARRAY[c.oid::text, 'key'])::boolean, EXISTS (
				SELECT FROM pg_index AS i
				WHERE i.indrelid = c.oid AND (i.indisprimary
					OR i.indisunique AND i.indisvalid AND i.indimmediate
					AND i.indpred IS NULL AND i.indexprs IS NULL
					AND (i.indnullsnotdistinct OR (
						SELECT bool_and(a.attnotnull)
						FROM generate_series(0, i.indnkeyatts - 1) AS k
							JOIN pg_attribute AS a ON a.attrelid = c.oid
							AND a.attnum = i.indkey[k])))))
	FROM wal2kafka._selected(publications) AS t (oid)
		JOIN pg_class AS c ON c.oid = t.oid
		JOIN pg_namespace AS s ON s.oid = c.relnamespace
	WHERE examined IS NULL OR examined ? c.oid::text
		OR c.relpersistence = 'u'
$$;

/* Tables: identity, key, types, and what the snapshot needs. */
CREATE FUNCTION wal2kafka._check_tables(publications text, settings jsonb,
	examined jsonb)
RETURNS SETOF wal2kafka._finding
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH tables AS MATERIALIZED (
		SELECT * FROM wal2kafka._table_facts(publications, examined)
	)
	SELECT 'warning', t.name, 'the table is unlogged: its changes are not in the WAL',
		format('ALTER TABLE %s SET LOGGED;', t.name)
	FROM tables AS t WHERE t.unlogged
	UNION ALL
	SELECT CASE settings ->> 'wal2kafka.replica_identity_missing'
			WHEN 'fail' THEN 'error' ELSE 'warning' END,
		t.name, CASE
			WHEN publications <> ''
				THEN 'no replica identity: the server refuses UPDATE and DELETE, if the publication publishes them'
			WHEN settings ->> 'wal2kafka.replica_identity_missing' = 'fail'
				THEN 'no replica identity: an UPDATE or DELETE stops the stream'
			WHEN settings ->> 'wal2kafka.replica_identity_missing' = 'skip'
				THEN 'no replica identity: UPDATE and DELETE are not sent'
			ELSE 'no replica identity: UPDATE and DELETE do not say which row, and have a null key' END,
		format('Add a primary key, or: ALTER TABLE %s REPLICA IDENTITY FULL;',
			   t.name)
	FROM tables AS t WHERE NOT t.identified AND NOT t.unlogged
	UNION ALL
	SELECT 'warning', t.name, 'no primary key, and no unique index that could take its place: records have a null key, so the changes of a row are spread over the partitions and the topic cannot be compacted',
		'Add a primary key.'
	FROM tables AS t WHERE NOT t.keyed AND NOT t.unlogged
	UNION ALL
	SELECT 'warning', t.name, 'the replica identity does not have all columns of the key: a DELETE has a null key, and an UPDATE that changes the key leaves the old one behind',
		format('ALTER TABLE %s REPLICA IDENTITY FULL; or key the table by columns of its replica identity.',
			   t.name)
	FROM tables AS t
	WHERE t.identified AND t.keyed
		AND NOT (examined #>> ARRAY[t.relid::text, 'identity'])::boolean
	UNION ALL
	SELECT 'info', t.name, 'the replica identity is not FULL: "before" of an UPDATE is null, which Flink''s debezium formats refuse',
		format('For such consumers: ALTER TABLE %s REPLICA IDENTITY FULL;',
			   t.name)
	FROM tables AS t
	WHERE t.identity <> 'f' AND t.identified AND NOT t.unlogged
	UNION ALL
	SELECT 'info', t.name || '.' || quote_ident(a.attname), 'money has precision 64 in Avro, which makes the whole topic unreadable for Spark',
		'For Spark, use numeric(p,s) with p up to 38, or leave the column out of the publication.'
	FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.relid
		LEFT JOIN pg_type AS y ON y.oid = a.atttypid
	WHERE a.attnum > 0 AND NOT a.attisdropped
		AND 'money'::regtype IN (y.oid, y.typbasetype, y.typelem)
	UNION ALL
	SELECT 'error', 'wal2kafka.guardrail_collections_max', format('%s tables are selected, the limit is %s: the stream is held', n.tables, settings ->> 'wal2kafka.guardrail_collections_max'),
		'Name a publication in wal2kafka.publication_name, or raise the limit.'
	FROM (SELECT count(*) AS tables FROM tables AS t) AS n
	WHERE n.tables > nullif(settings ->> 'wal2kafka.guardrail_collections_max', '0')::int
	UNION ALL
	SELECT 'warning', coalesce(nullif(publications, ''), 'wal2kafka.publication_name'), 'no table is selected',
		'Add tables to the publication.'
	WHERE NOT EXISTS (SELECT FROM tables AS t)
$$;

/* What the role must be able to read, if the tables' rows are to be sent. */
CREATE FUNCTION wal2kafka._check_snapshot(role text, publications text,
	examined jsonb)
RETURNS SETOF wal2kafka._finding
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH tables AS MATERIALIZED (
		SELECT t.name, c.oid, c.relnamespace, c.relrowsecurity, r.oid AS role,
			r.rolbypassrls OR r.rolsuper AS bypass, c.relowner
		FROM wal2kafka._table_facts(publications, examined) AS t
			JOIN pg_class AS c ON c.oid = t.relid,
			pg_roles AS r
		WHERE r.rolname = $1 AND NOT t.unlogged
	)
	SELECT DISTINCT 'error', t.relnamespace::regnamespace::text, 'the role lacks USAGE on the schema, so the snapshot fails',
		format('GRANT USAGE ON SCHEMA %s TO %I;',
			   t.relnamespace::regnamespace, $1)
	FROM tables AS t
	WHERE NOT has_schema_privilege(t.role, t.relnamespace, 'USAGE')
	UNION ALL
	SELECT 'error', t.name, 'the role may not read the table, so the snapshot fails',
		format('GRANT SELECT ON %s TO %I; or set wal2kafka.snapshot_mode = no_data.',
			   t.name, $1)
	FROM tables AS t
	WHERE NOT has_table_privilege(t.role, t.oid, 'SELECT')
	UNION ALL
	SELECT 'warning', t.name, 'row-level security hides rows of the table from the role''s snapshot, but not from its stream',
		format('ALTER ROLE %I BYPASSRLS; or leave the table out.', $1)
	FROM tables AS t
	WHERE t.relrowsecurity AND NOT t.bypass
		AND NOT pg_has_role(t.role, t.relowner, 'USAGE')
$$;

/* Partitions whose changes are not in the WAL. */
CREATE FUNCTION wal2kafka._check_partitions(publications text)
RETURNS SETOF wal2kafka._finding
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'warning', c.oid::regclass::text, 'the partition is a foreign table: neither its rows nor its changes are sent',
		'Let a stream of the server that has the table send it.'
	FROM pg_class AS c, pg_partition_root(c.oid) AS r (root)
	WHERE c.relkind = 'f' AND c.relispartition
		AND (coalesce(publications, '') = ''
			OR r.root IN (SELECT * FROM wal2kafka._selected(publications))
			OR EXISTS (SELECT FROM wal2kafka._selected(publications) AS t (oid)
					   WHERE pg_partition_root(t.oid) = r.root))
$$;

/* Tables whose last snapshot failed. */
CREATE FUNCTION wal2kafka._check_progress(slot text)
RETURNS SETOF wal2kafka._finding
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'warning', coalesce(t."table", slot),
		CASE WHEN t.state = 'damaged' THEN t.error
			ELSE 'its snapshot failed: ' || t.error END, t.remedy
	FROM (SELECT DISTINCT ON (p."table") p.*
		  FROM wal2kafka._snapshots(slot::name) AS p
		  ORDER BY p."table", p.requested_at DESC) AS t
	WHERE t.state IN ('failed', 'damaged')
$$;

/* Whether the stream is there, and what it says itself. */
CREATE FUNCTION wal2kafka._check_state(stream text)
RETURNS SETOF wal2kafka._finding
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY
		SELECT 'error', s.stream, concat_ws(': ', s.state, s.last_error),
			s.last_error_hint
		FROM wal2kafka._streams() AS s
		WHERE s.stream = $1 AND s.state IN ('held', 'backoff')
		UNION ALL
		SELECT 'warning', s.stream, format('the slot retains more than %s of WAL',
				   pg_size_pretty(s.wal_limit)),
			'See wal2kafka.health() for what the stream waits for, and wal2kafka.max_retained_wal.'
		FROM wal2kafka._streams() AS s
		WHERE s.stream = $1 AND s.wal_exceeded;
	IF NOT EXISTS (SELECT FROM wal2kafka._streams() AS s
				   WHERE s.stream = $1 AND s.state <> 'stopped') THEN
		RETURN QUERY SELECT 'warning', $1, 'the stream is not configured',
			format('Add %s to wal2kafka.streams and reload.', $1);
	END IF;
EXCEPTION
	WHEN object_not_in_prerequisite_state THEN
		RETURN QUERY SELECT 'error', 'shared_preload_libraries',
			'the server has not loaded wal2kafka',
			'Add wal2kafka to shared_preload_libraries in postgresql.conf and restart the server.';
END
$$;

/*
 * What the stream would find at its start: findings, and what passes its
 * lists, by relation (null where that cannot be said).
 */
CREATE FUNCTION wal2kafka._check_lists(database text, role text,
	settings jsonb, OUT findings wal2kafka._finding[], OUT examined jsonb)
RETURNS record
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	stored record := wal2kafka._stored_settings(database, role);
	message text;
	hint text;
BEGIN
	IF EXISTS (
		SELECT FROM wal2kafka._identifiers(settings ->> 'wal2kafka.publication_name') AS p (name)
		WHERE NOT EXISTS (SELECT FROM pg_publication AS c
						  WHERE c.pubname::text = p.name)) THEN
		RETURN;
	END IF;
	SELECT coalesce(jsonb_object_agg(e.relation, jsonb_build_object(
				'key', e.has_key, 'identity', e.has_identity))
			FILTER (WHERE e.relation IS NOT NULL), '{}'),
		array_agg(('warning', e.setting,
				format('"%s" matches no %s that is selected', e.expression,
					   CASE WHEN e.of_columns THEN 'column' ELSE 'table' END),
				format('Expressions match whole names, such as %s, without regard to case.',
					   CASE WHEN e.of_columns THEN 'schema.table.column'
					   ELSE 'schema.table' END))::wal2kafka._finding)
			FILTER (WHERE e.setting IS NOT NULL)
	INTO examined, findings
	FROM wal2kafka._examine(stored.names, stored.values) AS e;
EXCEPTION
	WHEN insufficient_privilege OR object_not_in_prerequisite_state THEN
		NULL;
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
			hint = PG_EXCEPTION_HINT;
		findings := ARRAY[('error', 'tables', message, hint)::wal2kafka._finding];
END
$$;

CREATE FUNCTION wal2kafka.check(stream text,
	OUT severity text, OUT object text, OUT problem text, OUT remedy text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record := wal2kafka._stream_parts(stream);
	settings jsonb;
	publications text;
	slot text;
	lists record;
BEGIN
	IF s.database <> current_database() THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('stream "%s" is of another database', s.stream),
			HINT = format('Connect to database "%s".', s.database);
	END IF;
	SELECT jsonb_object_agg(e.name, e.setting) INTO settings
	FROM wal2kafka._settings(s.database, s.role) AS e;
	publications := settings ->> 'wal2kafka.publication_name';
	slot := coalesce(nullif(settings ->> 'wal2kafka.slot_name', ''),
					 s.slot_name);

	lists := wal2kafka._check_lists(s.database, s.role, settings);

	RETURN QUERY
	SELECT f.* FROM (
		SELECT * FROM unnest(lists.findings)
		UNION ALL
		SELECT * FROM wal2kafka._check_state(s.stream)
		UNION ALL
		SELECT * FROM wal2kafka._check_server(slot)
		UNION ALL
		SELECT * FROM wal2kafka._check_files()
		UNION ALL
		SELECT * FROM wal2kafka._check_role(s.role, settings)
		UNION ALL
		SELECT * FROM wal2kafka._check_settings(settings)
		UNION ALL
		SELECT * FROM wal2kafka._check_tables(publications, settings,
			lists.examined)
		UNION ALL
		SELECT * FROM wal2kafka._check_progress(slot)
		UNION ALL
		SELECT * FROM wal2kafka._check_partitions(publications)
		UNION ALL
		SELECT * FROM wal2kafka._check_snapshot(s.role, publications,
			lists.examined)
		WHERE settings ->> 'wal2kafka.snapshot_mode'
			NOT IN ('no_data', 'never')
			AND NOT EXISTS (SELECT FROM pg_replication_slots AS r
							WHERE r.slot_name::text = slot)
	) AS f
	ORDER BY array_position('{error,warning,info}', f.severity), f.object,
		f.problem;
END
$$;

COMMENT ON FUNCTION wal2kafka.check(text) IS
'what would keep a stream, or consumers of its topics, from working';

------------------------------------------------------------------------------
-- Privileges
------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA wal2kafka TO PUBLIC;

/*
 * What shows data, changes a stream or makes it busy.  The other functions do
 * nothing that their caller could not do without them.
 */
REVOKE ALL ON FUNCTION
	wal2kafka._own_slot(name),
	wal2kafka._wake(),
	wal2kafka._streams(),
	wal2kafka._tables(),
	wal2kafka._schema_for(regclass, text[], text[]),
	wal2kafka._examine(text[], text[]),
	wal2kafka.health(integer),
	wal2kafka.check(text),
	wal2kafka.pause(text, interval),
	wal2kafka.resume(text),
	wal2kafka.restart(text),
	wal2kafka.drop_stream(text),
	wal2kafka.adopt(text),
	wal2kafka.adopt_slot(name, text),
	wal2kafka._snapshots(name),
	wal2kafka.snapshot(text, text, text),
	wal2kafka.snapshot(text[], text, text),
	wal2kafka.pause_snapshot(text, text),
	wal2kafka.resume_snapshot(text, text),
	wal2kafka.cancel_snapshot(text, text),
	wal2kafka.preload_point(text),
	wal2kafka.verify(text, text),
	wal2kafka.peek(text, integer),
	wal2kafka.schema_for(regclass, text),
	wal2kafka.decode(bytea)
FROM PUBLIC;

/*
 * Calls in a view are made with the rights of who reads it, and those in a
 * function with its caller's: see docs/sql.md.
 */
GRANT SELECT ON wal2kafka.stat_streams, wal2kafka.stat_tables,
	wal2kafka.stat_snapshots TO pg_monitor;
GRANT EXECUTE ON FUNCTION wal2kafka._wake(), wal2kafka._streams(),
	wal2kafka._tables(), wal2kafka._snapshots(name),
	wal2kafka.health(integer) TO pg_monitor;
