#!/usr/bin/python3
#
# rows.py
#		The tables that the JDBC sink made, as rows of JSON for compare.py.
#
#	rows.py PSQL CONNINFO DIR
#
# A table's name is its topic's, with _ for each dot; names of columns are those
# of the events' fields.

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tables import COPIED, TABLES, write_rows

psql, conninfo, folder = sys.argv[1:]
for name in COPIED:
    table = TABLES[name][1].replace(".", "_")
    write_rows(psql, conninfo, 'SELECT * FROM "%s"' % table, "%s/%s.json" % (folder, name))
write_rows(psql, conninfo, """SELECT replace(attrelid::regclass::text, 'shop_public_', '')
    || '.' || attname AS "column", format_type(atttypid, atttypmod) AS type
    FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
    WHERE relname LIKE 'shop_public_%' AND relkind = 'r' AND attnum > 0 AND NOT attisdropped""",
           folder + "/types.json")
