#!/usr/bin/python3
#
# snapshot_check.py
#		Does a topic that rows and changes went to tell the truth, all the time?
#
# Reads the topics of snapshot_workload.sql's tables as consume.py does, and
# follows each key: what its row is after each record.
#
#	snapshot_check.py [--restarts] [--exact] TABLE=FILE:TOPIC[,TOPIC...]...
#
# FILE has the rows that the table holds in the end, a JSON object a line.
# What must hold:
#
#	- Versions of a key go up one by one: no change is missing, none is
#	  invented, rows that were read count like changes.
#	- A row that was read (op r) is the row at its place in the topic: not an
#	  older version, not a newer one, not one that is deleted.
#	- A large value that a change left alone is the one that is known.
#	- The rows at the end are FILE's.
#	- --exact: rows come before all changes of what they hold, and what
#	  composite holds at its checkpoints is what the checkpoint says.
#
# After a crash a stream repeats itself from some place on.  With --restarts
# records may be such repetitions: the same changes, in order, none left out;
# and a row that was read is the row at the LSN that it names.
#
# With --gap changes may have been lost before a row is read that makes up for
# them; with --changes rows were not read, and only what was changed counts.
#
# Writes a JSON object; its "problems" are empty if all is well.
#
# --spoil then does to the records what broken streams would (see SPOILERS), and
# "spoilt" says what was found wrong with each: a check that says nothing to
# that is worth nothing.

import argparse
import copy
import json
import sys
from bisect import bisect_right
from collections import Counter, defaultdict

from consume import Schemas, plain, records

PLACEHOLDER = "__debezium_unavailable_value"
KEYS = {"keyed": ("id",), "composite": ("a", "b"), "parted": ("region", "id"),
        "keyless": ("id",)}


class Event:
    """One record of a table's topic, without what nobody asks for"""

    def __init__(self, record):
        value = record["value"]
        source = value["source"]
        self.op = value["op"]
        self.before = value["before"]
        self.after = value["after"]
        self.place = record["topic"], record["partition"], record["offset"]
        self.lsn = source["lsn"]
        self.txid = source["txId"]
        self.marker = source["snapshot"]
        sequence = json.loads(source["sequence"]) if source["sequence"] else [None, None]
        self.previous = int(sequence[0]) if sequence[0] else None


class CommitOrder:
    """Which transactions are before an LSN?  Each change names the end of the
    transaction before its own, so its own's end is known from the next."""

    def __init__(self, events):
        previous, self.low = {}, {}
        for event in events:
            if event.op == "r":
                continue
            if event.previous is not None:
                # a repetition may not have seen the transaction before
                known = previous.get(event.txid)
                previous[event.txid] = max(known or 0, event.previous)
            self.low[event.txid] = max(self.low.get(event.txid, 0), event.lsn)
        self.ends = sorted(set(previous.values()))
        self.high = {}
        for txid, start in previous.items():
            i = bisect_right(self.ends, start)
            if i < len(self.ends):
                self.high[txid] = self.ends[i]

    def may_be_before(self, txid, lsn):
        return self.low.get(txid, 0) <= lsn

    def may_be_behind(self, txid, lsn):
        return txid not in self.high or self.high[txid] > lsn


class State:
    """A key after one change: row is None if it is deleted"""

    def __init__(self, version, row, event):
        self.version = version
        self.row = row
        self.event = event


class Table:
    def __init__(self, name, args, check):
        self.name = name
        self.key_fields = KEYS[name]
        self.args = args
        self.check = check
        self.history = defaultdict(list)    # key -> states
        self.current = {}                   # key -> index of the state
        self.reads = Counter()
        self.changed_at = {}    # key: the furthest of its changes so far
        self.seen = {}                      # (key, LSN, op) -> index
        self.bodies = {}                    # born -> (body_v, body)
        self.sums = [0, 0, 0]
        self.checkpoints = 0

    def problem(self, kind, key, event, text):
        self.check.problem(kind, "%s %s at %s:%d:%d (op %s, LSN %d, tx %d): %s" % (
            (self.name, key) + event.place + (event.op, event.lsn, event.txid, text)))

    def key(self, row):
        return tuple(row[field] for field in self.key_fields)

    def state(self, key):
        index = self.current.get(key)
        return None if index is None else self.history[key][index]

    # ---------- large values

    def complete(self, key, row, event):
        """Put the known value in the place of a placeholder"""
        if "body" not in row:
            return
        if row["body"] == PLACEHOLDER:
            before = self.state(key)
            known = before and before.row and before.row["body"]
            if not known or known == PLACEHOLDER or before.row["born"] != row["born"]:
                # a changed key: the row was another key's before
                version, body = self.bodies.get(row["born"], (None, None))
                known = body if version == row["body_v"] else None
            if known:
                row["body"] = known
        if row["body"] != PLACEHOLDER:
            if not row["body"].startswith("b%d " % row["body_v"]):
                self.problem("large value", key, event, "body %.20s... is not of version %s" % (
                    row["body"], row["body_v"]))
            self.bodies[row["born"]] = row["body_v"], row["body"]

    # ---------- records

    def record(self, event):
        if event.op == "r":
            self.row_read(self.key(event.after), event)
        elif event.op == "d":
            self.change(self.key(event.before), None, event)
        elif event.op in "cu":
            key = self.key(event.after)
            if self.name == "keyless" and event.before and self.key(event.before) != key:
                self.change(self.key(event.before), None, event)
                event.op = "c"
            self.change(key, event.after, event)
        else:
            self.check.problem("kind of event", "%s %r" % (self.name, event.op))

    def change(self, key, row, event):
        self.changed_at[key] = max(event.lsn, self.changed_at.get(key, 0))
        known = self.seen.get((key, event.lsn, row is None))
        if known is not None:
            self.repeated(key, row, event, known)
            return
        if row is not None:
            self.complete(key, row, event)
        before = self.state(key)
        states = self.history[key]
        if before is not None and self.current[key] != len(states) - 1:
            self.problem("gap after repetition", key, event, "version %s was sent, but not again" %
                         states[-1].version)
        self.follow(key, row, event, before)
        self.set(key, State(row["v"] if row else before.version if before else None, row, event))
        self.seen[key, event.lsn, row is None] = self.current[key]

    def follow(self, key, row, event, before):
        """Is this what can come after the state that is known?"""
        version = row and row["v"]
        if before is None:
            if self.args.exact and event.op != "c":
                self.problem("no row before", key, event, "a change of a row that was not read")
            return
        if row is None:
            if before.row is None:
                self.problem("deleted twice", key, event, "after version %s" % before.version)
        elif (before.row is None) != (event.op == "c"):
            self.problem("kind of event", key, event, "after version %s, which is %s" % (
                before.version, "there" if before.row else "deleted"))
        elif before.version is None:
            pass
        elif before.row and version == before.version:
            # an update of nothing; what it found may be more than was known
            if any(before.row[f] != row[f] for f in row
                   if PLACEHOLDER not in (before.row[f], row[f])):
                self.problem("two of a version", key, event, "%s and %s" % (before.row, row))
        elif version != before.version + 1:
            self.problem("order", key, event, "version %s after %s" % (version, before.version))

    def repeated(self, key, row, event, index):
        first = self.history[key][index]
        if not self.args.restarts:
            self.problem("repetition", key, event, "version %s" % first.version)
        elif row is not None and (first.row is None or first.row["v"] != row["v"] or
                                  first.row["uid"] != row["uid"]):
            self.problem("another repetition", key, event, "%s and %s" % (first.row, row))
        elif index > self.current[key] + 1:
            self.problem("gap in a repetition", key, event, "from version %s to %s" % (
                self.history[key][self.current[key]].version, first.version))
        self.check.repeats += 1
        self.set_current(key, index)

    def row_read(self, key, event):
        row = event.after
        self.reads[key] += 1
        # whatever is repeated: a row is never of a place before a change that was sent
        if event.lsn < self.changed_at.get(key, 0):
            self.problem("stale row", key, event, "a change at %s was sent before" % self.changed_at[key])
        self.complete(key, row, event)
        states = self.history[key]
        if not states:
            self.set(key, State(row["v"], row, event))
            return
        if not self.args.restarts:
            self.same(key, row, event, self.state(key))
        else:
            self.at_place(key, row, event)

    def same(self, key, row, event, state):
        if state.row is None:
            self.problem("deleted row", key, event, "version %s was read, but it was deleted" % row["v"])
        elif self.args.gap and row["v"] > state.row["v"]:
            self.set(key, State(row["v"], row, event))
        elif state.row["v"] != row["v"]:
            self.problem("stale row" if row["v"] < state.row["v"] else "early row", key, event,
                         "version %s was read, %s was sent" % (row["v"], state.row["v"]))
        else:
            for field, value in row.items():
                if state.row[field] == PLACEHOLDER:
                    state.row[field] = value
                elif state.row[field] != value:
                    self.problem("two of a version", key, event, "field %s" % field)

    def at_place(self, key, row, event):
        """The states that the key may have had at the LSN of the row"""
        states = self.history[key]
        order = self.check.order
        possible = []
        for i in range(len(states) - 1, -1, -1):
            state = states[i]
            if state.event.op == "r":
                begins = state.event.lsn <= event.lsn
                ends_before = begins
            else:
                begins = order.may_be_before(state.event.txid, event.lsn)
                ends_before = not order.may_be_behind(state.event.txid, event.lsn)
            if begins:
                possible.append(i)
            if ends_before:
                break
        else:
            first = states[0]
            if first.row is None or (row["v"] <= first.version if first.event.op == "r" else
                                     first.event.op == "u" and first.version - row["v"] in (0, 1)):
                # before all that is known
                if not possible or row["v"] != first.version:
                    states.insert(0, State(row["v"], row, event))
                    self.moved(key)
                    self.current[key] = 0
                    return
        for i in possible:
            if states[i].row and states[i].row["v"] == row["v"]:
                self.same(key, row, event, states[i])
                self.set_current(key, i)
                return
        self.problem("row of no place", key, event, "version %s was read where it is %s" % (
            row["v"], [(states[i].version, states[i].row is not None) for i in possible]))

    def moved(self, key):
        for place, index in list(self.seen.items()) if key in self.current else []:
            if place[0] == key:
                self.seen[place] = index + 1

    # ---------- what the table holds now

    def set(self, key, state):
        self.history[key].append(state)
        self.set_current(key, len(self.history[key]) - 1)

    def set_current(self, key, index):
        if self.name == "composite":
            self.count(key, -1)
        self.current[key] = index
        if self.name == "composite":
            self.count(key, 1)
            if key == (-1, "check"):
                self.checkpoint()

    def count(self, key, sign):
        state = self.state(key)
        if state and state.row and key[0] >= 0:
            self.sums[0] += sign
            self.sums[1] += sign * state.row["v"]
            self.sums[2] += sign * (key[0] * state.row["v"] + len(key[1]))

    def checkpoint(self):
        state = self.state((-1, "check"))
        if not self.args.exact or state.event.op == "r" or not state.row:
            return
        self.checkpoints += 1
        if state.row["note"] != " ".join(map(str, self.sums)):
            self.problem("checkpoint", (-1, "check"), state.event, "the table had %s, the topic %s" % (
                state.row["note"], self.sums))

    def finish(self, rows):
        for key, states in self.history.items():
            if self.current[key] != len(states) - 1:
                self.check.problem("unfinished repetition", "%s %s ends with version %s after %s" % (
                    self.name, key, states[self.current[key]].version, states[-1].version))
        want = {self.key(row): row for row in rows}
        for key in want:
            state = self.state(key)
            if state is None and self.args.changes:
                continue
            if state is None or state.row is None:
                self.check.problem("missing row", "%s %s is in the table: version %s" % (
                    self.name, key, want[key]["v"]))
                continue
            bad = [f for f in want[key] if state.row.get(f) != want[key][f]]
            if self.args.changes and state.row.get("body") == PLACEHOLDER:
                bad = [f for f in bad if f != "body"]
            if bad:
                self.check.problem("lost value" if state.row.get("body") == PLACEHOLDER and bad == ["body"]
                                   else "wrong row", "%s %s: %s" % (self.name, key, "; ".join(
                                       "%s is %.40s in the table, %.40s in the topic" % (
                                           f, want[key][f], state.row.get(f)) for f in bad)))
        for key in self.current:
            if self.state(key).row is not None and key not in want:
                self.check.problem("extra row", "%s %s is not in the table: version %s" % (
                    self.name, key, self.state(key).version))


class Check:
    def __init__(self, args):
        self.args = args
        self.kinds = Counter()
        self.problems = []
        self.repeats = 0
        self.order = None

    def problem(self, kind, text):
        self.kinds[kind] += 1
        if self.kinds[kind] <= 5:
            self.problems.append("%s: %s" % (kind, text))


# ----------
# What a broken stream would send: each takes and returns a table's events
# ----------

class NothingToSpoil(Exception):
    pass


def changed_rows(events, want):
    """Indexes of rows that were read, changed later, and what changed them"""
    reads = {}
    for i, event in enumerate(events):
        row = event.after
        if event.op == "r":
            reads[row["id"]] = i
        elif event.op in want and (event.after or event.before)["id"] in reads:
            yield reads[(event.after or event.before)["id"]], i


def untouched(events):
    """A row that was read and that nobody changed"""
    touched = {(e.after or e.before)["id"] for e in events if e.op != "r"}
    return next(e for e in events if e.op == "r" and e.after["id"] not in touched)


def spoil_stale(events):
    """A row that was read before a change arrives behind it"""
    for read, change in changed_rows(events, "u"):
        if events[change].after["v"] > events[read].after["v"]:
            events.insert(change, events.pop(read))
            return
    raise NothingToSpoil


def spoil_resurrected(events):
    """... behind its deletion"""
    for read, change in changed_rows(events, "d"):
        events.insert(change, events.pop(read))
        return
    raise NothingToSpoil


def spoil_missing(events):
    """A change is lost"""
    versions = Counter((e.after["id"], e.after["v"]) for e in events if e.after)
    changes = [i for i, e in enumerate(events)
               if e.op == "u" and versions[e.after["id"], e.after["v"]] == 1]
    del events[changes[len(changes) // 2]]


def spoil_missing_row(events):
    """A row is not read that nobody changes"""
    events.remove(untouched(events))


def spoil_twice(events):
    """A change is sent twice"""
    changes = [i for i, e in enumerate(events) if e.op == "u"]
    i = changes[len(changes) // 2]
    events.insert(i + 1, events[i])


def spoil_value(events):
    """A field of a row that was read is another one"""
    untouched(events).after["note"] = "spoilt"


def spoil_large(events):
    """A large value is another version's"""
    event = next(e for e in events if e.op == "r" and len(e.after["body"]) > 10000)
    event.after["body"] = "b7 " + event.after["body"]


def spoil_invented(events):
    """A row of a transaction that was rolled back"""
    event = [e for e in events if e.op == "u"][0]
    event.after["v"] += 1


SPOILERS = {f.__name__[6:]: f for f in (
    spoil_stale, spoil_resurrected, spoil_missing, spoil_missing_row, spoil_twice, spoil_value,
    spoil_large, spoil_invented)}


def judge(args, events, rows):
    """All tables' verdict"""
    check = Check(args)
    check.order = CommitOrder(e for name in events for e in events[name])
    tables = [Table(name, args, check) for name in rows]
    for table in tables:
        for event in events[table.name]:
            table.record(event)
        table.finish(rows[table.name])
    everything = [e for name in rows for e in events[name]]
    return {
        "events": sum(e.op != "r" for e in everything),
        "reads": sum(e.op == "r" for e in everything),
        "read_twice": {t.name: sum(n > 1 for n in t.reads.values()) for t in tables},
        "markers": dict(Counter(str(e.marker) for e in everything if e.op == "r")),
        "checkpoints": sum(t.checkpoints for t in tables),
        "repeats": check.repeats,
        "kinds": dict(check.kinds),
        "problems": check.problems,
    }


def spoil_all(args, events, rows):
    """What the check finds wrong with each kind of broken stream"""
    found = {}
    for name, spoiler in SPOILERS.items():
        spoilt = {"keyed": copy.deepcopy(events["keyed"])}
        try:
            spoiler(spoilt["keyed"])
        except (NothingToSpoil, IndexError, StopIteration):
            continue
        found[name] = judge(args, spoilt, {"keyed": rows["keyed"]})["kinds"]
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table", nargs="+", help="TABLE=FILE:TOPIC,...")
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--registry", default="")
    parser.add_argument("--schemas-topic", default="")
    parser.add_argument("--restarts", action="store_true")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--gap", action="store_true")
    parser.add_argument("--changes", action="store_true")
    parser.add_argument("--spoil", action="store_true")
    args = parser.parse_args()
    # what consume.py wants to know
    args.registry_user, args.missing_ok, args.first = "", False, 0
    schemas = Schemas(args)
    rows, table_of, events = {}, {}, defaultdict(list)
    for spec in args.table:
        name, _, rest = spec.partition("=")
        path, _, topics = rest.partition(":")
        with open(path) as source:
            rows[name] = [json.loads(line) for line in source if line.strip()]
        table_of.update((topic, name) for topic in topics.split(","))
    for record in records(args, schemas, list(table_of)):
        if record["value"] is not None:
            events[table_of[record["topic"]]].append(Event(record))
    events_copy = copy.deepcopy(events) if args.spoil else None
    verdict = judge(args, events, rows)
    if args.spoil:
        verdict["spoilt"] = spoil_all(args, events_copy, rows)
    print(json.dumps(verdict, default=plain))
    return 1 if verdict["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
