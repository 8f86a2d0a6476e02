-- Arrays: of any type, with nulls, empty, large.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;

CREATE SCHEMA regress_arrays;
SET search_path = regress_arrays, public;

CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (value > 0);

CREATE FUNCTION fields() RETURNS TABLE (field text, value json)
LANGUAGE sql AS $$
SELECT f.*
FROM pg_logical_slot_get_binary_changes('regress_arrays', NULL, NULL,
		'format', 'avro') AS c,
	json_each(wal2kafka.decode(c.data)->'value'->'after') AS f;
$$;
SELECT 'created' FROM pg_create_logical_replication_slot('regress_arrays', 'wal2kafka');

CREATE TABLE a (
	bools bool[], smalls int2[], ints int[], longs int8[], floats float4[],
	doubles float8[], texts text[], chars char(3)[], bytes bytea[],
	decimals numeric(10,2)[], numbers numeric[], moneys money[], dates date[],
	times time(3)[], stamps timestamp[], zoned timestamptz(0)[],
	intervals interval[], uuids uuid[], jsons json[], jsonbs jsonb[],
	bits bit(3)[], moods mood[], pairs pair[], positives positive[],
	ranges int4range[], points point[], oids oidvector, names name[],
	xmls xml[], varbits varbit[], multiranges int4multirange[],
	vectors tsvector[], boxes box[], addresses inet[], lsns pg_lsn[]);
SET timezone = 'UTC';
INSERT INTO a VALUES (
	'{t,NULL,f}', '{1,NULL}', '{1,NULL,-3}', '{9223372036854775807}', '{1.5}',
	'{NaN,-Infinity}', '{a,NULL,"b c",""}', '{a}', ARRAY['\x00ff'::bytea, NULL],
	'{1.5,NULL,-2.25}', '{1.50,NULL}', '{1.5}', '{1970-01-02,NULL}',
	'{00:00:01}', '{1970-01-01}', '{"1970-01-01 00:00:00+00"}',
	'{1 day,NULL}', '{6b0c4c3a-1111-4222-8333-444455556666}',
	ARRAY['{"a":1}']::json[], ARRAY['{"a":1}', NULL]::jsonb[],
	'{101,001}', '{sad,ok}', ARRAY[ROW(1,'z'), NULL]::pair[], '{1,2}',
	'{"[1,5)",NULL}', ARRAY['(1,2)', NULL]::point[], '1 2 3', '{x,y}',
	'{<a/>,NULL}', '{101,0,NULL}', ARRAY['{[1,2),[5,6)}'::int4multirange, NULL],
	ARRAY['fat:1'::tsvector], '{(0,0),(1,1);NULL}', '{::1,10.0.0.0/8,NULL}',
	'{0/10,NULL}');
SELECT * FROM fields();

-- empty, and starting elsewhere
INSERT INTO a (ints, texts, moods) VALUES ('{}', '{}', '{}'), ('[5:6]={7,8}', NULL, NULL);
SELECT * FROM fields() WHERE field IN ('ints', 'texts', 'moods');

-- large, so that it is compressed, or not in line
CREATE TABLE large (plain int[], external text[]);
ALTER TABLE large ALTER external SET STORAGE EXTERNAL;
INSERT INTO large
SELECT array_agg(g), array_agg(repeat(g::text, 10))
FROM generate_series(1, 5000) AS g;
SELECT f.field, f.value::jsonb =
	CASE f.field WHEN 'plain' THEN to_jsonb(plain) ELSE to_jsonb(external) END AS same
FROM fields() AS f, large;

-- nulls where Debezium's schemas have no place for them
INSERT INTO a (moods) VALUES ('{ok,NULL}');
\set SHOW_CONTEXT never
SELECT * FROM fields() WHERE field = 'moods';

SELECT 'dropped' FROM pg_drop_replication_slot('regress_arrays');
SET client_min_messages = warning;
DROP SCHEMA regress_arrays CASCADE;
