-- Dates and times of each precision, before Christ, and infinite; whatever
-- the session's settings are.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;

CREATE SCHEMA regress_datetime;
SET search_path = regress_datetime, public;

CREATE TABLE d (
	c_date date, c_time time, c_time0 time(0), c_time3 time(3),
	c_timetz timetz, c_ts timestamp, c_ts0 timestamp(0), c_ts3 timestamp(3),
	c_ts4 timestamp(4), c_tstz timestamptz, c_tstz0 timestamptz(0),
	c_tstz3 timestamptz(3), c_tstz5 timestamptz(5), c_interval interval,
	c_tsrange tstzrange);
SELECT 'created' FROM pg_create_logical_replication_slot('regress_datetime', 'wal2kafka');
SET timezone = 'UTC';
INSERT INTO d VALUES (
	'2024-02-29', '23:59:59.123456', '23:59:59', '23:59:59.123',
	'12:34:56.789+05:30', '2024-02-29 12:34:56.123456', '2024-02-29 12:34:56',
	'2024-02-29 12:34:56.123', '2024-02-29 12:34:56.1234',
	'2024-02-29 12:34:56.123456+02', '2024-02-29 12:34:56+02',
	'2024-02-29 12:34:56.120+02', '2024-02-29 12:34:56.12345+02',
	'1 year 2 mons 3 days 04:05:06.789', '[2020-01-01,2020-02-01)');
-- around the epoch
INSERT INTO d VALUES (
	'1969-12-31', '00:00:00.000001', '00:00', '00:00:00.001',
	'00:00+14', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59',
	'1969-12-31 23:59:59.999', '1969-12-31 23:59:59.9999',
	'1969-12-31 23:59:59.999999+00', '1970-01-01 00:00:00+00',
	'1969-12-31 23:59:59.999+00', '2000-01-01 00:00:00.00001+00',
	'-1 mon +2 days -03:00:00.5', NULL);
-- far away
INSERT INTO d VALUES (
	'0044-03-15 BC', '24:00:00', NULL, '24:00:00',
	'24:00:00-12', '0044-03-15 10:00:00 BC', '0001-12-31 23:59:59 BC',
	'4713-01-01 00:00:00 BC', '12345-06-07 08:09:10',
	'0044-03-15 10:00:00+00 BC', '12345-06-07 08:09:10+00',
	'294276-12-31 23:59:59.999+00', '4713-01-01 00:00:00+00 BC',
	'178000000 years', NULL);
INSERT INTO d (c_date, c_ts, c_ts3, c_tstz, c_tstz0, c_interval) VALUES
	('infinity', 'infinity', 'infinity', 'infinity', 'infinity', '-178000000 years'),
	('-infinity', '-infinity', '-infinity', '-infinity', '-infinity', '0');

-- the reader's settings must not show
SET timezone = 'Asia/Kolkata';
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'sql_standard';
SELECT n AS row, f.key AS field, f.value
FROM pg_logical_slot_get_binary_changes('regress_datetime', NULL, NULL,
		'format', 'avro') WITH ORDINALITY AS c(lsn, xid, data, n),
	json_each(wal2kafka.decode(c.data)->'value'->'after') AS f
WHERE f.value::text <> 'null';
RESET timezone;
RESET datestyle;
RESET intervalstyle;

-- later than 64 bits of microseconds can say: the end of the range
INSERT INTO d (c_ts) VALUES ('294247-01-10 04:00:54.775807'), ('294276-12-31');
SELECT wal2kafka.decode(data)#>'{value,after,c_ts}' AS c_ts
FROM pg_logical_slot_get_binary_changes('regress_datetime', NULL, NULL,
	'format', 'avro');

SELECT 'dropped' FROM pg_drop_replication_slot('regress_datetime');
SET client_min_messages = warning;
DROP SCHEMA regress_datetime CASCADE;
