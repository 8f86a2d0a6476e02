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
#	kafka_admin.py BROKERS fence ID
#		become the producer with the transactional id, and end
#	kafka_admin.py BROKERS user NAME PASSWORD
#		a user of SCRAM, or another password of one
#	kafka_admin.py BROKERS allow PRINCIPAL KIND NAME OPERATION...
#	kafka_admin.py BROKERS deny PRINCIPAL KIND NAME OPERATION...
#		make rules, or remove them.  KIND is topic, group, cluster or
#		transactional_id; a NAME that ends with * is a prefix; PRINCIPAL is a
#		user, and its type need not be said

import hashlib
import os
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


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def compact(value):
    """Text or bytes as newer versions of requests have it"""
    value = value.encode() if isinstance(value, str) else value
    return bytes([len(value) + 1]) + value


def request(key, version, body, flexible=False):
    """A request by hand, where the client library of Debian has no call for it"""
    host, port = brokers.split(",")[0].rsplit(":", 1)
    message = struct.pack(">hhi", key, version, 1) + text("kafka_admin")
    message += (b"\0" if flexible else b"") + body
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(struct.pack(">i", len(message)) + message)
        reply = read_exactly(connection, struct.unpack(">i", read_exactly(connection, 4))[0])
    return reply[5 if flexible else 4:]


def cut(topic, partition, offset):
    reply = request(21, 0, struct.pack(">i", 1) + text(topic) +
                    struct.pack(">iiqi", 1, partition, offset, 30000))
    error = struct.unpack(">h", reply[-2:])[0]
    if error:
        sys.exit("DeleteRecords: error %d" % error)


def scram_user(name, password):
    iterations = 4096
    for mechanism, digest in ((1, "sha256"), (2, "sha512")):
        salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), salt, iterations)
        # deletions: none; upsertions: one
        body = b"\1\2" + compact(name) + struct.pack(">bi", mechanism, iterations)
        body += compact(salt) + compact(salted) + b"\0\0"
        reply = request(51, 0, body, flexible=True)
        # throttle time, number of results, the name
        place = 5 + reply[5]
        error = struct.unpack(">h", reply[place:place + 2])[0]
        if error:
            sys.exit("AlterUserScramCredentials: error %d" % error)


RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactional_id": 5}
OPERATIONS = {"all": 2, "read": 3, "write": 4, "create": 5, "delete": 6, "alter": 7,
              "describe": 8, "cluster_action": 9, "describe_configs": 10,
              "alter_configs": 11, "idempotent_write": 12}


def rules(make, principal, kind, name, operations):
    pattern = 4 if name.endswith("*") and name != "*" else 3
    if pattern == 4:
        name = name[:-1]
    body = struct.pack(">i", len(operations))
    for operation in operations:
        body += struct.pack(">b", RESOURCES[kind]) + text(name) + struct.pack(">b", pattern)
        body += text("User:" + principal) + text("*")
        body += struct.pack(">bb", OPERATIONS[operation], 3)
    reply = request(30 if make else 31, 1, body)
    place = 8
    for operation in operations:
        error, length = struct.unpack(">hh", reply[place:place + 4])
        if error:
            sys.exit("%s %s: error %d" % ("allow" if make else "deny", operation, error))
        if not make:
            return          # of the first alone: what follows is a list
        place += 4 + max(length, 0)


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
elif verb == "fence":
    Producer({"bootstrap.servers": brokers, "transactional.id": rest[0]}).init_transactions(30)
elif verb == "user":
    scram_user(*rest)
elif verb in ("allow", "deny"):
    rules(verb == "allow", rest[0], rest[1], rest[2], rest[3:])
elif verb == "topics":
    for name, topic in sorted(admin.list_topics(timeout=30).topics.items()):
        print(name, len(topic.partitions))
else:
    sys.exit(__doc__ or "unknown verb " + verb)
