-- Subtransactions: in order, without what was rolled back.
CREATE TABLE t (id int PRIMARY KEY, a text);
SELECT create_slot();
BEGIN;
INSERT INTO t VALUES (1, 'top');
SAVEPOINT one;
INSERT INTO t VALUES (2, 'one');
SAVEPOINT two;
INSERT INTO t VALUES (3, 'two, rolled back');
ROLLBACK TO two;
INSERT INTO t VALUES (4, 'one again');
RELEASE one;
UPDATE t SET a = 'top again' WHERE id = 2;
COMMIT;
-- the top level writes nothing
BEGIN;
SAVEPOINT one;
INSERT INTO t VALUES (5, 'only in a subtransaction');
RELEASE one;
COMMIT;
DO $$
BEGIN
	INSERT INTO t VALUES (6, 'exception block');
	BEGIN
		INSERT INTO t VALUES (7, 'lost');
		INSERT INTO t VALUES (6, 'duplicate');
	EXCEPTION WHEN unique_violation THEN
		INSERT INTO t VALUES (8, 'handler');
	END;
END $$;
SELECT * FROM changes();
-- one transaction: one id, one commit time, one index of events
BEGIN;
INSERT INTO t VALUES (9, 'a');
SAVEPOINT one;
INSERT INTO t VALUES (10, 'b');
COMMIT;
SELECT count(*), count(DISTINCT data::json#>>'{value,source,txId}') AS ids,
	count(DISTINCT data::json#>>'{value,source,ts_us}') AS times
FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL);
DROP TABLE t;
SELECT drop_slot();
