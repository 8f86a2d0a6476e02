#!/usr/bin/python3
#
# reader.py
#		Keeps all records of a stream's topics, whatever becomes of the broker.
#
#	reader.py BROKER PREFIX ISOLATION FILE
#
# Follows every topic whose name begins with "PREFIX.", also those that come
# later, and appends each record to FILE, undecoded (pickle).  A line on the
# standard input asks it to read on to the end that partitions have then; it
# answers "done", or what is wrong, and stops.

import pickle
import select
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition


class Reader:
    def __init__(self, broker, prefix, isolation, path):
        self.prefix = prefix
        self.file = open(path, "wb", buffering=1 << 20)
        self.consumer = Consumer({
            "bootstrap.servers": broker,
            "group.id": "nemesis-" + isolation,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": isolation,
            "fetch.wait.max.ms": 100,
            "reconnect.backoff.max.ms": 500,
            "topic.metadata.refresh.interval.ms": 5000,
            "log_level": 0,
        })
        self.next = {}      # (topic, partition) -> offset
        self.problems = []

    def discover(self):
        """Partitions that are new; the broker may be away"""
        try:
            topics = self.consumer.list_topics(timeout=5).topics
        except KafkaException:
            return False
        found = {(name, partition) for name in topics if name.startswith(self.prefix + ".")
                 for partition in topics[name].partitions} - set(self.next)
        for place in found:
            self.next[place] = 0
        if found:
            self.consumer.assign([TopicPartition(t, p, offset)
                                  for (t, p), offset in self.next.items()])
        return True

    def read(self, timeout):
        for record in self.consumer.consume(500, timeout):
            if record.error():
                if "out of range" in str(record.error()).lower():
                    self.problems.append("%s: %s" % (record.topic(), record.error()))
                continue
            place = record.topic(), record.partition()
            if record.offset() < self.next[place]:
                continue        # again, after an assignment
            self.next[place] = record.offset() + 1
            pickle.dump((record.topic(), record.partition(), record.offset(),
                         record.timestamp()[1], record.key(), record.value(),
                         record.headers()), self.file)

    def ends(self):
        return {place: self.consumer.get_watermark_offsets(TopicPartition(*place), timeout=10)[1]
                for place in self.next}

    def read_to_the_end(self):
        deadline = time.monotonic() + 60
        while not self.discover():
            if time.monotonic() > deadline:
                return "the broker does not answer"
        left = {place: end for place, end in self.ends().items() if end > self.next[place]}
        while left:
            self.read(0.2)
            # markers of transactions are records that nobody sees
            for position in self.consumer.position([TopicPartition(*place) for place in left]):
                place = position.topic, position.partition
                if max(position.offset, self.next[place]) >= left[place]:
                    del left[place]
            if time.monotonic() > deadline:
                return "not read to the end: %s" % left
        return "; ".join(self.problems[:5]) or "done"

    def run(self):
        due = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            if time.monotonic() > due:
                self.discover()
                due = time.monotonic() + 1
            if self.next:
                self.read(0.2)
            else:
                time.sleep(0.1)
        answer = self.read_to_the_end()
        self.file.close()
        print(answer, flush=True)


if __name__ == "__main__":
    Reader(*sys.argv[1:]).run()
