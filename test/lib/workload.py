#!/usr/bin/python3
#
# workload.py
#		Concurrent writers that know what became of each of their changes.
#
# Each writer is a psql session.  It notes every change's id before the
# transaction's COMMIT is sent, and then as ok (COMMIT was answered), failed
# (rolled back, by us, to a savepoint or by the server) or unknown (the
# connection broke first).  The journal is written when the writers stop:
# after --transactions each, or when --stop-file appears.  A writer that
# loses its server connects again until then.

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time


class Lost(Exception):
    pass


class Session:
    """psql in a pipe: one statement at a time, answered by a marker"""

    def __init__(self, args):
        self.process = subprocess.Popen(
            [args.psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=0", args.conninfo],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def run(self, statements):
        """The SQLSTATE of the last statement that failed, or None"""
        try:
            self.process.stdin.write("\\set state 00000\n")
            for statement in statements:
                self.process.stdin.write(statement + ";\n")
                self.process.stdin.write("\\if :ERROR\n\\set state :LAST_ERROR_SQLSTATE\n\\endif\n")
            self.process.stdin.write("\\echo answer :state\n")
            self.process.stdin.flush()
            while True:
                line = self.process.stdout.readline()
                if not line:
                    raise Lost
                if line.startswith("answer "):
                    # psql goes on after it lost its connection and got it back;
                    # an error without a state is that of a lost one
                    state = line[len("answer "):].strip()
                    if not state or state.startswith(("08", "57P")):
                        raise Lost
                    return None if state == "00000" else state
        except (BrokenPipeError, OSError):
            raise Lost

    def close(self):
        try:
            self.process.stdin.close()
        except OSError:
            pass
        self.process.wait()


class Writer(threading.Thread):
    def __init__(self, args, number):
        super().__init__()
        self.args = args
        self.number = number
        self.random = random.Random(args.seed * 1000 + number)
        self.uid = number * 10**9
        self.ok, self.failed, self.unknown = [], [], []
        self.transactions = 0

    def next_uid(self):
        self.uid += 1
        return self.uid

    def operation(self, key, kept, lost, keep):
        uid = self.next_uid()
        kind = self.random.choices(["write", "delete", "move"], [85, 10, 5])[0]
        (kept if keep else lost).append(uid)
        if kind == "move":
            (kept if keep else lost).append(-uid)
        return "SELECT ledger_op(%d, %d, '%s', %d, %d)" % (
            key, uid, kind, 10**6 + uid, self.args.size)

    def transaction(self):
        """(statements, ids that a commit makes, ids that are lost anyway, commits)"""
        kept, lost = [], []
        statements = ["BEGIN"]
        keys = sorted(self.random.sample(range(1, self.args.keys + 1), self.random.randint(1, 4)))
        for key in keys:
            if self.random.random() < 0.15:
                statements.append("SAVEPOINT s")
                statements.append(self.operation(key, kept, lost, False))
                statements.append("ROLLBACK TO s")
            elif self.random.random() < 0.1:
                statements.append("SAVEPOINT s")
                statements.append(self.operation(key, kept, lost, True))
                statements.append("RELEASE s")
            else:
                statements.append(self.operation(key, kept, lost, True))
        commits = self.random.random() >= 0.1
        return statements, kept, lost, commits

    def stopping(self):
        if self.args.stop_file and os.path.exists(self.args.stop_file):
            return True
        return self.args.transactions > 0 and self.transactions >= self.args.transactions

    def run(self):
        session = None
        due = time.monotonic()
        while not self.stopping():
            if self.args.rate:
                due = max(due + 1 / self.args.rate, time.monotonic() - 1)
                time.sleep(max(0, due - time.monotonic()))
            if session is None:
                session = Session(self.args)
            statements, kept, lost, commits = self.transaction()
            try:
                state = session.run(statements)
                self.failed += lost
                if not commits or state:
                    self.failed += kept
                    kept = []
                    session.run(["ROLLBACK"])
                else:
                    state = session.run(["COMMIT"])
                    if state:
                        self.failed += kept
                    else:
                        self.ok += kept
                    kept = []
                self.transactions += 1
            except Lost:
                self.unknown += kept
                session.close()
                session = None
                time.sleep(0.05)
        if session:
            session.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--psql", default="psql")
    parser.add_argument("--conninfo", required=True)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--keys", type=int, default=64)
    parser.add_argument("--size", type=int, default=2, help="payload, times 32 bytes")
    parser.add_argument("--transactions", type=int, default=0)
    parser.add_argument("--rate", type=float, default=100,
                        help="at most so many transactions a second and writer; 0: no limit")
    parser.add_argument("--stop-file", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--journal", required=True)
    args = parser.parse_args()
    writers = [Writer(args, number) for number in range(1, args.writers + 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    journal = {
        "ok": [uid for writer in writers for uid in writer.ok],
        "failed": [uid for writer in writers for uid in writer.failed],
        "unknown": [uid for writer in writers for uid in writer.unknown],
    }
    with open(args.journal + ".part", "w") as target:
        json.dump(journal, target)
    os.rename(args.journal + ".part", args.journal)


if __name__ == "__main__":
    sys.exit(main())
