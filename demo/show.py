#!/usr/bin/python3
#
# show.py
#		Events as consume.py dumps them, in a form for people.
#
#	show.py FIRST [ACKNOWLEDGED]
#
# Skips FIRST records.  ACKNOWLEDGED is when the broker acknowledged the last
# one, in microseconds since 1970; the commit's time is in the event.

import json
import sys

OPS = {"r": "read by the snapshot", "c": "INSERT", "u": "UPDATE", "d": "DELETE", "t": "TRUNCATE"}

first = int(sys.argv[1])
acknowledged = int(float(sys.argv[2])) if len(sys.argv) > 2 and sys.argv[2] else None
records = [json.loads(line) for line in sys.stdin][first:]
last_event = max((i for i, r in enumerate(records) if r["value"]), default=None)

for number, record in enumerate(records):
    value = record["value"]
    place = "%s, partition %d, offset %d" % (record["topic"], record["partition"], record["offset"])
    if value is None:
        print("    tombstone of key %s  (%s)" % (json.dumps(record["key"]), place))
        continue
    print("    %s  (%s)" % (OPS.get(value["op"], value["op"]), place))
    print("      key     %s   schema %s" % (json.dumps(record["key"]), record["key_schema"]))
    print("      before  %s" % json.dumps(value["before"]))
    print("      after   %s   schema %s" % (json.dumps(value["after"]), record["value_schema"]))
    if number == last_event and acknowledged:
        print("      commit → acknowledged by the broker: %.1f ms"
              % ((acknowledged - value["source"]["ts_us"]) / 1000))
