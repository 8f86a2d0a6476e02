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
DROP TABLE t;
DROP FUNCTION work;
SELECT drop_slot();
