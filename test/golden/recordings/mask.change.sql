insert into inv.m values (1, 'abcdefghij', 'abcdefghijkl', 'ab', 'héllo wörld €', 'ab', 'name', 'CiTe', 123456, 1234567890123, 12.34, true, '{"a": 1}', '{"a": 1}', '00000000-0000-0000-0000-0000000000aa', '2024-02-29', '2024-02-29 01:02:03', '\x00ff', '{abc,defg}', '{abc,defg}', 'ok', '10.0.0.1', '<a/>', B'10101010', 'abc', 'abc');
insert into inv.m(id, tx, vc100, nn) values (2, null, 'x', '');
insert into inv.m(id, vc, nn) values (3, '', '😀é');
update inv.m set id = 4 where id = 3;
delete from inv.m where id = 1;
insert into inv.k values ('secretkey', 'secret');
insert into inv.other values (1, 'plain');
