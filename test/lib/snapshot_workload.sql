-- Tables and operations of snapshot_workload.py.
--
-- Every committed change of a row raises the version "v" of the row's key by
-- one; tally outlives the row, so that a key that comes back goes on counting.
-- A touch changes nothing and keeps the version.  "uid" is the change's own
-- id.  "born" stays with a row whatever its key is, and "body" begins with
-- "b<body_v> ", so that a reader can tell whose and which large value it has.
CREATE TABLE keyed (id bigint PRIMARY KEY, v bigint NOT NULL, uid bigint,
	born bigint, body_v bigint, note text, body text);
CREATE TABLE composite (a int, b text, v bigint NOT NULL, uid bigint,
	note text, twice bigint GENERATED ALWAYS AS (v * 2) STORED,
	PRIMARY KEY (a, b));
CREATE TABLE parted (region int, id bigint, v bigint NOT NULL, uid bigint,
	born bigint, body_v bigint, note text, body text,
	PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES IN (3);
CREATE TABLE keyless (id bigint, v bigint NOT NULL, uid bigint, note text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
ALTER TABLE keyed ALTER body SET STORAGE EXTERNAL;

CREATE TABLE tally (tab text, key bigint, v bigint NOT NULL,
	PRIMARY KEY (tab, key));
CREATE PUBLICATION snap FOR TABLE keyed, composite, parted, keyless;
CREATE PUBLICATION snap_root FOR TABLE keyed, composite, parted, keyless
	WITH (publish_via_partition_root = true);
GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC;

-- The next version of a key, and a lock on it until the end.
CREATE FUNCTION tally(t text, k bigint) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO tally AS y VALUES (t, k, 1)
		ON CONFLICT (tab, key) DO UPDATE SET v = y.v + 1 RETURNING v
$$;

-- About 20 kB that do not compress, or a short one.
CREATE FUNCTION body(v bigint, large bool) RETURNS text LANGUAGE sql AS $$
	SELECT 'b' || v || ' ' || CASE WHEN large
		THEN (SELECT string_agg(md5(random()::text || i), '')
			FROM generate_series(1, 640) i)
		ELSE md5(random()::text) END
$$;

-- What names the row of key k: the same text serves as condition and, with
-- commas, as assignment.
CREATE FUNCTION named(t text, k bigint, glue text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE t
		WHEN 'composite' THEN format('a = %s %s b = %L', k % 7, glue, 'k' || k)
		WHEN 'parted' THEN format('region = %s %s id = %s', 1 + k % 3, glue, k)
		ELSE format('id = %s', k) END
$$;

CREATE FUNCTION put(t text, k bigint, u bigint, large bool) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	n bigint := tally(t, k);
BEGIN
	CASE t
		WHEN 'keyed' THEN
			INSERT INTO keyed VALUES (k, n, u, u, n, 'put', body(n, large));
		WHEN 'composite' THEN
			INSERT INTO composite VALUES (k % 7, 'k' || k, n, u, 'put');
		WHEN 'parted' THEN
			INSERT INTO parted VALUES (1 + k % 3, k, n, u, u, n, 'put',
				body(n, large));
		WHEN 'keyless' THEN
			INSERT INTO keyless VALUES (k, n, u, 'put');
	END CASE;
END $$;

-- kind: all (every column), none (nothing is changed), some (large values
-- stay), delete, again (delete and insert in one transaction), move (the row
-- gets the key k2).  Uses up the ids u and u + 1.
CREATE FUNCTION op(t text, k bigint, u bigint, kind text,
				   k2 bigint DEFAULT 0, large bool DEFAULT false) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
	here bool;
	there bool := false;
	has_body bool := t IN ('keyed', 'parted');
BEGIN
	-- the lock on the key; a version that comes to nothing is given back
	n := tally(t, k);
	EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE %s)', t,
		named(t, k, 'AND')) INTO here;
	IF NOT here THEN
		UPDATE tally SET v = v - 1 WHERE tab = t AND key = k;
		PERFORM put(t, k, u, large);
	ELSIF kind IN ('delete', 'again') THEN
		UPDATE tally SET v = v - 1 WHERE tab = t AND key = k;
		EXECUTE format('DELETE FROM %I WHERE %s', t, named(t, k, 'AND'));
		IF kind = 'again' THEN
			PERFORM put(t, k, u + 1, large);
		END IF;
	ELSIF kind = 'none' THEN
		UPDATE tally SET v = v - 1 WHERE tab = t AND key = k;
		EXECUTE format('UPDATE %I SET v = v WHERE %s', t, named(t, k, 'AND'));
	ELSIF kind = 'move' THEN
		UPDATE tally SET v = v - 1 WHERE tab = t AND key = k;
		n := tally(t, k2);
		EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE %s)', t,
			named(t, k2, 'AND')) INTO there;
		IF there THEN
			EXECUTE format('UPDATE %I SET v = %s, uid = %s WHERE %s', t, n, u,
				named(t, k2, 'AND'));
		ELSE
			EXECUTE format('UPDATE %I SET %s, v = %s, uid = %s WHERE %s', t,
				named(t, k2, ','), n, u, named(t, k, 'AND'));
		END IF;
	ELSIF kind = 'all' THEN
		EXECUTE format('UPDATE %I SET v = %s, uid = %s, note = %L%s WHERE %s',
			t, n, u, 'all' || u, CASE WHEN has_body THEN
				format(', body_v = %s, body = body(%s, %L)', n, n, large)
				ELSE '' END, named(t, k, 'AND'));
	ELSE
		EXECUTE format('UPDATE %I SET v = %s, uid = %s WHERE %s', t, n, u,
			named(t, k, 'AND'));
	END IF;
END $$;

-- Many changes, each in a subtransaction of its own; every third is undone.
CREATE FUNCTION op_many(t text, keys bigint[], u bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. array_length(keys, 1) LOOP
		BEGIN
			PERFORM op(t, keys[i], u + 2 * i, 'some');
			IF i % 3 = 0 THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
END $$;

-- Under a lock that keeps other writers of composite out: what the table
-- holds, as a row of the same table.
CREATE FUNCTION checkpoint(u bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n bigint := tally('composite', -1);
	sum text;
BEGIN
	SELECT concat_ws(' ', count(*), coalesce(sum(v), 0),
		coalesce(sum(a * v + length(b)), 0)) INTO sum FROM composite WHERE a >= 0;
	INSERT INTO composite VALUES (-1, 'check', n, u, sum)
		ON CONFLICT (a, b) DO UPDATE SET v = n, uid = u, note = sum;
END $$;

-- Rows of a table, with keys 100, 101, ...; each whose key "large" divides has
-- a large value.  Writers use the keys that end in 0, and those that
-- end in 5, which are not there at first.
CREATE FUNCTION fill(t text, n int, large int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CASE t
		WHEN 'keyed' THEN
			INSERT INTO keyed SELECT i, 1, -i, -i, 1, 'fill',
				body(1, i % large = 0) FROM generate_series(100, 99 + n) i
				WHERE i % 10 <> 5;
		WHEN 'composite' THEN
			INSERT INTO composite SELECT i % 7, 'k' || i, 1, -i, 'fill'
				FROM generate_series(100, 99 + n) i WHERE i % 10 <> 5;
		WHEN 'parted' THEN
			INSERT INTO parted SELECT 1 + i % 3, i, 1, -i, -i, 1, 'fill',
				body(1, i % large = 0) FROM generate_series(100, 99 + n) i
				WHERE i % 10 <> 5;
		WHEN 'keyless' THEN
			INSERT INTO keyless SELECT i, 1, -i, 'fill'
				FROM generate_series(100, 99 + n) i WHERE i % 10 <> 5;
	END CASE;
	INSERT INTO tally SELECT t, i, 1 FROM generate_series(100, 99 + n) i
		WHERE i % 10 <> 5;
END $$;
