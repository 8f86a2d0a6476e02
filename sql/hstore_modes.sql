-- hstore as JSON, in the order of Java's HashMap, and as a map.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS wal2kafka;
CREATE EXTENSION hstore;
RESET client_min_messages;
CREATE TABLE h (id int PRIMARY KEY, h hstore, hs hstore[], v int);
ALTER TABLE h ALTER h SET STORAGE EXTERNAL;
SELECT create_slot();
INSERT INTO h VALUES
	(1, 'b=>1, a=>NULL, "q\"x"=>"\\y", aa=>"", c=>"ü😀", "=>"=>"NULL", "NULL"=>"\n, "', ARRAY['a=>1'::hstore, NULL, '']),
	(2, '', '{}'), (3, NULL, NULL);
-- as many as make Java's map grow
INSERT INTO h SELECT 4, hstore(array_agg('key' || i), array_agg(i::text)) FROM generate_series(1, 13) i;
INSERT INTO h SELECT 5, hstore('long', string_agg(md5(i::text), '')) FROM generate_series(1, 200) i;
UPDATE h SET v = 1 WHERE id = 5;
CREATE FUNCTION peek(mode text) RETURNS TABLE (h text, hs text) LANGUAGE sql AS $$
SELECT left(data::json#>>'{value,after,h}', 200), data::json#>>'{value,after,hs}'
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'hstore_handling_mode', mode) $$;
SELECT * FROM peek('json');
SELECT * FROM peek('map');
SET wal2kafka.hstore_handling_mode = 'map';
SELECT f->>'name' AS field, f->>'type' AS type
FROM wal2kafka.schema_for('h') AS s,
	json_array_elements(s.value_schema::json#>'{fields,0,type,1,fields}') AS f;
RESET wal2kafka.hstore_handling_mode;
-- what a DELETE does not have
CREATE TABLE d (id int PRIMARY KEY, h hstore NOT NULL);
INSERT INTO d VALUES (1, '');
DELETE FROM d;
SELECT data::json#>>'{value,before}' FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'hstore_handling_mode', 'map') OFFSET 7 LIMIT 1;
SELECT data::json#>>'{value,before}' FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL) OFFSET 7 LIMIT 1;
DROP FUNCTION peek;
DROP TABLE h, d;
DROP EXTENSION hstore;
SELECT drop_slot();
