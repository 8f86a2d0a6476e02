-- The ledger workload: every change of a row raises the row's version by one
-- under a row lock, and carries an id of its own.  version_of outlives the
-- row, so that a row that comes back goes on counting.
CREATE TABLE ledger (id bigint PRIMARY KEY, version int NOT NULL,
	uid bigint NOT NULL, payload text);
CREATE TABLE version_of (id bigint PRIMARY KEY, version int NOT NULL);

-- kind: 'write', 'delete' (a write, then the delete), 'move' (a write, then
-- the row gets the key moved_to, where it starts with version 1 and -uid)
CREATE FUNCTION ledger_op(k bigint, u bigint, kind text, moved_to bigint,
						  size int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v int;
BEGIN
	INSERT INTO version_of AS o VALUES (k, 1)
		ON CONFLICT (id) DO UPDATE SET version = o.version + 1
		RETURNING version INTO v;
	UPDATE ledger SET version = v, uid = u WHERE id = k;
	IF NOT FOUND THEN
		INSERT INTO ledger VALUES (k, v, u, repeat(md5(u::text), size));
	END IF;
	IF kind = 'delete' THEN
		DELETE FROM ledger WHERE id = k;
	ELSIF kind = 'move' THEN
		INSERT INTO version_of VALUES (moved_to, 1);
		UPDATE ledger SET id = moved_to, version = 1, uid = -u WHERE id = k;
	END IF;
END $$;
