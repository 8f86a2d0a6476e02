-- Updates that change nothing that is sent.
SELECT create_slot();
CREATE TABLE t (id int PRIMARY KEY, a text, b text, big text, n numeric, f float8);
ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
ALTER TABLE t REPLICA IDENTITY FULL;
CREATE TABLE plain (id int PRIMARY KEY, a text);
INSERT INTO t VALUES (1, 'a', 'b', repeat('x', 10000), 1.0, 0), (2, NULL, NULL, repeat('y', 3000), 2.5, 'NaN');
INSERT INTO plain VALUES (1, 'a');
CREATE FUNCTION look(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (op text, key text, after text) LANGUAGE sql AS $$
SELECT data::json#>>'{value,op}', data::json->>'key', left(regexp_replace(data::json#>>'{value,after}', 'x{50,}|y{50,}', 'xx'), 200)
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	VARIADIC '{skip_messages_without_change,on}' || options)
$$;
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
UPDATE t SET a = a;
UPDATE t SET a = 'a2' WHERE id = 1;
UPDATE t SET b = 'b2' WHERE id = 1;
UPDATE t SET a = NULL WHERE id = 2;
UPDATE t SET a = '' WHERE id = 2;
UPDATE t SET big = repeat('x', 10000) WHERE id = 1;
UPDATE t SET big = repeat('y', 3001) WHERE id = 2;
UPDATE t SET n = 1.00 WHERE id = 1;
UPDATE t SET f = '-0' WHERE id = 1;
UPDATE t SET id = 3 WHERE id = 1;
-- without the old row there is nothing to compare with
UPDATE plain SET a = a;
SELECT * FROM look();
-- of the columns that are sent; a change of the key is always one
SELECT * FROM look('column_exclude_list', '.*.(b|big|id)');
SELECT * FROM look('column_include_list', 'public.t.id');
-- what is masked has not changed
SELECT op, key FROM look('column_transforms', 'mask.with.3.chars=.*\.(a|b|big)');
-- but keys are not masked
SELECT op, key FROM look('column_transforms', 'mask.with.3.chars=.*', 'message_key_columns', 'public.t:a');
SELECT op, key FROM look('column_transforms', 'truncate.to.1.chars=.*', 'message_key_columns', 'public.t:a') LIMIT 3;
-- a row filter's moves are no updates
CREATE PUBLICATION regress_skip FOR TABLE t WHERE (a > '');
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
UPDATE t SET a = 'x' WHERE id = 2;
UPDATE t SET a = '' WHERE id = 2;
SELECT * FROM look('publication_name', 'regress_skip', 'column_include_list', 'public.t.id');
SELECT drop_slot();
DROP PUBLICATION regress_skip;
DROP FUNCTION look;
DROP TABLE t, plain;
