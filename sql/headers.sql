-- Headers: keys of a changed key, and who sends.
CREATE TABLE t (id int PRIMARY KEY, a int);
CREATE TABLE keyed (s text, n numeric(20,12), b bytea, d date, f float8,
	r real, o boolean, PRIMARY KEY (s, n, b, d, f, r, o));
-- the id of the run differs from run to run: is it a UUID of version 7?
CREATE FUNCTION header_lines(VARIADIC options text[] DEFAULT '{}')
RETURNS TABLE (line text) LANGUAGE sql AS $$
SELECT concat_ws(' ', coalesce(data::json#>>'{value,op}', data::json#>>'{value,status}', 'tombstone'),
	string_agg(replace(key, '__debezium.context.', '...') || '=' ||
		CASE WHEN key LIKE '%runId' AND
			value ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'
		THEN 'uuid' ELSE value END, ' ' ORDER BY header.ordinality))
FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL,
		VARIADIC options) WITH ORDINALITY changes (lsn, xid, data, ordinality)
	LEFT JOIN LATERAL json_each_text(data::json->'headers')
		WITH ORDINALITY header ON true
GROUP BY changes.ordinality, data ORDER BY changes.ordinality
$$;
SELECT create_slot();
INSERT INTO t VALUES (1, 1);
UPDATE t SET id = 2;
DELETE FROM t;
TRUNCATE t;
SELECT 'sent' FROM pg_logical_emit_message(true, 'x', '');
SELECT * FROM header_lines('extended_headers_enabled', 'on',
	'skipped_operations', 'none', 'topic_prefix', 'shop',
	'provide_transaction_metadata', 'on');
-- off by default
INSERT INTO t VALUES (1, 1);
UPDATE t SET id = 2;
SELECT * FROM header_lines();
-- key structs as Connect's SimpleHeaderConverter writes them
INSERT INTO keyed VALUES (E's"t\\r\n\x01\U0001F600', 0.000000000001, '\x0001',
	'2024-02-29', 1e10, 0.5, true);
UPDATE keyed SET n = -3, b = '\xff', d = '1969-12-31', f = 'NaN', r = 3.4e38,
	o = false;
UPDATE keyed SET s = 'x';
SELECT * FROM header_lines();
UPDATE keyed SET f = '-Infinity';
UPDATE keyed SET d = '2024-02-29';
SELECT * FROM header_lines('time_precision_mode', 'connect');
DROP TABLE t, keyed;
DROP FUNCTION header_lines;
SELECT drop_slot();
