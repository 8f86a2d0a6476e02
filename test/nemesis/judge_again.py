#!/usr/bin/python3
#
# judge_again.py
#		The verdict on a run of nemesis.py, from what it left behind.
#
#	judge_again.py FOLDER			what is wrong
#	judge_again.py FOLDER --spoil	do the judges see what is made wrong?
#
# --spoil does to the records and the evidence of a good run what broken
# streams, writers and servers would, one at a time, and fails where no judge
# says what it should.

import argparse
import copy
import json
import os
import pickle
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import oracles


class NothingToSpoil(Exception):
    pass


def value_of(evidence, records):
    """The records as (index, event) where they are changes of table cold or hot
    that were sent once"""
    judges = evidence.reader()
    schemas = evidence.schemas(records)
    found, times = [], {}
    for i, record in enumerate(records):
        if record[0] != evidence.prefix + ".public.cold" or record[5] is None:
            continue
        event = judges.event(record[0], record[1], record[2],
                             schemas.decode(record[5], record[0])[0])
        row = event.after or event.before
        times[row["id"], event.lsn] = times.get((row["id"], event.lsn), 0) + 1
        found.append((i, event))
    return [(i, event) for i, event in found
            if times[(event.after or event.before)["id"], event.lsn] == 1]


def lose(evidence, records, changes):
    i = [i for i, e in changes if e.op == "u"][-1]
    del records[i]
    return {"order", "missing", "wrong row", "transaction"}


def lose_row(evidence, records, changes):
    i = [i for i, e in changes if e.op == "c"][-1]
    del records[i]
    return {"missing", "missing row"}


def lose_delete(evidence, records, changes):
    i = [i for i, e in changes if e.op == "d"][-1]
    del records[i]
    return {"extra row", "kind of event"}


def reorder(evidence, records, changes):
    last = {}
    for i, event in changes:
        key = (event.after or event.before)["id"]
        if key in last and event.op == last[key][1].op == "u" and \
                event.after["v"] != last[key][1].after["v"]:
            a, b = records[last[key][0]], records[i]
            records[i], records[last[key][0]] = b[:1] + a[1:4] + b[4:], a[:1] + b[1:4] + a[4:]
            # places are exchanged, contents are not
            return {"order", "gap in a repetition", "unfinished repetition"}
        last[key] = i, event
    raise NothingToSpoil


def repeat(evidence, records, changes):
    """At the end, an old one: no re-run ends like that"""
    newest = {}
    for _, event in changes:
        newest[(event.after or event.before)["id"]] = event
    i = next(i for i, e in changes if e.op == "u" and newest[e.after["id"]] is not e)
    topic, partition = records[i][:2]
    end = max(r[2] for r in records if r[:2] == (topic, partition))
    records.append((topic, partition, end + 1) + records[i][3:])
    return {"unfinished repetition", "repetition"}


def alter(evidence, records, changes):
    """One character of a value"""
    for i, event in changes:
        note = event.after and event.after.get("note")
        if event.op in "cu" and note and note.startswith("note "):
            value = records[i][5]
            at = value.rindex(note.encode())
            records[i] = records[i][:5] + (value[:at] + b"N" + value[at + 1:],) + records[i][6:]
            return {"sum"}
    raise NothingToSpoil


def invent(evidence, records, changes):
    tx = next(e.after["uid"] // 10000 for _, e in changes if e.op == "u")
    evidence.outcome[tx] = "failed"
    return {"invented"}


def undone(evidence, records, changes):
    evidence.undone.add(next(e.after["uid"] for _, e in changes if e.op == "u"))
    return {"invented"}


def forget(evidence, records, changes):
    evidence.outcome[123] = "ok"
    evidence.changes[123] = [1230000]
    return {"missing"}


def scatter(evidence, records, changes):
    """A key on two partitions"""
    if int(evidence.settings["topic_partitions"]) == 1:
        raise NothingToSpoil
    i = [i for i, e in changes if e.op == "u"][-1]
    records[i] = records[i][:1] + ((records[i][1] + 1) % 3, 10**9) + records[i][3:]
    return {"partition"}


def confirm(evidence, records, changes):
    """The slot is further than what can be read"""
    evidence.samples.append((max(lsn for lsn, _ in evidence.samples), {}))
    return {"slot"}


def table(evidence, records, changes):
    """The database has another value"""
    evidence.rows["cold"][0]["flag"] = "other"
    return {"wrong row"}


SPOILERS = [lose, lose_row, lose_delete, reorder, repeat, alter, invent, undone, forget, scatter,
            confirm, table]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--spoil", action="store_true")
    args = parser.parse_args()
    with open(os.path.join(args.folder, "evidence"), "rb") as file:
        evidence = pickle.load(file)
    records = oracles.read(os.path.join(args.folder, "records"))
    if not args.spoil:
        judges = evidence.judge(records)
        print(json.dumps(dict(judges.counts)))
        for text in judges.check.problems:
            print("not ok: " + text)
        return 1 if judges.check.problems else 0
    changes = value_of(evidence, records)
    missed = 0
    for spoiler in SPOILERS:
        spoilt, wrong = copy.deepcopy(evidence), list(records)
        try:
            expected = spoiler(spoilt, wrong, changes)
        except (NothingToSpoil, StopIteration, IndexError):
            print("skipped: %s" % spoiler.__name__)
            continue
        kinds = set(spoilt.judge(wrong).check.kinds)
        missed += not kinds & expected
        print("%s: %s: %s" % ("ok" if kinds & expected else "not ok", spoiler.__name__,
                              ", ".join(sorted(kinds)) or "nothing"), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
