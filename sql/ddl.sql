-- Each change has the columns and names of its place in the log.
SELECT create_slot();
CREATE TABLE t (id int PRIMARY KEY, a text);
INSERT INTO t VALUES (1, 'first');
ALTER TABLE t ADD COLUMN b int DEFAULT 1;
INSERT INTO t VALUES (2, 'with b');
ALTER TABLE t RENAME COLUMN a TO text;
INSERT INTO t VALUES (3, 'renamed');
ALTER TABLE t ALTER COLUMN b TYPE text USING 'b' || b;
INSERT INTO t VALUES (4, 'type', 'bbb');
-- in mid-transaction
BEGIN;
INSERT INTO t VALUES (5, 'before', 'b');
ALTER TABLE t DROP COLUMN b;
INSERT INTO t VALUES (6, 'without b');
ALTER TABLE t ADD COLUMN c int;
SAVEPOINT s;
ALTER TABLE t RENAME TO other;
INSERT INTO other VALUES (7, 'other', 7);
ROLLBACK TO s;
INSERT INTO t VALUES (8, 'not renamed', 8);
COMMIT;
ALTER TABLE t RENAME TO renamed;
INSERT INTO renamed VALUES (9, 'renamed', 9);
CREATE SCHEMA elsewhere;
ALTER TABLE renamed SET SCHEMA elsewhere;
INSERT INTO elsewhere.renamed VALUES (10, 'moved', 10);
ALTER SCHEMA elsewhere RENAME TO "Else Where";
INSERT INTO "Else Where".renamed VALUES (11, 'schema renamed', 11);
-- the key
ALTER TABLE "Else Where".renamed DROP CONSTRAINT t_pkey;
INSERT INTO "Else Where".renamed VALUES (12, 'no key', 12);
ALTER TABLE "Else Where".renamed ADD PRIMARY KEY (id, text);
INSERT INTO "Else Where".renamed VALUES (13, 'longer key', 13);
-- a table that is gone when it is decoded
CREATE TABLE gone (id int PRIMARY KEY, a text);
INSERT INTO gone VALUES (1, 'still here');
DROP TABLE gone;
CREATE TABLE gone (x text);
INSERT INTO gone VALUES ('another');
DROP TABLE gone;
-- labels of an enum
CREATE TYPE mood AS ENUM ('sad');
CREATE TABLE m (id int PRIMARY KEY, mood mood, moods mood[]);
INSERT INTO m VALUES (1, 'sad', '{sad}');
ALTER TYPE mood ADD VALUE 'happy';
INSERT INTO m VALUES (2, 'happy', '{happy,sad}');
ALTER TYPE mood RENAME VALUE 'sad' TO 'blue';
INSERT INTO m VALUES (3, 'blue', '{blue}');
SELECT * FROM changes();
-- names that topics and Avro do not know
CREATE TABLE "Weird-Name $1" (id int PRIMARY KEY, "odd col" int, "2nd" int);
INSERT INTO "Weird-Name $1" VALUES (1, 2, 3);
SELECT * FROM changes();
SELECT * FROM changes();
-- of several indexes the first name makes the key
CREATE TABLE keyed (a int NOT NULL, b int NOT NULL);
CREATE UNIQUE INDEX keyed_1 ON keyed (a);
CREATE UNIQUE INDEX keyed_2 ON keyed (b);
INSERT INTO keyed VALUES (1, 2);
ALTER INDEX keyed_1 RENAME TO keyed_3;
INSERT INTO keyed VALUES (3, 4);
DROP INDEX keyed_2;
INSERT INTO keyed VALUES (5, 6);
SELECT * FROM changes();
DROP TABLE keyed;
DROP SCHEMA "Else Where" CASCADE;
DROP TABLE m, "Weird-Name $1";
DROP TYPE mood;
SELECT drop_slot();
