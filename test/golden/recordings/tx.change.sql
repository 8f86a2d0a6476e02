begin; insert into inv.a values (2, 'x'); insert into inv.z values (1); insert into inv.b values (2, 'y'); update inv.a set v = 'z' where id = 2; commit;
insert into inv.uncaptured values (1);
begin; insert into inv.a values (3, 'x'); select pg_logical_emit_message(true, 'pfx', 'hello'); select pg_logical_emit_message(false, 'pfx2', 'now'); savepoint s; insert into inv.a values (4, 'rolled back'); rollback to s; insert into inv.b values (3, 'y'); commit;
begin; select pg_logical_emit_message(true, 'pfx', 'only a message'); commit;
begin; insert into inv.a values (9, 'x'); rollback;
update inv.a set id = 20 where id = 2;
delete from inv.a where id = 3;
truncate inv.a, inv.b;
begin; select pg_logical_emit_message(true, 'pfx', '\x00ff41'::bytea); select pg_logical_emit_message(true, '', ''); commit;
