-- Lists of regular expressions: which columns are sent.
SELECT create_slot();
CREATE TABLE t (id int PRIMARY KEY, a text, b text DEFAULT 'b', secret text NOT NULL);
CREATE TABLE u (id int PRIMARY KEY, secret text);
ALTER TABLE u REPLICA IDENTITY FULL;
INSERT INTO t VALUES (1, 'a', 'b', 's');
INSERT INTO u VALUES (1, 's');
UPDATE t SET a = 'a2';
UPDATE t SET id = 2;
DELETE FROM t;
UPDATE u SET secret = 's2';
CREATE FUNCTION look(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (event text) LANGUAGE sql AS $$
SELECT event_line(data::json)
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, VARIADIC options)
$$;
SELECT * FROM look('column_exclude_list', '.*\.secret');
SELECT * FROM look('column_include_list', 'PUBLIC.t.A, public.u.*');
-- a key keeps the column that values do not have
SELECT * FROM look('column_exclude_list', 'public.t.id');
SELECT * FROM look('column_include_list', 'public.t.b');
-- columns come and go with their names
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
INSERT INTO t VALUES (3, 'a', 'b', 's');
ALTER TABLE t RENAME secret TO open;
INSERT INTO t VALUES (4, 'a', 'b', 'o');
ALTER TABLE t ADD COLUMN secret int;
INSERT INTO t VALUES (5, 'a', 'b', 'o', 5);
SELECT * FROM look('column_exclude_list', 'public.t.secret');
-- a publication's list of columns keeps its rule: no key of which a part is
-- missing
CREATE PUBLICATION regress_columns FOR TABLE t (id, a, b);
CREATE TABLE nokey (a int UNIQUE NOT NULL, b int);
CREATE PUBLICATION regress_nokey FOR TABLE nokey (b) WITH (publish = 'insert');
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
INSERT INTO t VALUES (6, 'a', 'b', 'o', 6);
INSERT INTO nokey VALUES (1, 2);
SELECT * FROM look('publication_name', 'regress_columns,regress_nokey', 'column_exclude_list', 'public.t.a');
SELECT * FROM look('publication_name', 'regress_nokey', 'message_key_columns', 'public.nokey:a');
SELECT * FROM look('publication_name', 'regress_nokey', 'message_key_columns', 'public.nokey:a,b');
-- the schema that comes of it
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET wal2kafka.column_exclude_list = 'public.u.(secret|id)';
SELECT key_schema->'fields' AS key, value_schema#>'{fields,0,type,1,fields}' AS value FROM wal2kafka.schema_for('u');
RESET wal2kafka.column_exclude_list;
SELECT drop_slot();
DROP PUBLICATION regress_columns, regress_nokey;
DROP FUNCTION look;
DROP TABLE t, u, nokey;
