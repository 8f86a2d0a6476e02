insert into _timescaledb_internal._hyper_1_1_chunk values (1, 1.5);
update _timescaledb_internal._hyper_1_1_chunk set temp = 2;
update _timescaledb_internal._hyper_1_1_chunk set id = 3;
delete from _timescaledb_internal._hyper_1_1_chunk;
insert into _timescaledb_internal._hyper_2_2_chunk values (1, 2.5);
insert into _timescaledb_internal._hyper_9_9_chunk values (1, 3.5);
insert into inv.conditions values (2, 1);
