-- Dates and times in each time_precision_mode: schemas, values at the ends of
-- their ranges, defaults, and what stands for a value that is not there.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;
\pset format unaligned

CREATE SCHEMA regress_time;
SET search_path = regress_time, public;
SET timezone = 'UTC';

CREATE TABLE modes (n int, mode text);
INSERT INTO modes VALUES
	(1, 'adaptive'), (2, 'adaptive_time_microseconds'), (3, 'connect'),
	(4, 'isostring'), (5, 'microseconds'), (6, 'nanoseconds'),
	(7, 'structured'), (8, 'avro');
-- the events of the slot so far, in each mode
CREATE FUNCTION events() RETURNS TABLE (mode text, "row" json)
LANGUAGE sql AS $$
SELECT m.mode,
	json_strip_nulls(v->CASE v->>'op' WHEN 'd' THEN 'before' ELSE 'after' END)
FROM modes AS m,
	pg_logical_slot_peek_binary_changes('regress_time', NULL, NULL,
		'format', 'avro', 'time_precision_mode', m.mode)
		WITH ORDINALITY AS c(lsn, xid, data, n),
	LATERAL (SELECT wal2kafka.decode(c.data)->'value') AS d(v)
WHERE json_typeof(v) = 'object'
ORDER BY m.n, c.n;
$$;
CREATE PROCEDURE skip() LANGUAGE sql AS $$
SELECT pg_replication_slot_advance('regress_time', pg_current_wal_insert_lsn());
$$;
CREATE FUNCTION fields(relation regclass, mode text)
RETURNS TABLE (field text, type text, "default" text)
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('wal2kafka.time_precision_mode', mode, true);
	RETURN QUERY
	SELECT f->>'name', f->>'type', f->>'default'
	FROM wal2kafka.schema_for(relation) AS s,
		json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;
END
$$;

CREATE DOMAIN stamp3 AS timestamp(3);
CREATE TABLE t (
	d date, t time, t2 time(2), tz timetz, s timestamp, s3 timestamp(3),
	z timestamptz, z0 timestamptz(0), m stamp3, da date[], ta time[],
	sa timestamp[], za timestamptz(3)[], u uuid);
SELECT f.field, string_agg(m.mode, ', ' ORDER BY m.n) AS modes, f.type
FROM modes AS m, fields('t', m.mode) AS f
GROUP BY f.field, f.type
ORDER BY array_position('{d,t,t2,tz,s,s3,z,z0,m,da,ta,sa,za,u}', f.field), min(m.n);

SELECT 'created' FROM pg_create_logical_replication_slot('regress_time', 'wal2kafka');
INSERT INTO t VALUES (
	'2024-02-29', '23:59:59.123456', '23:59:59.12', '12:34:56.789+05:30',
	'2024-02-29 12:34:56.123456', '2024-02-29 12:34:56.12',
	'2024-02-29 12:34:56.12+02', '2024-02-29 12:34:56+02', '2024-02-29 12:34:56.1236',
	'{2024-02-29,NULL}', '{12:34:56.7,NULL}', '{2024-02-29 12:34:56.123456}',
	'{"2024-02-29 12:34:56.12+02",NULL}', '6b0c4c3a-1111-4222-8333-444455556666');
SELECT * FROM events();
CALL skip();

-- around the epoch
INSERT INTO t (d, t, t2, tz, s, s3, z, z0) VALUES (
	'1969-12-31', '00:00', '00:00:00.01', '00:00:00.000001+14',
	'1969-12-31 23:59:59.999999', '1969-12-31 23:59:59.999',
	'1969-12-31 23:59:59.999999+00', '1969-12-31 23:59:59+00');
SELECT * FROM events();
CALL skip();

-- 24:00, before Christ, five digits
INSERT INTO t (d, t, t2, tz, s, s3, z, z0, da) VALUES
	('0044-03-15 BC', '24:00', '24:00', '24:00+00', '0044-03-15 10:00 BC',
	'0001-12-31 23:59:59.999 BC', '4713-01-01 00:00+00 BC', '0001-01-01 00:00+00',
	'{0044-03-15 BC,infinity,-infinity}'),
	('12345-06-07', NULL, NULL, '24:00-12:00:01', '12345-06-07 08:09:10',
	'10000-01-01', '12345-06-07 08:09:10+00', '9999-12-31 23:59:59+00', NULL);
SELECT * FROM events();
CALL skip();

-- the ends of the types, and infinity
INSERT INTO t (d, s, s3, z, z0) VALUES
	('5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999',
	'294276-12-31 23:59:59.999999+00', '294276-12-31 23:59:59+00'),
	('4713-01-01 BC', '4713-01-01 00:00 BC', '4713-01-01 00:00 BC',
	'4713-01-01 00:00+00 BC', '4713-01-01 00:00+00 BC'),
	('infinity', 'infinity', 'infinity', 'infinity', 'infinity'),
	('-infinity', '-infinity', '-infinity', '-infinity', '-infinity');
SELECT * FROM events();
CALL skip();

-- where 64 bits of nanoseconds end
INSERT INTO t (s) VALUES
	('2262-04-11 23:47:16.854775'), ('2262-04-11 23:47:16.854776'),
	('1677-09-21 00:12:43.145225'), ('1677-09-21 00:12:43.145224');
SELECT * FROM events() WHERE mode = 'nanoseconds';
CALL skip();

-- Defaults.  Records cannot have any; infinity is not shown.
CREATE TABLE defaults (
	d date DEFAULT '2020-02-03', d_call date DEFAULT CURRENT_DATE,
	d_infinite date DEFAULT 'infinity', t time DEFAULT '01:02:03.5',
	t_call time DEFAULT LOCALTIME, t2 time(2) DEFAULT '24:00',
	tz timetz DEFAULT '10:00+01', s timestamp DEFAULT '2021-01-01 01:02:03.45',
	s_call timestamp DEFAULT LOCALTIMESTAMP, s_infinite timestamp DEFAULT 'infinity',
	s3 timestamp(3) DEFAULT '0044-03-15 BC', z timestamptz DEFAULT '2020-01-01 00:00+01',
	z_call timestamptz DEFAULT now(), z0_call timestamptz(0) DEFAULT now(),
	z_infinite timestamptz DEFAULT '-infinity', u uuid DEFAULT gen_random_uuid());
SELECT m.mode, json_object_agg(f.field, f."default")
FROM modes AS m, fields('defaults', m.mode) AS f
GROUP BY m.n, m.mode ORDER BY m.n;
SELECT m.mode, f.field, f.type FROM modes AS m, fields('defaults', m.mode) AS f
WHERE m.mode IN ('connect', 'avro') AND f.field IN ('d', 't', 's', 'z')
ORDER BY m.n, f.field;

-- mode avro: decimals that every reader can read, text for others
CREATE TABLE numbers (
	a numeric(10,2), b numeric(38,10), c numeric(39,1) DEFAULT 1.5,
	d numeric, e numeric(5,-2), f numeric(36,-3), g numeric(2,5), h money);
SELECT f.field, f.type, f."default" FROM fields('numbers', 'avro') AS f;
INSERT INTO numbers VALUES (-1.5, 1234567890123456789012345678.0123456789,
	12345678901234567890123456789012345678.9, 1e-20, 12345, 1000, 0.00012, -92233720368547758.08);
SELECT * FROM events() WHERE mode = 'avro';
CALL skip();

-- a DELETE's old row without the columns that are not of the key
CREATE TABLE old (
	id int PRIMARY KEY, d date NOT NULL, t time(2) NOT NULL, tz timetz NOT NULL,
	s timestamp NOT NULL, z timestamptz NOT NULL, z0 timestamptz(0) NOT NULL,
	z_default timestamptz NOT NULL DEFAULT '2020-01-01 00:00+00',
	sa timestamp[] NOT NULL, u uuid NOT NULL);
INSERT INTO old VALUES (1, now(), now(), '10:00+00', now(), now(), now(), now(), '{}', gen_random_uuid());
CALL skip();
DELETE FROM old;
SELECT * FROM events();
CALL skip();

-- unchanged large values
CREATE TABLE large (id int PRIMARY KEY, n int, da date[], ta time[], tza timetz[], sa timestamp[], za timestamptz[]);
ALTER TABLE large ALTER da SET STORAGE EXTERNAL, ALTER ta SET STORAGE EXTERNAL,
	ALTER tza SET STORAGE EXTERNAL, ALTER sa SET STORAGE EXTERNAL, ALTER za SET STORAGE EXTERNAL;
INSERT INTO large SELECT 1, 1, array_agg(date '2020-01-01'), array_agg(time '10:00'),
	array_agg(timetz '10:00+00'), array_agg(timestamp '2020-01-01'),
	array_agg(timestamptz '2020-01-01')
FROM generate_series(1, 2000);
CALL skip();
SET wal2kafka.unavailable_value_placeholder = '?!';
UPDATE large SET n = 2;
SELECT * FROM events();

SELECT 'dropped' FROM pg_drop_replication_slot('regress_time');
SET client_min_messages = warning;
DROP SCHEMA regress_time CASCADE;
