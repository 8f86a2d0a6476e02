-- TRUNCATE: not sent unless asked for; one event a table.
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
CREATE TABLE c (x int);
SELECT create_slot();
INSERT INTO a VALUES (1);
TRUNCATE c;
SELECT * FROM changes();
TRUNCATE c;
TRUNCATE a CASCADE;
TRUNCATE a, b, c;
-- rolled back
BEGIN; TRUNCATE c; ROLLBACK;
-- of a table made in the same transaction
BEGIN; CREATE TABLE d (x int); INSERT INTO d VALUES (1); TRUNCATE d; INSERT INTO d VALUES (2); COMMIT;
SELECT * FROM changes('skipped_operations', 'none');
DROP TABLE a, b, c, d;
SELECT drop_slot();
