create extension hstore; create extension ltree; create extension citext; create extension isn;
create schema inv;
create type inv.mood as enum ('sad', 'ok');
create type inv.comp as (a int, b text);
create domain inv.dint as int not null default 4;
create domain inv.dvc as varchar(7);
create domain inv.dnum as numeric(8,3);
create domain inv.ddnum as inv.dnum;
create table inv.t(id int primary key, c_i2 int2, c_i4 int4, c_i8 int8, c_ser serial, c_bser bigserial, c_sser smallserial, c_f4 float4, c_f8 float8, c_float float(20),
 c_num numeric, c_num62 numeric(6,2), c_num6 numeric(6), c_numneg numeric(6,-2), c_money money,
 c_vc varchar, c_vc10 varchar(10), c_text text, c_char char, c_char5 char(5), c_bp bpchar, c_name name, c_qchar "char", c_citext citext,
 c_bool bool, c_bytea bytea, c_bit bit, c_bit8 bit(8), c_vb varbit, c_vb9 varbit(9),
 c_date date, c_time time, c_time0 time(0), c_time3 time(3), c_timetz timetz, c_timetz2 timetz(2), c_ts timestamp, c_ts0 timestamp(0), c_ts3 timestamp(3), c_tstz timestamptz, c_tstz3 timestamptz(3), c_iv interval, c_iv3 interval(3), c_ivd interval day to second(2),
 c_uuid uuid, c_json json, c_jsonb jsonb, c_xml xml, c_inet inet, c_cidr cidr, c_mac macaddr, c_mac8 macaddr8, c_oid oid,
 c_i4r int4range, c_nr numrange, c_tsr tsrange, c_tstzr tstzrange, c_dr daterange, c_i8r int8range, c_i4mr int4multirange,
 c_point point, c_line line, c_lseg lseg, c_box box, c_path path, c_poly polygon, c_circle circle,
 c_tsv tsvector, c_tsq tsquery, c_mood inv.mood, c_dint inv.dint, c_dvc inv.dvc, c_dnum inv.dnum, c_ddnum inv.ddnum, c_comp inv.comp, c_hstore hstore, c_ltree ltree, c_isbn isbn, c_lsn pg_lsn, c_xid xid, c_rc regclass, c_snap txid_snapshot,
 c_i4a int[], c_i2a int2[], c_i8a int8[], c_ta text[], c_vca varchar[], c_vc5a varchar(5)[], c_ca char(3)[], c_na numeric[], c_n62a numeric(6,2)[], c_ba bool[], c_f8a float8[], c_da date[], c_tsa timestamp[], c_ts3a timestamp(3)[], c_tstza timestamptz[], c_tma time[], c_ua uuid[], c_jba jsonb[], c_bya bytea[], c_ma inv.mood[], c_ia inet[], c_cta citext[], c_hsa hstore[], c_comps inv.comp[], c_dinta inv.dint[]);
comment on table inv.t is 'the table';
comment on column inv.t.id is 'the key';
comment on column inv.t.c_vc10 is 'ten chars';
comment on column inv.t.c_num62 is E'money\n"quoted" ü';
create table inv.c(k1 int, "K2" varchar(3) not null default 'x', v timestamp(3), primary key("K2", k1));
comment on column inv.c.v is 'stamp';
insert into inv.t(id) values (1);
comment on column inv.t.c_i4 is '';
comment on column inv.t.c_bool is 'a bool';
comment on column inv.t.c_num is 'unbounded';
comment on column inv.t.c_point is 'a point';
comment on column inv.t.c_box is 'a box';
comment on column inv.t.c_lseg is 'a lseg';
comment on column inv.t.c_i4a is 'ints';
comment on column inv.t.c_mood is 'a mood';
comment on column inv.t.c_ts3 is 'ts three';
comment on column inv.t.c_bit is 'one bit';
comment on column inv.t.c_hstore is 'pairs';
insert into inv.c values (0, 'a', '2024-01-01');
