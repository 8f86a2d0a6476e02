#!/usr/bin/env python3
"""
golden.py [RECORDING...]

Runs the workload of each recording through the output plugin, and compares
what comes with what Debezium wrote: schema texts, keys, values and headers, in
order.  A recording is NAME.properties (Debezium's configuration), its SQL and
NAME.out in the folder recordings/; "record" made it.  PGHOST and PGUSER say
where the server is.

Rows that setup.sql made came to Debezium by its snapshot, and come to us as
inserts: of those the rows and the schemas count.  Whatever change.sql did is
compared record by record; where there is JSON, the bytes are.

A difference must be listed in deviations.txt, and what is listed there must
differ; see there for its form.  The last line is "N passed, N failed".
"""

import decimal
import fnmatch
import json
import os
import re
import sys
from difflib import SequenceMatcher

from recording import RECORDINGS, Event, Recording
from workload import NotOurs, Session, Workload, event_of_frame, json_options_of, options_of

HERE = os.path.dirname(os.path.abspath(__file__))

passed = failed = 0


def check(ok, what, detail=""):
    global passed, failed
    if ok:
        passed += 1
        print("ok", what)
    else:
        failed += 1
        print("FAILED", what, detail[:1500])


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

    def allows(self, kind, recording, where, field, key):
        asked = (recording, where.replace(" ", "_"), field, key)
        for rule, uses in self.rules:
            if rule[0] == kind and all(map(fnmatch.fnmatchcase, asked, rule[1:])):
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


class Comparison:
    """Of one recording."""

    def __init__(self, recording, deviations):
        self.name = recording.name
        self.deviations = deviations
        self.compared = set()	# pairs of schemas
        self.key = ""			# of the record

    def allows(self, kind, where, field):
        return self.deviations.allows(kind, self.name, where, field, self.key)

    def at(self, event):
        """The next record's turn."""
        self.key = json.dumps(event.key, separators=(",", ":"))

    def errors(self, errors, allowed):
        """Changes that could not be decoded."""
        for error in errors:
            table = re.search(r'table "([^"]+)"', error)
            check(allowed or self.allows("stops", table[1] if table else "-", "-"),
                  self.name + ": decoding goes on", error)

    def schema(self, subject, ours, theirs):
        """One of their schemas must be ours."""
        if (subject, ours, theirs) in self.compared:
            return
        self.compared.add((subject, ours, theirs))
        what = "%s: schema of %s" % (self.name, subject)
        if ours in theirs:
            check(True, what + ": the same text")
            return
        problem = ""
        for text in theirs:
            problem = self.schema_but_for_deviations(subject, json.loads(ours), json.loads(text))
            if problem is None:
                check(True, what + ": the same but for deviations")
                return
        check(False, what, problem or ours + " Debezium " + " or ".join(theirs))

    def schema_but_for_deviations(self, subject, mine, theirs):
        """What differs; None: nothing once listed deviations are taken over."""
        problem = ""
        other_fields = {f["name"]: f for f in fields_of(theirs)}
        patched = {}
        for field in fields_of(mine):
            other = other_fields.get(field["name"])
            if json.dumps(field) != json.dumps(other):
                if self.allows("schema", subject, field["name"]):
                    field = other
                else:
                    problem += "%s, Debezium %s; " % (json.dumps(field), json.dumps(other))
            if field is not None:
                patched[field["name"]] = field
        for name, field in other_fields.items():
            if name not in patched:
                if not self.allows("schema", subject, name):
                    problem += "no %s; " % name
                patched[name] = field
        if [n for n in patched if n in other_fields] != list(other_fields) and \
                self.allows("schema", subject, "order"):
            patched = {n: patched[n] for n in other_fields}
        if fields_of(mine):
            fields_of(mine)[:] = patched.values()
        if json.dumps(mine) != json.dumps(theirs) and \
                not (json.dumps(without_names(mine)) == json.dumps(without_names(theirs)) and
                     self.allows("schema", subject, "names")):
            return problem or "%s Debezium %s" % (json.dumps(mine), json.dumps(theirs))
        return None

    def parts(self, what, topic, mine, other):
        wrong = []
        for path in differences(mine, other):
            a, b = at_path(mine, path), at_path(other, path)
            if type(a) is type(b) and self.allows("volatile", topic, path) or \
                    self.allows("record", topic, path):
                continue
            wrong.append("%s: %r, Debezium %r" % (path, a, b))
        check(not wrong, what, "; ".join(wrong))

    def event(self, number, ours, theirs):
        self.at(theirs)
        what = "%s: event %d, %s" % (self.name, number, theirs.topic)
        check(ours.libavro_agrees, what + ": as libavro reads it")
        names = [n for n, _ in ours.headers], [n for n, _ in theirs.headers]
        check(names[0] == names[1] or self.allows("header", theirs.topic, "names"),
              what + ": names of headers", "%r, Debezium %r" % names)
        self.parts(what + ": headers", theirs.topic,
                   {"header": dict(ours.headers)}, {"header": dict(theirs.headers)})
        for name in ("key", "value"):
            if name in ours.schemas and name in theirs.schemas:
                self.schema(theirs.topic + "-" + name, ours.schemas[name],
                            (theirs.schemas[name],))
            self.parts(what + ": " + name, theirs.topic,
                       {name: getattr(ours, name)}, {name: getattr(theirs, name)})

    def rows(self, ours, theirs):
        """Rows of a snapshot with rows that were inserted: any order."""
        def place(event):
            return event.topic + " " + json.dumps(
                event.key if event.key is not None else event.row())
        known, schemas = {}, {}
        for event in ours:
            known.setdefault(place(event), []).append(event)
        for other in theirs:
            for name, text in other.schemas.items():
                schemas.setdefault(other.topic + "-" + name, []).append(text)
        for other in theirs:
            self.at(other)
            what = "%s: row of %s" % (self.name, place(other))
            if not known.get(place(other)):
                check(self.allows("rows", other.topic, "missing"), what + " is there")
                continue
            mine = known[place(other)].pop(0)
            check(mine.libavro_agrees, what + ": as libavro reads it")
            for name in mine.schemas:
                if name in other.schemas:
                    subject = other.topic + "-" + name
                    self.schema(subject, mine.schemas[name], tuple(schemas[subject]))
            self.parts(what, other.topic, {"value": {"after": mine.row()}},
                       {"value": {"after": other.row()}})
        for what, left in known.items():
            for event in left:
                # Debezium's snapshot has no transactions
                if not isinstance(event.value, dict) or "status" not in event.value:
                    check(self.allows("rows", event.topic, "more"),
                          "%s: row of %s is Debezium's too" % (self.name, what))

    def pairs(self, ours, theirs, stopped):
        """
        Our events and Debezium's that belong together: topic by topic.  What
        one side alone has must be listed, with its number.
        """
        found = []
        topics = dict.fromkeys(e.topic for e in theirs + ours)
        for topic in topics:
            mine = [i for i, e in enumerate(ours) if e.topic == topic]
            other = [i for i, e in enumerate(theirs) if e.topic == topic]
            if stopped:
                mine = mine[:len(other)]
            matched = list(zip(mine, other)) if len(mine) == len(other) else \
                aligned(mine, other, ours, theirs)
            found += matched
            for kind, count in (("extra", len(mine) - len(matched)),
                                ("missing", len(other) - len(matched))):
                check(count == 0 or self.allows(kind, topic, str(count)),
                      "%s: %s events on %s" % (self.name, kind, topic),
                      "%d: %s; Debezium %s" % (
                          count, [ours[i].kind() for i in mine],
                          [theirs[i].kind() for i in other]))
        found.sort(key=lambda pair: pair[1])
        check([m for m, _ in found] == sorted(m for m, _ in found) or
              self.allows("order", "*", "*"), self.name + ": order of events",
              repr([m for m, _ in found]))
        return found


def aligned(mine, other, ours, theirs, by_key=True):
    """
    Pairs of indexes, where one side has more: what happened to one key, then
    between those what happened at all.
    """
    found = []
    kinds = [[e[i].kind() if by_key else e[i].kind().split()[0] for i in indexes]
             for e, indexes in ((ours, mine), (theirs, other))]
    for tag, a1, a2, b1, b2 in SequenceMatcher(None, *kinds, autojunk=False).get_opcodes():
        if tag == "equal":
            found += zip(mine[a1:a2], other[b1:b2])
        elif tag == "replace" and by_key:
            # the last one of a kind is ours: what Debezium has more is before it
            found += aligned(mine[a1:a2][::-1], other[b1:b2][::-1], ours, theirs, False)
    return found


def without_names(schema):
    """A schema, but for what comes from topics' names."""
    if isinstance(schema, dict):
        return {k: without_names(v) for k, v in schema.items()
                if k != "namespace" and not (k == "connect.name" and schema["type"] == "record")}
    if isinstance(schema, list):
        return [without_names(v) for v in schema]
    return schema


def differences(ours, theirs, path=""):
    """Paths at which two values differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in list(ours) + [n for n in theirs if n not in ours]:
            here = path + "." + name if path else name
            if name not in ours or name not in theirs:
                # a field that only one side has is no difference when null:
                # the schemas are compared as well
                if ours.get(name) is not None or theirs.get(name) is not None:
                    yield here
            else:
                yield from differences(ours[name], theirs[name], here)
    elif of_records(ours) and of_records(theirs) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs)):
            yield from differences(*pair, "%s.%d" % (path, number))
    elif ours != theirs or type(ours) is not type(theirs):
        yield path


def of_records(value):
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def at_path(value, path):
    names = path.split(".")
    while names and isinstance(value, (dict, list)):
        if isinstance(value, list):
            value = value[int(names.pop(0))]
            continue
        for count in range(len(names), 0, -1):		# names of headers have dots
            if ".".join(names[:count]) in value:
                value = value[".".join(names[:count])]
                names = names[count:]
                break
        else:
            return None
    return value


# ----------
# JSON
# ----------

VOLATILE_JSON = (
    (r'"(ts_ms|ts_us|ts_ns|lsn|txId|__lsn|__ts_ms)":\d+', r'"\1":0'),
    (r'"version":"[^"]*","connector"', r'"version":"","connector"'),
    (r'"sequence":"\[(null|\\"\d+\\"),\\"\d+\\"\]"', '"sequence":""'),
    (r'"id":"\d+:\d+"', '"id":""'),
)


def stable(text):
    for pattern, instead in VOLATILE_JSON:
        text = re.sub(pattern, instead, text)
    return text


# A line of format=connect
CONNECT_LINE = re.compile(
    r'\{"topic":"(?:[^"\\]|\\.)*","key":(?P<rest>.*\})'
    r'(?:,"partition":(?P<partition>\d+))?(?:,"timestamp":(?P<timestamp>-?\d+))?\}$', re.S)


class Digits(str):
    """A number as it is written."""


class JsonComparison:
    """Of one record: the bytes, but for deviations."""

    def __init__(self, comparison, event, ours):
        self.comparison = comparison
        self.topic = event.topic
        self.problem = ""
        self.same = True		# but for the bytes
        read = json.JSONDecoder(parse_float=Digits, parse_int=Digits)
        self.key, at = read.raw_decode(ours)
        if not ours.startswith(',"value":', at):
            raise ValueError("no value: " + ours[at:at + 90])
        self.value, _ = read.raw_decode(ours, at + len(',"value":'))
        for name in ("key", "value"):
            self.part(name, getattr(self, name),
                      read.decode(event.json[name]))
        if self.same:
            self.problem = "other bytes: " + ours

    def part(self, name, mine, other):
        if all(isinstance(x, dict) and list(x) == ["schema", "payload"] for x in (mine, other)):
            self.schema(name, "", mine["schema"], other["schema"])
            mine, other = mine["payload"], other["payload"]
        for path in differences({name: mine}, {name: other}):
            a, b = at_path({name: mine}, path), at_path({name: other}, path)
            self.same = False
            if not (type(a) is type(b) and self.comparison.allows("volatile", self.topic, path) or
                    self.comparison.allows("record", self.topic, path) or
                    self.comparison.allows("json", self.topic, path)):
                self.problem += "%s: %r, Debezium %r; " % (path, a, b)
        if not self.problem and not same_order(mine, other) and \
                not self.comparison.allows("json", self.topic, "order"):
            self.problem += "order of fields: %r" % list(paths_in(mine))

    def schema(self, name, field, mine, other):
        """Text of schemas, field by field."""
        if json.dumps(mine) == json.dumps(other):
            return
        self.same = False
        if field and self.comparison.allows("schema", self.topic + "-" + name, field):
            return
        inner = [{f["field"]: f for f in s.get("fields", ())} if isinstance(s, dict) else {}
                 for s in (mine, other)]
        if not (inner[0] and inner[1]) or field not in ("", "before", "after"):
            self.problem += "schema %s: %s Debezium %s; " % (
                field, json.dumps(mine), json.dumps(other))
            return
        for child in list(inner[0]) + [c for c in inner[1] if c not in inner[0]]:
            self.schema(name, child, inner[0].get(child), inner[1].get(child))


def paths_in(value, path=""):
    """Paths to all fields, in order."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield path + "." + name
        yield from paths_in(inner, path + "." + name)


def same_order(ours, theirs):
    """Do fields that both have come in the same order?"""
    paths = list(paths_in(ours)), list(paths_in(theirs))
    both = set(paths[0]) & set(paths[1])
    return [p for p in paths[0] if p in both] == [p for p in paths[1] if p in both]


def compare_json(comparison, lines, pairs, theirs, suffix):
    for place, (mine, other) in enumerate(pairs, 1):
        event = theirs[other]
        comparison.at(event)
        what = "%s: JSON of event %d, %s" % (comparison.name, place, event.topic)
        found = CONNECT_LINE.match(lines[mine])
        if not found:
            check(False, what, lines[mine])
            continue
        for name in ("partition", "timestamp"):
            number = found[name] and int(found[name])
            path = "%s%s%s" % ("tombstone." if event.value is None else "", name,
                               ".none" if number is None else "")
            both = number is not None and getattr(event, name) is not None
            check(number == getattr(event, name) or
                  comparison.allows("volatile" if both and name == "timestamp" else "record",
                                    event.topic, path),
                  "%s: %s" % (what, name), "%r, Debezium %r" % (number, getattr(event, name)))
        if not event.json:
            continue
        event_json = {name: stable(event.json[name + suffix]).replace("<null>", "null")
                      for name in ("key", "value")}
        ours = stable(found["rest"])
        ok = ours.startswith('%s,"value":%s,"headers":' % (event_json["key"], event_json["value"]))
        problem = ""
        if not ok:
            other_event = Event(event.topic)
            other_event.json = event_json
            problem = JsonComparison(comparison, other_event, ours).problem
        check(not problem, what + suffix, problem)


# ----------
# Running
# ----------

def compare_recording(recording, workload, before, deviations):
    comparison = Comparison(recording, deviations)
    options = options_of(recording.properties)
    lines, errors = workload.read("changes", options)
    after = [event_of_frame(line) for line in lines]
    comparison.errors(errors, recording.stopped)

    length = recording.snapshot_length()
    if length > 0:
        comparison.rows(before, recording.events[:length])
    theirs = recording.events[length:]
    pairs = comparison.pairs(after, theirs, recording.stopped)
    for number, (mine, other) in enumerate(pairs, 1):
        comparison.event(number, after[mine], theirs[other])

    converted = any(e.json for e in theirs)
    if converted or any(e.partition is not None or e.timestamp is not None for e in theirs):
        for schemas, suffix in (("on", ""), ("off", "-noschema"))[:2 if converted else 1]:
            lines, errors = workload.read("changes", {
                **options, **json_options_of(recording.properties, schemas)}, "connect")
            check(len(lines) == len(after), recording.name + ": as many events in JSON",
                  " ".join(errors)[:600])
            if len(lines) != len(after):
                break
            compare_json(comparison, lines, pairs, theirs, suffix)


def read_recordings(names):
    """By what can share a database: those that SQL is the same of."""
    groups = {}
    for name in names:
        try:
            recording = Recording(name)
            options_of(recording.properties)
            via_root = recording.properties.get("publish.via.partition.root", "false")
            groups.setdefault((recording.sql, via_root), []).append(recording)
        except NotOurs as reason:
            print("# %s: not compared: %s" % (name, reason))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            check(False, name + ": is a recording", repr(problem))
    return groups


def run_group(session, sql, via_root, recordings, deviations):
    workload = Workload(session, sql, via_root)
    workload.set_up()
    before = {}
    for recording in recordings:
        if recording.snapshot_length() > 0:
            lines, errors = workload.read("rows", options_of(recording.properties))
            Comparison(recording, deviations).errors(errors, recording.stopped)
            before[recording.name] = [event_of_frame(line) for line in lines]
    workload.change()
    for recording in recordings:
        try:
            compare_recording(recording, workload, before.get(recording.name, []), deviations)
        except (RuntimeError, ValueError, KeyError) as problem:
            check(False, recording.name + ": is compared", repr(problem))


def main():
    decimal.getcontext().prec = 2000
    everything = sorted(f[:-len(".properties")] for f in os.listdir(RECORDINGS)
                        if f.endswith(".properties"))
    deviations = Deviations(os.path.join(HERE, "deviations.txt"))
    session = Session()
    for (sql, via_root), recordings in read_recordings(sys.argv[1:] or everything).items():
        try:
            run_group(session, sql, via_root, recordings, deviations)
        except RuntimeError as problem:
            check(False, "workload %s" % sql, repr(problem))
    if not sys.argv[1:]:
        deviations.check_all_used()
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
