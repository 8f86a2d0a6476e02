create schema inv;
create table inv.outbox_text(id bigint primary key, aggregatetype text not null, aggregateid int, type text, payload text, hdr bytea, num numeric(6,2), flag boolean, d date);
create table inv.outbox_bytes(id text not null, aggregatetype text not null, aggregateid uuid not null, type text, payload bytea not null, hdr bytea, num numeric(6,2), flag boolean, d date);
alter table inv.outbox_bytes replica identity full;
create table inv.outbox_json(id uuid primary key, aggregatetype text, aggregateid text, type text not null default 'T', payload json not null, hdr bytea, num numeric(6,2), flag boolean, d date);
alter table inv.outbox_json replica identity full;
