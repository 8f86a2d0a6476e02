#
# replay.py
#		The rows that a topic's records result in, in another database, and what
#		that database says of them beside the first one.

import psycopg2.extras

from oracles import COLUMNS, PLACEHOLDER

# a column's value as the readers have it, as SQL
CASTS = {"at": "timestamptz 'epoch' + %s::bigint * interval '1 us'", "day": "date '1970-01-01' + %s::int",
         "bin": "decode(%s, 'hex')"}
TYPES = {"amount": "numeric", "ratio": "float8", "flag": "bool", "list": "int[]", "doc": "jsonb",
         "ref": "uuid"}

HASH = """SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0)
FROM %s AS t"""

FINAL = """SELECT id, region, v, uid, born, body_v, note, amount::text,
	(extract(epoch FROM at) * 1000000)::bigint AS at, day - date '1970-01-01' AS day,
	encode(bin, 'hex') AS bin, ratio, flag, list, doc::text, ref::text, body, sum FROM %s"""


def final_rows(server, table):
    connection = server.connect("shop")
    try:
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(FINAL % table)
            return [dict(row) for row in cursor.fetchall()]
    finally:
        connection.close()


def columns_of(server, table):
    return server.insist("""SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
        WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
                         ("public." + table,), "shop")


def load(server, database, table, judged):
    """A copy of the table, of judged (a NemesisTable)"""
    columns = columns_of(server, table)
    connection = server.connect(database)
    try:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE %s (%s)" % (table, ", ".join(
                '%s %s' % column for column in columns)))
            row_sql = "(%s)" % ", ".join(
                CASTS.get(name, "%%s::%s" % TYPES[name] if name in TYPES else "%s")
                for name, _ in columns)
            rows = []
            for key in judged.current:
                row = judged.state(key).row
                if row is not None:
                    # a large value that no record ever told stays unknown
                    extras = judged.extras.get(key, {})
                    rows.append([row[name] if name in COLUMNS else extras.get(name)
                                 for name, _ in columns])
            if rows:
                psycopg2.extras.execute_values(
                    cursor, "INSERT INTO %s VALUES %%s" % table, rows, row_sql, page_size=200)
    finally:
        connection.close()


def compare(server, database, tables, problem):
    """Rows compared; tables: name -> NemesisTable"""
    server.insist("CREATE DATABASE " + database)
    compared = 0
    for name, judged in sorted(tables.items()):
        load(server, database, name, judged)
        want = server.insist(HASH % name, database="shop")[0]
        got = server.insist(HASH % name, database=database)[0]
        compared += want[0]
        if want != got:
            problem("replay", "%s has %d rows with hash %s, the topics give %d with %s" % (
                (name,) + want + got))
    return compared


__all__ = ["compare", "final_rows", "PLACEHOLDER"]
