-- Hashes of columns: both versions, each algorithm, cut to the column's length.
CREATE TABLE h (
	id int PRIMARY KEY, t text, tn text NOT NULL DEFAULT 'secret', v varchar(10),
	c char(8), q "char", big text, n int);
ALTER TABLE h ALTER big SET STORAGE EXTERNAL;
CREATE FUNCTION big() RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) i $$;
CREATE FUNCTION peek(transforms text) RETURNS TABLE (op text, t text, tn text, v text, c text, q text, big text) LANGUAGE sql AS $$
SELECT e#>>'{value,op}', r->>'t', r->>'tn', r->>'v', r->>'c', r->>'q', left(r->>'big', 40)
FROM pg_logical_slot_peek_changes('regression_slot', NULL, NULL, 'column_transforms', transforms),
	LATERAL (SELECT data::json AS e) AS d,
	LATERAL (SELECT coalesce(nullif(e#>>'{value,after}', ''), e#>>'{value,before}')::json AS r) AS j $$;
SELECT create_slot();
INSERT INTO h VALUES (1, 'text-é😀', 'tn', 'varchar', 'char', 'q', big());
INSERT INTO h (id) VALUES (2);
UPDATE h SET n = 1 WHERE id = 1;
DELETE FROM h WHERE id = 1;
SELECT * FROM peek('mask.hash.v2.SHA-256.with.salt.abc=public\.h\.(t|tn|v|c|q|big)');
SELECT encode(sha256('abctext-é😀'), 'hex');
SELECT encode(sha256(convert_to('abc' || big(), 'UTF8')), 'hex');
SELECT * FROM peek('mask.hash.SHA-1.with.salt.a.b=public\.h\.(t|tn|v|c|q|big)');
-- as Java serialises a string
SELECT encode(sha256('\x73616c74' || '\xaced0005740012'::bytea || convert_to('text-é', 'UTF8') || '\xeda0bdedb880'), 'hex') AS wrong_length,
	encode(sha256('\x73616c74' || '\xaced000574000d'::bytea || convert_to('text-é', 'UTF8') || '\xeda0bdedb880'), 'hex') AS v1;
SELECT t FROM peek('mask.hash.sha-256.with.salt.salt=public\.h\.t') LIMIT 1;
SELECT t FROM peek('mask.hash.v2.MD5.with.salt.s=public\.h\.t') LIMIT 1;
SELECT t FROM peek('mask.hash.v2.SHA-224.with.salt.s=public\.h\.t') LIMIT 1;
SELECT t FROM peek('mask.hash.v2.SHA-384.with.salt.s=public\.h\.t') LIMIT 1;
SELECT t FROM peek('mask.hash.v2.SHA-512.with.salt.s=public\.h\.t') LIMIT 1;
-- a salt of any characters
SELECT t, md5('a!"{+/}' || 'text-é😀') FROM peek('mask.hash.v2.MD5.with.salt.a!"{+/}=public\.h\.t') LIMIT 1;
-- more than 65535 bytes are another kind of string to Java
SELECT drop_slot();
SELECT create_slot();
INSERT INTO h (id, t) VALUES (3, repeat('x', 65535)), (4, repeat('x', 65536));
SELECT t FROM peek('mask.hash.MD5.with.salt.s=public\.h\.t');
SELECT md5('s'::bytea || '\xaced000574ffff' || convert_to(repeat('x', 65535), 'UTF8')),
	md5('s'::bytea || '\xaced00057c0000000000010000' || convert_to(repeat('x', 65536), 'UTF8'));
DROP FUNCTION peek, big;
DROP TABLE h;
SELECT drop_slot();
