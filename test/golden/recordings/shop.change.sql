insert into shop.customers(name,mail,vip,born,score,tags,prefs,created,code,ip,st,sts,b,iv,bits,vb,t,tz,d8,i2,amt) values ('Ünï "q" \ 😀','C@d',true,'2000-02-29',3.4028e38,'{"a b",NULL,"c\"d"}','{"k": 1.10, "u": "é"}','1969-12-31 23:59:59.9999+00','z','10.1.2.3/8','paid','{new,shipped}','\xdeadbeef','-1 year 2 days -00:00:01.5',B'001',B'110011001','23:59:59','01:02:03.45+05:30','-Infinity',32767,-1.2345);
insert into shop.orders values (1,1,123456789.123456,99999,1e-10,'-$1,234.56'),(1,2,0,null,-0.00,null),(2,1,null,1,12345678901234567890.123456789,0);
begin; update shop.orders set price=price+1 where no=1; update shop.orders set no=3 where no=2; delete from shop.orders where cust=2; commit;
insert into shop."Items" values ('00000000-0000-0000-0000-0000000000ab',1,'ü','<a b="c">x</a>','[1,10]','["2024-01-01 00:00:00+02",)','(0.1,-2)','{"z":1, "a":2}',-0.5,'2024-06-30 23:59:59.5','2024-01-01 01:02:03.95');
update shop."Items" set "naïve"=null; delete from shop."Items";
insert into shop.log values ('2030-01-01 00:00:00.000001','m'),(default,null);
insert into shop.par values (1,'a',1),(2,'b',default);
update shop.par set k='b' where id=1; delete from shop.par where id=2;
update shop.customers set st='shipped', name='n' where id=1; delete from shop.customers where id=2;
-- wait
alter table shop.log add column lvl int not null default 3;
-- wait
insert into shop.log(msg) values ('after');
-- wait
alter type shop.status add value 'lost';
alter table shop.orders alter column price type double precision;
-- wait
insert into shop.orders values (1,9,1.5,1,1,1); update shop.customers set st='lost' where id=1;
truncate shop.log;
