--
-- Asking for snapshots, and what is shown of them, while no worker is there.
--
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET wal2kafka.publication_name = 'regress_w2k_pub';
CREATE ROLE regress_w2k_cdc LOGIN REPLICATION;
CREATE SCHEMA regress_w2k;
GRANT USAGE ON SCHEMA regress_w2k TO regress_w2k_cdc;
SET search_path = regress_w2k, public;
SELECT quote_ident(current_database()) || '/regress_w2k_cdc' AS stream \gset
SELECT slot_name FROM wal2kafka._stream_parts(:'stream') \gset

CREATE TABLE item (id int PRIMARY KEY, name text, price numeric);
CREATE TABLE "Odd ""one""" (id int PRIMARY KEY);
CREATE TABLE outside (id int PRIMARY KEY);
CREATE TABLE secret (id int PRIMARY KEY);
CREATE TABLE guarded (id int PRIMARY KEY);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20)
    PARTITION BY RANGE (id);
CREATE TABLE parted_2_1 PARTITION OF parted_2 FOR VALUES FROM (10) TO (15);
CREATE TABLE empty_parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE VIEW item_view AS SELECT * FROM item;
CREATE MATERIALIZED VIEW item_matview AS SELECT * FROM item;
CREATE UNLOGGED TABLE forgotten (id int PRIMARY KEY);
CREATE TEMP TABLE passing (id int PRIMARY KEY);
CREATE SEQUENCE counter;
CREATE FOREIGN DATA WRAPPER regress_w2k_fdw;
CREATE SERVER regress_w2k_server FOREIGN DATA WRAPPER regress_w2k_fdw;
CREATE FOREIGN TABLE elsewhere (id int) SERVER regress_w2k_server;
GRANT SELECT ON item, "Odd ""one""", outside, guarded, parted, parted_1,
    parted_2_1 TO regress_w2k_cdc;
CREATE PUBLICATION regress_w2k_pub FOR TABLE item, "Odd ""one""", secret,
    guarded, parted;

-- which stream
SELECT wal2kafka.snapshot('item');
SELECT wal2kafka.snapshot('item', stream => 'a/b/c');
SELECT wal2kafka.snapshot('item', stream => 'regress_w2k_none/cdc');
SELECT wal2kafka.snapshot('item', stream => :'stream');
SELECT wal2kafka.pause_snapshot();
SELECT wal2kafka.pause_snapshot(stream => :'stream');
SELECT 'init' FROM pg_create_logical_replication_slot(:'slot_name', 'wal2kafka');

-- what cannot have one
\set VERBOSITY default
SELECT wal2kafka.snapshot(NULL::text, stream => :'stream');
SELECT wal2kafka.snapshot('{}'::text[], stream => :'stream');
SELECT wal2kafka.snapshot('{item,NULL}'::text[], stream => :'stream');
SELECT wal2kafka.snapshot('missing', stream => :'stream');
SELECT wal2kafka.snapshot('regress_w2k.missing', stream => :'stream');
SELECT wal2kafka.snapshot('-', stream => :'stream');
SELECT wal2kafka.snapshot('1', stream => :'stream');
SELECT wal2kafka.snapshot('item_view', stream => :'stream');
SELECT wal2kafka.snapshot('item_matview', stream => :'stream');
SELECT wal2kafka.snapshot('elsewhere', stream => :'stream');
SELECT wal2kafka.snapshot('forgotten', stream => :'stream');
SELECT wal2kafka.snapshot('passing', stream => :'stream');
SELECT wal2kafka.snapshot('counter', stream => :'stream');
SELECT wal2kafka.snapshot('item_pkey', stream => :'stream');
SELECT wal2kafka.snapshot('pg_class', stream => :'stream');
SELECT wal2kafka.snapshot('outside', stream => :'stream');
SELECT wal2kafka.snapshot('empty_parted', stream => :'stream');
SELECT wal2kafka.snapshot('secret', stream => :'stream');
SELECT wal2kafka.snapshot('guarded', stream => :'stream');
SELECT wal2kafka.snapshot('{item,secret}'::text[], stream => :'stream');
SELECT wal2kafka.snapshot('item', 'id >', :'stream');
SELECT wal2kafka.snapshot('item', 'nix = 1', :'stream');
SELECT wal2kafka.snapshot('item', 'id < random() * 10', :'stream');
SELECT wal2kafka.snapshot('item', 'id IN (SELECT id FROM secret)', :'stream');
\set VERBOSITY terse

-- nothing was asked for so far
SELECT count(*) FROM wal2kafka.stat_snapshots;
SELECT count(*) FROM pg_ls_dir('pg_replslot/' || :'slot_name') AS f
WHERE f LIKE 'wal2kafka.request%';

-- what can: partitions take its place, each table is there once
SELECT wal2kafka.snapshot('item', 'price > 10 AND name <> ''x''', :'stream')
    AS first \gset
SELECT :'first' ~ '^[0-9A-F]{16}$' AS is_id;
SELECT length(wal2kafka.snapshot('"Odd ""one"""', stream => :'stream'));
SELECT length(wal2kafka.snapshot('parted', 'id > 5', :'stream'));
SELECT length(wal2kafka.snapshot(
    '{regress_w2k.item,parted_1,item,parted}'::text[], NULL, :'stream'));
CREATE VIEW requests AS
SELECT dense_rank() OVER (ORDER BY requested_at) AS n, kind, "table",
    predicate, state, rows_done, requested_at <= clock_timestamp() AS asked,
    stream
FROM wal2kafka.stat_snapshots;
SELECT * FROM requests ORDER BY n, "table" COLLATE "C";

-- a request is part of its transaction
BEGIN;
SELECT length(wal2kafka.snapshot('item', NULL, :'stream'));
ROLLBACK;
BEGIN;
CREATE TABLE new (id int PRIMARY KEY);
GRANT SELECT ON new TO regress_w2k_cdc;
ALTER PUBLICATION regress_w2k_pub ADD TABLE new;
SAVEPOINT s;
SELECT length(wal2kafka.snapshot('item', NULL, :'stream'));
ROLLBACK TO s;
SAVEPOINT t;
SELECT wal2kafka.snapshot('new', 'id > 0', :'stream') AS id \gset
RELEASE t;
SELECT wal2kafka.pause_snapshot(:'id', :'stream');
SELECT count(*) FROM requests WHERE n > 4;
COMMIT;
SELECT * FROM requests WHERE n > 4;
BEGIN;
SELECT length(wal2kafka.snapshot('item', NULL, :'stream'));
PREPARE TRANSACTION 'regress_w2k';
SELECT count(*) FROM pg_ls_dir('pg_replslot/' || :'slot_name') AS f
WHERE f LIKE 'wal2kafka.request%';

-- steering of what was not begun yet
SELECT wal2kafka.pause_snapshot(:'first', :'stream');
SELECT wal2kafka.resume_snapshot(:'first', :'stream');
SELECT wal2kafka.cancel_snapshot(NULL, :'stream');
SELECT wal2kafka.cancel_snapshot('0000000000000000', :'stream');
SELECT wal2kafka.cancel_snapshot('7', :'stream');
SELECT wal2kafka.cancel_snapshot('', :'stream');
SELECT array_agg(r::json ->> 'command' ORDER BY f COLLATE "C") AS commands,
    count(DISTINCT r::json ->> 'target') AS targets
FROM pg_ls_dir('pg_replslot/' || :'slot_name') AS f,
    pg_read_file('pg_replslot/' || :'slot_name' || '/' || f) AS r
WHERE f LIKE 'wal2kafka.request%';

-- a worker's file, in this encoding and in another one
CREATE FUNCTION put_file(name text, content text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    o oid := lo_from_bytea(0, convert_to(content, 'UTF8'));
BEGIN
    PERFORM lo_export(o, name);
    PERFORM lo_unlink(o);
END
$$;
SELECT 'pg_replslot/' || :'slot_name' || '/wal2kafka.snapshot' AS file \gset
\set utf8 '{"version":1,"encoding":"UTF8","next_id":4,"last_signal":"2/FEDCBA98","known_tables":[16384],"jobs":[{"id":1,"kind":"initial","request":"initial","requested_at":815000000000000,"ended_at":815000003000000,"consistent_point":"0/1","xmin":4294967295,"tables":[{"relid":16384,"schema":"regress_w2k","table":"item","state":"done","estimate":3000,"rows":3001,"ranges":2,"started_at":815000001000000,"ended_at":815000003000000,"active_ms":2000,"storage":16385,"blocks":[0,7,9,12]}]},{"id":2,"kind":"signal","request":"two","signal_id":"mine","paused":true,"requested_at":815000004000000,"tables":[{"relid":4294967295,"schema":"regress_w2k","table":"\\u00c3\\u00a9t\\u00c3\\u00a9","state":"waiting","predicate":"a = \\"\\\\\\""},{"relid":16386,"schema":"regress_w2k","table":"secret","state":"failed","ended_at":815000005000000,"error":"permission denied","hint":"Grant it."}]},{"id":3,"kind":"ad_hoc","request":"three","requested_at":815000006000000,"tables":[{"relid":16387,"schema":"S","table":"item","state":"reading","cursor":["3","x"],"estimate":400,"rows":100,"ranges":1,"started_at":815000006000000,"active_ms":2000}]}],"crc":"c1c883a1"}'
\set latin1 '{"version":1,"encoding":"LATIN1","jobs":[{"id":1,"kind":"new_table","request":"one","requested_at":815000000000000,"tables":[{"relid":16384,"schema":"regress_w2k","table":"\\u00e9t\\u00e9","state":"gone"}]}],"crc":"6b0d2649"}'
SELECT put_file(:'file', :'utf8' || E'\n');
SET TimeZone = 'UTC';
\x on
SELECT * FROM wal2kafka.stat_snapshots WHERE state <> 'requested';
\x off
SELECT severity, object, problem, remedy
FROM wal2kafka.check(:'stream') WHERE problem ~ 'snapshot failed';
SELECT wal2kafka.pause_snapshot('one', :'stream');
SELECT wal2kafka.pause_snapshot('two', :'stream');
SELECT wal2kafka.pause_snapshot('3', :'stream');
SELECT wal2kafka.pause_snapshot('1', :'stream');
SELECT put_file(:'file', :'latin1' || E'\n');
SELECT kind, "table", state FROM wal2kafka.stat_snapshots
WHERE state <> 'requested';

-- damage
CREATE FUNCTION damaged(file text, content text) RETURNS SETOF text
LANGUAGE sql AS $$
    SELECT put_file(file, content);
    SELECT concat_ws('; ', state, regexp_replace(error, '/[^/]*/', '/'), "table")
    FROM wal2kafka.stat_snapshots WHERE state <> 'requested'
$$;
SELECT damaged(:'file', '');
SELECT damaged(:'file', 'nothing');
SELECT damaged(:'file', left(:'utf8', 300));
SELECT damaged(:'file', :'utf8');
SELECT damaged(:'file', replace(:'utf8', '3001', '3002') || E'\n');
SELECT damaged(:'file', '{"version":2,"encoding":"UTF8","crc":"0c212e30"}' || E'\n');
SELECT damaged(:'file', '{"version":1,"encoding":"SJIS","crc":"ec4c3822"}' || E'\n');
SELECT damaged(:'file', '{"version":1,"encoding":"UTF8","jobs":{},"crc":"e1618385"}' || E'\n');
SELECT damaged(:'file', '{"version":1,"encoding":"UTF8","jobs":[{"id":"x","kind":"why"}],"crc":"e211ca36"}' || E'\n');
SELECT damaged(:'file', '{"version":1,"encoding":"UTF8","next_id":1,,"crc":"e0d2fcbb"}' || E'\n');
SELECT wal2kafka.pause_snapshot('two', :'stream');
SELECT severity, remedy FROM wal2kafka.check(:'stream') WHERE problem ~ 'damaged';

-- who is granted one function needs no other; who monitors may look
CREATE ROLE regress_w2k_operator;
CREATE ROLE regress_w2k_monitor;
GRANT pg_monitor TO regress_w2k_monitor;
GRANT USAGE ON SCHEMA regress_w2k TO regress_w2k_operator;
GRANT EXECUTE ON FUNCTION wal2kafka.snapshot(text, text, text)
    TO regress_w2k_operator;
SET ROLE regress_w2k_operator;
SELECT length(wal2kafka.snapshot('item', NULL, :'stream'));
SELECT wal2kafka.snapshot('{item}'::text[], NULL, :'stream');
SELECT wal2kafka.cancel_snapshot(NULL, :'stream');
SELECT count(*) FROM wal2kafka.stat_snapshots;
SET ROLE regress_w2k_monitor;
SELECT wal2kafka.snapshot('item', NULL, :'stream');
SELECT count(*) FROM wal2kafka.stat_snapshots WHERE state = 'requested';
RESET ROLE;

-- a request that is damaged is not shown; the slot's folder has them all
SELECT put_file('pg_replslot/' || :'slot_name' || '/wal2kafka.request.00000000000000AA', 'x');
SELECT count(*) FROM requests WHERE state = 'requested';
SELECT pg_drop_replication_slot(:'slot_name');
SELECT count(*) FROM wal2kafka.stat_snapshots;
SELECT wal2kafka.cancel_snapshot(:'first', :'stream');

-- the slot goes away before the commit
SELECT 'init' FROM pg_create_logical_replication_slot(:'slot_name', 'wal2kafka');
BEGIN;
SELECT length(wal2kafka.snapshot('item', NULL, :'stream'));
SELECT pg_drop_replication_slot(:'slot_name');
\set VERBOSITY sqlstate
COMMIT;
\set VERBOSITY terse

-- a role that is gone, a stream without one
DROP OWNED BY regress_w2k_cdc, regress_w2k_operator, regress_w2k_monitor;
DROP ROLE regress_w2k_cdc, regress_w2k_operator, regress_w2k_monitor;
SELECT 'init' FROM pg_create_logical_replication_slot(:'slot_name', 'wal2kafka');
SELECT wal2kafka.snapshot('item', NULL, :'stream');
SELECT pg_drop_replication_slot(:'slot_name');
SELECT quote_ident(current_database()) AS stream \gset
SELECT slot_name FROM wal2kafka._stream_parts(:'stream') \gset
SELECT 'init' FROM pg_create_logical_replication_slot(:'slot_name', 'wal2kafka');
SELECT length(wal2kafka.snapshot('{secret,guarded}'::text[], NULL, :'stream'));
SELECT pg_drop_replication_slot(:'slot_name');

RESET wal2kafka.publication_name;
SET client_min_messages = warning;
DROP PUBLICATION regress_w2k_pub;
DROP SCHEMA regress_w2k CASCADE;
DROP FOREIGN DATA WRAPPER regress_w2k_fdw CASCADE;
