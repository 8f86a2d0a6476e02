-- Tables without a primary key: a unique index keys them, or nothing does.
SELECT create_slot();
CREATE TABLE none (a int, b text);
CREATE TABLE uniq (a int NOT NULL UNIQUE, b text);
-- the first by name of those that can tell rows apart
CREATE TABLE several (a int NOT NULL, b int NOT NULL, c int, d int NOT NULL, e int NOT NULL);
CREATE UNIQUE INDEX several_1_nullable ON several (c);
CREATE UNIQUE INDEX several_2_partial ON several (a) WHERE a > 0;
CREATE UNIQUE INDEX several_3_expression ON several ((a + 1));
ALTER TABLE several ADD CONSTRAINT several_4_deferred UNIQUE (e) DEFERRABLE;
CREATE UNIQUE INDEX several_6_later ON several (d);
CREATE UNIQUE INDEX several_5 ON several (b, a) INCLUDE (c);
INSERT INTO none VALUES (1, 'x');
INSERT INTO uniq VALUES (1, 'x');
INSERT INTO several VALUES (1, 2, 3, 4, 5);
SELECT * FROM changes();
-- the replica identity goes first
ALTER TABLE several REPLICA IDENTITY USING INDEX several_6_later;
UPDATE several SET c = 4;
UPDATE several SET d = 40;
DELETE FROM several;
SELECT * FROM changes();
-- the key is in the order of the key, not of the columns
CREATE TABLE ordered (a int, b text, c int, PRIMARY KEY (c, a));
INSERT INTO ordered VALUES (1, 'x', 3);
-- a deferrable primary key is one
CREATE TABLE deferred (a int PRIMARY KEY DEFERRABLE);
INSERT INTO deferred VALUES (1);
SELECT * FROM changes();
DROP TABLE none, uniq, several, ordered, deferred;
SELECT drop_slot();
