--
-- Looking at schemas and events: schema_for, peek, decode.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
\set VERBOSITY terse
CREATE SCHEMA regress_w2k;
SET search_path = regress_w2k, public;
CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL DEFAULT 'none');

-- topic, subjects and schemas, before anything is enabled
\x on
SELECT * FROM wal2kafka.schema_for('item');
\x off

-- under the session's settings
SET wal2kafka.topic_prefix = 'shop';
SET wal2kafka.key_subject_name_strategy = 'RecordNameStrategy';
SET wal2kafka.value_subject_name_strategy = 'TopicRecordNameStrategy';
SELECT topic, key_subject, value_subject
FROM wal2kafka.schema_for('item');
RESET wal2kafka.key_subject_name_strategy;
RESET wal2kafka.value_subject_name_strategy;

-- under a stream's, which need not be configured, and which end with the call
CREATE ROLE regress_w2k_cdc;
DO $$
BEGIN
    EXECUTE format('ALTER ROLE regress_w2k_cdc IN DATABASE %I'
                   ' SET wal2kafka.topic_prefix = %L',
                   current_database(), 'of.the.stream');
END
$$;
SELECT topic, key_subject
FROM wal2kafka.schema_for('item', quote_ident(current_database())
                                  || '/regress_w2k_cdc');
SHOW wal2kafka.topic_prefix;
DROP ROLE regress_w2k_cdc;

-- a table without a key
CREATE TABLE no_key (a int);
SELECT topic, key_subject, key_schema, value_subject
FROM wal2kafka.schema_for('no_key');

-- a publication that does not have the table yet
CREATE TABLE other (id int PRIMARY KEY, secret text);
CREATE PUBLICATION regress_w2k_pub FOR TABLE other (id);
SET wal2kafka.publication_name = 'regress_w2k_pub';
SELECT topic FROM wal2kafka.schema_for('item');
SELECT value_schema::text LIKE '%secret%' AS shows_column
FROM wal2kafka.schema_for('other');
RESET wal2kafka.publication_name;
DROP PUBLICATION regress_w2k_pub;

-- what has no topic
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE VIEW item_view AS SELECT * FROM item;
CREATE UNLOGGED TABLE forgotten (id int PRIMARY KEY);
CREATE TEMP TABLE passing (id int PRIMARY KEY);
SELECT * FROM wal2kafka.schema_for('parted');
SELECT * FROM wal2kafka.schema_for('item_view');
SELECT * FROM wal2kafka.schema_for('forgotten');
SELECT * FROM wal2kafka.schema_for('passing');
SELECT * FROM wal2kafka.schema_for('pg_class');
SELECT * FROM wal2kafka.schema_for('item', 'regress_w2k/other');

-- peek consumes nothing
SELECT slot_name
FROM pg_create_logical_replication_slot('regress_w2k_slot', 'wal2kafka');
INSERT INTO item VALUES (1, 'first'), (2, 'second');
DELETE FROM item WHERE id = 1;
SELECT event ->> 'topic' AS topic, event -> 'key' AS key,
    event -> 'value' ->> 'op' AS op, event -> 'value' -> 'after' AS after
FROM wal2kafka.peek('regress_w2k_slot');
SELECT event -> 'key' AS key FROM wal2kafka.peek('regress_w2k_slot', 1);
SELECT count(*) FROM wal2kafka.peek('regress_w2k_slot', 100);
SELECT count(*) FROM pg_replication_slots
WHERE slot_name LIKE 'regress_w2k%' OR slot_name LIKE 'wal2kafka_peek%';

-- a binary event, read by another implementation
SELECT wal2kafka.decode(data) ->> 'topic' AS topic,
    wal2kafka.decode(data) -> 'key' AS key,
    wal2kafka.decode(data) -> 'value' ->> 'op' AS op
FROM pg_logical_slot_peek_binary_changes('regress_w2k_slot', NULL, NULL,
                                         'format', 'avro');
SELECT wal2kafka.decode('');
SELECT wal2kafka.decode('\xdeadbeef');
SELECT wal2kafka.decode(NULL);

-- no slot of ours
SELECT slot_name FROM pg_create_physical_replication_slot('regress_w2k_phys');
SELECT * FROM wal2kafka.peek('regress_w2k_phys');
SELECT pg_drop_replication_slot('regress_w2k_phys');

-- a slot that no stream uses is shown, and goes by its name
SELECT state, slot_name, retained_bytes >= 0 AS retains
FROM wal2kafka.stat_streams WHERE slot_name = 'regress_w2k_slot';
SELECT ok FROM wal2kafka.health() WHERE stream = 'regress_w2k_slot';
SELECT wal2kafka.drop_stream('regress_w2k_slot');
SELECT count(*) FROM pg_replication_slots
WHERE slot_name LIKE 'regress_w2k%';

RESET wal2kafka.topic_prefix;
SET client_min_messages = warning;
DROP SCHEMA regress_w2k CASCADE;
RESET client_min_messages;
