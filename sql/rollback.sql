-- Nothing of a transaction that was rolled back.
CREATE TABLE t (id int PRIMARY KEY, a text);
SELECT create_slot();
BEGIN;
INSERT INTO t VALUES (1, 'rolled back');
ROLLBACK;
BEGIN;
CREATE TABLE never (a int);
INSERT INTO never VALUES (1);
ALTER TABLE t ADD COLUMN never int;
INSERT INTO t VALUES (2, 'rolled back', 1);
ROLLBACK;
INSERT INTO t VALUES (3, 'failed'), (3, 'failed');
INSERT INTO t VALUES (4, 'kept');
SELECT * FROM changes();
DROP TABLE t;
SELECT drop_slot();
