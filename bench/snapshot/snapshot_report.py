"""The snapshot benchmark's results as Markdown."""

import os
import statistics


def median(runs, key):
    values = [run[key] for run in runs if run.get(key) is not None]
    return statistics.median(values) if values else None


def show(value, form):
    return '–' if value is None else format(value, form)


def kinds(data):
    """{kind: runs} of all rate parts, in their order."""
    found = {}
    for part in ('copy', 'ours', 'ad_hoc', 'debezium'):
        for run in data.get(part, []):
            found.setdefault(run['kind'], []).append(run)
    return found


def rate(runs):
    return runs[0]['rows'] / median(runs, 'wall')


def memory(runs):
    """Largest of any process, MB."""
    values = [peak['anonymous'] for run in runs for peak in run.get('memory', {}).values()]
    return max(values) if values else None


def ratios(data):
    lines = []

    def add(name, value, form, target, good):
        lines.append(f"| {name} | {format(value, form)} | {target} | "
                     f"{'reached' if good else 'missed'} |")

    runs = kinds(data)
    ours = {k: rate(v) for k, v in runs.items() if k.startswith('wal2kafka') and 'worker' in k}
    theirs = {k: rate(v) for k, v in runs.items() if k.startswith('Debezium')}
    if ours and theirs:
        value = max(ours.values()) / max(theirs.values())
        add("rows/s / Debezium's best", value, '.1f', '≥ 15', value >= 15)
    one, two = ours.get('wal2kafka, 1 worker'), ours.get('wal2kafka, 2 workers')
    if one and two:
        add('2 workers / 1', two / one, '.2f', '≥ 1.3 on two cores', two / one >= 1.3)
    for kind, value in ((k, memory(v)) for k, v in runs.items() if k.startswith('wal2kafka')):
        if value is not None:
            add(f'{kind}: private memory of a process, MB', value, '.0f', '≤ 64', value <= 64)
    flat = {row['kind']: row for row in data.get('writers', []) if not row['rate']}
    for kind, row in flat.items():
        if kind == 'COPY' or 'COPY' not in flat:
            continue
        fall = [1 - r['beside']['tps'] / r['alone']['tps'] for r in (row, flat['COPY'])]
        add(f"writers' fall beside {kind}, % (COPY: {100 * fall[1]:.0f})", 100 * fall[0], '.0f',
            "≤ COPY's", fall[0] <= fall[1])
    during = [r for r in data.get('delay', []) if r['when'] != 'alone']
    if during:
        value = max(r['max_ms'] for r in during)
        add('longest commit to broker during an ad hoc snapshot, ms', value, '.0f', '≤ 100', value <= 100)
    return lines


def rate_table(data):
    runs_of = kinds(data)
    if not runs_of:
        return []
    lines = ['', f"## Reading {data['rows']:,} rows ({data['table_mb']:,.0f} MB)", '',
             '| reader | rows/s | slowest – fastest run | with the start, s | CPU s per M rows '
             '| broker CPU s per M rows | private memory MB, by process |',
             '| --- | ---: | ---: | ---: | ---: | ---: | --- |']
    for kind, runs in runs_of.items():
        rows = runs[0]['rows']
        walls = [run['wall'] for run in runs]
        broker = median(runs, 'broker_cpu')
        peaks = {}
        for run in runs:
            for process, peak in run.get('memory', {}).items():
                peaks[process] = max(peaks.get(process, 0), peak['anonymous'])
        lines.append('| ' + ' | '.join([
            kind, f'{rate(runs):,.0f}', f'{rows / max(walls):,.0f} – {rows / min(walls):,.0f}',
            show(median(runs, 'whole'), '.1f'), f"{median(runs, 'cpu') / rows * 1e6:.3f}",
            show(None if broker is None else broker / rows * 1e6, '.2f'),
            '; '.join(f'{process} {mb:.0f}' for process, mb in sorted(peaks.items())) or '–']) + ' |')
    return lines


def writers_table(data):
    rows = data.get('writers')
    if not rows:
        return []
    lines = ['', '## Writers', '',
             f"`pgbench`, {data['clients']} clients, single updates of random rows of the table that is read, at full "
             'speed and at a fixed rate. COPY runs again and again, a snapshot once.', '',
             '| beside | rate | tps alone | tps beside | fall % | p99 ms alone | p99 ms beside '
             '| seconds | transactions lost for one reading | machine busy % |',
             '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |']
    for row in rows:
        alone, beside = row['alone'], row['beside']
        lines.append('| ' + ' | '.join([
            row['kind'], f"{row['rate']}/s" if row['rate'] else 'flat out', f"{alone['tps']:,.0f}",
            f"{beside['tps']:,.0f}", f"{100 * (1 - beside['tps'] / alone['tps']):.0f}",
            show(alone['p99_ms'], '.2f'), show(beside['p99_ms'], '.2f'), f"{beside['seconds']:.1f}",
            f"{row['lost']:,.0f}", f"{row['busy_percent']:.0f}"]) + ' |')
    return lines


def delay_table(data):
    rows = data.get('delay')
    if not rows:
        return []
    lines = ['', '## Changes during an ad hoc snapshot', '',
             'From the commit to the broker\'s timestamp (whole milliseconds), 100 transactions a '
             'second into each table.', '',
             '| changes of | when | seconds | changes | p50 ms | p99 ms | longest ms |',
             '| --- | --- | ---: | ---: | ---: | ---: | ---: |']
    for row in rows:
        lines.append(f"| {row['table']} | {row['when']} | {row['seconds']:.1f} | {row['changes']:,} "
                     f"| {row['p50_ms']:.1f} | {row['p99_ms']:.1f} | {row['max_ms']:.1f} |")
    if rows[0].get('own_delay') is not None:
        lines += ['', f"Longest that changes waited for a range, as the stream counts it: {rows[0]['own_delay']} ms."]
    return lines


def write(data, folder):
    hardware = data['hardware']
    lines = ['# Results of `bench/snapshot/run`', '',
             f"{data['date']}; {hardware['cores']} cores, {hardware['model']}, "
             f"{hardware['memory_gb']} GB, Linux {hardware['kernel']}; "
             f"load before {data['load_at_start']}, after {data['load_at_end']}.", '',
             'Versions: ' + ', '.join(f'{k} {v}' for k, v in data['versions'].items()) + '.', '',
             'Settings: ' + ', '.join(f'`{k} = {v}`' for k, v in data['settings'].items())
             + '; the rest are defaults.']
    figures = ratios(data)
    if figures:
        lines += ['', '| ratio or bound | measured | target | |', '| --- | ---: | ---: | --- |'] + figures
    for table in (rate_table, writers_table, delay_table):
        lines += table(data)
    with open(os.path.join(folder, 'snapshot.md'), 'w') as f:
        f.write('\n'.join(lines) + '\n')
