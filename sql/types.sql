-- Which value each type arrives as, read by libavro.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;

CREATE SCHEMA regress_types;
SET search_path = regress_types, public;

CREATE FUNCTION fields() RETURNS TABLE (field text, value json)
LANGUAGE sql AS $$
SELECT f.*
FROM pg_logical_slot_get_binary_changes('regress_types', NULL, NULL,
		'format', 'avro') AS c,
	json_each(wal2kafka.decode(c.data)->'value'->'after') AS f;
$$;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE textrange AS RANGE (subtype = text);
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN price AS numeric(8,3);
CREATE DOMAIN moods AS mood[];

SELECT 'created' FROM pg_create_logical_replication_slot('regress_types', 'wal2kafka');

-- numbers and texts
CREATE TABLE plain (
	c_bool bool, c_int2 int2, c_int4 int4, c_int8 int8, c_oid oid,
	c_float4 float4, c_float8 float8, c_money money,
	c_text text, c_varchar varchar(20), c_char char(5), c_name name,
	c_qchar "char", c_qchar_high "char", c_bytea bytea);
INSERT INTO plain VALUES (
	true, -32768, -2147483648, -9223372036854775808, 4294967295,
	1.1, 'NaN', -1234.56,
	E'\\ "quoted" \t \U0001F600 ü', 'varchar', 'ab', 'name',
	'q', '\377', '\x00ff10');
INSERT INTO plain (c_float4, c_float8, c_text, c_bytea, c_char)
VALUES ('-Infinity', 'Infinity', '', '', '');
SELECT * FROM fields();

-- documents and addresses
CREATE TABLE document (
	c_json json, c_jsonb jsonb, c_uuid uuid, c_inet inet, c_inet_net inet,
	c_cidr cidr, c_macaddr macaddr, c_macaddr8 macaddr8, c_tsvector tsvector,
	c_tsquery tsquery, c_jsonpath jsonpath);
INSERT INTO document VALUES (
	'{"a":  1}', '{"b": [1,  2], "a": null}',
	'6B0C4C3A-1111-4222-8333-444455556666', '192.168.0.1', '10.1.2.3/8',
	'10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
	'fat:1 cat:2', 'fat & cat', '$.a[*]');
SELECT * FROM fields();

-- user-defined types, ranges, and types that only have a text form
CREATE TABLE other (
	c_enum mood, c_composite pair, c_domain positive, c_domain_numeric price,
	c_domain_array moods, c_int4range int4range, c_numrange numrange,
	c_tsrange tsrange, c_textrange textrange, c_multirange int4multirange,
	c_bit bit, c_bit5 bit(5), c_varbit varbit, c_varbit1 varbit(1),
	c_varbit_zero varbit, c_bit20 bit(20),
	c_pg_lsn pg_lsn, c_xid xid, c_regclass regclass, c_regtype regtype,
	c_tid tid, c_snapshot pg_snapshot);
INSERT INTO other VALUES (
	'happy', '(1,"x y")', 5, 1.5,
	'{ok,sad}', '[1,5]', '[1.5,)',
	'[2020-01-01,2020-02-01)', '[a,b)', '{[1,3),[5,7)}',
	B'1', B'10101', B'1011', B'0',
	B'000000000', B'10000000000000000001',
	'16/B374D848', '100', 'pg_class', 'int4',
	'(1,2)', '10:20:10,14,15');
SELECT * FROM fields();

-- geometric types
CREATE TABLE shape (
	c_point point, c_line line, c_lseg lseg, c_box box, c_path path,
	c_open path, c_polygon polygon, c_circle circle);
INSERT INTO shape VALUES (
	'(1.5,2.5)', '{1,2,3}', '[(0,0),(1,1)]', '((0,0),(1,1))',
	'((0,0),(1,1),(2,0))', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0),(0,0))',
	'<(1,2),3>');
SELECT * FROM fields();

-- a label that is added after the table was first decoded
INSERT INTO other (c_enum) VALUES ('sad');
SELECT * FROM fields() WHERE field = 'c_enum';
ALTER TYPE mood ADD VALUE 'elated';
INSERT INTO other (c_enum, c_domain_array) VALUES ('elated', '{elated,sad}');
SELECT * FROM fields() WHERE field IN ('c_enum', 'c_domain_array');

SELECT 'dropped' FROM pg_drop_replication_slot('regress_types');
SET client_min_messages = warning;
DROP SCHEMA regress_types CASCADE;
