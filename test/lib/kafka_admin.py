#!/usr/bin/python3
#
# kafka_admin.py
#		What a Kafka administrator does in tests.
#
#	kafka_admin.py BROKERS create TOPIC PARTITIONS
#	kafka_admin.py BROKERS delete TOPIC
#	kafka_admin.py BROKERS config TOPIC NAME VALUE
#	kafka_admin.py BROKERS produce TOPIC TEXT
#	kafka_admin.py BROKERS topics		"NAME PARTITIONS" a line
#	kafka_admin.py BROKERS cut TOPIC PARTITION OFFSET
#		remove the records before the offset, as retention does
#	kafka_admin.py BROKERS forge TOPIC KEY VALUE
#		produce a record with the key, and on the partition, of the record
#		at KEY (PARTITION:OFFSET), and the value of that at VALUE; or "null",
#		or any other text as it is

import socket
import struct
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

brokers, verb, *rest = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": brokers})


def settle(futures):
    for future in futures.values():
        future.result(30)


def read_exactly(connection, n):
    data = b""
    while len(data) < n:
        part = connection.recv(n - len(data))
        if not part:
            sys.exit("the broker hung up")
        data += part
    return data


def cut(topic, partition, offset):
    """DeleteRecords by hand: the client library of Debian has no call for it"""
    host, port = brokers.split(",")[0].rsplit(":", 1)

    def text(value):
        return struct.pack(">h", len(value)) + value.encode()

    body = struct.pack(">hhi", 21, 0, 1) + text("kafka_admin") + struct.pack(">i", 1)
    body += text(topic) + struct.pack(">iiqi", 1, partition, offset, 30000)
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        reply = read_exactly(connection, struct.unpack(">i", read_exactly(connection, 4))[0])
    error = struct.unpack(">h", reply[-2:])[0]
    if error:
        sys.exit("DeleteRecords: error %d" % error)


def record_at(topic, place):
    partition, offset = (int(part) for part in place.split(":"))
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "kafka_admin",
                         "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, offset)])
    record = consumer.poll(30)
    if record is None or record.error() or record.offset() != offset:
        sys.exit("there is no record %s of %s" % (place, topic))
    consumer.close()
    return record


def forge(topic, key, value):
    of_key = record_at(topic, key)
    if value == "null":
        data = None
    elif value.replace(":", "").isdigit():
        data = record_at(topic, value).value()
    else:
        data = value.encode()
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(topic, key=of_key.key(), value=data, partition=of_key.partition())
    producer.flush(30)


if verb == "create":
    settle(admin.create_topics([NewTopic(rest[0], int(rest[1]), 1)]))
elif verb == "delete":
    settle(admin.delete_topics([rest[0]]))
elif verb == "config":
    settle(admin.alter_configs([ConfigResource("topic", rest[0], {rest[1]: rest[2]})]))
elif verb == "produce":
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(rest[0], rest[1])
    producer.flush(30)
elif verb == "cut":
    cut(rest[0], int(rest[1]), int(rest[2]))
elif verb == "forge":
    forge(*rest)
elif verb == "topics":
    for name, topic in sorted(admin.list_topics(timeout=30).topics.items()):
        print(name, len(topic.partitions))
else:
    sys.exit(__doc__ or "unknown verb " + verb)
