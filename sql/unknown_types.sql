-- Types without a mapping: text, or left out as Debezium leaves them out; and
-- older versions of Debezium, which had fewer mappings.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE SCHEMA regress_unknown;
SET search_path = regress_unknown, public;
CREATE TYPE pair AS (a int, b text);
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE textrange AS RANGE (subtype = text);
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN deep AS positive CHECK (value < 100);
CREATE DOMAIN pairs AS pair[];
CREATE DOMAIN feeling AS mood;
CREATE FUNCTION fields(regclass) RETURNS TABLE (field text, type text) LANGUAGE sql AS $$
SELECT f->>'name', left(f->>'type', 100)
FROM wal2kafka.schema_for($1) AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f $$;
CREATE TABLE known (
	id int PRIMARY KEY, a "char", b name, c inet, d cidr, e macaddr, f macaddr8,
	g int4range, h int8range, i numrange, j tsrange, k tstzrange, l daterange,
	m deep, n mood, o feeling, p "char"[], q inet[], r mood[], s feeling[], t deep,
	u point, v tsvector[], w int2vector, x oid[], y positive[][]);
CREATE TABLE unknown (
	id int PRIMARY KEY, a pair, b textrange, c int4multirange, d tsquery, e pg_lsn,
	f xid, g regclass, h jsonpath, i tid, j pairs, k pair[], l positive[], m money[],
	n name[], o varbit(3)[], p interval[], q xml[], r point[], s textrange[], t xid8);
SET wal2kafka.include_unknown_datatypes = off;
SELECT * FROM fields('known');
SELECT * FROM fields('unknown');
-- not from the key
CREATE TABLE keyed (x xid8, l pg_lsn, id int, PRIMARY KEY (id, l));
SELECT * FROM fields('keyed');
SELECT key_schema::json->>'fields' FROM wal2kafka.schema_for('keyed');
RESET wal2kafka.include_unknown_datatypes;
SELECT * FROM fields('unknown');

-- version 3.7 brought the geometric types
CREATE TABLE shape (
	id int PRIMARY KEY, a point, b line, c lseg, d box, e path, f polygon, g circle,
	h circle[]);
SET wal2kafka.debezium_version = '3.5';
SELECT * FROM fields('shape');
SET wal2kafka.include_unknown_datatypes = off;
SELECT * FROM fields('shape');
RESET wal2kafka.include_unknown_datatypes;
RESET wal2kafka.debezium_version;

-- rows
SELECT create_slot();
INSERT INTO unknown VALUES (1, '(1,"x y")', '[a,b)', '{[1,3),[5,7)}', 'fat & cat', '16/B374D848',
	'100', 'pg_class', '$.a[*]', '(1,2)', '{"(1,z)"}', '{"(2,)"}', '{1,2}', '{1.5}', '{n}',
	'{101}', '{1 day}', NULL, ARRAY[point '(1,2)'], '{"[a,b)"}', '5');
INSERT INTO keyed VALUES ('1', '0/1', 1);
INSERT INTO shape VALUES (1, '(1,2)', '{1,2,3}', '[(0,0),(1,1)]', '((0,0),(1,1))', '[(0,0),(1,1)]',
	'((0,0),(1,1),(2,0))', '<(1,2),3>', ARRAY[circle '<(1,2),3>']);
SELECT event_line(data::json) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL);
SELECT * FROM changes('include_unknown_datatypes', 'off', 'debezium_version', '3.5');

-- a domain that is not null makes the column so, a domain over it does not
CREATE DOMAIN needed AS text NOT NULL;
CREATE DOMAIN over AS needed;
CREATE TABLE d (id int PRIMARY KEY, a needed, b over);
SELECT * FROM fields('d');
INSERT INTO d (id, a, b) VALUES (1, 'a', 'b');
DELETE FROM d;
SELECT * FROM changes();
SELECT drop_slot();
SET client_min_messages = warning;
DROP SCHEMA regress_unknown CASCADE;
