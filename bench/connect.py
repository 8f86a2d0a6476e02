"""Debezium on Kafka Connect as one more reader, at its best settings.

One Connect process serves all runs, so that all but its first have a warm
JVM; a run is a new connector on its own slot.  Time runs from the first
record in the topic to the last, so that starting a connector is not counted.
"""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request

from machine import (TREE, BenchError, MemoryWatch, children, cpu_seconds, is_alive,
                     wait_until)
from readers import Reader, Result, process_titled

POM = os.path.join(TREE, 'bench/connect/pom.xml')
PARTS = ('runtime', 'debezium', 'converter')

WORKER = """\
bootstrap.servers={bootstrap}
group.id=bench
listeners=http://127.0.0.1:{port}
plugin.path={plugins}
plugin.discovery=hybrid_warn
config.storage.topic=bench-connect-configs
offset.storage.topic=bench-connect-offsets
status.storage.topic=bench-connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
offset.flush.interval.ms=1000
key.converter=io.apicurio.registry.utils.converter.AvroConverter
value.converter=io.apicurio.registry.utils.converter.AvroConverter
{converter}
producer.linger.ms=20
producer.batch.size=262144
producer.compression.type=lz4
connector.client.config.override.policy=All
"""

CONVERTER = {
    'apicurio.registry.url': '{registry}/apis/registry/v2',
    'apicurio.registry.auto-register': 'true',
    'apicurio.registry.as-confluent': 'true',
    'apicurio.registry.use-id': 'contentId',
    'apicurio.registry.headers.enabled': 'false',
}


def version(name):
    with open(POM) as f:
        return re.search(rf'<{name}.version>(.*)</', f.read()).group(1)


def fetch(bench):
    """The jars, below the cache, a folder a part."""
    bench.run(['env', f'WAL2KAFKA_CACHE={bench.cache}',
               os.path.join(TREE, 'test/testbed/testbed.sh'), 'fetch_debezium'])
    return os.path.join(bench.cache, f"debezium-{version('debezium')}")


class Connect:
    def __init__(self, bench):
        self.bench = bench
        self.runs = 0
        self.port = bench.kafka_port + 2
        top = fetch(bench)
        # A plugin path names the folder above the plugins' own.
        plugins = bench.path('run/plugins')
        os.makedirs(plugins)
        for part in PARTS[1:]:
            os.symlink(os.path.join(top, part), os.path.join(plugins, part))
        folder = bench.path('run/connect')
        os.makedirs(folder)
        registry = bench.registry_url.split('/apis/')[0]
        converter = '\n'.join(f'{side}.converter.{key}={value.format(registry=registry)}'
                              for side in ('key', 'value') for key, value in CONVERTER.items())
        with open(os.path.join(folder, 'worker.properties'), 'w') as f:
            f.write(WORKER.format(bootstrap=bench.bootstrap, port=self.port, plugins=plugins,
                                  converter=converter))
        self.log = os.path.join(folder, 'connect.log')
        java = ['java', '-Xms1g', '-Xmx1g', '-XX:+UseG1GC',
                '-Dlog4j2.configurationFile=' + bench.path('src/test/testbed/kafka/log4j2.properties'),
                '-cp', os.path.join(top, 'runtime', '*'),
                'org.apache.kafka.connect.cli.ConnectDistributed',
                os.path.join(folder, 'worker.properties')]
    
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(bench.as_user(java), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        bench.started.append(self.process)
        wait_until('Kafka Connect', self.ready, seconds=120, step=0.5)
        self.pid = self.java_pid()

    def java_pid(self):
        """runuser may wait for the program that it starts."""
        below = children(self.process.pid)
        return below[0][0] if below else self.process.pid

    def ready(self):
        if self.process.poll() is not None:
            raise BenchError('Kafka Connect did not start:\n'
                             + self.bench.run(['tail', '-n', '20', self.log]))
        try:
            return self.call('GET', '/connectors') is not None
        except (OSError, BenchError):   # it answers 404 until it is up
            return None

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.port}{path}', method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={'Content-Type': 'application/json'})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise BenchError(f'Kafka Connect: {error.read().decode()}')
        return json.loads(text) if text else {}

    def config(self, name, slot, workload):
        bench = self.bench
        return {
            'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
            'database.hostname': '127.0.0.1', 'database.port': str(bench.port),
            'database.user': 'postgres', 'database.password': 'none',
            'database.dbname': 'bench', 'topic.prefix': name,
            'plugin.name': 'pgoutput', 'slot.name': slot,
            'publication.name': 'bench', 'publication.autocreate.mode': 'disabled',
            'table.include.list': f'public.bench_{workload.name}',
            'snapshot.mode': 'no_data', 'schema.name.adjustment.mode': 'avro',
            'max.batch.size': '2048', 'max.queue.size': '8192',
            'topic.creation.default.replication.factor': '1',
            'topic.creation.default.partitions': '1',
            'tasks.max': '1',
        }

    def complaint(self, name):
        status = self.call('GET', f'/connectors/{name}/status')
        traces = [t.get('trace', '') for t in status.get('tasks', []) + [status['connector']]]
        return '\n'.join(trace[:1000] for trace in traces if trace)

    def read(self, bench, session, slot, end, workload):
        self.runs += 1
        name = f'debezium{self.runs}'
        topic = f'{name}.public.bench_{workload.name}'
        self.call('PUT', f'/connectors/{name}/config', self.config(name, slot, workload))
        try:
            return self.measure(name, topic, workload)
        finally:
            self.call('DELETE', f'/connectors/{name}')
            wait_until('the slot', lambda: session.one(
                'SELECT active_pid FROM pg_replication_slots'
                f" WHERE slot_name = '{slot}'") in ('', None), seconds=60)

    def measure(self, name, topic, workload):
        bench = self.bench

        def arrived():
            if not is_alive(self.pid):
                raise BenchError('Kafka Connect died')
            return bench.topic_end(topic)
        try:
            first = wait_until('the first record', arrived, seconds=90, step=0.1)
            began = time.monotonic()
            sender = process_titled(bench, 'walsender')
            cpu = cpu_seconds(self.pid) + cpu_seconds(sender)
            broker_pid = bench.pid_of('kafka')
            broker = cpu_seconds(broker_pid)
            watches = [MemoryWatch(self.pid), MemoryWatch(sender)]
            wait_until('the last record', lambda: arrived() >= workload.rows,
                       seconds=60 + workload.rows / 2000, step=0.1)
        except BenchError as error:
            raise BenchError(f'Debezium: {error}\n{self.complaint(name)}')
        wall = time.monotonic() - began
        cpu = cpu_seconds(self.pid) + cpu_seconds(sender) - cpu
        broker = cpu_seconds(broker_pid) - broker
        for watch in watches:
            watch.stop()
        # What came before the clock started is left out of both.
        share = workload.rows / (workload.rows - first)
        return Result(workload.rows, wall * share, cpu * share,
                      sum(w.anon_kb for w in watches) / 1024,
                      sum(w.hwm_kb for w in watches) / 1024, broker * share)


def reader(bench):
    if shutil.which('kcat') is None:
        raise BenchError('Debezium is timed with kcat; install the package kcat')
    print('starting Kafka Connect', flush=True)
    connect = Connect(bench)
    return Reader('debezium', 'pgoutput',
                  f"Debezium {version('debezium')} on Connect {version('connect')}, Avro, lz4",
                  connect.read)
