-- The placeholder of unchanged large values: text, bytes, and what Java makes
-- of bytes that are no text.
CREATE FUNCTION random_text(n int) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(md5(i::text), '') FROM generate_series(1, n) i $$;
CREATE TABLE t (id int PRIMARY KEY, v int, t text, b bytea, j json, ta text[], ba bytea[],
	ia int[], la bigint[], da date[], ua uuid[], n numeric);
DO $$ BEGIN
	FOR i IN 3..12 LOOP
		EXECUTE format('ALTER TABLE t ALTER %I SET STORAGE EXTERNAL',
			(SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = i));
	END LOOP;
END $$;
SELECT create_slot();
INSERT INTO t SELECT 1, 0, random_text(200), random_text(200)::bytea, to_json(random_text(200)),
	ARRAY[random_text(200)], ARRAY[random_text(200)::bytea], array_agg(i), array_agg(i), array_agg('2020-01-01'::date + i),
	array_agg(md5(i::text)::uuid), repeat('123456789', 1000)::numeric FROM generate_series(1, 2000) i;
UPDATE t SET v = 1;
CREATE FUNCTION peek(VARIADIC options text[]) RETURNS TABLE (field text, value text) LANGUAGE sql AS $$
SELECT j.*
FROM (SELECT data::json AS event FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	VARIADIC options) OFFSET 1) AS e, json_each_text(event#>'{value,after}') AS j
WHERE key NOT IN ('id', 'v') $$;
SELECT * FROM peek('unavailable_value_placeholder', 'gone');
SELECT * FROM peek('unavailable_value_placeholder', 'hex:01ff41e9');
SELECT * FROM peek('unavailable_value_placeholder', 'hex:e282ac', 'binary_handling_mode', 'base64', 'decimal_handling_mode', 'string');
SELECT * FROM peek('unavailable_value_placeholder', '');
-- bytes that are no UTF-8: cut short, surrogates, too long, too large
SELECT * FROM peek('unavailable_value_placeholder', 'hex:41e28241f0908041c041eda08041f541f48fbfbf41') WHERE field = 't';
\set VERBOSITY terse
SET wal2kafka.unavailable_value_placeholder = 'hex:0';
SET wal2kafka.unavailable_value_placeholder = 'hex:0g';
DROP FUNCTION peek, random_text;
DROP TABLE t;
SELECT drop_slot();
