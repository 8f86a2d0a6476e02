#!/usr/bin/python3
#
# kill_points.py
#		Every kill point of a stream, one after the other.
#
# The server's library is a test build (see kill_point.c) and has a stream in
# each of two databases: "shop" streams, "snap" begins with a snapshot anew in
# each case.  A case is
#
#		pause; a few transactions; arm a point; go on; wait until it was
#		reached, and what it killed is back; wait until all is acknowledged
#
# What the topics have to hold is known beforehand, since one session writes.
# It is compared when all cases are over: in a topic of one partition the
# changes come in the order of their commits, none is missing, nothing is there
# that was rolled back.  Exactly once: nothing is there twice.  At least once:
# what is there twice begins where a transaction does, and goes on from there
# as it did the first time.
#
# Prints "ok NAME" or "not ok NAME: REASON" a line.

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict

import consume

ARMED = "wal2kafka.kill_point"
REACHED = ARMED + ".reached"

# Of what waits for a condition; a machine may be slow
TIMEOUT = int(os.environ.get("PG_TEST_TIMEOUT_DEFAULT", "120"))

# (kind, point, which time, delay in ms); the kinds are methods of Runner.
# "eo" cases are for exactly once alone.
STREAMING = [
    ("stream", "before_topic", 1, 0),
    ("stream", "topic_made", 1, 0),
    ("stream", "marked_running", 1, 0),
    ("table", "before_schema", 1, 0),
    ("table", "schema_registered", 2, 0),
    ("stream", "decoded", 1, 0),
    ("stream", "decoded", 9, 0),
    ("stream", "encoded", 12, 0),
    ("stream", "produced", 1, 0),
    ("stream", "produced", 17, 0),
    ("stream", "produced", 30, 200),
    ("stream", "unit_closed", 1, 0),
    ("stream", "unit_closed", 4, 100),
    ("stream", "acknowledged", 1, 0),
    ("stream", "acknowledged", 3, 0),
    ("stream", "before_confirm", 1, 0),
    ("stream", "confirmed", 1, 0),
    ("stream", "before_save", 1, 0),
    ("stream", "saved", 1, 0),
    ("leave", "exit_begun", 1, 0),
    ("leave", "exit_drained", 1, 0),
    ("leave", "exit_saved", 1, 0),
    ("shutdown", "exit_begun", 1, 0),
    ("shutdown", "exit_drained", 1, 0),
    ("ad_hoc", "request_taken", 1, 0),
    ("ad_hoc", "place_given", 1, 0),
    ("ad_hoc", "range_row_sent", 4, 0),
    ("ad_hoc", "range_closed", 1, 0),
    ("ad_hoc", "range_settled", 1, 0),
    ("ad_hoc", "table_read", 1, 0),
    ("ad_hoc", "job_finished", 1, 0),
    ("ad_hoc", "progress_file_written", 1, 0),
    ("ad_hoc", "progress_file_written", 2, 0),
    ("ad_hoc", "progress_file_renamed", 2, 0),
    ("ad_hoc", "progress_file_renamed", 3, 0),
]
TRANSACTIONS = [
    ("stream", "before_fence", 1, 0),
    ("stream", "fenced", 1, 0),
    ("stream", "slot_file_written", 1, 0),
    ("stream", "slot_file_renamed", 1, 0),
    ("stream", "instance_noted", 1, 0),
    ("stream", "transaction_begun", 1, 0),
    ("stream", "progress_record_written", 1, 0),
    ("stream", "claimed", 1, 0),
    ("stream", "transaction_begun", 2, 0),
    ("stream", "transaction_sent", 1, 0),
    ("stream", "progress_record_written", 2, 0),
    ("stream", "before_transaction_commit", 1, 0),
    ("stream", "transaction_commit_begun", 1, 0),
    ("stream", "transaction_commit_begun", 1, 400),
    ("split", "before_split", 1, 0),
    ("split", "transaction_commit_begun", 1, 400),
    ("split", "produced", 900, 0),
    ("split", "before_split", 2, 0),
]
SNAPSHOT = [
    ("snapshot", "before_topic", 1, 0),
    ("snapshot", "topic_made", 1, 0),
    ("snapshot", "slot_created", 1, 0),
    ("snapshot", "state_file_written", 1, 0),
    ("snapshot", "state_file_renamed", 1, 0),
    ("snapshot", "slot_persisted", 1, 0),
    ("snapshot", "consistent_point_found", 1, 0),
    ("snapshot", "schema_registered", 3, 0),
    ("snapshot", "progress_file_written", 1, 0),
    ("snapshot", "progress_file_renamed", 1, 0),
    ("snapshot", "snapshot_begun", 1, 0),
    ("snapshot", "snapshot_row_sent", 150, 0),
    ("snapshot", "snapshot_range_sent", 1, 0),
    ("snapshot", "snapshot_range_sent", 2, 300),
    ("snapshot", "snapshot_read", 1, 0),
    ("snapshot", "snapshot_acknowledged", 1, 0),
    ("snapshot", "progress_file_written", 2, 0),
    ("snapshot", "snapshot_noted", 1, 0),
    ("snapshot", "state_file_written", 2, 0),
    ("snapshot", "snapshot_completed", 1, 0),
]

SNAPSHOT_ROWS = 100
SNAPSHOT_TABLES = ["t1", "t2", "t3"]


class Lost(Exception):
    pass


class Failed(Exception):
    pass


class Database:
    """A psql session that is made anew when the server was lost"""

    def __init__(self, psql, conninfo):
        self.command = [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                        "-v", "VERBOSITY=terse", conninfo]
        self.process = None

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def ask(self, sql):
        """What the statements print; Lost if the server does not answer"""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True)
        answer = []
        try:
            self.process.stdin.write(sql + ";\n\\echo <end>\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line == "<end>\n":
                    return "".join(answer).strip("\n")
                answer.append(line)
        except OSError:
            pass
        self.close()
        raise Lost("".join(answer))

    def try_ask(self, sql):
        try:
            return self.ask(sql)
        except Lost:
            return None


def wait_until(what, condition, seconds=None):
    deadline = time.monotonic() + (seconds or TIMEOUT)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed("timed out waiting until " + what)
        time.sleep(0.02)


class Model:
    """What was committed, and so what the topics have to hold"""

    def __init__(self, tables):
        self.events = {table: [] for table in tables}
        self.begins = {table: set() for table in tables}
        self.rows = {table: {} for table in tables}
        self.seq = 0
        self.transactions = 0

    def next_seq(self):
        self.seq += 1
        return self.seq


class Transaction:
    """Statements, and their events if they are committed"""

    def __init__(self, model):
        self.model = model
        self.sql = []
        self.events = []
        self.kept = []

    def row(self, table, identity):
        for event in reversed(self.events):
            if event[0] == table and event[2] == identity and event[1] != "-":
                return event[3]
        return self.model.rows[table][identity]

    def insert(self, table, identity, note="'note'"):
        seq = self.model.next_seq()
        self.sql.append("INSERT INTO %s VALUES (%d, %d, %s)" % (table, identity, seq, note))
        self.events.append((table, "c", identity, seq))

    def update(self, table, identity):
        seq = self.model.next_seq()
        self.sql.append("UPDATE %s SET seq = %d WHERE id = %d" % (table, seq, identity))
        self.events.append((table, "u", identity, seq))

    def delete(self, table, identity):
        seq = self.row(table, identity)
        self.sql.append("DELETE FROM %s WHERE id = %d" % (table, identity))
        self.events += [(table, "d", identity, seq), (table, "-", identity, seq)]

    def move(self, table, old, new):
        before = self.row(table, old)
        seq = self.model.next_seq()
        self.sql.append("UPDATE %s SET id = %d, seq = %d WHERE id = %d" % (table, new, seq, old))
        self.events += [(table, "d", old, before), (table, "-", old, before),
                        (table, "c", new, seq)]

    def savepoint(self):
        self.sql.append("SAVEPOINT s")
        self.kept = list(self.events)

    def rollback_to(self):
        self.sql.append("ROLLBACK TO s")
        self.events = self.kept

    def rollback(self):
        return ["BEGIN"] + self.sql + ["ROLLBACK"]

    def commit(self):
        begun = set()
        self.model.transactions += 1
        for table, kind, identity, seq in self.events:
            events = self.model.events[table]
            if table not in begun:
                begun.add(table)
                self.model.begins[table].add(len(events))
            events.append((kind, identity, seq))
            if kind in "cu":
                self.model.rows[table][identity] = seq
            else:
                self.model.rows[table].pop(identity, None)
        return ["BEGIN"] + self.sql + ["COMMIT"]


class Runner:
    def __init__(self, args):
        self.args = args
        self.exact = args.delivery == "exactly_once"
        self.shop = Database(args.psql, "%s dbname=shop" % args.conninfo)
        self.snap = Database(args.psql, "%s dbname=snap" % args.conninfo)
        self.model = Model(["kv", "other"])
        self.prefixes = {}
        self.snapshot_seq = 0
        self.number = 0
        self.server = None
        self.databases = {}

    # ---------- the server

    def file(self, name):
        return os.path.join(self.args.data, name)

    def arm(self, stream, point, nth, action, delay):
        if stream not in self.databases:
            self.databases[stream] = self.shop.ask(
                "SELECT oid FROM pg_database WHERE datname = '%s'" % stream.split("/")[0])
        with open(self.file("kill_point.new"), "w") as target:
            target.write("%s %d %s %d %s\n" % (point, nth, action, delay, self.databases[stream]))
        os.rename(self.file("kill_point.new"), self.file(ARMED))

    def disarm(self):
        for name in (ARMED, REACHED):
            if os.path.exists(self.file(name)):
                os.unlink(self.file(name))

    def start_server(self):
        """A child of ours: a dead one is waited for, and gone, at once"""
        log = open(self.args.log, "a")
        self.server = subprocess.Popen([self.args.postgres, "-D", self.args.data],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
        log.close()

    def take_over_server(self):
        subprocess.run([self.args.pg_ctl, "-D", self.args.data, "-w", "-m", "fast", "stop"],
                       stdout=subprocess.DEVNULL, check=True)
        self.start_server()
        self.wait_for_answer()

    def wait_for_end(self):
        try:
            self.server.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failed("the server does not die")

    def wait_for_answer(self):
        def answers():
            # it may have come too early, while processes of the old one were there
            if self.server.poll() is not None:
                self.start_server()
            return self.shop.try_ask("SELECT 1") == "1"
        wait_until("the server answers", answers)

    def wait_for_server(self, action):
        """What the point killed is back"""
        if action == "server":
            self.wait_for_end()
        for database in (self.shop, self.snap):
            database.close()
        if action == "server":
            self.start_server()
        self.wait_for_answer()

    # ---------- the stream

    def stream(self, column, stream):
        return self.shop.try_ask("SELECT %s FROM wal2kafka.stat_streams WHERE stream = '%s'"
                                 % (column, stream))

    def wait_state(self, stream, state):
        def there():
            now = self.stream("state || ' ' || coalesce(last_error, '')", stream)
            if now is None:
                return False
            # two crashes in ten minutes hold a stream; here they are wanted
            if now.startswith("held worker ended abnormally") or \
                    now.startswith("held the worker ended abnormally"):
                self.shop.try_ask("SELECT wal2kafka.restart('%s')" % stream)
            elif now.startswith("held") and state != "held":
                raise Failed(now)
            return now.startswith(state)
        wait_until("%s is %s" % (stream, state), there)

    def wait_caught_up(self, stream):
        # what is committed is flushed; what comes behind may wait for long
        end = wait_until("the server tells its position",
                         lambda: self.shop.try_ask("SELECT pg_current_wal_flush_lsn()"))
        self.wait_state(stream, "streaming")
        deadline = time.monotonic() + TIMEOUT
        while self.shop.try_ask(
                "SELECT r.confirmed_flush_lsn >= '%s' FROM pg_replication_slots AS r "
                "JOIN wal2kafka.stat_streams AS s USING (slot_name) WHERE s.stream = '%s'"
                % (end, stream)) != "t":
            self.wait_state(stream, "streaming")
            if time.monotonic() > deadline:
                raise Failed("timed out waiting until %s is acknowledged" % end)
            time.sleep(0.02)

    def pause(self, stream):
        # just after the server's start its streams are not known yet
        wait_until("there is a stream", lambda: self.stream("1", stream) == "1")
        self.shop.ask("SELECT wal2kafka.pause('%s')" % stream)
        self.wait_state(stream, "paused")

    def resume(self, stream):
        """What is armed may be reached, and the session gone, at once"""
        self.shop.try_ask("SELECT wal2kafka.resume('%s')" % stream)

    # ---------- what is written

    def write(self, statements):
        self.shop.ask(";\n".join(statements))

    def work(self, rows=20, width=10):
        """Some of everything; ids are the case's own but for the hot row"""
        model = self.model
        base = self.number * 10000
        if self.number == 1:
            t = Transaction(model)
            t.insert("kv", 1)
            t.insert("other", 1)
            self.write(t.commit())

        t = Transaction(model)
        for i in range(1, 6):
            t.insert("kv", base + i)
        t.insert("other", base)
        self.write(t.commit())

        t = Transaction(model)
        t.update("kv", base + 1)
        t.update("kv", base + 2)
        t.delete("kv", base + 3)
        t.update("other", base)
        t.update("kv", base + 1)
        self.write(t.commit())

        t = Transaction(model)
        t.move("kv", base + 4, base + 6)
        self.write(t.commit())

        t = Transaction(model)
        t.insert("kv", base + 7)
        t.update("other", base)
        t.delete("kv", base + 5)
        self.write(t.rollback())

        t = Transaction(model)
        t.insert("kv", base + 8)
        t.savepoint()
        t.insert("kv", base + 9)
        t.update("kv", base + 1)
        t.rollback_to()
        t.insert("other", base + 1)
        self.write(t.commit())

        t = Transaction(model)
        for i in range(rows):
            t.insert("kv", base + 100 + i, "repeat('%s', %d)" % ("x", width))
        t.update("kv", 1)
        self.write(t.commit())

        t = Transaction(model)
        t.update("other", 1)
        t.update("kv", 1)
        self.write(t.commit())

    # ---------- cases

    def reach(self, action):
        wait_until("the point is reached",
                   lambda: os.path.exists(self.file(REACHED)), min(TIMEOUT, 30))
        self.wait_for_server(action)

    def stream_case(self, point, nth, delay, action):
        self.pause("shop/cdc")
        self.work()
        self.strike("shop/cdc", point, nth, delay, action)

    def strike(self, stream, point, nth, delay, action):
        self.arm(stream, point, nth, action, delay)
        self.resume(stream)
        self.reach(action)
        self.wait_caught_up(stream)

    def split_case(self, point, nth, delay, action):
        self.pause("shop/cdc")
        self.work(rows=1300, width=3000)
        self.strike("shop/cdc", point, nth, delay, action)

    def table_case(self, point, nth, delay, action):
        """A table that has neither topic nor schemas yet"""
        table = "new%d" % self.number
        self.pause("shop/cdc")
        self.model.events[table] = []
        self.model.begins[table] = set()
        self.model.rows[table] = {}
        self.write(["CREATE TABLE %s (LIKE kv INCLUDING ALL)" % table,
                    "ALTER TABLE %s REPLICA IDENTITY FULL" % table])
        t = Transaction(self.model)
        t.insert(table, 1)
        self.write(t.commit())
        self.work()
        self.strike("shop/cdc", point, nth, delay, action)

    def ad_hoc_case(self, point, nth, delay, action):
        self.pause("shop/cdc")
        self.work()
        self.shop.ask("SELECT wal2kafka.snapshot('public.other')")
        self.strike("shop/cdc", point, nth, delay, action)
        wait_until("the snapshot is done", lambda: self.shop.try_ask(
            "SELECT count(*) = 0 FROM wal2kafka.stat_snapshots "
            "WHERE stream = 'shop/cdc' AND state NOT IN ('done', 'cancelled')") == "t")
        failed = self.shop.ask("SELECT count(*) FROM wal2kafka.stat_snapshots "
                               "WHERE stream = 'shop/cdc' AND state = 'failed'")
        if failed != "0":
            raise Failed("the snapshot failed")

    def leave_case(self, point, nth, delay, action):
        """The worker is told to end"""
        self.pause("shop/cdc")
        self.work()
        self.resume("shop/cdc")
        self.wait_state("shop/cdc", "streaming")
        self.arm("shop/cdc", point, nth, action, delay)
        self.shop.try_ask("SELECT wal2kafka.pause('shop/cdc')")
        self.reach(action)
        wait_until("the stream is resumed",
                   lambda: self.shop.try_ask("SELECT wal2kafka.resume('shop/cdc')") is not None)
        self.wait_caught_up("shop/cdc")

    def shutdown_case(self, point, nth, delay, action):
        """The server is told to end"""
        self.pause("shop/cdc")
        self.work()
        self.resume("shop/cdc")
        self.wait_state("shop/cdc", "streaming")
        self.shop.ask("SELECT wal2kafka.pause('snap/cdc')")
        self.wait_state("snap/cdc", "paused")
        self.arm("shop/cdc", point, nth, action, delay)
        self.server.send_signal(signal.SIGINT)
        # whoever was killed, the server is not there afterwards
        self.reach("server")
        self.resume("snap/cdc")
        self.wait_caught_up("shop/cdc")

    def snapshot_case(self, point, nth, delay, action):
        """A stream of its own, with topics and a slot of its own"""
        prefix = "%s_snap%d" % (self.args.delivery, self.number)
        self.pause("snap/cdc")
        self.shop.ask("SELECT pg_drop_replication_slot(slot_name) "
                      "FROM pg_replication_slots WHERE database = 'snap'")
        self.snap.ask("ALTER ROLE cdc IN DATABASE snap SET wal2kafka.topic_prefix = '%s';\n"
                      "ALTER ROLE cdc IN DATABASE snap SET wal2kafka.slot_name = '%s'"
                      % (prefix, prefix))
        rows = {}
        for table in SNAPSHOT_TABLES:
            answer = self.snap.ask("SELECT id, seq FROM %s" % table)
            rows[table] = dict(tuple(map(int, line.split("|"))) for line in answer.splitlines())
        self.arm("snap/cdc", point, nth, action, delay)
        self.resume("snap/cdc")
        self.reach(action)
        self.wait_state("snap/cdc", "streaming")
        wait_until("the snapshot is done", lambda: self.snap.try_ask(
            "SELECT count(*) FILTER (WHERE state <> 'done') = 0 AND count(*) = %d "
            "FROM wal2kafka.stat_snapshots WHERE stream = 'snap/cdc'"
            % len(SNAPSHOT_TABLES)) == "t")
        changes = {}
        for table in SNAPSHOT_TABLES:
            self.snapshot_seq += 1
            self.snap.ask("UPDATE %s SET seq = %d WHERE id = 7" % (table, self.snapshot_seq))
            changes[table] = self.snapshot_seq
        self.wait_caught_up("snap/cdc")
        self.prefixes[prefix] = (rows, changes, "%s %d %s" % (point, nth, action))

    # ---------- topics

    def records(self, topics):
        reader = argparse.Namespace(brokers=self.args.brokers, registry=self.args.registry,
                                    registry_user="", schemas_topic="", first=0,
                                    missing_ok=True)
        schemas = consume.Schemas(reader)
        result = defaultdict(list)
        for record in consume.records(reader, schemas, topics):
            result[record["topic"]].append(record)
        return result

    def parse(self, records, problems):
        """(operation, id, seq, record) of each"""
        deleted = None
        for record in records:
            identity = record["key"]["id"]
            value = record["value"]
            if value is None:
                if deleted is None or deleted[1] != identity:
                    problems.append("tombstone of %d at offset %d is not behind its delete"
                                    % (identity, record["offset"]))
                    continue
                yield "-", identity, deleted[2], record
                deleted = None
                continue
            row = value["before"] if value["op"] == "d" else value["after"]
            if row["id"] != identity:
                problems.append("record of key %d has a row of key %d" % (identity, row["id"]))
            deleted = (value["op"], identity, row["seq"]) if value["op"] == "d" else None
            yield value["op"], identity, row["seq"], record

    def check_table(self, table, records):
        """Problems, events, and events that were there before"""
        events = self.model.events[table]
        index = {event: i for i, event in enumerate(events)}
        begins = self.model.begins[table]
        problems = []
        position = highest = repeats = reads = 0
        last = {}
        for kind, identity, seq, record in self.parse(records, problems):
            if kind == "r":
                reads += 1
                if last.get(identity, (None, seq))[1] != seq:
                    problems.append("row %d of a snapshot has %d, but %d was sent before"
                                    % (identity, seq, last[identity][1]))
                continue
            place = index.get((kind, identity, seq))
            if place is None:
                problems.append("%s of %d with %d was never committed" % (kind, identity, seq))
                continue
            last[identity] = (kind, seq)
            if place > position:
                problems.append("%s of %d with %d comes at offset %d, %d events too early"
                                % (kind, identity, seq, record["offset"], place - position))
            elif place < position:
                if self.exact:
                    problems.append("%s of %d with %d is there again at offset %d"
                                    % (kind, identity, seq, record["offset"]))
                elif place not in begins:
                    problems.append("a repetition begins within a transaction, with %s of %d"
                                    % (kind, identity))
            repeats += place < highest
            position = place + 1
            highest = max(highest, position)
        if position != len(events):
            problems.append("%d events are missing at the end" % (len(events) - position))
        return problems, len(events), repeats, reads

    def check_transactions(self, topics, transactions):
        """Each transaction says how many events it has, and has them"""
        # ids are "xid:LSN", and the LSN is that of the record
        def xid(identity):
            return int(identity.split(":")[0])

        problems = []
        events = defaultdict(set)
        for records in topics.values():
            for record in records:
                block = (record["value"] or {}).get("transaction")
                if block:
                    events[xid(block["id"])].add(block["total_order"])
        begun = None
        seen = Counter()
        for record in transactions:
            value = record["value"]
            if value["status"] == "BEGIN":
                begun = xid(value["id"])
                continue
            this = xid(value["id"])
            if begun != this:
                problems.append("transaction %d ends without a begin" % this)
            seen[this] += 1
            if len(events[this]) != value["event_count"]:
                problems.append("transaction %d has %d events, not %d"
                                % (this, len(events[this]), value["event_count"]))
        for transaction in events:
            if not seen[transaction]:
                problems.append("transaction %d has no end" % transaction)
        if self.exact and seen and max(seen.values()) > 1:
            problems.append("transaction %d ends twice" % seen.most_common(1)[0][0])
        return problems, len(seen)

    def check_snapshots(self):
        topics = ["%s.public.%s" % (prefix, table)
                  for prefix in self.prefixes for table in SNAPSHOT_TABLES]
        found = self.records(topics)
        total = repeats = 0
        for prefix, (rows, changes, case) in self.prefixes.items():
            problems = []
            for table in SNAPSHOT_TABLES:
                read = Counter()
                updated = 0
                for kind, identity, seq, record in self.parse(
                        found["%s.public.%s" % (prefix, table)], problems):
                    if kind == "r":
                        read[identity] += 1
                        if rows[table].get(identity) != seq or updated:
                            problems.append("%s: row %d has %d at offset %d"
                                            % (table, identity, seq, record["offset"]))
                    elif (kind, identity, seq) == ("u", 7, changes[table]):
                        updated += 1
                    else:
                        problems.append("%s: %s of %d" % (table, kind, identity))
                missing = set(rows[table]) - set(read)
                again = [key for key in read if read[key] > 1]
                total += len(read)
                repeats += len(again)
                if missing:
                    problems.append("%s: %d rows are missing" % (table, len(missing)))
                if again and self.exact:
                    problems.append("%s: %d rows are there again" % (table, len(again)))
                if updated == 0 or (updated > 1 and self.exact):
                    problems.append("%s: the change is there %d times" % (table, updated))
            self.report("snapshot at %s: rows" % case, problems)
        print("# %d rows of %d snapshots, %d of them more than once"
              % (total, len(self.prefixes), repeats))

    def report(self, name, problems):
        if problems:
            print("not ok %s: %s" % (name, "; ".join(problems[:5])), flush=True)
        else:
            print("ok %s" % name, flush=True)

    def check(self):
        tables = list(self.model.events)
        topics = {table: "%s.public.%s" % (self.args.delivery, table) for table in tables}
        ends = self.args.delivery + ".transaction"
        found = self.records(list(topics.values()) + [ends])
        transactions = found.pop(ends, [])
        for table in tables:
            problems, events, repeats, reads = self.check_table(table, found[topics[table]])
            self.report("topic of %s tells the truth" % table, problems)
            print("# %s: %d events, %d repeated, %d rows of snapshots"
                  % (table, events, repeats, reads))
        problems, count = self.check_transactions(found, transactions)
        if count != self.model.transactions:
            problems.append("there are %d of %d" % (count, self.model.transactions))
        self.report("transactions are complete", problems)
        self.check_snapshots()

    # ---------- all

    def cases(self):
        for action in ("worker", "server"):
            for case in (STREAMING + (TRANSACTIONS if self.exact else []) + SNAPSHOT):
                if not self.args.only or case[1] == self.args.only or case[0] == self.args.only:
                    yield case + (action,)

    def run(self):
        self.take_over_server()
        for kind, point, nth, delay, action in self.cases():
            self.number += 1
            name = "%s: %s killed at %s, time %d%s" % (
                kind, action, point, nth, ", after %d ms" % delay if delay else "")
            began = time.monotonic()
            self.disarm()
            try:
                getattr(self, kind + "_case")(point, nth, delay, action)
                self.report(name, [])
            except (Failed, Lost) as problem:
                self.report(name, [str(problem) or "the server was lost"])
                self.disarm()
                self.wait_for_answer()
            if self.args.times:
                print("# %.1f s" % (time.monotonic() - began), flush=True)
        self.check()


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(sorted({case[1] for case in STREAMING + TRANSACTIONS + SNAPSHOT})))
        return
    parser = argparse.ArgumentParser()
    for name in ("psql", "pg-ctl", "postgres", "conninfo", "data", "log", "delivery", "brokers", "registry"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--only", help="cases of this kind or point")
    parser.add_argument("--times", action="store_true")
    Runner(parser.parse_args()).run()


if __name__ == "__main__":
    main()
