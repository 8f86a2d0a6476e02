--
-- What a predicate of a snapshot may say: one expression, built in, immutable.
--
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE ROLE regress_w2k_cdc LOGIN REPLICATION;
CREATE SCHEMA regress_w2k;
SET search_path = regress_w2k, public;
SELECT quote_ident(current_database()) || '/regress_w2k_cdc' AS stream \gset
SELECT slot_name FROM wal2kafka._stream_parts(:'stream') \gset
SELECT 'init' FROM pg_create_logical_replication_slot(:'slot_name', 'wal2kafka');

CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE item (id int PRIMARY KEY, gone int, name text, price numeric,
    made date, mood mood, "Odd ""one""" int);
ALTER TABLE item DROP COLUMN gone;
GRANT USAGE ON SCHEMA regress_w2k TO regress_w2k_cdc;
GRANT SELECT ON item TO regress_w2k_cdc;
CREATE FUNCTION cheap(numeric) RETURNS bool LANGUAGE sql IMMUTABLE
    AS 'SELECT $1 < 10';
CREATE OPERATOR =+= (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE COLLATION mine (LOCALE = 'C');

-- asks, and says what is wrong: message, detail and where
CREATE FUNCTION ask(predicate text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
BEGIN
    PERFORM wal2kafka.snapshot('item', predicate,
        quote_ident(current_database()) || '/regress_w2k_cdc');
    RETURN 'asked for';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL;
    RETURN concat_ws(' / ', SQLSTATE, message, nullif(detail, ''));
END
$$;

-- what is good
SELECT p AS predicate, ask(p) FROM unnest(ARRAY[
    'id > 5',
    'id IN (1, 2, 3) AND name LIKE ''a%'' OR item.id = 5',
    'regress_w2k.item.id = 6 -- and a comment',
    '(id, name) > (10, ''v'')',
    '"Odd ""one""" IS DISTINCT FROM 7',
    'price = ''NaN'' OR price / 2 < 10',
    'made BETWEEN ''2024-01-31'' AND ''infinity''',
    'CASE WHEN id > 3 THEN lower(name) = ''x'' ELSE name IS NULL END',
    'coalesce(name COLLATE "C" < ''b'', id = ANY (ARRAY[1, 2]))',
    'NULL']) AS p;

-- what is no expression, or another one than it seems
SELECT p AS predicate, ask(p) FROM unnest(ARRAY[
    '',
    '*',
    'item.*',
    'id',
    'id >',
    'id > 1; DROP TABLE item',
    'id > 1) OR (true',
    'id > 1 FROM item',
    'id > 1 ORDER BY 1',
    'id > 1 LIMIT 1',
    'id > 1 FOR UPDATE',
    'id > 1 AS x',
    'id > 1, true',
    'DISTINCT id > 1',
    'id > 1 UNION SELECT true',
    'id > $1']) AS p;

-- what is not allowed
SELECT p AS predicate, ask(p) FROM unnest(ARRAY[
    'EXISTS (SELECT 1)',
    'id = ANY (ARRAY(SELECT 1))',
    'id = (SELECT max(id) FROM item)',
    'count(*) > 1',
    'row_number() OVER () > 1',
    'generate_series(1, 2) > 1',
    'gone = 1',
    'ctid IS NOT NULL',
    'random() > 0.5',
    'now() > made',
    'made > CURRENT_DATE',
    'pg_sleep(1) IS NULL',
    'cheap(price)',
    'regress_w2k.cheap(price)',
    'id OPERATOR(regress_w2k.=+=) 3',
    'mood = ''good''',
    'item IS NOT NULL',
    'name COLLATE regress_w2k.mine > ''a''']) AS p;

-- constants mean the same in each session, and where the rows are read
SET DateStyle = 'SQL, DMY';
SELECT p AS predicate, ask(p) FROM unnest(ARRAY[
    'made > ''2024-01-31''',
    'made > ''31/01/2024''']) AS p;
RESET DateStyle;

-- nobody's functions take the place of built-in ones
CREATE FUNCTION lower(text) RETURNS text LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.upper($1)';
SET search_path = regress_w2k, pg_catalog;
SELECT ask('lower(name) = ''x''');

-- the position is one in the predicate
\set VERBOSITY default
SELECT wal2kafka.snapshot('item', 'id > 1 AND nix = 2', :'stream');
\set VERBOSITY terse

SELECT pg_drop_replication_slot(:'slot_name');
SET client_min_messages = warning;
DROP SCHEMA regress_w2k CASCADE;
DROP OWNED BY regress_w2k_cdc;
DROP ROLE regress_w2k_cdc;
