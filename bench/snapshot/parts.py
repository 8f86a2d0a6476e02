"""The parts of the snapshot benchmark: each returns what goes into the
results, a list of rows."""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../test/lib'))

import consume
from machine import (TREE, BenchError, boot_seconds, children, cpu_busy, cpu_seconds, is_alive,
                     reaped_cpu_seconds, wait_until)
from readers import STREAM, set_streams
from workloads import COLUMNS, ROW

NAME = 'bench_snapshot'
LIGHT = 'bench_light'
COMPLETED = r'completed its snapshot\n.*sent (\d+) rows in ([\d.]+) s'


def say(text):
    print('  ' + text, flush=True)


def prepare(bench, session):
    session.rows('CREATE ROLE bench_cdc LOGIN REPLICATION')
    session.rows('GRANT pg_read_all_data TO bench_cdc')
    session.rows('CREATE EXTENSION wal2kafka')
    for name, value in [('bootstrap_servers', bench.bootstrap),
                        ('schema_registry_url', bench.registry_url),
                        ('publication_name', 'bench'),
                        ('topic_config', 'message.timestamp.type=LogAppendTime')]:
        session.rows(f"ALTER DATABASE bench SET wal2kafka.{name} = '{value}'")
    if os.environ.get('KAFKA_OPTIONS'):
        session.rows("ALTER DATABASE bench SET wal2kafka.kafka_options ="
                     f" '{os.environ['KAFKA_OPTIONS']}'")


class Table:
    """The table that is read."""

    def __init__(self, session, rows):
        self.session = session
        self.rows = rows
        session.rows(f'CREATE TABLE {NAME} ({COLUMNS})')
        session.rows(f'INSERT INTO {NAME} SELECT {ROW} FROM generate_series(1, {rows}) i')
        session.rows(f'CREATE TABLE {LIGHT} (id bigserial PRIMARY KEY, n int)')
        session.rows(f'CREATE PUBLICATION bench FOR TABLE {NAME}, {LIGHT}')
        session.rows('VACUUM ANALYZE')
        session.rows('CHECKPOINT')

    def megabytes(self):
        return int(self.session.one(f"SELECT pg_table_size('{NAME}')")) / 1e6


# ----------
# Processes
# ----------

class Watch(threading.Thread):
    """Peaks of memory of every process of the stream, in MB: by its title,
    the largest of each kind of memory."""

    def __init__(self, bench):
        super().__init__(daemon=True)
        self.bench = bench
        self.peaks = {}
        self.done = threading.Event()
        self.start()

    def sample(self):
        for pid, title in children(self.bench.postmaster):
            if 'wal2kafka' not in title or 'launcher' in title:
                continue
            found = {}
            for name in ('status', 'smaps_rollup'):
                with open(f'/proc/{pid}/{name}') as f:
                    found.update(re.findall(r'^(\w+):\s+(\d+) kB', f.read(), re.M))
            kind = re.sub(r'^postgres: |bench/bench_cdc|public\.\w+|"|\b\d+\b', '', title).strip()
            memory = {'anonymous': int(found['RssAnon']),
                      'pss': int(found['Pss']),
                      'private': int(found['Private_Clean']) + int(found['Private_Dirty'])}
            peak = self.peaks.setdefault(kind, {})
            for name, value in memory.items():
                peak[name] = max(peak.get(name, 0), value / 1024)

    def run(self):
        while not self.done.wait(0.1):
            try:
                self.sample()
            except (OSError, KeyError):
                continue

    def stop(self):
        self.done.set()
        self.join()
        return self.peaks


class Log:
    """What the server wrote since."""

    def __init__(self, bench):
        self.path = bench.log
        self.start = os.path.getsize(self.path)

    def find(self, pattern):
        with open(self.path, 'rb') as f:
            f.seek(self.start)
            return re.search(pattern, f.read().decode('utf-8', 'replace'))


# ----------
# The stream
# ----------

class Stream:
    """A stream with a slot and topics of its own."""

    count = 0

    def __init__(self, bench, session, workers=1, mode='initial'):
        Stream.count += 1
        self.bench, self.session = bench, session
        self.prefix = f'snapshot{Stream.count}'
        self.slot = f'bench_snapshot{Stream.count}'
        self.topic = f'{self.prefix}.public.{NAME}'
        for name, value in [('slot_name', self.slot), ('topic_prefix', self.prefix),
                            ('snapshot_mode', mode), ('snapshot_workers', workers)]:
            session.rows(f"ALTER DATABASE bench SET wal2kafka.{name} = '{value}'")
        self.log = Log(bench)

    def state(self):
        return self.session.rows('SELECT state, snapshot_rows, last_error FROM wal2kafka.stat_streams'
                                 f" WHERE stream = '{STREAM}'")

    def start(self):
        set_streams(self.session, STREAM)

    def wait_streaming(self, seconds):
        try:
            wait_until('the stream', lambda: self.state()[:1] and self.state()[0][0] == 'streaming',
                       seconds=seconds, step=0.02)
        except BenchError as error:
            raise BenchError(f'{error}: {self.state()}')

    def stop(self):
        """... and forget it."""
        set_streams(self.session, '')
        wait_until('the end of the stream', lambda: not any(
            'wal2kafka' in title and 'launcher' not in title
            for _, title in children(self.bench.postmaster)))
        self.session.rows('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots'
                          f" WHERE slot_name = '{self.slot}'")
        delete_topic(self.bench, self.topic)


def delete_topic(bench, topic):
    bench.run(['/usr/bin/python3', TREE + '/test/lib/kafka_admin.py', bench.bootstrap,
               'delete', topic])


def broker_cpu(bench):
    return cpu_seconds(bench.pid_of('kafka'))


def result(kind, table, wall, cpu, **more):
    say(f'{kind:28} {table.rows / wall:12,.0f} rows/s  {cpu / table.rows * 1e6:7.3f} CPU s per M rows')
    return dict(kind=kind, rows=table.rows, wall=wall, cpu=cpu, **more)


def repeated(options, kinds):
    """Each kind's function by turns."""
    rows = []
    for _ in range(options['repeats']):
        for function, argument in kinds:
            rows.append(function(argument))
    return rows


# ----------
# Rates
# ----------

def copy_once(bench):
    """Wall and CPU, of client and backend."""
    before = reaped_cpu_seconds(bench.postmaster)
    backends = {pid for pid, _ in children(bench.postmaster)}
    started = time.monotonic()
    client = subprocess.Popen([bench.bin + '/psql'] + bench.connection() +
                              ['-Xqc', f'COPY {NAME} TO STDOUT'], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(client.pid, 0)
    client.returncode = status
    wall = time.monotonic() - started
    if status != 0:
        raise BenchError('COPY failed')
    wait_until('the end of the backend', lambda: {
        pid for pid, _ in children(bench.postmaster)} <= backends)
    cpu = reaped_cpu_seconds(bench.postmaster) - before
    return wall, cpu + usage.ru_utime + usage.ru_stime


def copy(bench, session, table, options):
    copy_once(bench)            # the table comes into memory
    return repeated(options, [(lambda _: result('COPY', table, *copy_once(bench)), None)])


def initial_snapshot(bench, session, table, workers):
    """The rate is from "begins its snapshot" to the last acknowledgement, as
    the log has it."""
    stream = Stream(bench, session, workers)
    watch = Watch(bench)
    before, broker = reaped_cpu_seconds(bench.postmaster), broker_cpu(bench)
    started = boot_seconds()
    stream.start()
    try:
        done = wait_until('the snapshot', lambda: stream.log.find(COMPLETED), seconds=120 + table.rows / 10000, step=0.05)
        whole = boot_seconds() - started
        broker = broker_cpu(bench) - broker
        stream.wait_streaming(60)
    except BenchError as error:
        raise BenchError(f'{error}: {stream.state()}')
    records = bench.topic_end(stream.topic)
    peaks = watch.stop()
    stream.stop()
    cpu = reaped_cpu_seconds(bench.postmaster) - before
    if records is not None and records < table.rows:
        raise BenchError(f'{table.rows} rows, but only {records} records in {stream.topic}')
    return result(f'wal2kafka, {workers} worker' + 's' * (workers > 1), table, float(done.group(2)), cpu,
                  whole=whole, broker_cpu=broker, memory=peaks)


def ours(bench, session, table, options):
    # a broker that has just started compiles its code first
    initial_snapshot(bench, session, table, options['workers'][0])
    return repeated(options, [
        (lambda w: initial_snapshot(bench, session, table, w), workers)
        for workers in options['workers']])


def request(session):
    return session.one(f"SELECT wal2kafka.snapshot('public.{NAME}')")


def wait_done(session, request_id, table):
    def over():
        states = session.rows('SELECT state, error FROM wal2kafka.stat_snapshots'
                              f" WHERE snapshot = '{request_id}'")
        if any(state[0] in ('failed', 'gone', 'cancelled') for state in states):
            raise BenchError(f'the snapshot ended with {states}')
        return states and all(state[0] == 'done' for state in states)
    wait_until('the snapshot', over, seconds=120 + table.rows / 5000, step=0.05)


def ad_hoc(bench, session, table, options):
    stream = Stream(bench, session, mode='no_data')
    stream.start()
    stream.wait_streaming(60)

    def once(_):
        watch = Watch(bench)
        pid = int(session.one('SELECT pid FROM wal2kafka.stat_streams'))
        before = reaped_cpu_seconds(bench.postmaster) + cpu_seconds(pid)
        broker, started = broker_cpu(bench), time.monotonic()
        wait_done(session, request(session), table)
        wall = time.monotonic() - started
        peaks = watch.stop()
        wait_until('the end of the reader', lambda: not any(
            'snapshot' in title and 'wal2kafka' in title for _, title in children(bench.postmaster)))
        cpu = reaped_cpu_seconds(bench.postmaster) + cpu_seconds(pid) - before
        return result('wal2kafka, ad hoc', table, wall, cpu, broker_cpu=broker_cpu(bench) - broker,
                      memory=peaks)

    rows = repeated(options, [(once, None)])
    stream.stop()
    return rows


def debezium(bench, session, table, options):
    import connect
    if shutil.which('kcat') is None:
        raise BenchError('Debezium is timed with kcat; install the package kcat')
    say('starting Kafka Connect')
    server = connect.Connect(bench)

    def once(threads, warm_up=False):
        server.runs += 1
        name, slot = f'debezium{server.runs}', f'debezium{server.runs}'
        topic = f'{name}.public.{NAME}'

        class workload:
            name = 'snapshot'
        config = server.config(name, slot, workload)
        config.update({'snapshot.mode': 'initial', 'snapshot.max.threads': str(threads),
                       'max.batch.size': '8192', 'max.queue.size': '32768'})
        before = reaped_cpu_seconds(bench.postmaster)
        server.call('PUT', f'/connectors/{name}/config', config)
        enough = min(table.rows, 300000) if warm_up else table.rows

        def arrived():
            if not is_alive(server.pid):
                raise BenchError('Kafka Connect died')
            return bench.topic_end(topic)
        try:
            first = wait_until('the first record', arrived, seconds=120, step=0.05)
            began, cpu, broker = time.monotonic(), cpu_seconds(server.pid), broker_cpu(bench)
            wait_until('the last record', lambda: arrived() >= enough,
                       seconds=120 + table.rows / 2000, step=0.1)
        except BenchError as error:
            raise BenchError(f'Debezium: {error}\n{server.complaint(name)}')
        wall = time.monotonic() - began
        cpu, broker = cpu_seconds(server.pid) - cpu, broker_cpu(bench) - broker
        with open(f'/proc/{server.pid}/status') as f:
            anonymous = int(re.search(r'RssAnon:\s+(\d+)', f.read()).group(1)) / 1024
        server.call('DELETE', f'/connectors/{name}')
        wait_until('the slot', lambda: session.one(
            'SELECT count(*) FROM pg_replication_slots WHERE active') == '0', seconds=60)
        session.rows(f"SELECT pg_drop_replication_slot('{slot}')")
        delete_topic(bench, topic)
        if warm_up:
            return None
        # What came before the clock started is left out of the rate; its
        # backends' CPU is counted whole.
        share = table.rows / (table.rows - first) if first < table.rows else 1
        return result(f'Debezium, {threads} thread' + 's' * (threads > 1), table, wall * share,
                      cpu * share + reaped_cpu_seconds(bench.postmaster) - before,
                      broker_cpu=broker * share,
                      memory={'Connect': {'anonymous': anonymous}})

    say('Debezium: warming up')
    once(options['threads'][-1], True)
    rows = repeated(options, [(once, threads) for threads in options['threads']])
    server.process.terminate()
    server.process.wait()
    return rows


# ----------
# Writers
# ----------

class Pgbench:
    """pgbench that writes to the table which is read, and notes the time of
    each transaction."""

    def __init__(self, bench, table, options, rate=None):
        self.bench = bench
        self.clients = options['clients']
        self.prefix = bench.path('pgbench_log')
        for old in glob.glob(self.prefix + '*'):
            os.remove(old)
        script = bench.path('writers.sql')
        with open(script, 'w') as f:
            f.write(f'\\set id random(1, {table.rows})\n'
                    f'UPDATE {NAME} SET n = n + 1 WHERE id = :id;\n')
        self.process = subprocess.Popen(
            [bench.bin + '/pgbench', '-n', '-c', str(self.clients), '-j', '1', '-T', '3600', '-l',
             '--log-prefix', self.prefix, '-f', script] + (['-R', str(rate)] if rate else [])
            + bench.connection()[:-2] + ['bench'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.times = []
        for path in glob.glob(self.prefix + '*'):
            with open(path) as f:
                for line in f:
                    fields = line.split()
                    if len(fields) >= 6:
                        self.times.append((int(fields[4]) + int(fields[5]) / 1e6,
                                           int(fields[2]) / 1000))

    def between(self, begin, end):
        """Transactions a second, and their mean and 99th percentile in ms."""
        times = sorted(ms for at, ms in self.times if begin <= at < end)
        return {'tps': len(times) / (end - begin), 'mean_ms': sum(times) / max(len(times), 1),
                'p99_ms': times[len(times) * 99 // 100] if times else None,
                'seconds': end - begin}


def copies(bench, table, seconds):
    """COPY again and again: how often, and in how many seconds."""
    begin = time.monotonic()
    n = 0
    while time.monotonic() < begin + seconds:
        bench.run([bench.bin + '/psql'] + bench.connection()
                  + ['-Xqc', f'\\copy {NAME} TO /dev/null'])
        n += 1
    return n, time.monotonic() - begin


def writers(bench, session, table, options):
    rows = []
    seconds = options['seconds']

    def beside(kind, rate, work):
        session.rows('CHECKPOINT')
        pgbench = Pgbench(bench, table, options, rate)
        time.sleep(2)           # connections, first pages
        alone = time.time()
        time.sleep(seconds)
        started, busy = time.time(), cpu_busy()
        times, seconds_of_work = work()
        end, busy = time.time(), [b - a for a, b in zip(busy, cpu_busy())]
        pgbench.stop()
        # without the start of a stream, which waits for slots and topics
        begin = end - seconds_of_work
        row = dict(kind=kind, rate=rate, alone=pgbench.between(alone, started),
                   beside=pgbench.between(begin, end), times=times,
                   busy_percent=100 * busy[0] / busy[1])
        lost = (row['alone']['tps'] - row['beside']['tps']) * row['beside']['seconds'] / times
        row['lost'] = lost
        rows.append(row)
        say(f"{kind:24} {'flat out' if not rate else f'{rate}/s':9} tps {row['alone']['tps']:8,.0f} alone,"
            f" {row['beside']['tps']:8,.0f} beside ({row['beside']['seconds']:.1f} s),"
            f" p99 {row['alone']['p99_ms']:.2f} and {row['beside']['p99_ms']:.2f} ms,"
            f" {lost:,.0f} transactions lost for one reading")

    def snapshot(workers):
        stream = Stream(bench, session, workers)
        stream.start()
        done = wait_until('the snapshot', lambda: stream.log.find(COMPLETED),
                          seconds=120 + table.rows / 5000, step=0.02)
        stopped.append(stream)
        return 1, float(done.group(2))

    for rate in (None, 1000):
        # a reader that ends too soon says little: COPY goes on for as long
        beside('COPY', rate, lambda: copies(bench, table, seconds))
        for workers in options['workers']:
            stopped = []
            beside(f'wal2kafka, {workers} worker' + 's' * (workers > 1), rate,
                   lambda: snapshot(workers))
            stopped[0].stop()
    return rows


# ----------
# Delay
# ----------

def appended(bench, topic, begin, end):
    """Commit to broker in ms of the changes committed in between: the time
    of the transaction's commit is in the event, the broker's in the record."""
    args = types.SimpleNamespace(brokers=bench.bootstrap, registry=bench.registry_url,
                                 registry_user='', schemas_topic='', missing_ok=False)
    schemas = consume.Schemas(args)
    times = []
    for raw in consume.read_raw(args, [topic]):
        # rows that were read are many, and decoding is slow
        if raw.value() is None or b'incremental' in raw.value():
            continue
        committed = schemas.decode(raw.value())[0]['source']['ts_us'] / 1000
        if begin * 1000 <= committed < end * 1000:
            times.append(raw.timestamp()[1] - committed)
    times.sort()
    if not times:
        raise BenchError(f'no change in {topic}')
    return {'changes': len(times), 'p50_ms': times[len(times) // 2],
            'p99_ms': times[len(times) * 99 // 100], 'max_ms': times[-1]}


def delay(bench, session, table, options):
    """Two light writers, 100 transactions a second each: to another table,
    and to the one that is read."""
    rows = []
    stream = Stream(bench, session, mode='no_data')
    stream.start()
    stream.wait_streaming(60)
    scripts = {LIGHT: f'INSERT INTO {LIGHT} (n) VALUES (1);',
               NAME: f'\\set id random(1, {table.rows})\n'
                     f'UPDATE {NAME} SET n = n + 1 WHERE id = :id;'}
    processes = []
    for name, text in scripts.items():
        path = bench.path(f'{name}.sql')
        with open(path, 'w') as f:
            f.write(text + '\n')
        processes.append(subprocess.Popen(
            [bench.bin + '/pgbench', '-n', '-c', '1', '-R', '100', '-T', '3600', '-f', path]
            + bench.connection()[:-2] + ['bench'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        time.sleep(2)           # topics, schemas
        alone = time.time()
        time.sleep(options['seconds'])
        begin = time.time()
        wait_done(session, request(session), table)
        end = time.time()
        time.sleep(1)
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
            process.wait()
    # the stream's own count of how long changes waited for a range
    counted = session.rows("SELECT column_name FROM information_schema.columns WHERE table_schema ="
                           " 'wal2kafka' AND table_name = 'stat_streams'"
                           " AND column_name LIKE '%delay%'")
    own = session.one(f'SELECT {counted[0][0]} FROM wal2kafka.stat_streams') if counted else None
    wait_until('acknowledgements', lambda: session.one(
        'SELECT confirmed_flush_lsn >= pg_current_wal_insert_lsn() - 1000 FROM pg_replication_slots'
        f" WHERE slot_name = '{stream.slot}'") == 't', seconds=60)
    set_streams(session, '')
    for name, title in ((LIGHT, 'another table'), (NAME, 'the table that is read')):
        topic = f'{stream.prefix}.public.{name}'
        for when, first, last in (('alone', alone, begin), ('during the snapshot', begin, end)):
            row = dict(table=title, when=when, seconds=last - first, own_delay=own,
                       **appended(bench, topic, first, last))
            rows.append(row)
            say(f"{title:24} {when:20} p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f},"
                f" max {row['max_ms']:.1f} ({row['changes']} changes)")
    stream.stop()
    delete_topic(bench, f'{stream.prefix}.public.{LIGHT}')
    return rows


PARTS = {'copy': copy, 'ours': ours, 'ad_hoc': ad_hoc, 'debezium': debezium, 'writers': writers,
         'delay': delay}
