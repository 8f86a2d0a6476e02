insert into inv.outbox_text values (1, 'A', 7, 'T', 'plain text', '\x00ff', 1.5, true, '2024-02-29');
insert into inv.outbox_text values (2, 'A', null, null, '{"a": 1.0, "c": 9999999999, "d": "x\u0041"}', null, null, null, null);
insert into inv.outbox_text values (3, 'A', 8, 'T', '', null, null, null, null);
insert into inv.outbox_text values (4, 'A', 8, 'T', ' { "sp" : 1 } ', null, null, null, null);
insert into inv.outbox_bytes values ('i1', 'B', '00000000-0000-0000-0000-0000000000aa', 'T', '\x00ff41', '\x00ff', -1.5, false, '2024-02-29');
insert into inv.outbox_json values ('00000000-0000-0000-0000-0000000000bb', 'C', 'k', 'T', '{"z":1,  "a":{"n":[[1],[2]],"e":{}, "m":[1,"x"]}}', null, null, null, null);
delete from inv.outbox_bytes;
