#!/usr/bin/env python3
"""
compare.py DEBEZIUM.OUT DEVIATIONS.TXT EVENTS

Compares events of the output plugin (lines of a frame in hex and what
wal2kafka.decode() made of it) with recorded ones of Debezium: schema texts,
keys, values and headers, in order.  Has an Avro decoder of its own.  A
difference must be listed in DEVIATIONS.TXT, and what is listed there must
differ; see there for its form.

The last line is "N passed, N failed".
"""

import decimal
import fnmatch
import json
import math
import re
import struct
import sys

passed = failed = 0


def check(ok, what, detail=""):
    global passed, failed
    if ok:
        passed += 1
        print("ok", what)
    else:
        failed += 1
        print("FAILED", what, detail[:600])


# Avro


def named_types(schema, namespace, names):
    """Add all records of a schema by their full names."""
    if isinstance(schema, list):
        for branch in schema:
            named_types(branch, namespace, names)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            namespace = schema.get("namespace", namespace)
            schema["namespace"] = namespace
            names[namespace + "." + schema["name"]] = schema
            for field in schema["fields"]:
                named_types(field["type"], namespace, names)
        elif schema["type"] == "array":
            named_types(schema["items"], namespace, names)


class Reader:
    """
    Decodes one datum.  Bytes become what "render" makes of them and of their
    schema.
    """

    def __init__(self, schema_text, data, render):
        self.schema = json.loads(schema_text)
        self.names = {}
        named_types(self.schema, "", self.names)
        self.data = data
        self.at = 0
        self.render = render

    def datum(self):
        value = self.value(self.schema, "")
        if self.at != len(self.data):
            raise ValueError("bytes are left over")
        return value

    def raw(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise ValueError("bytes end too early")
        self.at += n
        return self.data[self.at - n:self.at]

    def long(self):
        n = shift = 0
        while True:
            byte = self.raw(1)[0]
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (n >> 1) ^ -(n & 1)

    def blocks(self, item):
        items = []
        count = self.long()
        while count:
            if count < 0:
                count = -count
                self.long()
            items += [item() for _ in range(count)]
            count = self.long()
        return items

    def value(self, schema, namespace):
        if isinstance(schema, list):
            return self.value(schema[self.long()], namespace)
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind == "null":
            return None
        if kind == "boolean":
            return self.raw(1) != b"\0"
        if kind in ("int", "long"):
            return self.long()
        if kind == "float":
            return json_float(float("%.7g" % struct.unpack("<f", self.raw(4))[0]))
        if kind == "double":
            return json_float(struct.unpack("<d", self.raw(8))[0])
        if kind == "bytes":
            return self.render(self.raw(self.long()), schema)
        if kind == "string":
            return self.raw(self.long()).decode()
        if kind == "record":
            return {
                field["name"]: self.value(field["type"], schema["namespace"])
                for field in schema["fields"]
            }
        if kind == "array":
            return self.blocks(lambda: self.value(schema["items"], namespace))
        if kind == "map":
            return dict(self.blocks(lambda: (
                self.raw(self.long()).decode(),
                self.value(schema["values"], namespace))))
        record = self.names[kind if "." in kind else namespace + "." + kind]
        return self.value(record, namespace)


def json_float(number):
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def latin1(data, schema):
    """Bytes as debezium.out shows them."""
    return data.decode("latin1")


def as_decode(data, schema):
    """Bytes as wal2kafka.decode() shows them."""
    if isinstance(schema, dict) and schema.get("logicalType") == "decimal":
        number = decimal.Decimal(int.from_bytes(data, "big", signed=True))
        return number.scaleb(-schema["scale"])
    return "\\x" + data.hex()


# Events


class Event:
    def __init__(self, topic):
        self.topic = topic
        self.headers = {}
        self.key = self.value = None
        self.schemas = {}


def part(data, at):
    length = struct.unpack(">i", data[at:at + 4])[0]
    at += 4
    if length < 0:
        return None, at
    return data[at:at + length], at + length


def our_events(path):
    """Events, and whether libavro read the same as we do."""
    decimal.getcontext().prec = 2000
    for line in open(path, encoding="utf-8"):
        frame, decoded = line.rstrip("\n").split(" ", 1)
        frame = bytes.fromhex(frame)
        if frame[:4] != b"w2k\1":
            raise ValueError("not a frame")
        topic, at = part(frame, 4)
        event = Event(topic.decode())
        libavro = {}
        for name in ("key", "value"):
            schema, at = part(frame, at)
            data, at = part(frame, at)
            if schema is not None:
                event.schemas[name] = schema.decode()
            libavro[name] = None
            if data is not None:
                setattr(event, name, Reader(schema, data, latin1).datum())
                libavro[name] = Reader(schema, data, as_decode).datum()
        for _ in range(frame[at]):
            name, at = part(frame, at if event.headers else at + 1)
            value, at = part(frame, at)
            event.headers[name.decode()] = json.loads(value)
        read = json.loads(decoded, parse_float=decimal.Decimal)
        event.libavro_agrees = same_numbers(read["key"], libavro["key"]) and \
            same_numbers(read["value"], libavro["value"])
        yield event


def same_numbers(a, b):
    """Equal, where numbers may be floats on one side."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same_numbers(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_numbers, a, b))
    if isinstance(b, float) and isinstance(a, (int, decimal.Decimal)):
        return float(a) == b
    return a == b


def struct_text(text):
    """Struct{id=100} of Kafka Connect, for structs of numbers."""
    fields = re.fullmatch(r"Struct\{(.*)\}", text)[1].split(",")
    return {f.split("=")[0]: json.loads(f.split("=")[1]) for f in fields}


def debezium_events(path):
    """Streamed events, and all schema texts by subject."""
    events, schemas = [], {}
    event = None
    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith("### topic="):
            event = Event(line[len("### topic="):])
        elif line.startswith("  NEW "):
            _, subject, text = line[6:].split(" ", 2)
            schemas.setdefault(subject[len("subject="):], []).append(text)
        elif line.startswith("  header "):
            name, _, value = line[9:].split(" ", 2)
            event.headers[name] = struct_text(value[len("value="):])
        elif line.startswith("  key "):
            event.key = None if line.endswith("value=null") else \
                json.loads(line[line.index("{"):])
        elif line.startswith("  value "):
            event.value = None if line.endswith("value=null") else \
                json.loads(line[line.index("{"):])
            events.append(event)
    return events, schemas


# Deviations


class Deviations:
    def __init__(self, path):
        self.rules = []
        for line in open(path, encoding="utf-8"):
            line = line.split("#")[0].split()
            if line:
                self.rules.append((tuple(line), [0]))

    def allows(self, kind, where, field):
        for rule, uses in self.rules:
            if rule[0] == kind and fnmatch.fnmatchcase(where, rule[1]) and \
                    fnmatch.fnmatchcase(field, rule[2]):
                uses[0] += 1
                return True
        return False

    def check_all_used(self):
        for rule, uses in self.rules:
            check(uses[0] > 0, "deviation exists: " + " ".join(rule))


# Comparing


def fields_of(schema):
    """The list of fields that a key or row has, inside of a schema."""
    before = [f for f in schema["fields"] if f["name"] == "before"]
    return before[0]["type"][1]["fields"] if before else schema["fields"]


def compare_schema(subject, ours, texts, deviations):
    if ours in texts:
        check(True, "schema of " + subject + ": the same text")
        return

    # With listed deviations taken over, one of the texts must be the same.
    for text in texts:
        mine, theirs = json.loads(ours), json.loads(text)
        known = {f["name"]: f for f in fields_of(theirs)}
        patched = []
        for field in fields_of(mine):
            other = known.pop(field["name"], None)
            if json.dumps(field) != json.dumps(other) and \
                    deviations.allows("schema", subject, field["name"]):
                other = field
            if other is not None:
                patched.append(other)
        patched += known.values()
        fields_of(theirs)[:] = patched
        if json.dumps(mine) == json.dumps(theirs):
            check(True, "schema of " + subject + ": the same but for deviations")
            return
    check(False, "schema of " + subject, ours)


def differences(ours, theirs, path=""):
    """Paths at which two values differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in list(ours) + [n for n in theirs if n not in ours]:
            here = path + "." + name if path else name
            if name not in ours or name not in theirs:
                # a field that only one side has is no difference when null
                if ours.get(name) is not None or theirs.get(name) is not None:
                    yield here
            else:
                yield from differences(ours[name], theirs[name], here)
    elif ours != theirs or type(ours) is not type(theirs):
        yield path


def at_path(value, path):
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def compare_event(number, ours, theirs, deviations):
    what = "event %d, %s" % (number, theirs.topic)
    check(ours.topic == theirs.topic, what + ": topic", ours.topic)
    check(ours.headers == theirs.headers, what + ": headers", repr(ours.headers))
    check(ours.libavro_agrees, what + ": as libavro reads it")
    for name in ("key", "value"):
        mine, other = {name: getattr(ours, name)}, {name: getattr(theirs, name)}
        wrong = [
            "%s: %r, Debezium %r" % (d, at_path(mine, d), at_path(other, d))
            for d in differences(mine, other)
            if not deviations.allows("record", theirs.topic, d)
        ]
        check(not wrong, what + ": " + name, "; ".join(wrong))


def main():
    theirs, schemas = debezium_events(sys.argv[1])
    deviations = Deviations(sys.argv[2])
    ours = list(our_events(sys.argv[3]))

    seen = set()
    for event in ours:
        for name, text in event.schemas.items():
            subject = event.topic + "-" + name
            if (subject, text) not in seen:
                seen.add((subject, text))
                compare_schema(subject, text, schemas.get(subject, []), deviations)

    check(len(ours) == len(theirs), "number of events",
          "%d, Debezium %d" % (len(ours), len(theirs)))
    for number, pair in enumerate(zip(ours, theirs), 1):
        compare_event(number, *pair, deviations)

    deviations.check_all_used()
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
