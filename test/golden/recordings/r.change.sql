insert into inv.alltypes values(2, true, 32767, 2147483647, 9223372036854775807, 1.1, 2.2,
 123456.789012345678901234567890, 123.45, 12345, 12300, 1.5, 1234.56,
 'ab','z','abc','abc','txt','nm','q','CiText',
 '\x00ff10', B'1', B'10101', B'1011', B'00101', B'1',
 '2024-02-29','23:59:59.123456','23:59:59.123','12:34:56.789+05:30','2024-02-29 12:34:56.123456','2024-02-29 12:34:56','2024-02-29 12:34:56.123','2024-02-29 12:34:56.123456','2024-02-29 12:34:56.123456+02','2024-02-29 12:34:56.120+02','2024-02-29 12:34:56+02','1 year 2 mons 3 days 04:05:06.789',
 '{"a": 1}','{"b": [1,2]}','<a/>','6b0c4c3a-1111-4222-8333-444455556666','192.168.0.1','10.0.0.0/8','08:00:2b:01:02:03','08:00:2b:01:02:03:04:05',
 '[1,5)','[1,5)','[1.5,2.5)','["2020-01-01 00:00:00","2020-02-01 00:00:00")','["2020-01-01 00:00:00+00","2020-02-01 00:00:00+00")','[2020-01-01,2020-02-01)','{[1,3),[5,7)}',
 '(1.5,2.5)','{1,2,3}','[(0,0),(1,1)]','((0,0),(1,1))','((0,0),(1,1),(2,0))','((0,0),(1,1),(2,0))','<(1,2),3>',
 'fat:1 cat:2','fat & cat','ok',5,'(1,"x y")','a=>1,b=>NULL','a.b.c','a.*','978-0-393-04002-9',42,'pg_class','16/B374D848','100','10:20:10,14,15',
 '{1,2,NULL}','{1,2}','{1,2}','{1.5}','{1.5}','{t,f}','{a,NULL,"b c"}','{ab}','{abc}','{1.5,2.25}','{1.5,2.25}','{2020-01-01}','{01:02:03}','{01:02:03+02}','{"2020-01-01 00:00:00"}','{"2020-01-01 00:00:00+02"}','{6b0c4c3a-1111-4222-8333-444455556666}',array['{"a":1}']::json[],array['{"a":1}']::jsonb[],array['\x01'::bytea],'{sad,ok}','{192.168.0.1}','{"[1,5)"}','{1.5}','{1 day}',array['(1,2)'::point],'{1,2}','{{1,2},{3,4}}','{<a/>}','{x}',array['a=>1'::hstore],'{a.b}',array[row(1,'z')::comp]);
insert into inv.alltypes(pk) values (3);
insert into inv.alltypes(pk,c_f4,c_f8,c_date,c_ts,c_tstz) values (4,'NaN','Infinity','infinity','infinity','infinity');
insert into inv.alltypes(pk,c_f4,c_f8,c_date,c_ts,c_tstz) values (5,'-Infinity','-Infinity','-infinity','-infinity','-infinity');
insert into inv.alltypes(pk,c_date,c_ts,c_tstz,c_num,c_time) values (6,'0044-03-15 BC','0044-03-15 10:00:00 BC','0044-03-15 10:00:00+00 BC', -0.000001,'24:00:00');
insert into inv.alltypes(pk,c_num,c_num52,c_ts,c_tstz,c_date) values (7, 1e20, 0.1,'1969-12-31 23:59:59.999999','1969-12-31 23:59:59.999999+00','1969-12-31');
insert into inv.defs default values;
begin; insert into inv.orders(customer_id,amount) values (9,1); update inv.orders set amount=2 where id=1; delete from inv.orders where id=2; commit;
update inv.orders set id=100 where id=3;
insert into inv.nopk values (2,'b'); update inv.uniq set b='z';
insert into inv.uniq values (1,'a');
update inv.toasted set n=2.5 where id=1;
update inv.fullid set v=2 where id=1; delete from inv.fullid where id=1;
insert into inv.part values (2,'2024-06-05','p');
insert into inv.gen(id,a) values(1,2);
select pg_logical_emit_message(true,'pfx','hello'); select pg_logical_emit_message(false,'pfx2','hello2');
alter table inv.orders add column extra int default 3; insert into inv.orders(customer_id,amount) values (10,1);
alter table inv.orders drop column note; insert into inv.orders(customer_id,amount) values (11,1);
truncate inv.orders; truncate inv.nopk, inv.uniq;
insert into inv."Weird-Name $1" values(2,'a',2,'b');
