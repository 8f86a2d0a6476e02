-- An update of the key: delete with its tombstone, then create.
CREATE TABLE t (id int PRIMARY KEY, a text);
CREATE TABLE two (a int, b text, c int, PRIMARY KEY (b, a));
INSERT INTO t VALUES (1, 'one'), (2, 'two');
INSERT INTO two VALUES (1, 'x', 0);
SELECT create_slot();
UPDATE t SET id = 10 WHERE id = 1;
UPDATE two SET b = 'q"uote';
-- assigned, but the same
UPDATE t SET id = id, a = 'same' WHERE id = 2;
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET a = 'same key' WHERE id = 2;
UPDATE t SET id = 20, a = 'other key' WHERE id = 2;
SELECT * FROM changes();
UPDATE t SET id = 30 WHERE id = 20;
SELECT * FROM changes('tombstones_on_delete', 'off');
DROP TABLE t, two;
SELECT drop_slot();
