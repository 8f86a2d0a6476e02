-- Stored generated columns: sent where no publication is named.
CREATE TABLE t (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED);
CREATE PUBLICATION p FOR TABLE t;
SELECT create_slot();
INSERT INTO t VALUES (1, 5);
UPDATE t SET a = 6;
SELECT * FROM changes();
INSERT INTO t VALUES (2, 5);
SELECT * FROM changes('publication_name', 'p');
DROP PUBLICATION p;
DROP TABLE t;
SELECT drop_slot();
