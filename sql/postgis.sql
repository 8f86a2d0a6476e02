-- PostGIS: extended well-known binary with the reference system beside it.
-- Where PostGIS is not installed, there is nothing to ask.
SELECT count(*) = 0 AS missing FROM pg_available_extensions WHERE name = 'postgis' \gset
\if :missing
\quit
\endif
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
CREATE EXTENSION postgis;
RESET client_min_messages;
SET synchronous_commit = on;
\pset format unaligned

CREATE SCHEMA regress_postgis;
SET search_path = regress_postgis, public;
CREATE TABLE t (
	g geometry, h geometry(Point, 4326), i geography, a geometry[]);
CREATE TABLE old (
	id int PRIMARY KEY, g geometry NOT NULL, i geography NOT NULL);
CREATE VIEW types AS
SELECT f->>'name' AS field, f->>'type' AS type
FROM wal2kafka.schema_for('t') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;
SELECT * FROM types;
-- before 3.7 geometry has no extensions
SET wal2kafka.debezium_version = '3.5';
SELECT * FROM types;
RESET wal2kafka.debezium_version;

SELECT 'created' FROM pg_create_logical_replication_slot('regress_postgis', 'wal2kafka');
INSERT INTO t VALUES
	('POINT(1 2)', 'SRID=4326;POINT(1 2)', 'LINESTRING(0 0,1 1)',
	ARRAY['POINT ZM(1 2 3 4)'::geometry, NULL, 'SRID=3857;POLYGON EMPTY']);
INSERT INTO old VALUES (1, 'POINT(1 2)', 'POINT(1 2)');
DELETE FROM old;
SELECT v->'after' AS after, v->'before' AS before
FROM pg_logical_slot_peek_binary_changes('regress_postgis', NULL, NULL, 'format', 'avro') AS c,
	LATERAL (SELECT wal2kafka.decode(c.data)->'value') AS d(v)
WHERE json_typeof(v) = 'object';
SELECT wal2kafka.decode(data)->'value'->'after' AS after
FROM pg_logical_slot_get_binary_changes('regress_postgis', NULL, NULL,
	'format', 'avro', 'debezium_version', '3.5')
LIMIT 1;

SELECT 'dropped' FROM pg_drop_replication_slot('regress_postgis');
SET client_min_messages = warning;
DROP SCHEMA regress_postgis CASCADE;
DROP EXTENSION postgis;
