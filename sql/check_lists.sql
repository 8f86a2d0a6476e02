-- check(): lists that match nothing, keys outside of the replica identity.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE t (id int PRIMARY KEY, a text, b text);
CREATE TABLE nokey (a int);
CREATE TABLE hidden (a int);
CREATE FUNCTION findings() RETURNS TABLE (severity text, object text, problem text, remedy text) LANGUAGE sql AS $$
SELECT * FROM wal2kafka.check(quote_ident(current_database()) || '/postgres') AS f
WHERE f.object LIKE 'public.%' OR f.object LIKE '%list' OR f.object IN ('tables', 'wal2kafka.message_key_columns', 'wal2kafka.publication_name')
$$;
ALTER DATABASE contrib_regression SET wal2kafka.table_exclude_list = 'public.hidden, public.hiden';
ALTER DATABASE contrib_regression SET wal2kafka.column_exclude_list = 'public.t.c';
ALTER DATABASE contrib_regression SET wal2kafka.message_key_columns = 'public.t:a;public.n.*:a,x';
SELECT severity, object, problem FROM findings();
SELECT DISTINCT remedy FROM findings() WHERE object LIKE 'wal2kafka%' OR problem LIKE '%key:%';
-- what would stop the stream
ALTER DATABASE contrib_regression SET wal2kafka.table_include_list = 'public.t';
SELECT * FROM findings() WHERE severity = 'error';
ALTER DATABASE contrib_regression RESET wal2kafka.table_exclude_list;
-- nothing is left
ALTER DATABASE contrib_regression SET wal2kafka.table_include_list = 'public';
SELECT severity, object, problem FROM findings();
ALTER DATABASE contrib_regression RESET ALL;
DROP FUNCTION findings;
DROP TABLE t, nokey, hidden;
