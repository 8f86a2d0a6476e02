create schema inv; create schema "S-2";
create table inv.orders_1(id int primary key, v text);
create table inv.orders_2(id int primary key, v text);
create table inv.nokey(v text);
create table "S-2"."Täble é.x_y"(id int primary key, "co-l" text);
insert into inv.orders_1 values (1, 'snap');
