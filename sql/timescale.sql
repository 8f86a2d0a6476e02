-- Chunks of TimescaleDB, made by hand: inheritance, and a view for a
-- continuous aggregate.
CREATE SCHEMA _timescaledb_internal;
CREATE TABLE metrics (dropped int, t int NOT NULL, v int, PRIMARY KEY (t));
ALTER TABLE metrics DROP dropped;
CREATE TABLE _timescaledb_internal._hyper_1_1_chunk (PRIMARY KEY (t)) INHERITS (metrics);
CREATE TABLE _timescaledb_internal._hyper_1_2_chunk (v int, t int NOT NULL, PRIMARY KEY (t));
ALTER TABLE _timescaledb_internal._hyper_1_2_chunk INHERIT metrics;
CREATE TABLE _timescaledb_internal._materialized_hypertable_2 (t int PRIMARY KEY, v int);
CREATE TABLE _timescaledb_internal._hyper_2_3_chunk (PRIMARY KEY (t)) INHERITS (_timescaledb_internal._materialized_hypertable_2);
CREATE VIEW _timescaledb_internal._partial_view_2 AS SELECT t, v FROM metrics;
CREATE VIEW daily AS SELECT * FROM _timescaledb_internal._materialized_hypertable_2;
CREATE VIEW later AS SELECT * FROM _timescaledb_internal._materialized_hypertable_2;
CREATE TABLE _timescaledb_internal.lone (a int);
CREATE TABLE child () INHERITS (metrics);
SELECT create_slot();
INSERT INTO _timescaledb_internal._hyper_1_1_chunk VALUES (1, 1);
INSERT INTO _timescaledb_internal._hyper_1_2_chunk VALUES (22, 2);
UPDATE _timescaledb_internal._hyper_1_2_chunk SET t = 3 WHERE t = 2;
DELETE FROM _timescaledb_internal._hyper_1_2_chunk;
INSERT INTO _timescaledb_internal._hyper_2_3_chunk VALUES (4, 44);
INSERT INTO _timescaledb_internal.lone VALUES (5);
INSERT INTO metrics VALUES (6, 66);
INSERT INTO child VALUES (7, 77);
CREATE FUNCTION look(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (event text, source text) LANGUAGE sql AS $$
SELECT event_line(data::json), concat_ws('.', data::json#>>'{value,source,schema}', data::json#>>'{value,source,table}')
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, VARIADIC '{topic_prefix,p}' || options)
$$;
\x on
SELECT * FROM look('timescaledb', 'on');
\x off
SELECT split_part(event, ' ', 1) AS topic, count(*) FROM look() GROUP BY 1 ORDER BY 1;
SELECT split_part(event, ' ', 1) AS topic, count(*) FROM look('timescaledb', 'on', 'timescaledb_target_topic_prefix', 'ts') GROUP BY 1 ORDER BY 1;
-- tables go by either name
SELECT split_part(event, ' ', 1) AS topic, count(*) FROM look('timescaledb', 'on', 'table_include_list', '.*_hyper_1_1.*,public.daily') GROUP BY 1 ORDER BY 1;
SELECT split_part(event, ' ', 1) AS topic, count(*) FROM look('timescaledb', 'on', 'table_exclude_list', '.*_hyper_1_1.*,public.daily') GROUP BY 1 ORDER BY 1;
-- columns by the hypertable's; then the other rules
SELECT event FROM look('timescaledb', 'on', 'column_exclude_list', 'public.metrics.v', 'table_include_list', 'public.metrics',
	'topic_regex', 'timescaledb\.(.*)', 'topic_replacement', '$1', 'key_field_name', 'k') LIMIT 1;
-- a publication of the schema
CREATE PUBLICATION regress_ts FOR TABLES IN SCHEMA _timescaledb_internal;
CREATE PUBLICATION regress_ts_columns FOR TABLE _timescaledb_internal._hyper_1_1_chunk (t);
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
INSERT INTO _timescaledb_internal._hyper_1_1_chunk VALUES (8, 88);
SELECT split_part(event, ' ', 1) AS topic FROM look('timescaledb', 'on', 'publication_name', 'regress_ts');
\set VERBOSITY terse
SELECT split_part(event, ' ', 1) AS topic FROM look('timescaledb', 'on', 'publication_name', 'regress_ts_columns');
SELECT drop_slot();
-- the aggregate's view gets another name, and another schema
SELECT create_slot();
CREATE SCHEMA views;
INSERT INTO _timescaledb_internal._hyper_2_3_chunk VALUES (1, 1);
ALTER VIEW daily RENAME TO hourly;
INSERT INTO _timescaledb_internal._hyper_2_3_chunk VALUES (2, 2);
ALTER VIEW hourly SET SCHEMA views;
INSERT INTO _timescaledb_internal._hyper_2_3_chunk VALUES (3, 3);
ALTER SCHEMA views RENAME TO views_2;
INSERT INTO _timescaledb_internal._hyper_2_3_chunk VALUES (5, 5);
SELECT split_part(event, ' ', 1) AS topic FROM look('timescaledb', 'on');
SELECT drop_slot();
-- schemas do not change from chunk to chunk
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET wal2kafka.timescaledb = on;
SELECT DISTINCT s.topic, s.value_schema->>'namespace' AS namespace, md5(s.value_schema::text) = min(md5(s.value_schema::text)) OVER () AS same
FROM unnest('{_timescaledb_internal._hyper_1_1_chunk,_timescaledb_internal._hyper_1_2_chunk}'::regclass[]) AS t, wal2kafka.schema_for(t) AS s;
RESET wal2kafka.timescaledb;
DROP PUBLICATION regress_ts, regress_ts_columns;
DROP FUNCTION look;
SET client_min_messages = warning;
DROP SCHEMA _timescaledb_internal CASCADE;
DROP SCHEMA views_2;
DROP TABLE metrics CASCADE;
