#
# configuration.py
#		A stream's settings, drawn at random, all valid together.
#
# What may change during a run is told apart from what must stay: with several
# partitions the bytes of keys must not change, since they select the
# partition; a flat row does not say what a truncation was.

FIXED = {
    "wal2kafka.topic_partitions": [1, 1, 3],
    "wal2kafka.envelope": ["debezium", "debezium", "flat"],
    "wal2kafka.snapshot_mode": ["initial", "no_data", "when_needed"],
    "wal2kafka.schema_registry_url": ["registry", "registry", "registry", ""],
    "wal2kafka.publication_name": ["nemesis", "nemesis_root"],
    "logical_decoding_work_mem": ["64kB", "1MB", "64MB"],
    "wal2kafka.key_format": ["same", "avro", "json"],
    "wal2kafka.skipped_operations": ["t", "none"],
    "wal2kafka.provide_transaction_metadata": ["off", "on"],
}
CHANGING = {
    "wal2kafka.format": ["avro", "avro", "json"],
    "wal2kafka.max_queue_size_in_bytes": ["1MB", "4MB", "32MB"],
    "wal2kafka.heartbeat_interval_ms": [0, 0, 300],
    "wal2kafka.snapshot_workers": [1, 2, 3],
    "wal2kafka.toast_reselect": ["off", "off", "on"],
    "wal2kafka.tombstones_on_delete": ["on", "off"],
    "wal2kafka.record_timestamp": ["commit", "send"],
    "wal2kafka.async_flush_delay": ["-1", "0", "10ms"],
    "wal2kafka.kafka_options": ["", "linger.ms=5", "compression.type=lz4", "compression.type=zstd",
                                "batch.size=20000", "batch.num.messages=50"],
}
# of delivery = exactly_once
TRANSACTIONS = {
    "wal2kafka.transaction_mapping": ["batch", "batch", "batch", "per_commit"],
    "wal2kafka.transaction_batch_age": [5, 50, 500],
    "wal2kafka.transaction_batch_rows": [10, 500, 100000],
    "wal2kafka.transaction_batch_bytes": ["16kB", "64MB"],
    "wal2kafka.transaction_split_bytes": ["1MB", "1GB"],
    "wal2kafka.transaction_timeout_ms": [10000, 60000],
    "wal2kafka.transaction_split_age": [5000],
}


class Configuration:
    def __init__(self, generator, delivery, pinned, known):
        """pinned: name -> value that is not to be drawn; known: settings that
        this build has"""
        self.generator = generator
        self.pinned = {name: value for name, value in pinned.items()}
        self.known = known
        self.settings = {"wal2kafka.delivery": delivery}
        for name, values in FIXED.items():
            self.draw(name, values)
        self.changing = dict(CHANGING)
        if delivery == "exactly_once":
            self.changing.update(TRANSACTIONS)
        if int(self.settings["wal2kafka.topic_partitions"]) > 1:
            self.settings["wal2kafka.key_format"] = "json"
        if self.settings["wal2kafka.envelope"] == "flat":
            self.settings["wal2kafka.skipped_operations"] = "t"
        for name, values in self.changing.items():
            self.draw(name, values)
        self.fixed = {
            "wal2kafka.key_converter_schemas_enable": "off",
            "wal2kafka.value_converter_schemas_enable": "off",
            "wal2kafka.decimal_format": "numeric",
            "wal2kafka.delete_tombstone_handling_mode": "rewrite-with-tombstone",
            "wal2kafka.add_fields": "op,source.lsn,source.txId,source.sequence,source.snapshot",
        }

    def draw(self, name, values):
        value = self.generator.choice(values)
        self.settings[name] = self.pinned.get(name.replace("wal2kafka.", ""), value)

    def __getitem__(self, name):
        return str(self.settings["wal2kafka." + name])

    def start(self):
        """What postgresql.conf is to have"""
        return {name: value for name, value in {**self.settings, **self.fixed}.items()
                if not name.startswith("wal2kafka.") or name in self.known}

    def change(self):
        """Some settings, drawn anew; keeps account of them"""
        names = self.generator.sample(sorted(self.changing), self.generator.randint(1, 3))
        changed = {}
        for name in names:
            self.draw(name, self.changing[name])
            if name in self.known:
                changed[name] = self.settings[name]
        return changed

    @property
    def registry(self):
        return self["schema_registry_url"] != ""

    @property
    def truncates(self):
        return self["skipped_operations"] == "none"
