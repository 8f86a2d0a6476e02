-- Comments on columns in schemas.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE t (id int PRIMARY KEY, a text DEFAULT 'x', n numeric(5,2), f numeric, i int[], p point, d date, e text);
COMMENT ON TABLE t IS 'the table';
COMMENT ON COLUMN t.id IS 'the key';
COMMENT ON COLUMN t.a IS E'a "text"\nof two lines, \\ and é';
COMMENT ON COLUMN t.n IS 'decimal';
COMMENT ON COLUMN t.f IS 'has a text of its own';
COMMENT ON COLUMN t.i IS 'array';
COMMENT ON COLUMN t.p IS 'has a text of its own';
COMMENT ON COLUMN t.d IS 'date';
CREATE FUNCTION fields(text) RETURNS TABLE (field text, type text) LANGUAGE sql AS $$
SELECT f->>'name', f->>'type' FROM json_array_elements($1::json) AS f $$;
SELECT fields.* FROM wal2kafka.schema_for('t'), fields(value_schema::json#>>'{fields,0,type,1,fields}') WHERE type ~ 'doc';
SET wal2kafka.include_schema_comments = on;
SELECT fields.* FROM wal2kafka.schema_for('t'), fields(value_schema::json#>>'{fields,0,type,1,fields}');
SELECT fields.* FROM wal2kafka.schema_for('t'), fields(key_schema::json->>'fields');
SELECT value_schema::text LIKE '%the table%' AS table_comment FROM wal2kafka.schema_for('t');
SET wal2kafka.column_propagate_source_type = '.*\.(a|p)';
SELECT fields.* FROM wal2kafka.schema_for('t'), fields(value_schema::json#>>'{fields,0,type,1,fields}') WHERE field IN ('a', 'p');
RESET wal2kafka.column_propagate_source_type;
-- a partition has its root's
CREATE TABLE r (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (9);
COMMENT ON COLUMN r.id IS 'of the root';
CREATE PUBLICATION regress_comments FOR TABLE r WITH (publish_via_partition_root);
SET wal2kafka.publication_name = 'regress_comments';
SELECT topic, fields.* FROM wal2kafka.schema_for('r1'), fields(key_schema::json->>'fields');
RESET wal2kafka.publication_name;
RESET wal2kafka.include_schema_comments;
-- decoding sees the comment of the change's time
SELECT create_slot();
INSERT INTO t (id) VALUES (1);
COMMENT ON COLUMN t.e IS 'late';
INSERT INTO t (id) VALUES (2);
SELECT event FROM changes('include_schema_comments', 'on');
DROP PUBLICATION regress_comments;
DROP FUNCTION fields;
DROP TABLE t, r;
SELECT drop_slot();
