-- Who may read a slot: those with REPLICATION, and superusers.
CREATE ROLE regress_w2k_reader;
CREATE ROLE regress_w2k_replication REPLICATION;
CREATE TABLE t (id int PRIMARY KEY);
SELECT create_slot();
INSERT INTO t VALUES (1);
SET ROLE regress_w2k_reader;
\set VERBOSITY sqlstate
SELECT count(*) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL);
SELECT 1 FROM pg_create_logical_replication_slot('another', 'wal2kafka');
\set VERBOSITY default
RESET ROLE;
SET ROLE regress_w2k_replication;
SELECT count(*) FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL);
-- settings of streams are not theirs, the options of the plugin are
SET wal2kafka.topic_prefix = 'mine';
SELECT data::json->>'topic' FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'topic_prefix', 'mine');
RESET ROLE;
SELECT drop_slot();
DROP TABLE t;
DROP ROLE regress_w2k_reader, regress_w2k_replication;
