-- Databases in other encodings: what arrives is UTF-8, or an error that names
-- the column.
SET client_min_messages = warning;
CREATE DATABASE regress_ascii TEMPLATE template0 ENCODING 'SQL_ASCII'
	LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE regress_latin1 TEMPLATE template0 ENCODING 'LATIN1'
	LC_COLLATE 'C' LC_CTYPE 'C';

-- SQL_ASCII: UTF-8 passes as it is; values of all lengths keep their ends
\c regress_ascii
SET client_encoding = 'SQL_ASCII';
CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b text, c char(5), d text);
SELECT 'created' FROM pg_create_logical_replication_slot('regression_ascii', 'wal2kafka');
INSERT INTO t VALUES (1, 'Ada', 'x', 'ab', 'end'), (2, '', 'longer', 'c', ''),
	(3, 'z', convert_from('\xc3a9', 'UTF8'), 'd', repeat('y', 40));
SELECT data::json #> '{value,after}' FROM pg_logical_slot_get_changes('regression_ascii', NULL, NULL);
INSERT INTO t VALUES (4, convert_from('\xe9', 'SQL_ASCII'));
\set VERBOSITY terse
SELECT data FROM pg_logical_slot_get_changes('regression_ascii', NULL, NULL);
\set VERBOSITY default
SELECT 'dropped' FROM pg_drop_replication_slot('regression_ascii');

-- LATIN1: converted
\c regress_latin1
SET client_encoding = 'UTF8';
CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b text);
SELECT 'created' FROM pg_create_logical_replication_slot('regression_latin1', 'wal2kafka');
INSERT INTO t VALUES (1, 'Ada', convert_from('\xe9e8', 'LATIN1')), (2, 'Zoe', 'plain');
SELECT data::json #> '{value,after}' FROM pg_logical_slot_get_changes('regression_latin1', NULL, NULL);
SELECT 'dropped' FROM pg_drop_replication_slot('regression_latin1');
\c contrib_regression
DROP DATABASE regress_ascii;
DROP DATABASE regress_latin1;
