#!/usr/bin/env python3
"""Load the KPIs that 'mr reduce -o FOLDER' wrote into PostgreSQL.

    load-postgres.py FOLDER

Each CSV file becomes the table of its name, which is made if it is missing.
What FOLDER says takes the place of what the table said: of the same days
where there is a column of days, else of all.  It is one transaction: after a
failure every table is as it was.  Loading again changes nothing.

Where the database is, and who asks, is for libpq to know: PGHOST, PGDATABASE,
PGUSER, PGSERVICE, ~/.pgpass.  PGOPTIONS='-c search_path=NAME' loads into a
schema.  Needs psql.  docs/postgres.md tells more.

Exit status: 0 loaded; 1 not loaded; 2 usage.
"""

import json
import os
import re
import subprocess
import sys

# By the key of kpis.json that tells of a file: its table, what identifies a
# row, and its columns of text.
FILES = (
    ("days", "daily", ("day",), ("status",)),
    ("days_by_type", "daily_by_type", ("day", "type"), ("type", "status")),
    ("retention", "retention", ("first_day",), ("status",)),
    ("coverage", "partitions", (), ("name", "digest", "status", "reason")),
    ("coverage", "rejects", ("reason",), ("reason",)),
    ("identity", "identity", ("source",), ("source", "status")),
    ("unknown_users", "unknown_users", ("type",), ("type", "status")),
    ("duplicates", "duplicates", ("day",), ("kind", "status")),
    ("segments", "segments", (), ("segment", "attribute", "value", "status")),
)
# Columns that are neither text nor whole numbers.
DATES = ("day", "first_day")
FRACTIONS = ("share", "stickiness")
# Of a rollup's group in kpis.json, what it is not grouped by.
FIGURES = {"events", "users", "users_estimate", "further_groups"}
MARK = "filled by load-postgres.py of mr"
NAME_MAX_BYTES = 63


def die(text, status=1):
    print("load-postgres: " + text, file=sys.stderr)
    sys.exit(status)


# --- reading what reduce wrote --------------------------------------------


def read_kpis(folder):
    path = os.path.join(folder, "kpis.json")
    try:
        with open(path, encoding="utf-8") as file:
            kpis = json.load(file)
    except FileNotFoundError:
        die("no KPIs in '%s': it has no kpis.json; write them with 'mr reduce "
            "-o'" % folder)  # fmt: skip
    except (OSError, ValueError) as error:
        die("cannot read '%s': %s; reduce again" % (path, error))
    if kpis.get("schema") != "mr-kpis" or kpis.get("schema_version") != 1:
        die("'%s' is of another version of mr; load it with the script of that "
            "version" % path)  # fmt: skip
    return kpis


def read_csv(path):
    """Rows of RFC 4180; a field is None where it is empty and not quoted."""
    try:
        with open(path, "rb") as file:
            # Names of files may be no UTF-8, and text may hold a NUL, which
            # PostgreSQL has no place for.
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        die("cannot read '%s': %s; reduce again" % (path, error.strerror))
    text, row = text.replace("\0", "\ufffd"), []
    for field in re.finditer(
        r'(?:"((?:[^"]|"")*)"|([^,"\n]*))(,|\n|\Z)', text
    ):
        quoted, plain, end = field.groups()
        if field.start() == len(text) and not row:
            return
        row.append(
            plain or None if quoted is None else quoted.replace('""', '"')
        )
        if end != ",":
            yield row
            row = []


class Table:
    """A table, as a CSV file has it."""

    def __init__(self, folder, name, key, text, rollup=False, partial=False):
        self.name, self.key = name, key
        self.rows = read_csv(os.path.join(folder, name + ".csv"))
        columns = next(self.rows)
        # A rank is one among the days of this run, not of the table.
        # Rollups and rejects have their status only where that is partial,
        # and a rollup's stands behind groups that may have a column of this
        # name.
        if partial and (rollup or name == "rejects"):
            columns.pop()
        self.taken = [i for i in range(len(columns))
                      if rollup or columns[i] != "rank"]  # fmt: skip
        self.columns = [(columns[i], self.type_of(columns[i], text, rollup))
                        for i in self.taken]  # fmt: skip
        self.constant = None
        if rollup or "status" not in columns:
            self.constant = "mr_status" if "status" in text else "status"

    @staticmethod
    def type_of(column, text, rollup):
        if column in text:
            return "text"
        if column in DATES and not rollup:
            return "date"
        return "numeric" if column in FRACTIONS else "bigint"


def tables_of(folder, kpis):
    partial = kpis["status"] != "complete"
    for member, name, key, text in FILES:
        if member in kpis:
            yield Table(folder, name, key, text, False, partial)
    for name, groups in sorted(kpis.get("rollups", {}).items()):
        text = {x for group in groups for x in group} - FIGURES
        if groups:
            yield Table(folder, name, (), text, True, partial)


# --- SQL ------------------------------------------------------------------


def identifier(text):
    if len(text.encode()) > NAME_MAX_BYTES:
        die("the name '%s' is longer than PostgreSQL takes (%d bytes); give it "
            "a shorter one in the spec" % (text, NAME_MAX_BYTES))  # fmt: skip
    return '"%s"' % text.replace('"', '""')


def literal(text):
    return "'%s'" % text.replace("'", "''")


def copy_text(value):
    """A field as COPY reads it."""
    if value is None:
        return "\\N"
    for plain, escaped in (
        ("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")
    ):  # fmt: skip
        value = value.replace(plain, escaped)
    return value


def block(body):
    """An anonymous block, in dollars that do not stand in it."""
    tag = "$mr$"
    while tag in body:
        tag = tag[:-1] + "_$"
    return "do %s begin %s end %s;\n" % (tag, body, tag)


def make_table(table):
    """Make what is missing; refuse a table that somebody else has made."""
    name, columns = identifier(table.name), list(table.columns)
    if table.constant:
        columns.append((table.constant, "text"))
    parts = ["%s %s" % (identifier(x), kind) for x, kind in columns]
    if table.key:
        parts.append("primary key (%s)" % ", ".join(map(identifier, table.key)))
    there = "to_regclass(%s)" % literal(name)
    yield "select %s, %s where %s is null \\gexec\n" % (
        literal("create table %s (%s)" % (name, ", ".join(parts))),
        literal("comment on table %s is %s" % (name, literal(MARK))),
        there,
    )
    yield block(
        "if obj_description(%s, 'pg_class') is distinct from %s then "
        "raise exception using message = %s; end if;" % (
            there, literal(MARK),
            literal("the table %s was not made by this script; load into "
                    "another schema (PGOPTIONS='-c search_path=NAME')" % name),
        )
    )  # fmt: skip
    # A later version of mr may have columns more.
    for part, (column, _) in zip(parts, columns):
        yield (
            "select %s where not exists (select from pg_attribute "
            "where attrelid = %s and attname = %s) \\gexec\n" % (
                literal("alter table %s add column %s" % (name, part)),
                there, literal(column),
            )
        )  # fmt: skip


def fill_table(table, status):
    name, given = identifier(table.name), table.columns
    names = ", ".join(identifier(x) for x, _ in given)
    yield "create temp table mr_load (%s) on commit drop;\n" % ", ".join(
        "%s %s" % (identifier(x), kind) for x, kind in given
    )
    yield "\\copy pg_temp.mr_load from stdin\n"
    for row in table.rows:
        yield "\t".join(copy_text(row[i]) for i in table.taken) + "\n"
    yield "\\.\n"
    days = [identifier(x) for x, kind in given if kind == "date"]
    # Rows of no day are of all days.
    yield "delete from %s%s;\n" % (name, "".join(
        " where %s is null or %s in (select day from pg_temp.mr_days)" % (x, x)
        for x in days
    ))  # fmt: skip
    constant = table.constant
    yield "insert into %s (%s%s) select *%s from pg_temp.mr_load;\n" % (
        name, names, ", " + identifier(constant) if constant else "",
        ", " + status if constant else "",
    )  # fmt: skip
    yield "drop table pg_temp.mr_load;\n"


def script(folder, kpis):
    """What psql is to do.  Only what is whole ends in a commit."""
    yield "set client_min_messages = warning;\nbegin;\n"
    # One load after the other.
    yield "select pg_advisory_xact_lock(hashtext(%s));\n" % literal(MARK)
    yield "create temp table mr_days (day date) on commit drop;\n"
    for row in kpis["days"]:
        yield "insert into pg_temp.mr_days values (%s);\n" % literal(row["day"])
    for table in tables_of(folder, kpis):
        yield from make_table(table)
        yield from fill_table(table, literal(kpis["status"]))
    yield "commit;\n"


def load(folder):
    kpis = read_kpis(folder)
    command = [
        "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-",
    ]  # fmt: skip
    try:
        psql = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PGCLIENTENCODING": "UTF8"},
        )
    except FileNotFoundError:
        die("there is no psql; install it (on Debian: postgresql-client)")
    try:
        with psql.stdin as pipe:
            for part in script(folder, kpis):
                pipe.write(part.encode())
    except BrokenPipeError:
        pass
    if psql.wait() != 0:
        die("nothing was loaded; the message above is psql's")
    if kpis["status"] != "complete":
        print(
            "load-postgres: the figures are PARTIAL; select * from partitions "
            "where status = 'failed' tells what is missing",
            file=sys.stderr,
        )


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    load(sys.argv[1])


if __name__ == "__main__":
    main()
