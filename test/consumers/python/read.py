#!/usr/bin/python3
#
# read.py
#		A consumer in Python: confluent-kafka with its own decoder.
#
#	read.py BROKERS REGISTRY PREFIX DIR
#
# Decodes every record of the topics PREFIX.*, folds them to rows, and writes
# DIR/<table>.json, and records.json with how many there were.
#
# Debian's package has two decoders: AvroDeserializer, which needs fastavro,
# and the older one on Apache's library.

import base64
import json
import os
import sys
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from time import monotonic
from uuid import UUID

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

brokers, registry, prefix, folder = sys.argv[1:]


def decoder():
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
        from confluent_kafka.schema_registry.avro import AvroDeserializer
    except ImportError:
        from confluent_kafka.avro import CachedSchemaRegistryClient
        from confluent_kafka.avro.serializer.message_serializer import MessageSerializer
        return MessageSerializer(CachedSchemaRegistryClient({"url": registry})).decode_message
    deserializer = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    return lambda data: deserializer(data, None)


def read(consumer, topics):
    """Every record up to the end that each partition has now"""
    ends = {}
    for name, topic in topics.items():
        for number in topic.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(name, number), timeout=20)
            if high > low:
                ends[name, number] = high
    consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for name, number in ends])
    deadline = monotonic() + 60
    while ends:
        if monotonic() > deadline:
            sys.exit("not read to the end within a minute: %s" % ends)
        for record in consumer.consume(1000, 0.2):
            if record.error():
                sys.exit(str(record.error()))
            yield record
            if record.offset() + 1 >= ends[record.topic(), record.partition()]:
                del ends[record.topic(), record.partition()]


# Apache's library does not know local-timestamp-micros and gives a number.
LOCAL = {"seen", "placed", "at", "at_ms"}


def with_local_times(row):
    return {name: datetime(1970, 1, 1) + timedelta(microseconds=value)
            if name in LOCAL and isinstance(value, int) else value for name, value in row.items()}


class Rows:
    """A table that is made from its events"""

    def __init__(self):
        self.by_key = {}
        self.keyless = []

    def event(self, key, event):
        if key is not None:
            key = json.dumps(key, sort_keys=True)
            if event is None or event["op"] == "d":
                self.by_key.pop(key, None)
            else:
                self.by_key[key] = event["after"]
            return
        if event["op"] in ("u", "d"):
            self.keyless.remove(event["before"])
        if event["op"] != "d":
            self.keyless.append(event["after"])

    def all(self):
        return list(self.by_key.values()) + self.keyless


def plain(value):
    """What JSON has no type for"""
    if isinstance(value, dict):
        if set(value) == {"scale", "value"}:    # io.debezium.data.VariableScaleDecimal
            return str(Decimal(int.from_bytes(value["value"], "big", signed=True)).scaleb(-value["scale"]))
        return {name: plain(element) for name, element in value.items()}
    if isinstance(value, list):
        return [plain(element) for element in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(timezone.utc).replace(tzinfo=None)
        text = str(value)
        return text.rstrip("0") if "." in text else text
    if isinstance(value, time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000000 + value.microsecond
    if isinstance(value, (date, Decimal, UUID)):
        return str(value)
    return value


def main():
    decode = decoder()
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "python", "enable.auto.commit": False})
    topics = {name: topic for name, topic in consumer.list_topics(timeout=20).topics.items()
              if name.startswith(prefix + ".")}
    tables, counts, names = {}, dict.fromkeys(topics, 0), {}
    for record in read(consumer, topics):
        event = decode(record.value())
        tables.setdefault(record.topic(), Rows()).event(decode(record.key()), event)
        counts[record.topic()] += 1
        if event is not None:
            names[record.topic()] = event["source"]["table"]
    os.makedirs(folder, exist_ok=True)
    for topic, rows in tables.items():
        with open("%s/%s.json" % (folder, names[topic]), "w", encoding="utf-8") as target:
            for row in rows.all():
                if prefix == "avro":
                    row = with_local_times(row)
                target.write(json.dumps(plain(row)) + "\n")
    with open(folder + "/records.json", "w") as target:
        for topic, count in counts.items():
            target.write(json.dumps({"topic": topic, "records": count}) + "\n")
    consumer.close()


main()
