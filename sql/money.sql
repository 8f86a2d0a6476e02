-- Money in each mode, with another number of fraction digits, to its limits.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
RESET client_min_messages;
CREATE TABLE m (id int PRIMARY KEY, m money, ms money[]);
SELECT create_slot();
INSERT INTO m VALUES
	(1, 12.34, '{1,-0.01,NULL}'), (2, -12.35, '{}'), (3, 0.05, NULL), (4, -0.05, NULL),
	(5, '92233720368547758.07', NULL), (6, '-92233720368547758.08', NULL), (7, NULL, NULL);
CREATE FUNCTION peek(VARIADIC options text[]) RETURNS TABLE (m text, ms text) LANGUAGE sql AS $$
SELECT data::json#>>'{value,after,m}', data::json#>>'{value,after,ms}'
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, VARIADIC options) $$;
SELECT * FROM peek('topic_prefix', 'x');
SELECT * FROM peek('money_fraction_digits', '0');
SELECT * FROM peek('money_fraction_digits', '1');
SELECT * FROM peek('money_fraction_digits', '4');
SELECT * FROM peek('money_fraction_digits', '18');
SELECT * FROM peek('decimal_handling_mode', 'string', 'money_fraction_digits', '1');
SELECT * FROM peek('decimal_handling_mode', 'double');
-- lc_monetary does not matter
SET wal2kafka.money_fraction_digits = 1;
SELECT value_schema::json#>>'{fields,0,type,1,fields,1,type,1}' FROM wal2kafka.schema_for('m');
RESET wal2kafka.money_fraction_digits;
-- what a DELETE does not have
CREATE TABLE d (id int PRIMARY KEY, m money NOT NULL);
INSERT INTO d VALUES (1, 1);
DELETE FROM d;
SELECT data::json#>>'{value,before}' FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'decimal_handling_mode', 'string', 'money_fraction_digits', '3') OFFSET 8 LIMIT 1;
SELECT data::json#>>'{value,before}' FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL) OFFSET 8 LIMIT 1;
\set VERBOSITY terse
SET wal2kafka.money_fraction_digits = 19;
DROP FUNCTION peek;
DROP TABLE m, d;
SELECT drop_slot();
