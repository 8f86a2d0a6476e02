--
-- Text forms that are written without the types' output functions: equal to
-- what those say.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;

CREATE TABLE forms (id int PRIMARY KEY, a inet, c cidr, m macaddr, m8 macaddr8,
	r4 int4range, r8 int8range, j jsonb);
ALTER TABLE forms ALTER j SET STORAGE EXTERNAL;
SELECT 'init' FROM pg_create_logical_replication_slot('text_forms', 'wal2kafka');
INSERT INTO forms VALUES
	(1, '0.0.0.0', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00', 'empty', 'empty', 'null'),
	(2, '255.255.255.255', '255.255.255.255', 'ff:ff:ff:ff:ff:ff', '08:00:2b:01:02:03:04:05', '[1,5)', '[1,5]', '{}'),
	(3, '10.9.100.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:ff:fe:02:03:04', '(,5)', '[-9223372036854775808,9223372036854775807)', '[]'),
	(4, '::1', '::/0', NULL, NULL, '[-2147483648,)', '(,)', '"a\"\\\b\f\n\r\t\u0001\u001f/é€😀"'),
	(5, '2001:db8::ff00:42:8329/64', '2001:db8::/32', NULL, NULL, '[2147483646,2147483647)', '[1,)', '{"b": [1, -2.50, 1e30, 0.000001, true, false, null, {"x": {}}], "a": {"k": "v", "é": []}, "": ""}'),
	(6, '1.2.3.4/32', '1.2.3.4/32', NULL, NULL, '(1,2)', '[0,0]', '[[], [[]], {}, "x", 1]'),
	(7, NULL, NULL, NULL, NULL, NULL, NULL, '1234567890.123456789012345678901234567890'),
	(8, NULL, NULL, NULL, NULL, NULL, NULL, 'true');
INSERT INTO forms (id, j) SELECT 9, jsonb_agg(jsonb_build_object('n', i, 't', md5(i::text)))
	FROM generate_series(1, 200) i;
WITH events AS (
	SELECT wal2kafka.decode(data)::jsonb -> 'value' -> 'after' AS r
	FROM pg_logical_slot_get_binary_changes('text_forms', NULL, NULL, 'format', 'avro'))
SELECT id, coalesce(r ->> 'a', '') = format('%s', a) AS a,
	coalesce(r ->> 'c', '') = format('%s', c) AS c,
	coalesce(r ->> 'm', '') = format('%s', m) AS m,
	coalesce(r ->> 'm8', '') = format('%s', m8) AS m8,
	coalesce(r ->> 'r4', '') = format('%s', r4) AS r4,
	coalesce(r ->> 'r8', '') = format('%s', r8) AS r8,
	coalesce(r ->> 'j', '') = format('%s', j) AS j, left(r ->> 'j', 60) AS start
FROM forms JOIN events ON id = (r ->> 'id')::int ORDER BY id;
SELECT pg_drop_replication_slot('text_forms');
DROP TABLE forms;
