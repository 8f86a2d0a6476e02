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

from recording import RECORDINGS, Recording
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

    def allows(self, kind, recording, where, field):
        where = where.replace(" ", "_")
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


class Comparison:
    """Of one recording."""

    def __init__(self, recording, deviations):
        self.name = recording.name
        self.deviations = deviations
        self.compared = set()	# pairs of schemas

    def allows(self, kind, where, field):
        return self.deviations.allows(kind, self.name, where, field)

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
                if not event.topic.endswith((".transaction", ".message")):
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


def aligned(mine, other, ours, theirs):
    """Pairs of indexes, where one side has more."""
    found = []
    matcher = SequenceMatcher(None, [ours[i].kind() for i in mine],
                              [theirs[i].kind() for i in other], autojunk=False)
    for _, a1, a2, b1, b2 in matcher.get_opcodes():
        found += zip(mine[a1:a2], other[b1:b2])
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
    elif ours != theirs or type(ours) is not type(theirs):
        yield path


def at_path(value, path):
    names = path.split(".")
    while names and isinstance(value, dict):
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


# What a line of format=connect says beside key and value
CONNECT_LINE = re.compile(
    r'\{"topic":"(?P<topic>(?:[^"\\]|\\.)*)"(?:,"partition":(?P<partition>\d+))?'
    r'(?:,"timestamp":(?P<timestamp>-?\d+))?,"key":(?P<rest>.*)\}$', re.S)


def compare_json(comparison, lines, pairs, theirs, suffix):
    for number, (mine, other) in enumerate(pairs, 1):
        event = theirs[other]
        what = "%s: JSON of event %d, %s" % (comparison.name, number, event.topic)
        found = CONNECT_LINE.match(lines[mine])
        if not found:
            check(False, what, lines[mine])
            continue
        check((found["partition"], found["timestamp"]) ==
              tuple(None if n is None else str(n) for n in (event.partition, event.timestamp)) or
              comparison.allows("record", event.topic, "partition"),
              what + ": partition and timestamp",
              lines[mine][:200] + " Debezium %r %r" % (event.partition, event.timestamp))
        if not event.json:
            continue
        expected = '%s,"value":%s,"headers":' % tuple(
            stable(event.json[name + suffix]).replace("<null>", "null")
            for name in ("key", "value"))
        ok = stable(found["rest"]).startswith(expected)
        check(ok or comparison.allows("json", event.topic, event.kind().split()[0]),
              what + suffix, "" if ok else
              "%s Debezium %s" % first_difference(stable(found["rest"]), expected))


def first_difference(a, b):
    at = len(os.path.commonprefix((a, b)))
    return a[max(at - 60, 0):at + 90], b[max(at - 60, 0):at + 90]


# ----------
# Running
# ----------

def compare_recording(recording, workload, before, deviations):
    comparison = Comparison(recording, deviations)
    options = options_of(recording.properties)
    lines, errors = workload.read("changes", options)
    after = [event_of_frame(line) for line in lines]
    for error in errors:
        table = re.search(r'table "([^"]+)"', error)
        check(recording.stopped or
              comparison.allows("stops", table[1] if table else "-", "-"),
              recording.name + ": decoding goes on", error)

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
            lines, _ = workload.read("changes", {
                **options, **json_options_of(recording.properties, schemas)}, "connect")
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
            check(not errors or recording.stopped, recording.name + ": rows are decoded",
                  " ".join(errors))
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
