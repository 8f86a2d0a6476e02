-- Intervals as numbers, as ISO 8601 texts, and as records.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;
\pset format unaligned

CREATE SCHEMA regress_interval;
SET search_path = regress_interval, public;

CREATE TABLE modes (n int, name text, intervals text, times text);
INSERT INTO modes VALUES
	(1, 'numeric', 'numeric', 'adaptive'),
	(2, 'string', 'string', 'adaptive'),
	(3, 'structured', 'string', 'structured');
CREATE FUNCTION events() RETURNS TABLE (mode text, "row" json)
LANGUAGE sql AS $$
SELECT m.name, v->'after'
FROM modes AS m,
	pg_logical_slot_peek_binary_changes('regress_interval', NULL, NULL,
		'format', 'avro', 'interval_handling_mode', m.intervals,
		'time_precision_mode', m.times) WITH ORDINALITY AS c(lsn, xid, data, n),
	LATERAL (SELECT wal2kafka.decode(c.data)->'value') AS d(v)
WHERE json_typeof(v) = 'object'
ORDER BY m.n, c.n;
$$;
SELECT 'created' FROM pg_create_logical_replication_slot('regress_interval', 'wal2kafka');

CREATE TABLE t (i interval);
INSERT INTO t VALUES
	('1 year 2 mons 3 days 04:05:06.789'), ('-1 mon +2 days -03:00:00.5'),
	('0'), ('1 sec'), ('90 min'), ('100 hours'), ('14 mons'), ('-14 mons'),
	('1 day -0.000001 sec'), ('-0.5 sec'), ('100000:00:00.000001'),
	-- more microseconds, and more hours, than fit
	('178000000 years'), ('-178000000 years'),
	('2562047788:00:54.775807'), ('-2562047788:00:54.775807');
SELECT * FROM events();

-- what the type's precision shows in, and arrays
CREATE TABLE u (i interval(3), j interval hour to minute, k interval second(2), a interval[]);
SELECT pg_replication_slot_advance('regress_interval', pg_current_wal_insert_lsn()) IS NOT NULL AS skipped;
INSERT INTO u VALUES ('1.5 sec', '1:30', '2.25 sec', '{1 day,NULL,-00:00:01}');
SELECT * FROM events();

-- schemas and defaults
CREATE TABLE d (
	i interval DEFAULT '1 day', j interval DEFAULT age(now()),
	k interval NOT NULL DEFAULT '-1:00');
SET wal2kafka.interval_handling_mode = 'numeric';
SELECT value_schema::json#>'{fields,0,type,1,fields}' AS fields FROM wal2kafka.schema_for('d');
SET wal2kafka.interval_handling_mode = 'string';
SELECT value_schema::json#>'{fields,0,type,1,fields}' AS fields FROM wal2kafka.schema_for('d');
SET wal2kafka.time_precision_mode = 'structured';
SELECT value_schema::json#>'{fields,0,type,1,fields}' AS fields FROM wal2kafka.schema_for('d');

SELECT 'dropped' FROM pg_drop_replication_slot('regress_interval');
SET client_min_messages = warning;
DROP SCHEMA regress_interval CASCADE;
