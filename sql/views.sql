--
-- Who may use the views and functions, and what they say of a stream that is
-- not there.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
\set VERBOSITY terse
CREATE ROLE regress_w2k_nobody;
CREATE ROLE regress_w2k_monitor;
GRANT pg_monitor TO regress_w2k_monitor;

-- whatever is added is for nobody until it is granted
SELECT p.oid::regprocedure AS function
FROM pg_proc AS p
WHERE p.pronamespace = 'wal2kafka'::regnamespace
    AND p.proname NOT LIKE '\_%'
    AND has_function_privilege('regress_w2k_nobody', p.oid, 'EXECUTE');
SELECT c.relname
FROM pg_class AS c
WHERE c.relnamespace = 'wal2kafka'::regnamespace AND c.relkind = 'v'
    AND has_table_privilege('regress_w2k_nobody', c.oid, 'SELECT');
SELECT p.oid::regprocedure AS function
FROM pg_proc AS p
WHERE p.pronamespace = 'wal2kafka'::regnamespace
    AND p.proname NOT LIKE '\_%'
    AND has_function_privilege('regress_w2k_monitor', p.oid, 'EXECUTE');

-- functions of the library are no way around that
SELECT p.oid::regprocedure AS function
FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace = 'wal2kafka'::regnamespace AND l.lanname = 'c'
    AND has_function_privilege('regress_w2k_nobody', p.oid, 'EXECUTE')
ORDER BY p.oid::regprocedure::text COLLATE "C";

-- none runs with other rights than its caller's, and none trusts the
-- caller's search path
SELECT p.oid::regprocedure AS function
FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace = 'wal2kafka'::regnamespace
    AND (p.prosecdef
         OR l.lanname <> 'c'
         AND p.proconfig IS DISTINCT FROM
             '{"search_path=pg_catalog, pg_temp"}');

SET ROLE regress_w2k_nobody;
SELECT * FROM wal2kafka.stat_streams;
SELECT * FROM wal2kafka.stat_tables;
SELECT * FROM wal2kafka.health();
SELECT * FROM wal2kafka.check('a/b');
SELECT wal2kafka.pause('a/b');
SELECT wal2kafka.pause('a/b', '1 hour');
SELECT wal2kafka.resume('a/b');
SELECT wal2kafka.restart('a/b');
SELECT wal2kafka.drop_stream('a/b');
SELECT * FROM wal2kafka.peek('a');
SELECT * FROM wal2kafka.schema_for('pg_class');
SELECT wal2kafka.decode('\x00');
SELECT * FROM wal2kafka._streams();
SELECT * FROM wal2kafka._schema_for('pg_class', '{}', '{}');

SET ROLE regress_w2k_monitor;
SELECT count(*) >= 0 AS readable FROM wal2kafka.stat_streams;
SELECT count(*) >= 0 AS readable FROM wal2kafka.stat_tables;
SELECT count(*) >= 0 AS readable FROM wal2kafka.health();
SELECT wal2kafka.pause('a/b');
SELECT * FROM wal2kafka.peek('a');
RESET ROLE;

-- EXECUTE is not enough to change the setting behind a pause
GRANT EXECUTE ON FUNCTION wal2kafka._alter(text, text, text, text)
    TO regress_w2k_nobody;
SET ROLE regress_w2k_nobody;
SELECT wal2kafka._alter(current_database(), 'regress_w2k_nobody',
                        'wal2kafka.paused', 'on');
RESET ROLE;

-- names
SELECT stream, database, role FROM wal2kafka._stream_parts('Shop / CDC');
SELECT stream, database, role FROM wal2kafka._stream_parts('"My DB"/cdc');
SELECT stream, database, role FROM wal2kafka._stream_parts('shop');
SELECT wal2kafka.check('a/b/c');
SELECT * FROM wal2kafka._identifiers('a, B,"C d" ,"e""f"');

-- streams and slots that are not there
SELECT wal2kafka.pause('regress_w2k/nobody');
SELECT wal2kafka.resume('regress_w2k/nobody');
SELECT wal2kafka.restart('regress_w2k/nobody');
SELECT wal2kafka.drop_stream('regress_w2k/nobody');
SELECT * FROM wal2kafka.peek('regress_w2k_nobody');
SELECT * FROM wal2kafka.peek('regress_w2k_nobody', 0);
SELECT * FROM wal2kafka.check('regress_w2k/nobody');
SELECT * FROM wal2kafka.schema_for(NULL);
SELECT * FROM wal2kafka.schema_for('pg_class', 'regress_w2k/nobody');

-- what a newcomer trips over
CREATE SCHEMA regress_w2k;
CREATE TABLE regress_w2k.no_key (a int);
CREATE TABLE regress_w2k.full_identity (a int);
ALTER TABLE regress_w2k.full_identity REPLICA IDENTITY FULL;
CREATE TABLE regress_w2k.price (id int PRIMARY KEY, amount money);
CREATE TABLE regress_w2k.deferred (id int PRIMARY KEY DEFERRABLE);
CREATE TABLE regress_w2k.nullable (id int UNIQUE);
CREATE TABLE regress_w2k.other_key (id int NOT NULL UNIQUE);
ALTER TABLE regress_w2k.other_key
    REPLICA IDENTITY USING INDEX other_key_id_key;
CREATE UNLOGGED TABLE regress_w2k.forgotten (id int PRIMARY KEY);
SELECT severity, object, problem, remedy
FROM wal2kafka.check(quote_ident(current_database())
                     || '/regress_w2k_nobody')
WHERE object LIKE 'regress_w2k%';
SELECT severity, object, problem
FROM wal2kafka.check(quote_ident(current_database()) || '/regress_w2k_none')
WHERE object LIKE 'regress_w2k%' AND severity = 'error';
SET client_min_messages = warning;
DROP SCHEMA regress_w2k CASCADE;
RESET client_min_messages;
DROP OWNED BY regress_w2k_nobody, regress_w2k_monitor;
DROP ROLE regress_w2k_nobody, regress_w2k_monitor;
