-- Logical decoding messages: which are sent, and their content.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE FUNCTION messages(VARIADIC options text[])
RETURNS TABLE (prefix text, content text) LANGUAGE sql AS $$
SELECT data::json#>>'{value,message,prefix}',
	data::json#>>'{value,message,content}'
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	VARIADIC options)
$$;
SELECT create_slot();
SELECT count(pg_logical_emit_message(transactional, prefix, content))
FROM (VALUES (true, 'billing', 'a'), (true, 'Billing.eu', 'b'),
	(true, 'audit', 'c'), (false, 'audit.eu', 'd'),
	(false, '', 'e')) v (transactional, prefix, content);
SELECT * FROM messages('message_prefix_include_list', 'billing');
SELECT * FROM messages('message_prefix_include_list', 'billing.*');
SELECT * FROM messages('message_prefix_include_list', 'bill, audit.*');
SELECT * FROM messages('message_prefix_exclude_list', 'billing.*,');
-- as in Debezium, the first list wins
SELECT * FROM messages('message_prefix_include_list', 'audit',
	'message_prefix_exclude_list', 'audit');
\set VERBOSITY terse
SELECT * FROM messages('message_prefix_include_list', 'audit(');
\set VERBOSITY default
SELECT drop_slot();

-- content by binary_handling_mode
SELECT create_slot();
SELECT 'sent' FROM pg_logical_emit_message(true, 'bytes', '\xfbff00e9'::bytea);
SELECT 'sent' FROM pg_logical_emit_message(true, 'none', ''::bytea);
SELECT * FROM messages('binary_handling_mode', 'bytes');
SELECT * FROM messages('binary_handling_mode', 'base64');
SELECT * FROM messages('binary_handling_mode', 'base64-url-safe');
SELECT * FROM messages('binary_handling_mode', 'hex');
-- what libavro makes of it
SELECT wal2kafka.decode(data)::json#>>'{value,message,content}'
FROM pg_logical_slot_get_binary_changes('regression_slot', NULL, NULL,
	'format', 'avro', 'binary_handling_mode', 'hex');
SELECT drop_slot();

-- a database in another encoding
SET client_min_messages = warning;
CREATE DATABASE regress_latin1 TEMPLATE template0 ENCODING 'LATIN1'
	LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_latin1
SET client_encoding = 'UTF8';
SELECT 'created' FROM pg_create_logical_replication_slot('regression_latin1', 'wal2kafka');
SELECT 'sent' FROM pg_logical_emit_message(false, convert_from('\x6be9', 'LATIN1'), '\xe9'::bytea);
SELECT 'sent' FROM pg_logical_emit_message(true, convert_from('\x6be9', 'LATIN1'), '\xe9'::bytea);
SELECT data::json->'key', data::json#>'{value,message}'
FROM pg_logical_slot_peek_changes('regression_latin1', NULL, NULL);
SELECT data::json#>'{value,message,prefix}'
FROM pg_logical_slot_get_changes('regression_latin1', NULL, NULL,
	'message_prefix_include_list', 'K.');
SELECT 'dropped' FROM pg_drop_replication_slot('regression_latin1');
\c contrib_regression
DROP DATABASE regress_latin1;
DROP FUNCTION messages;
