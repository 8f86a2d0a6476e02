#!/usr/bin/python3
#
# tables.py
#		Which tables and queries there are.
#
#	tables.py topics|streamed|copied|native		topics of all tables, or of some

import json
import os
import re
import subprocess
import sys

# name of a result: the table, its topic
TABLES = {
    "customers": ("public.customers", "shop.public.customers"),
    "orders": ("public.orders", "shop.public.orders"),
    "clicks": ("public.clicks", "shop.public.clicks"),
    "documents": ("public.documents", "shop.public.documents"),
    "order_items": ("public.order_items", "shop.public.order_items"),
    "stock": ("public.stock", "shop.public.stock"),
    "Maß & Zahl": ('"Über uns"."Maß & Zahl"', "shop._ber_uns.Ma____Zahl"),
    "everything": ("public.everything", "shop.public.everything"),
}

# what Spark reads as a stream too
STREAMED = ["customers", "orders", "everything"]

# what has a stream with time_precision_mode = avro, in topics avro.*
NATIVE = ["customers", "orders", "everything"]

# The JDBC sink goes by keys, so that it cannot follow clicks.
COPIED = [name for name in TABLES if name != "clicks"]


def queries_of(path):
    """(name, text) of each query of a file for Flink"""
    with open(path, encoding="utf-8") as source:
        text = source.read()
    for name, query in re.findall(r"^-- query: (\w+)\n(.*?);$", text, re.M | re.S):
        yield name, query


def write_rows(psql, conninfo, query, path, search_path="public"):
    """The query's rows, a JSON object a line"""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as target:
        subprocess.run(
            [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
             "-c", "SET client_encoding = 'UTF8'", "-c", "SET search_path = " + search_path,
             "-c", "SELECT row_to_json(q) FROM (%s) AS q" % query, conninfo],
            stdout=target, check=True)


def main():
    which = sys.argv[1]
    names = {"topics": TABLES, "streamed": STREAMED, "copied": COPIED, "native": NATIVE}[which]
    topics = [TABLES[name][1] for name in names]
    if which == "native":
        topics = [topic.replace("shop.", "avro.", 1) for topic in topics]
    print(" ".join(topics))


if __name__ == "__main__":
    main()
