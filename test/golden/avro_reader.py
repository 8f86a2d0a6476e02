"""A decoder of Avro's binary encoding, for tests: neither libavro nor ours."""

import decimal
import json
import math
import struct


def named_types(schema, namespace, names):
    """Add all records of a schema by their full names."""
    if isinstance(schema, list):
        for branch in schema:
            named_types(branch, namespace, names)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            namespace = schema.get("namespace", namespace)
            schema["namespace"] = namespace
            names[namespace + "." + schema["name"]] = schema
            for field in schema["fields"]:
                named_types(field["type"], namespace, names)
        elif schema["type"] == "array":
            named_types(schema["items"], namespace, names)


class Reader:
    """
    Decodes one datum.  Bytes become what "render" makes of them and of their
    schema.
    """

    def __init__(self, schema_text, data, render):
        self.schema = json.loads(schema_text)
        self.names = {}
        named_types(self.schema, "", self.names)
        self.data = data
        self.at = 0
        self.render = render

    def datum(self):
        value = self.value(self.schema, "")
        if self.at != len(self.data):
            raise ValueError("bytes are left over")
        return value

    def raw(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise ValueError("bytes end too early")
        self.at += n
        return self.data[self.at - n:self.at]

    def long(self):
        n = shift = 0
        while True:
            byte = self.raw(1)[0]
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (n >> 1) ^ -(n & 1)

    def blocks(self, item):
        items = []
        count = self.long()
        while count:
            if count < 0:
                count = -count
                self.long()
            items += [item() for _ in range(count)]
            count = self.long()
        return items

    def value(self, schema, namespace):
        if isinstance(schema, list):
            return self.value(schema[self.long()], namespace)
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind == "null":
            return None
        if kind == "boolean":
            return self.raw(1) != b"\0"
        if kind in ("int", "long"):
            return self.long()
        if kind == "float":
            return json_float(shortest_float(self.raw(4)))
        if kind == "double":
            return json_float(struct.unpack("<d", self.raw(8))[0])
        if kind == "bytes":
            return self.render(self.raw(self.long()), schema)
        if kind == "string":
            return self.raw(self.long()).decode()
        if kind == "record":
            return {
                field["name"]: self.value(field["type"], schema["namespace"])
                for field in schema["fields"]
            }
        if kind == "array":
            return self.blocks(lambda: self.value(schema["items"], namespace))
        if kind == "map":
            return dict(self.blocks(lambda: (
                self.raw(self.long()).decode(),
                self.value(schema["values"], namespace))))
        record = self.names[kind if "." in kind else namespace + "." + kind]
        return self.value(record, namespace)


def shortest_float(data):
    """The number with the fewest digits, but for one, that is this float."""
    number = struct.unpack("<f", data)[0]
    for digits in range(2, 9):
        text = "%.*g" % (digits, number)
        try:
            if struct.pack("<f", float(text)) == data:
                return float(text)
        except OverflowError:
            pass
    return float("%.9g" % number)


def json_float(number):
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def latin1(data, schema):
    """Bytes as Avro for Java prints them."""
    return data.decode("latin1")


def as_decode(data, schema):
    """Bytes as wal2kafka.decode() shows them."""
    if isinstance(schema, dict) and schema.get("logicalType") == "decimal":
        number = decimal.Decimal(int.from_bytes(data, "big", signed=True))
        return number.scaleb(-schema["scale"])
    return "\\x" + data.hex()
