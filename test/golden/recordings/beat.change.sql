insert into inv.a values (2, 'x');
-- sleep 1
