-- An UPDATE: before only where the replica identity has it.
CREATE TABLE t (id int PRIMARY KEY, a text, b int NOT NULL DEFAULT 5);
INSERT INTO t VALUES (1, 'one'), (2, 'two');
SELECT create_slot();
UPDATE t SET a = 'uno' WHERE id = 1;
UPDATE t SET a = NULL;
UPDATE t SET a = 'nobody' WHERE id = 99;
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET a = 'full', b = b + 1 WHERE id = 1;
-- two of one row in a transaction
BEGIN;
UPDATE t SET b = 10 WHERE id = 2;
UPDATE t SET b = 11 WHERE id = 2;
COMMIT;
INSERT INTO t VALUES (2, 'conflict') ON CONFLICT (id) DO UPDATE SET a = 'upsert';
SELECT * FROM changes();
DROP TABLE t;
SELECT drop_slot();
