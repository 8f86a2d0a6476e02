-- What Flink reads, and what it makes of it.
--
-- A query is one that PostgreSQL understands too: its answer there is the
-- right one.  Rows arrive as changes, so that each result is a stream of
-- changes itself; what it comes to at the end is compared.

CREATE TABLE customers (
	id INT,
	name STRING,
	vip BOOLEAN,
	since DATE,
	credit DECIMAL(12, 2),
	seen TIMESTAMP(3),
	email STRING,
	PRIMARY KEY (id) NOT ENFORCED
) WITH (
	'connector' = 'kafka',
	'properties.bootstrap.servers' = 'BROKERS',
	'topic' = 'shop.public.customers',
	'scan.startup.mode' = 'earliest-offset',
	'scan.bounded.mode' = 'latest-offset',
	'format' = 'debezium-avro-confluent',
	'debezium-avro-confluent.url' = 'REGISTRY'
);

-- timestamp, in microseconds, is a BIGINT
CREATE TABLE orders (
	id BIGINT,
	customer_id INT,
	amount DECIMAL(10, 2),
	status STRING,
	paid BOOLEAN,
	placed BIGINT,
	on_day DATE,
	note STRING,
	PRIMARY KEY (id) NOT ENFORCED
) WITH (
	'connector' = 'kafka',
	'properties.bootstrap.servers' = 'BROKERS',
	'topic' = 'shop.public.orders',
	'scan.startup.mode' = 'earliest-offset',
	'scan.bounded.mode' = 'latest-offset',
	'format' = 'debezium-avro-confluent',
	'debezium-avro-confluent.url' = 'REGISTRY'
);

-- no key: its topic has one partition, and there is no key.format
CREATE TABLE clicks (
	customer_id INT,
	page STRING,
	ms INT,
	`at` TIMESTAMP(3)
) WITH (
	'connector' = 'kafka',
	'properties.bootstrap.servers' = 'BROKERS',
	'topic' = 'shop.public.clicks',
	'scan.startup.mode' = 'earliest-offset',
	'scan.bounded.mode' = 'latest-offset',
	'format' = 'debezium-avro-confluent',
	'debezium-avro-confluent.url' = 'REGISTRY'
);

-- every type: what Flink can call it
CREATE TABLE everything (
	id INT,
	small SMALLINT,
	normal INT,
	big BIGINT,
	single FLOAT,
	`double` DOUBLE,
	exact DECIMAL(20, 4),
	whole DECIMAL(38, 0),
	`free` ROW<scale INT, `value` BYTES>,
	yes BOOLEAN,
	label STRING,
	short STRING,
	padded STRING,
	`bytes` BYTES,
	tag STRING,
	doc STRING,
	docb STRING,
	`day` DATE,
	clock BIGINT,
	clock_ms TIME(3),
	`at` BIGINT,
	at_ms TIMESTAMP(3),
	at_zone STRING,
	span BIGINT,
	state STRING,
	numbers ARRAY<INT>,
	labels ARRAY<STRING>,
	address STRING,
	PRIMARY KEY (id) NOT ENFORCED
) WITH (
	'connector' = 'kafka',
	'properties.bootstrap.servers' = 'BROKERS',
	'topic' = 'shop.public.everything',
	'scan.startup.mode' = 'earliest-offset',
	'scan.bounded.mode' = 'latest-offset',
	'format' = 'debezium-avro-confluent',
	'debezium-avro-confluent.url' = 'REGISTRY'
);

-- query: customers
SELECT * FROM customers;

-- query: orders
SELECT * FROM orders;

-- query: clicks
SELECT * FROM clicks;

-- query: everything
SELECT * FROM everything;

-- query: turnover
SELECT c.id, c.name, c.vip, COUNT(*) AS orders, SUM(o.amount) AS amount,
	MIN(o.on_day) AS first_day, MAX(o.placed) AS last_placed
FROM customers c JOIN orders o ON o.customer_id = c.id
WHERE o.status <> 'cancelled'
GROUP BY c.id, c.name, c.vip;

-- query: pages
SELECT page, COUNT(*) AS clicks, COUNT(customer_id) AS known,
	SUM(ms) AS ms, MIN(ms) AS least, MAX(ms) AS most
FROM clicks
GROUP BY page;

-- query: visitors
SELECT c.id, c.credit, k.clicks
FROM customers c LEFT JOIN (
	SELECT customer_id, COUNT(*) AS clicks FROM clicks GROUP BY customer_id
) k ON k.customer_id = c.id;
