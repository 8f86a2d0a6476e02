-- provide_transaction_metadata: order in transactions, records of their begin
-- and end.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
\pset format unaligned
CREATE TABLE a (id int PRIMARY KEY, v int);
CREATE TABLE b (id int PRIMARY KEY);
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
-- Ids, times and LSNs differ from run to run: what is said of them is whether
-- they fit together.
CREATE FUNCTION transaction_lines(VARIADIC options text[] DEFAULT '{}')
RETURNS TABLE (line text) LANGUAGE sql AS $$
WITH events AS (
	SELECT ordinality, data::json AS event, data::json->'value' AS value
	FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL,
		VARIADIC '{provide_transaction_metadata,on}' || options)
		WITH ORDINALITY
), numbered AS (
	SELECT *, split_part(coalesce(value->>'id', value#>>'{transaction,id}'),
						 ':', 1) AS xid,
		lead(value) OVER (ORDER BY ordinality) AS next
	FROM events
)
SELECT CASE WHEN value->>'status' IS NOT NULL THEN
	concat_ws(' ', event->>'topic', value->>'status',
		'key is id: ' || (event#>>'{key,id}' = value->>'id')::text,
		'transaction ' || dense_rank() OVER (ORDER BY xid::bigint),
		'lsn of the first: ' || CASE value->>'status' WHEN 'BEGIN'
			THEN (split_part(value->>'id', ':', 2)
				  = next#>>'{source,lsn}')::text END,
		value->>'event_count', value->>'data_collections')
	ELSE
	concat_ws(' ', event->>'topic',
		coalesce(value->>'op', 'tombstone'),
		'id is xid and lsn: ' || (value#>>'{transaction,id}' =
			concat(value#>>'{source,txId}', ':', value#>>'{source,lsn}'))::text,
		'order ' || (value#>>'{transaction,total_order}'),
		value#>>'{transaction,data_collection_order}')
	END
FROM numbered ORDER BY ordinality
$$;

SELECT create_slot();
INSERT INTO a VALUES (1, 1);
BEGIN;
INSERT INTO b VALUES (1), (2);
UPDATE a SET id = 2;
DELETE FROM b WHERE id = 2;
SELECT 'sent' FROM pg_logical_emit_message(true, 'x', 'counts as a table');
INSERT INTO a VALUES (3, 1);
COMMIT;
SELECT * FROM transaction_lines();

-- subtransactions that went back count nothing; one with nothing else is none
BEGIN;
SAVEPOINT s;
INSERT INTO a VALUES (4, 1);
ROLLBACK TO s;
COMMIT;
BEGIN;
SAVEPOINT s;
INSERT INTO a VALUES (5, 1);
ROLLBACK TO s;
INSERT INTO a VALUES (6, 1);
COMMIT;
SELECT * FROM transaction_lines();

-- what is skipped leaves its transaction; not transactional: no transaction
BEGIN;
TRUNCATE b;
COMMIT;
SELECT 'sent' FROM pg_logical_emit_message(false, 'x', 'of no transaction');
BEGIN;
SELECT 'sent' FROM pg_logical_emit_message(true, 'left out', 'x');
COMMIT;
SELECT * FROM transaction_lines('message_prefix_exclude_list', 'left.*');

-- nor of the one before it, if nothing of that was sent
SET client_min_messages = error;
CREATE PUBLICATION only_b FOR TABLE b;
RESET client_min_messages;
INSERT INTO a VALUES (20, 1);
SELECT 'sent' FROM pg_logical_emit_message(false, 'x', 'of no transaction');
INSERT INTO a VALUES (21, 1);
SELECT * FROM transaction_lines('publication_name', 'only_b');
DROP PUBLICATION only_b;

-- a table that changes in the transaction is one table
BEGIN;
INSERT INTO a VALUES (7, 1);
ALTER TABLE a ADD COLUMN w int;
INSERT INTO a VALUES (8, 1, 1);
COMMIT;
SELECT * FROM transaction_lines();

-- partitions that are published as their root are one table
SET client_min_messages = error;
CREATE PUBLICATION by_root FOR TABLE parts
	WITH (publish_via_partition_root = true);
RESET client_min_messages;
BEGIN;
INSERT INTO parts VALUES (1), (11), (2);
COMMIT;
SELECT * FROM transaction_lines('publication_name', 'by_root',
	'topic_transaction', 'begin.and.end', 'topic_prefix', 'my.shop');

-- many tables, in the order of Java's HashMap
DO $$
BEGIN
	FOR i IN 1..14 LOOP
		EXECUTE format('CREATE TABLE many_%s (id int)', i);
		EXECUTE format('INSERT INTO many_%s VALUES (1)', i);
	END LOOP;
END
$$;
SELECT string_agg(collection->>'data_collection', ' ')
FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL,
		'provide_transaction_metadata', 'on', 'tombstones_on_delete', 'off'),
	json_array_elements(data::json#>'{value,data_collections}') collection
WHERE data::json#>>'{value,status}' = 'END';

-- off: null in events, no records
INSERT INTO b VALUES (9);
SELECT data::json->>'topic', data::json#>>'{value,transaction}'
FROM pg_logical_slot_get_changes('regression_slot', NULL, NULL);

-- both through libavro
BEGIN;
INSERT INTO b VALUES (10);
COMMIT;
SELECT decoded->>'topic' AS topic, decoded#>>'{value,status}' AS status,
	decoded#>>'{value,event_count}' AS count,
	decoded#>>'{value,transaction,total_order}' AS total
FROM pg_logical_slot_get_binary_changes('regression_slot', NULL, NULL,
		'format', 'avro', 'provide_transaction_metadata', 'on'),
	LATERAL (SELECT wal2kafka.decode(data)::json AS decoded) d;
DROP PUBLICATION by_root;
DROP TABLE a, b, parts;
DO $$
BEGIN
	FOR i IN 1..14 LOOP
		EXECUTE format('DROP TABLE many_%s', i);
	END LOOP;
END
$$;
DROP FUNCTION transaction_lines;
SELECT drop_slot();
