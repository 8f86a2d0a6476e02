create extension citext; create extension hstore;
create schema inv; create type inv.mood as enum ('sad', 'ok');
create domain inv.dnum as numeric(8,3);
create table inv.k1(a numeric(6,2), b uuid, c timestamptz, d timestamp, e date, f inv.mood, g bytea, h boolean, v text, primary key (a, b, c, d, e, f, g, h));
create table inv.k2(n numeric primary key, v text);
create table inv.k3(a float8, b float4, c int2, d "char", e char(4), f citext, g time, h interval, i inet, v text, primary key (a, b, c, d, e, f, g, h, i));
create table inv.k4(a int[], b jsonb, c bit(3), d varbit(9), e inv.dnum, f money, g oid, h int4range, v text, primary key (a, b, c, d, e, f, g, h));
create table inv.k5("odd key" varchar(10) default 'd', "2nd" int default 3, v text, primary key ("2nd", "odd key"));
create table inv.k6(a timestamp default now(), b date default '2020-01-01', c numeric(4,1) default 1.5, d uuid default gen_random_uuid(), e bigint generated always as identity, v text, primary key (a, b, c, d, e));
