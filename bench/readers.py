"""The readers: each takes a slot at the start of a workload's WAL and reads
it to the end.  A reader returns a Result.
"""

import os
import subprocess
import time
from collections import namedtuple

from machine import (BenchError, MemoryWatch, boot_seconds, children, cpu_seconds,
                     is_alive, lsn, memory_kb, reaped_cpu_seconds, start_seconds, wait_until)

# cpu: of all processes that belong to the reader.  broker_cpu: of Kafka.
# anon_mb: peak of private memory; rss_mb: peak with shared pages; both
# summed over the processes.  None: not measured.
Result = namedtuple('Result', 'rows wall cpu anon_mb rss_mb broker_cpu',
                    defaults=[None])

# A row a reader: name, output plugin, title, function, its arguments
Reader = namedtuple('Reader', 'name plugin title read')


def noop(bench, session, slot, end, workload):
    rows, _, wall, cpu, max_rss = session.rows(
        f"SELECT * FROM bench_decode('{slot}', '{end}')")[0]
    return Result(int(rows), float(wall), float(cpu), None, int(max_rss) / 1024)


def process_titled(bench, title):
    return wait_until(title, lambda: next(
        (pid for pid, command in children(bench.postmaster) if title in command), None),
        seconds=10, step=0.002)


def recvlogical(*options):
    """A reader over the replication protocol, its client writing nowhere."""
    def read(bench, session, slot, end, workload):
        before = reaped_cpu_seconds(bench.postmaster)
        command = [bench.bin + '/pg_recvlogical'] + bench.connection()
        command += ['--slot', slot, '--start', '--endpos', end, '-f', '/dev/null',
                    '--no-loop', '--status-interval=10']
        for option in options:
            command += ['-o', option]
        started = time.monotonic()
        with open(bench.log, 'a') as log:
            client = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            sender = process_titled(bench, 'walsender')
            watches = [MemoryWatch(sender), MemoryWatch(client.pid)]
        except BenchError:
            client.kill()
            client.wait()
            raise
        _, status, usage = os.wait4(client.pid, 0)
        client.returncode = status
        wall = time.monotonic() - started
        for watch in watches:
            watch.stop()
        if status != 0:
            raise BenchError(f'pg_recvlogical failed (whole log: {bench.log})')
        # The server adds up what its children used when it reaps them.
        wait_until('the end of the walsender', lambda: not os.path.exists(f'/proc/{sender}'))
        cpu = reaped_cpu_seconds(bench.postmaster) - before
        cpu += usage.ru_utime + usage.ru_stime
        return Result(workload.rows, wall, cpu,
                      sum(w.anon_kb for w in watches) / 1024,
                      sum(w.hwm_kb for w in watches) / 1024)
    return read


def set_streams(session, streams):
    session.rows(f"ALTER SYSTEM SET wal2kafka.streams = '{streams}'")
    session.rows('SELECT pg_reload_conf()')


def stop_stream(session, slot, pid):
    set_streams(session, '')
    wait_until('the end of the stream', lambda: not os.path.exists(f'/proc/{pid}'))


STREAM = 'bench/bench_cdc'


def active_pid(session, slot):
    pid = session.one(f"SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{slot}'")
    return int(pid) if pid else None


def stream_complaint(session):
    rows = session.rows("SELECT state, waiting_for, last_error FROM wal2kafka.stat_streams")
    return '; '.join(' '.join(row) for row in rows)


def start_stream(session, slot):
    """Start the stream on a slot; its worker's pid once it decodes."""
    session.rows(f"ALTER DATABASE bench SET wal2kafka.slot_name = '{slot}'")
    set_streams(session, STREAM)
    try:
        return wait_until('the worker', lambda: active_pid(session, slot), step=0.002)
    except BenchError as error:
        raise BenchError(f'{error}: {stream_complaint(session)}')


def wal2kafka(bench, session, slot, end, workload):
    topic = f'bench.public.bench_{workload.name}'
    records = bench.topic_end(topic)
    broker_pid = bench.pid_of('kafka')
    broker = cpu_seconds(broker_pid)
    pid = start_stream(session, slot)
    watch = MemoryWatch(pid)
    target = lsn(end)

    def confirmed():
        return lsn(session.one('SELECT confirmed_flush_lsn FROM pg_replication_slots'
                               f" WHERE slot_name = '{slot}'")) >= target
    try:
        wait_until('acknowledgements', confirmed, seconds=60 + workload.rows / 10000, step=0.005)
    except BenchError as error:
        raise BenchError(f'{error}: {stream_complaint(session)}')
    wall = boot_seconds() - start_seconds(pid)
    cpu = cpu_seconds(pid)
    broker = cpu_seconds(broker_pid) - broker
    watch.stop()
    stop_stream(session, slot, pid)
    if records is not None:
        arrived = bench.topic_end(topic) - records
        if arrived < workload.rows:
            raise BenchError(f'{workload.rows} rows, but only {arrived} records in {topic}')
    return Result(workload.rows, wall, cpu, watch.anon_kb / 1024, watch.hwm_kb / 1024, broker)


READERS = [
    Reader('noop', 'wal2kafka_bench', 'no-op plugin in process (the limit)', noop),
    Reader('encode', 'wal2kafka', 'wal2kafka in process, events dropped', noop),
    Reader('wal2kafka', 'wal2kafka', 'wal2kafka to the broker', wal2kafka),
    Reader('pgoutput', 'pgoutput', 'pgoutput to /dev/null', recvlogical(
        'proto_version=1', 'publication_names=bench', 'binary=true')),
    Reader('wal2json', 'wal2json', 'wal2json v2 to /dev/null', recvlogical('format-version=2')),
    Reader('test_decoding', 'test_decoding', 'test_decoding to /dev/null', recvlogical()),
]


def idle_backend_mb(session):
    """Private memory of a backend that did next to nothing."""
    return memory_kb(session.one('SELECT pg_backend_pid()'))[0] / 1024


def measure(bench, session, reader, workload, base_slot, end):
    """One reader on one workload, on a slot of its own."""
    slot = f'{reader.name}_run'
    session.rows(f"SELECT pg_copy_logical_replication_slot('{base_slot}', '{slot}',"
                 f" false, '{reader.plugin}')")
    try:
        result = reader.read(bench, session, slot, end, workload)
    finally:
        pid = active_pid(session, slot)
        if pid and is_alive(pid):
            session.rows(f'SELECT pg_terminate_backend({pid})')
            wait_until('the slot', lambda: not active_pid(session, slot))
        session.rows(f"SELECT pg_drop_replication_slot('{slot}')")
    if result.rows < workload.rows:
        raise BenchError(f'{reader.name} read {result.rows} of {workload.rows} rows')
    return result
