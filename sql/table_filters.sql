-- Lists of regular expressions: which tables are sent.
SELECT create_slot();
CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE TABLE one.a (id int PRIMARY KEY);
CREATE TABLE one.ab (id int PRIMARY KEY);
CREATE TABLE two.a (id int PRIMARY KEY);
CREATE TABLE two."Mixed, Case" (id int PRIMARY KEY);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
INSERT INTO one.a SELECT count(*) FROM one.a;
INSERT INTO one.ab SELECT count(*) FROM one.ab;
INSERT INTO two.a SELECT count(*) FROM two.a;
INSERT INTO two."Mixed, Case" SELECT count(*) FROM two."Mixed, Case"
$$;
CREATE FUNCTION topics(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (topic text) LANGUAGE sql AS $$
SELECT regexp_replace(data::json->>'topic', '^contrib_regression\.', '')
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, VARIADIC options)
$$;
SELECT fill();
SELECT * FROM topics();
-- the whole name, without regard to case
SELECT * FROM topics('table_include_list', 'ONE\.A');
SELECT * FROM topics('table_include_list', 'one.a, two\.A');
SELECT * FROM topics('table_include_list', '.*\.a');
SELECT * FROM topics('table_exclude_list', '.*\.a,one.*');
SELECT * FROM topics('schema_include_list', 'tw.');
SELECT * FROM topics('schema_exclude_list', 'o');
SELECT * FROM topics('schema_exclude_list', 'one');
-- both kinds of list must let it pass
SELECT * FROM topics('schema_include_list', 'one', 'table_include_list', '.*\.a');
SELECT * FROM topics('schema_exclude_list', 'one', 'table_exclude_list', 'two.a');
-- a comma within an expression; other syntax of Java's
SELECT * FROM topics('table_include_list', 'two.\Qmixed\E\, case');
SELECT * FROM topics('table_include_list', '(?<s>one)\.(?!ab)\w+');
-- nothing passes
SELECT * FROM topics('table_include_list', 'one');
-- publications apply too
CREATE PUBLICATION regress_some FOR TABLE one.a, one.ab;
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
SELECT fill();
SELECT * FROM topics('publication_name', 'regress_some', 'table_exclude_list', 'one.ab');
SELECT * FROM topics('publication_name', 'regress_some', 'table_include_list', 'one.ab,two.a');
-- renaming a table or its schema moves it in or out, at its place in the WAL
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
INSERT INTO one.a VALUES (100);
ALTER TABLE one.a RENAME TO was_a;
INSERT INTO one.was_a VALUES (101);
ALTER TABLE one.was_a RENAME TO a;
INSERT INTO one.a VALUES (102);
ALTER SCHEMA one RENAME TO uno;
INSERT INTO uno.a VALUES (103);
ALTER SCHEMA uno RENAME TO one;
INSERT INTO one.a VALUES (104);
SELECT data::json->'key' AS key FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'table_include_list', 'one.a');
SELECT data::json->'key' AS key FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'table_exclude_list', 'one.a');
-- truncation, too
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
TRUNCATE one.a, one.ab;
SELECT * FROM topics('skipped_operations', 'none', 'table_exclude_list', 'one.a');
-- partitions go by the name that they are published as
CREATE TABLE two.root (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE two.leaf PARTITION OF two.root DEFAULT;
CREATE PUBLICATION regress_root FOR TABLE two.root WITH (publish_via_partition_root = true);
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
INSERT INTO two.root VALUES (1);
SELECT * FROM topics('publication_name', 'regress_root', 'table_include_list', 'two.root');
SELECT * FROM topics('publication_name', 'regress_root', 'table_include_list', 'two.leaf');
SELECT * FROM topics('table_include_list', 'two.root');
SELECT * FROM topics('table_include_list', 'two.leaf');
-- and a renamed root takes them along
ALTER TABLE two.root RENAME TO stem;
INSERT INTO two.stem VALUES (2);
SELECT data::json->>'topic' AS topic, data::json->'key' AS key FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'publication_name', 'regress_root', 'table_include_list', 'two.stem');
-- refused
\set VERBOSITY terse
SELECT * FROM topics('table_include_list', 'a', 'table_exclude_list', 'b');
SELECT * FROM topics('schema_include_list', 'a', 'schema_exclude_list', 'b');
SELECT * FROM topics('column_include_list', 'a', 'column_exclude_list', 'b');
SET wal2kafka.table_include_list = 'a, b(';
SET wal2kafka.schema_exclude_list = '*';
\set VERBOSITY default
SELECT drop_slot();
DROP PUBLICATION regress_some, regress_root;
DROP FUNCTION fill, topics;
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA one, two CASCADE;
