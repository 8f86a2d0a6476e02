insert into inv.o select g, g * 7, 'name' || g, g + 0.5, '2024-01-01'::timestamp + g * interval '1 day', ('00000000-0000-0000-0000-00000000000' || g)::uuid, g % 2 = 0, g * 10000000000 from generate_series(1, 6) g;
insert into inv.o(id) values (7);
insert into inv.q values (1, 5);
update inv.o set cust = 100 where id = 1;
delete from inv.o where id = 2;
insert into inv.o(id, cust, name, amount) values (-5, -5, 'é😀', -3);
