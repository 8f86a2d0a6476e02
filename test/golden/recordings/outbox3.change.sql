insert into inv.outbox_json values ('00000000-0000-0000-0000-0000000000bc', 'C', 'k', 'T', '{}', null, null, null, null);
update inv.outbox_json set flag = true;
update inv.outbox_json set id = '00000000-0000-0000-0000-0000000000bd' where aggregatetype = 'C';
delete from inv.outbox_json;
truncate inv.outbox_json;
insert into inv.outbox_json values ('00000000-0000-0000-0000-0000000000be', 'C', null, 'T', '{}', null, null, null, null);
