insert into inv.outbox values ('00000000-0000-0000-0000-000000000002', 'Order', 'k1', 'Created', '{"id": 1, "name": "x", "big": 12345678901, "f": 1.5, "t": true, "n": null, "o": {"a": "b"}, "l": [1, 2], "e": [], "lo": [{"a": 1}, {"b": "x"}]}', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+02', '2024-02-29 12:34:56.789012', 2, 3, 'e2', 'tr');
insert into inv.outbox values ('00000000-0000-0000-0000-000000000003', 'my-Type', 'k2', 'Deleted', null, null, null, null, null, null, 'e3', null);
insert into inv.outbox values ('00000000-0000-0000-0000-000000000004', 'Order', 'k3', 'Str', '"text"', '2024-01-01', now(), now(), 2, 1, 'e4', null);
insert into inv.outbox values ('00000000-0000-0000-0000-000000000006', 'Order', 'k5', 'Empty', '{}', '2024-01-01', now(), now(), 2, 1, 'e6', null);
insert into inv.outbox values ('00000000-0000-0000-0000-000000000007', 'Order', 'k6', 'EmptyStr', '""', '2024-01-01', now(), now(), 2, 1, 'e6', null);
delete from inv.outbox where aggregateid = 'k1';
insert into inv.other values (1, 'x');
update inv.other set v = 'y';
delete from inv.other;
