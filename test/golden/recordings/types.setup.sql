create extension hstore; create extension ltree; create extension citext; create extension isn;
create schema inv;
create type inv.mood as enum ('sad', 'ok');
create type inv.comp as (a int, b text);
create domain inv.dint as int;
create domain inv.dnum as numeric(8,3);
create domain inv.dts as timestamp(3);
create domain inv.dbytea as bytea;
create domain inv.dtext as text;
create domain inv.darr as int[];
create domain inv.dmood as inv.mood;
create table inv.num(id int primary key, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, n62 numeric(6,2), n6 numeric(6), nneg numeric(6,-2), n38 numeric(38,10), m money, dn inv.dnum, di inv.dint, oid oid, na numeric[], n62a numeric(6,2)[], f8a float8[], f4a float4[], i2a int2[], i4a int4[], i8a int8[], dna inv.dnum[], oida oid[], ma money[]);
create table inv.tim(id int primary key, d date, t time, t0 time(0), t3 time(3), t5 time(5), ttz timetz, ttz2 timetz(2), ts timestamp, ts0 timestamp(0), ts3 timestamp(3), ts5 timestamp(5), tstz timestamptz, tstz3 timestamptz(3), tstz0 timestamptz(0), iv interval, dts inv.dts, da date[], ta time[], t3a time(3)[], ttza timetz[], tsa timestamp[], ts3a timestamp(3)[], tstza timestamptz[], iva interval[], dtsa inv.dts[]);
create table inv.str(id int primary key, vc varchar, vc5 varchar(5), tx text, ch char(3), bp bpchar, nm name, qc "char", ct citext, js json, jb jsonb, x xml, u uuid, ip inet, ci cidr, mc macaddr, m8 macaddr8, md inv.mood, h hstore, l ltree, isb isbn, tv tsvector, dt inv.dtext, dm inv.dmood, i4r int4range, nr numrange, tsr tsrange, tstzr tstzrange, dr daterange,
 ta text[], vca varchar(5)[], cha char(3)[], nma name[], cta citext[], jsa json[], jba jsonb[], xa xml[], ua uuid[], ipa inet[], cia cidr[], mca macaddr[], mda inv.mood[], ha hstore[], la ltree[], i4ra int4range[], tsra tsrange[], dra daterange[], ba bool[], tva tsvector[], dta inv.dtext[]);
create table inv.bin(id int primary key, b bool, by bytea, b1 bit, b8 bit(8), b12 bit(12), vb varbit, vb9 varbit(9), vb1 varbit(1), db inv.dbytea, bya bytea[], b8a bit(8)[], vba varbit[], pt point, ln line, ls lseg, bx box, pa path, po polygon, ci circle, pta point[], bxa box[]);
create table inv.unk(id int primary key, c inv.comp, ca inv.comp[], mr int4multirange, tq tsquery, lsn pg_lsn, x xid, rc regclass, ss txid_snapshot, lq lquery, da inv.darr, dia inv.dint[], nm name, ma money[], iva interval[], v2 int2vector, ov oidvector, aclitems aclitem[], jp jsonpath, cid cid, tid tid, x8 xid8, rt regtype, cur refcursor);
