-- Replica identities, and what happens where there is none.
SELECT create_slot();
CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b text);
CREATE UNIQUE INDEX t_a ON t (a);
INSERT INTO t SELECT i, 10 * i, 'x' FROM generate_series(1, 9) i;
SELECT count(*) FROM changes();
-- an index that does not hold the key
ALTER TABLE t REPLICA IDENTITY USING INDEX t_a;
UPDATE t SET b = 'y' WHERE id = 1;
UPDATE t SET a = 11 WHERE id = 1;
DELETE FROM t WHERE id = 1;
SELECT * FROM changes();
-- one warning for a table, not for each change
ALTER TABLE t REPLICA IDENTITY NOTHING;
UPDATE t SET b = 'z' WHERE id = 2;
UPDATE t SET id = 22 WHERE id = 2;
DELETE FROM t WHERE id = 3;
SELECT * FROM changes();
UPDATE t SET b = 'z' WHERE id = 4;
DELETE FROM t WHERE id = 4;
INSERT INTO t VALUES (40, 400, 'sent');
SELECT * FROM changes('replica_identity_missing', 'skip');
UPDATE t SET b = 'z' WHERE id = 5;
\set VERBOSITY terse
SELECT * FROM changes('replica_identity_missing', 'fail');
\set VERBOSITY default
-- the slot did not move
SELECT * FROM changes('replica_identity_missing', 'warn');
-- DEFAULT without a primary key
CREATE TABLE nopk (a int);
INSERT INTO nopk VALUES (1);
UPDATE nopk SET a = 2;
DELETE FROM nopk;
SELECT * FROM changes();
-- FULL without a primary key has all there is
ALTER TABLE nopk REPLICA IDENTITY FULL;
INSERT INTO nopk VALUES (1);
UPDATE nopk SET a = 2;
DELETE FROM nopk;
SELECT * FROM changes();
DROP TABLE t, nopk;
SELECT drop_slot();
