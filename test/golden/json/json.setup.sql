-- What JSON has to write: numbers, bytes, characters, arrays, maps, structs,
-- defaults.
CREATE SCHEMA inv;
CREATE EXTENSION hstore;
CREATE TABLE inv.t (id int PRIMARY KEY DEFAULT 7, i2 smallint DEFAULT 3,
	i8 bigint, f4 real, f8 double precision, n numeric(12,4) DEFAULT 1.5,
	n0 numeric, ns numeric(20,12), mo money, b bytea,
	txt text DEFAULT 'de"f', d date, t3 time(3), ts timestamp,
	ts3 timestamp(3), tz timestamptz, a int[], ta text[], bo boolean,
	u uuid, j jsonb, h hstore, bi bit(12), iv interval, p point,
	na numeric(8,2)[]);
CREATE TABLE inv.k2 (a int, s text, n numeric(10,2), bb bytea, d date,
	f float8, PRIMARY KEY (a, s, n, bb, d, f), v text);
CREATE TABLE inv.nopk (a int, b text);
ALTER TABLE inv.nopk REPLICA IDENTITY FULL;
INSERT INTO inv.nopk VALUES (1, 'snap');
