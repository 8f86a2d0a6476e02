insert into inv.t(id) values (2); insert into inv.c values (1, 'a', '2024-01-01');
