"""What Debezium wrote: a recording's properties, and its NAME.out."""

import json
import os
import re

RECORDINGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recordings")


class Event:
    def __init__(self, topic):
        self.topic = topic
        self.headers = []
        self.key = self.value = None
        self.schemas = {}		# "key" and "value": schema texts
        self.json = {}			# Debezium's: what JsonConverter made of them
        self.partition = self.timestamp = None
        self.libavro_agrees = True
        self.streamed = True	# Debezium's: not a row of its snapshot

    def row(self):
        """What of a snapshot's record is the row."""
        if isinstance(self.value, dict):
            if "after" in self.value:
                return self.value["after"]
            return {k: v for k, v in self.value.items() if not k.startswith("__")}
        return self.value

    def kind(self):
        """What happened, to what: by this the records of a topic are matched."""
        value = self.value if isinstance(self.value, dict) else {}
        what = "tombstone" if self.value is None else value.get("op", value.get("status", "row"))
        return what + " " + json.dumps(self.key, sort_keys=True)


class Recording:
    def __init__(self, name):
        self.name = name
        self.properties = read_properties(os.path.join(RECORDINGS, name + ".properties"))
        self.sql = self.properties.get("x.sql", name)
        self.stopped = False	# Debezium did, by an error
        self.events = []
        self.read(os.path.join(RECORDINGS, name + ".out"))

    def snapshot_length(self):
        """How many of Debezium's events are its snapshot's."""
        if not self.has_snapshot():
            return 0
        count = 0
        while count < len(self.events) and not self.events[count].streamed:
            count += 1
        return count

    def has_snapshot(self):
        return self.properties.get("snapshot.mode") not in ("no_data", "never")

    def read(self, path):
        """All events, up to an error of Debezium's."""
        event, texts = None, {}
        for line in unpacked(open(path, encoding="utf-8")):
            if line.startswith("### topic="):
                event = Event(re.match(r"### topic=(.*) partition=", line)[1])
                event.partition, event.timestamp = [
                    None if value == "null" else int(value)
                    for value in re.search(r" partition=(\S+) ts=(\S+)", line).groups()]
                self.events.append(event)
            elif line.startswith("### ERROR"):
                self.stopped = True
                break
            elif line.startswith("###"):
                event = Event("dropped")
            elif event is not None:
                self.read_line(event, line, texts)
        self.events = [e for e in self.events if not is_heartbeat(e)]

    @staticmethod
    def read_line(event, line, texts):
        if line.startswith("  offset="):
            event.streamed = "snapshot=INITIAL" not in line
        elif line.startswith("  NEW "):
            _, name, _, text = re.match(r"  (NEW) (\S+) subject=(.*?) ([\[{\"].*)", line).groups()
            texts[name] = text
        elif line.startswith("  header-bytes "):
            name, _, value = line[15:].split(" ", 2)
            event.headers[-1] = (name, None if value == "<null>" else value)
        elif line.startswith("  header "):
            name, _, value = line[9:].split(" ", 2)
            event.headers.append((name, value[len("value="):]))
        elif line.startswith(("  key ", "  value ")):
            name = line.split()[0]
            used = re.match(r"  \w+ (S\d+) len=", line)
            if used:
                event.schemas[name] = texts[used[1]]
            setattr(event, name, datum_of(line))
        elif line.startswith("  json-"):
            name, text = line[len("  json-"):].split(" ", 1)
            event.json[name] = text
            if name.endswith("-noschema"):
                whole = name[:-len("-noschema")]
                short = re.match(r'\{"schema":(J\d+),"payload":\*\}$', event.json[whole])
                if short:
                    event.json[whole] = '{"schema":%s,"payload":%s}' % (texts[short[1]], text)


def read_properties(path):
    properties = {}
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if line and line[0] not in "#!":
            name, value = line.split("=", 1)
            properties[name.strip()] = value.strip().replace("\\\\", "\\")
    return properties


def unpacked(lines):
    """The lines of a packed file as "record" writes them; see pack.py."""
    words = {}
    for line in lines:
        line = line.rstrip("\n")
        if line.startswith("### WORD "):
            _, _, name, text = line.split(" ", 3)
            words[name] = text
            continue
        line = re.sub("\u27e6(\\w+)\u27e7", lambda found: words[found[1]], line)
        yield re.sub("\u27e6(.)\\*(\\d+)\u27e7", lambda found: found[1] * int(found[2]), line)


def is_heartbeat(event):
    return isinstance(event.key, dict) and list(event.key) == ["serverName"]


def datum_of(line):
    """The value of a line "key S1 len=4 ..."."""
    if line.endswith("value=null"):
        return None
    text = re.match(r"\s+\w+ S\d+ len=\d+ (.*)", line, re.S)[1]
    try:
        return json.loads(text)
    except ValueError:
        return text				# a bare string or number
