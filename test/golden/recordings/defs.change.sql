insert into inv.n(id) values (1); insert into inv.t(id) values (1); insert into inv.s(id) values (1); insert into inv.b(id) values (1);
insert into inv.n(id, a, n62, b) values (2, null, null, null); insert into inv.t(id, d, ts, iv) values (2, null, null, null); insert into inv.s(id, tx, jb, md) values (2, null, null, null); insert into inv.b(id, by, b3, b1) values (2, null, null, null);
delete from inv.n where id = 1; delete from inv.t where id = 1; delete from inv.s where id = 1; delete from inv.b where id = 1;
