-- skipped_operations.
CREATE TABLE t (id int PRIMARY KEY, a int);
CREATE FUNCTION work() RETURNS void LANGUAGE sql AS $$
INSERT INTO t VALUES (1, 1);
UPDATE t SET a = 2;
UPDATE t SET id = 2;
DELETE FROM t;
TRUNCATE t;
$$;
SELECT create_slot();
SELECT work();
SELECT * FROM changes('skipped_operations', 'c');
SELECT work();
SELECT * FROM changes('skipped_operations', 'u,t');
SELECT work();
SELECT * FROM changes('skipped_operations', 'd');
SELECT work();
SELECT * FROM changes('skipped_operations', 'c,u,d,t');
\set VERBOSITY terse
SELECT * FROM changes('skipped_operations', 'x');
-- what a row filter makes of an update is skipped as what it is then
CREATE TABLE filtered (id int PRIMARY KEY, v int);
ALTER TABLE filtered REPLICA IDENTITY FULL;
CREATE PUBLICATION regress_skipped FOR TABLE filtered WHERE (v > 0);
INSERT INTO filtered VALUES (1, 1), (2, 0);
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
UPDATE filtered SET v = 1 - v;
CREATE FUNCTION look(skipped text) RETURNS TABLE (status text, events text) LANGUAGE sql AS $$
SELECT coalesce(data::json#>>'{value,status}', data::json#>>'{value,op}'), data::json#>>'{value,event_count}'
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'publication_name', 'regress_skipped',
	'provide_transaction_metadata', 'on', 'tombstones_on_delete', 'off', 'skipped_operations', skipped)
$$;
SELECT * FROM look('c');
SELECT * FROM look('d');
SELECT * FROM look('c,d');
SELECT * FROM look('u');
DROP PUBLICATION regress_skipped;
DROP FUNCTION look;
DROP TABLE filtered;
DROP TABLE t;
DROP FUNCTION work;
SELECT drop_slot();
