create schema inv;
create table inv.a(id int primary key, v text);
create table inv.b(id int primary key, v text);
create table inv.z(id int primary key);
create table inv.uncaptured(id int);
insert into inv.a values (1, 'snap');
