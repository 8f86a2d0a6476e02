#
# writers.py
#		Writers that know what became of each of their transactions.
#
# Each is a thread with a habit.  Every transaction has an id, and a row in
# the table journal; every change has the id of its own (workload.sql).  What
# became of a transaction is noted as ok, failed or unknown; the last is what
# the server can tell later by its journal.  An outcome that was "ok" without
# waiting for the disk is unknown, too.
#
# The file journal.jsonl has a line before each COMMIT, and one after it.

import io
import json
import random
import threading
import time

import psycopg2

COPY_COLUMNS = "id, region, v, uid, born, body_v, note, body"


class Lost(Exception):
    """The connection is gone"""


def is_lost(error):
    code = getattr(error, "pgcode", None)
    return not code or code[:3] == "57P" or code[:2] == "08"


class Journal:
    def __init__(self, path):
        self.file = open(path, "w")
        self.lock = threading.Lock()
        self.outcome = {}       # transaction -> ok, failed, unknown
        self.changes = {}       # transaction -> ids that it sends if it commits
        self.undone = set()     # ids of changes that were rolled back to a savepoint
        self.kinds = {}

    def intend(self, tx, uids):
        with self.lock:
            self.outcome[tx] = "unknown"
            self.changes[tx] = uids
            self.file.write(json.dumps({"tx": tx, "changes": len(uids)}) + "\n")

    def outcome_of(self, tx, outcome, kind):
        with self.lock:
            self.outcome[tx] = outcome
            self.kinds[kind, outcome] = self.kinds.get((kind, outcome), 0) + 1
            self.file.write(json.dumps({"tx": tx, "outcome": outcome, "kind": kind}) + "\n")

    def resolve(self, committed):
        """The server's journal has the last word; returns what contradicts it"""
        problems = []
        for tx, outcome in self.outcome.items():
            if outcome == "ok" and tx not in committed:
                problems.append("transaction %d was committed, and is not in the database" % tx)
            elif outcome == "failed" and tx in committed:
                problems.append("transaction %d was rolled back, and is in the database" % tx)
            self.outcome[tx] = "ok" if tx in committed else "failed"
        return problems


class Transaction:
    """Statements, and the ids of changes that its commit would send"""

    def __init__(self, writer):
        self.writer = writer
        self.number = writer.next_transaction()
        self.statements = [("INSERT INTO journal VALUES (%s, %s)", (self.number, writer.number))]
        self.uids = []
        self.next = 0

    def uid(self, n=2):
        self.next += n
        return self.number * 10000 + self.next - n

    def add(self, sql, parameters=()):
        self.statements.append((sql, parameters))

    def op(self, table, key, kept=True):
        writer = self.writer
        kinds, weights = ["all", "some", "none", "delete", "again", "move"], [20, 42, 10, 12, 8, 8]
        if table == "keyless":
            weights[5] = 0      # its events do not say which row it was
        kind = writer.random.choices(kinds, weights)[0]
        uid = self.uid()
        if kind != "none":
            if kept:
                self.uids.append(uid)
            else:
                writer.journal.undone.add(uid)
        self.add("SELECT op(%s, %s, %s, %s, %s, %s)", (
            table, key, uid, kind, writer.neighbour(key), writer.random.random() < 0.15))


class Writer(threading.Thread):
    def __init__(self, world, number, habit):
        super().__init__(daemon=True)
        self.world = world
        self.server = world.server
        self.journal = world.journal
        self.number = number
        self.habit = habit
        self.random = random.Random(world.seed * 1000 + number)
        self.transactions = number * 10**7
        self.fresh = number * 10**9     # keys that nobody else has
        self.cursor = None
        self.batches = []

    def next_transaction(self):
        self.transactions += 1
        return self.transactions

    def fresh_keys(self, n):
        self.fresh += n
        return self.fresh - n

    # ---------- what to change

    def key(self, table):
        if table == "hot":
            return self.random.randint(1, self.world.hot_keys)
        if table in ("emptied", "altered"):
            return self.random.randint(1, 40)
        return self.random.choices([self.random.randint(1, 12),
                                    self.random.randint(100, 99 + self.world.cold_keys)], [1, 3])[0]

    def neighbour(self, key):
        return key + 10**6 if key < 10**6 else key - 10**6

    def table(self):
        return self.random.choices(["hot", "cold", "parted", "keyless", "altered"] +
                                   self.world.new_tables,
                                   [8, 6, 4, 2, 2] + [1] * len(self.world.new_tables))[0]

    def places(self, least=1, most=4):
        places = [(table, self.key(table)) for table in
                  (self.table() for _ in range(self.random.randint(least, most)))]
        return sorted(set(places))

    # ---------- habits: each makes one transaction

    def mixed(self):
        """Short ones over several tables; some are rolled back"""
        tx = Transaction(self)
        for place in self.places():
            tx.op(*place)
        self.finish(tx, self.random.random() < 0.85)

    def lazy(self):
        """The same with commits that do not wait for the disk"""
        tx = Transaction(self)
        tx.statements.insert(0, ("SET LOCAL synchronous_commit = off", ()))
        for place in self.places():
            tx.op(*place)
        self.finish(tx, self.random.random() < 0.9, sure=False)

    def long(self):
        """Open for up to seconds while others commit"""
        tx = Transaction(self)
        for place in self.places(2, 5):
            tx.op(*place)
            tx.add("SELECT pg_sleep(%s)", (round(self.random.uniform(0.05, 0.6), 2),))
        self.finish(tx, self.random.random() < 0.8)

    def savepoints(self):
        """Released or rolled back to, one in another"""
        tx = Transaction(self)
        for place in self.places(2, 5):
            choice = self.random.random()
            tx.add("SAVEPOINT s")
            if choice < 0.4:
                tx.op(*place, kept=False)
                tx.add("ROLLBACK TO s")
            elif choice < 0.7:
                tx.op(*place)
                tx.add("RELEASE s")
            else:
                tx.op(*place)
                tx.add("SAVEPOINT t")
                tx.op(place[0], self.neighbour(place[1]), kept=False)
                tx.add("ROLLBACK TO t")
                tx.add("RELEASE s")
        self.finish(tx, self.random.random() < 0.9)

    def many(self):
        """More subtransactions than a process remembers for others"""
        tx = Transaction(self)
        table = self.random.choice(["hot", "cold", "parted"])
        keys = sorted({self.key(table) for _ in range(self.random.choice([10, 90]))})
        first = tx.uid(2 * len(keys) + 2)
        for i in range(1, len(keys) + 1):
            if i % 3 == 0:
                self.journal.undone.add(first + 2 * i)
            else:
                tx.uids.append(first + 2 * i)
        tx.add("SELECT op_many(%s, %s, %s)", (table, keys, first))
        self.finish(tx, self.random.random() < 0.85)
        self.world.stopping.wait(0.5)

    def prepared(self):
        """Two phases, and time between them"""
        tx = Transaction(self)
        name = "nemesis_%d" % tx.number
        for place in self.places():
            tx.op(*place)
        self.journal.intend(tx.number, tx.uids)
        try:
            self.begin(tx)
            self.execute("PREPARE TRANSACTION %s", (name,))
            self.world.stopping.wait(self.random.uniform(0, 0.6))
            commit = self.random.random() < 0.8
            self.execute("%s PREPARED %%s" % ("COMMIT" if commit else "ROLLBACK"), (name,))
            self.journal.outcome_of(tx.number, "ok" if commit else "failed", "prepared")
        except psycopg2.Error as error:
            # where the connection is lost it is decided later: by settle()
            self.undo(error)
            self.journal.outcome_of(tx.number, "failed", "prepared")

    def bulk(self):
        """Large transactions, COPY, and changes of what those wrote"""
        tx = Transaction(self)
        table = self.random.choice(["hot", "cold", "parted", "keyless"])
        choice = self.random.random()
        rows = self.random.choice([30, 150, self.world.large])
        if choice < 0.35 or not self.batches:
            key = self.fresh_keys(rows)
            tx.uids += range(tx.uid(rows), tx.number * 10000 + tx.next)
            tx.add("SELECT put_many(%s, %s, %s, %s)", (table, key, rows, tx.uids[0]))
            made = [(table, key, rows)]
        elif choice < 0.7:
            key = self.fresh_keys(rows)
            tx.uids += range(tx.uid(rows), tx.number * 10000 + tx.next)
            tx.statements.append(("COPY", self.copy(table, key, tx.uids)))
            tx.add("INSERT INTO tally SELECT %s, %s + i, 1 FROM generate_series(0, %s) i",
                   (table, key, rows - 1))
            made = [(table, key, rows)]
        else:
            table, key, rows = self.batches.pop(self.random.randrange(len(self.batches)))
            made = []
            if choice < 0.9:
                tx.uids += range(tx.uid(rows), tx.number * 10000 + tx.next)
                tx.add("SELECT change_many(%s, %s, %s, %s)", (table, key, rows, tx.uids[0]))
                made = [(table, key, rows)]
            if choice > 0.8:
                tx.add("DELETE FROM %s WHERE id BETWEEN %%s AND %%s" % table, (key, key + rows - 1))
                made = []
        if self.finish(tx, self.random.random() < 0.85):
            self.batches += made
        self.world.stopping.wait(self.random.uniform(1, 4))

    def copy(self, table, key, uids):
        lines = []
        for i, uid in enumerate(uids):
            lines.append("%d\t%d\t1\t%d\t%d\t1\tcopied \\\\ %d\tb1 %s\n" % (
                key + i, (key + i) % 3, uid, uid, uid, "c" * (3000 if i % 40 == 0 else 10)))
        return table, "".join(lines)

    def empty(self):
        """TRUNCATE, alone and after changes"""
        tx = Transaction(self)
        for key in sorted({self.key("emptied") for _ in range(self.random.randint(1, 6))}):
            tx.op("emptied", key)
        if self.world.truncates and self.random.random() < 0.15:
            tx.add("TRUNCATE emptied")
            if self.random.random() < 0.5:
                tx.op("emptied", self.key("emptied"))
        self.finish(tx, self.random.random() < 0.85)
        self.world.stopping.wait(0.15)

    def ddl(self):
        """Tables change, in one transaction with rows"""
        tx = Transaction(self)
        extras = [row[0] for row in self.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'altered'::regclass"
            " AND attname ~ '^x[0-9]' AND NOT attisdropped")]
        name = "x%d" % tx.number
        tx.add("SET LOCAL lock_timeout = '2s'")
        if self.random.random() < 0.5:
            tx.op("altered", self.key("altered"))
        choice = self.random.choices(
            ["add", "add default", "drop", "rename", "type", "index", "table", "rewrite"],
            [4, 3, 3, 3, 2, 2, 1, 2])[0]
        if choice in ("drop", "rename", "type") and not extras or len(extras) > 6:
            choice = "drop" if extras else "add"
        if choice == "add":
            tx.add("ALTER TABLE altered ADD %s text" % name)
        elif choice == "add default":
            tx.add("ALTER TABLE altered ADD %s text DEFAULT 'default'" % name)
        elif choice == "drop":
            tx.add("ALTER TABLE altered DROP %s" % self.random.choice(extras))
        elif choice == "rename":
            tx.add("ALTER TABLE altered RENAME %s TO %s" % (self.random.choice(extras), name))
        elif choice == "type":
            tx.add("ALTER TABLE altered ALTER %s TYPE varchar(%d)" % (
                self.random.choice(extras), self.random.randint(100, 200)))
        elif choice == "index":
            tx.add("CREATE INDEX ON altered (uid)" if self.random.random() < 0.5
                   else "DROP INDEX IF EXISTS altered_uid_idx")
        elif choice == "table" and len(self.world.new_tables) < 4:
            table = "new_%d" % tx.number
            tx.add("SELECT make_table(%s, %s)", (table, self.random.choice(["plain", "full"])))
            for publication in ("nemesis", "nemesis_root"):
                tx.add("ALTER PUBLICATION %s ADD TABLE %s" % (publication, table))
            tx.op(table, self.key(table))
        else:
            tx.add("CLUSTER altered USING altered_pkey")
        if self.random.random() < 0.7:
            tx.op("altered", self.key("altered"))
        committed = self.finish(tx, self.random.random() < 0.85)
        if committed:
            self.world.ddl[choice] = self.world.ddl.get(choice, 0) + 1
            if choice == "table" and len(self.world.new_tables) < 4:
                self.world.new_tables.append("new_%d" % tx.number)
        self.world.stopping.wait(self.random.uniform(0.3, 1.5))

    # ---------- the server

    def connect(self):
        self.cursor = self.server.connect("shop").cursor()
        # what it left behind when it lost its server
        for name, in self.fetch("SELECT gid FROM pg_prepared_xacts WHERE gid ~ %s",
                                ("^nemesis_%d[0-9]{7}$" % self.number,)):
            self.execute("%s PREPARED %%s" % self.random.choice(["COMMIT", "ROLLBACK"]), (name,))

    def fetch(self, sql, parameters=()):
        self.cursor.execute(sql, parameters)
        return self.cursor.fetchall()

    def execute(self, sql, parameters=()):
        if sql == "COPY":
            table, lines = parameters
            self.cursor.copy_expert("COPY %s (%s) FROM STDIN" % (table, COPY_COLUMNS),
                                    io.StringIO(lines))
        else:
            self.cursor.execute(sql, parameters or None)

    def begin(self, tx):
        self.execute("BEGIN")
        for statement in tx.statements:
            self.execute(*statement)

    def undo(self, error):
        """After an error that is a statement's; Lost if it is the connection's"""
        if is_lost(error) or self.cursor.connection.closed:
            raise Lost
        self.world.error(error)
        try:
            self.cursor.execute("ROLLBACK")
        except psycopg2.Error:
            raise Lost

    def finish(self, tx, commit, sure=True):
        """Run it; true if it is known to be committed"""
        kind = self.habit.__name__
        self.journal.intend(tx.number, tx.uids)
        outcome = "failed"
        try:
            self.begin(tx)
            if commit:
                outcome = "unknown"
                self.execute("COMMIT")
                outcome = "ok" if sure else "unknown"
            else:
                self.execute("ROLLBACK")
        except psycopg2.Error as error:
            self.undo(error)
            outcome = "failed"
        finally:
            self.journal.outcome_of(tx.number, outcome, kind)
        return outcome == "ok"

    def run(self):
        due = time.monotonic()
        while not self.world.stopping.is_set():
            due = max(due + 1 / self.world.rate, time.monotonic() - 0.5)
            self.world.stopping.wait(max(0, due - time.monotonic()))
            try:
                if self.cursor is None:
                    self.connect()
                self.habit(self)
            except (Lost, psycopg2.Error):
                if self.cursor:
                    self.cursor.connection.close()
                self.cursor = None
                self.world.stopping.wait(0.1)
            except Exception as error:      # a writer that dies silently proves nothing
                self.world.crashed.append("%s: %r" % (self.habit.__name__, error))
                raise
        if self.cursor:
            self.cursor.connection.close()


HABITS = ([Writer.mixed] * 4 + [Writer.lazy] * 2 + [Writer.long] + [Writer.savepoints] +
          [Writer.many, Writer.prepared, Writer.bulk, Writer.empty, Writer.ddl])


class World:
    """What writers share"""

    def __init__(self, server, seed, journal, rate, truncates, generator):
        self.server = server
        self.seed = seed
        self.journal = journal
        self.rate = rate
        self.truncates = truncates
        self.hot_keys = generator.randint(4, 16)
        self.cold_keys = 3000
        self.large = 800
        self.new_tables = []
        self.ddl = {}
        self.errors = {}
        self.crashed = []
        self.stopping = threading.Event()
        self.writers = [Writer(self, number, habit) for number, habit in enumerate(HABITS, 1)]

    def error(self, error):
        code = error.pgcode or str(error)
        self.errors[code] = self.errors.get(code, 0) + 1

    def start(self):
        for writer in self.writers:
            writer.start()

    def stop(self):
        self.stopping.set()
        for writer in self.writers:
            writer.join(60)
        self.settle()

    def settle(self):
        """Nobody else will decide what is still prepared"""
        for name, in self.server.insist("SELECT gid FROM pg_prepared_xacts"):
            self.server.insist("ROLLBACK PREPARED %s", (name,), "shop")
