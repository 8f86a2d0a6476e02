--
-- Random values, the same ones each time: what is sent is what the types'
-- output functions and SQL's own arithmetic say.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;
SET TimeZone = 'UTC';
SET extra_float_digits = 1;
\pset format unaligned

CREATE SCHEMA regress_random;
SET search_path = regress_random, public;

-- From lo to hi, mostly near an end, or near a power of two.
CREATE FUNCTION wild(lo numeric, hi numeric) RETURNS numeric LANGUAGE sql VOLATILE AS $$
SELECT trunc(greatest(lo, least(hi, CASE (random() * 4)::int
	WHEN 0 THEN lo + trunc((random() * 3)::numeric)
	WHEN 1 THEN hi - trunc((random() * 3)::numeric)
	WHEN 2 THEN lo + trunc(random()::numeric * (hi - lo))
	ELSE trunc((2 ^ (random() * 64) * sign(random() - 0.5))::numeric) END)))
$$;
CREATE FUNCTION bytes(n int) RETURNS bytea LANGUAGE sql VOLATILE AS $$
SELECT decode(string_agg(lpad(to_hex(trunc(random() * 256)::int), 2, '0'), ''), 'hex')
FROM generate_series(1, n)
$$;
CREATE FUNCTION some_json(depth int) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	CASE trunc(random() * CASE WHEN depth > 0 THEN 8 ELSE 6 END)
	WHEN 0 THEN RETURN 'null';
	WHEN 1 THEN RETURN to_jsonb(random() < 0.5);
	WHEN 2 THEN RETURN to_jsonb(wild(-1e30, 1e30) / (10 ^ trunc(random() * 20))::numeric);
	WHEN 3 THEN RETURN to_jsonb(random());
	WHEN 4 THEN RETURN to_jsonb((SELECT coalesce(string_agg(chr((ARRAY[1, 8, 9, 10, 12, 13, 31, 34,
		47, 92, 127, 128, 233, 8232, 8233, 65533, 128512, 1114111, 65, 66, 67])[1 + trunc(random() * 21)::int]), ''), '')
		FROM generate_series(1, trunc(random() * 12)::int)));
	WHEN 5 THEN RETURN to_jsonb(repeat('x', trunc(random() ^ 8 * 3000)::int));
	WHEN 6 THEN RETURN (SELECT coalesce(jsonb_agg(some_json(depth - 1)), '[]')
		FROM generate_series(1, trunc(random() * 4)::int));
	ELSE RETURN (SELECT coalesce(jsonb_object_agg(i::text || '"\', some_json(depth - 1)), '{}')
		FROM generate_series(1, trunc(random() * 4)::int) i);
	END CASE;
END
$$;

-- Java's texts
CREATE FUNCTION iso_date(t timestamp) RETURNS text LANGUAGE sql AS $$
SELECT CASE WHEN y < 0 THEN '-' WHEN y > 9999 THEN '+' ELSE '' END
	|| lpad(abs(y)::text, greatest(4, length(abs(y)::text)), '0') || to_char(t, '-MM-DD')
FROM (SELECT extract(year FROM t)::int + (extract(year FROM t) < 0)::int) AS x (y)
$$;
CREATE FUNCTION fraction(us numeric) RETURNS text LANGUAGE sql AS $$
SELECT CASE WHEN us = 0 THEN '' ELSE '.' || rtrim(lpad(us::text, 6, '0'), '0') END
$$;
CREATE FUNCTION iso_interval(i interval) RETURNS text LANGUAGE sql AS $$
SELECT 'P' || extract(year FROM i) || 'Y' || extract(month FROM i) || 'M' || extract(day FROM i)
	|| 'DT' || extract(hour FROM i) || 'H' || extract(minute FROM i) || 'M'
	|| CASE WHEN us < 0 THEN '-' ELSE '' END || trunc(abs(us) / 1000000) || fraction(abs(us) % 1000000) || 'S'
FROM (SELECT extract(microseconds FROM i)) AS x (us)
$$;

CREATE TABLE v (
	id int PRIMARY KEY, a inet, c cidr, m macaddr, m8 macaddr8, r4 int4range, r8 int8range, j jsonb,
	n2 smallint, n4 int NOT NULL, n8 bigint, num numeric, dec numeric(38,10), f4 real, f8 float8,
	d date, t time, tz timetz, ts timestamp, ts3 timestamp(3), tstz timestamptz, i interval, u uuid,
	b bytea, nums numeric[], int8s int8[]);
SELECT 'created' FROM pg_create_logical_replication_slot('regress_random', 'wal2kafka');
SELECT setseed(0.5) IS NULL AS seeded;
INSERT INTO v
SELECT id,
	set_masklen(('0.0.0.0'::inet + wild(0, 4294967295)::bigint), trunc(random() * 33)::int),
	network(set_masklen(('0.0.0.0'::inet + wild(0, 4294967295)::bigint), trunc(random() * 33)::int)),
	encode(bytes(6), 'hex')::macaddr, encode(bytes(8), 'hex')::macaddr8,
	CASE WHEN lo4 <= hi4 THEN int4range(nullif(lo4, -2147483648), nullif(hi4, 2147483647), flags) ELSE 'empty' END,
	CASE WHEN lo8 <= hi8 THEN int8range(nullif(lo8, -9223372036854775808), nullif(hi8, 9223372036854775807), flags) ELSE 'empty' END,
	some_json(4), wild(-32768, 32767)::smallint, lo4, lo8,
	wild(-1e60, 1e60) / (10 ^ trunc(random() * 60))::numeric * (10 ^ trunc(random() * 60))::numeric,
	wild(-1e27, 1e27) / (10 ^ trunc(random() * 10))::numeric,
	(random() * 10 ^ trunc(random() * 60 - 30))::real, random() * 10 ^ trunc(random() * 600 - 300),
	'2000-01-01'::date + wild(-2451545, 2145031948)::int,
	'00:00'::time + wild(0, 86399999999) * interval '1 microsecond',
	('00:00'::time + wild(0, 86399999999) * interval '1 microsecond') AT TIME ZONE (wild(-57599, 57599) * interval '1 second'),
	ts, ts, ts, make_interval(months => wild(-2147483647, 2147483647)::int, days => wild(-2147483647, 2147483647)::int)
		+ wild(-9.2e12, 9.2e12)::float8 * interval '1 microsecond',
	encode(bytes(16), 'hex')::uuid, bytes(trunc(random() ^ 4 * 400)::int),
	(SELECT array_agg(CASE WHEN random() < 0.8 THEN wild(-1e40, 1e40) / 1e9 END) FROM generate_series(1, trunc(random() * 4)::int)),
	(SELECT array_agg(CASE WHEN random() < 0.8 THEN wild(-9223372036854775808, 9223372036854775807)::bigint END) FROM generate_series(1, trunc(random() * 20)::int))
FROM (SELECT id, wild(-2147483648, 2147483647)::int AS lo4, wild(-2147483648, 2147483647)::int AS hi4,
		wild(-9223372036854775808, 9223372036854775807)::bigint AS lo8,
		wild(-9223372036854775808, 9223372036854775807)::bigint AS hi8,
		(ARRAY['[)', '(]', '()', '[]'])[1 + trunc(random() * 4)::int] AS flags,
		timestamp '2000-01-01' + trunc(wild(-2451544, 106751981))::int * interval '1 day'
			+ trunc(random() * 86400000000) * interval '1 microsecond' AS ts
	FROM generate_series(1, 1500) AS id OFFSET 0) AS x
	-- the largest have no next one, which an inclusive bound would need
WHERE hi4 < 2147483647 AND hi8 < 9223372036854775807 AND lo4 < 2147483647 AND lo8 < 9223372036854775807;

CREATE FUNCTION rows_sent(VARIADIC options text[]) RETURNS SETOF jsonb LANGUAGE sql AS $$
SELECT wal2kafka.decode(data)::jsonb#>'{value,after}'
FROM pg_logical_slot_peek_binary_changes('regress_random', NULL, NULL, VARIADIC '{format,avro}' || options)
$$;

-- how many differ, of how many, and an example
CREATE FUNCTION report(wrong bigint[], of bigint) RETURNS text LANGUAGE sql AS $$
SELECT CASE WHEN of > 500 AND wrong IS NULL THEN 'all equal' ELSE format('%s wrong of %s', wrong[:5], of) END
$$;
WITH sent AS (
	SELECT v AS x, r FROM rows_sent('decimal_handling_mode', 'precise') AS r
	JOIN v ON v.id = (r->>'id')::int
), compared AS (
	SELECT (x).id::bigint, name, got IS NOT DISTINCT FROM want AS same FROM sent, LATERAL (VALUES
		('inet', r->>'a', format('%s', (x).a)), ('cidr', r->>'c', format('%s', (x).c)),
		('macaddr', r->>'m', format('%s', (x).m)), ('macaddr8', r->>'m8', format('%s', (x).m8)),
		('int4range', r->>'r4', format('%s', (x).r4)), ('int8range', r->>'r8', format('%s', (x).r8)),
		('jsonb', r->>'j', format('%s', (x).j)), ('smallint', r->>'n2', (x).n2::text),
		('int', r->>'n4', (x).n4::text), ('bigint', r->>'n8', (x).n8::text),
		('numeric(38,10)', r->>'dec', (x).dec::text),
		('real', (r->>'f4')::real::text, (x).f4::text), ('float8', (r->>'f8')::float8::text, (x).f8::text),
		('date', r->>'d', ((x).d - '1970-01-01'::date)::text),
		('time', r->>'t', (extract(epoch FROM (x).t) * 1000000)::bigint::text),
		('timetz', r->>'tz', to_char(((x).tz AT TIME ZONE 'UTC')::time, 'HH24:MI:SS')
			|| fraction(extract(microseconds FROM (x).tz) % 1000000) || 'Z'),
		('timestamp', r->>'ts', least(9223372036854775807, extract(epoch FROM (x).ts) * 1000000)::bigint::text),
		('timestamp(3)', r->>'ts3', floor(extract(epoch FROM (x).ts3) * 1000)::bigint::text),
		('timestamptz', r->>'tstz', iso_date((x).ts) || to_char((x).ts, '"T"HH24:MI:SS.US"Z"')),
		('interval', r->>'i', (greatest(-9223372036854775808, least(9223372036854775807, (extract(year FROM (x).i) * 12 + extract(month FROM (x).i)) * 2629800000000
			+ extract(day FROM (x).i) * 86400000000 + extract(hour FROM (x).i) * 3600000000
			+ extract(minute FROM (x).i) * 60000000 + extract(microseconds FROM (x).i))))::bigint::text),
		('uuid', r->>'u', (x).u::text), ('bytea', r->>'b', (x).b::text),
		('bigint[]', (SELECT array_agg(e::bigint ORDER BY o)::text FROM jsonb_array_elements_text(r->'int8s') WITH ORDINALITY AS e (e, o)),
			nullif((x).int8s, '{}')::text)
	) AS c (name, got, want)
)
SELECT name, report(array_agg(id) FILTER (WHERE NOT same), count(*)) FROM compared GROUP BY name ORDER BY name COLLATE "C";

WITH sent AS (
	SELECT v AS x, r FROM rows_sent('decimal_handling_mode', 'string', 'time_precision_mode', 'isostring',
		'interval_handling_mode', 'string', 'binary_handling_mode', 'base64') AS r
	JOIN v ON v.id = (r->>'id')::int
), compared AS (
	SELECT (x).id::bigint, name, got IS NOT DISTINCT FROM want AS same FROM sent, LATERAL (VALUES
		('numeric', r->>'num', (x).num::text), ('numeric(38,10)', r->>'dec', (x).dec::text),
		('numeric[]', (SELECT array_agg(e::numeric ORDER BY o)::text FROM jsonb_array_elements_text(r->'nums') WITH ORDINALITY AS e (e, o)),
			nullif((x).nums, '{}')::text),
		('date', r->>'d', CASE WHEN (x).d < '5000-01-01' THEN iso_date((x).d::timestamp) || 'Z' ELSE r->>'d' END),
		('time', r->>'t', to_char((x).t, 'HH24:MI:SS') || fraction(extract(microseconds FROM (x).t) % 1000000) || 'Z'),
		('timestamp', r->>'ts', iso_date((x).ts) || to_char((x).ts, '"T"HH24:MI:SS')
			|| fraction(extract(microseconds FROM (x).ts) % 1000000) || 'Z'),
		('interval', r->>'i', iso_interval((x).i)),
		('bytea', decode(r->>'b', 'base64')::text, (x).b::text)
	) AS c (name, got, want)
)
SELECT name, report(array_agg(id) FILTER (WHERE NOT same), count(*)) FROM compared GROUP BY name ORDER BY name COLLATE "C";

SELECT 'dropped' FROM pg_drop_replication_slot('regress_random');
SET client_min_messages = warning;
DROP SCHEMA regress_random CASCADE;
