#!/usr/bin/env python3
"""
pack.py FILE...

Makes recordings shorter, in place: what all schemas have becomes a word, a run
of one character a count, and what says when and where Debezium read is left
out.  recording.py's unpacked() is the way back.  "record" does this itself.
"""

import re
import sys

from recording import unpacked

# Texts that stand in almost each schema or record
WORDS = (
    ("SOURCE", r'\{"type":"record","name":"Source","namespace":"io\.debezium\.connector\.postgresql"'
               r'.*?"connect\.name":"io\.debezium\.connector\.postgresql\.Source"\}'),
    ("BLOCK", r'\{"type":"record","name":"block","namespace":"event".*?"connect\.name":"event\.block"\}'),
    ("JSOURCE", r'\{"type":"struct","fields":\[\{"type":"string","optional":false,"field":"version"\}'
                r'.*?"name":"io\.debezium\.connector\.postgresql\.Source","version":1,"field":"source"\}'),
    ("JBLOCK", r'\{"type":"struct","fields":\[\{"type":"string","optional":false,"field":"id"\},'
               r'\{"type":"int64","optional":false,"field":"total_order"\}.*?"field":"transaction"\}'),
    ("TAIL", r'\{"name":"op","type":"string"\},\{"name":"ts_ms","type":\["null","long"\].*?'
             r'"name":"ts_ns","type":\["null","long"\],"default":null\}\],"connect\.version":2'),
    ("HEAD", r'"source": \{"version": "[^"]*", "connector": "postgresql", "name": "[^"]*", "ts_ms": '),
    ("END", r'"xmin": null, "origin": null, "origin_lsn": null\}, '),
    ("NAME", r'^  header __debezium\.context\.connectorLogicalName .*'),
    ("TASK", r'^  header __debezium\.context\.taskId .*'),
    ("KIND", r'^  header __debezium\.context\.connectorName .*'),
    ("RUN", r'^  header __debezium\.context\.runId .*'),
)

RUN = re.compile(r"([A-Za-z0-9])\1{63,}")


def short_offset(line):
    return re.sub(r"=\{.*", "={snapshot=INITIAL}" if "snapshot=INITIAL" in line else "={}", line)


def packed(lines):
    """Lines without their ends."""
    known = {}
    for line in lines:
        if line.startswith("  offset="):
            line = short_offset(line)
        for name, pattern in WORDS:
            found = re.search(pattern, line)
            if found and known.setdefault(name, found[0]) == found[0]:
                if found[0] not in known.get("said", ()):
                    known["said"] = known.get("said", ()) + (found[0],)
                    yield "### WORD %s %s" % (name, found[0])
                line = line.replace(found[0], "\u27e6%s\u27e7" % name)
        yield RUN.sub(lambda run: "\u27e6%s*%d\u27e7" % (run[1], len(run[0])), line)


def pack(path):
    with open(path, encoding="utf-8") as file:
        lines = list(unpacked(file))
    short = list(packed(lines))
    again = list(unpacked(line + "\n" for line in short))
    if again != [short_offset(l) if l.startswith("  offset=") else l for l in lines]:
        raise ValueError(path + " cannot be packed")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in short)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        pack(name)
