insert into inv.f values (1, 'v', 'w', repeat('x', 2100), '2024-01-01'); insert into inv.d values (1, 'v'); insert into inv.nk values (1, 'v');
begin; update inv.f set v = v; update inv.f set w = 'w2'; update inv.d set v = v; update inv.nk set v = v; update inv.nk set v = 'x'; commit;
update inv.f set v = 'v2';
begin; update inv.f set v = v; commit;
update inv.f set v = null; update inv.f set v = null;
update inv.f set id = 2;
delete from inv.f;
