-- Deletes of flat rows, in each mode.
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL, n int DEFAULT 7, route text);
CREATE TABLE f (id int PRIMARY KEY, v text, route text);
CREATE TABLE keyless (a int);
ALTER TABLE f REPLICA IDENTITY FULL;
ALTER TABLE keyless REPLICA IDENTITY FULL;
INSERT INTO t VALUES (1, 'a', 1, 'r1'), (2, 'b', 2, 'r2');
INSERT INTO f VALUES (1, 'a', 'r1');
INSERT INTO keyless VALUES (1);
CREATE FUNCTION flat(VARIADIC options text[] DEFAULT '{}')
RETURNS SETOF text LANGUAGE sql AS $$
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	VARIADIC ARRAY['envelope', 'flat', 'topic_prefix', 'srv',
		'add_headers', 'op', 'skipped_operations', 'none'] || options)
$$;
SELECT create_slot();
DELETE FROM t WHERE id = 1;
UPDATE t SET id = 3 WHERE id = 2;
DELETE FROM f;
DELETE FROM keyless;
TRUNCATE t;
SELECT flat('delete_tombstone_handling_mode', 'drop');
SELECT flat();
SELECT flat('tombstones_on_delete', 'off') EXCEPT SELECT flat();
SELECT flat('delete_tombstone_handling_mode', 'delete-to-tombstone')
EXCEPT SELECT flat();
SELECT flat('delete_tombstone_handling_mode', 'rewrite');
SELECT flat('delete_tombstone_handling_mode', 'rewrite-with-tombstone');
SELECT flat('delete_tombstone_handling_mode', 'rewrite-with-tombstone',
	'tombstones_on_delete', 'off')
EXCEPT SELECT flat('delete_tombstone_handling_mode', 'rewrite');
-- a tombstone goes where the row went; without the value, to the table's topic
SELECT flat('delete_tombstone_handling_mode', 'rewrite-with-tombstone',
	'route_by_field', 'route', 'table_include_list', 'public.[tf]');
SELECT flat('delete_tombstone_handling_mode', 'twice');
DROP TABLE keyless;
SELECT 'taken' FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL) LIMIT 1;
-- a column that has the field's name
ALTER TABLE f ADD __deleted text;
INSERT INTO f VALUES (2, 'b', 'r2', 'mine');
SELECT flat('delete_tombstone_handling_mode', 'rewrite');
SELECT flat();
-- of a row that the WAL says nothing of there is nothing to send
CREATE TABLE unknown (a int);
ALTER TABLE unknown REPLICA IDENTITY NOTHING;
INSERT INTO unknown VALUES (1);
DELETE FROM unknown;
SELECT data::json->>'topic' AS topic, data::json->>'value' AS value
FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL, 'envelope', 'flat', 'table_include_list', 'public.unknown');
DROP TABLE unknown;
DROP FUNCTION flat;
DROP TABLE t, f;
SELECT drop_slot();
