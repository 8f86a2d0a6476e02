-- Rows of outbox tables as events.
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text NOT NULL,
	aggregateid text, type text, payload jsonb, ts timestamp, version int,
	part int, extra text NOT NULL DEFAULT 'ex');
CREATE TABLE other (id int PRIMARY KEY);
CREATE FUNCTION outbox(VARIADIC options text[] DEFAULT '{}')
RETURNS SETOF text LANGUAGE sql AS $$
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	VARIADIC ARRAY['topic_prefix', 'srv', 'outbox_tables', 'public\.out.*'] || options)
$$;
CREATE FUNCTION take() RETURNS bigint LANGUAGE sql AS $$
SELECT count(*) FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL)
$$;
SELECT create_slot();
INSERT INTO outbox VALUES
	('00000000-0000-0000-0000-000000000001', 'Order', 'k1', 'Created',
	 '{"id": 1, "items": [{"a": 1}, {"b": "x"}], "none": null, "empty": []}',
	 '2024-02-29 12:34:56.789012', 2, 3, 'e1'),
	('00000000-0000-0000-0000-000000000002', 'Customer', NULL, NULL, NULL,
	 NULL, NULL, NULL, 'e2'),
	('00000000-0000-0000-0000-000000000003', 'Order', 'k3', 'Text', '" "',
	 'infinity', 1, 0, 'e3');
SELECT outbox();
SELECT outbox('outbox_table_fields_additional_placement',
	'type:header:eventType, extra:header, version:header, part:partition',
	'outbox_table_field_event_timestamp', 'ts');
SELECT outbox('outbox_table_fields_additional_placement',
	'type:envelope:eventType, extra:envelope, version:header',
	'outbox_table_field_event_schema_version', 'version');
SELECT outbox('outbox_table_expand_json_payload', 'on');
SELECT outbox('outbox_table_expand_json_payload', 'on',
	'outbox_table_json_payload_null_behavior', 'optional_bytes',
	'outbox_table_json_payload_empty_array_behavior', 'optional_string',
	'outbox_table_fields_additional_placement', 'type:envelope') LIMIT 1;
SELECT outbox('outbox_payload_raw', 'on');
SELECT outbox('outbox_table_field_event_id', 'extra',
	'outbox_table_field_event_key', 'id',
	'outbox_table_field_event_payload', 'extra', 'outbox_payload_raw', 'on',
	'outbox_route_by_field', 'extra',
	'outbox_route_topic_regex', '(.)(?<rest>.*)',
	'outbox_route_topic_replacement', '${rest}-$1') LIMIT 1;
-- as libavro reads it, schemas that are no records and some that are
SELECT wal2kafka.decode(data) FROM pg_logical_slot_peek_binary_changes(
	'regression_slot', NULL, NULL, 'format', 'avro', 'topic_prefix', 'srv',
	'outbox_tables', 'public.outbox', 'outbox_table_expand_json_payload', 'on',
	'outbox_table_fields_additional_placement', 'part:header');
SELECT substring(encode(data, 'escape'), '\{"type":"record".*Value"\}')
FROM pg_logical_slot_peek_binary_changes(
	'regression_slot', NULL, NULL, 'format', 'avro', 'topic_prefix', 'srv',
	'outbox_tables', 'public.outbox',
	'outbox_table_field_event_schema_version', 'version',
	'outbox_table_fields_additional_placement', 'type:envelope');
-- what is wrong
SELECT outbox('outbox_table_fields_additional_placement', 'type');
SELECT outbox('outbox_table_fields_additional_placement', 'type:body');
SELECT outbox('outbox_table_fields_additional_placement', 'type:envelope:a-b');
SELECT outbox('outbox_table_fields_additional_placement', 'type:envelope',
	'outbox_payload_raw', 'on');
SELECT outbox('outbox_table_fields_additional_placement', 'nosuch:header');
SELECT count(*) FROM outbox('outbox_table_fields_additional_placement', 'nosuch:header',
	'outbox_table_fields_additional_error_on_missing', 'off');
SELECT outbox('outbox_table_field_event_payload', 'nosuch');
SELECT outbox('outbox_table_field_event_timestamp', 'extra');
SELECT outbox('outbox_table_fields_additional_placement', 'extra:partition');
SELECT outbox('outbox_route_by_field', 'version');
SELECT outbox('outbox_route_by_field', 'type');
SELECT outbox('outbox_route_topic_replacement', 'a topic');
SELECT outbox('outbox_route_topic_regex', '(');
SELECT take();
-- only what is inserted is an event; an update of the key is a new row
UPDATE outbox SET extra = 'changed' WHERE aggregatetype = 'Customer';
UPDATE outbox SET id = '00000000-0000-0000-0000-000000000009' WHERE aggregateid = 'k1';
DELETE FROM outbox;
TRUNCATE outbox;
SELECT outbox('skipped_operations', 'none');
SELECT outbox('outbox_table_op_invalid_behavior', 'fatal');
SELECT take();
-- empty payloads
CREATE TABLE outbox_text (id int PRIMARY KEY, aggregatetype text, aggregateid int,
	payload text);
INSERT INTO outbox_text VALUES (1, 'A', 1, E' \t'), (2, 'A', 2, NULL), (3, 'A', 3, '[1]'),
	(4, 'A', 4, '{"a": [1, "x"]}'), (5, 'A', 5, '{"a b": 1}'), (6, 'A', 6, '{"a": 1');
SELECT outbox('outbox_route_tombstone_on_empty_payload', 'on') LIMIT 3;
SELECT outbox('outbox_table_expand_json_payload', 'on');
SELECT take();
-- a payload that would become many times as large, or has very many keys
INSERT INTO outbox_text SELECT 7, 'A', 7, jsonb_object_agg('k' || i, i) FROM generate_series(1, 1001) AS i;
INSERT INTO outbox_text SELECT 8, 'A', 8, jsonb_build_object('a', jsonb_agg(jsonb_build_object('k' || i, i))) FROM generate_series(1, 1001) AS i;
INSERT INTO outbox_text SELECT 9, 'A', 9, jsonb_build_object('a', jsonb_agg(jsonb_build_object('k' || i % 990, i))) FROM generate_series(1, 20000) AS i;
INSERT INTO outbox_text SELECT 10, 'A', 10, jsonb_build_object(repeat('k', 1001), jsonb_build_object('a', 1));
CREATE FUNCTION expanded() RETURNS text LANGUAGE sql AS $$
SELECT left(regexp_replace(data, '.*"value":', ''), 40)
FROM pg_logical_slot_get_changes('regression_slot', NULL, 1, 'outbox_tables', 'public.outbox_text',
	'outbox_table_expand_json_payload', 'on')
$$;
\set VERBOSITY default
SELECT expanded();
SELECT expanded();
SELECT expanded();
SELECT expanded();
SELECT take();
\set VERBOSITY terse
-- other tables, and other shapes, beside it
INSERT INTO other VALUES (1);
INSERT INTO outbox (id, aggregatetype) VALUES ('00000000-0000-0000-0000-000000000010', 'X');
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	'topic_prefix', 'srv', 'outbox_tables', 'public.outbox', 'envelope', 'flat');
DROP FUNCTION outbox, take, expanded;
DROP TABLE outbox, outbox_text, other;
SELECT drop_slot();
