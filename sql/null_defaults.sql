-- replace_null_with_default: NULL in a nullable column with a default.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, b text DEFAULT 'none',
	n numeric(6,2) DEFAULT 1.5, f float8 DEFAULT 2.5, o boolean DEFAULT true,
	ts timestamptz DEFAULT now(), d int, e int NOT NULL DEFAULT 3);
SELECT create_slot();
INSERT INTO t VALUES (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO t (id) VALUES (2);
UPDATE t SET a = NULL WHERE id = 2;
DELETE FROM t WHERE id = 1;
SELECT data->'value'->'before' AS before, data->'value'->'after' AS after
FROM (SELECT data::jsonb #- '{value,after,ts}' AS data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL)) c
WHERE data->'value' <> 'null';
SELECT data->'value'->'before' AS before, data->'value'->'after' AS after
FROM (SELECT data::jsonb #- '{value,after,ts}' AS data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	'replace_null_with_default', 'on')) c
WHERE data->'value' <> 'null';
-- what libavro makes of it
SELECT wal2kafka.decode(data)::json#>>'{value,after}'
FROM pg_logical_slot_get_binary_changes('regression_slot', NULL, NULL,
	'format', 'avro', 'replace_null_with_default', 'on')
LIMIT 1;
-- with the whole old row
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET b = NULL WHERE id = 2;
DELETE FROM t;
SELECT data::json#>>'{value,before,a}' AS a, data::json#>>'{value,before,b}' AS b
FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL,
	'replace_null_with_default', 'on', 'tombstones_on_delete', 'off')
WHERE data::json#>>'{value,before}' IS NOT NULL;
DROP TABLE t;
SELECT drop_slot();
