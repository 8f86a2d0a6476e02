create schema inv;
create table inv.o(id int primary key, cust int, name text, amount numeric(8,2), ts timestamp, u uuid, b boolean, i8 bigint);
create table inv.q(id int primary key, cust int);
