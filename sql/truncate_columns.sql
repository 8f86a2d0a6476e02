-- Truncation: of text by UTF-16 units, but never within a character, and of
-- bytes; columns that are shorter, and keys, are left alone.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE c (
	id text PRIMARY KEY, t text, tn text NOT NULL DEFAULT 'default', b bytea, v varchar(3),
	v2 varchar(2), n numeric(5,2), i int, d date, a text[], q "char", big text, bigb bytea);
ALTER TABLE c ALTER big SET STORAGE EXTERNAL, ALTER bigb SET STORAGE EXTERNAL;
CREATE FUNCTION big() RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) i $$;
SELECT create_slot();
INSERT INTO c VALUES ('long key', 'a😀b', 'tn', '\x010203', 'abc', 'ab', 1.5, 12345, '2020-01-01', '{abc}', 'q', big(), big()::bytea);
INSERT INTO c (id, t, b) VALUES ('k', '😀a', ''), ('l', 'é€x', '\x01'), ('m', '', NULL);
UPDATE c SET i = 1 WHERE id = 'long key';
DELETE FROM c WHERE id = 'long key';
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	'column_transforms', 'truncate.to.2.chars=public\.c\..*');
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	'column_transforms', 'truncate.to.3.chars=.*', 'binary_handling_mode', 'hex', 'decimal_handling_mode', 'string') LIMIT 1;
SELECT event_line(data::json) FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL,
	'column_transforms', 'truncate.to.0.chars=.*') LIMIT 1;
SET wal2kafka.column_transforms = 'truncate.to.2.chars=public\.c\..*';
SELECT f->>'name' AS field, f->>'type' AS type
FROM wal2kafka.schema_for('c') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;
SELECT key_schema::json->>'fields' FROM wal2kafka.schema_for('c');
RESET wal2kafka.column_transforms;
DROP FUNCTION big;
DROP TABLE c;
SELECT drop_slot();
