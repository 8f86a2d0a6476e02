-- The tables that consumers read.  Those that Flink reads have REPLICA
-- IDENTITY FULL; the others keep what PostgreSQL gives by default.
CREATE TABLE customers (
	id int PRIMARY KEY,
	name text NOT NULL,
	vip boolean NOT NULL DEFAULT false,
	since date,
	credit numeric(12,2),
	seen timestamp(3));
ALTER TABLE customers REPLICA IDENTITY FULL;

CREATE TABLE orders (
	id bigint PRIMARY KEY,
	customer_id int NOT NULL,
	amount numeric(10,2) NOT NULL,
	status varchar(20) NOT NULL DEFAULT 'new',
	paid boolean,
	placed timestamp NOT NULL,
	on_day date NOT NULL,
	note text);
ALTER TABLE orders REPLICA IDENTITY FULL;

-- without a key, and with rows that are equal
CREATE TABLE clicks (
	customer_id int,
	page text NOT NULL,
	ms int,
	at timestamp(3));
ALTER TABLE clicks REPLICA IDENTITY FULL;

-- values that are stored out of line, and that most updates leave alone
CREATE TABLE documents (
	id int PRIMARY KEY,
	title text,
	body text,
	version int NOT NULL);
ALTER TABLE documents ALTER body SET STORAGE EXTERNAL;
ALTER TABLE documents REPLICA IDENTITY FULL;

CREATE TABLE order_items (
	order_id bigint,
	line smallint,
	product text NOT NULL,
	pieces int,
	price numeric(8,3),
	PRIMARY KEY (order_id, line));

-- no primary key, but an index that serves as one
CREATE TABLE stock (
	sku text NOT NULL,
	place text,
	pieces int);
CREATE UNIQUE INDEX stock_sku ON stock (sku);
ALTER TABLE stock REPLICA IDENTITY USING INDEX stock_sku;

CREATE SCHEMA "Über uns";
CREATE TABLE "Über uns"."Maß & Zahl" (
	"Schlüssel 1" int,
	"größe" text,
	"select" numeric(8,3),
	"№" boolean,
	PRIMARY KEY ("größe", "Schlüssel 1"));

CREATE TYPE mood AS ENUM ('fine', 'so-so', 'not "fine"');
CREATE TABLE everything (
	id int PRIMARY KEY,
	small smallint,
	normal int,
	big bigint,
	single real,
	double double precision,
	exact numeric(20,4),
	whole numeric(38,0),
	free numeric,
	yes boolean,
	label text,
	short varchar(20),
	padded char(6),
	bytes bytea,
	tag uuid,
	doc json,
	docb jsonb,
	day date,
	clock time,
	clock_ms time(3),
	at timestamp,
	at_ms timestamp(3),
	at_zone timestamptz,
	span interval,
	state mood,
	numbers int[],
	labels text[],
	address inet);
ALTER TABLE everything REPLICA IDENTITY FULL;

-- for the streams with other modes of times
CREATE PUBLICATION timed FOR TABLE customers, orders, everything;
