-- Decimals of any size and sign, and what no decimal is.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;

CREATE SCHEMA regress_numeric;
SET search_path = regress_numeric, public;

-- With a scale the value itself; without one, scale and unscaled value.
CREATE TABLE fixed (
	n102 numeric(10,2), n30 numeric(30), n_neg numeric(5,-2),
	n_small numeric(3,5));
CREATE TABLE wide (n numeric(1000,500));
CREATE TABLE free (id int, n numeric);
CREATE FUNCTION rows() RETURNS TABLE (after json) LANGUAGE sql AS $$
SELECT wal2kafka.decode(data)->'value'->'after'
FROM pg_logical_slot_get_binary_changes('regress_numeric', NULL, NULL,
	'format', 'avro');
$$;
SELECT 'created' FROM pg_create_logical_replication_slot('regress_numeric', 'wal2kafka');

INSERT INTO fixed VALUES
	(0, 0, 0, 0),
	(0.1, 1, 100, 0.00001),
	(-0.01, -1, -12300, -0.00999),
	(1.27, 127, 9999900, 0.00128),
	(-1.28, -128, -100, -0.00128),
	(99999999.99, 999999999999999999999999999999, NULL, 0.00999),
	(-99999999.99, -999999999999999999999999999999, NULL, -0.00999),
	(92233720.36, 170141183460469231731687303715, NULL, NULL);
SELECT * FROM rows();

INSERT INTO free VALUES
	(1, 0), (2, 0.000), (3, 1), (4, 10), (5, 1e20), (6, 1.10), (7, -1.5),
	(8, 0.0001), (9, 0.00012), (10, 10000), (11, 10000.0001), (12, -128),
	(13, 128), (14, -32768), (15, 12345678901234567890.123456789);
SELECT * FROM rows();

-- every size, compared with the value
INSERT INTO wide
SELECT s * (repeat((g % 9 + 1)::text, g) || '.' || repeat((g % 7 + 1)::text, g))::numeric
FROM generate_series(1, 500) AS g, unnest('{1,-1}'::int[]) AS s;
SELECT count(*), count(DISTINCT t.n)
FROM rows() AS r JOIN wide AS t ON t.n = (r.after->>'n')::numeric;

-- the largest numeric: one, then 131071 zeros; and 16383 digits of fraction
INSERT INTO free VALUES (20, 1e131071), (21, -1e-16383);
SELECT after->>'id' AS id, after->'n'->>'scale' AS scale,
	length(after->'n'->>'value') AS length
FROM rows();

-- no decimal: an error that says so, never null
\set VERBOSITY terse
INSERT INTO free VALUES (30, 'NaN');
SELECT * FROM rows();
SELECT 'dropped' FROM pg_drop_replication_slot('regress_numeric');
SELECT 'created' FROM pg_create_logical_replication_slot('regress_numeric', 'wal2kafka');
INSERT INTO free VALUES (31, '-Infinity');
SELECT * FROM rows();

SELECT 'dropped' FROM pg_drop_replication_slot('regress_numeric');
SET client_min_messages = warning;
DROP SCHEMA regress_numeric CASCADE;
