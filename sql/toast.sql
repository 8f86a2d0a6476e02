-- TOASTed values: new ones, unchanged ones, unchanged ones in the key.
CREATE FUNCTION random_text(seed text, n int) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(md5(seed || i), '') FROM generate_series(1, n) i $$;
CREATE FUNCTION short(line text) RETURNS text LANGUAGE sql AS $$
SELECT regexp_replace(line, '"([0-9A-Za-z+/=]{99})[0-9A-Za-z+/=]+"', '"<long>"', 'g') $$;
CREATE TABLE t (id int PRIMARY KEY, a text, b text, c int, d bytea, e text[]);
ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER d SET STORAGE EXTERNAL;
SELECT create_slot();
INSERT INTO t VALUES (1, random_text('a', 200), 'b', 1);
INSERT INTO t VALUES (2, repeat('compressible', 10000), random_text('b', 200), 2,
	decode(random_text('d', 200), 'hex'), ARRAY[random_text('e', 200)]);
SELECT short(event) FROM changes();
-- unchanged
UPDATE t SET c = 3;
SELECT short(event) FROM changes();
UPDATE t SET c = 4 WHERE id = 1;
SELECT short(event) FROM changes('unavailable_value_placeholder', 'gone');
-- one changed, others not
UPDATE t SET b = 'short now', d = NULL WHERE id = 2;
SELECT short(event) FROM changes();
-- known from the old row
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET c = 5 WHERE id = 1;
SELECT short(event) FROM changes();
UPDATE t SET id = 11 WHERE id = 1;
DELETE FROM t WHERE id = 11;
SELECT short(event) FROM changes();
-- a key that is TOASTed
CREATE TABLE k (id text PRIMARY KEY, a int);
ALTER TABLE k ALTER id SET STORAGE EXTERNAL;
INSERT INTO k VALUES (random_text('k', 70), 1);
UPDATE k SET a = 2;
DELETE FROM k;
SELECT short(event) FROM changes();
-- values are whole again across subtransactions
CREATE TABLE s (id int PRIMARY KEY, a text);
BEGIN;
INSERT INTO s VALUES (1, random_text('1', 100));
SAVEPOINT p;
INSERT INTO s VALUES (2, random_text('2', 100));
ROLLBACK TO p;
INSERT INTO s VALUES (3, random_text('3', 100));
COMMIT;
SELECT left(short(event), 100), event LIKE '%' || random_text('3', 100) || '%' AS third FROM changes();
DROP TABLE t, k, s;
DROP FUNCTION random_text, short;
SELECT drop_slot();
