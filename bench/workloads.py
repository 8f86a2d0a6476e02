"""The WAL that is measured: one row a workload.

Each is built once, after the base slot was made; every reader then decodes
the same WAL through a copy of that slot.
"""

from collections import namedtuple

_Workload = namedtuple('Workload', 'name title rows fill load columns')

TABLE = """
DROP TABLE IF EXISTS {table};
CREATE TABLE {table} ({columns})"""

COLUMNS = 'id bigint PRIMARY KEY, n int, at timestamptz, body text'

# Types whose default form is binary, and types whose form is text
BINARY_COLUMNS = ('id bigint PRIMARY KEY, s smallint, n int, b boolean, f float8, '
                  'price numeric(12,2), day date, at timestamp, t text, v varchar(40)')
BINARY_ROW = ("i, (i % 100)::smallint, i % 1000, i % 2 = 0, i / 7.0, (i % 100000) / 100.0, "
              "date '2026-01-01' + i % 365, timestamp '2026-01-01' + i * interval '1 second', "
              "md5(i::text), md5((i + 1)::text)")
TEXT_COLUMNS = ('id bigint PRIMARY KEY, at timestamptz, u uuid, j json, a inet, '
                'r int4range, m macaddr, x jsonb')
TEXT_ROW = ("i, timestamptz '2026-01-01' + i * interval '1 second', md5(i::text)::uuid, "
            "json_build_object('a', 1), '10.0.0.1'::inet + i, int4range(i, i + 10), "
            "'08:00:2b:01:02:03'::macaddr, jsonb_build_object('n', i)")

# About 200 bytes: the row itself is 24 + 8 + 4 + 8 + 151 bytes.
ROW = "i, i % 1000, now(), substr(repeat(md5(i::text), 5), 1, 150)"
WIDE_ROW = "i, i % 1000, now(), substr(repeat(md5(i::text), 32), 1, 970)"


def fill(rows):
    return f'INSERT INTO {{table}} SELECT {ROW} FROM generate_series(1, {rows}) i'


def in_batches(rows, batch, statement):
    """The statement for {lo} to {hi}, a transaction a batch."""
    text = statement.format(table='{table}', lo='t * %d + 1' % batch,
                            hi='(t + 1) * %d' % batch)
    return f"""
DO $$ BEGIN
    FOR t IN 0 .. {rows // batch - 1} LOOP
        {text};
        COMMIT;
    END LOOP;
END $$"""


def insert(row):
    return f'INSERT INTO {{table}} SELECT {row} FROM generate_series({{lo}}, {{hi}}) i'


def workloads(rows):
    """All workloads for a nominal number of rows (1,000,000)."""
    def Workload(name, title, rows, fill, load, columns=COLUMNS):
        return _Workload(name, title, rows, fill, load, columns)

    hundred = max(rows // 100, 1) * 100
    half = max(rows // 200, 1) * 100
    single = max(rows * 3 // 10, 1)
    wide = max(rows // 500, 1) * 100
    return [
        Workload('inserts', 'inserts of 200 bytes, 100 a transaction', hundred,
                 None, in_batches(hundred, 100, insert(ROW))),
        Workload('updates', 'updates, 100 a transaction', half,
                 fill(half), in_batches(half, 100,
                 'UPDATE {table} SET n = n + 1 WHERE id BETWEEN {lo} AND {hi}')),
        Workload('single', 'inserts, one a transaction', single,
                 None, in_batches(single, 1, insert(ROW))),
        Workload('large', 'inserts, all in one transaction', rows,
                 None, insert(ROW).format(table='{table}', lo=1, hi=rows)),
        Workload('wide', 'inserts of 1 kB, 100 a transaction', wide,
                 None, in_batches(wide, 100, insert(WIDE_ROW))),
        Workload('binary', 'inserts of ten columns of binary types, 100 a transaction', half,
                 None, in_batches(half, 100, insert(BINARY_ROW)), BINARY_COLUMNS),
        Workload('text', 'inserts of eight columns of text types, 100 a transaction', half,
                 None, in_batches(half, 100, insert(TEXT_ROW)), TEXT_COLUMNS),
    ]


def build(session, workload, base_slot):
    """Make the slot and the WAL after it; the LSN at which readers end."""
    table = f'bench_{workload.name}'
    for statement in TABLE.format(table=table, columns=workload.columns).strip().split(';'):
        session.rows(statement)
    if workload.fill:
        session.rows(workload.fill.format(table=table))
    session.rows('CHECKPOINT')
    session.rows(f"SELECT pg_create_logical_replication_slot('{base_slot}', 'wal2kafka_bench')")
    start = session.one('SELECT pg_current_wal_insert_lsn()')
    session.rows('SET synchronous_commit = off')
    session.rows(workload.load.format(table=table))
    session.rows('RESET synchronous_commit')
    end = session.one('SELECT pg_current_wal_insert_lsn()')
    session.rows('CHECKPOINT')
    size = int(session.one(f"SELECT pg_wal_lsn_diff('{end}', '{start}')::bigint"))
    return end, size
