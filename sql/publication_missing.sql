-- A publication that is not there (yet) selects nothing.
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE u (id int PRIMARY KEY);
CREATE PUBLICATION other FOR TABLE u;
SELECT create_slot();
INSERT INTO t VALUES (1);
INSERT INTO t VALUES (2);
INSERT INTO u VALUES (1);
CREATE PUBLICATION late FOR TABLE t;
INSERT INTO t VALUES (3);
DROP PUBLICATION late;
INSERT INTO t VALUES (4);
INSERT INTO u VALUES (2);
SELECT * FROM changes('publication_name', 'late, other');
DROP PUBLICATION other;
DROP TABLE t, u;
SELECT drop_slot();
