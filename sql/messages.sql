-- Logical decoding messages.
SELECT create_slot();
CREATE FUNCTION message_line(event json) RETURNS text LANGUAGE sql AS $$
SELECT concat_ws(' ', event_line(event),
	'schema="' || (event#>>'{value,source,schema}') || '"',
	'txId=' || (event#>>'{value,source,txId}' IS NOT NULL)::text)
$$;
BEGIN;
SELECT 'sent' FROM pg_logical_emit_message(true, 'transactional', 'hello');
SELECT 'sent' FROM pg_logical_emit_message(false, 'not transactional', 'at once');
SELECT 'sent' FROM pg_logical_emit_message(true, 'bytes', '\x0001ff'::bytea);
COMMIT;
BEGIN;
SELECT 'sent' FROM pg_logical_emit_message(true, 'rolled back', 'never');
SELECT 'sent' FROM pg_logical_emit_message(false, 'rolled back, not transactional', '');
ROLLBACK;
SELECT 'sent' FROM pg_logical_emit_message(true, '', 'no prefix');
SELECT message_line(data::json)
FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL);
DROP FUNCTION message_line;
SELECT drop_slot();
