insert into inv.o values (1, 'local');
select pg_replication_origin_session_setup('other_node'); begin; select pg_replication_origin_xact_setup('0/1234', '2024-01-01 00:00:00+00'); insert into inv.o values (2, 'from origin'); insert into inv.o values (3, 'from origin'); commit; select pg_replication_origin_session_reset();
insert into inv.o values (4, 'local');
insert into inv.iv values (1, '1 year 2 mons 3 days 04:05:06.789', '2024-02-29');
insert into inv.nn values (1, 1.5);
update inv.tn set v = 2;
