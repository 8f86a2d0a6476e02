-- debezium_version: what is in whose envelope.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE t (id int PRIMARY KEY);
-- schemas as libavro reads them from a frame
CREATE FUNCTION envelope_parts(version text)
RETURNS TABLE (topic text, source json, fields text) LANGUAGE sql AS $$
SELECT data::json->>'topic', data::json#>'{value,source}',
	(SELECT string_agg(key, ',') FROM json_object_keys(data::json->'value') key)
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	'debezium_version', version)
$$;
CREATE FUNCTION schema_parts(version text)
RETURNS TABLE (topic text, part text) LANGUAGE sql AS $$
WITH frame AS (
	SELECT encode(data, 'escape') AS text
	FROM pg_logical_slot_peek_binary_changes('regression_slot', NULL, NULL,
		'format', 'avro', 'debezium_version', version)
)
SELECT substring(text FROM 'regression\.([a-z.]+)'),
	concat_ws(' | ',
		substring(text FROM '"allowed":"[^"]*"'),
		substring(text FROM '"name":"xmin".*"connect.name":"io.debezium.connector.postgresql.Source"'),
		CASE WHEN text ~ '"name":"transaction"' THEN 'transaction' END)
FROM frame
$$;
SELECT create_slot();
INSERT INTO t VALUES (1);
SELECT 'sent' FROM pg_logical_emit_message(true, 'x', '');
\pset format unaligned
\pset tuples_only on
SELECT v.version, topic, fields,
	(SELECT string_agg(key, ',') FROM json_object_keys(source) key)
FROM (VALUES ('2.7'), ('3.1'), ('3.5'), ('3.7')) v (version),
	envelope_parts(v.version);
SELECT v.version, topic, part
FROM (VALUES ('2.7'), ('3.1'), ('3.5'), ('3.7')) v (version),
	schema_parts(v.version);
-- all of them through libavro
SELECT v.version, wal2kafka.decode(data)::json->>'topic',
	wal2kafka.decode(data)::json#>>'{value,op}'
FROM (VALUES ('2.7'), ('3.1'), ('3.5'), ('3.7')) v (version),
	pg_logical_slot_peek_binary_changes('regression_slot', NULL, NULL,
		'format', 'avro', 'debezium_version', v.version);
\pset tuples_only off
\pset format aligned
DROP TABLE t;
DROP FUNCTION envelope_parts;
DROP FUNCTION schema_parts;
SELECT drop_slot();
