-- Columns that were dropped or added: rows written before and after.
CREATE TABLE t (id int PRIMARY KEY, gone int, a text);
INSERT INTO t VALUES (1, 1, 'before'), (2, 2, 'before');
SELECT create_slot();
ALTER TABLE t DROP COLUMN gone;
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET a = 'after' WHERE id = 1;
-- a default that old rows do not hold on disk
ALTER TABLE t ADD COLUMN late int NOT NULL DEFAULT 42;
ALTER TABLE t ADD COLUMN empty text;
UPDATE t SET a = 'again' WHERE id = 2;
DELETE FROM t;
INSERT INTO t VALUES (3, 'new', 1, 'full');
SELECT * FROM changes();
ALTER TABLE t DROP COLUMN id, DROP COLUMN a, DROP COLUMN late, DROP COLUMN empty;
INSERT INTO t DEFAULT VALUES;
SELECT * FROM changes();
DROP TABLE t;
SELECT drop_slot();
