#!/usr/bin/python3
#
# nemesis.py
#		A stream under random faults, and independent judges of what it wrote.
#
# What is done when, and with which settings, comes from the seed; a run is
# told by it alone, up to the speed of the machine.  The folder of a run has
#
#	summary.json	seed, settings, faults, what was checked, what was wrong
#	timeline.jsonl	what happened when
#	journal.jsonl	each transaction, its intent and its outcome
#	records		all records as a reader got them (pickle)
#	evidence		what else judges need: judge_again.py asks them once more
#	server.log, kafka/, registry/
#
# Exit status 0 if all is well, 1 if something is wrong with the stream, 2 if
# the run itself failed.

import argparse
import json
import os
import pickle
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import psycopg2
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import faults
import oracles
import replay
from cluster import HERE, STREAM, Daemon, Registry, Relay, Server, Timeline, wait_until
from configuration import Configuration
from writers import Journal, World

PREFIX = "shop"

# What is judged, by the kinds of problems that the judges name
VERDICTS = {
    "versions of each key are in order, none is missing": (
        "order", "kind of event", "deleted twice", "two of a version", "gap after repetition",
        "missing row", "extra row", "wrong row"),
    "what is repeated is a re-run that ends at the tail": (
        "repetition", "another repetition", "gap in a repetition", "unfinished repetition"),
    "rows that were read are of their place": ("stale row", "early row", "deleted row",
                                               "row of no place"),
    "what was committed is there, what was undone is not": ("missing", "invented"),
    "checksums are the database's": ("sum", "large value", "lost value"),
    "another database with the same changes is the same": ("replay",),
    "old rows are what rows were before": ("before",),
    "transactions have what their ends count": ("transaction",),
    "a key is on one partition": ("partition", "key"),
    "the slot is never beyond what Kafka has": ("slot",),
    "all records can be read, by all readers alike": ("undecodable", "reader", "readers differ"),
    "the lag is gone after the last fault": ("not settled", "held"),
    "memory is bounded": ("memory",),
    "a new snapshot makes up for a lost slot": ("lost slot",),
    "the server keeps its promises": ("server",),
    "enough was checked": ("checked too little",),
}
FINAL_TRANSACTION = 99 * 10**7


class Run:
    def __init__(self, args):
        self.args = args
        self.seed = args.seed
        self.seconds = args.seconds
        self.directory = os.path.join(args.work, "run-%d" % args.seed)
        os.makedirs(self.directory)
        self.generator = random.Random(args.seed)
        self.timeline = Timeline(self.path("timeline.jsonl"))
        self.over = threading.Event()
        self.crashes = 0
        self.recoveries = []
        self.busy = {"server": 0}       # lane -> when its last fault ended; None: not yet
        self.problems = []
        self.samples = []
        self.worker_memory = 0
        self.readers = []

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def sleep(self, seconds):
        time.sleep(seconds)

    def problem(self, kind, text):
        self.problems.append("%s: %s" % (kind, text))
        self.timeline.note("problem", kind=kind, text=text)

    # ---------- setting up

    def set_up(self):
        port, registry_port = self.args.kafka_port, self.args.registry_port
        self.direct = "127.0.0.1:%d" % (port + 2)
        self.broker = Daemon("kafka", self.path("kafka"), [port, port + 1], self.timeline, """\
listeners=PLAINTEXT://127.0.0.1:{0},DIRECT://127.0.0.1:{2},CONTROLLER://127.0.0.1:{1}
advertised.listeners=PLAINTEXT://127.0.0.1:{3},DIRECT://127.0.0.1:{2}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=DIRECT
transaction.max.timeout.ms=900000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000""".format(
            port, port + 1, port + 2, port + 3))
        # one in three runs has the real one, whose start takes seconds
        fake = self.generator.random() < 0.67 if self.args.registry == "random" \
            else self.args.registry == "fake"
        self.registry = Registry(self.path("registry"), registry_port, registry_port + 1,
                                 self.timeline, fake)
        starting = threading.Thread(target=self.registry.start)
        starting.start()
        self.broker.start()
        starting.join()
        self.kafka_relay = Relay(port + 3, port)
        self.registry_relay = Relay(registry_port + 1, registry_port)
        self.server = Server(self.args.bindir, self.directory, self.timeline)
        self.server.create({
            "wal_level": "logical", "max_wal_senders": 4, "max_replication_slots": 8,
            "max_worker_processes": 24, "max_connections": 60, "max_prepared_transactions": 20,
            "shared_buffers": "32MB", "fsync": "off", "deadlock_timeout": "100ms",
            "log_line_prefix": "%m [%p] %b ", "log_min_messages": "info",
            "log_min_error_statement": "panic", "max_wal_size": "256MB", "min_wal_size": "64MB",
            "checkpoint_timeout": "30s", "shared_preload_libraries": "wal2kafka",
            "wal2kafka.bootstrap_servers": "127.0.0.1:%d" % (port + 3)})
        self.server.start()
        self.configure()
        self.prepare()

    def configure(self):
        known = {row[0] for row in self.server.query(
            "SELECT name FROM pg_settings WHERE name LIKE 'wal2kafka.%'")}
        if self.args.delivery == "random":
            self.args.delivery = self.generator.choice(["at_least_once", "exactly_once"])
        if self.args.delivery == "exactly_once" and "wal2kafka.delivery" not in known:
            sys.exit("nemesis.py: this build has no delivery = exactly_once")
        self.config = Configuration(self.generator, self.args.delivery, self.args.set, known)
        if self.config.registry:
            self.config.settings["wal2kafka.schema_registry_url"] = self.registry.stream_url
        self.exactly_once = self.args.delivery == "exactly_once"
        settings = self.config.start()
        for name, value in settings.items():
            self.server.query("ALTER SYSTEM SET %s = %%s" % name, (str(value),))
        self.server.query("SELECT pg_reload_conf()")
        self.timeline.note("configuration", seed=self.seed, **settings)
        print("seed %d, %d s, %s registry, %s" % (
            self.seed, self.seconds, "fake" if self.registry.fake else "real", ", ".join(
            "%s=%s" % (name.replace("wal2kafka.", ""), settings[name])
            for name in sorted(settings) if name in self.config.settings)), flush=True)

    def prepare(self):
        query = self.server.query
        query("CREATE ROLE cdc LOGIN REPLICATION")
        query("CREATE DATABASE shop")
        query("CREATE EXTENSION wal2kafka")
        query("CREATE EXTENSION wal2kafka", database="shop")
        with open(os.path.join(HERE, "workload.sql")) as file:
            query(file.read(), database="shop")
        self.journal = Journal(self.path("journal.jsonl"))
        truncates = self.config.truncates and int(self.config["topic_partitions"]) == 1
        self.world = World(self.server, self.seed, self.journal, self.args.rate, truncates,
                           self.generator)
        if self.config["snapshot_mode"] != "no_data":
            for table in ("cold", "parted", "keyless"):
                query("SELECT put_many(%s, 100, 800, 0)", (table,), "shop")
        # a record without key may go to any partition, and is in no order there
        admin = AdminClient({"bootstrap.servers": self.direct})
        topics = [NewTopic(PREFIX + ".public.keyless", 1, 1), NewTopic("probe", 1, 1)]
        for made in admin.create_topics(topics).values():
            made.result(20)
        query("ALTER SYSTEM SET wal2kafka.streams = '%s'" % STREAM)
        query("SELECT pg_reload_conf()")
        self.start_reader("records")
        self.settled("the stream runs", lambda: (self.server.stat("state") or [""])[0]
                     in ("snapshot", "streaming"))

    def start_reader(self, name):
        process = subprocess.Popen(
            ["/usr/bin/python3", os.path.join(HERE, "reader.py"), self.direct, PREFIX,
             "read_committed", self.path(name)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.readers.append((name, process))

    # ---------- while it runs

    def sample(self):
        """Each second: the slot's position, then the ends of partitions.  A
        transaction that Kafka has decided to commit may not be marked as such
        in all of them yet; so it is what they have that counts here."""
        consumer = Consumer({"bootstrap.servers": self.direct, "group.id": "nemesis-ends",
                             "isolation.level": "read_uncommitted", "log_level": 0,
                             "reconnect.backoff.max.ms": 500})
        while not self.over.wait(1):
            try:
                row = self.server.stat("slot_name, pid, state, retained_bytes, bytes_behind")
                if not row:
                    continue
                self.sample_memory(row[1])
                confirmed = self.server.query(
                    "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots"
                    " WHERE slot_name = %s", (row[0],))
                if not confirmed or confirmed[0][0] is None:
                    continue
                ends = {}
                topics = consumer.list_topics(timeout=2).topics
                for name in topics:
                    if name.startswith(PREFIX + "."):
                        for number in topics[name].partitions:
                            ends[name, number] = consumer.get_watermark_offsets(
                                TopicPartition(name, number), timeout=2)[1]
                self.samples.append((int(confirmed[0][0]), ends))
                self.timeline.note("sample", state=row[2], retained=int(row[3] or 0),
                                   behind=int(row[4] or 0), confirmed=int(confirmed[0][0]))
            except Exception:       # the server or the broker is away
                pass
        consumer.close()

    def sample_memory(self, pid):
        try:
            with open("/proc/%d/status" % pid) as file:
                kilobytes = int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1))
            self.worker_memory = max(self.worker_memory, kilobytes)
        except (OSError, TypeError, AttributeError):
            pass

    def attend(self):
        """A stream that is held after crashes waits for somebody: us"""
        while not self.over.wait(0.5):
            self.release()

    def release(self):
        row = self.server.stat("state, last_error, last_error_hint")
        if not row or row[0] != "held":
            return
        self.timeline.note("held", error=row[1], hint=row[2])
        if not (self.crashes and "abnormally" in (row[1] or "")):
            self.problem("held", "%s (%s)" % row[1:])
        self.server.try_query("SELECT wal2kafka.restart(%s)", (STREAM,))
        time.sleep(1)

    def watch_return(self):
        """How long after an independent client's first success was the stream's?"""
        # a server that is disturbed, too, says nothing
        if self.busy["server"] is not None and time.monotonic() - self.busy["server"] > 3:
            threading.Thread(target=self.measure_return, args=(time.time(), self.busy["server"]),
                             daemon=True).start()

    def measure_return(self, returned, busy):
        delivered = []
        producer = Producer({"bootstrap.servers": self.direct, "log_level": 0,
                             "reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50,
                             "linger.ms": 0})
        producer.produce("probe", b"", on_delivery=lambda error, _: error or delivered.append(
            time.time()))
        while time.time() < returned + 30 and self.busy["server"] == busy:
            producer.poll(0.02)
            row = self.server.stat("extract(epoch FROM last_acknowledged_at)::float8")
            if delivered and row and row[0] and row[0] > returned:
                self.recoveries.append(round(max(0, row[0] - delivered[0]), 3))
                self.timeline.note("recovered", seconds=self.recoveries[-1])
                return

    def settled(self, what, condition, seconds=None):
        try:
            wait_until(what, condition, seconds or self.args.patience)
            return True
        except TimeoutError:
            row = self.server.stat("state, waiting_for, last_error, bytes_behind")
            self.problem("not settled", "%s: %s" % (what, row))
            return False

    def torment(self):
        lanes = faults.plan(self.generator, self.seconds, self.config.registry, self.args.faults)
        for lane, steps in lanes.items():
            self.timeline.note("plan", lane=lane, steps=steps)
        self.threads = [threading.Thread(target=self.sample, daemon=True),
                        threading.Thread(target=self.attend, daemon=True)]
        for thread in self.threads:
            thread.start()
        self.world.start()
        lanes = [faults.Lane(self, name, steps) for name, steps in lanes.items()]
        began = time.monotonic()
        for lane in lanes:
            lane.start()
        while time.monotonic() - began < self.seconds or any(lane.is_alive() for lane in lanes):
            time.sleep(0.2)
            if time.monotonic() - began > self.seconds + 300:
                raise RuntimeError("a fault does not end")
        for lane in lanes:
            if lane.error:
                raise RuntimeError(lane.error)

    def quiesce(self):
        """All faults are over: the lag goes to zero, within a bound"""
        self.timeline.note("healed")
        healed = time.monotonic()
        self.world.stop()
        if self.world.crashed:
            raise RuntimeError("a writer failed: %s" % self.world.crashed[0])
        self.touch_altered()
        end = self.server.insist("SELECT pg_current_wal_insert_lsn()")[0][0]
        self.lag_gone = None
        if self.caught_up(end):
            self.lag_gone = round(time.monotonic() - healed, 1)
        self.settled("snapshots are over", self.snapshots_over)
        self.caught_up(self.server.insist("SELECT pg_current_wal_insert_lsn()")[0][0])
        self.check_retained()
        self.over.set()
        for thread in self.threads:
            thread.join(30)

    def caught_up(self, end):
        """A slow machine has its time as long as the slot moves"""
        last = None
        while self.settled("the slot moves", lambda: self.confirmed(end) or self.slot() != last):
            if self.confirmed(end):
                return True
            last = self.slot()
            time.sleep(0.2)
        return False

    def slot(self):
        return self.server.try_query(
            "SELECT max(confirmed_flush_lsn) FROM pg_replication_slots WHERE plugin = 'wal2kafka'")

    def snapshots_over(self):
        rows = self.server.try_query(
            "SELECT count(*) FILTER (WHERE state IN ('requested', 'waiting', 'reading', 'paused'))"
            " FROM wal2kafka.stat_snapshots WHERE stream = %s", (STREAM,), "shop")
        return rows is not None and rows[0][0] == 0

    def confirmed(self, end):
        rows = self.server.try_query("SELECT bool_and(confirmed_flush_lsn >= %s)"
                                     " FROM pg_replication_slots WHERE plugin = 'wal2kafka'",
                                     (end,))
        return bool(rows and rows[0][0])

    def check_retained(self):
        def small():
            self.server.try_query("CHECKPOINT")
            row = self.server.stat("retained_bytes")
            self.retained = int(row[0]) if row and row[0] is not None else None
            time.sleep(0.2)
            return self.retained is not None and self.retained < 48 * 2**20

        self.settled("retained WAL is small", small, 40)
        # what operations.md promises, and the pages of a new process
        kilobytes = (32 + 64 + 32) * 1024 + 20 * 12 + 64 * 1024
        if self.worker_memory > kilobytes:
            self.problem("memory", "the worker had %d kB" % self.worker_memory)

    def touch_altered(self):
        """DDL writes no events: rows of before get theirs by a change"""
        tx = FINAL_TRANSACTION
        rows = self.server.insist("SELECT id FROM altered ORDER BY id", database="shop")
        uids = [tx * 10000 + i for i in range(len(rows))]
        self.journal.intend(tx, uids)
        connection = self.server.connect("shop")
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO journal VALUES (%s, 0)", (tx,))
            for (key,), uid in zip(rows, uids):
                cursor.execute("SELECT op('altered', %s, %s, 'all', 0, false)", (key, uid))
            cursor.execute("COMMIT")
        connection.close()
        self.journal.outcome_of(tx, "ok", "final")

    # ---------- judging

    def end_readers(self):
        """What the reader kept; a second one, that begins now, sees the same"""
        answer, _ = self.readers[0][1].communicate("end\n", timeout=300)
        if answer.strip() != "done":
            self.problem("reader", answer.strip())
        first = oracles.read(self.path("records"))
        differ = kept(first) ^ kept(self.read_once("records-again"))
        if differ:
            self.problem("readers differ", "%d records, %.300s" % (len(differ), min(differ)))
        return first

    def judge(self):
        if self.config.registry:
            self.registry.save()
        records = self.end_readers()
        committed = {row[0] for row in self.server.insist("SELECT id FROM journal", database="shop")}
        for text in self.journal.resolve(committed):
            self.problem("server", text)
        tables = [row[0] for row in self.server.insist(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND"
            " relkind IN ('r', 'p') AND NOT relispartition AND relname NOT IN ('journal', 'tally')",
            database="shop")]
        rows = {table: replay.final_rows(self.server, table) for table in tables}
        self.evidence = oracles.Evidence(
            {name.replace("wal2kafka.", ""): value for name, value in self.config.settings.items()},
            PREFIX, not self.exactly_once, self.registry.generations, rows, self.journal,
            self.samples)
        with open(self.path("evidence"), "wb") as file:
            pickle.dump(self.evidence, file)
        self.judges = self.evidence.judge(records)
        self.judges.counts["rows replayed"] = replay.compare(
            self.server, "replica", self.judges.tables, self.judges.problem)
        self.enough(self.judges.counts)
        if self.config["snapshot_mode"] == "when_needed":
            self.lose_slot()

    def lose_slot(self):
        """The last act, where the stream's mode expects it: the slot is dropped,
        changes are missed, and a snapshot makes up for them.  Rows that were
        deleted meanwhile stay in the topics; all others are the table's."""
        self.timeline.fault("slot_dropped")
        insist, stat = self.server.insist, self.server.stat
        slot = stat("slot_name")[0]
        insist("SELECT wal2kafka.pause(%s)", (STREAM,))
        self.settled("the stream is paused", lambda: stat("pid") == (None,))
        self.settled("the slot is dropped", lambda: insist(
            "SELECT pg_drop_replication_slot(%s)", (slot,)) is not None)
        tx = FINAL_TRANSACTION + 1
        insist("SELECT op(t, 100 + i, %s::bigint * 10000 + i * 2, CASE i %% 5 WHEN 0 THEN 'delete'"
               " ELSE 'all' END, 0, i %% 7 = 0)"
               " FROM unnest(ARRAY['cold', 'hot', 'parted']) t, generate_series(1, 50) i", (tx,), "shop")
        insist("SELECT wal2kafka.resume(%s)", (STREAM,))
        if self.settled("the stream runs again", lambda: stat("state") == ("streaming",)) and \
                self.settled("its snapshots are over", self.snapshots_over):
            self.caught_up(insist("SELECT pg_current_wal_insert_lsn()")[0][0])
        self.registry.save()
        self.judge_lost_slot(self.read_once("records-after"))

    def judge_lost_slot(self, records):
        judges = self.evidence.reader()
        events = judges.load(records, self.evidence.schemas(records))
        for table in ("cold", "hot", "parted"):
            last = {}
            for event in events[table]:
                row = event.after or event.before
                if row:
                    last[row["id"]] = event.after
            for row in replay.final_rows(self.server, table):
                self.judges.counts["rows after the slot's loss"] += 1
                got = last.get(row["id"])
                bad = [c for c in oracles.COLUMNS if got is None or
                       got[c] != row[c] and got[c] != oracles.PLACEHOLDER]
                if bad:
                    self.problem("lost slot", "%s %d has %s, the topic %s: %s" % (
                        table, row["id"], row["v"], got and got["v"], bad))

    def read_once(self, name):
        self.start_reader(name)
        time.sleep(2)
        answer, _ = self.readers[-1][1].communicate("end\n", timeout=300)
        if answer.strip() != "done":
            self.problem("reader", "%s: %s" % (name, answer.strip()))
        records = oracles.read(self.path(name))
        os.unlink(self.path(name))
        return records

    def enough(self, counts):
        """A run that checked nothing proves nothing"""
        n = self.seconds
        wanted = {"op c": n, "op u": n, "op d": n / 4, "committed": 2 * n, "changes": 3 * n,
                  "rolled back": n / 4, "sums": 3 * n, "large values": n / 4, "rows replayed": 50,
                  "slot samples": n / 20}
        if self.config["snapshot_mode"] != "no_data":
            wanted["op r"] = 1000
        if self.config["provide_transaction_metadata"] == "on":
            wanted["transactions with counts"] = n
        for name, least in wanted.items():
            if counts[name] < least:
                self.problem("checked too little", "%s: %d, expected %d" % (
                    name, counts[name], least))
        if not self.args.calm and sum(self.timeline.faults.values()) < n / 15:
            self.problem("checked too little", "%d faults" % sum(self.timeline.faults.values()))

    # ---------- the end

    def report(self, began):
        judged = getattr(self, "judges", None)
        kinds = dict(judged.check.kinds) if judged else {}
        problems = self.problems + (judged.check.problems if judged else [])
        recoveries = sorted(self.recoveries)
        summary = {
            "seed": self.seed, "seconds": self.seconds, "delivery": self.args.delivery,
            "settings": self.config.settings, "faults": self.timeline.faults,
            "checked": dict(judged.counts) if judged else {},
            "ddl": self.world.ddl, "statement errors": self.world.errors,
            "outcomes": {"%s %s" % kind: n for kind, n in sorted(self.journal.kinds.items())},
            "lag gone after": getattr(self, "lag_gone", None),
            "worker kB": self.worker_memory, "retained": getattr(self, "retained", None),
            "recoveries": recoveries, "kinds": kinds, "problems": problems,
        }
        with open(self.path("summary.json"), "w") as file:
            json.dump(summary, file, indent=1, default=str)
        total = sum(self.timeline.faults.values())
        print("faults: %d (%s)" % (total, ", ".join(
            "%s %d" % item for item in sorted(self.timeline.faults.items()))))
        print("checked: %s" % ", ".join("%s %d" % item for item in sorted(
            summary["checked"].items())))
        print("after the last fault the lag was gone in %s s; worker at most %d kB; retained %s bytes"
              % (summary["lag gone after"], self.worker_memory, summary["retained"]))
        if recoveries:
            print("streaming again after a client's first success: median %.2f s, longest %.2f s"
                  " of %d" % (recoveries[len(recoveries) // 2], recoveries[-1], len(recoveries)))
        wrong = {text.partition(": ")[0] for text in problems}
        failed = 0
        passed = 0
        for verdict, kinds in VERDICTS.items():
            bad = wrong & set(kinds)
            if not bad and (
                    kinds == ("transaction",) and self.config["provide_transaction_metadata"] == "off" or
                    kinds == ("lost slot",) and "slot_dropped" not in self.timeline.faults):
                continue        # nothing was asked of them
            passed += not bad
            wrong -= bad
            failed += bool(bad)
            print("%s: %s" % ("not ok" if bad else "ok", verdict))
            for text in problems:
                if text.partition(": ")[0] in bad:
                    print("    %s" % text[:1500])
        if wrong:
            raise RuntimeError("nobody judges %s" % wrong)
        if failed:
            print("evidence is in %s; the same again: --seed %d --seconds %d --delivery %s" % (
                self.directory, self.seed, self.seconds, self.args.delivery))
        print("seed %d, %d s in all: %d passed, %d failed" % (
            self.seed, time.monotonic() - began, passed, failed), flush=True)
        return not failed

    def tear_down(self):
        self.over.set()
        self.world_stop()
        for relay in ("kafka_relay", "registry_relay"):
            if hasattr(self, relay):
                getattr(self, relay).end()
        for _, process in self.readers:
            if process.poll() is None:
                process.kill()
        if hasattr(self, "server"):
            self.server.stop("immediate")
            shutil.rmtree(self.server.socket, ignore_errors=True)
        for daemon in ("broker", "registry"):
            if hasattr(self, daemon):
                getattr(self, daemon).kill()
        self.timeline.file.close()

    def world_stop(self):
        if hasattr(self, "world"):
            self.world.stopping.set()


def kept(records):
    """What every reader finds, whenever it comes: not what was compacted"""
    return {repr(record) for record in records if record[0] != PREFIX + ".progress"}


def free_ports(count):
    """The first of so many that nobody listens at, below those for clients"""
    while True:
        first = random.SystemRandom().randint(12000, 32000)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            pass


def pair(text):
    name, _, value = text.partition("=")
    return name, value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bindir", required=True, help="of a server that has wal2kafka")
    parser.add_argument("--work", required=True, help="folder for runs")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--delivery", default="random",
                        choices=["at_least_once", "exactly_once", "random"])
    parser.add_argument("--registry", default="random", choices=["real", "fake", "random"])
    parser.add_argument("--set", type=pair, action="append", default=[],
                        help="setting=value that is not to be drawn")
    parser.add_argument("--faults", nargs="*", help="only these")
    parser.add_argument("--calm", action="store_true", help="no faults: is the test itself well?")
    parser.add_argument("--rate", type=float, default=6, help="transactions a second and writer")
    parser.add_argument("--patience", type=float, default=120,
                        help="seconds in which the slot has to move, after the last fault")
    parser.add_argument("--kafka-port", type=int, help="and the next three")
    parser.add_argument("--registry-port", type=int, help="and the next one")
    args = parser.parse_args()
    args.set = dict(args.set)
    args.kafka_port = args.kafka_port or free_ports(4)
    args.registry_port = args.registry_port or free_ports(2)
    if args.seed is None:
        args.seed = random.SystemRandom().randint(1, 10**6)
    if args.calm:
        args.faults = ["none"]
    began = time.monotonic()
    run = Run(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        run.set_up()
        run.torment()
        run.quiesce()
        run.judge()
        return 0 if run.report(began) else 1
    except Exception as error:
        print("seed %d: the run failed: %r, evidence in %s" % (args.seed, error, run.directory),
              flush=True)
        raise
    finally:
        run.tear_down()


if __name__ == "__main__":
    sys.exit(main())
