-- An INSERT is a create: key, no before, the row as after.
CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b text, c int DEFAULT 7);
SELECT create_slot();
INSERT INTO t VALUES (1, 'one', NULL, NULL), (2, 'two', 'x', 3);
INSERT INTO t (id, a) VALUES (3, 'three');
INSERT INTO t VALUES (1, 'again', 'conflict') ON CONFLICT (id) DO NOTHING;
INSERT INTO t VALUES (4, 'four') ON CONFLICT (id) DO UPDATE SET b = 'no';
COPY t (id, a) FROM stdin;
5	five
6	six
\.
WITH moved AS (INSERT INTO t VALUES (7, 'cte') RETURNING id) SELECT * FROM moved;
CREATE TABLE made AS SELECT 1 AS x;
SELECT * FROM changes();
-- nothing new
SELECT * FROM changes();
-- temporary, unlogged and other relations are not streamed
CREATE TEMP TABLE temporary (a int);
CREATE UNLOGGED TABLE unlogged (a int);
CREATE MATERIALIZED VIEW matview AS SELECT * FROM t;
INSERT INTO temporary VALUES (1);
INSERT INTO unlogged VALUES (1);
REFRESH MATERIALIZED VIEW matview;
COMMENT ON TABLE t IS 'catalogs change';
SELECT * FROM changes();
DROP MATERIALIZED VIEW matview;
DROP TABLE t, made, temporary, unlogged;
SELECT drop_slot();
