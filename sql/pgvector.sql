-- pgvector's types as arrays of numbers.  Where pgvector is not installed,
-- there is nothing to ask.
SELECT count(*) = 0 AS missing FROM pg_available_extensions WHERE name = 'vector' \gset
\if :missing
\quit
\endif
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
CREATE EXTENSION vector;
RESET client_min_messages;
SET synchronous_commit = on;
\pset format unaligned

CREATE SCHEMA regress_vector;
SET search_path = regress_vector, public;
CREATE TABLE t (v vector, w vector(2), h halfvec, s sparsevec, a vector[]);
CREATE TABLE old (
	id int PRIMARY KEY, n int, v vector NOT NULL, h halfvec NOT NULL, s sparsevec NOT NULL);
ALTER TABLE old ALTER v SET STORAGE EXTERNAL, ALTER h SET STORAGE EXTERNAL, ALTER s SET STORAGE EXTERNAL;
SELECT f->>'name' AS field, f->>'type' AS type
FROM wal2kafka.schema_for('t') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;

SELECT 'created' FROM pg_create_logical_replication_slot('regress_vector', 'wal2kafka');
INSERT INTO t VALUES
	('[1,2.5,0.1,-3e-20,1024.1,3.4028235e38]', '[0,-0.25]',
	'[1,-0.5,65504,0.0009765625,5.9604645e-08,-6.1035156e-05]',
	'{1:0.1,3:2}/5', ARRAY['[1]'::vector]),
	(NULL, NULL, NULL, '{}/1000000000', '{}'),
	(NULL, NULL, NULL, '{40000:1}/100000', '{}');
INSERT INTO old
SELECT 1, 1, array_agg(g)::vector, array_agg(g)::halfvec, array_agg(g)::vector::sparsevec
FROM generate_series(1, 2000) AS g;
SELECT json_strip_nulls(wal2kafka.decode(data)->'value'->'after') AS after
FROM pg_logical_slot_get_binary_changes('regress_vector', NULL, NULL, 'format', 'avro')
LIMIT 3;

-- values that are not there
UPDATE old SET n = 2;
DELETE FROM old;
SELECT v->'after' AS after, v->'before' AS before
FROM pg_logical_slot_get_binary_changes('regress_vector', NULL, NULL, 'format', 'avro',
		'unavailable_value_placeholder', '?!') AS c,
	LATERAL (SELECT wal2kafka.decode(c.data)->'value') AS d(v)
WHERE json_typeof(v) = 'object';

SELECT 'dropped' FROM pg_drop_replication_slot('regress_vector');
SET client_min_messages = warning;
DROP SCHEMA regress_vector CASCADE;
DROP EXTENSION vector;
