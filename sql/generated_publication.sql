-- Generated columns as publications of 18 and later have them.
SELECT current_setting('server_version_num')::int < 180000 AS too_old \gset
\if :too_old
\quit
\endif
CREATE TABLE t (id int PRIMARY KEY, a int, stored int GENERATED ALWAYS AS (a * 2) STORED,
	virtual int GENERATED ALWAYS AS (a * 3) VIRTUAL);
CREATE PUBLICATION stored FOR TABLE t WITH (publish_generated_columns = stored);
CREATE PUBLICATION none FOR TABLE t WITH (publish_generated_columns = none);
CREATE PUBLICATION listed FOR TABLE t (id, stored);
CREATE PUBLICATION filtered FOR TABLE t WHERE (virtual > 10) WITH (publish = 'insert');
SELECT create_slot();
-- virtual columns never
INSERT INTO t VALUES (1, 1);
SELECT * FROM changes();
INSERT INTO t VALUES (2, 2);
SELECT * FROM changes('publication_name', 'stored');
INSERT INTO t VALUES (3, 3);
SELECT * FROM changes('publication_name', 'none');
INSERT INTO t VALUES (4, 4);
SELECT * FROM changes('publication_name', 'listed');
INSERT INTO t VALUES (5, 1), (6, 6);
SELECT * FROM changes('publication_name', 'filtered');
INSERT INTO t VALUES (7, 7);
\set VERBOSITY terse
SELECT * FROM changes('publication_name', 'stored,none');
SELECT * FROM changes('publication_name', 'stored,listed');
\set VERBOSITY default
SELECT count(*) FROM changes();
-- a constraint that old rows were not checked against
CREATE TABLE nn (id int PRIMARY KEY, a int);
INSERT INTO nn VALUES (1, NULL);
ALTER TABLE nn ADD CONSTRAINT nn_a NOT NULL a NOT VALID;
ALTER TABLE nn REPLICA IDENTITY FULL;
DELETE FROM nn;
SELECT * FROM changes();
DROP PUBLICATION stored, none, listed, filtered;
DROP TABLE t, nn;
SELECT drop_slot();
