-- Names that Kafka or Avro do not take, and names that become the same.
SELECT create_slot();
CREATE TABLE "a.b c" ("1 2" int PRIMARY KEY, "é" text, "$" int);
INSERT INTO "a.b c" VALUES (1, 'x', 2);
SELECT * FROM changes('field_name_adjustment_mode', 'avro_unicode');
DROP TABLE "a.b c";

-- a dot at the end is in the topic, but ends no Avro name
CREATE TABLE "dot." (a int PRIMARY KEY);
CREATE TABLE ".." (a int PRIMARY KEY);
CREATE EXTENSION wal2kafka;
SELECT topic, value_schema->>'namespace' AS namespace
FROM unnest('{"\"dot.\"","\"..\""}'::regclass[]) AS t, wal2kafka.schema_for(t);
DROP EXTENSION wal2kafka;
DROP TABLE "dot.", "..";

\set VERBOSITY terse
-- two columns
CREATE TABLE columns ("a b" int PRIMARY KEY, a_b int);
INSERT INTO columns VALUES (1, 2);
SELECT * FROM changes();
SELECT * FROM changes('field_name_adjustment_mode', 'avro_unicode');
DROP TABLE columns;

-- two tables: they would share a topic
CREATE TABLE "t t" (a int PRIMARY KEY);
CREATE TABLE "t-t" (a int PRIMARY KEY);
CREATE TABLE t_t (a int PRIMARY KEY);
INSERT INTO "t t" VALUES (1);
INSERT INTO "t-t" VALUES (2);
SELECT * FROM changes();
INSERT INTO "t t" VALUES (3);
INSERT INTO t_t VALUES (4);
SELECT * FROM changes();
-- one after the other may have the name
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
INSERT INTO "t t" VALUES (5);
DROP TABLE "t t";
INSERT INTO t_t VALUES (6);
ALTER TABLE t_t RENAME TO other;
ALTER TABLE "t-t" RENAME TO "t t";
INSERT INTO "t t" VALUES (7);
INSERT INTO other VALUES (8);
SELECT * FROM changes();
DROP TABLE "t t", other;
SELECT drop_slot();

-- a database in another encoding: one character, one underscore
CREATE DATABASE regress_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_latin1
SET client_encoding = 'UTF8';
CREATE TABLE "té" ("é" int PRIMARY KEY, v text);
SELECT 'made' FROM pg_create_logical_replication_slot('regression_slot', 'wal2kafka');
INSERT INTO "té" VALUES (1, 'é'), (2, '');
SELECT data::json->>'topic' AS topic, data::json->'key' AS key,
	data::json#>>'{value,after}' AS after, data::json#>>'{value,source,table}' AS "table"
FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL, 'field_name_adjustment_mode', 'avro_unicode');
SELECT 'dropped' FROM pg_drop_replication_slot('regression_slot');
\c contrib_regression
DROP DATABASE regress_latin1;
