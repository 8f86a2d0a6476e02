"""Results as Markdown tables and a plot."""

import datetime
import os
import platform
import re
import statistics
import subprocess
from xml.sax.saxutils import escape

from machine import TREE


# ----------
# What was measured, and on what
# ----------

def first_match(pattern, path, default='unknown'):
    try:
        with open(path) as f:
            found = re.search(pattern, f.read(), re.M)
    except OSError:
        found = None
    return found.group(1).strip() if found else default


def package_version(package):
    done = subprocess.run(['dpkg-query', '-W', '-f', '${Version}', package],
                          capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def facts(bench, session):
    testbed = os.path.join(TREE, 'test/testbed/testbed.sh')
    shown = ['fsync', 'synchronous_commit', 'shared_buffers', 'logical_decoding_work_mem',
             'wal_level', 'autovacuum']
    settings = {name: session.one(f'SHOW {name}') for name in shown}
    if bench.has_wal2kafka:
        for name, value in session.rows(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name IN"
                " ('wal2kafka.max_queue_size_in_bytes', 'wal2kafka.kafka_options')"):
            settings[name] = value or "''"
        settings['broker'] = 'heap 1 GB; ' + bench.BROKER.replace('\n', '; ')
    commit = subprocess.run(['git', '-C', TREE, 'rev-parse', '--short', 'HEAD'],
                            capture_output=True, text=True)
    versions = {
        'PostgreSQL': session.one('SHOW server_version'),
        'wal2kafka': commit.stdout.strip() if commit.returncode == 0 else 'unknown',
        'librdkafka': package_version('librdkafka1'),
        'Kafka': first_match(r'^KAFKA_VERSION=(.*)$', testbed),
        'Apicurio': first_match(r'^REGISTRY_VERSION=(.*)$', testbed),
        'wal2json': package_version('postgresql-%s-wal2json' % session.one(
            'SHOW server_version').split('.')[0]),
    }
    return {
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
        'versions': {k: v for k, v in versions.items() if v},
        'settings': settings,
        'hardware': {
            'cores': os.cpu_count(),
            'model': first_match(r'^model name\s*:(.*)$', '/proc/cpuinfo'),
            'memory_gb': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30),
            'kernel': platform.release(),
        },
    }


# ----------
# Figures
# ----------

def median(runs, key):
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) if values else None


def summary(runs):
    """Medians of a reader's runs."""
    rows = runs[0]['rows']
    broker = median(runs, 'broker_cpu')
    return {'rate': rows / median(runs, 'wall'),
            'slowest': rows / max(run['wall'] for run in runs),
            'fastest': rows / min(run['wall'] for run in runs),
            'cpu': median(runs, 'cpu') / rows * 1e6,
            'broker_cpu': None if broker is None else broker / rows * 1e6,
            'anon': median(runs, 'anon_mb'), 'rss': median(runs, 'rss_mb')}


def show(value, form):
    return '–' if value is None else format(value, form)


def ratio_lines(data):
    """What the targets speak of, as 'name | figure | target'."""
    all_runs = data.get('throughput', {})
    lines = []

    def add(name, value, form, target, good):
        lines.append(f'| {name} | {format(value, form)} | {target} | '
                     f"{'reached' if good else 'missed'} |")

    sums = {w: {r: summary(runs) for r, runs in readers.items()}
            for w, readers in all_runs.items()}
    inserts = sums.get('inserts', {})
    ours = inserts.get('wal2kafka')
    if ours:
        if 'noop' in inserts:
            value = ours['cpu'] / inserts['noop']['cpu']
            add('inserts: CPU of a row / limit', value, '.2f', '≤ 4.5', value <= 4.5)
        value = ours['anon'] - data['idle_backend_mb']
        add('inserts: worker memory above an idle backend, MB', value, '.0f', '≤ 96', value <= 96)
    for workload, peer, target in (('inserts', 'pgoutput', 4), ('updates', 'pgoutput', 3),
                                   ('inserts', 'debezium', 20)):
        pair = sums.get(workload, {})
        if 'wal2kafka' in pair and peer in pair:
            value = pair['wal2kafka']['rate'] / pair[peer]['rate']
            add(f'{workload}: rows/s / {peer}', value, '.1f', f'≥ {target}', value >= target)
    for row in data.get('latency', []):
        if row['rate'] == 200:
            add(f"p50 at 200/s, fsync {row['fsync']}, ms", row['p50_ms'], '.3f', '≤ 1',
                row['p50_ms'] <= 1)
    for workload, target in (('inserts', 1.6), ('updates', 1.6), ('binary', 1.6), ('text', 3)):
        pair = sums.get(workload, {})
        if 'encode' in pair and 'noop' in pair:
            value = pair['encode']['cpu'] / pair['noop']['cpu']
            add(f'{workload}: CPU of a row without Kafka / limit', value, '.2f', f'≤ {target}',
                value <= target)
    base = {(r['commit'], r['state']): r for r in data.get('commit', [])}
    for state, without, limit in (('worker awake', 'no stream', 0.5),
                                  ('worker asleep', 'no stream, 5 ms apart', 4)):
        pair = base.get(('on', state)), base.get(('on', without))
        if all(pair):
            value = (pair[0]['mean_ns'] - pair[1]['mean_ns']) / 1000
            add(f'commit callback, {state}, us', value, '.2f', f'≤ {limit}', value <= limit)
    return lines


# ----------
# Markdown
# ----------

def throughput_tables(data):
    lines = []
    for name, readers in data.get('throughput', {}).items():
        shape = data['workloads'][name]
        lines += ['', f"## {shape['rows']:,} {shape['title']} ({shape['wal_mb']:,.0f} MB of WAL)", '',
                  '| reader | rows/s | slowest – fastest run | CPU s per M rows | × limit '
                  '| private memory MB | with shared pages MB | broker CPU s per M rows |',
                  '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |']
        limit = summary(readers['noop'])['cpu'] if 'noop' in readers else None
        for reader, runs in readers.items():
            s = summary(runs)
            times = s['cpu'] / limit if limit else None
            lines.append(
                f"| {data['readers'][reader]} | {s['rate']:,.0f} | {s['slowest']:,.0f} – "
                f"{s['fastest']:,.0f} | {s['cpu']:.3f} | {show(times, '.1f')} | "
                f"{show(s['anon'], '.0f')} | {show(s['rss'], '.0f')} | "
                f"{show(s['broker_cpu'], '.2f')} |")
    return lines


def load_tables(data):
    lines = []
    if data.get('latency'):
        lines += ['', '## Commit to acknowledged (`linger.ms=0`, synchronous_commit on)', '',
                  '| transactions/s | reached | fsync | p50 ms | p99 ms | worker CPU | '
                  'machine busy | load |', '| ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |']
        for r in data['latency']:
            lines.append(f"| {r['rate']} | {r['tps']:.0f} | {r['fsync']} | {r['p50_ms']:.3f} | "
                         f"{r['p99_ms']:.3f} | {r['worker_cpu_percent']:.1f} % | "
                         f"{r['busy_percent']:.0f} % | {r['load']} |")
    if data.get('writers'):
        lines += ['', '## What `pgbench` (simple-update, 4 clients) pays', '',
                  '| load | stream | tps | CPU us of the backend per transaction | machine busy |',
                  '| --- | --- | ---: | ---: | ---: |']
        for mode in dict.fromkeys(r['mode'] for r in data['writers']):
            for stream in (False, True):
                runs = [r for r in data['writers'] if r['mode'] == mode and r['stream'] == stream]
                lines.append(f"| {mode} | {'on' if stream else 'off'} | {median(runs, 'tps'):,.0f} | "
                             f"{median(runs, 'cpu_us'):.1f} | {median(runs, 'busy_percent'):.0f} % |")
    if data.get('commit'):
        lines += ['', '## CPU of the commit callback, a stopwatch around it', '',
                  '| synchronous_commit | state | p50 ns | p90 ns | mean ns |',
                  '| --- | --- | ---: | ---: | ---: |']
        for r in data['commit']:
            lines.append(f"| {r['commit']} | {r['state']} | {r['p50_ns']} | {r['p90_ns']} | "
                         f"{r['mean_ns']:.0f} |")
        lines += ['', 'The stopwatch itself is in every figure; "no stream" shows it. '
                  'To wake a sleeping worker takes a signal, whose bare cost depends on the machine: '
                  'it is high on virtual machines, where it has to start an idle core.']
    return lines


def markdown(data):
    hardware = data['hardware']
    lines = ['# Results of `bench/run`', '',
             f"{data['date']}; {hardware['cores']} cores, {hardware['model']}, "
             f"{hardware['memory_gb']} GB, Linux {hardware['kernel']}; "
             f"load before {data['load_at_start']}, after {data['load_at_end']}.", '',
             'Versions: ' + ', '.join(f'{k} {v}' for k, v in data['versions'].items()) + '.', '',
             'Settings: ' + ', '.join(f'`{k} = {v}`' for k, v in data['settings'].items())
             + '; the rest are defaults.', '']
    ratios = ratio_lines(data)
    if ratios:
        lines += ['| ratio or bound | measured | target | |', '| --- | ---: | ---: | --- |']
        lines += ratios + ['']
    if data.get('throughput'):
        lines += [f"Medians of {data['repeats']} run{'s' if data['repeats'] > 1 else ''}; every reader reads the same WAL through a "
                  'copy of the same slot, by turns; the broker was warmed up by two more runs. CPU is that of all threads and processes of '
                  'the reader: walsender and client, or worker. wal2kafka sends Avro, uncompressed, '
                  'idempotent, acks=all; its time runs from the start of the worker process to the '
                  'last acknowledgement. Rates share the cores with the broker, so CPU seconds '
                  f"compare better than rows/s. An idle backend has {data['idle_backend_mb']:.1f} MB "
                  'of private memory. `plot.svg` shows both.']
    lines += throughput_tables(data) + load_tables(data)
    return '\n'.join(lines) + '\n'


# ----------
# The plot: a row of bars a reader, a panel a workload
# ----------

OURS, LIMIT, OTHERS, INK, FAINT = '#c2410c', '#94a3b8', '#64748b', '#1e293b', '#e2e8f0'
BAR, GAP, LABEL, WIDTH = 18, 6, 120, 300


def colour(reader):
    return {'wal2kafka': OURS, 'noop': LIMIT}.get(reader, OTHERS)


def text(x, y, content, size=12, anchor='start', weight='normal', fill=INK):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}" fill="{fill}">{escape(content)}</text>')


def short_number(value):
    if value >= 1e6:
        return f'{value / 1e6:.2f}M'
    if value >= 1e3:
        return f'{value / 1e3:.0f}k'
    return f'{value:.2f}'


def bars(x, y, title, values):
    """A panel of horizontal bars from zero; values: [(reader, value)]."""
    top = max(value for _, value in values)
    parts = [text(x, y - 8, title, 11, fill=OTHERS)]
    for i, (reader, value) in enumerate(values):
        row = y + i * (BAR + GAP)
        length = max(WIDTH * value / top, 1)
        parts.append(f'<rect x="{x}" y="{row}" width="{length:.1f}" height="{BAR}" rx="2" '
                     f'fill="{colour(reader)}"/>')
        parts.append(text(x + length + 6, row + 13, short_number(value), 11,
                          weight='bold' if reader == 'wal2kafka' else 'normal'))
    return parts


def svg(data):
    parts = []
    y = 64
    for name, readers in data['throughput'].items():
        shape = data['workloads'][name]
        sums = {reader: summary(runs) for reader, runs in readers.items()}
        parts.append(text(16, y, f"{shape['rows']:,} {shape['title']}", 13, weight='bold'))
        y += 34
        for i, reader in enumerate(sums):
            parts.append(text(16 + LABEL - 12, y + i * (BAR + GAP) + 13, reader, 11, 'end',
                              weight='bold' if reader == 'wal2kafka' else 'normal'))
        parts += bars(16 + LABEL, y, 'rows/s (longer is better)',
                      [(r, s['rate']) for r, s in sums.items()])
        parts += bars(16 + LABEL + WIDTH + 90, y, 'CPU seconds per million rows (shorter is better)',
                      [(r, s['cpu']) for r, s in sums.items()])
        y += len(sums) * (BAR + GAP) + 14
        parts.append(f'<line x1="16" y1="{y}" x2="900" y2="{y}" stroke="{FAINT}"/>')
        y += 26
    hardware = data['hardware']
    head = [text(16, 26, 'From WAL to a consumer, on the same WAL', 16, weight='bold'),
            text(16, 44, f"PostgreSQL {data['versions']['PostgreSQL'].split()[0]}, "
                 f"{hardware['cores']} cores {hardware['model']}, {data['date']}; "
                 'wal2kafka (and debezium) to a real broker, noop is the limit, the others to nowhere',
                 11, fill=OTHERS)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="920" height="{y}" '
            f'viewBox="0 0 920 {y}" font-family="system-ui, sans-serif">\n'
            f'<rect width="920" height="{y}" fill="white"/>\n'
            + '\n'.join(head + parts) + '\n</svg>\n')


def write(data, folder):
    with open(os.path.join(folder, 'results.md'), 'w') as f:
        f.write(markdown(data))
    if data.get('throughput'):
        with open(os.path.join(folder, 'plot.svg'), 'w') as f:
            f.write(svg(data))
