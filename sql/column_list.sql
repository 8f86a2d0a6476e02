-- Column lists.
CREATE TABLE t (id int PRIMARY KEY, a text, b text, c int NOT NULL);
CREATE PUBLICATION p FOR TABLE t (id, b);
CREATE PUBLICATION same FOR TABLE t (b, id);
CREATE PUBLICATION other FOR TABLE t (id, a);
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE PUBLICATION keyless FOR TABLE t (a) WITH (publish = 'insert');
SELECT create_slot();
INSERT INTO t VALUES (1, 'a', 'b', 1);
UPDATE t SET a = 'secret', b = 'bb';
DELETE FROM t;
SELECT * FROM changes('publication_name', 'p,same');
INSERT INTO t VALUES (1, 'a', 'b', 1);
\set VERBOSITY terse
SELECT * FROM changes('publication_name', 'p,other');
SELECT * FROM changes('publication_name', 'everything,p');
\set VERBOSITY default
-- a list that lacks the key
SELECT * FROM changes('publication_name', 'keyless');
-- a list stays as it is when a column is added
ALTER PUBLICATION p SET TABLE t (id, a, b, c);
ALTER TABLE t ADD COLUMN d int;
INSERT INTO t VALUES (2, 'a', 'b', 1, 5);
SELECT * FROM changes('publication_name', 'p');
DROP PUBLICATION p, same, other, everything, keyless;
DROP TABLE t;
SELECT drop_slot();
