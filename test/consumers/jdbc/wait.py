#!/usr/bin/python3
#
# wait.py
#		Until a group of consumers has committed everything of its topics.
#
#	wait.py BROKERS GROUP RECORDS STATUS SECONDS TOPIC...
#
# RECORDS says how many records the topics have, as expected.py wrote it.
# Gives up when Connect says at the address STATUS that the task failed.

import json
import sys
import time
import urllib.request

from confluent_kafka import Consumer, TopicPartition

brokers, group, records, status, seconds, *topics = sys.argv[1:]

with open(records) as source:
    wanted = sum(count["records"] for count in map(json.loads, source) if count["topic"] in topics)
consumer = Consumer({"bootstrap.servers": brokers, "group.id": group})
places = [TopicPartition(topic, number) for topic in topics
          for number in consumer.list_topics(topic, timeout=20).topics[topic].partitions]


def failure():
    """The trace of a task that failed"""
    try:
        with urllib.request.urlopen(status, timeout=20) as answer:
            tasks = json.load(answer)["tasks"]
    except OSError:     # not up yet
        return None
    return next((task["trace"] for task in tasks if task["state"] == "FAILED"), None)


deadline = time.monotonic() + float(seconds)
done = 0
while done < wanted:
    if failure():
        sys.exit("the task failed after %d of %d records\n%s" % (done, wanted, failure()))
    if time.monotonic() > deadline:
        sys.exit("%d of %d records after %s seconds" % (done, wanted, seconds))
    time.sleep(0.2)
    done = sum(max(place.offset, 0) for place in consumer.committed(places, timeout=20))
print("%d records" % done)
