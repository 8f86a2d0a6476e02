#!/usr/bin/env python3
"""
golden.py [RECORDING...]

Runs the workload of each recording through the output plugin, and compares
what comes with what Debezium wrote: schema texts, keys, values and headers, in
order.  A recording is NAME.properties (Debezium's configuration), its SQL and
NAME.out in the folder recordings/; "record" made it.  PGHOST and PGUSER say
where the server is; each recording has a database of its own.

Rows that setup.sql made came to Debezium by its snapshot, and come to us as
inserts: of those the rows and the schemas count.  Whatever change.sql did is
compared record by record.

A difference must be listed in deviations.txt, and what is listed there must
differ; see there for its form.  The last line is "N passed, N failed".
"""

import decimal
import fnmatch
import json
import os
import re
import subprocess
import sys

from avro_reader import Reader, as_decode, latin1

HERE = os.path.dirname(os.path.abspath(__file__))
RECORDINGS = os.path.join(HERE, "recordings")

passed = failed = 0


def check(ok, what, detail=""):
    global passed, failed
    if ok:
        passed += 1
        print("ok", what)
    else:
        failed += 1
        print("FAILED", what, detail[:900])


# ----------
# Debezium's configuration as options of ours
# ----------

# What says where to read, and when, but nothing about records
NOT_ABOUT_RECORDS = (
    "x.*", "name", "connector.class", "database.*", "plugin.name", "slot.*",
    "publication.name", "publication.autocreate.mode", "snapshot.mode", "poll.*",
    "heartbeat.*", "transforms", "transforms.*.type", "transforms.*.predicate",
    "transforms.*.drop.fields.*", "transforms.*.table.field.event.type",
    "transforms.*.negate", "predicates", "predicates.*", "max.*",
)

# Transforms: what turns them on, and what their options' names begin with
TRANSFORMS = {
    "ExtractNewRecordState": ({"envelope": "flat"}, ""),
    "outbox.EventRouter": ({"outbox_tables": ".*outbox.*"}, "outbox_"),
    "ByLogicalTableRouter": ({}, ""),
    "PartitionRouting": ({}, ""),
    "TimescaleDb": ({"timescaledb": "on"}, "timescaledb_"),
    "RegexRouter": ({}, "topic_router_"),
}


class NotOurs(Exception):
    """The recording is of something that wal2kafka does not have."""


def read_properties(path):
    properties = {}
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if line and line[0] not in "#!":
            name, value = line.split("=", 1)
            properties[name.strip()] = value.strip().replace("\\\\", "\\")
    return properties


def quoted_entry(name, value):
    return "%s='%s'" % (name, value.replace("'", "''"))


def transform_options(properties, options):
    for alias in filter(None, re.split(r"[,\s]+", properties.get("transforms", ""))):
        kind = properties["transforms.%s.type" % alias].split("io.debezium.transforms.")[-1]
        kind = kind.split(".")[-1] if kind not in TRANSFORMS else kind
        for name, (always, _) in TRANSFORMS.items():
            if name.split(".")[-1] == kind.split(".")[-1]:
                options.update(always)
                break
        else:
            raise NotOurs("transform " + kind)


def option_of_transform(name, properties):
    _, alias, rest = name.split(".", 2)
    kind = properties["transforms.%s.type" % alias].split(".")[-1]
    for known, (_, prefix) in TRANSFORMS.items():
        if known.split(".")[-1] == kind:
            return prefix + rest.replace(".", "_").replace("-", "_")
    raise NotOurs("transform " + kind)


def options_of(properties):
    # What Debezium has as defaults, and we have not
    options = {
        "topic_prefix": "srv",
        "publication_name": "golden",
        "include_unknown_datatypes": "off",
        "extended_headers_enabled": "on",
        "replace_null_with_default": "on",
    }
    transforms = []
    transform_options(properties, options)
    for name, value in properties.items():
        if any(fnmatch.fnmatchcase(name, p) for p in NOT_ABOUT_RECORDS):
            continue
        if re.match(r"column\.(mask|truncate)\.", name):
            transforms.append(quoted_entry(name[len("column."):], value))
        elif name.endswith(".table.field.additional.missing"):
            options["outbox_table_fields_additional_error_on_missing"] = \
                "on" if value == "error" else "off"
        elif name.startswith("transforms."):
            options[option_of_transform(name, properties)] = value
        else:
            options[name.replace(".", "_")] = value
    if transforms:
        options["column_transforms"] = "; ".join(transforms)
    if properties.get("x.avro.ignore.default.for.nullables") == "true":
        options["replace_null_with_default"] = "off"
    return options


# ----------
# Events
# ----------

class Event:
    def __init__(self, topic):
        self.topic = topic
        self.headers = []
        self.key = self.value = None
        self.schemas = {}
        self.libavro_agrees = True
        self.streamed = True	# Debezium's: not a row of its snapshot

    def row(self):
        """What of a snapshot's record is the row."""
        if isinstance(self.value, dict):
            if "after" in self.value:
                return self.value["after"]
            return {k: v for k, v in self.value.items() if not k.startswith("__")}
        return self.value


def part(data, at):
    length = int.from_bytes(data[at:at + 4], "big", signed=True)
    at += 4
    if length < 0:
        return None, at
    return data[at:at + length], at + length


def our_event(line):
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
    count = frame[at]
    at += 1
    for _ in range(count):
        name, at = part(frame, at)
        value, at = part(frame, at)
        event.headers.append((name.decode(), None if value is None else value.decode()))
    read = json.loads(decoded, parse_float=decimal.Decimal)
    event.libavro_agrees = same_numbers(read["key"], libavro["key"]) and \
        same_numbers(read["value"], libavro["value"])
    return event


def same_numbers(a, b):
    """Equal, where numbers may be floats on one side."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same_numbers(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_numbers, a, b))
    if isinstance(b, float) and isinstance(a, (int, decimal.Decimal)):
        return float(a) == b
    return a == b


def datum_of(line):
    """The value of a line "key S1 len=4 ..."."""
    if line.endswith("value=null"):
        return None
    text = re.match(r"\s+\w+ S\d+ len=\d+ (.*)", line, re.S)[1]
    try:
        return json.loads(text)
    except ValueError:
        return text				# a bare string or number


def debezium_events(path):
    """(events, schema texts by subject) up to an error of Debezium's."""
    events, schemas = [], {}
    event = None
    texts = {}
    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith("### topic="):
            event = Event(re.match(r"### topic=(\S+)", line)[1])
            events.append(event)
        elif line.startswith("### ERROR"):
            break
        elif line.startswith("###"):
            event = Event("dropped")
        elif event is None:
            continue
        elif line.startswith("  offset="):
            event.streamed = "snapshot=INITIAL" not in line
        elif line.startswith("  NEW S"):
            _, name, subject, text = line.strip().split(" ", 3)
            subject = subject[len("subject="):]
            texts[name] = text
            schemas.setdefault(subject, []).append(text)
        elif line.startswith("  header-bytes "):
            name, _, value = line[15:].split(" ", 2)
            event.headers[-1] = (name, None if value == "<null>" else value)
        elif line.startswith("  header "):
            name, _, value = line[9:].split(" ", 2)
            event.headers.append((name, value[len("value="):]))
        elif line.startswith("  key "):
            event.key = datum_of(line)
        elif line.startswith("  value "):
            event.value = datum_of(line)
    return [e for e in events if "heartbeat" not in e.topic], schemas


# ----------
# Deviations
# ----------

class Deviations:
    def __init__(self, path):
        self.rules = []
        for line in open(path, encoding="utf-8"):
            line = line.split("#")[0].split()
            if line:
                self.rules.append((tuple(line), [0]))

    def allows(self, kind, recording, where, field):
        for rule, uses in self.rules:
            if rule[0] == kind and fnmatch.fnmatchcase(recording, rule[1]) and \
                    fnmatch.fnmatchcase(where, rule[2]) and \
                    fnmatch.fnmatchcase(field, rule[3]):
                uses[0] += 1
                return True
        return False

    def check_all_used(self):
        for rule, uses in self.rules:
            check(uses[0] > 0, "deviation exists: " + " ".join(rule))


# ----------
# Comparing
# ----------

def fields_of(schema):
    """The list of fields that a key or row has, inside of a schema."""
    if not isinstance(schema, dict) or "fields" not in schema:
        return []
    before = [f for f in schema["fields"] if f["name"] == "before"]
    return before[0]["type"][1]["fields"] if before else schema["fields"]


def compare_schema(recording, subject, ours, texts, deviations):
    what = "%s: schema of %s" % (recording, subject)
    if ours in texts:
        check(True, what + ": the same text")
        return

    # With listed deviations taken over, one of the texts must be the same.
    closest = ""
    for text in texts:
        mine, theirs = json.loads(ours), json.loads(text)
        known = {f["name"]: f for f in fields_of(theirs)}
        patched = []
        for field in fields_of(mine):
            other = known.pop(field["name"], None)
            if json.dumps(field) != json.dumps(other):
                if deviations.allows("schema", recording, subject, field["name"]):
                    field = other
                else:
                    closest += "%s, Debezium %s; " % (json.dumps(field), json.dumps(other))
            if field is not None:
                patched.append(field)
        for name, field in known.items():
            if not deviations.allows("schema", recording, subject, name):
                closest += "no %s; " % name
            patched.append(field)
        if [f["name"] for f in patched] != [f["name"] for f in fields_of(theirs)]:
            patched.sort(key=lambda f: [g["name"] for g in fields_of(theirs)].index(f["name"])
                         if f["name"] in [g["name"] for g in fields_of(theirs)] else 999)
        if fields_of(mine):
            fields_of(mine)[:] = patched
        if json.dumps(mine) == json.dumps(theirs):
            check(True, what + ": the same but for deviations")
            return
    check(False, what, closest or ours + " Debezium " + " or ".join(texts))


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


def compare_parts(recording, what, topic, mine, other, deviations):
    wrong = [
        "%s: %r, Debezium %r" % (d, at_path(mine, d), at_path(other, d))
        for d in differences(mine, other)
        if not deviations.allows("record", recording, topic, d)
    ]
    check(not wrong, what, "; ".join(wrong))


def compare_headers(recording, what, ours, theirs, deviations):
    names = [n for n, _ in ours.headers], [n for n, _ in theirs.headers]
    check(names[0] == names[1] or deviations.allows("header", recording, theirs.topic, "names"),
          what + ": names of headers", "%r, Debezium %r" % names)
    compare_parts(recording, what + ": headers", theirs.topic,
                  {"header": dict(ours.headers)}, {"header": dict(theirs.headers)}, deviations)


def compare_event(recording, number, ours, theirs, deviations):
    what = "%s: event %d, %s" % (recording, number, theirs.topic)
    check(ours.topic == theirs.topic or
          deviations.allows("record", recording, theirs.topic, "topic"), what + ": topic",
          ours.topic)
    check(ours.libavro_agrees, what + ": as libavro reads it")
    compare_headers(recording, what, ours, theirs, deviations)
    for name in ("key", "value"):
        compare_parts(recording, what + ": " + name, theirs.topic,
                      {name: getattr(ours, name)}, {name: getattr(theirs, name)}, deviations)


def compare_rows(recording, ours, theirs, deviations):
    """Rows of a snapshot with rows that were inserted: any order."""
    def place(event):
        return event.topic + " " + json.dumps(event.key if event.key is not None else event.row())
    known = {}
    for event in ours:
        known.setdefault(place(event), []).append(event)
    for other in theirs:
        what = "%s: row of %s" % (recording, place(other))
        if not known.get(place(other)):
            check(deviations.allows("rows", recording, other.topic, "missing"), what + " is there")
            continue
        mine = known[place(other)].pop(0)
        check(mine.libavro_agrees, what + ": as libavro reads it")
        compare_parts(recording, what, other.topic, {"value": {"after": mine.row()}},
                      {"value": {"after": other.row()}}, deviations)
    for what, left in known.items():
        for event in left:
            if event.topic.endswith((".transaction", ".message")):
                continue		# Debezium's snapshot has no transactions
            check(deviations.allows("rows", recording, event.topic, "more"),
                  "%s: row of %s is Debezium's too" % (recording, what))


# ----------
# Running
# ----------

def psql(database, *arguments, **keywords):
    command = ["psql", "-X", "-q", "-A", "-t", "-d", database] + list(arguments)
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding="utf-8", check=False, **keywords)


def must(result, what):
    if result.returncode != 0:
        raise RuntimeError("%s: %s" % (what, result.stdout))
    return result.stdout


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def read_slot(options):
    arguments = "".join(", %s, %s" % (literal(n), literal(v)) for n, v in options.items())
    query = """SELECT encode(data, 'hex') || ' ' || wal2kafka.decode(data)
        FROM pg_logical_slot_get_binary_changes('golden', NULL, NULL, 'format', 'avro'%s)
        """ % arguments
    out = must(psql("postgres", "-c", "SET client_min_messages = error", "-c", query),
               "decoding")
    return [our_event(line) for line in out.split("\n") if " " in line]


def run_recording(name, properties, options):
    """Our events: those of setup.sql, and those of change.sql."""
    base = properties.get("x.sql", name)
    setup = os.path.join(RECORDINGS, base + ".setup.sql")
    change = os.path.join(RECORDINGS, base + ".change.sql")
    must(psql("template1", "-c", "DROP DATABASE IF EXISTS postgres WITH (FORCE)"), "database")
    must(psql("template1", "-c", "CREATE DATABASE postgres TEMPLATE template0"), "database")
    try:
        must(psql("postgres", "-c", "CREATE EXTENSION wal2kafka"), "extension")
        must(psql("postgres", "-c", "CREATE PUBLICATION golden FOR ALL TABLES"), "publication")
        must(psql("postgres", "-c", "SELECT FROM pg_create_logical_replication_slot('golden',"
                  " 'wal2kafka')"), "slot")
        if os.path.exists(setup):
            must(psql("postgres", "-v", "ON_ERROR_STOP=1", "-v", "pk=1", "-f", setup,
                      cwd=RECORDINGS), "setup")
        before = read_slot(options)
        if os.path.exists(change):
            psql("postgres", "-v", "pk=2", "-f", change, cwd=RECORDINGS)
        return before, read_slot(options)
    finally:
        psql("postgres", "-c", "SELECT pg_drop_replication_slot('golden')")


def snapshot_length(events, properties):
    """How many of Debezium's events are its snapshot's."""
    if properties.get("snapshot.mode") in ("no_data", "never"):
        return 0
    count = 0
    while count < len(events) and not events[count].streamed:
        count += 1
    return count


def compare_recording(name, deviations):
    properties = read_properties(os.path.join(RECORDINGS, name + ".properties"))
    theirs, schemas = debezium_events(os.path.join(RECORDINGS, name + ".out"))
    stopped = any(line.startswith("### ERROR") for line in
                  open(os.path.join(RECORDINGS, name + ".out"), encoding="utf-8"))
    try:
        before, after = run_recording(name, properties, options_of(properties))
    except RuntimeError as problem:
        if not stopped:
            raise
        check("decoding" in str(problem), name + ": stops, as Debezium did")
        return

    seen = set()
    for event in before + after:
        for part_name, text in event.schemas.items():
            subject = event.topic + "-" + part_name
            if (subject, text) not in seen:
                seen.add((subject, text))
                if subject in schemas:
                    compare_schema(name, subject, text, schemas[subject], deviations)

    length = snapshot_length(theirs, properties)
    if length > 0:
        compare_rows(name, before, theirs[:length], deviations)
    theirs = theirs[length:]
    if stopped:
        after = after[:len(theirs)]
    check(len(after) == len(theirs), name + ": number of events",
          "%d, Debezium %d" % (len(after), len(theirs)))
    for number, pair in enumerate(zip(after, theirs), 1):
        compare_event(name, number, *pair, deviations)


def main():
    decimal.getcontext().prec = 2000
    everything = sorted(f[:-len(".properties")] for f in os.listdir(RECORDINGS)
                        if f.endswith(".properties"))
    deviations = Deviations(os.path.join(HERE, "deviations.txt"))
    chosen = sys.argv[1:] or everything
    for name in chosen:
        try:
            compare_recording(name, deviations)
        except NotOurs as reason:
            print("# %s: %s" % (name, reason))
        except (RuntimeError, ValueError, KeyError) as problem:
            check(False, name, repr(problem))
    if not sys.argv[1:]:
        deviations.check_all_used()
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
