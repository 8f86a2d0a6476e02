-- Partitions: leaf by leaf, or as their root.
CREATE TABLE root (id int, kind text, a text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE leaf_x PARTITION OF root FOR VALUES IN ('x');
-- other order, and a column that was dropped
CREATE TABLE leaf_y (gone int, a text, kind text NOT NULL, id int NOT NULL);
ALTER TABLE leaf_y DROP COLUMN gone;
ALTER TABLE root ATTACH PARTITION leaf_y FOR VALUES IN ('y');
CREATE TABLE middle PARTITION OF root FOR VALUES IN ('m', 'n') PARTITION BY LIST (kind);
CREATE TABLE leaf_m PARTITION OF middle FOR VALUES IN ('m');
CREATE PUBLICATION leaves FOR TABLE root;
CREATE PUBLICATION as_root FOR TABLE root WITH (publish_via_partition_root);
CREATE PUBLICATION as_middle FOR TABLE middle WITH (publish_via_partition_root);
CREATE PUBLICATION all_as_root FOR ALL TABLES WITH (publish_via_partition_root);
CREATE PUBLICATION one_leaf FOR TABLE leaf_y;
CREATE FUNCTION work() RETURNS void LANGUAGE sql AS $$
DELETE FROM root;
INSERT INTO root VALUES (1, 'x', 'in x'), (2, 'y', 'in y'), (3, 'm', 'in m');
UPDATE root SET a = 'changed' WHERE id = 2;
UPDATE root SET id = 20 WHERE id = 2;
UPDATE root SET kind = 'y' WHERE id = 1;
DELETE FROM root WHERE id = 20;
$$;
SELECT create_slot();
SELECT work();
SELECT * FROM changes();
SELECT work();
SELECT * FROM changes('publication_name', 'leaves');
SELECT work();
SELECT * FROM changes('publication_name', 'as_root');
SELECT work();
SELECT * FROM changes('publication_name', 'as_middle');
SELECT work();
SELECT * FROM changes('publication_name', 'as_middle, leaves, all_as_root');
SELECT work();
SELECT * FROM changes('publication_name', 'one_leaf');
-- FULL, through the conversion of rows
ALTER TABLE leaf_y REPLICA IDENTITY FULL;
UPDATE root SET a = 'full' WHERE kind = 'y';
SELECT * FROM changes('publication_name', 'as_root');
-- the root's columns change
ALTER TABLE root ADD COLUMN late int DEFAULT 5;
INSERT INTO root VALUES (6, 'y', 'later');
ALTER TABLE root RENAME TO renamed;
INSERT INTO renamed VALUES (7, 'y', 'renamed');
SELECT * FROM changes('publication_name', 'as_root');
-- truncate
TRUNCATE leaf_x;
TRUNCATE renamed;
SELECT * FROM changes('publication_name', 'leaves', 'skipped_operations', 'none');
TRUNCATE leaf_x;
TRUNCATE renamed;
SELECT * FROM changes('publication_name', 'as_root', 'skipped_operations', 'none');
-- attached and detached
ALTER TABLE renamed DETACH PARTITION leaf_y;
INSERT INTO leaf_y VALUES ('alone', 'y', 8);
SELECT * FROM changes('publication_name', 'as_root');
DROP PUBLICATION leaves, as_root, as_middle, all_as_root, one_leaf;
DROP TABLE renamed, leaf_y;
DROP FUNCTION work;
SELECT drop_slot();
