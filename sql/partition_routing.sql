-- Partitions chosen by values.  The numbers are what Debezium chose for the
-- same rows; those of pt and bt differ with each start of Debezium.
SELECT create_slot();
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE SCHEMA inv;
CREATE TABLE inv.d (id int PRIMARY KEY, si smallint, bi bigint, r real,
	dd double precision, b boolean, t text, n numeric(20,3), nb numeric(60,2),
	by bytea, u uuid, m mood, dt date, ts timestamp, tsz timestamptz, j jsonb,
	a int[], ta text[], df text DEFAULT 'dflt', pt point, iv interval, c char(5));
INSERT INTO inv.d VALUES (1, 2, -3, 1.5, 0, true, 'abc', 12.345, -1234567890123456789012345678901234567890.12, '\x00ff80', '00000000-0000-0000-0000-000000000001', 'ok', '2020-01-02', '2020-01-02 03:04:05.678', '2020-01-02 03:04:05.678+00', '{"a":1}', '{1,null,3}', '{x,y}', 'v', '(1,2)', '1 day', 'ab');
INSERT INTO inv.d VALUES (-2, -32768, -9223372036854775808, 'NaN', 'Infinity', false, 'üñí😀é', -0.001, 0, '\x', 'ffffffff-0000-0000-0000-00000000000f', 'sad', '1969-12-31', '1969-12-31 23:59:59.999999', '1900-01-02 03:04:05.678+00', '[]', '{}', '{}', NULL, NULL, '-1 mon', '');
INSERT INTO inv.d VALUES (2147483647, 0, 9223372036854775807, '-Infinity', 'NaN', NULL, 'the quick brown fox jumps over the lazy dog 0123456789 ÿ', 99999999999999999.999, 99999999999999999999.99, '\x0102030405060708090a0b0c0d0e0f101112', NULL, NULL, '9999-12-31', '2262-01-01', '9999-12-31 00:00+00', 'null', NULL, NULL, '', NULL, '0', 'abcde');
UPDATE inv.d SET id = 5 WHERE id = 1;
DELETE FROM inv.d WHERE id = -2;

CREATE FUNCTION partitions(VARIADIC options text[]) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(coalesce(data::json->>'partition', 'null'), ' ')
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL,
	VARIADIC '{partition_topic_num,100000}' || options)
WHERE data::json->>'value' IS NOT NULL
$$;
SELECT * FROM (VALUES
	('java', 'adaptive', 'id', '1 83646 0 1 5 83646'),
	('java', 'adaptive', 'si', '2 50880 0 null 2 null'),
	('java', 'adaptive', 'bi', '2 0 0 null 2 null'),
	('java', 'adaptive', 'r', '47520 89344 95040 null 47520 null'),
	('java', 'adaptive', 'dd', '0 35072 59360 null 0 null'),
	('java', 'adaptive', 'b', '1231 1237 null null 1231 null'),
	('java', 'adaptive', 't', '96354 84238 71025 null 96354 null'),
	('java', 'adaptive', 'n', '82698 83620 49388 null 82698 null'),
	('java', 'adaptive', 'nb', '8252 2 7295 null 8252 null'),
	('java', 'adaptive', 'by', '90400 1 21208 null 90400 null'),
	('java', 'adaptive', 'u', '67489 53046 null null 67489 null'),
	('java', 'adaptive', 'm', '3548 13622 null null 3548 null'),
	('java', 'adaptive', 'dt', '18263 0 32896 null 18263 null'),
	('java', 'adaptive', 'ts', '63919 0 96972 null 63919 null'),
	('java', 'adaptive', 'tsz', '782 66 59587 null 782 null'),
	('java', 'adaptive', 'j', '64474 2914 92903 null 64474 null'),
	('java', 'adaptive', 'a', '30755 1 null null 30755 null'),
	('java', 'adaptive', 'ta', '4802 1 null null 4802 null'),
	('java', 'adaptive', 'df', '118 80586 0 80586 118 80586'),
	('java', 'adaptive', 'iv', '54100 15259 0 null 54100 null'),
	('java', 'adaptive', 'c', '32831 37760 99395 null 32831 null'),
	('java', 'connect', 'dt', '2735 99999 13111 null 2735 null'),
	('java', 'connect', 'ts', '47809 0 52225 null 47809 null'),
	('murmur', 'adaptive', 'id', '21197 85103 40511 21197 6038 85103'),
	('murmur', 'adaptive', 'si', '77696 7054 5889 null 77696 null'),
	('murmur', 'adaptive', 'bi', '77696 65492 65492 null 77696 null'),
	('murmur', 'adaptive', 'r', '83436 66602 19754 null 83436 null'),
	('murmur', 'adaptive', 'dd', '5889 46397 4864 null 5889 null'),
	('murmur', 'adaptive', 'b', '52383 8191 null null 52383 null'),
	('murmur', 'adaptive', 't', '45788 32562 15525 null 45788 null'),
	('murmur', 'adaptive', 'n', '88394 35423 83132 null 88394 null'),
	('murmur', 'adaptive', 'nb', '6016 77696 74017 null 6016 null'),
	('murmur', 'adaptive', 'by', '82342 21197 19528 null 82342 null'),
	('murmur', 'adaptive', 'u', '80821 50893 null null 80821 null'),
	('murmur', 'adaptive', 'm', '56739 1397 null null 56739 null'),
	('murmur', 'adaptive', 'dt', '12500 5313 37981 null 12500 null'),
	('murmur', 'adaptive', 'ts', '70475 5889 85474 null 70475 null'),
	('murmur', 'adaptive', 'tsz', '25723 37774 20645 null 25723 null'),
	('murmur', 'adaptive', 'j', '60789 24193 29071 null 60789 null'),
	('murmur', 'adaptive', 'a', '60458 21197 null null 60458 null'),
	('murmur', 'adaptive', 'ta', '50036 21197 null null 50036 null'),
	('murmur', 'adaptive', 'df', '72788 83666 25410 83666 72788 83666'),
	('murmur', 'adaptive', 'iv', '23691 37965 5889 null 23691 null'),
	('murmur', 'adaptive', 'c', '32238 38281 6263 null 32238 null'),
	('murmur', 'connect', 'dt', '94540 66341 6362 null 94540 null'),
	('murmur', 'connect', 'ts', '81529 5889 35188 null 81529 null')) AS debezium (hash, times, field, expected),
	partitions('partition_payload_fields', 'change.' || field, 'partition_hash_function', hash, 'time_precision_mode', times) AS ours
WHERE ours IS DISTINCT FROM expected;
-- several fields: their hash codes are added, and those that are missing left
-- out
SELECT partitions('partition_payload_fields', 'source.table, change.t ,op,after.id,before.id,change.nosuch,after.nosuch,source.schema') = '987 88868 75656 4634 991 4631' AS same;
-- the tombstone goes where its delete went
SELECT data::json#>>'{value,op}' AS op, data::json->>'partition' AS partition
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'partition_payload_fields', 'change.id', 'partition_topic_num', '7');
-- structures by their content, and fields within them
SELECT partitions('partition_payload_fields', 'change.pt') AS point, partitions('partition_payload_fields', 'after.pt.x') AS x,
	partitions('partition_payload_fields', 'after.pt.nosuch') AS nosuch, partitions('partition_payload_fields', 'after.t.nosuch') AS text;
-- constants
SELECT partitions('partition_payload_fields', 'source.db,source.name,source.connector');
SELECT partitions('partition_payload_fields', 'source.txId') <> partitions('partition_payload_fields', 'source.lsn') AS differ;
-- old rows, with what stands for columns that they lack
SELECT partitions('partition_payload_fields', 'before.id') AS id, partitions('partition_payload_fields', 'before.df') AS df;
-- columns that are not sent do not count, masked ones as they are sent
SELECT partitions('partition_payload_fields', 'change.t', 'column_exclude_list', '.*\.t') AS excluded,
	partitions('partition_payload_fields', 'change.t', 'column_transforms', 'mask.with.3.chars=.*\.t') AS masked;
-- truncation and messages go by their key
SELECT 'advanced' FROM pg_replication_slot_advance('regression_slot', pg_current_wal_lsn());
TRUNCATE inv.d;
SELECT 'sent' FROM pg_logical_emit_message(true, 'p', 'm');
SELECT partitions('partition_payload_fields', 'source.table', 'skipped_operations', 'none');
-- large values, that an update did not touch
ALTER TABLE inv.d ALTER t SET STORAGE EXTERNAL;
INSERT INTO inv.d (id, t) VALUES (1, repeat('x', 100000));
UPDATE inv.d SET si = 1;
SELECT partitions('partition_payload_fields', 'after.t');
-- refused
\set VERBOSITY terse
SELECT data FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'partition_payload_fields', 'after.t');
\set VERBOSITY default
SET wal2kafka.partition_payload_fields = 'after.t,';
SET wal2kafka.partition_payload_fields = 'after';
SET wal2kafka.partition_payload_fields = 'source.nosuch';
SET wal2kafka.partition_payload_fields = 't';
SELECT drop_slot();
DROP FUNCTION partitions;
SET client_min_messages = warning;
DROP SCHEMA inv CASCADE;
DROP TYPE mood;
