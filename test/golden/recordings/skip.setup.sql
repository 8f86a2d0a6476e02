create schema inv;
create table inv.f(id int primary key, v text, w text, big text, ts timestamp);
alter table inv.f replica identity full;
alter table inv.f alter big set storage external;
create table inv.d(id int primary key, v text);
create table inv.nk(a int, v text); alter table inv.nk replica identity full;
