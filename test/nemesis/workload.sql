-- Tables and operations of nemesis' writers (writers.py).
--
-- Every committed change of a row raises the version "v" of the row's key by
-- one; tally outlives the row, so that a key that comes back goes on counting.
-- "uid" is the change's own id, transaction * 10000 + number, "born" and
-- "body_v" say whose and which large value "body" is (as in
-- snapshot_workload.sql), and "sum" is a checksum of all other columns.
CREATE TABLE tally (tab text, key bigint, v bigint NOT NULL,
	PRIMARY KEY (tab, key));

-- A row for each transaction, so that a writer whose COMMIT was not answered
-- can ask later.
CREATE TABLE journal (id bigint PRIMARY KEY, writer int NOT NULL);

CREATE FUNCTION sum_of_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.sum := md5(array_to_string(ARRAY[NEW.id::text, NEW.region::text,
		NEW.v::text, NEW.uid::text, NEW.born::text, NEW.body_v::text, NEW.note,
		NEW.amount::text, (extract(epoch FROM NEW.at) * 1000000)::bigint::text,
		(NEW.day - date '1970-01-01')::text, encode(NEW.bin, 'hex'),
		encode(float8send(NEW.ratio), 'hex'), NEW.flag::text,
		array_to_string(NEW.list, ',', '~'), NEW.doc::text, NEW.ref::text,
		md5(NEW.body)], '|', '~'));
	RETURN NEW;
END $$;

-- The same of the columns that DDL adds and takes away, whatever they are now.
CREATE FUNCTION sum_of_extras() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	SELECT md5(coalesce(string_agg(key || '=' || coalesce(value, '~'), ','
			ORDER BY key COLLATE "C"), '')) INTO NEW.extras_sum
	FROM jsonb_each_text(to_jsonb(NEW)) WHERE key ~ '^x[0-9]';
	RETURN NEW;
END $$;

-- kind: plain, full (replica identity), keyless, parted, extras
CREATE FUNCTION make_table(t text, kind text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I (id bigint NOT NULL, region int NOT NULL,
		v bigint NOT NULL, uid bigint NOT NULL, born bigint, body_v bigint,
		note text, amount numeric(14,3), at timestamptz, day date, bin bytea,
		ratio float8, flag bool, list int[], doc jsonb, ref uuid, body text,
		sum text) %s', t,
		CASE kind WHEN 'parted' THEN 'PARTITION BY LIST (region)' ELSE '' END);
	EXECUTE format('ALTER TABLE %I ALTER body SET STORAGE EXTERNAL', t);
	IF kind = 'parted' THEN
		EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (region, id)', t);
		FOR i IN 0 .. 2 LOOP
			EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%s)',
				t || '_' || i, t, i);
			EXECUTE format('GRANT SELECT ON %I TO PUBLIC', t || '_' || i);
		END LOOP;
	ELSIF kind <> 'keyless' THEN
		EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (id)', t);
	END IF;
	IF kind IN ('full', 'keyless') THEN
		EXECUTE format('ALTER TABLE %I REPLICA IDENTITY FULL', t);
	END IF;
	-- an index that is no one's identity, for writers of tables without key
	IF kind = 'keyless' THEN
		EXECUTE format('CREATE INDEX ON %I (id)', t);
	END IF;
	EXECUTE format('CREATE TRIGGER sum BEFORE INSERT OR UPDATE ON %I
		FOR EACH ROW EXECUTE FUNCTION sum_of_row()', t);
	IF kind = 'extras' THEN
		EXECUTE format('ALTER TABLE %I ADD extras_sum text, ADD x0 text', t);
		EXECUTE format('CREATE TRIGGER sum_of_extras BEFORE INSERT OR UPDATE
			ON %I FOR EACH ROW EXECUTE FUNCTION sum_of_extras()', t);
	END IF;
	EXECUTE format('GRANT SELECT ON %I TO PUBLIC', t);
END $$;

SELECT make_table('hot', 'plain'), make_table('cold', 'full'),
	make_table('parted', 'parted'), make_table('keyless', 'keyless'),
	make_table('altered', 'extras'), make_table('emptied', 'plain');
GRANT SELECT ON journal TO PUBLIC;
CREATE PUBLICATION nemesis FOR TABLE
	hot, cold, parted, keyless, altered, emptied, journal;
-- the same tables for a stream that sends partitions to their root's topic
CREATE PUBLICATION nemesis_root FOR TABLE
	hot, cold, parted, keyless, altered, emptied, journal
	WITH (publish_via_partition_root = true);

-- The next version of a key, and a lock on it until the end.
CREATE FUNCTION tally(t text, k bigint) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO tally AS y VALUES (t, k, 1)
		ON CONFLICT (tab, key) DO UPDATE SET v = y.v + 1 RETURNING v
$$;

-- About 4 kB that do not compress, or a short one.
CREATE FUNCTION body(n bigint, large bool) RETURNS text LANGUAGE sql AS $$
	SELECT 'b' || n || ' ' || CASE WHEN large
		THEN (SELECT string_agg(md5(random()::text || i), '')
			FROM generate_series(1, 120) i)
		ELSE md5(random()::text) END
$$;

-- Values of all columns but the key, by the change's id; some are null.
CREATE FUNCTION values_of(u bigint, OUT note text, OUT amount numeric,
	OUT at timestamptz, OUT day date, OUT bin bytea, OUT ratio float8,
	OUT flag bool, OUT list int[], OUT doc jsonb, OUT ref uuid)
LANGUAGE sql AS $$
	SELECT CASE WHEN u % 11 <> 1 THEN
			CASE u % 4 WHEN 0 THEN E'\u00fc\u20ac\U0001F600 "q" \\ \n\t|~,' || u
				ELSE 'note ' || u END END,
		CASE WHEN u % 11 <> 2 THEN n / 1000.0 END,
		CASE WHEN u % 11 <> 3 THEN timestamptz '2000-01-01 00:00:00Z'
			+ n * interval '1.000001 s' END,
		CASE WHEN u % 11 <> 4 THEN date '2000-01-01' + n % 100000 END,
		CASE WHEN u % 11 <> 5 THEN decode(h, 'hex') END,
		CASE WHEN u % 11 <> 6 THEN n / 7.0::float8 END,
		CASE WHEN u % 11 <> 7 THEN n % 2 = 0 END,
		CASE WHEN u % 11 <> 8 THEN ARRAY[n, NULL, -n] END,
		CASE WHEN u % 11 <> 9 THEN jsonb_build_object('u', u, 'h', h,
			'deep', jsonb_build_array(1.50, NULL, E'\u00fc"')) END,
		CASE WHEN u % 11 <> 10 THEN h::uuid END
	FROM (SELECT md5(u::text) AS h, ('x' || left(md5(u::text), 8))::bit(32)::int AS n) x
$$;

CREATE FUNCTION put(t text, k bigint, n bigint, u bigint, large bool)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I (id, region, v, uid, born, body_v, note,
		amount, at, day, bin, ratio, flag, list, doc, ref, body)
		SELECT $1, $1 %% 3, $2, $3, $3, $2, r.*, body($2, $4)
		FROM values_of($3) r', t) USING k, n, u, large;
END $$;

-- kind: all (every column), none (nothing is changed), some (large values
-- stay), delete, again (delete and insert in one transaction), move (the row
-- gets the key k2).  Every kind but none is sure to send an event with uid u;
-- u + 1 is used by again.
CREATE FUNCTION op(t text, k bigint, u bigint, kind text, k2 bigint,
				   large bool) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
	here bool;
	there bool;
	extras text := '';
BEGIN
	n := tally(t, k);
	EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE id = $1)', t)
		INTO here USING k;
	IF NOT here THEN
		PERFORM put(t, k, n, u, large);
	ELSIF kind IN ('delete', 'again') THEN
		-- a delete has no id, so a change with one comes before it
		EXECUTE format('UPDATE %I SET v = $2, uid = $3 WHERE id = $1', t)
			USING k, n, u;
		EXECUTE format('DELETE FROM %I WHERE id = $1', t) USING k;
		IF kind = 'again' THEN
			PERFORM put(t, k, tally(t, k), u + 1, large);
		END IF;
	ELSIF kind = 'move' THEN
		-- the version that came to nothing is given back
		UPDATE tally SET v = v - 1 WHERE tab = t AND key = k;
		n := tally(t, k2);
		EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE id = $1)', t)
			INTO there USING k2;
		IF there THEN
			EXECUTE format('UPDATE %I SET v = $2, uid = $3 WHERE id = $1', t)
				USING k2, n, u;
		ELSE
			EXECUTE format('UPDATE %I SET id = $4, region = $4 %% 3, v = $2,
				uid = $3 WHERE id = $1', t) USING k, n, u, k2;
		END IF;
	ELSIF kind = 'none' THEN
		UPDATE tally SET v = v - 1 WHERE tab = t AND key = k;
		EXECUTE format('UPDATE %I SET v = v WHERE id = $1', t) USING k;
	ELSIF kind = 'all' THEN
		SELECT coalesce(string_agg(format(', %I = %L', attname, attname || ' ' || u), ''), '')
			INTO extras FROM pg_attribute WHERE attrelid = t::regclass
			AND attname ~ '^x[0-9]' AND NOT attisdropped;
		EXECUTE format('UPDATE %I SET v = $2, uid = $3, body_v = $2,
			note = r.note, amount = r.amount, at = r.at, day = r.day,
			bin = r.bin, ratio = r.ratio, flag = r.flag, list = r.list,
			doc = r.doc, ref = r.ref, body = body($2, $4) %s
			FROM values_of($3) r WHERE id = $1', t, extras)
			USING k, n, u, large;
	ELSE
		EXECUTE format('UPDATE %I SET v = $2, uid = $3 WHERE id = $1', t)
			USING k, n, u;
	END IF;
END $$;

-- Rows k, k + 1, ... in one statement; nobody else uses those keys.
CREATE FUNCTION put_many(t text, k bigint, n int, u bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO tally SELECT t, k + i, 1 FROM generate_series(0, n - 1) i;
	EXECUTE format('INSERT INTO %I (id, region, v, uid, born, body_v, note,
		amount, at, day, bin, ratio, flag, list, doc, ref, body)
		SELECT $1 + i, ($1 + i) %% 3, 1, $3 + i, $3 + i, 1, r.*,
			body(1, i %% 50 = 0)
		FROM generate_series(0, $2 - 1) i, values_of($3 + i) r', t)
		USING k, n, u;
END $$;

CREATE FUNCTION change_many(t text, k bigint, n int, u bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE tally SET v = v + 1 WHERE tab = t AND key BETWEEN k AND k + n - 1;
	EXECUTE format('UPDATE %I SET v = v + 1, uid = $3 + id - $1
		WHERE id BETWEEN $1 AND $1 + $2 - 1', t) USING k, n, u;
END $$;

-- Many changes, each in a subtransaction of its own; every third is undone.
CREATE FUNCTION op_many(t text, keys bigint[], u bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. array_length(keys, 1) LOOP
		BEGIN
			PERFORM op(t, keys[i], u + 2 * i, 'some', 0, false);
			IF i % 3 = 0 THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
END $$;
