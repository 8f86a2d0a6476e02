-- Rows without an envelope, as after ExtractNewRecordState.
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL DEFAULT 'dv',
	n numeric(6,2) DEFAULT 1.5, big text, route text);
ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
CREATE FUNCTION flat(VARIADIC options text[] DEFAULT '{}')
RETURNS SETOF text LANGUAGE sql AS $$
SELECT regexp_replace(data, 'x{30,}', 'xxx')
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	VARIADIC ARRAY['envelope', 'flat', 'topic_prefix', 'srv'] || options)
$$;
SELECT create_slot();
INSERT INTO t VALUES (1, 'a', 1, repeat('x', 3000), 'topic-a'),
	(2, DEFAULT, NULL, NULL, 'topic.b');
UPDATE t SET v = 'b' WHERE id = 1;
UPDATE t SET id = 3 WHERE id = 1;
SELECT flat();
-- fields of the envelope, renamed and not; unknown ones are left out
SELECT flat('add_fields', 'op,table,source.schema:S,db,source.snapshot,connector,transaction.id,nosuch,op:KIND');
SELECT flat('add_fields', 'op,before.v:OLD,after.route', 'add_fields_prefix', 'meta_');
SELECT flat('add_headers', 'op,source.table,transaction.total_order,after.n,connector:C', 'add_headers_prefix', 'h.');
SELECT flat('add_fields', 'transaction.total_order,data_collection_order',
	'provide_transaction_metadata', 'on') AS event
EXCEPT SELECT flat('provide_transaction_metadata', 'on') ORDER BY event;
-- the schema, and the other decoder
SELECT encode(data, 'escape') ~ '"name":"Value","namespace":"srv.public.t"',
	wal2kafka.decode(data)->'value'->>'__op'
FROM pg_logical_slot_peek_binary_changes('regression_slot', NULL, 1,
	'format', 'avro', 'envelope', 'flat', 'topic_prefix', 'srv', 'add_fields', 'op');
-- a null is null unless somebody wants the default
SELECT flat('replace_null_with_default', 'on') LIMIT 1 OFFSET 1;
-- a topic by a value
SELECT flat('route_by_field', 'route');
SELECT flat('route_by_field', 'v', 'delete_tombstone_handling_mode', 'rewrite');
-- what is wrong
SELECT flat('add_fields', 'op,');
SELECT flat('add_fields', 'a.b.c');
SELECT flat('add_fields', 'a:b:c');
SELECT flat('add_fields', 'kafka.offset');
SELECT flat('add_fields', 'op:x-y');
SELECT flat('add_fields', 'op,op');
SELECT flat('add_fields', 'op:v', 'add_fields_prefix', '');
SELECT flat('route_by_field', 'nosuch');
SELECT flat('route_by_field', 'id');
SELECT 'taken' FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL) LIMIT 1;
-- no topic
INSERT INTO t VALUES (10, 'a', 1, NULL, 'no topic');
SELECT flat('route_by_field', 'route');
SELECT 'taken' FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL) LIMIT 1;
-- too large to be in the WAL again
INSERT INTO t VALUES (20, 'a', 1, NULL, 'x');
ALTER TABLE t ALTER route SET STORAGE EXTERNAL;
UPDATE t SET route = repeat('r', 3000) WHERE id = 20;
SELECT 'taken' FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL) LIMIT 1;
UPDATE t SET v = 'b' WHERE id = 20;
SELECT flat('route_by_field', 'route');
SELECT 'taken' FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL) LIMIT 1;
-- blank: the table's own
INSERT INTO t VALUES (11, 'a', 1, NULL, ' '), (12, 'a', 1, NULL, NULL);
SELECT flat('route_by_field', 'route');
DROP FUNCTION flat;
DROP TABLE t;
SELECT drop_slot();
