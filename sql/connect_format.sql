-- format=connect: lines with the bytes that Connect's JsonConverter writes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;

CREATE SCHEMA regress_connect;
SET search_path = regress_connect;
CREATE TABLE "a-b" (id int PRIMARY KEY, "odd col" text DEFAULT 'none', n numeric(6,2), b bytea);
CREATE TABLE outbox (id int PRIMARY KEY, aggregateid text, aggregatetype text, type text, payload jsonb);
SELECT public.create_slot();
INSERT INTO "a-b" VALUES (1, E'x\n"é😀', 1.5, '\x00ff');
UPDATE "a-b" SET id = 2;
DELETE FROM "a-b";
TRUNCATE "a-b";
INSERT INTO outbox VALUES (1, 'k', 'my-Type', 'Created', '{"a": 1}');
CREATE FUNCTION lines(VARIADIC options text[]) RETURNS TABLE (line text) LANGUAGE sql AS $$
SELECT regexp_replace(regexp_replace(regexp_replace(data,
		'"(ts_ms|ts_us|ts_ns|lsn|txId|timestamp)":\d+', '"\1":0', 'g'),
		'"sequence":"[^]]*]"', '"sequence":""'), '"version":"[^"]*","connector"', '"version":"","connector"')
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	VARIADIC '{format,connect,topic_prefix,p}' || options)
$$;

\a
-- the payload alone
SELECT * FROM lines('key_converter_schemas_enable', 'off', 'value_converter_schemas_enable', 'off',
	'table_include_list', '.*a-b', 'skipped_operations', 'none');
-- with schemas; decimals as numbers
SELECT * FROM lines('decimal_format', 'numeric', 'table_include_list', '.*a-b') LIMIT 1;
\a
-- a line is JSON, and has partition and time where the row gives them
SELECT line::json->>'topic' AS topic, line::json->'key' AS key, line::json->'partition' AS partition
FROM lines('key_converter_schemas_enable', 'off', 'table_include_list', '.*a-b',
	'partition_topic_num', '3', 'partition_payload_fields', 'change.id');
-- what a row names becomes valid in Avro, too
SELECT line::json->>'topic' AS topic, line::json#>>'{value,schema,name}' AS name, line::json#>'{value,payload}' AS payload
FROM lines('table_include_list', '.*outbox', 'outbox_tables', '.*outbox',
	'outbox_table_fields_additional_placement', 'type:envelope');

\set VERBOSITY terse
SELECT * FROM lines('format', 'avro');
SELECT count(*) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'format', 'xml');
SELECT public.drop_slot();
SET client_min_messages = warning;
DROP SCHEMA regress_connect CASCADE;
