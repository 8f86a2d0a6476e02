insert into inv.t(id, a) values (2, 2);
-- wait
alter table inv.t add c text;
insert into inv.t(id, c) values (3, 'c');
-- wait
alter table inv.t add d int not null default 7;
update inv.t set a = 5 where id = 2;
-- wait
alter table inv.t alter a type bigint, alter b type varchar(9), alter n type numeric(8,3);
insert into inv.t(id, a) values (4, 99999999999);
-- wait
alter table inv.t alter b set default 'y';
insert into inv.t(id) values (40);
-- wait
update inv.t set a = 0 where a is null;
-- wait
alter table inv.t alter b drop default, alter n drop not null, alter a set not null, alter a set default 3;
insert into inv.t(id) values (5);
-- wait
alter table inv.t drop c;
alter table inv.t rename a to aa;
insert into inv.t(id) values (6);
-- wait
alter type inv.mood add value 'great';
insert into inv.t(id, m) values (7, 'great');
-- wait
alter table inv.t drop constraint t_pkey;
alter table inv.t add primary key (aa, id);
insert into inv.t(id, aa) values (8, 8);
update inv.t set aa = 9 where id = 8;
-- wait
update inv.t set b = 'nochange' where id = 7;
-- wait
begin;
insert into inv.t(id, aa) values (10, 10);
alter table inv.t add e boolean default true;
insert into inv.t(id, aa) values (11, 11);
commit;
-- wait
alter table inv.t replica identity full;
update inv.t set b = 'f' where id = 11;
delete from inv.t where id = 11;
-- wait
alter table inv.t rename to t2;
insert into inv.t2(id, aa) values (12, 12);
-- wait
alter table inv.ren rename to ren2;
insert into inv.ren2 values (2, 's');
create table inv.new(id int primary key, v text);
alter publication p1 add table inv.new;
insert into inv.new values (1, 'n');
-- wait
alter table inv.p detach partition inv.p1;
insert into inv.p1 values (2, '2024-06-06', 'detached');
-- wait
alter table inv.p attach partition inv.p1 for values from ('2024-01-01') to ('2025-01-01');
create table inv.p2 partition of inv.p for values from ('2025-01-01') to ('2026-01-01');
insert into inv.p values (3, '2025-05-05', 'two');
update inv.p set d = '2024-07-07' where id = 3;
-- wait
truncate inv.p;
drop table inv.ren2;
insert into inv.p values (4, '2024-05-05', 'q');
