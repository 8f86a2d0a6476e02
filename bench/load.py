"""Figures under load: latency, the cost to writers, the commit callback."""

import os
import re
import signal
import statistics
import subprocess
import sys
import time

from machine import (BenchError, children, cpu_busy, cpu_seconds, lsn, machine_load,
                     reaped_cpu_seconds, wait_until)
from readers import start_stream, stop_stream, stream_complaint

SLOT = 'bench_load'
RATES = (200, 5000)
CLIENTS = 4


def pgbench(bench, *arguments):
    """Run pgbench; transactions, tps, CPU of the backends, busy machine.

    The backends' CPU is what the postmaster reaps while pgbench runs: no
    other process of the server ends meanwhile.
    """
    before = reaped_cpu_seconds(bench.postmaster)
    backends = {pid for pid, _ in children(bench.postmaster)}
    busy, total = cpu_busy()
    output = bench.run([bench.bin + '/pgbench', '-n', '-c', str(CLIENTS), '-j', '1']
                       + list(arguments) + bench.connection()[:-2] + ['bench'])
    wait_until("the end of pgbench's backends", lambda: {
        pid for pid, _ in children(bench.postmaster)} <= backends)
    busy, total = cpu_busy()[0] - busy, cpu_busy()[1] - total
    transactions = int(re.search(r'transactions actually processed: (\d+)', output).group(1))
    return {'transactions': transactions,
            'tps': float(re.search(r'tps = ([\d.]+)', output).group(1)),
            'cpu_us': (reaped_cpu_seconds(bench.postmaster) - before) / transactions * 1e6,
            'busy_percent': 100 * busy / total,
            'load': machine_load()}


def new_slot(session):
    session.rows('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots'
                 f" WHERE slot_name = '{SLOT}'")
    session.rows(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'wal2kafka')")


def drain(session):
    """Wait until the stream has everything acknowledged."""
    end = lsn(session.one('SELECT pg_current_wal_insert_lsn()'))
    try:
        wait_until('acknowledgements', lambda: lsn(session.one(
            'SELECT confirmed_flush_lsn FROM pg_replication_slots'
            f" WHERE slot_name = '{SLOT}'")) >= end, seconds=120)
    except BenchError as error:
        raise BenchError(f'{error}: {stream_complaint(session)}')


def script(bench, text):
    path = bench.path('pgbench.sql')
    with open(path, 'w') as f:
        f.write(text + '\n')
    return path


def latency(bench, seconds):
    """Commit to acknowledged, by the stream's own histogram, which starts
    empty with the server."""
    rows = []
    session = bench.session()
    session.rows("ALTER DATABASE bench SET wal2kafka.kafka_options = 'linger.ms=0'")
    session.rows('CREATE TABLE bench_latency (id bigserial PRIMARY KEY, n int,'
                 ' at timestamptz, body text)')
    path = script(bench, 'INSERT INTO bench_latency (n, at, body)'
                  " VALUES (1, now(), repeat('x', 150));")
    for fsync in ('off', 'on'):
        session.rows(f"ALTER SYSTEM SET fsync = {fsync}")
        for rate in RATES:
            new_slot(session)
            bench.restart_server()
            session = bench.session()
            pid = start_stream(session, SLOT)
            # The first row makes topic and schemas.
            session.rows("INSERT INTO bench_latency (n) VALUES (0)")
            drain(session)
            cpu = cpu_seconds(pid)
            row = pgbench(bench, '-f', path, '-R', str(rate), '-T', str(seconds))
            row['worker_cpu_percent'] = 100 * (cpu_seconds(pid) - cpu) / seconds
            drain(session)
            p50, p99 = session.rows('SELECT latency_p50_ms, latency_p99_ms'
                                    ' FROM wal2kafka.stat_streams')[0]
            row.update(rate=rate, fsync=fsync, p50_ms=float(p50), p99_ms=float(p99))
            rows.append(row)
            stop_stream(session, SLOT, pid)
            print(f'  {rate}/s, fsync {fsync}: p50 {float(p50):.3f} ms, p99 {float(p99):.3f} ms',
                  flush=True)
    session.rows('ALTER DATABASE bench RESET wal2kafka.kafka_options')
    session.rows('ALTER SYSTEM RESET fsync')
    new_slot(session)
    session.rows(f"SELECT pg_drop_replication_slot('{SLOT}')")
    bench.restart_server()
    return rows


def writers(bench, seconds):
    """pgbench with and without the stream, by turns."""
    session = bench.session()
    bench.run([bench.bin + '/pgbench', '-i', '-q', '-s', '10']
              + bench.connection()[:-2] + ['bench'])
    rows = []
    modes = {'as fast as it goes': [], '1000 transactions/s': ['-R', '1000']}
    for title, arguments in modes.items():
        for _ in range(3):
            for stream in (False, True):
                session.rows('CHECKPOINT')
                if stream:
                    new_slot(session)
                    pid = start_stream(session, SLOT)
                row = pgbench(bench, '-b', 'simple-update', '-T', str(seconds), *arguments)
                if stream:
                    drain(session)
                    stop_stream(session, SLOT, pid)
                row.update(mode=title, stream=stream)
                rows.append(row)
                print(f"  {title}, {'with' if stream else 'no'} stream:"
                      f" {row['tps']:,.0f} tps, {row['cpu_us']:.1f} us a transaction", flush=True)
    session.rows(f"SELECT pg_drop_replication_slot('{SLOT}')")
    return rows


def time_commits(session, count, pause):
    session.rows('TRUNCATE bench_commit')
    session.rows(f'SELECT bench_commit_start({count + 1})')
    session.rows(f"""
DO $$ BEGIN
    FOR i IN 1 .. {count} LOOP
        INSERT INTO bench_commit VALUES (i);
        COMMIT;
        {'PERFORM pg_sleep(%f);' % pause if pause else ''}
    END LOOP;
END $$""")
    return figures(int(t) for t in session.one('SELECT bench_commit_times()')
                   .strip('{}').split(','))


def figures(times):
    times = sorted(times)
    return {'p50_ns': times[len(times) // 2], 'p90_ns': times[len(times) * 9 // 10],
            # without the hundredth in which the machine did something else
            'mean_ns': statistics.fmean(times[:len(times) * 99 // 100])}


def time_signals(count):
    """What a signal to a sleeping process takes by itself: the callback
    cannot wake a worker for less."""
    sleeper = subprocess.Popen([sys.executable, '-c', 'import signal, sys\n'
                                'signal.signal(signal.SIGURG, lambda *_: None)\n'
                                'print(flush=True)\n'
                                'while True: signal.pause()'], stdout=subprocess.PIPE)
    sleeper.stdout.readline()
    times = []
    for _ in range(count):
        time.sleep(0.005)
        nothing = time.thread_time_ns()
        before = time.thread_time_ns()
        os.kill(sleeper.pid, signal.SIGURG)
        after = time.thread_time_ns()
        times.append((after - before) - (before - nothing))
    sleeper.kill()
    sleeper.wait()
    return figures(times)


def commit(bench, seconds):
    """What the commit callback takes, by a stopwatch around it."""
    session = bench.session()
    session.rows('CREATE TABLE IF NOT EXISTS bench_commit (i int)')
    count = max(seconds * 2000, 1000)
    slow = max(seconds * 100, 100)
    rows = []
    for mode in ('on', 'off'):
        session.rows(f'SET synchronous_commit = {mode}')
        rows.append(dict(time_commits(session, count, 0), state='no stream', commit=mode))
        rows.append(dict(time_commits(session, slow, 0.005), state='no stream, 5 ms apart',
                         commit=mode))
    new_slot(session)
    pid = start_stream(session, SLOT)
    for mode in ('on', 'off'):
        session.rows(f'SET synchronous_commit = {mode}')
        rows.append(dict(time_commits(session, count, 0), state='worker awake', commit=mode))
        drain(session)
        rows.append(dict(time_commits(session, slow, 0.005), state='worker asleep', commit=mode))
        drain(session)
    stop_stream(session, SLOT, pid)
    session.rows('RESET synchronous_commit')
    session.rows(f"SELECT pg_drop_replication_slot('{SLOT}')")
    rows.append(dict(time_signals(slow), state='a bare signal to a sleeping process', commit='–'))
    for row in rows:
        print(f"  synchronous_commit {row['commit']}, {row['state']}: p50 {row['p50_ns']} ns,"
              f" mean {row['mean_ns']:.0f} ns", flush=True)
    return rows


PARTS = {'latency': latency, 'writers': writers, 'commit': commit}
