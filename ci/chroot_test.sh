#!/bin/bash
#
# chroot_test.sh
#		Another version of PostgreSQL, in a chroot: build, SQL and isolation
#		tests, delivery under faults, failover.
#
#	ci/chroot_test.sh SUITE DIR
#
# DIR is a chroot of Debian's SUITE with the packages that make_chroot in
# test/testbed/testbed.sh installs.  As root.  The chroot holds a copy of the
# tree and a private copy of its server; broker, registry, writers and reader
# run outside, on the same network.
#
# CHROOT_TEST_PORT is the first of five ports; by default it depends on the
# version.  The last line is "VERSION: N passed, N failed".

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$here/test/testbed/testbed.sh"

[ $# = 2 ] || fail "usage: chroot_test.sh SUITE DIR"
suite=$1
dir=$(cd "$2" && pwd) || exit 1
[ "$(id -u)" = 0 ] || fail "a chroot needs root"
major=$(chroot_major "$suite") || exit 1

: "${CHROOT_TEST_PORT:=$((27000 + 10 * major))}"
pg_port=$CHROOT_TEST_PORT
kafka_port=$((CHROOT_TEST_PORT + 1))
registry_port=$((CHROOT_TEST_PORT + 3))
tree=/tmp/wal2kafka-$CHROOT_TEST_PORT
data=$tree/data
config=/usr/lib/postgresql/$major/bin/pg_config
bin=$tree/server/usr/lib/postgresql/$major/bin
work="$WAL2KAFKA_CACHE/chroot-test-$CHROOT_TEST_PORT"
stream=shop/cdc
passed=0
failed=0

# ----------
# Helpers
# ----------

# verdict NAME COMMAND...: the command's success is the test's
verdict()
{
	local name=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
		say "ok - $name"
	else
		failed=$((failed + 1))
		say "not ok - $name"
	fi
}

# inside COMMAND...: as the chroot's postgres user
inside()
{
	chroot --userspec=postgres:postgres "$dir" \
		env HOME=/tmp LC_ALL=C.UTF-8 "PATH=$bin:/usr/bin:/bin" "$@"
}

# sql DATABASE COMMAND...
sql()
{
	local database=$1 command commands=()
	shift
	for command in "$@"; do
		commands+=(-c "$command")
	done
	inside psql -h /tmp -p "$pg_port" -U postgres -XAtq -v ON_ERROR_STOP=1 -d "$database" "${commands[@]}"
}

stat_is() { [ "$(sql postgres "SELECT $1 FROM wal2kafka.stat_streams WHERE stream = '$stream'" 2>/dev/null)" = t ]; }

# until_stat SECONDS CONDITION: on a row of stat_streams
until_stat()
{
	wait_for "$1" stat_is "$2" || {
		say "timed out waiting until $2"
		sql postgres '\x' 'SELECT * FROM wal2kafka.stat_streams'
		tail -n 20 "$dir$data/log"
		return 1
	}
}

# More events than now, and nothing that the stream waits for.
goes_on()
{
	local events
	events=$(sql postgres "SELECT coalesce(max(events), 0) FROM wal2kafka.stat_streams" 2>/dev/null)
	# what the server counts starts anew with it
	until_stat 60 "state = 'streaming' AND waiting_for = 'nothing' AND (events > ${events:-0} + 100 OR events BETWEEN 100 AND ${events:-0})"
}

confirmed() { [ "$(sql postgres "SELECT confirmed_flush_lsn >= '$1' FROM pg_replication_slots WHERE slot_name LIKE 'wal2kafka_shop%'" 2>/dev/null)" = t ]; }
caught_up() { wait_for 60 confirmed "$(sql postgres 'SELECT pg_current_wal_insert_lsn()')"; }

reader()
{
	local mode=$1
	shift
	/usr/bin/python3 "$here/test/lib/consume.py" "$mode" --brokers "127.0.0.1:$kafka_port" \
		--registry "$(registry_url "$registry_port")" "$@"
}

# same_rows FILE FILE: JSON objects, a line each
same_rows()
{
	/usr/bin/python3 - "$@" <<-'END'
		import json, sys
		rows = [sorted(json.dumps(json.loads(line), sort_keys=True) for line in open(name))
		        for name in sys.argv[1:]]
		for row in sorted(set(rows[0]) ^ set(rows[1]))[:10]:
		    print("only on one side:", row)
		sys.exit(rows[0] != rows[1] or not rows[0])
	END
}

server_starts() { inside pg_ctl -D "$data" -l "$data/log" -w -t 60 start > /dev/null; }
server_stops() { inside pg_ctl -D "$data" -w -t 60 -m "$1" stop > /dev/null; }

# ----------
# Build, SQL, isolation
# ----------

build()
{
	local log="$work/build.log"

	rm -rf "${dir:?}$tree"
	mkdir -p "$dir$tree"
	tar -C "$here" --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='./tmp_check*' \
		-cf - . | tar -C "$dir$tree" --no-same-owner -xf -
	chroot "$dir" env PG_CONFIG="$config" bash -c \
		". $tree/test/testbed/testbed.sh && server $tree/server" > "$log" 2>&1 &&
		chroot "$dir" make -C "$tree" PG_CONFIG="$config" W2K_CFLAGS=-Werror all >> "$log" 2>&1 &&
		chroot "$dir" make -C "$tree" PG_CONFIG="$config" W2K_CFLAGS=-Werror \
			DESTDIR="$tree/server" install >> "$log" 2>&1 || {
		tail -n 30 "$log"
		return 1
	}
	chroot "$dir" chown -R postgres: "$tree"
	! grep -i 'warning:' "$log"
}

# Both suites; the first's failure does not keep the second from running.
sql_tests()
{
	local log="$work/sql.log" ok not_ok

	inside make -C "$tree" -i PG_CONFIG="$config" bindir="$bin" installcheck > "$log" 2>&1
	grep -E '^# (All )?[0-9]+( of [0-9]+)? tests (passed|failed)' "$log"
	ok=$(grep -cE '^ok [0-9]+' "$log")
	not_ok=$(grep -cE '^not ok [0-9]+' "$log")
	if [ "$(grep -cE '^# All [0-9]+ tests passed' "$log")" != 2 ]; then
		grep -E '^not ok|^Bail out' "$log" || tail -n 20 "$log"
		head -n 80 "$dir$tree/regression.diffs" "$dir$tree/output_iso/regression.diffs" 2>/dev/null
		[ "$not_ok" != 0 ] || not_ok=1
	fi
	passed=$((passed + ok))
	failed=$((failed + not_ok))
}

# ----------
# Delivery
# ----------

services_start()
{
	as_user "$testbed_copy" kafka_start "$work/kafka" "$kafka_port" &&
		as_user "$testbed_copy" registry_start "$work/registry" "$registry_port"
}

server_create()
{
	local virtual=
	# which no publication and no snapshot sends
	[ "$major" -lt 18 ] || virtual=', never int GENERATED ALWAYS AS (id * 3) VIRTUAL'
	inside initdb -D "$data" -A trust -U postgres > "$work/initdb.log" || return 1
	cat >> "$dir$data/postgresql.conf" <<-END
		port = $pg_port
		listen_addresses = '127.0.0.1'
		unix_socket_directories = '/tmp'
		fsync = off
		wal_level = logical
		shared_preload_libraries = 'wal2kafka'
		wal2kafka.streams = '$stream'
		wal2kafka.bootstrap_servers = '127.0.0.1:$kafka_port'
		wal2kafka.schema_registry_url = '$(registry_url "$registry_port")'
	END
	# above a limit for sessions, which from 17 on transactions can have
	[ "$major" -lt 17 ] || echo "transaction_timeout = '60s'" >> "$dir$data/postgresql.conf"
	server_starts && sql postgres 'CREATE ROLE cdc LOGIN REPLICATION' &&
		sql postgres 'CREATE EXTENSION wal2kafka' &&
		sql template1 'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cdc' &&
		sql postgres 'CREATE DATABASE filled' &&
		sql filled "$(cat "$here/test/lib/workload.sql")" &&
		sql filled "CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL,
			doubled int GENERATED ALWAYS AS (id * 2) STORED$virtual);
			INSERT INTO item SELECT i, 'item ' || i FROM generate_series(1, 1000) i" &&
		sql postgres 'ALTER DATABASE filled RENAME TO shop'
}

# Writers outside the chroot that know what became of each change.
writers_start()
{
	rm -f "$work/stop" "$work/journal.json"
	/usr/bin/python3 "$here/test/lib/workload.py" --psql "$(dirname "$(pg_config_path)")/psql" \
		--conninfo "host=127.0.0.1 port=$pg_port user=postgres dbname=shop" \
		--writers 2 --journal "$work/journal.json" --stop-file "$work/stop" &
	writers=$!
}

writers_stop()
{
	touch "$work/stop"
	wait "$writers"
}

snapshot_is_whole()
{
	reader dump shop.public.item > "$work/item.out" || return 1
	[ "$(grep -c '"op": "r"' "$work/item.out")" = 1000 ] && [ "$(wc -l < "$work/item.out")" = 1000 ]
}

snapshot_is_done() { [ "$(sql shop "SELECT state FROM wal2kafka.stat_snapshots WHERE snapshot = '$1'")" = done ]; }

# A table read once more beside writers, and both topics held against their
# tables, one of them while it changes.
snapshot_while_streaming()
{
	local id table verdict
	sql shop 'CREATE EXTENSION wal2kafka' > /dev/null &&
		id=$(sql shop "SELECT wal2kafka.snapshot('item', 'id > 0')") &&
		wait_for 60 snapshot_is_done "$id" || return 1
	for table in item ledger; do
		verdict=$(sql shop "SELECT verdict FROM wal2kafka.verify('$table')")
		[ "$verdict" = equal ] || {
			say "$table is $verdict"
			return 1
		}
	done
}

worker_terminated()
{
	sql postgres "SELECT pg_terminate_backend(pid) FROM wal2kafka.stat_streams" > /dev/null
	goes_on
}

worker_killed()
{
	kill -s KILL "$(sql postgres "SELECT pid FROM wal2kafka.stat_streams WHERE stream = '$stream'")"
	goes_on
}

# The setting counts at once, with no restart of the server.
setting_changed()
{
	local restarts
	restarts=$(sql postgres 'SELECT restarts FROM wal2kafka.stat_streams')
	sql shop "ALTER ROLE cdc IN DATABASE shop SET wal2kafka.kafka_options = 'linger.ms=0'"
	until_stat 30 "restarts > $restarts" && goes_on
}

broker_killed()
{
	as_user "$testbed_copy" kafka_kill "$work/kafka"
	until_stat 30 "waiting_for = 'broker'" &&
		as_user "$testbed_copy" kafka_start "$work/kafka" "$kafka_port" && goes_on
}

server_restarted()
{
	server_stops "$1" && server_starts && goes_on
}

# What the stream of a table's changes gives is the table.
table_changes()
{
	sql shop 'DELETE FROM item WHERE id <= 10' \
		"BEGIN; INSERT INTO item VALUES (2000, 'never'); ROLLBACK" \
		"BEGIN; INSERT INTO item VALUES (2001, 'added');
		 ALTER TABLE item ADD COLUMN note text DEFAULT 'new';
		 INSERT INTO item VALUES (2002, 'added'); COMMIT" \
		'UPDATE item SET id = 3000 WHERE id = 11' \
		"UPDATE item SET note = 'changed', name = upper(name)" \
		'ALTER TABLE item DROP COLUMN name' \
		"UPDATE item SET note = 'again'" &&
		caught_up || return 1
	sql shop "SELECT to_jsonb(i) - 'never' FROM item i" > "$work/item.table"
	reader fold shop.public.item > "$work/item.topic" &&
		same_rows "$work/item.table" "$work/item.topic"
}

writers_changes()
{
	caught_up || return 1
	sql shop 'SELECT row_to_json(l) FROM ledger l' > "$work/ledger.table"
	reader check --journal "$work/journal.json" --table "$work/ledger.table" shop.public.ledger
}

delivery_tests()
{
	services_start && server_create || { verdict "server, broker and registry start" false; return; }
	until_stat 60 "state = 'streaming'"
	verdict 'the snapshot is whole' snapshot_is_whole
	writers_start
	verdict 'changes arrive' goes_on
	verdict 'a snapshot while streaming, and topics equal to their tables' snapshot_while_streaming
	verdict 'a worker that was terminated comes back' worker_terminated
	verdict 'a setting is changed while streaming' setting_changed
	verdict 'the broker is killed and comes back' broker_killed
	verdict 'the server is restarted' server_restarted fast
	verdict 'a worker that was killed comes back' worker_killed
	verdict 'the server is stopped at once' server_restarted immediate
	writers_stop
	verdict "the writers' changes arrived, none lost or invented, in order" writers_changes
	verdict "a table's changes give the table, DDL included" table_changes
	verdict 'the server stops' server_stops fast
}

# What needs a version that the machine itself may not have.
failover_tests()
{
	local log="$work/failover.log" pgxs

	pgxs=$(dirname "$(chroot "$dir" "$config" --pgxs)")/../..
	inside env "WAL2KAFKA_TEST_KAFKA=127.0.0.1:$kafka_port" \
		"WAL2KAFKA_TEST_REGISTRY=$(registry_url "$registry_port")" \
		"PG_REGRESS=$pgxs/src/test/regress/pg_regress" \
		bash -c "cd $tree && prove -v -I $pgxs/src/test/perl -I test/lib t/046_failover.pl" \
		> "$log" 2>&1 && return
	grep -vE '^# (Running|No postmaster)' "$log" | tail -n 80
	return 1
}

clean_up()
{
	[ -z "$writers" ] || touch "$work/stop"
	[ ! -e "$dir$data/postmaster.pid" ] || server_stops immediate
	stop_pid "$work/kafka/kafka.pid" KILL
	stop_pid "$work/registry/registry.pid" KILL
	[ "$failed" != 0 ] || rm -rf "${dir:?}$tree" "$work"
}

rm -rf "$work"
mkdir -p "$work"
# brokers run as a user that may not be able to read the checkout
cp -R "$here/test/testbed" "$work/testbed"
testbed_copy="$work/testbed/testbed.sh"
chown -R "$WAL2KAFKA_TEST_USER:" "$work"
trap clean_up EXIT
trap 'exit 130' INT TERM

need_ports "$pg_port" "$kafka_port" $((kafka_port + 1)) "$registry_port"
[ -d "$dir/proc/1" ] || mount -t proc proc "$dir/proc" || fail "cannot mount proc in $dir"
verdict "PostgreSQL $major: build without a warning" build
if [ "$failed" = 0 ]; then
	sql_tests
	delivery_tests
	verdict 'streams go on after a failover' failover_tests
fi
echo "$major: $passed passed, $failed failed"
[ "$failed" = 0 ]
