-- What Flink reads of a stream with time_precision_mode = connect: every date
-- and time has its own type.  See flink.sql.

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
	'topic' = 'connect.public.customers',
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
	placed TIMESTAMP(3),
	on_day DATE,
	note STRING,
	PRIMARY KEY (id) NOT ENFORCED
) WITH (
	'connector' = 'kafka',
	'properties.bootstrap.servers' = 'BROKERS',
	'topic' = 'connect.public.orders',
	'scan.startup.mode' = 'earliest-offset',
	'scan.bounded.mode' = 'latest-offset',
	'format' = 'debezium-avro-confluent',
	'debezium-avro-confluent.url' = 'REGISTRY'
);

CREATE TABLE everything (
	id INT,
	`day` DATE,
	clock TIME(3),
	clock_ms TIME(3),
	`at` TIMESTAMP(3),
	at_ms TIMESTAMP(3),
	PRIMARY KEY (id) NOT ENFORCED
) WITH (
	'connector' = 'kafka',
	'properties.bootstrap.servers' = 'BROKERS',
	'topic' = 'connect.public.everything',
	'scan.startup.mode' = 'earliest-offset',
	'scan.bounded.mode' = 'latest-offset',
	'format' = 'debezium-avro-confluent',
	'debezium-avro-confluent.url' = 'REGISTRY'
);

-- query: times
SELECT * FROM everything;

-- query: orders
SELECT * FROM orders;

-- query: by_year
SELECT EXTRACT(YEAR FROM o.placed) AS placed_in, c.vip, COUNT(*) AS orders,
	SUM(o.amount) AS amount, MAX(o.placed) AS latest, MIN(c.since) AS oldest
FROM customers c JOIN orders o ON o.customer_id = c.id
WHERE o.placed < TIMESTAMP '2026-07-01 00:00:00'
GROUP BY EXTRACT(YEAR FROM o.placed), c.vip;
