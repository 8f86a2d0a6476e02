-- Topics with events that were sent twice, as after a crash: every change since
-- the snapshot is there again.  With this setting Flink keeps each table's rows
-- by key, and counts none of them twice; each source needs a primary key.

SET 'table.exec.source.cdc-events-duplicate' = 'true';

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
	'topic' = 'repeat.public.customers',
	'scan.startup.mode' = 'earliest-offset',
	'scan.bounded.mode' = 'latest-offset',
	'format' = 'debezium-avro-confluent',
	'debezium-avro-confluent.url' = 'REGISTRY'
);

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
	'topic' = 'repeat.public.orders',
	'scan.startup.mode' = 'earliest-offset',
	'scan.bounded.mode' = 'latest-offset',
	'format' = 'debezium-avro-confluent',
	'debezium-avro-confluent.url' = 'REGISTRY'
);

-- query: customers
SELECT * FROM customers;

-- query: orders
SELECT * FROM orders;

-- query: turnover
SELECT c.id, c.name, c.vip, COUNT(*) AS orders, SUM(o.amount) AS amount,
	MIN(o.on_day) AS first_day, MAX(o.placed) AS last_placed
FROM customers c JOIN orders o ON o.customer_id = c.id
WHERE o.status <> 'cancelled'
GROUP BY c.id, c.name, c.vip;
