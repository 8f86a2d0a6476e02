-- Options of the plugin: settings that shape events, and format.
CREATE TABLE t (id int PRIMARY KEY, "odd name" text);
SELECT create_slot();
INSERT INTO t VALUES (1, 'x');
SELECT data::json->>'topic' AS topic, data::json#>>'{value,source,name}' AS name
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'topic_prefix', 'shop');
SELECT event_line(data::json)
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'field_name_adjustment_mode', 'avro_unicode');
SELECT count(*) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'format', 'json');
SELECT count(*), bool_and(length(data) > 100) FROM pg_logical_slot_peek_binary_changes('regression_slot', NULL, NULL, 'format', 'avro');
-- the session's settings hold, the options go over them
SET wal2kafka.topic_prefix = 'session';
SELECT data::json->>'topic' FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL);
SELECT data::json->>'topic' FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'topic_prefix', 'option');
RESET wal2kafka.topic_prefix;
-- refused
\set VERBOSITY terse
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'format', 'avro');
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'format', 'xml');
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'unknown', 'x');
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'bootstrap_servers', 'localhost:1');
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'kafka_options_file', '/etc/passwd');
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'replica_identity_missing', 'ignore');
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'format', 'json', 'format', 'json');
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'publication_name', 'a,,b');
\set VERBOSITY default
-- what the session has set does not change events, nor decoding the session
SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET bytea_output = 'escape';
SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -15;
CREATE TABLE forms (id int PRIMARY KEY, r tstzrange, d daterange, f point, c cidr);
INSERT INTO forms VALUES (1, '[2024-01-01 12:00+00,)', '[2024-02-29,2024-03-02)', '(0.1,1e-20)', '10/8');
SELECT * FROM changes();
SHOW DateStyle;
SHOW search_path;
BEGIN;
SELECT * FROM changes();
SHOW TimeZone;
COMMIT;
SHOW TimeZone;
RESET ALL;
DROP TABLE t, forms;
SELECT drop_slot();
