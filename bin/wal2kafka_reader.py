"""Reading topics decoded, for the programs beside this file.

A reader that shares no code with the extension: schemas come from the schema
registry (Confluent framing) or from the topic <prefix>.schemas (single-object
encoding), and are read with Apache Avro's Python library.  It joins no
consumer group and commits nothing, so looking changes nothing.
"""

import base64
import difflib
import io
import json
import math
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings

try:
    import avro.errors
    import avro.io
    import avro.schema
    from confluent_kafka import (Consumer, KafkaError, KafkaException,
                                 OFFSET_BEGINNING, OFFSET_END, TopicPartition)
except ImportError as exc:
    sys.exit(f"{os.path.basename(sys.argv[0])}: {exc}\n"
             "Install it with: apt-get install python3-confluent-kafka "
             "python3-avro")

BROKER_TIMEOUT = 10             # seconds to wait for a first answer
OUTAGE_LIMIT = 60               # with --until-end: give up after this long
REGISTRY_TIMEOUT = 10


class Problem(Exception):
    """An error to show to the user, without a traceback."""


class Undecodable(Exception):
    """One record cannot be decoded; the others may."""


# ---------------------------------------------------------------------------
# Avro: a schema becomes a function that reads one datum
# ---------------------------------------------------------------------------

def decimal_text(raw, scale):
    """The unscaled big-endian integer in raw as decimal text."""
    unscaled = int.from_bytes(raw, "big", signed=True)
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    if scale > 0:
        digits = digits[:-scale] + "." + digits[-scale:]
    return ("-" if unscaled < 0 else "") + digits


def float_value(value):
    """JSON has no NaN and no infinities."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def read_blocks(decoder, read_item):
    """The items of an array or map."""
    while True:
        count = decoder.read_long()
        if count == 0:
            return
        if count < 0:
            count = -count
            decoder.read_long()     # the block's size in bytes
        for _ in range(count):
            yield read_item(decoder)


def compile_schema(schema, known):
    """A function that reads one datum of the schema from a BinaryDecoder.

    known: compiled records by full name, since a record may be used again by
    its name.
    """
    kind = schema.type
    if kind in PRIMITIVES:
        if kind == "bytes" and schema.props.get("logicalType") == "decimal":
            scale = int(schema.props.get("scale", 0))
            return lambda d: decimal_text(d.read_bytes(), scale)
        return PRIMITIVES[kind]
    if kind in ("record", "error"):
        return compile_record(schema, known)
    if kind == "union":
        branches = [compile_schema(s, known) for s in schema.schemas]
        return lambda d: branches[d.read_long()](d)
    if kind == "array":
        item = compile_schema(schema.items, known)
        return lambda d: list(read_blocks(d, item))
    if kind == "map":
        value = compile_schema(schema.values, known)
        return lambda d: dict(read_blocks(d, lambda d: (d.read_utf8(),
                                                        value(d))))
    if kind == "enum":
        symbols = schema.symbols
        return lambda d: symbols[d.read_int()]
    if kind == "fixed":
        size = schema.size
        if schema.props.get("logicalType") == "decimal":
            scale = int(schema.props.get("scale", 0))
            return lambda d: decimal_text(d.read(size), scale)
        return lambda d: base64.b64encode(d.read(size)).decode()
    raise Undecodable(f"the schema has the unknown type {kind}")


def compile_record(schema, known):
    name = schema.fullname
    if name in known:
        # The record may be under way still, if it refers to itself.
        return lambda d: known[name](d)
    fields = []
    known[name] = lambda d: {field: read(d) for field, read in fields}
    if name == "io.debezium.data.VariableScaleDecimal":
        known[name] = lambda d: (lambda scale, raw:
                                 decimal_text(raw, scale))(d.read_int(),
                                                           d.read_bytes())
    fields.extend((f.name, compile_schema(f.type, known))
                  for f in schema.fields)
    return known[name]


PRIMITIVES = {
    "null": lambda d: None,
    "boolean": lambda d: d.read_boolean(),
    "int": lambda d: d.read_int(),
    "long": lambda d: d.read_long(),
    "float": lambda d: float_value(d.read_float()),
    "double": lambda d: float_value(d.read_double()),
    "string": lambda d: d.read_utf8(),
    "bytes": lambda d: base64.b64encode(d.read_bytes()).decode(),
}


def make_reader(text):
    """A function from bytes to a Python value, for a schema's JSON text."""
    # Logical types are read here, not by the library, so its doubts about
    # their attributes are noise.
    warnings.simplefilter("ignore", avro.errors.IgnoredLogicalType)
    try:
        reader = compile_schema(avro.schema.parse(text), {})
    except Exception as exc:
        raise Undecodable(f"the schema is not valid Avro: {exc}") from exc

    def read(raw):
        stream = io.BytesIO(raw)
        try:
            datum = reader(avro.io.BinaryDecoder(stream))
        except Exception as exc:
            raise Undecodable("the bytes do not fit the schema: "
                              f"{exc or type(exc).__name__}") from exc
        rest = len(raw) - stream.tell()
        if rest:
            raise Undecodable(f"{rest} bytes are left after the datum")
        return datum
    return read


CRC64_EMPTY = 0xC15D213AA4D7A795


def crc64_avro(data):
    """CRC-64-AVRO, the fingerprint of the single-object encoding."""
    fp = CRC64_EMPTY
    for byte in data:
        fp ^= byte
        for _ in range(8):
            fp = (fp >> 1) ^ (CRC64_EMPTY & -(fp & 1))
    return fp


# ---------------------------------------------------------------------------
# Where schemas come from
# ---------------------------------------------------------------------------

class Registry:
    """Schemas by id, from a Confluent-compatible registry."""

    def __init__(self, urls):
        self.urls = [u.strip().rstrip("/") for u in urls.split(",")
                     if u.strip()]
        self.readers = {}
        self.texts = {}             # schemas as the registry has them

    def reader(self, schema_id):
        if not self.urls:
            raise Undecodable(f"schema id {schema_id}: name the registry "
                              "with -r")
        if schema_id not in self.readers:
            self.readers[schema_id] = self.fetch(schema_id)
        reader = self.readers[schema_id]
        if isinstance(reader, Undecodable):
            raise reader
        return reader

    def fetch(self, schema_id):
        """A reader, or the Undecodable to raise for each such record."""
        reasons = []
        for url in self.urls:
            shown = self.without_user(url)
            try:
                self.texts[schema_id] = self.get(url, schema_id)["schema"]
                return make_reader(self.texts[schema_id])
            except Undecodable as exc:
                return Undecodable(f"schema id {schema_id}: {exc}")
            except urllib.error.HTTPError as exc:
                if exc.code == 404:
                    return Undecodable(
                        f"schema id {schema_id} is unknown to {shown}: is "
                        "this the registry that the writer used, with its "
                        "path, and was it never emptied?")
                reasons.append(f"{shown}: HTTP {exc.code} {exc.reason}")
            except (OSError, ValueError, KeyError, TypeError) as exc:
                reason = getattr(exc, "reason", None) or exc
                reasons.append(f"{shown}: {reason}")
        raise Problem("the schema registry does not answer: "
                      + "; ".join(reasons))

    @staticmethod
    def without_user(url):
        parts = urllib.parse.urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @classmethod
    def get(cls, url, schema_id):
        request = urllib.request.Request(
            f"{cls.without_user(url)}/schemas/ids/{schema_id}",
            headers={"Accept": "application/vnd.schemaregistry.v1+json, "
                               "application/json"})
        user = urllib.parse.urlsplit(url).netloc.rpartition("@")[0]
        if user:
            token = base64.b64encode(urllib.parse.unquote(user).encode())
            request.add_header("Authorization", "Basic " + token.decode())
        with urllib.request.urlopen(request,
                                    timeout=REGISTRY_TIMEOUT) as answer:
            return json.load(answer)


class SchemaTopics:
    """Schemas by fingerprint, from the topics <prefix>.schemas."""

    def __init__(self, config, topics):
        self.config = config
        self.topics = topics        # all topics of the cluster
        self.readers = {}
        self.texts = {}
        self.loaded = {}            # topic: time of the last look

    def reader(self, topic, fingerprint):
        candidates = self.candidates(topic)
        for name in candidates:
            # A schema is acknowledged before its first use, so a record
            # whose schema is missing is worth one more look, not many.
            if (fingerprint not in self.readers
                    and time.monotonic() - self.loaded.get(name, -99) > 1):
                self.load(name)
                self.loaded[name] = time.monotonic()
        if fingerprint not in self.readers:
            where = " or ".join(candidates) or "<prefix>.schemas (no topic)"
            raise Undecodable(f"fingerprint {fingerprint:016x} is not in "
                              f"{where}")
        return self.readers[fingerprint]

    def candidates(self, topic):
        """x.y.z: x.y.schemas, x.schemas, as far as they exist."""
        parts = topic.split(".")
        names = (".".join(parts[:n] + ["schemas"])
                 for n in range(len(parts) - 1, 0, -1))
        return [n for n in names if n in self.topics]

    def load(self, topic):
        consumer = Consumer(self.config)
        try:
            pending = {p: OFFSET_BEGINNING
                       for p in self.topics[topic].partitions}
            consumer.assign([TopicPartition(topic, p, o)
                             for p, o in pending.items()])
            deadline = time.monotonic() + BROKER_TIMEOUT
            while pending and time.monotonic() < deadline:
                message = consumer.poll(0.2)
                if message is None:
                    continue
                if message.error():
                    if message.error().code() == KafkaError._PARTITION_EOF:
                        pending.pop(message.partition(), None)
                    continue
                if message.value():
                    self.add(message.value().decode())
        finally:
            consumer.close()

    def add(self, text):
        try:
            canonical = avro.schema.parse(text).canonical_form
        except Exception:
            return              # no schema: none of ours
        fingerprint = crc64_avro(canonical.encode())
        self.readers.setdefault(fingerprint, make_reader(text))
        self.texts.setdefault(f"{fingerprint:016x}", text)


class Decoder:
    """Bytes of a key or value to (Python value, schema id or fingerprint)."""

    def __init__(self, registry, schema_topics):
        self.registry = registry
        self.schema_topics = schema_topics

    def schema_text(self, schema):
        """The text of a schema that decode() named, as it was registered."""
        return (self.registry.texts.get(schema)
                or self.schema_topics.texts.get(schema))

    def decode(self, topic, raw):
        if raw is None:
            return None, None
        if raw[:1] == b"\x00" and len(raw) >= 5:
            schema_id = int.from_bytes(raw[1:5], "big")
            return self.registry.reader(schema_id)(raw[5:]), schema_id
        if raw[:2] == b"\xc3\x01" and len(raw) >= 10:
            fingerprint = int.from_bytes(raw[2:10], "little")
            reader = self.schema_topics.reader(topic, fingerprint)
            return reader(raw[10:]), f"{fingerprint:016x}"
        return self.plain(raw), None

    @staticmethod
    def plain(raw):
        """JSON (bare, or as Connect wraps it), text, or whatever it is."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return "base64:" + base64.b64encode(raw).decode()
        try:
            value = json.loads(text)
        except ValueError:
            return text
        if isinstance(value, dict) and value.keys() == {"schema", "payload"}:
            return value["payload"]
        return value


# ---------------------------------------------------------------------------
# Kafka
# ---------------------------------------------------------------------------

class Link:
    """What librdkafka says of the connection, in few words."""

    def __init__(self):
        self.started = False        # topics were listed
        self.down_since = None
        self.reason = None

    def on_error(self, error):
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.reason = self.reason or error.str()
            if self.started and self.down_since is None:
                self.down_since = time.monotonic()
                note(f"no broker answers ({self.reason}); waiting")
        elif error.code() != KafkaError._PARTITION_EOF:
            self.reason = error.str()

    def works(self):
        if self.down_since is not None:
            note("connected again")
        self.down_since = None


def note(text):
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr,
          flush=True)


def read_properties(args):
    pairs = []
    for path in args.property_file:
        try:
            with open(path, encoding="utf-8") as lines:
                pairs += [line.strip() for line in lines
                          if line.strip() and not line.startswith("#")]
        except OSError as exc:
            raise Problem(f"could not read {path}: {exc.strerror}") from exc
    pairs += args.property
    config = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            # The whole text may be a secret: do not repeat it.
            raise Problem("a property must be written NAME=VALUE")
        config[name.strip()] = value.strip()
    return config


def make_config(args, link):
    config = {
        "bootstrap.servers": args.bootstrap_servers,
        "group.id": f"wal2kafka-look-{os.getpid()}",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        # Problems reach the user through link, once and in few words.
        "log_level": 0,
        "error_cb": link.on_error,
    }
    config.update(read_properties(args))
    return config


def list_topics(consumer, args, link):
    """All topics: asking for one by name could make the broker create it."""
    try:
        topics = consumer.list_topics(timeout=BROKER_TIMEOUT).topics
        link.started = True
        return topics
    except KafkaException as exc:
        consumer.poll(0)            # serves on_error
        reason = link.reason or exc.args[0].str()
        raise Problem(f"no broker answers at {args.bootstrap_servers}: "
                      f"{reason}") from exc


def make_consumer(config):
    try:
        return Consumer(config)
    except (KafkaException, TypeError, ValueError) as exc:
        error = exc.args[0]
        raise Problem(getattr(error, "str", lambda: str(error))()) from exc


def no_such_topic(wanted, args, topics):
    own = sorted(t for t in topics if not t.startswith("__"))
    near = difflib.get_close_matches(wanted, own, n=5, cutoff=0.5) or own[:10]
    text = f'topic "{wanted}" does not exist at {args.bootstrap_servers}'
    if near:
        return text + "; there are: " + ", ".join(near)
    return text + "; there are no topics at all"


def find_ends(consumer, partitions):
    """Partitions that have records, with their end offsets of this moment.

    A topic that grows while it is read would never end otherwise.
    """
    ends = {}
    for tp in partitions:
        try:
            low, high = consumer.get_watermark_offsets(
                tp, timeout=BROKER_TIMEOUT)
        except KafkaException as exc:
            raise Problem(f"{tp.topic} [{tp.partition}]: "
                          f"{exc.args[0].str()}") from exc
        if high > low:
            ends[tp.topic, tp.partition] = high
    return ends


def read_messages(consumer, link, ends, timeout=0.5):
    """Messages of the assigned partitions, and None where none came.

    ends: as find_ends() gives them, to stop there, or None to go on for ever.
    Reached partitions are taken out of it.
    """
    while ends is None or ends:
        message = consumer.poll(timeout)
        if message is None:
            if (ends is not None and link.down_since is not None
                    and time.monotonic() - link.down_since > OUTAGE_LIMIT):
                raise Problem("no broker answered for "
                              f"{OUTAGE_LIMIT} s: {link.reason}")
            yield None
            continue
        where = message.topic(), message.partition()
        if message.error():
            if message.error().code() == KafkaError._PARTITION_EOF:
                link.works()
                if ends is not None:
                    ends.pop(where, None)
                continue
            raise Problem(f"{where[0]} [{where[1]}]: "
                          f"{message.error().str()}")
        link.works()
        if ends is not None:
            if where not in ends:
                continue        # came after the end that was asked for
            if message.offset() + 1 >= ends[where]:
                del ends[where]
        yield message


def add_connection_options(parser):
    add = parser.add_argument
    add("-b", "--bootstrap-servers", default="localhost:9092",
        metavar="HOST:PORT,...", help="default: %(default)s")
    add("-r", "--registry", default="", metavar="URL,...",
        help="schema registry with its path; "
        "http://user:password@host is understood")
    add("--property", action="append", default=[], metavar="NAME=VALUE",
        help="a property of librdkafka; may be repeated")
    add("--property-file", action="append", default=[], metavar="FILE",
        help="the same from a file, one a line: the place for passwords")
