#!/usr/bin/python3
#
# workload.py
#		Transactions of a fixed seed, by writers that run at the same time.
#
#	workload.py PSQL CONNINFO initial|changes [SEED]
#
# "initial" makes the rows that are there before the stream; "changes" are
# inserts, updates, deletes and changes of keys, some of them rolled back, with
# a column that a table gets in the middle.  Each writer has keys of its own
# but for the stock, which all of them write.

import random
import subprocess
import sys
import tempfile

WRITERS = 3
TRANSACTIONS = 60
MOODS = ["fine", "so-so", 'not "fine"']
STATES = ["new", "packed", "sent", "cancelled"]
PAGES = ["/", "/cart", "/pay", "/süß?q=ä", ""]


def quote(value):
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return "ARRAY[%s]" % ", ".join(quote(element) for element in value)
    return "'%s'" % value.replace("'", "''")


class Writer:
    def __init__(self, seed, number):
        self.random = random.Random("%s %d" % (seed, number))
        self.number = number
        self.next = number
        self.lines = []
        self.email = False
        self.keys = {name: [] for name in
                     ("customers", "orders", "documents", "order_items", "everything", "measures")}

    def new_key(self):
        self.next += WRITERS
        return self.next

    def maybe(self, value, share=0.2):
        return None if self.random.random() < share else value

    def text(self, most=12):
        return "".join(self.random.choice("abc äöü€😀'\\\"\n\t,{}") for _ in range(self.random.randint(0, most)))

    def digits(self, before, after):
        number = self.random.randint(-10 ** (before + after) + 1, 10 ** (before + after) - 1)
        number = number // 10 ** self.random.randint(0, before + after)
        sign, text = ("-" if number < 0 else ""), str(abs(number)).rjust(after + 1, "0")
        return sign + (text[:-after] + "." + text[-after:] if after else text)

    def day(self):
        if self.random.random() < 0.1:
            return "1582-10-10"     # a day that the Julian calendar lacks
        return "%04d-%02d-%02d" % (self.random.choice([1, 1582, 1900, 1969, 1970, 2024, 2025, 9999]),
                                   self.random.randint(1, 12), self.random.randint(1, 28))

    def time(self, places=6):
        return "%02d:%02d:%02d.%s" % (self.random.randint(0, 23), self.random.randint(0, 59),
                                      self.random.randint(0, 59),
                                      str(self.random.randint(0, 10 ** places - 1)).rjust(places, "0"))

    def moment(self, places=6):
        return "202%d-%02d-%02d %s" % (self.random.randint(0, 6), self.random.randint(1, 12),
                                       self.random.randint(1, 28), self.time(places))

    # ----------
    # Rows
    # ----------

    def customers(self, key):
        row = {"id": key, "name": self.text() or "x", "vip": self.random.random() < 0.3,
               "since": self.maybe(self.day()), "credit": self.maybe(self.digits(10, 2)),
               "seen": self.maybe(self.moment(3))}
        if self.email:
            row["email"] = self.maybe("%d@example.org" % key)
        return row

    def orders(self, key):
        return {"id": key, "customer_id": self.random.choice(self.keys["customers"] or [1]),
                "amount": self.digits(8, 2), "status": self.random.choice(STATES),
                "paid": self.maybe(self.random.random() < 0.5), "placed": self.moment(),
                "on_day": self.random.choice(["2024-12-31", "2025-01-01", "2025-01-02"]),
                "note": self.maybe(self.text())}

    def documents(self, key):
        return {"id": key, "title": self.maybe(self.text()),
                "body": "".join("%016x" % self.random.getrandbits(64) for _ in range(300)),
                "version": 1}

    def order_items(self, key):
        return {"order_id": key, "line": self.random.randint(-32768, 32767), "product": self.text(),
                "pieces": self.maybe(self.random.randint(-2**31, 2**31 - 1)),
                "price": self.maybe(self.digits(5, 3))}

    def measures(self, key):
        return {"Schlüssel 1": key, "größe": "%s %d" % (self.random.choice(["ß", "Ω", "x y"]), key),
                "select": self.maybe(self.digits(5, 3)), "№": self.maybe(self.random.random() < 0.5)}

    def everything(self, key):
        return {name: self.maybe(value, 0.15) if name != "id" else value for name, value in {
            "id": key,
            "small": self.random.choice([-32768, 0, 32767]),
            "normal": self.random.choice([-2**31, 0, 2**31 - 1]),
            "big": self.random.choice([-2**63, 0, 2**53 + 1, 2**63 - 1]),
            "single": self.random.choice([0.5, -1.25, 1048576.5]),
            "double": self.random.choice([0.1, -1e300, 2.5e-200]),
            "exact": self.digits(16, 4),
            "whole": self.digits(38, 0),
            "free": self.random.choice(["0", "1.500", "-12345678901234567890.123", "1e30"]),
            "yes": self.random.random() < 0.5,
            "label": self.text(40),
            "short": self.text(20),
            "padded": self.random.choice(["", "ab", "äöü", "abcdef"]),
            "bytes": "\\x" + "".join("%02x" % self.random.getrandbits(8) for _ in range(self.random.randint(0, 20))),
            "tag": "%08x-0000-4000-8000-%012x" % (self.random.getrandbits(32), key),
            "doc": '{"b": [1, 2.50, null], "a": "ä\\u00df"}',
            "docb": '{"b": [1, 2.50, null], "a": "ä"}',
            "day": self.day(),
            "clock": self.time(),
            "clock_ms": self.time(3),
            "at": self.moment(),
            "at_ms": self.moment(3),
            "at_zone": self.moment() + self.random.choice(["+00", "+02", "-09:30"]),
            "span": "%d days %s" % (self.random.randint(-40, 40), self.time()),
            "state": self.random.choice(MOODS),
            "numbers": "{%s}" % ",".join(self.random.choice(["1", "NULL", "-7"]) for _ in range(self.random.randint(0, 3))),
            "labels": self.random.choice(['{}', '{"a b",NULL,"ü,\\""}', '{x}']),
            "address": self.random.choice(["10.0.0.1", "10.0.0.0/8", "::1"]),
        }.items()}

    # ----------
    # Statements
    # ----------

    TABLE = {"measures": '"Über uns"."Maß & Zahl"'}

    def insert(self, name):
        row = getattr(self, name)(self.new_key())
        self.keys[name].append(list(row.values())[0])
        return self.insert_row(self.TABLE.get(name, name), row)

    def insert_row(self, table, row):
        return "INSERT INTO %s (%s) VALUES (%s)" % (
            table, ", ".join('"%s"' % column for column in row),
            ", ".join(quote(value) for value in row.values()))

    def update(self, name):
        """Some columns of a row; one time in eight its key too"""
        key = self.random.choice(self.keys[name])
        row = getattr(self, name)(key)
        id_column = list(row)[0]
        parts = [column for column in row if column != id_column
                 and self.random.random() < (0.1 if column == "body" else 0.4)]
        changes = ['"%s" = %s' % (column, quote(row[column])) for column in parts]
        if name == "documents":
            changes = [change for change in changes if not change.startswith('"version"')]
            changes.append("version = version + 1")
        if self.random.random() < 0.125:
            self.keys[name].remove(key)
            moved = self.new_key()
            self.keys[name].append(moved)
            changes.append('"%s" = %d' % (id_column, moved))
        if not changes:
            changes = ['"%s" = "%s"' % (id_column, id_column)]
        return 'UPDATE %s SET %s WHERE "%s" = %d' % (
            self.TABLE.get(name, name), ", ".join(changes), id_column, key)

    def delete(self, name):
        key = self.random.choice(self.keys[name])
        self.keys[name].remove(key)
        return 'DELETE FROM %s WHERE "%s" = %d' % (
            self.TABLE.get(name, name), list(getattr(self, name)(key))[0], key)

    def click(self):
        kind = self.random.random()
        page, ms = quote(self.random.choice(PAGES)), self.random.randint(0, 9)
        if kind < 0.6:
            return self.insert_row("clicks", {
                "customer_id": self.maybe(self.number), "page": self.random.choice(PAGES),
                "ms": self.maybe(ms), "at": self.maybe("2025-01-01 00:00:0%d.5" % ms)})
        where = "customer_id = %d AND page = %s" % (self.number, page)
        if kind < 0.85:
            return "UPDATE clicks SET ms = ms + %d WHERE %s AND ms < %d" % (ms, where, ms)
        return "DELETE FROM clicks WHERE %s AND ms > %d" % (where, ms + 3)

    def stock(self):
        """One row of all writers', in an order that cannot deadlock"""
        sku = "sku %d" % self.random.randint(1, 6)
        return self.random.choice([
            "INSERT INTO stock VALUES ('%s', 'a', 1) ON CONFLICT (sku) DO UPDATE SET pieces = stock.pieces + 1" % sku,
            "INSERT INTO stock VALUES ('%s', NULL, 0) ON CONFLICT (sku) DO NOTHING" % sku,
            "UPDATE stock SET place = 'b', pieces = pieces + 1 WHERE sku = 'sku 0'",
            "DELETE FROM stock WHERE sku = '%s'" % sku])

    def transaction(self):
        kept = {name: list(keys) for name, keys in self.keys.items()}
        self.lines.append("BEGIN")
        for _ in range(self.random.randint(1, 8)):
            name = self.random.choice(list(self.keys))
            verbs = ["insert", "insert", "update", "update", "update", "delete"]
            verb = self.random.choice(verbs) if len(self.keys[name]) > 3 else "insert"
            self.lines.append(getattr(self, verb)(name))
            if self.random.random() < 0.4:
                self.lines.append(self.click())
            if self.random.random() < 0.1:
                inner = {key: list(keys) for key, keys in self.keys.items()}
                self.lines += ["SAVEPOINT s", self.insert(name), self.click(), "ROLLBACK TO s"]
                self.keys = inner
        self.lines.append(self.stock())
        if self.random.random() < 0.1:
            self.lines.append("ROLLBACK")
            self.keys = kept
        else:
            self.lines.append("COMMIT")

    def script(self):
        text = ";\n".join(self.lines) + ";\n"
        self.lines = []
        return text


def run(psql, conninfo, scripts):
    """All scripts at once; a statement that fails is an error of this program"""
    sessions = []
    for script in scripts:
        source = tempfile.TemporaryFile("w+", encoding="utf-8")
        source.write("SET client_encoding = 'UTF8';\n" + script)
        source.seek(0)
        sessions.append(subprocess.Popen([psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", conninfo],
                                         stdin=source, stdout=subprocess.DEVNULL))
    if any([session.wait() for session in sessions]):
        sys.exit("workload.py: a statement failed")


def main():
    psql, conninfo, part = sys.argv[1:4]
    seed = sys.argv[4] if len(sys.argv) > 4 else "1"
    writers = [Writer(seed, number) for number in range(1, WRITERS + 1)]
    for writer in writers:
        for name in writer.keys:
            writer.lines += [writer.insert(name) for _ in range(8)]
        writer.lines += [writer.click() for _ in range(10)]
    writers[0].lines.append("INSERT INTO stock VALUES ('sku 0', 'a', 0)")
    scripts = [writer.script() for writer in writers]
    if part == "initial":
        run(psql, conninfo, scripts)
        return
    scripts = []
    for writer in writers:
        for _ in range(TRANSACTIONS):
            writer.transaction()
        scripts.append(writer.script())
    # while the writers are at it
    scripts.append("SELECT pg_sleep(0.1);\nALTER TABLE customers ADD COLUMN email text;\n")
    run(psql, conninfo, scripts)
    scripts = []
    for writer in writers:
        writer.email = True
        for _ in range(TRANSACTIONS):
            writer.transaction()
        scripts.append(writer.script())
    run(psql, conninfo, scripts)


if __name__ == "__main__":
    main()
