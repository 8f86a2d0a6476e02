-- A DELETE is followed by a tombstone; before holds what the identity has.
CREATE TABLE t (id int PRIMARY KEY, a text, b int NOT NULL, c text NOT NULL DEFAULT 'dflt',
	d numeric(6,2) NOT NULL, e timestamptz NOT NULL, f boolean NOT NULL, g int DEFAULT 3);
INSERT INTO t SELECT i, 'a', 1, 'c', 1.5, '2024-01-01 UTC', true FROM generate_series(1, 3) i;
SELECT create_slot();
-- columns outside of the key: null, the default, or a fallback
DELETE FROM t WHERE id = 1;
ALTER TABLE t REPLICA IDENTITY FULL;
DELETE FROM t WHERE id = 2;
SELECT * FROM changes();
DELETE FROM t WHERE id = 3;
SELECT * FROM changes('tombstones_on_delete', 'false');
DROP TABLE t;
SELECT drop_slot();
