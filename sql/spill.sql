-- Transactions that are larger than logical_decoding_work_mem.
CREATE TABLE t (id int PRIMARY KEY, a text);
SHOW logical_decoding_work_mem;
SELECT create_slot();
BEGIN;
INSERT INTO t SELECT i, 'top ' || i FROM generate_series(1, 3000) i;
SAVEPOINT s;
INSERT INTO t SELECT i, 'sub ' || i FROM generate_series(3001, 6000) i;
SAVEPOINT lost;
INSERT INTO t SELECT i, 'lost ' || i FROM generate_series(6001, 9000) i;
ROLLBACK TO lost;
ALTER TABLE t ADD COLUMN b int;
UPDATE t SET b = id WHERE id % 2 = 0;
COMMIT;
SELECT regexp_replace(event, '\d+', 'N', 'g') AS shape, count(*),
	min(substring(event FROM '"id":(\d+)')::int), max(substring(event FROM '"id":(\d+)')::int)
FROM changes() GROUP BY 1 ORDER BY 2, 1;
SELECT spill_txns > 0 AS spilled FROM pg_stat_get_replication_slot('regression_slot');
DROP TABLE t;
SELECT drop_slot();
