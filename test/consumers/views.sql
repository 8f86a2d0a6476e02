-- PostgreSQL's rows in the form in which a consumer gets them.

-- The values of default modes as they are in Avro: days, milli- and
-- microseconds since 1970, bytes as base64.
CREATE SCHEMA wire;
CREATE FUNCTION wire.day(date) RETURNS int IMMUTABLE
	RETURN $1 - date '1970-01-01';
CREATE FUNCTION wire.micros(timestamp) RETURNS bigint IMMUTABLE
	RETURN (extract(epoch FROM $1) * 1000000)::bigint;
CREATE FUNCTION wire.millis(timestamp) RETURNS bigint IMMUTABLE
	RETURN (extract(epoch FROM $1) * 1000)::bigint;

CREATE VIEW wire.customers AS
	SELECT id, name, vip, wire.day(since) AS since, credit,
		wire.millis(seen) AS seen, email FROM public.customers;
CREATE VIEW wire.orders AS
	SELECT id, customer_id, amount, status, paid,
		wire.micros(placed) AS placed, wire.day(on_day) AS on_day, note
	FROM public.orders;
CREATE VIEW wire.clicks AS
	SELECT customer_id, page, ms, wire.millis(at) AS at FROM public.clicks;
CREATE VIEW wire.documents AS SELECT * FROM public.documents;
CREATE VIEW wire.order_items AS SELECT * FROM public.order_items;
CREATE VIEW wire.stock AS SELECT * FROM public.stock;
CREATE VIEW wire."Maß & Zahl" AS
	SELECT "Schlüssel 1" AS "Schl_ssel_1", "größe" AS "gr__e", "select",
		"№" AS "_" FROM "Über uns"."Maß & Zahl";
CREATE VIEW wire.everything AS
	SELECT id, small, normal, big, single, double, exact, whole, free, yes,
		label, short, rpad(padded, 6) AS padded,
		translate(encode(bytes, 'base64'), E'\n', '') AS bytes,
		tag, doc::text AS doc, docb::text AS docb, wire.day(day) AS day,
		(extract(epoch FROM clock) * 1000000)::bigint AS clock,
		(extract(epoch FROM clock_ms) * 1000)::int AS clock_ms,
		wire.micros(at) AS at, wire.millis(at_ms) AS at_ms,
		to_char(at_zone AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at_zone,
		(extract(epoch FROM span) * 1000000)::bigint AS span,
		state, numbers, labels, abbrev(address) AS address
	FROM public.everything;

-- What Flink's SQL can name: DATE, TIME(3) and TIMESTAMP(3) are native there,
-- microseconds a BIGINT.
CREATE SCHEMA flink;
CREATE VIEW flink.customers AS SELECT * FROM public.customers;
CREATE VIEW flink.clicks AS SELECT * FROM public.clicks;
CREATE VIEW flink.orders AS
	SELECT id, customer_id, amount, status, paid, wire.micros(placed) AS placed,
		on_day, note FROM public.orders;
CREATE VIEW flink.everything AS
	SELECT id, small, normal, big, single, double, exact, whole, free, yes,
		label, short, padded, bytes, tag, doc, docb, p.day, clock, p.clock_ms, at,
		p.at_ms, at_zone, span, state, numbers, labels, address
	FROM wire.everything w JOIN (SELECT id, day, clock_ms, at_ms
		FROM public.everything) AS p USING (id);

-- The same, for what was sent twice.
CREATE SCHEMA flink_repeat;
CREATE VIEW flink_repeat.customers AS SELECT * FROM flink.customers;
CREATE VIEW flink_repeat.orders AS SELECT * FROM flink.orders;

-- With time_precision_mode = connect everything is in milliseconds.
CREATE SCHEMA flink_connect;
CREATE FUNCTION flink_connect.millis(timestamp) RETURNS timestamp IMMUTABLE
	RETURN date_trunc('milliseconds', $1);
CREATE VIEW flink_connect.customers AS SELECT * FROM public.customers;
CREATE VIEW flink_connect.orders AS
	SELECT id, customer_id, amount, status, paid,
		flink_connect.millis(placed) AS placed, on_day, note
	FROM public.orders;
CREATE VIEW flink_connect.everything AS
	SELECT id, day, date_trunc('milliseconds', clock)::time AS clock, clock_ms,
		flink_connect.millis(at) AS at, at_ms
	FROM public.everything;

-- With time_precision_mode = avro clients have types of their own for dates
-- and timestamps; the text is PostgreSQL's.
CREATE SCHEMA native;
CREATE VIEW native.customers AS
	SELECT id, name, vip, since::text AS since, credit, seen::text AS seen, email
	FROM public.customers;
CREATE VIEW native.orders AS
	SELECT id, customer_id, amount, status, paid, placed::text AS placed,
		on_day::text AS on_day, note FROM public.orders;
CREATE VIEW native.everything AS
	SELECT id, small, normal, big, single, double, exact, whole, free, yes,
		label, short, padded, bytes, tag, doc, docb, p.day::text AS day, clock,
		(extract(epoch FROM p.clock_ms) * 1000000)::bigint AS clock_ms,
		p.at::text AS at, p.at_ms::text AS at_ms,
		(p.at_zone AT TIME ZONE 'UTC')::text AS at_zone,
		span, state, numbers, labels, address
	FROM wire.everything w JOIN (SELECT id, day, clock_ms, at, at_ms, at_zone
		FROM public.everything) AS p USING (id);

-- What the JDBC sink makes of the tables: names as in Avro, and an interval
-- is whole seconds.
CREATE SCHEMA copied;
CREATE VIEW copied."Maß & Zahl" AS SELECT * FROM wire."Maß & Zahl";
CREATE VIEW copied.customers AS SELECT * FROM public.customers;
CREATE VIEW copied.orders AS SELECT * FROM public.orders;
CREATE VIEW copied.documents AS SELECT * FROM public.documents;
CREATE VIEW copied.order_items AS SELECT * FROM public.order_items;
CREATE VIEW copied.stock AS SELECT * FROM public.stock;
CREATE VIEW copied.everything AS
	SELECT id, small, normal, big, single, double, exact, whole, free, yes,
		label, short, padded, bytes, tag, doc, docb, day, clock, clock_ms, at,
		at_ms, at_zone, make_interval(secs => trunc(extract(epoch FROM span))) AS span,
		state, numbers, labels, address
	FROM public.everything;
-- The types that the sink chooses for the columns of the tables it makes.
CREATE VIEW copied.types AS
	SELECT c.relname || '.' || a.attname AS "column",
		CASE
			WHEN t.typtype = 'e' OR t.typname IN ('varchar', 'bpchar', 'inet') THEN 'text'
			WHEN t.typname = 'jsonb' THEN 'json'
			WHEN t.typname IN ('time', 'timestamp', 'timestamptz')
				THEN format_type(t.oid, 6)
			ELSE format_type(t.oid, a.atttypmod)
		END AS type
	FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		JOIN pg_type t ON t.oid = a.atttypid
	WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
		AND c.relname <> 'clicks' AND a.attnum > 0 AND NOT a.attisdropped;
