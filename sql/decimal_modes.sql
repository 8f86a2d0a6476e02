-- Decimals as strings and doubles: every digit, the nearest double, and what
-- is no number.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE DOMAIN price AS numeric(8,3);
CREATE TABLE n (
	id int PRIMARY KEY, free numeric, fixed numeric(12,4), small numeric(3,5),
	round numeric(5,-2), frees numeric[], fixeds numeric(12,4)[], price price,
	prices price[]);
SELECT create_slot();
INSERT INTO n VALUES
	(1, 1.10, 1.5, 0.00001, 12345, '{1.50,NULL,NaN}', '{1.5}', 1.5, '{2}'),
	(2, 1e30, -1.5, 0.00999, -12345, '{1e3}', '{-0.0001}', -0.001, '{}'),
	(3, 0.000, 0, 0, 0, '{0.00}', '{0}', 0, NULL),
	(4, 'NaN', 'NaN', 'NaN', 'NaN', '{NaN,Infinity,-Infinity}', '{NaN}', 'NaN', '{NaN}');
INSERT INTO n (id, free) VALUES
	(10, 'Infinity'), (11, '-Infinity'), (12, 100.00),
	(13, 1e-20), (14, 123456789012345678901234567890.123456789);
SELECT * FROM changes('decimal_handling_mode', 'string');

-- the nearest double: between two, too large, too small, the largest
INSERT INTO n (id, free) VALUES
	(20, 0.1), (21, 9007199254740993), (22, 9007199254740995),
	(23, 1e400), (24, -1e400), (25, 1e-400), (26, 1.7976931348623157e308),
	(27, 1.7976931348623159e308), (28, 2.4703282292062327e-324),
	(29, 2.4703282292062328e-324), (30, 'NaN'), (31, '-Infinity'),
	(32, 123456789012345678901234567890.123456789);
INSERT INTO n VALUES
	(40, -0.5, 99999999.9999, 0.00001, 12345, '{1.50,NULL,NaN}', '{1.5}', 1.5, '{2}');
SELECT * FROM changes('decimal_handling_mode', 'double');

-- as many digits as there can be
INSERT INTO n (id, free) VALUES (50, (repeat('7', 131072) || '.' || repeat('1', 16383))::numeric);
SELECT length(event), event LIKE '%' || repeat('7', 131072) || '.' || repeat('1', 16383) || '%' AS whole
FROM changes('decimal_handling_mode', 'string');
TRUNCATE n;

-- a DELETE's missing values, and defaults
CREATE TABLE d (
	id int PRIMARY KEY, a numeric NOT NULL, b numeric(10,2) NOT NULL,
	c numeric(10,2) NOT NULL DEFAULT 1.5, d numeric DEFAULT 2.25,
	e numeric(10,3) NOT NULL DEFAULT round(1.5), f numeric NOT NULL DEFAULT random()::numeric,
	g numeric DEFAULT 1e-7, h numeric(30,2) DEFAULT 1e20);
INSERT INTO d (id, a, b, f) VALUES (1, 1, 1, 1);
DELETE FROM d;
SELECT * FROM changes('decimal_handling_mode', 'string') OFFSET 1;
INSERT INTO d (id, a, b, f) VALUES (1, 1, 1, 1);
DELETE FROM d;
SELECT * FROM changes('decimal_handling_mode', 'double') OFFSET 1;
SET wal2kafka.decimal_handling_mode = 'string';
SELECT f->>'name' AS field, f->>'type' AS type, f->>'default' AS "default"
FROM wal2kafka.schema_for('d') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;
SET wal2kafka.decimal_handling_mode = 'double';
SELECT f->>'name' AS field, f->>'type' AS type, f->>'default' AS "default"
FROM wal2kafka.schema_for('d') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;
RESET wal2kafka.decimal_handling_mode;

-- precise: an error that says what to do, never null
\set SHOW_CONTEXT never
INSERT INTO n (id, fixed) VALUES (60, 'NaN');
SELECT * FROM changes();
SELECT * FROM changes('decimal_handling_mode', 'string');
DROP TABLE n, d;
DROP DOMAIN price;
SELECT drop_slot();
