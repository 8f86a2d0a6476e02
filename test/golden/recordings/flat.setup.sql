create schema inv;
create table inv.t(id serial primary key, v varchar(10) not null default 'dv', n numeric(6,2) default 1.5, note text default 'none', ts timestamp(3), b bytea, big text);
alter table inv.t alter big set storage external;
create table inv.f(id int not null, k2 text not null, v text, route text, primary key(id, k2));
alter table inv.f replica identity full;
create table inv.nopk(a int, route text);
alter table inv.nopk replica identity full;
insert into inv.t(v, ts, b) values ('snap', '2024-02-29 12:34:56.123', '\x00ff');
insert into inv.t(v, note) values ('snap2', null);
