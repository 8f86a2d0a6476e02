#
# oracles.py
#		Four independent judges of what a stream wrote, and some invariants.
#
# Records are decoded with Apache's Avro library and schemas that the registry
# gave out (or Python's JSON), and brought into one form whatever the stream's
# format and envelope were.  Then
#
#	versions	each key's versions go up one by one, and what is repeated is a
#				re-run that ends at the tail (snapshot_check.py's Table)
#	journal		what a writer committed is there, what it undid is not
#	sums		each row has the checksum that the database computed
#	replay		(replay.py) the rows that result, in another database
#
# and besides: one key is on one partition; the records of a transaction are as
# many as its END says; "before" is what was "after" before; the slot is never
# further than what readers can see.

import hashlib
import io
import json
import os
import pickle
import re
import struct
import sys
from collections import Counter, defaultdict
from datetime import datetime, timezone
from decimal import Decimal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import avro.io
import avro.schema
import snapshot_check
from snapshot_check import PLACEHOLDER, Check, CommitOrder, Event, Table

COLUMNS = ("id", "region", "v", "uid", "born", "body_v", "note", "amount", "at", "day", "bin",
           "ratio", "flag", "list", "doc", "ref", "body", "sum")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
FULL = ("cold", "keyless")      # replica identity


# ----------
# Decoding
# ----------

class Undecodable(Exception):
    pass


class Schemas:
    """By id: a registry that was emptied gives an id to several schemas.  By
    fingerprint: from the topic of schemas."""

    def __init__(self, generations, fingerprints):
        self.of_id = defaultdict(list)
        for generation in reversed(generations):
            for number, text in generation.items():
                if text not in self.of_id[number]:
                    self.of_id[number].append(text)
        self.of_fingerprint = fingerprints
        self.readers = {}
        self.keys = {}          # what a key's bytes are: they come again and again

    def decode_key(self, data, topic):
        if (data, topic) not in self.keys:
            self.keys[data, topic] = self.decode(data, topic)
        return self.keys[data, topic]

    def read(self, text, body):
        if text not in self.readers:
            parsed = avro.schema.parse(text)
            self.readers[text] = avro.io.DatumReader(parsed), getattr(parsed, "fullname", "")
        reader, name = self.readers[text]
        stream = io.BytesIO(body)
        value = reader.read(avro.io.BinaryDecoder(stream))
        if stream.read(1):
            raise Undecodable("bytes left over")
        return value, name

    def decode(self, data, topic):
        """All that it may be: most often one"""
        if data is None:
            return [None]
        if data[:1] in b"{[\"":
            return [json.loads(data, parse_float=Decimal)]
        if data[:1] == b"\0":
            texts, body = self.of_id.get(int.from_bytes(data[1:5], "big"), []), data[5:]
        elif data[:2] == b"\xc3\x01":
            texts, body = [self.of_fingerprint[data[2:10]]], data[10:]
        else:
            raise Undecodable("unknown framing %s" % data[:5].hex())
        found, wanted = [], re.sub(r"[^A-Za-z0-9_.]", "_", topic)
        for text in texts:
            try:
                value, name = self.read(text, body)
            except Exception:       # another schema than the writer's
                continue
            if name.startswith(wanted + ".") or name.startswith("io.debezium."):
                found.append(value)
        if not found:
            raise Undecodable("no schema of %d fits" % len(texts))
        return found


def microseconds(text):
    """An ISO time with zone; Python's own reader takes other fractions"""
    match = re.match(r"(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.(\d+))?Z$", text)
    whole = datetime.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    since = whole - EPOCH
    return (since.days * 86400 + since.seconds) * 10**6 + int((match.group(2) or "").ljust(6, "0"))


def canonical_bin(value):
    if isinstance(value, bytes):
        return value.hex()
    import base64
    return base64.b64decode(value).hex()


CANONICAL = {
    "amount": lambda x: str(Decimal(x).quantize(Decimal("0.001"))),
    "at": microseconds,
    "bin": canonical_bin,
    "ratio": float,
    "flag": bool,
}


def canonical(row):
    """(the columns that every table has, the others)"""
    if row is None:
        return None, {}
    fixed, extras = {}, {}
    for name, value in row.items():
        if name in COLUMNS:
            convert = CANONICAL.get(name)
            fixed[name] = convert(value) if convert and value is not None else value
        elif not name.startswith("__"):
            extras[name] = value
    return fixed, extras


def sum_of(row):
    def text(value):
        return "~" if value is None else str(value)

    ratio = row["ratio"]
    body = row["body"]
    parts = [text(row[c]) for c in ("id", "region", "v", "uid", "born", "body_v", "note", "amount",
                                    "at", "day", "bin")]
    parts.append("~" if ratio is None else struct.pack(">d", ratio).hex())
    parts.append("~" if row["flag"] is None else "true" if row["flag"] else "false")
    parts.append("~" if row["list"] is None else
                 ",".join("~" if x is None else str(x) for x in row["list"]))
    parts += [text(row["doc"]), text(row["ref"])]
    parts.append("~" if body is None else hashlib.md5(body.encode()).hexdigest())
    return hashlib.md5("|".join(parts).encode()).hexdigest()


def sum_of_extras(extras):
    text = ",".join("%s=%s" % (name, "~" if value is None else value)
                    for name, value in sorted(extras.items()) if re.match("x[0-9]", name))
    return hashlib.md5(text.encode()).hexdigest()


def envelope(value, topic):
    """A flat row as an envelope"""
    if "op" in value and "source" in value:
        return value
    row = {name: field for name, field in value.items() if not name.startswith("__")}
    op = value["__op"]
    return {
        "op": op,
        "before": row if op == "d" else None,
        "after": None if op == "d" else row,
        "source": {"lsn": value["__source_lsn"], "txId": value["__source_txId"],
                   "sequence": value.get("__source_sequence"),
                   "snapshot": value.get("__source_snapshot")},
    }


# ----------
# One table
# ----------

class NemesisTable(Table):
    """snapshot_check.py's, and: sums, before images, truncations, what
    repetitions say"""

    def __init__(self, name, args, check):
        snapshot_check.KEYS.setdefault(name, ("id",))
        super().__init__(name, args, check)
        self.kinds = Counter()
        self.digests = {}
        self.truncations = {}
        self.sums_checked = 0
        self.befores_checked = 0
        self.extras = {}        # key -> the other columns of its row

    def record(self, event):
        self.kinds[event.op] += 1
        if event.op == "t":
            self.truncated(event)
            return
        # before large values are put in the place of placeholders
        digest = self.digest(event)
        key = self.key(event.after or event.before)
        if self.digests.setdefault((key, event.lsn, event.op), digest) != digest and event.op != "r":
            self.problem("another repetition", key, event, "its record is not the first one's")
        known = self.state(key)
        if event.before and self.name in FULL and known and known.row and event.op in "ud":
            self.befores_checked += 1
            bad = [c for c in COLUMNS if known.row[c] != event.before[c]
                   and PLACEHOLDER not in (known.row[c], event.before[c])]
            if bad and self.place_of(key, event) is None:
                self.problem("before", key, event, "version %s before, %s known: %s" % (
                    event.before["v"], known.version, bad))
        super().record(event)
        if event.after:
            self.extras[key] = event.extras
            self.verify_sum(key, event)

    def know_bodies(self, events):
        """All large values, by whose they are and since when.  A row whose key
        changed may be on another partition than its past."""
        self.all_bodies = defaultdict(list)
        for event in events:
            if event.after and event.after["body"] != PLACEHOLDER:
                self.all_bodies[event.after["born"]].append(
                    (event.lsn, event.after["body_v"], event.after["body"]))
        for bodies in self.all_bodies.values():
            bodies.sort(key=lambda b: b[0])

    def complete(self, key, row, event):
        super().complete(key, row, event)
        if row["body"] == PLACEHOLDER:
            for lsn, version, body in reversed(self.all_bodies[row["born"]]):
                if lsn < event.lsn and version == row["body_v"]:
                    row["body"] = body
                    break

    def place_of(self, key, event):
        """Where among the key's states this is, if it is a repetition"""
        return self.seen.get((key, event.lsn, event.after is None))

    def digest(self, event):
        def content(row):
            return None if row is None else tuple(
                None if c == "body" else repr(row.get(c)) for c in COLUMNS)

        return hash((event.op, event.txid, content(event.after)))

    def verify_sum(self, key, event):
        row = event.after
        if row["body"] == PLACEHOLDER:
            return
        self.sums_checked += 1
        if sum_of(row) != row["sum"]:
            self.problem("sum", key, event, "%s of %s" % (
                row["sum"], json.dumps(row, default=str)[:600]))
        wanted = event.extras.get("extras_sum")
        # rows that DDL changed have the sum of before, until they are written
        if wanted and event.op != "r" and sum_of_extras(event.extras) != wanted:
            self.problem("sum", key, event, "%s of %s" % (wanted, event.extras))

    def truncated(self, event):
        """A delete of all rows; a repetition deletes the same ones"""
        keys = self.truncations.get(event.lsn)
        if keys is None:
            keys = [key for key in self.current if self.state(key).row is not None]
            self.truncations[event.lsn] = keys
        elif not self.args.restarts:
            self.problem("repetition", "all", event, "a truncation")
        for key in keys:
            self.change(key, None, event)

    def large_rows(self):
        return sum(len(state.row["body"] or "") > 2000 for states in self.history.values()
                   for state in states if state.row and state.row.get("body"))


# ----------
# What a run leaves behind to be judged
# ----------

class Evidence:
    """Everything that the judges ask, without a server: kept in a file"""

    def __init__(self, settings, prefix, restarts, generations, rows, journal, samples):
        self.settings = settings        # without "wal2kafka."
        self.prefix = prefix
        self.restarts = restarts        # may changes be repeated?
        self.generations = generations  # of schemas: [{id: text}]
        self.rows = rows                # table -> its rows in the end
        self.outcome = journal.outcome  # transaction -> ok, failed
        self.changes = journal.changes
        self.undone = journal.undone
        self.samples = samples

    def schemas(self, records):
        # a fingerprint is a number in keys; in front of data it is little-endian
        return Schemas(self.generations, {
            bytes.fromhex(key.decode())[::-1]: value.decode()
            for topic, _, _, _, key, value, _ in records
            if topic == self.prefix + ".schemas" and value})

    def reader(self):
        return Oracles(self.settings, self.prefix, self.restarts)

    def judge(self, records):
        """An Oracles that has judged"""
        judges = self.reader()
        events = judges.load(records, self.schemas(records))
        judges.judge(events, self.rows, self)
        judges.judge_slot(self.samples)
        return judges


def read(path):
    """A reader's file: [(topic, partition, offset, time, key, value, headers)]"""
    records = []
    with open(path, "rb") as file:
        while True:
            try:
                records.append(pickle.load(file))
            except EOFError:
                return records


# ----------
# All of them
# ----------

class Arguments:
    exact = gap = changes = False

    def __init__(self, restarts):
        self.restarts = restarts


class Oracles:
    def __init__(self, settings, prefix, restarts):
        self.settings = settings
        self.prefix = prefix
        self.args = Arguments(restarts)
        self.check = Check(self.args)
        self.counts = Counter()
        self.tables = {}
        self.uids = {}              # id of a change -> first place
        self.journal_rows = {}
        self.partition_of = {}
        self.first = {}             # (topic, key, LSN, op) -> (partition, offset), of the first
        self.end_lsn = {}
        self.in_transaction = defaultdict(set)
        self.transactions = {}      # id -> what END says
        self.begun = set()
        self.counted = set()        # places of the journal's events

    def problem(self, kind, text):
        self.check.problem(kind, text)

    # ---------- reading

    def table_of(self, topic):
        name = topic[len(self.prefix) + 1:]
        if not name.startswith("public."):
            return None
        name = name[len("public."):]
        return re.sub(r"^parted_\d$", "parted", name)

    def load(self, records, schemas):
        """Events by table, in each topic's order; records as read() gives them"""
        events = defaultdict(list)
        for record in sorted(records, key=lambda r: (r[0], r[1], r[2])):
            topic = record[0]
            self.counts["records"] += 1
            if topic == self.prefix + ".transaction":
                self.load_transaction(record, schemas)
            elif self.table_of(topic):
                self.load_event(record, schemas, events)
        return events

    def load_event(self, record, schemas, events):
        topic, partition, offset, _, key, data, _ = record
        table = self.table_of(topic)
        if key is not None and int(self.settings["topic_partitions"]) > 1 and \
                self.partition_of.setdefault((topic, key), partition) != partition:
            self.problem("partition", "%s: key %r is on partitions %d and %d, offset %d" % (
                topic, key, self.partition_of[topic, key], partition, offset))
        if data is None:
            self.counts["tombstones"] += 1
            return
        try:
            choices = [self.event(topic, partition, offset, value)
                       for value in schemas.decode(data, topic)]
            keys = schemas.decode_key(key, topic)
        except (Undecodable, KeyError, AttributeError) as error:
            self.problem("undecodable", "%s:%d:%d: %r" % (topic, partition, offset, error))
            return
        event = choices[0]
        if len(choices) > 1:        # several schemas can read it: whose sums are right?
            for choice in choices:
                wanted = choice.extras.get("extras_sum")
                if not wanted or sum_of_extras(choice.extras) == wanted:
                    event = choice
                    break
        row = event.after or event.before
        if row and not any(k is None or k.get("payload", k).get("id") == row["id"] for k in keys):
            self.problem("key", "%s:%d:%d: key %s, row of %s" % (
                topic, partition, offset, keys[0], row["id"]))
        self.note_event(event, topic, table, partition, offset)
        if table == "journal":
            if event.after:
                self.journal_rows.setdefault(event.after["id"], event.place)
                self.count_event(event, topic)
        else:
            events[table].append(event)

    def event(self, topic, partition, offset, value):
        value = envelope(value.get("payload", value) if "payload" in value else value, topic)
        before, _ = canonical(value["before"])
        after, extras = canonical(value["after"])
        event = Event({"topic": topic, "partition": partition, "offset": offset,
                       "value": {**value, "before": before, "after": after}})
        event.extras = extras
        event.txid = event.txid or 0
        return event

    def note_event(self, event, topic, table, partition, offset):
        self.counts["op " + event.op] += 1
        row = event.after or event.before or {}
        place = topic, row.get("id"), event.lsn, event.op
        self.first.setdefault(place, (partition, offset, event.txid))
        if event.op != "r":
            self.in_transaction[event.txid].add(place)
        if event.after and event.after.get("uid") is not None:
            self.uids.setdefault(event.after["uid"], event.place)

    def count_event(self, event, topic):
        if event.op == "r":
            return
        place = topic, event.after["id"], event.lsn
        if place in self.counted:
            self.check.repeats += 1
            if not self.args.restarts:
                self.problem("repetition", "journal %s at %s:%d:%d" % (
                    (event.after["id"],) + event.place))
        self.counted.add(place)

    def load_transaction(self, record, schemas):
        value = schemas.decode(record[5], record[0])[0]
        value = value.get("payload", value)
        txid = int(value["id"].split(":")[0])
        if value["status"] == "BEGIN":
            self.begun.add(txid)
            return
        said = {c["data_collection"]: c["event_count"] for c in value["data_collections"] or []}
        if self.transactions.setdefault(txid, said) != said:
            self.problem("transaction", "%d ends twice, with %s and %s" % (
                txid, self.transactions[txid], said))

    # ---------- judging

    def judge(self, events, rows, journal):
        """rows: table -> final rows; journal: writers.Journal, resolved"""
        self.check.order = CommitOrder(e for name in events for e in events[name])
        for name in sorted(set(events) | set(rows)):
            table = self.tables[name] = NemesisTable(name, self.args, self.check)
            table.know_bodies(events[name])
            for event in events[name]:
                table.record(event)
            table.finish(rows.get(name, []))
            self.counts["sums"] += table.sums_checked
            self.counts["befores"] += table.befores_checked
            self.counts["keys"] += len(table.history)
            self.counts["large values"] += table.large_rows()
        self.judge_journal(journal)
        self.judge_transactions()
        self.counts["repeats"] = self.check.repeats

    def judge_journal(self, journal):
        for tx, outcome in journal.outcome.items():
            if outcome != "ok":
                continue
            self.counts["committed"] += 1
            if tx not in self.journal_rows:
                self.problem("missing", "transaction %d was committed, its row of journal is not there" % tx)
            for uid in journal.changes[tx]:
                self.counts["changes"] += 1
                if uid not in self.uids:
                    self.problem("missing", "change %d of transaction %d was committed" % (uid, tx))
        for uid, place in self.uids.items():
            tx = uid // 10000
            if tx == 0:
                continue        # rows of before the writers
            if journal.outcome.get(tx) != "ok" or uid in journal.undone:
                self.problem("invented", "change %d at %s:%d:%d: transaction %s" % (
                    (uid,) + place + (journal.outcome.get(tx, "unknown"),)))
        for tx in self.journal_rows:
            if journal.outcome.get(tx) != "ok":
                self.problem("invented", "transaction %d was rolled back" % tx)
        self.counts["rolled back"] = sum(o == "failed" for o in journal.outcome.values())

    def judge_transactions(self):
        for txid in self.begun - set(self.transactions):
            self.problem("transaction", "%d begins and does not end" % txid)
        for txid, said in self.transactions.items():
            counted = Counter(place[0][len(self.prefix) + 1:]
                              for place in self.in_transaction.get(txid, ()))
            self.counts["transactions with counts"] += 1
            if dict(counted) != {name: n for name, n in said.items() if n}:
                self.problem("transaction", "%d has %s, and its END says %s" % (
                    txid, dict(counted), said))

    def judge_slot(self, samples):
        """The slot never passes what readers could see then: samples are
        (confirmed LSN, {(topic, partition): end}) in that order"""
        order = self.check.order
        places = sorted(((order.high.get(txid), topic, partition, offset)
                         for (topic, _, _, op), (partition, offset, txid) in self.first.items()
                         if op != "r" and order.high.get(txid)), key=lambda x: x[0])
        # the furthest first offset of all transactions up to each end
        needed, i = {}, 0
        for lsn, ends in sorted(samples, key=lambda s: s[0]):
            while i < len(places) and places[i][0] <= lsn:
                _, topic, partition, offset = places[i]
                needed[topic, partition] = max(needed.get((topic, partition), -1), offset)
                i += 1
            self.counts["slot samples"] += 1
            for place, offset in needed.items():
                if offset >= ends.get(place, 0):
                    self.problem("slot", "it was at %X/%X when %s:%d ended at %d, before %d" % (
                        (lsn >> 32, lsn & 0xffffffff) + place + (ends.get(place, 0), offset)))
                    break
