-- Defaults of columns in schemas: constants, placeholders of functions,
-- nothing for other expressions; and in the old row of a DELETE.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
SET synchronous_commit = on;

CREATE SCHEMA regress_defaults;
SET search_path = regress_defaults, public;
SET timezone = 'UTC';

CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE FUNCTION fields(regclass) RETURNS TABLE (field text, type text, "default" text)
LANGUAGE sql AS $$
SELECT f->>'name', f->>'type', f->>'default'
FROM wal2kafka.schema_for($1) AS s,
	/* a decimal's bytes; PostgreSQL's json has no such character */
	json_array_elements(replace(s.value_schema::text, '\u0000', '<00>')::json
		#>'{fields,0,type,1,fields}') AS f;
$$;

CREATE TABLE constants (
	a int DEFAULT 5, b int8 NOT NULL DEFAULT -7000000000, c int2 DEFAULT 3,
	d real DEFAULT 3, e float8 DEFAULT 1e20, f float8 DEFAULT 0.0001,
	g float8 DEFAULT 12345678.5, h numeric(6,2) DEFAULT 1.555,
	i numeric(6,2) DEFAULT -0.01, j bool DEFAULT true,
	k text DEFAULT E'x''y "q" \\ \n', l varchar(3) NOT NULL DEFAULT 'ab',
	m char(3) DEFAULT 'ab', n json DEFAULT '{"a": 1}', o jsonb DEFAULT '{"a":1}',
	p uuid DEFAULT '6B0C4C3A-1111-4222-8333-444455556666',
	q date DEFAULT '2020-02-03', r time DEFAULT '01:02:03',
	s timestamp DEFAULT '2021-01-01', t timestamptz(3) DEFAULT '2020-01-01 00:00:00.12345+00',
	u interval DEFAULT '1 day', v bit(3) DEFAULT B'101', w bit DEFAULT B'1',
	x mood DEFAULT 'ok', y varbit DEFAULT B'0');
SELECT * FROM fields('constants');

CREATE TABLE functions (
	a serial, b int DEFAULT (random() * 3)::int, c text DEFAULT upper('abc'),
	d uuid DEFAULT gen_random_uuid(), e timestamptz DEFAULT now(),
	f timestamptz(0) DEFAULT CURRENT_TIMESTAMP, g date DEFAULT CURRENT_DATE,
	h date DEFAULT now(), i timestamp DEFAULT (now() AT TIME ZONE 'utc'),
	j numeric(5,2) DEFAULT random(), k bool DEFAULT pg_is_in_recovery(),
	l jsonb DEFAULT jsonb_build_object(), m text DEFAULT CURRENT_USER,
	n mood DEFAULT random()::text::mood);
SELECT * FROM fields('functions');

-- none: expressions, nulls, types without, domains, wrong values
CREATE TABLE nothing (
	a int DEFAULT 1 + 1, b text DEFAULT 'a' || 'b', c text DEFAULT NULL,
	d varchar DEFAULT NULL::varchar, e bytea DEFAULT '\x01', f int[] DEFAULT '{1}',
	g money DEFAULT 1, h inet DEFAULT '::1', i numeric DEFAULT 2.5,
	j positive DEFAULT 4, k int2 DEFAULT 100000::int8, l numeric(5,2) DEFAULT 'NaN',
	m float8 DEFAULT 'Infinity', n int GENERATED ALWAYS AS IDENTITY,
	o timetz DEFAULT '10:00+00', p name DEFAULT 'x', q point DEFAULT '(1,2)');
SELECT * FROM fields('nothing');

-- The old row of a DELETE has the key only: what else may not be null shows
-- as its default, or as nothing.
CREATE TABLE old (
	id int PRIMARY KEY, a int NOT NULL, b int NOT NULL DEFAULT 7,
	c text NOT NULL, d text NOT NULL DEFAULT 'dflt "q"', e numeric(5,2) NOT NULL,
	f numeric(5,2) NOT NULL DEFAULT -1.5, g uuid NOT NULL, h jsonb NOT NULL,
	i timestamptz NOT NULL, j timestamptz(0) NOT NULL, k date NOT NULL,
	l bool NOT NULL DEFAULT true, m float8 NOT NULL DEFAULT 2.5, n bytea NOT NULL,
	o int[] NOT NULL, p point NOT NULL, q numeric NOT NULL, r timetz NOT NULL,
	s mood NOT NULL, t text DEFAULT 'nullable', u real NOT NULL DEFAULT 0.5,
	v bit(3) NOT NULL DEFAULT B'110', w box NOT NULL);
INSERT INTO old VALUES (1, 1, 1, 'c', 'd', 1, 1, gen_random_uuid(), '1',
	now(), now(), now(), false, 1, '', '{}', '(1,1)', 1, now(), 'ok', 't', 1, B'000', '(0,0),(1,1)');
SELECT 'created' FROM pg_create_logical_replication_slot('regress_defaults', 'wal2kafka');
DELETE FROM old;
SELECT f.*
FROM pg_logical_slot_get_binary_changes('regress_defaults', NULL, NULL,
		'format', 'avro') AS c,
	json_each(wal2kafka.decode(c.data)->'value'->'before') AS f
WHERE wal2kafka.decode(c.data)->>'value' IS NOT NULL;

SELECT 'dropped' FROM pg_drop_replication_slot('regress_defaults');
SET client_min_messages = warning;
DROP SCHEMA regress_defaults CASCADE;
