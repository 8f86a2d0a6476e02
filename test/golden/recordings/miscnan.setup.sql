create schema inv;
create table inv.o(id int primary key, v text);
create table inv.tn(id int primary key, v int, big text not null, ia int[] not null, fa float8[] not null, by bytea not null, n numeric not null default 0, ta text[] not null);
alter table inv.tn alter big set storage external, alter ia set storage external, alter fa set storage external, alter by set storage external, alter n set storage external, alter ta set storage external;
create table inv.nn(id int primary key, n numeric(6,2) not null, n2 numeric not null default 1.5, d date not null default '2020-01-01', ts timestamp not null default '2020-01-01');
create table inv.iv(id int primary key, iv interval, d date);
insert into inv.tn select 1, 1, repeat('x', 3000), array(select g from generate_series(1, 900) g), array(select g::float8 from generate_series(1, 400) g), decode(repeat('ab', 3000), 'hex'), (repeat('1234567890', 600))::numeric, array[repeat('y', 3000)];
select pg_replication_origin_create('other_node');
