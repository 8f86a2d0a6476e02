#!/usr/bin/python3
#
# expected.py
#		PostgreSQL's own answers, as rows of JSON for compare.py.
#
#	expected.py PSQL CONNINFO BROKERS QUERIES DIR
#
# DIR gets the folders wire (the tables as they are in Avro), stream (some of
# them), native (some in the mode avro), jdbc (the tables), and one for each
# file NAME.sql of the folder QUERIES, which also is the schema of the tables
# that its queries read.

import json
import os
import sys

from confluent_kafka import Consumer, TopicPartition

from tables import COPIED, NATIVE, STREAMED, TABLES, queries_of, write_rows

psql, conninfo, brokers, queries, folder = sys.argv[1:]


def record_counts(path):
    """How many records each topic holds; the producer has no transactions"""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "counter"})
    with open(path, "w") as target:
        for table, topic in TABLES.values():
            places = consumer.list_topics(topic, timeout=20).topics[topic].partitions
            ends = [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
                    for number in places]
            target.write(json.dumps({"topic": topic, "records": sum(high - low for low, high in ends)}) + "\n")
    consumer.close()


for name, (table, topic) in TABLES.items():
    write_rows(psql, conninfo, 'SELECT * FROM wire."%s"' % name, "%s/wire/%s.json" % (folder, name))
    if name in STREAMED:
        write_rows(psql, conninfo, 'SELECT * FROM wire."%s"' % name, "%s/stream/%s.json" % (folder, name))
    if name in NATIVE:
        write_rows(psql, conninfo, 'SELECT * FROM native."%s"' % name, "%s/native/%s.json" % (folder, name))
    if name in COPIED:
        write_rows(psql, conninfo, 'SELECT * FROM copied."%s"' % name, "%s/jdbc/%s.json" % (folder, name))
write_rows(psql, conninfo, "SELECT * FROM copied.types", folder + "/jdbc/types.json")
for file in os.listdir(queries):
    if file.endswith(".sql"):
        view = file[:-len(".sql")]
        for name, query in queries_of(os.path.join(queries, file)):
            write_rows(psql, conninfo, query, "%s/%s/%s.json" % (folder, view, name), view)
record_counts(folder + "/wire/records.json")
