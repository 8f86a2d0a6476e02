-- bytea and its arrays in each mode, unchanged large ones too.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE b (id int PRIMARY KEY, b bytea, bs bytea[], v int);
ALTER TABLE b ALTER b SET STORAGE EXTERNAL, ALTER bs SET STORAGE EXTERNAL;
CREATE FUNCTION big() RETURNS bytea LANGUAGE sql AS
$$ SELECT string_agg(decode(md5(i::text), 'hex'), '') FROM generate_series(1, 200) i $$;
SELECT create_slot();
INSERT INTO b VALUES
	(1, '\x00ff10fb', '{"\\x00","\\xfbff",NULL}'), (2, '', '{}'), (3, '\x01', NULL),
	(4, '\xfbffbf01', NULL), (5, '\xfbffbf', NULL), (6, NULL, NULL);
INSERT INTO b VALUES (7, big(), ARRAY[big()]);
UPDATE b SET v = 1 WHERE id = 7;
CREATE FUNCTION peek(mode text) RETURNS TABLE (b text, bs text) LANGUAGE sql AS $$
SELECT left(data::json#>>'{value,after,b}', 60), left(data::json#>>'{value,after,bs}', 60)
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'binary_handling_mode', mode) $$;
SELECT * FROM peek('bytes');
SELECT * FROM peek('base64');
SELECT * FROM peek('base64-url-safe');
SELECT * FROM peek('hex');
-- all of it
SELECT data::json#>>'{value,after,b}' = replace(encode(big(), 'base64'), E'\n', '') AS base64
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'binary_handling_mode', 'base64') OFFSET 6 LIMIT 1;
SELECT data::json#>>'{value,after,b}' = encode(big(), 'hex') AS hex
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'binary_handling_mode', 'hex') OFFSET 6 LIMIT 1;
SET wal2kafka.binary_handling_mode = 'hex';
SELECT f->>'name' AS field, f->>'type' AS type
FROM wal2kafka.schema_for('b') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;
RESET wal2kafka.binary_handling_mode;
DROP FUNCTION peek, big;
DROP TABLE b;
SELECT drop_slot();
