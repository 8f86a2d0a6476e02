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

import sys

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

brokers, verb, *rest = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": brokers})


def settle(futures):
    for future in futures.values():
        future.result(30)


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
elif verb == "topics":
    for name, topic in sorted(admin.list_topics(timeout=30).topics.items()):
        print(name, len(topic.partitions))
else:
    sys.exit(__doc__ or "unknown verb " + verb)
