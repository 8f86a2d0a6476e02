insert into inv.orders_1 values (2, 'a');
insert into inv.orders_2 values (2, 'b');
insert into inv.nokey values ('c');
insert into "S-2"."Täble é.x_y" values (1, 'd');
update inv.orders_1 set id = 3 where id = 2;
delete from inv.orders_2;
select pg_logical_emit_message(false, 'pfx', 'm');
