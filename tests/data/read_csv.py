"""How pandas and DuckDB read files of CSV: a list a file and reader, of its rows as texts, or null where it is refused.

Usage: read_csv.py FILE…; each has the header `u,i,x,y`. The answer is JSON: {"pandas": […], "duckdb": […]}.
"""

import json
import sys

import duckdb
import pandas


def by_pandas(path):
    try:
        table = pandas.read_csv(path, dtype=str, keep_default_na=False, na_filter=False, index_col=False)
    except pandas.errors.ParserError:
        return None
    return table.values.tolist()


def by_duckdb(path):
    columns = {name: "VARCHAR" for name in "uixy"}
    options = "auto_detect=false, header=true, delim=',', quote='\"', escape='\"', parallel=false"
    try:
        rows = duckdb.sql(f"SELECT * FROM read_csv('{path}', {options}, columns={columns})").fetchall()
    except duckdb.Error:
        return None
    # An empty field is no value to DuckDB, and an empty text to pandas.
    return [["" if value is None else value for value in row] for row in rows]


files = sys.argv[1:]
print(json.dumps({"pandas": [by_pandas(path) for path in files], "duckdb": [by_duckdb(path) for path in files]}))
