#!/usr/bin/python3
#
# snapshot_workload.py
#		Sixteen writers with the habits that snapshots get wrong.
#
# The tables are those of snapshot_workload.sql, in which each row says which
# version of its key it is; snapshot_check.py reads that back from Kafka.
# Each writer is a psql session with one habit (see HABITS) and goes on until
# --stop-file appears, whatever becomes of the server.  Then --done-file is
# written, with the numbers of transactions that were committed and given up.

import argparse
import json
import os
import random
import sys
import threading
import time
from collections import Counter

from workload import Lost, Session

TABLES = ["keyed", "composite", "parted", "keyless"]


class Writer(threading.Thread):
    def __init__(self, args, number, habit):
        super().__init__()
        self.args = args
        self.number = number
        self.habit = habit
        self.random = random.Random(args.seed * 1000 + number)
        # ids differ between runs of the workload in one database
        self.uid = (args.seed * 100 + number) * 10**8
        self.done = 0
        self.given_up = 0
        self.session = None

    def next_uid(self, n=2):
        self.uid += n
        return self.uid - n

    # ---------- operations

    def key(self):
        base = 10 * self.random.randint(10, 9 + max(1, self.args.rows // 10))
        # where the row is, or has moved to: beside its place, or far behind
        return base + self.random.choices([0, 5, 10**6], [80, 12, 8])[0]

    def elsewhere(self, key):
        base = key - 10**6 if key >= 10**6 else key // 10 * 10
        return self.random.choice([k for k in (base, base + 5, base + 10**6) if k != key])

    def table(self):
        return self.random.choices(TABLES, [5, 2, 3, 1])[0]

    def operation(self, table, key):
        kind = self.random.choices(
            ["all", "none", "some", "delete", "again", "move"], [20, 12, 40, 10, 8, 10])[0]
        large = "true" if self.random.random() < 0.1 else "false"
        return "SELECT op('%s', %d, %d, '%s', %d, %s)" % (
            table, key, self.next_uid(), kind, self.elsewhere(key), large)

    def operations(self, least=1, most=4, table=None):
        places = sorted((table or self.table(), self.key())
                        for _ in range(self.random.randint(least, most)))
        return [self.operation(*place) for place in places]

    # ---------- habits: each makes one transaction

    def mixed(self):
        """Short transactions over several tables; a fifth is rolled back"""
        statements = self.operations()
        if self.random.random() < 0.3:
            statements.insert(0, "SELECT FROM keyed WHERE id = %d FOR KEY SHARE" % self.key())
        self.transaction(statements, self.random.random() < 0.8)

    def lazy(self):
        """The same with commits that do not wait for the disk"""
        self.send(["SET synchronous_commit = off"])
        self.mixed()

    def long(self):
        """Open for up to seconds, with pauses between its changes"""
        statements = []
        # seldom composite: all who write there would wait with a checkpoint
        for statement in self.operations(2, 5, self.random.choice(TABLES[:1] * 4 + [None])):
            statements += [statement, "SELECT pg_sleep(%.2f)" % self.random.uniform(0.05, 0.4)]
        self.transaction(statements, self.random.random() < 0.8)

    def savepoints(self):
        """Savepoints, released or rolled back to, one in another"""
        statements = []
        for statement in self.operations(2, 5):
            choice = self.random.random()
            if choice < 0.4:
                statements += ["SAVEPOINT s", statement, "ROLLBACK TO s"]
            elif choice < 0.7:
                statements += ["SAVEPOINT s", statement, "RELEASE s"]
            else:
                inner = self.operations(1, 1)
                statements += ["SAVEPOINT s", statement, "SAVEPOINT t"] + inner + [
                    "ROLLBACK TO t", "RELEASE s"]
        self.transaction(statements, self.random.random() < 0.9)

    def many(self):
        """More subtransactions than a process remembers for others"""
        keys = sorted(self.key() for _ in range(self.random.choice([10, 80])))
        self.transaction(["SELECT op_many('%s', '{%s}', %d)" % (
            self.random.choice(["keyed", "parted"]), ",".join(map(str, keys)),
            self.next_uid(2 * len(keys) + 4))], self.random.random() < 0.8)
        time.sleep(0.3)

    def prepared(self):
        """Two-phase commits, some time after the first phase"""
        name = "writer_%d" % self.number
        self.send(["SELECT 1 FROM pg_prepared_xacts WHERE gid = '%s' LIMIT 1" % name,
                   "\\if :ROW_COUNT\nROLLBACK PREPARED '%s';\n\\endif\nSELECT" % name])
        if self.send(["BEGIN"] + self.operations() + ["PREPARE TRANSACTION '%s'" % name]):
            self.send(["ROLLBACK"])
            self.given_up += 1
            return
        time.sleep(self.random.uniform(0, 0.2))
        commit = self.random.random() < 0.8
        self.send(["%s PREPARED '%s'" % ("COMMIT" if commit else "ROLLBACK", name)])
        self.done += commit

    def checkpoint(self):
        """Writes down what composite holds, while nobody else writes there"""
        self.transaction(["SET LOCAL lock_timeout = '3s'",
                          "LOCK composite IN SHARE ROW EXCLUSIVE MODE",
                          "SELECT checkpoint(%d)" % self.next_uid()], True)
        time.sleep(self.random.uniform(0.2, 0.7))

    def vacuum(self):
        """Takes away what no snapshot needs any more, and uses it again"""
        self.send(["VACUUM %s" % self.random.choice(["keyed", "composite", "parted"])])
        time.sleep(0.3)

    # ---------- the loop

    def send(self, statements):
        return self.session.run(statements)

    def transaction(self, statements, commits):
        if self.send(["BEGIN"] + statements):
            commits = False
        if not commits:
            self.send(["ROLLBACK"])
            self.given_up += 1
        elif self.send(["COMMIT"]):
            self.given_up += 1
        else:
            self.done += 1

    def run(self):
        due = time.monotonic()
        # who started us may have died
        while not os.path.exists(self.args.stop_file) and os.getppid() == self.args.parent:
            if self.args.rate:
                due = max(due + 1 / self.args.rate, time.monotonic() - 1)
                time.sleep(max(0, due - time.monotonic()))
            try:
                if self.session is None:
                    self.session = Session(self.args)
                self.habit(self)
            except Lost:
                self.session.close()
                self.session = None
                time.sleep(0.1)
        if self.session:
            self.session.close()


HABITS = ([Writer.mixed] * 6 + [Writer.lazy] * 2 + [Writer.long] * 2 +
          [Writer.savepoints] * 2 + [Writer.many, Writer.prepared, Writer.checkpoint,
                                     Writer.vacuum])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--psql", default="psql")
    parser.add_argument("--conninfo", required=True)
    parser.add_argument("--rows", type=int, default=3000, help="keys that were filled")
    parser.add_argument("--rate", type=float, default=12,
                        help="at most so many transactions a second and writer; 0: no limit")
    parser.add_argument("--stop-file", required=True)
    parser.add_argument("--done-file", required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.parent = os.getppid()
    writers = [Writer(args, number, habit) for number, habit in enumerate(HABITS, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    habits = Counter()
    for writer in writers:
        habits[writer.habit.__name__] += writer.done
    with open(args.done_file + ".part", "w") as target:
        json.dump({"committed": sum(w.done for w in writers),
                   "given_up": sum(w.given_up for w in writers),
                   "habits": habits}, target)
    os.rename(args.done_file + ".part", args.done_file)


if __name__ == "__main__":
    sys.exit(main())
