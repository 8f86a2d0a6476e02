-- wal2kafka.decode() refuses what the plugin did not write, at every byte.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;

CREATE SCHEMA regress_decode;
SET search_path = regress_decode, public;
CREATE TABLE t (id int PRIMARY KEY, a text, n numeric(6,2), l int[]);
SELECT 'created' FROM pg_create_logical_replication_slot('regress_decode', 'wal2kafka');
INSERT INTO t VALUES (1, 'one', 1.5, '{1,NULL}');
UPDATE t SET id = 2;
CREATE TABLE frames AS
SELECT row_number() OVER () AS n, data
FROM pg_logical_slot_get_binary_changes('regress_decode', NULL, NULL,
	'format', 'avro');
SELECT n, d->'key' AS key, d#>'{value,before}' AS before,
	d#>'{value,after}' AS after, d->'headers' AS headers
FROM (SELECT n, wal2kafka.decode(data) AS d FROM frames) AS decoded;

\set VERBOSITY terse
SELECT wal2kafka.decode('');
SELECT wal2kafka.decode('w2k');
SELECT wal2kafka.decode('w2k\002');
SELECT wal2kafka.decode('w2k\001');
SELECT wal2kafka.decode('w2k\001\000\000\000\001');
SELECT wal2kafka.decode('w2k\001\377\377\377\377');
SELECT wal2kafka.decode('w2k\001\000\000\000\001\377');
-- topic "t", nothing else
SELECT wal2kafka.decode('\x77326b01' || '\x0000000174'::bytea || '\xffffffffffffffffffffffffffffffff00'::bytea);
-- a value without a schema: what is sent as it is
SELECT wal2kafka.decode('\x77326b01' || '\x0000000174'::bytea || '\xffffffffffffffffffffffff0000000100'::bytea || '\x00'::bytea);
-- schemas that are none
CREATE FUNCTION outcome(frame bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM wal2kafka.decode(frame);
	RETURN 'decoded';
EXCEPTION
	WHEN invalid_binary_representation OR data_corrupted
		OR invalid_text_representation OR character_not_in_repertoire THEN
		RETURN 'refused';
END
$$;
SELECT outcome('\x77326b01' || '\x0000000174'::bytea || '\xffffffffffffffff'::bytea || '\x000000017b'::bytea || '\x0000000100'::bytea || '\x00'::bytea);
SELECT outcome('\x77326b01' || '\x0000000174'::bytea || '\xffffffffffffffff'::bytea || '\x00000005'::bytea || '"bla"' || '\x0000000100'::bytea || '\x00'::bytea);

-- schemas that must not reach libavro or the number's text
CREATE FUNCTION outcome_of(schema text, datum bytea) RETURNS text LANGUAGE sql AS $$
SELECT outcome('\x77326b010000000174ffffffffffffffff'::bytea
	|| int4send(length(schema)) || convert_to(schema, 'UTF8')
	|| int4send(length(datum)) || datum || '\x00'::bytea)
$$;
SELECT outcome_of('{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"bytes","logicalType":"decimal","scale":' || scale || '}}]}', '\x0205')
FROM unnest('{0,2,-1,-5,16383,16384,2147483647,4294967291}'::bigint[]) AS scale;
SELECT outcome_of(replace('{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}', name, other), '\x0a')
FROM (VALUES ('"a"', '"b.c"'), ('"a"', '"\",\"type\":\"null\"},{\"name\":\"x"'), ('"R"', '"\"R"'), ('"R"', '"R","namespace":"\""'), ('"R"', '"R","namespace":1')) AS t (name, other);

-- cut off, or changed, at each byte: an error or JSON, nothing worse
SELECT outcome(substr(data, 1, g)), count(*) > 0
FROM frames, generate_series(1, length(data) - 1) AS g
GROUP BY 1;
SELECT bool_and(outcome(set_byte(data, g, get_byte(data, g) # x))
	IN ('decoded', 'refused')) AS survived
FROM frames, generate_series(0, length(data) - 1) AS g,
	unnest('{1,128,255}'::int[]) AS x;

SELECT 'dropped' FROM pg_drop_replication_slot('regress_decode');
SET client_min_messages = warning;
DROP SCHEMA regress_decode CASCADE;
