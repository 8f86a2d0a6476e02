-- Does a stream's slot begin where the slot of another reader stands?
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
CREATE TABLE adopted (id int PRIMARY KEY);
CREATE PUBLICATION adopted FOR TABLE adopted;
INSERT INTO adopted VALUES (0);
SELECT 'init' FROM pg_create_logical_replication_slot('dbz', 'pgoutput');
INSERT INTO adopted VALUES (1), (2);

-- What cannot be taken over.
SELECT wal2kafka.adopt_slot('dbz');
SELECT wal2kafka.adopt_slot('nix', 'contrib_regression/cdc');
SELECT wal2kafka.adopt_slot('dbz', 'postgres/cdc');
SELECT wal2kafka.adopt_slot('dbz', 'a/b/c');
SELECT 'init' FROM pg_create_physical_replication_slot('phys', true);
SELECT wal2kafka.adopt_slot('phys', 'contrib_regression/cdc');
SELECT 'init' FROM pg_create_logical_replication_slot('test', 'test_decoding');
SELECT wal2kafka.adopt_slot('test', 'contrib_regression/cdc');
SELECT wal2kafka._own_slot('test');
SELECT pg_drop_replication_slot(s) FROM unnest('{phys,test}'::name[]) s;

-- The copy stands where the other one stood, and is a stream's.
SELECT slot_name, lsn FROM wal2kafka.adopt_slot('dbz', 'contrib_regression/cdc') \gset
SELECT plugin, confirmed_flush_lsn = :'lsn'::pg_lsn AS confirmed,
	(confirmed_flush_lsn, restart_lsn) = (SELECT confirmed_flush_lsn, restart_lsn
		FROM pg_replication_slots WHERE slot_name = 'dbz') AS position
FROM pg_replication_slots WHERE slot_name = :'slot_name';
SELECT size > 0 AS state FROM pg_stat_file('pg_replslot/' || :'slot_name' || '/wal2kafka.state');
SELECT event_line(event) FROM wal2kafka.peek(:'slot_name');

-- Not twice, not over a stream's own, and not a slot of ours.
SELECT wal2kafka.adopt_slot('dbz', 'contrib_regression/cdc');
SELECT wal2kafka._own_slot(:'slot_name');
SELECT wal2kafka.adopt_slot(:'slot_name', 'contrib_regression/other');
SELECT pg_drop_replication_slot(:'slot_name');

-- A name of one's own; a publication that may be too young, one that is missing.
CREATE PUBLICATION young;
ALTER DATABASE contrib_regression SET wal2kafka.publication_name = 'adopted, young, none';
ALTER DATABASE contrib_regression SET wal2kafka.slot_name = 'named';
SELECT slot_name FROM wal2kafka.adopt_slot('dbz', 'contrib_regression/cdc');

-- The way back.
SELECT slot_name FROM pg_copy_logical_replication_slot('named', 'back', false, 'pgoutput');
SELECT count(*) > 2 AS messages FROM pg_logical_slot_peek_binary_changes('back', NULL, NULL,
	'proto_version', '1', 'publication_names', 'adopted');

ALTER DATABASE contrib_regression RESET wal2kafka.publication_name;
ALTER DATABASE contrib_regression RESET wal2kafka.slot_name;
SELECT pg_drop_replication_slot(s) FROM unnest('{dbz,named,back}'::name[]) s;
DROP PUBLICATION young, adopted;
DROP TABLE adopted;
