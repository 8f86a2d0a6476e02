create schema inv;
create table inv.outbox(id uuid not null primary key, aggregatetype varchar(255) not null, aggregateid varchar(255) not null, type varchar(255) not null, payload jsonb, ts timestamp(3), tz timestamptz, us timestamp, ver int, part int, extra text not null default 'ex', tracing text);
create table inv.other(id int primary key, v text);
insert into inv.outbox values ('00000000-0000-0000-0000-000000000001', 'Order', 'k0', 'Created', '{"snap": 1}', '2024-01-01', '2024-01-01 00:00:00+00', '2024-01-01', 1, 0, 'e', 't0');
