create extension citext;
create schema inv;
create type inv.mood as enum ('sad', 'ok');
create table inv.m(id int primary key, vc10 varchar(10), vc varchar, vc100 varchar(100) not null default 'dflt', tx text default 'dd', ch char(5), nm name, ct citext, i int, i8 bigint default 7, n numeric(6,2), b bool, js json, jb jsonb, u uuid, d date, ts timestamp, by bytea, ta text[], va varchar(10)[], md inv.mood, ip inet, x xml, bt bit(8), h2 varchar(64), nn text not null);
create table inv.k(k varchar(20) primary key, v varchar(20));
create table inv.other(id int primary key, vc10 varchar(10));
