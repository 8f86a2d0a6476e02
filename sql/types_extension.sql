-- Types of extensions: those with a mapping, and text for the others.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;

CREATE SCHEMA regress_ext;
SET search_path = regress_ext, public;
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION ltree;
CREATE EXTENSION isn;
CREATE EXTENSION cube;

CREATE TABLE t (
	c_hstore hstore, c_empty hstore, c_citext citext, c_ltree ltree,
	c_lquery lquery, c_isbn isbn, c_cube cube, c_hstores hstore[],
	c_citexts citext[]);
SELECT 'created' FROM pg_create_logical_replication_slot('regress_ext', 'wal2kafka');
INSERT INTO t VALUES (
	hstore(ARRAY['a', E'"b"\\', 'n', 'NULL', 'null', NULL, 'x=>y, z', E'\t\n', 'ü', '']),
	'', 'CiText', 'a.b.c',
	'a.*', '978-0-393-04002-9', '(1,2),(3,4)', ARRAY['a=>1'::hstore, NULL],
	'{x,NULL}');
SELECT f.*
FROM pg_logical_slot_get_binary_changes('regress_ext', NULL, NULL,
		'format', 'avro') AS c,
	json_each(wal2kafka.decode(c.data)->'value'->'after') AS f;

-- a type of the same name that is none of the extension's
DROP EXTENSION hstore CASCADE;
CREATE TYPE hstore AS (a int);
CREATE TABLE u (h hstore);
INSERT INTO u VALUES ('(5)');
SELECT wal2kafka.decode(data)->'value'->'after' AS after
FROM pg_logical_slot_get_binary_changes('regress_ext', NULL, NULL,
	'format', 'avro');

SELECT 'dropped' FROM pg_drop_replication_slot('regress_ext');
SET client_min_messages = warning;
DROP SCHEMA regress_ext CASCADE;
