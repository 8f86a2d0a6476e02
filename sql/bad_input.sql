-- What nobody meant: a clear error, or a rule that is documented, and never a
-- wrong value.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
SELECT create_slot();
-- two names become one: columns, tables, topics by a rule
CREATE TABLE twice (id int PRIMARY KEY, "a-b" int, "a/b" int);
INSERT INTO twice VALUES (1, 2, 3);
\set VERBOSITY terse
SELECT * FROM changes();
SELECT * FROM changes('envelope', 'flat');
SELECT * FROM changes('field_name_adjustment_mode', 'avro_unicode');
CREATE TABLE "t-1" (id int PRIMARY KEY);
CREATE TABLE "t 1" (id int PRIMARY KEY);
CREATE TABLE "t/1" (id int PRIMARY KEY);
INSERT INTO "t-1" VALUES (1);
INSERT INTO "t 1" VALUES (2);
INSERT INTO "t/1" VALUES (3);
SELECT * FROM changes();
SELECT * FROM changes('topic_naming_strategy', 'SchemaUnicodeTopicNamingStrategy');
INSERT INTO "t-1" VALUES (2);
INSERT INTO "t 1" VALUES (3);
SELECT event FROM changes('topic_regex', '(.*)t.1', 'topic_replacement', '$1all');
DROP TABLE twice, "t-1", "t 1", "t/1";
-- lists
SELECT * FROM changes('table_include_list', 'public.(t');
SELECT * FROM changes('table_include_list', 'a', 'table_exclude_list', 'b');
SELECT * FROM changes('message_key_columns', 'public.t:(');
SELECT * FROM changes('column_transforms', 'mask.with.x.chars=salt');
SELECT * FROM changes('column_transforms', 'mask.hash.v2.SHA-999.with.salt.secret=a');
SELECT * FROM changes('column_transforms', 'mask.hash.v2.SHA-256.with.salt.secret=(');
SELECT * FROM changes('column_transforms_file', '/etc/passwd');
SELECT * FROM changes('add_fields', '.');
SELECT * FROM changes('envelope', 'flat', 'add_fields', 'nothing.x');
SELECT * FROM changes('envelope', 'flat', 'add_fields', 'op', 'add_fields_prefix', '-');
SELECT * FROM changes('envelope', 'flat', 'add_fields', 'op:x,ts_ms:x');
SELECT * FROM changes('outbox_table_fields_additional_placement', 'a:b');
SELECT * FROM changes('partition_payload_fields', 'x');
SELECT * FROM changes('partition_payload_fields', 'change.id');
SELECT * FROM changes('partition_payload_fields', 'change.id', 'partition_topic_num', '-1');
SELECT * FROM changes('topic_regex', '(.*)');
SELECT * FROM changes('topic_regex', '(.*', 'topic_replacement', 'x');
SELECT * FROM changes('topic_regex', '(.*)', 'topic_replacement', '$2');
SELECT * FROM changes('topic_regex', '(.*)', 'topic_replacement', '${x}');
SELECT * FROM changes('topic_router_regex', '.*', 'topic_router_replacement', 'x\');
SELECT * FROM changes('topic_delimiter', '/');
SELECT * FROM changes('unavailable_value_placeholder', 'hex:0');
SELECT * FROM changes('message_prefix_include_list', '*');
SET wal2kafka.partition_payload_fields = 'change.id,,op';
SET wal2kafka.add_headers = 'op:';
SET wal2kafka.outbox_table_fields_additional_placement = 'a:header:b:c';
SET wal2kafka.column_transforms = 'mask.with.10001.chars=secret';
SET wal2kafka.column_transforms = 'truncate.to.-1.chars=secret';
SET wal2kafka.column_transforms = 'mask.with.1.chars=''secret';
-- a topic that Kafka does not take, an expression that takes too long
CREATE TABLE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab (id int PRIMARY KEY);
INSERT INTO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab VALUES (1);
SELECT * FROM changes('topic_regex', '.*', 'topic_replacement', 'a/b');
SELECT * FROM changes('table_include_list', 'public\.(a+)+c');
DROP TABLE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab;
SELECT count(*) FROM changes();
-- a mask on a key, and on what is no text: said once, and not again when the
-- table has changed; an include list that matches nothing
CREATE TABLE masked (id text PRIMARY KEY, n int);
INSERT INTO masked VALUES ('key', 1);
ALTER TABLE masked SET (fillfactor = 50);
INSERT INTO masked VALUES ('key 2', 2);
SELECT * FROM changes('table_include_list', 'public\.nothing', 'column_transforms', 'mask.with.3.chars=.*masked.*');
INSERT INTO masked VALUES ('key 3', 3);
ALTER TABLE masked SET (fillfactor = 60);
INSERT INTO masked VALUES ('key 4', 4);
SELECT * FROM changes('column_transforms', 'mask.with.3.chars=.*masked.*');
DROP TABLE masked;
-- labels of an enum that are added or renamed in the transaction of the row
CREATE TYPE mood AS ENUM ('a');
CREATE TYPE nolabel AS ENUM ();
CREATE TABLE enums (id int PRIMARY KEY, m mood, n nolabel[]);
INSERT INTO enums VALUES (1, 'a', '{}');
BEGIN;
ALTER TYPE mood ADD VALUE 'b';
INSERT INTO enums VALUES (2, 'a');
COMMIT;
BEGIN;
ALTER TYPE mood RENAME VALUE 'a' TO 'renamed';
INSERT INTO enums VALUES (3, 'renamed');
COMMIT;
INSERT INTO enums VALUES (4, 'b');
SELECT wal2kafka.decode(data)#>>'{value,after}' AS after,
	substring(encode(data, 'escape') FROM 'allowed":"([ab,renamed]*)"') AS allowed
FROM pg_logical_slot_peek_binary_changes('regression_slot', NULL, NULL, 'format', 'avro');
SELECT count(*) FROM changes();
DROP TABLE enums;
DROP TYPE mood, nolabel;
-- what is gone when the row is decoded: a type, its extension, a table
CREATE EXTENSION citext;
CREATE DOMAIN age AS int;
CREATE TABLE typed (id int PRIMARY KEY, c citext, cs citext[], a age);
INSERT INTO typed VALUES (1, 'Cc', '{Dd}', 5);
DROP EXTENSION citext CASCADE;
INSERT INTO typed VALUES (2, 6);
DROP DOMAIN age CASCADE;
INSERT INTO typed VALUES (3);
CREATE TABLE gone (id int PRIMARY KEY, v text);
INSERT INTO gone VALUES (1, 'v');
DROP TABLE gone;
CREATE TABLE renamed (id int PRIMARY KEY);
INSERT INTO renamed VALUES (1);
ALTER TABLE renamed RENAME TO renamed_2;
CREATE SCHEMA other;
ALTER TABLE renamed_2 SET SCHEMA other;
INSERT INTO other.renamed_2 VALUES (2);
DROP SCHEMA other CASCADE;
SELECT * FROM changes();
DROP TABLE typed;
-- no columns, and as many as there can be
CREATE TABLE zero ();
ALTER TABLE zero REPLICA IDENTITY FULL;
INSERT INTO zero DEFAULT VALUES;
DELETE FROM zero;
\set ECHO none
SELECT 'CREATE TABLE wide (' || string_agg('c' || i || ' int2', ', ') || ')' FROM generate_series(1, 1600) AS i \gexec
SELECT 'INSERT INTO wide VALUES (' || string_agg((i % 100)::text, ', ') || ')' FROM generate_series(1, 1600) AS i \gexec
\set ECHO all
SELECT length(event), md5(event), left(event, 70) FROM changes();
DROP TABLE zero, wide;
-- long names of quotes, backslashes and more
CREATE SCHEMA "s""\'😀";
SELECT format($$CREATE TABLE "s""\'😀".%I (%I int PRIMARY KEY, %I text DEFAULT %L)$$, repeat('"', 40) || repeat('t', 23),
	repeat('\', 31) || repeat('k', 32), repeat('😀', 15) || 'abc', $$"\😀'$$) \gexec
SELECT format($$COMMENT ON COLUMN "s""\'😀".%I.%I IS %L$$, repeat('"', 40) || repeat('t', 23),
	repeat('\', 31) || repeat('k', 32), E'"\\\n\t😀\u0001') \gexec
SELECT format($$INSERT INTO "s""\'😀".%I VALUES (1)$$, repeat('"', 40) || repeat('t', 23)) \gexec
CREATE FUNCTION named(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (part text) LANGUAGE sql AS $$
SELECT p.part FROM pg_logical_slot_peek_binary_changes('regression_slot', NULL, NULL,
		VARIADIC '{format,avro,include_schema_comments,on,column_propagate_source_type,.*}' || options) AS c,
	LATERAL (SELECT wal2kafka.decode(c.data)) AS d (event),
	LATERAL unnest(ARRAY[event->>'topic', event->>'key', event#>>'{value,after}',
		event#>>'{value,source,schema}', event#>>'{value,source,table}']) AS p (part)
$$;
SELECT * FROM named();
SELECT * FROM named('topic_naming_strategy', 'SchemaUnicodeTopicNamingStrategy',
	'schema_name_adjustment_mode', 'avro_unicode', 'field_name_adjustment_mode', 'avro_unicode');
SELECT * FROM named('schema_name_adjustment_mode', 'none');
SELECT count(*) FROM changes('extended_headers_enabled', 'on');
DROP FUNCTION named;
DROP SCHEMA "s""\'😀" CASCADE;
SELECT drop_slot();
