-- Row filters, as the server's own plugin applies them.
CREATE TABLE t (id int PRIMARY KEY, a text);
CREATE PUBLICATION small FOR TABLE t WHERE (id < 10);
CREATE PUBLICATION large FOR TABLE t WHERE (id > 100);
CREATE PUBLICATION inserted FOR TABLE t WITH (publish = 'insert');
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE PUBLICATION schema FOR TABLES IN SCHEMA public;
CREATE FUNCTION work() RETURNS void LANGUAGE sql AS $$
DELETE FROM t;
INSERT INTO t VALUES (1, 'in'), (2, 'leaves'), (50, 'never'), (60, 'enters'), (200, 'large');
UPDATE t SET a = a || '!' WHERE id IN (1, 50);
UPDATE t SET id = 51 WHERE id = 2;
UPDATE t SET id = 6 WHERE id = 60;
UPDATE t SET id = 3 WHERE id = 1;
DELETE FROM t;
$$;
SELECT create_slot();
SELECT work();
SELECT * FROM changes('publication_name', 'small');
SELECT work();
SELECT * FROM changes('publication_name', 'small, large');
-- what moves becomes another operation, to which skipped_operations apply
SELECT work();
SELECT * FROM changes('publication_name', 'small', 'skipped_operations', 'c');
-- a publication without a filter has all rows, of its operations
SELECT work();
SELECT * FROM changes('publication_name', 'small, inserted');
SELECT work();
SELECT count(*) FROM changes('publication_name', 'small, everything');
SELECT work();
SELECT count(*) FROM changes('publication_name', 'small, schema');
-- unknown is not true
CREATE TABLE n (id int, a int);
ALTER TABLE n REPLICA IDENTITY FULL;
CREATE PUBLICATION nulls FOR TABLE n WHERE (a > 1 AND id IS DISTINCT FROM 3);
INSERT INTO n VALUES (1, NULL), (2, 2), (3, 3);
UPDATE n SET a = NULL WHERE id = 2;
UPDATE n SET a = 5;
SELECT * FROM changes('publication_name', 'nulls');
-- a filter of a TOASTed column that the update left alone
CREATE TABLE big (id int PRIMARY KEY, a text NOT NULL, b int);
ALTER TABLE big ALTER a SET STORAGE EXTERNAL;
ALTER TABLE big REPLICA IDENTITY FULL;
CREATE PUBLICATION toasted FOR TABLE big WHERE (length(a) > 2000 AND b > 0);
INSERT INTO big VALUES (1, repeat('x', 3000), 0);
UPDATE big SET b = 1;
UPDATE big SET b = 2;
UPDATE big SET b = 0;
SELECT replace(event, repeat('x', 3000), '<x>') FROM changes('publication_name', 'toasted');
-- the root's filter on a partition with other columns
CREATE TABLE root (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
CREATE TABLE leaf (a text, gone int, id int NOT NULL);
ALTER TABLE leaf DROP COLUMN gone;
ALTER TABLE root ATTACH PARTITION leaf FOR VALUES FROM (0) TO (1000);
CREATE PUBLICATION via_root FOR TABLE root WHERE (id < 10) WITH (publish_via_partition_root);
INSERT INTO root VALUES (1, 'in'), (11, 'out');
UPDATE root SET id = id + 5;
UPDATE root SET id = id + 5;
SELECT * FROM changes('publication_name', 'via_root');
DROP PUBLICATION small, large, inserted, everything, schema, nulls, toasted, via_root;
DROP TABLE t, n, big, root;
DROP FUNCTION work;
SELECT drop_slot();
