-- Masks: of null too, of what a DELETE does not have, never of keys; what
-- cannot be masked is told.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN name7 AS varchar(7);
CREATE TABLE m (
	id int PRIMARY KEY, t text DEFAULT 'secret', tn text NOT NULL DEFAULT 'secret',
	nn varchar(10) NOT NULL, c char(3), e mood, d name7, j jsonb, u uuid,
	big text, other text);
ALTER TABLE m ALTER big SET STORAGE EXTERNAL;
CREATE FUNCTION big() RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) i $$;
SELECT create_slot();
INSERT INTO m VALUES (1, 'text', 'tn', 'nn', 'c', 'ok', 'dom', '{"a": 1}', '6b0c4c3a-1111-4222-8333-444455556666', big(), 'plain');
INSERT INTO m (id, t, nn) VALUES (2, NULL, '');
UPDATE m SET other = 'changed' WHERE id = 1;
DELETE FROM m WHERE id = 1;
SELECT * FROM changes('column_transforms', 'mask.with.5.chars=public\.m\.(t|tn|nn|c|e|d|j|u|big)');
INSERT INTO m VALUES (3, 'x', 'y', 'z');
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	'column_transforms', 'column.mask.with.0.chars=PUBLIC\.M\.T');
-- a list, in quotes where it needs them; not a part of the name
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	'column_transforms', 'mask.with.1.chars=''public\.m\.t,public\.m\.n[;n]''; mask.with.2.chars=m\.tn,public\.m\.c');
-- the strongest of several
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	'column_transforms', 'truncate.to.0.chars=.*\.(t|tn|nn); mask.hash.v2.MD5.with.salt.s=.*\.(t|tn); mask.with.3.chars=.*\.t');
-- of nulls in columns with a default, and with the default for null
INSERT INTO m (id, t, nn) VALUES (4, NULL, '');
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	'column_transforms', 'mask.with.3.chars=.*\.t', 'replace_null_with_default', 'on') OFFSET 1;
-- keys and numbers are sent in clear text, which is told
CREATE TABLE k (id text PRIMARY KEY, n int, t text);
INSERT INTO k VALUES ('key', 1, 'text');
SELECT * FROM changes('column_transforms', 'mask.with.3.chars=public\.k\..*') OFFSET 2;
-- schemas say it
SET wal2kafka.column_transforms = 'mask.with.3.chars=public\.m\.(t|e|nn|other)';
SELECT f->>'name' AS field, f->>'type' AS type
FROM wal2kafka.schema_for('m') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f
WHERE f->>'type' ~ 'masked';
RESET wal2kafka.column_transforms;
DROP TABLE m, k;
DROP FUNCTION big;
DROP DOMAIN name7;
DROP TYPE mood;
SELECT drop_slot();
