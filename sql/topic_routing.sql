-- Regular expressions that send tables to other topics.
SELECT create_slot();
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE t_1 (id int PRIMARY KEY, n text);
CREATE TABLE t_2 (id int PRIMARY KEY, n text);
CREATE TABLE nokey_1 (a int);
CREATE TABLE x (id int PRIMARY KEY);
ALTER TABLE nokey_1 REPLICA IDENTITY FULL;
CREATE FUNCTION look(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (event text) LANGUAGE sql AS $$
SELECT regexp_replace(event_line(data::json), ' before.*after=\S+', '')
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, VARIADIC options)
$$;
CREATE FUNCTION names(tablename regclass) RETURNS TABLE (topic text, key text, fields text, value text) LANGUAGE sql AS $$
SELECT topic, key_schema->>'connect.name',
	(SELECT string_agg(f->>'name' || ' ' || (f->>'type'), ', ') FROM json_array_elements(key_schema->'fields') AS f),
	concat_ws(' ', value_schema->>'connect.name', value_schema#>>'{fields,0,type,1,connect.name}')
FROM wal2kafka.schema_for(tablename)
$$;
INSERT INTO t_1 VALUES (1, 'a');
INSERT INTO t_2 VALUES (1, 'b');
INSERT INTO nokey_1 VALUES (1);
INSERT INTO x VALUES (1);
UPDATE t_2 SET id = 2;
DELETE FROM t_1;
DELETE FROM nokey_1;
SELECT 'sent' FROM pg_logical_emit_message(true, 'p', 'm');

-- ByLogicalTableRouter: schemas follow the topic, keys say the table
SELECT * FROM look('topic_regex', '(.*)_\d', 'topic_replacement', '$1-all');
SELECT * FROM look('topic_regex', '(.*)_\d', 'topic_replacement', '$1-all', 'key_field_name', 'source');
SELECT * FROM look('topic_regex', '(.*)_\d', 'topic_replacement', '$1-all', 'key_enforce_uniqueness', 'off');
SELECT * FROM look('topic_regex', '(.*)_\d', 'topic_replacement', '$1-all', 'key_field_regex', '.*t_(.)', 'key_field_replacement', 'part$1');
SET wal2kafka.topic_regex = '(.*)_\d';
SET wal2kafka.topic_replacement = '$1-all';
SELECT * FROM names('t_1');
SELECT * FROM names('nokey_1');
SELECT * FROM names('x');
-- a case that differs does not match; names of groups, and the rest of the syntax
SELECT * FROM look('topic_regex', '.*T_\d', 'topic_replacement', 'all');
SELECT * FROM look('topic_regex', '(?i)(?<db>\w+).(?<s>[^.]+).(?<t>T)_\d', 'topic_replacement', '${t}.$1\.\x${s}$10');
-- what is replaced is the first match, as Java finds it
SELECT * FROM look('topic_regex', '(.*?)', 'topic_replacement', 'before-');
RESET wal2kafka.topic_regex;
RESET wal2kafka.topic_replacement;

-- RegexRouter: the topic alone
SET wal2kafka.topic_router_regex = '(.*)_\d';
SET wal2kafka.topic_router_replacement = '$1';
SELECT * FROM names('t_1');
SELECT * FROM look();
SELECT * FROM look('topic_router_regex', '.*', 'topic_router_replacement', 'everything');
SELECT DISTINCT split_part(event, ' ', 1) AS topic FROM look('provide_transaction_metadata', 'on', 'topic_router_regex', '.*\.transaction', 'topic_router_replacement', 'tx');
-- one after the other
SELECT * FROM look('topic_regex', '.*(t)_(\d)', 'topic_replacement', '$1$2_0', 'topic_router_regex', '(.*)_0', 'topic_router_replacement', 'r-$1');
RESET wal2kafka.topic_router_regex;
RESET wal2kafka.topic_router_replacement;

-- mistakes
\set VERBOSITY terse
SELECT * FROM look('topic_regex', '.*t_1');
SELECT * FROM look('topic_regex', '.*t_1', 'topic_replacement', '$1');
SELECT * FROM look('topic_regex', '.*t_1', 'topic_replacement', '${name}');
SELECT * FROM look('topic_regex', '.*t_1', 'topic_replacement', 'a$');
SELECT * FROM look('topic_regex', '.*t_1', 'topic_replacement', 'a/b');
SELECT * FROM look('topic_router_regex', '.*t_1', 'topic_router_replacement', 'a b');
SELECT * FROM look('topic_regex', '.*t_1', 'topic_replacement', 'a', 'key_field_regex', 'x');
SELECT * FROM look('topic_regex', '.*t_1', 'topic_replacement', 'a', 'key_field_name', 'odd name');
SELECT * FROM look('topic_regex', '.*t_1', 'topic_replacement', 'a', 'key_field_name', 'id');
SET wal2kafka.topic_regex = '(';
SET wal2kafka.key_field_name = '';
\set VERBOSITY default
RESET ALL;
SELECT drop_slot();
DROP FUNCTION look, names;
DROP TABLE t_1, t_2, nokey_1, x;
