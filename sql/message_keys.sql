-- message_key_columns: other columns than the primary key's.
SELECT create_slot();
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE t (id int PRIMARY KEY, n text, m text NOT NULL DEFAULT 'q', s text);
CREATE TABLE whole (id int PRIMARY KEY, a text, b text);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE nokey (a int, b text);
ALTER TABLE nokey REPLICA IDENTITY FULL;
CREATE FUNCTION look(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (event text) LANGUAGE sql AS $$
SELECT event_line(data::json)
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, VARIADIC options)
$$;
CREATE FUNCTION key_fields(tablename regclass) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(f->>'name' || ' ' || (f->>'type'), ', ')
FROM wal2kafka.schema_for(tablename), json_array_elements(key_schema->'fields') AS f
$$;
-- in the order given, null where the column may be null
SET wal2kafka.message_key_columns = 'public.t:n,id';
SELECT key_fields('t'), key_fields('whole'), key_fields('nokey');
-- several rules add up, each column once; expressions, of any case
SET wal2kafka.message_key_columns = '(.*).T:M,n; public.\w+:id,n;';
SELECT key_fields('t'), key_fields('whole'), key_fields('nokey');
-- a table of which no rule names a column keeps its key
SET wal2kafka.message_key_columns = 'public.t:nosuch;public.whole:b,nosuch';
SELECT key_fields('t'), key_fields('whole');
RESET wal2kafka.message_key_columns;

-- nulls in keys; changes of the key, where the old row has it
INSERT INTO whole VALUES (1, 'a', NULL), (2, NULL, 'b');
UPDATE whole SET id = 3 WHERE id = 1;
UPDATE whole SET b = 'b' WHERE id = 3;
DELETE FROM whole WHERE id = 2;
INSERT INTO nokey VALUES (1, 'x');
UPDATE nokey SET b = 'y';
SELECT * FROM look('message_key_columns', 'public.whole:b,a;public.nokey:a');
-- columns that the replica identity does not have: an update has its new key,
-- a delete none
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
INSERT INTO t VALUES (1, 'n');
UPDATE t SET n = 'n2';
UPDATE t SET id = 2;
DELETE FROM t;
SELECT * FROM look('message_key_columns', 'public.t:n');
SELECT * FROM look('message_key_columns', 'public.t:n', 'replica_identity_missing', 'skip');
\set VERBOSITY terse
SELECT * FROM look('message_key_columns', 'public.t:n', 'replica_identity_missing', 'fail');
-- a unique index as identity, and its column as the key
\set VERBOSITY default
CREATE UNIQUE INDEX t_m ON t (m);
ALTER TABLE t REPLICA IDENTITY USING INDEX t_m;
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
INSERT INTO t VALUES (1, 'n', 'm');
UPDATE t SET m = 'm2';
DELETE FROM t;
SELECT * FROM look('message_key_columns', 'public.t:m');
-- not in the value, but in the key
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
INSERT INTO t VALUES (2, 'n', 'm');
SELECT * FROM look('message_key_columns', 'public.t:m,id', 'column_exclude_list', 'public.t.m');
-- keys are not masked, neither is null, and what is not in the WAL is no key
ALTER TABLE t ALTER n SET STORAGE EXTERNAL;
INSERT INTO t VALUES (3, NULL, 'm3'), (4, repeat('n', 3000), 'm4');
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
UPDATE t SET m = m || 'c' WHERE id > 2;
SELECT left(look::text, 150) FROM look('message_key_columns', 'public.t:n', 'column_transforms', 'mask.with.3.chars=.*.n');
-- refused
\set VERBOSITY terse
SET wal2kafka.message_key_columns = 'public.t';
SET wal2kafka.message_key_columns = ':id';
SET wal2kafka.message_key_columns = 'public.t:';
SET wal2kafka.message_key_columns = 'public.t:id,,n';
SET wal2kafka.message_key_columns = 'public.t:id,';
SET wal2kafka.message_key_columns = 'public.t:id:n';
SET wal2kafka.message_key_columns = ';public.t:id';
\set VERBOSITY default
SET wal2kafka.message_key_columns = 'public.a:id;public.(t:id';
SET wal2kafka.message_key_columns = 'public.t{1,2}:id';
SET wal2kafka.message_key_columns = ' public.t{1\,2} : id ; ';
RESET wal2kafka.message_key_columns;
SELECT drop_slot();
DROP FUNCTION look, key_fields;
DROP TABLE t, whole, nokey;
