"""Our records of a recording's workload: options, server, output plugin."""

import decimal
import fnmatch
import json
import math
import os
import re
import struct
import subprocess

from avro_reader import Reader, as_decode, latin1
from recording import RECORDINGS, Event

# ----------
# Debezium's configuration as options of ours
# ----------

# What says where to read, and when, but nothing about records
NOT_ABOUT_RECORDS = (
    "x.*", "name", "connector.class", "database.*", "plugin.name", "slot.*",
    "publication.name", "publication.autocreate.mode", "snapshot.mode", "poll.*",
    "heartbeat.*", "topic.heartbeat.*", "transforms", "transforms.*.type",
    "transforms.*.predicate", "transforms.*.negate", "predicates", "predicates.*", "max.*",
    "publish.via.partition.root", "xmin.fetch.interval.ms",
    "transforms.*.database.*",
    # with ExtractChangedRecordState only, which is not ours
    "transforms.*.drop.fields.*",
    # our only shape of it
    "transforms.*.table.field.event.type",
)

# Transforms: what turns them on, and what their options' names begin with
TRANSFORMS = {
    "ExtractNewRecordState": ({"envelope": "flat"}, ""),
    "EventRouter": ({"outbox_tables": ".*outbox.*"}, "outbox_"),
    "ByLogicalTableRouter": ({}, ""),
    "PartitionRouting": ({}, ""),
    "TimescaleDb": ({"timescaledb": "on"}, "timescaledb_"),
    "RegexRouter": ({}, "topic_router_"),
}


class NotOurs(Exception):
    """The recording is of something that wal2kafka does not have."""


def quoted_entry(name, value):
    return "%s='%s'" % (name, value.replace("'", "''"))


def transform_of(alias, properties):
    kind = properties["transforms.%s.type" % alias].split(".")[-1]
    if kind not in TRANSFORMS:
        raise NotOurs("transform " + kind)
    return TRANSFORMS[kind]


def option_of_transform(name, properties):
    _, alias, rest = name.split(".", 2)
    return transform_of(alias, properties)[1] + rest.replace(".", "_").replace("-", "_")


def options_of(properties):
    # What Debezium has as defaults, and we have not
    options = {
        "topic_prefix": "srv",
        "publication_name": "golden",
        "include_unknown_datatypes": "off",
        "extended_headers_enabled": "on",
        "replace_null_with_default": "on",
    }
    column_transforms = []
    for alias in filter(None, re.split(r"[,\s]+", properties.get("transforms", ""))):
        options.update(transform_of(alias, properties)[0])
    for name, value in properties.items():
        if name == "heartbeat.action.query":
            raise NotOurs("rows that a clock inserts")
        if name.startswith("x.avro.") and name != "x.avro.ignore.default.for.nullables":
            raise NotOurs("AvroData's option " + name[len("x.avro."):])
        if any(fnmatch.fnmatchcase(name, p) for p in NOT_ABOUT_RECORDS):
            continue
        if name == "topic.naming.strategy" and ".Schema" not in value:
            raise NotOurs(value.split(".")[-1])
        if re.match(r"column\.(mask|truncate)\.", name):
            column_transforms.append(quoted_entry(name[len("column."):], value))
        elif name.endswith(".table.field.additional.missing"):
            options["outbox_table_fields_additional_error_on_missing"] = \
                "on" if value == "error" else "off"
        elif name.startswith("transforms."):
            options[option_of_transform(name, properties)] = value
        else:
            options[name.replace(".", "_")] = value
    if column_transforms:
        options["column_transforms"] = "; ".join(column_transforms)
    if properties.get("x.avro.ignore.default.for.nullables") == "true":
        options["replace_null_with_default"] = "off"
    return options


def json_options_of(properties, schemas):
    """For the records as JSON, beside options_of()."""
    options = {
        "key_converter_schemas_enable": schemas,
        "value_converter_schemas_enable": schemas,
    }
    if "x.json.decimal.format" in properties:
        options["decimal_format"] = properties["x.json.decimal.format"]
    if "x.json.replace.null.with.default" in properties:
        options["replace_null_with_default"] = properties["x.json.replace.null.with.default"]
    return options


# ----------
# Frames
# ----------

def part(data, at):
    length = int.from_bytes(data[at:at + 4], "big", signed=True)
    at += 4
    if length < 0:
        return None, at
    return data[at:at + length], at + length


def event_of_frame(line):
    frame, decoded = line.split(" ", 1)
    frame = bytes.fromhex(frame)
    if frame[:4] != b"w2k\1":
        raise ValueError("not a frame")
    topic, at = part(frame, 4)
    event = Event(topic.decode())
    libavro = {}
    for name in ("key", "value"):
        schema, at = part(frame, at)
        data, at = part(frame, at)
        libavro[name] = None
        if data is not None:
            event.schemas[name] = schema.decode()
            setattr(event, name, Reader(schema, data, latin1).datum())
            libavro[name] = Reader(schema, data, as_decode).datum()
    count = frame[at]
    at += 1
    for _ in range(count):
        name, at = part(frame, at)
        value, at = part(frame, at)
        event.headers.append((name.decode(), None if value is None else value.decode()))
    read = json.loads(decoded, parse_float=decimal.Decimal)
    event.libavro_agrees = same_numbers(read["key"], libavro["key"]) and \
        same_numbers(read["value"], libavro["value"])
    return event


def is_single(number):
    """Is this the short text of a float of 32 bits?"""
    return len(repr(number).split("e")[0].strip("-0").replace(".", "")) <= 9


def same_numbers(a, b):
    """Equal, where numbers may be floats on one side."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same_numbers(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_numbers, a, b))
    if isinstance(b, float) and isinstance(a, (int, decimal.Decimal)):
        return float(a) == b or math.isclose(float(a), b, rel_tol=1e-5) and is_single(b) or \
            abs(b) < 1e-37 and struct.pack("<f", float(a)) == struct.pack("<f", b)
    return a == b


# ----------
# Server
# ----------

MARK = "end of the answer"


class Session:
    """A psql to send statements to."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", "-d", "template1"], cwd=RECORDINGS,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8")

    def send(self, text):
        """The lines that psql prints, errors among them."""
        self.process.stdin.write("%s\n\\echo %s\n" % (text, MARK))
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == MARK + "\n":
                return lines
            lines.append(line.rstrip("\n"))
        raise RuntimeError("psql ended: " + "\n".join(lines[-3:]))

    def must(self, text):
        lines = self.send(text)
        if error_in(lines):
            raise RuntimeError(error_in(lines))
        return lines


def error_in(lines):
    for at, line in enumerate(lines):
        if re.match(r"(psql:\S+ )?(ERROR|FATAL):", line):
            return "\n".join(lines[at:])
    return None


def literal(text):
    return "'" + text.replace("'", "''") + "'"


class Workload:
    """
    A database in which the SQL of some recordings runs once, for all of them:
    what they differ in are options of decoding.
    """

    def __init__(self, session, sql, via_root):
        self.session = session
        self.sql = sql
        session.must("""\\c template1
            SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots;
            SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin;
            DROP DATABASE IF EXISTS postgres WITH (FORCE);
            CREATE DATABASE postgres TEMPLATE template0;
            \\c postgres
            SET client_min_messages = error;
            CREATE EXTENSION wal2kafka;
            CREATE PUBLICATION golden FOR ALL TABLES WITH (publish_via_partition_root = %s);
            CREATE PUBLICATION p1;
            SELECT FROM pg_create_logical_replication_slot('rows', 'wal2kafka');""" % via_root)

    def set_up(self):
        file = self.sql + ".setup.sql"
        if os.path.exists(os.path.join(RECORDINGS, file)):
            self.session.must("\\set pk 1\n\\i %s\n\\c postgres" % file)
        self.session.must("SELECT FROM pg_create_logical_replication_slot('changes', 'wal2kafka');")

    def change(self):
        file = self.sql + ".change.sql"
        if os.path.exists(os.path.join(RECORDINGS, file)):
            # switching flushes, too
            self.session.send("\\set pk 2\n\\i %s\n\\c postgres\n"
                              "SELECT pg_switch_wal();" % file)

    def peek(self, slot, options, output="frames", upto="NULL", function="peek"):
        """Lines, and the error that ended them or None."""
        arguments = "".join(", %s, %s" % (literal(n), literal(v)) for n, v in options.items())
        if output == "frames":
            query = """SELECT encode(data, 'hex') || ' ' || wal2kafka.decode(data) FROM
                pg_logical_slot_%s_binary_changes(%s, %s, NULL, 'format', 'avro'%s);
                """ % (function, literal(slot), upto, arguments)
        else:
            query = """SELECT data FROM
                pg_logical_slot_%s_changes(%s, %s, NULL, 'format', 'connect'%s);
                """ % (function, literal(slot), upto, arguments)
        lines = self.session.send("SET client_min_messages = error;\n" + query)
        return [] if error_in(lines) else lines, error_in(lines)

    def read(self, slot, options, output="frames"):
        """
        Lines, and errors.  A transaction that cannot be decoded is left out:
        those before and after it are not.
        """
        lines, error = self.peek(slot, options, output)
        errors = []
        if error and not re.search("associated LSN", error):
            raise RuntimeError(error)
        if error:
            self.session.must("SELECT FROM pg_copy_logical_replication_slot(%s, 'again');"
                              % literal(slot))
        while error:
            errors.append(error)
            at = literal(re.search("associated LSN ([0-9A-F/]+)", error)[1])
            before, problem = self.peek("again", options, output, at, "get")
            if problem:
                raise RuntimeError(problem)
            lines += before
            self.session.must("""CREATE EXTENSION IF NOT EXISTS pg_walinspect;
                SELECT FROM pg_replication_slot_advance('again', (SELECT end_lsn FROM
                pg_get_wal_records_info(%s, pg_current_wal_flush_lsn()) WHERE
                resource_manager = 'Transaction' AND record_type = 'COMMIT' LIMIT 1))""" % at + ";")
            rest, error = self.peek("again", options, output)
            if not error:
                lines += rest
        if errors:
            self.session.must("SELECT pg_drop_replication_slot('again')" + ";")
        return lines, errors
