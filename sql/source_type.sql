-- What schemas tell of a column's type, by the column's name and by the type's.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE SCHEMA regress_source;
SET search_path = regress_source, public;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int);
CREATE DOMAIN price AS numeric(8,3);
CREATE DOMAIN deep AS price;
CREATE DOMAIN short AS varchar(7);
CREATE FUNCTION parameters(regclass) RETURNS TABLE (field text, parameters text) LANGUAGE sql AS $$
SELECT f->>'name', replace((regexp_match(f->>'type', '.*"connect.parameters":({[^}]*})'))[1], '__debezium.source.column.', '')
FROM wal2kafka.schema_for($1) AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f $$;
CREATE TABLE t (
	pk bigint PRIMARY KEY, sm smallserial, se serial, bs bigserial,
	idn int GENERATED ALWAYS AS IDENTITY, c_bool bool, c_i2 int2, c_f4 real, c_f8 float8,
	c_num numeric, c_num52 numeric(5,2), c_price price, c_deep deep, c_short short,
	c_money money, c_char char(5), c_bpchar bpchar, c_vc varchar(10), c_vcn varchar,
	c_text text, c_qchar "char", c_bytea bytea, c_bit1 bit, c_bit5 bit(5), c_varbit varbit,
	c_varbit10 varbit(10), c_date date, c_time time, c_time0 time(0), c_time1 time(1),
	c_time3 time(3), c_timetz timetz, c_timetz2 timetz(2), c_ts timestamp,
	c_ts0 timestamp(0), c_ts3 timestamp(3), c_tstz timestamptz, c_tstz3 timestamptz(3),
	c_interval interval, c_interval2 interval(2), c_intervaly interval year to month,
	c_json json, c_uuid uuid, c_point point, c_mood mood, c_pair pair, c_oid oid,
	c_i4a int[], c_vca varchar(5)[], c_na numeric(10,2)[], c_nva numeric[],
	c_tsa timestamp(3)[], c_ma mood[], c_pa price[], c_i2v int2vector, "Odd ""name" int);
SET wal2kafka.column_propagate_source_type = 'regress_source\.t\..*';
SELECT * FROM parameters('t');
SELECT key_schema::json->>'fields' FROM wal2kafka.schema_for('t');
-- some columns; some types
SET wal2kafka.column_propagate_source_type = '.*\.c_text,.*\.C_VC';
SET wal2kafka.datatype_propagate_source_type = '.*int8,.*\.serial,regress_source\.t\._numeric';
SELECT * FROM parameters('t') WHERE parameters ~ 'type';
RESET wal2kafka.datatype_propagate_source_type;
-- shapes of many kinds, with transforms beside them
SET wal2kafka.hstore_handling_mode = 'map';
SET wal2kafka.column_propagate_source_type = '.*';
SET wal2kafka.column_transforms = 'mask.with.3.chars=.*\.t; truncate.to.3.chars=.*\.(m|a|b)';
CREATE TABLE s (id int PRIMARY KEY, n numeric, m numeric, a int[], b box, c box, t text NOT NULL DEFAULT 'x', ns numeric[]);
SELECT f->>'name' AS field, f->>'type' AS type
FROM wal2kafka.schema_for('s') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;
RESET wal2kafka.column_propagate_source_type;
RESET wal2kafka.column_transforms;
RESET wal2kafka.hstore_handling_mode;
SET client_min_messages = warning;
DROP SCHEMA regress_source CASCADE;
