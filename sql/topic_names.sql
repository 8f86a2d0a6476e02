-- Names of topics and schemas.
SELECT create_slot();
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE SCHEMA "s_1";
CREATE TABLE "s_1"."Ta-b ü" (id int PRIMARY KEY, "a b" text);
CREATE FUNCTION names() RETURNS TABLE (topic text, key text, value text, fields text) LANGUAGE sql AS $$
SELECT topic, concat_ws('.', key_schema->>'namespace', key_schema->>'name'),
	concat_ws('.', value_schema->>'namespace', value_schema->>'name'),
	(SELECT string_agg(f->>'name', ', ') FROM json_array_elements(value_schema#>'{fields,0,type,1,fields}') AS f)
FROM wal2kafka.schema_for('"s_1"."Ta-b ü"')
$$;
SET wal2kafka.topic_prefix = 'p_x';
SELECT * FROM names();
SET wal2kafka.schema_name_adjustment_mode = 'avro_unicode';
SET wal2kafka.field_name_adjustment_mode = 'avro_unicode';
SELECT * FROM names();
-- a strategy that keeps names apart
SET wal2kafka.topic_naming_strategy = 'SchemaUnicodeTopicNamingStrategy';
SELECT * FROM names();
SET wal2kafka.schema_name_adjustment_mode = 'avro';
SET wal2kafka.field_name_adjustment_mode = 'avro';
SELECT * FROM names();
RESET wal2kafka.topic_naming_strategy;
-- another delimiter
SET wal2kafka.topic_delimiter = '_';
SELECT * FROM names();
SET wal2kafka.topic_delimiter = '-';
SELECT * FROM names();
SET wal2kafka.topic_naming_strategy = 'io.debezium.schema.SchemaUnicodeTopicNamingStrategy';
SELECT * FROM names();
RESET wal2kafka.topic_naming_strategy;
RESET wal2kafka.topic_delimiter;
-- names as they are: an error where Avro does not allow them
SET wal2kafka.schema_name_adjustment_mode = 'none';
SELECT * FROM names();
SET wal2kafka.schema_name_adjustment_mode = 'avro';
SET wal2kafka.field_name_adjustment_mode = 'none';
SELECT * FROM names();
ALTER TABLE "s_1"."Ta-b ü" RENAME "a b" TO "_a1B";
SELECT * FROM names();
ALTER TABLE "s_1"."Ta-b ü" RENAME TO t;
SET wal2kafka.schema_name_adjustment_mode = 'none';
SELECT topic, key_schema->>'namespace' AS key, value_schema->>'namespace' AS value FROM wal2kafka.schema_for('"s_1".t');
ALTER TABLE "s_1".t RENAME id TO "1 d";
-- in the stream of changes too
INSERT INTO "s_1".t VALUES (1, 'x');
\set VERBOSITY terse
SELECT * FROM changes('field_name_adjustment_mode', 'none');
SELECT * FROM changes('field_name_adjustment_mode', 'avro', 'topic_delimiter', '_');
-- refused
SET wal2kafka.topic_delimiter = '';
SET wal2kafka.topic_delimiter = '/';
SET wal2kafka.topic_naming_strategy = 'DefaultTopicNamingStrategy';
\set VERBOSITY default
RESET ALL;
SELECT drop_slot();
DROP FUNCTION names;
SET client_min_messages = warning;
DROP SCHEMA "s_1" CASCADE;
