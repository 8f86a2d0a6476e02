#!/usr/bin/python3
#
# compare.py
#		Are a consumer's rows those of PostgreSQL?
#
#	compare.py EXPECTED ACTUAL
#
# Both are folders with files of rows, a JSON object a line, in any order.
# For each file of EXPECTED prints "ok" or "not ok" and what differs.  A
# consumer may write numbers and booleans as text: the type is PostgreSQL's.

import decimal
import json
import os
import sys

decimal.getcontext().prec = 2000
SHOWN = 3


def read(path):
    with open(path, encoding="utf-8") as source:
        return [json.loads(line, parse_float=decimal.Decimal) for line in source if line.strip()]


def kinds(rows):
    """Which columns hold numbers, which booleans"""
    found = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, bool):
                found[name] = bool
            elif isinstance(value, (int, decimal.Decimal)):
                found[name] = decimal.Decimal
    return found


def plain(value, kind=None):
    """One spelling of a value"""
    if isinstance(value, bool) or (kind is bool and value in ("true", "false")):
        return str(value).lower() + "?"
    if isinstance(value, (int, decimal.Decimal)) or (kind is decimal.Decimal and value is not None):
        try:
            number = decimal.Decimal(value).normalize()
        except (decimal.InvalidOperation, TypeError, ValueError):
            return value
        return "%s#" % (abs(number) if number == 0 else number)
    if isinstance(value, list):
        return [plain(element) for element in value]
    if isinstance(value, dict):
        return {name: plain(element) for name, element in value.items()}
    return value


def spell(rows, kind, columns):
    """Rows as text; a column that a row's schema did not have yet is null"""
    return sorted(json.dumps({name: plain(row.get(name), kind.get(name)) for name in columns},
                             sort_keys=True, ensure_ascii=False) for row in rows)


def without(rows, others):
    """Rows that are not among the others, each as often as it is too many"""
    left = {}
    for row in others:
        left[row] = left.get(row, 0) + 1
    for row in rows:
        if left.get(row, 0) > 0:
            left[row] -= 1
        else:
            yield row


def difference(row, others):
    """The row beside that of the others which is most like it"""
    row = json.loads(row)

    def unlike(other):
        return [name for name in row if row[name] != other[name]]
    if not others:
        return "missing: " + json.dumps(row, ensure_ascii=False)
    other = min((json.loads(text) for text in others), key=lambda one: len(unlike(one)))
    return "row %s: " % json.dumps(list(row.values())[0], ensure_ascii=False) + "; ".join(
        "%s is %r, the consumer has %r" % (name, row[name], other[name]) for name in unlike(other))


def problems(expected, actual):
    if not os.path.exists(actual):
        return ["the consumer gave no result"], 0
    want, got = read(expected), read(actual)
    if not want:
        return ["PostgreSQL has no rows: nothing is tested"], 0
    count, kind = len(want), kinds(want)
    columns = sorted({name for row in want + got for name in row})
    want, got = spell(want, kind, columns), spell(got, kind, columns)
    missing, surplus = list(without(want, got)), list(without(got, want))
    found = [difference(row, surplus) for row in missing[:SHOWN]]
    if not missing and surplus:
        found = ["too many: " + row for row in surplus[:SHOWN]]
    if found:
        found.append("%d rows are missing, %d too many" % (len(missing), len(surplus)))
    return found, count


def main():
    expected, actual = sys.argv[1:]
    bad = 0
    for name in sorted(os.listdir(expected)):
        found, count = problems(os.path.join(expected, name), os.path.join(actual, name))
        title = name.rsplit(".", 1)[0]
        if found:
            bad += 1
            print("not ok: " + title)
            for line in found:
                print("    " + line[:400])
        else:
            print("ok %s: %d rows" % (title, count))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
