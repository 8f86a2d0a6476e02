#!/usr/bin/python3
#
# consume.py
#		An independent reader of what wal2kafka wrote to Kafka.
#
# Shares no code with the extension: librdkafka's Python client, Apache's
# Avro library, the registry's own REST interface.
#
#	consume.py dump TOPIC...	one JSON object a record, in order of offsets
#	consume.py fold TOPIC		the last value of each key, a line each
#	consume.py check TOPIC		compare with a workload's journal
#	consume.py count TOPIC...	records, tombstones and live keys, undecoded
#	consume.py repeats TOPIC	how many rows are there how often, undecoded: a
#								row is what --pattern finds in the value
#	consume.py follow TOPIC...	like dump, and goes on for ever
#
# Every mode but follow reads from the beginning to the end that the
# partitions have when it starts.

import argparse
import io
import json
import re
import sys
import time
from collections import Counter, defaultdict
from datetime import date, datetime, time as dtime
from decimal import Decimal

import avro.io
import avro.schema
import requests
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition


class Schemas:
    """Schemas by the registry's id, or by fingerprint from <prefix>.schemas"""

    def __init__(self, args):
        self.args = args
        self.by_id = {}
        self.by_fingerprint = {}
        self.session = requests.Session()
        if args.registry_user:
            self.session.auth = tuple(args.registry_user.split(":", 1))
        self.session.trust_env = False

    def reader(self, text):
        return avro.io.DatumReader(avro.schema.parse(text))

    def of_id(self, number):
        if number not in self.by_id:
            url = "%s/schemas/ids/%d" % (self.args.registry.rstrip("/"), number)
            reply = self.session.get(url, timeout=10)
            reply.raise_for_status()
            self.by_id[number] = self.reader(reply.json()["schema"])
        return self.by_id[number]

    def of_fingerprint(self, fingerprint):
        if fingerprint not in self.by_fingerprint:
            for record in read_raw(self.args, [self.args.schemas_topic]):
                # the key is the fingerprint as a hexadecimal number; in front
                # of a datum its bytes stand in little-endian order
                number = bytes.fromhex(record.key().decode())[::-1]
                self.by_fingerprint[number] = self.reader(record.value().decode())
        return self.by_fingerprint[fingerprint]

    def decode(self, data):
        """(value, id of the schema) of one key or value"""
        if data is None:
            return None, None
        if data[:1] == b"\0":
            number = int.from_bytes(data[1:5], "big")
            reader, body = self.of_id(number), data[5:]
        elif data[:2] == b"\xc3\x01":
            number = data[2:10].hex()
            reader, body = self.of_fingerprint(data[2:10]), data[10:]
        else:
            return data.decode("utf-8", "backslashreplace"), None
        stream = io.BytesIO(body)
        value = reader.read(avro.io.BinaryDecoder(stream))
        if stream.read(1):
            raise ValueError("bytes left over after the value of schema %s" % number)
        return value, number


def client(args):
    return Consumer(
        {
            "bootstrap.servers": args.brokers,
            "group.id": "wal2kafka-test-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )


def partitions_of(consumer, topics, required):
    listed = consumer.list_topics(timeout=20).topics
    for topic in topics:
        if topic in listed:
            for partition in sorted(listed[topic].partitions):
                yield topic, partition
        elif required:
            sys.exit("consume.py: there is no topic %s" % topic)


def read_raw(args, topics, for_ever=False):
    """Records of the topics: partition by partition in order of offsets"""
    consumer = client(args)
    ends = {}
    for topic, partition in partitions_of(consumer, topics, not args.missing_ok):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
        if high > low or for_ever:
            ends[topic, partition] = high
    if ends:
        consumer.assign([TopicPartition(t, p, OFFSET_BEGINNING) for t, p in ends])
    quiet_since = time.monotonic()
    while ends:
        for record in consumer.consume(1000, 0.2):
            if record.error():
                raise KafkaException(record.error())
            quiet_since = time.monotonic()
            place = record.topic(), record.partition()
            if for_ever or place in ends:
                yield record
            if not for_ever and place in ends and record.offset() + 1 >= ends[place]:
                del ends[place]
        # what the log holds after the last record may be a transaction's marker
        for place in [] if for_ever else list(ends):
            at = consumer.position([TopicPartition(*place)])[0].offset
            if at >= ends[place]:
                del ends[place]
        if not for_ever and time.monotonic() - quiet_since > 30:
            sys.exit("consume.py: the broker sends nothing, %s not read to the end" % ends)
    consumer.close()


def records(args, schemas, topics, for_ever=False):
    for raw in read_raw(args, topics, for_ever):
        if raw.offset() < args.first:
            continue
        key, key_schema = schemas.decode(raw.key())
        value, value_schema = schemas.decode(raw.value())
        yield {
            "topic": raw.topic(),
            "partition": raw.partition(),
            "offset": raw.offset(),
            "timestamp": raw.timestamp()[1],
            "key": key,
            "value": value,
            "headers": {k: v.decode() if v is not None else None for k, v in raw.headers() or []},
            "key_schema": key_schema,
            "value_schema": value_schema,
            "bytes": len(raw.key() or b"") + len(raw.value() or b""),
        }


def plain(value):
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, (date, datetime, dtime)):
        return value.isoformat()
    return str(value)


def dump(args, schemas):
    for record in records(args, schemas, args.topic, args.mode == "follow"):
        print(json.dumps(record, default=plain), flush=args.mode == "follow")


def count(args, schemas):
    """Records, tombstones, and keys whose last record is no tombstone"""
    events = dict.fromkeys(args.topic, 0)
    tombstones = dict.fromkeys(args.topic, 0)
    live = {topic: set() for topic in args.topic}
    for raw in read_raw(args, args.topic):
        if raw.value() is None:
            tombstones[raw.topic()] += 1
            live[raw.topic()].discard(raw.key())
        else:
            events[raw.topic()] += 1
            live[raw.topic()].add(raw.key())
    for topic in args.topic:
        print(json.dumps({"topic": topic, "events": events[topic],
                          "tombstones": tombstones[topic], "live_keys": len(live[topic])}))


def repeats(args, schemas):
    """{"1": rows that are there once, "2": ...}"""
    pattern = re.compile(args.pattern.encode())
    seen = Counter()
    for raw in read_raw(args, args.topic):
        found = pattern.search(raw.value() or b"")
        seen[found.group() if found else None] += 1
    print(json.dumps(Counter(seen.values())))


def fold_records(stream):
    """The last row of each key; keys that were deleted are absent"""
    rows = {}
    for record in stream:
        key = json.dumps(record["key"], default=plain, sort_keys=True)
        if record["value"] is None or record["value"]["op"] == "d":
            rows.pop(key, None)
        elif record["value"]["op"] == "t":
            rows.clear()
        else:
            rows[key] = record["value"]["after"]
    return rows


def fold(args, schemas):
    rows = fold_records(records(args, schemas, args.topic))
    for key in sorted(rows):
        print(json.dumps(rows[key], default=plain, sort_keys=True))


class Checker:
    """Invariants of the ledger workload (see workload.py)"""

    def __init__(self, journal):
        self.journal = journal
        self.problems = []
        self.seen = defaultdict(int)
        self.last = {}
        self.highest = defaultdict(int)
        self.place = {}
        self.versions = {}
        self.repeats = 0
        self.events = 0
        self.txid_open = None

    def problem(self, text):
        if len(self.problems) < 20:
            self.problems.append(text)
        elif len(self.problems) == 20:
            self.problems.append("... and more")

    def record(self, record):
        self.events += 1
        key = record["key"]["id"]
        if self.place.setdefault(key, record["partition"]) != record["partition"]:
            self.problem("key %s is on partitions %d and %d"
                         % (key, self.place[key], record["partition"]))
        value = record["value"]
        if value is None or value["op"] == "d":
            return
        row = value["after"]
        if row["id"] != key:
            self.problem("record of key %s has a row of key %s" % (key, row["id"]))
        self.seen[row["uid"]] += 1
        self.order(key, row["version"], row["uid"], record["offset"])

    def order(self, key, version, uid, offset):
        """Versions go up one by one; a re-run may start again further back"""
        last = self.last.get(key)
        if (last is None and version != 1) or (last is not None and version > last + 1):
            self.problem("key %s jumps from version %s to %d at offset %d"
                         % (key, last, version, offset))
        if last is not None and version <= last:
            self.repeats += 1
        if self.versions.setdefault((key, version), uid) != uid:
            self.problem("key %s has two events of version %d" % (key, version))
        self.last[key] = version
        self.highest[key] = max(self.highest[key], version)

    def finish(self):
        for key, last in self.last.items():
            if last != self.highest[key]:
                self.problem("key %s ends with version %d after %d" % (key, last, self.highest[key]))
        for uid in self.journal["ok"]:
            if uid not in self.seen:
                self.problem("committed change %d is missing" % uid)
        for uid in self.journal["failed"]:
            if uid in self.seen:
                self.problem("rolled-back change %d was sent" % uid)
        known = set(self.journal["ok"]) | set(self.journal["unknown"])
        for uid in self.seen:
            if uid not in known and uid not in self.journal["failed_set"]:
                self.problem("change %d was never made" % uid)


def check(args, schemas):
    with open(args.journal) as source:
        journal = json.load(source)
    journal["failed_set"] = set(journal["failed"])
    checker = Checker(journal)
    stream = []
    for record in records(args, schemas, args.topic):
        checker.record(record)
        if args.table:
            stream.append(record)
    checker.finish()
    if args.table:
        with open(args.table) as source:
            want = sorted(json.dumps(json.loads(line), sort_keys=True) for line in source)
        got = sorted(json.dumps(row, default=plain, sort_keys=True)
                     for row in fold_records(stream).values())
        for row in set(want) - set(got):
            checker.problem("row of the table that the topic does not give: %s" % row)
        for row in set(got) - set(want):
            checker.problem("row of the topic that the table does not have: %s" % row)
    print(json.dumps({
        "events": checker.events,
        "committed": len(journal["ok"]),
        "rolled_back": len(journal["failed"]),
        "unknown": len(journal["unknown"]),
        "keys": len(checker.last),
        "repeats": checker.repeats,
        "problems": checker.problems,
    }))
    return 1 if checker.problems else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["dump", "follow", "fold", "check", "count", "repeats"])
    parser.add_argument("topic", nargs="+")
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--registry", default="")
    parser.add_argument("--registry-user", default="", help="user:password")
    parser.add_argument("--schemas-topic", default="")
    parser.add_argument("--journal", help="what workload.py wrote")
    parser.add_argument("--table", help="final rows, a JSON object a line")
    parser.add_argument("--pattern", help="regular expression of bytes")
    parser.add_argument("--from", dest="first", type=int, default=0,
                        help="decode from this offset on")
    parser.add_argument("--missing-ok", action="store_true",
                        help="a topic that does not exist is an empty one")
    args = parser.parse_args()
    schemas = Schemas(args)
    modes = {"dump": dump, "follow": dump, "fold": fold, "check": check, "count": count,
             "repeats": repeats}
    return modes[args.mode](args, schemas)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        pass
