create schema inv;
create type inv.mood as enum ('sad', 'ok');
create table inv.t(id int primary key, a int, b varchar(5) default 'x', n numeric(6,2) not null default 1.5, m inv.mood);
create table inv.ren(id int primary key, v text);
create table inv.p(id int, d date, v text, primary key (id, d)) partition by range (d);
create table inv.p1 partition of inv.p for values from ('2024-01-01') to ('2025-01-01');
insert into inv.t(id, a) values (1, 1);
insert into inv.ren values (1, 'r');
insert into inv.p values (1, '2024-05-05', 'p');
