-- Arrays of several dimensions: as the column declares them, whatever a value
-- has.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;
\pset format unaligned

CREATE SCHEMA regress_shapes;
SET search_path = regress_shapes, public;

CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN matrix AS int[][];
CREATE DOMAIN vector2 AS int[];
CREATE FUNCTION fields() RETURNS TABLE (n bigint, field text, value json)
LANGUAGE sql AS $$
SELECT c.n, f.*
FROM pg_logical_slot_get_binary_changes('regress_shapes', NULL, NULL,
		'format', 'avro') WITH ORDINALITY AS c(lsn, xid, data, n),
	json_each(wal2kafka.decode(c.data)->'value'->'after') AS f
WHERE f.value::text <> 'null';
$$;
SELECT 'created' FROM pg_create_logical_replication_slot('regress_shapes', 'wal2kafka');

CREATE TABLE t (one int[], two int[][], three text[3][2][1], m matrix, v vector2[], moods mood[][]);
SELECT f->>'name' AS field, f->>'type' AS type
FROM wal2kafka.schema_for('t') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;

-- as declared
INSERT INTO t VALUES (
	'{1,NULL}', '{{1,2},{NULL,4}}', '{{{a},{"b c"}},{{NULL},{d}}}', '{{1,2,3}}',
	'{"{1,2}",NULL,"{}"}', '{{sad,NULL},{ok,ok}}');
SELECT * FROM fields();
-- empty
INSERT INTO t VALUES ('{}', '{}', '{}', '{}', '{}', '{}');
SELECT * FROM fields();
-- fewer: alone in the outer ones; other bounds do not show
INSERT INTO t VALUES (NULL, '{1,2}', '{a,b}', '{7}', NULL, '{ok}'),
	('[5:6]={7,8}', '[0:0][3:4]={{1,2}}', '{{a,b},{c,d}}', NULL, NULL, NULL);
SELECT * FROM fields();
-- more: the first ones one after the other
INSERT INTO t VALUES ('{{1,2},{3,4}}', '{{{1,2},{3,4}},{{5,6},{NULL,8}}}',
	'{{{{a},{b}},{{c},{d}}},{{{e},{f}},{{g},{h}}}}', '{{{1}},{{2}}}', NULL,
	'{{{sad}},{{ok}},{{NULL}}}');
SELECT * FROM fields();

-- unchanged large values
CREATE TABLE large (id int PRIMARY KEY, n int, one int[], two int[][], three text[][][]);
ALTER TABLE large ALTER one SET STORAGE EXTERNAL, ALTER two SET STORAGE EXTERNAL,
	ALTER three SET STORAGE EXTERNAL;
INSERT INTO large SELECT 1, 1, array_agg(g), ARRAY[array_agg(g)], ARRAY[ARRAY[array_agg(g::text)]]
FROM generate_series(1, 3000) AS g;
SELECT pg_replication_slot_advance('regress_shapes', pg_current_wal_insert_lsn()) IS NOT NULL AS skipped;
UPDATE large SET n = 2;
SELECT wal2kafka.decode(data)->'value'->'after' AS after
FROM pg_logical_slot_get_binary_changes('regress_shapes', NULL, NULL,
	'format', 'avro', 'unavailable_value_placeholder', '?!');

-- a NOT NULL column that a DELETE does not have
CREATE TABLE old (id int PRIMARY KEY, two int[][] NOT NULL);
INSERT INTO old VALUES (1, '{{1}}');
SELECT pg_replication_slot_advance('regress_shapes', pg_current_wal_insert_lsn()) IS NOT NULL AS skipped;
DELETE FROM old;
SELECT wal2kafka.decode(data)->'value'->'before' AS before
FROM pg_logical_slot_get_binary_changes('regress_shapes', NULL, NULL, 'format', 'avro')
WHERE wal2kafka.decode(data)->>'value' IS NOT NULL;

SELECT 'dropped' FROM pg_drop_replication_slot('regress_shapes');
SET client_min_messages = warning;
DROP SCHEMA regress_shapes CASCADE;
