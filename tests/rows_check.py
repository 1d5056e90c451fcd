#!/usr/bin/env python3
"""mr rows against Python's csv and json modules, on random events.

    rows_check.py [--seed N] [--rounds N] [--events N]

Each round makes a lake of JSON Lines or of CSV: partitions plain and packed,
bad lines, a partition cut short, the same bytes under a second name.  What mr
prints as CSV, TSV and JSON Lines must say what was put in, in order, and be
the same bytes for 1, 2 and 7 threads.
"""

import argparse
import csv
import datetime
import gzip
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zoneinfo

from mr_program import Run, program

ZONE = zoneinfo.ZoneInfo("Europe/Berlin")
UTC = datetime.timezone.utc
WORDS = (
    "", "a", "view", 'say "hi"', "x,y", "two\nlines", "cr\rlf\r\n", "tab\there",
    "back\\slash", "\\N", "NULL", "üñí", "日本", "🎈", "'", " lead", "trail ",
    "null", "0", "-", "#", ";", "a" * 300, "\\t", "\u2028", "\u007f",
)  # fmt: skip
COLUMNS = (
    "id", "who", "at", "stamp", "what", "day", "hour", "region", "note", "deep",
)  # fmt: skip
JSON_SPEC = """\
format: json
id: id
type: kind
attributes: ''
time: at
time_format: epoch_ms
zone: Europe/Berlin
user: [who, cookie]
rows:
  - id
  - who: user
  - at: time
  - stamp: {field: time, format: '%d/%m/%Y %H:%M:%S'}
  - what: type
  - day
  - hour
  - region: path.region
  - note
  - deep: inner.deep
"""
CSV_SPEC = JSON_SPEC.replace("format: json", "format: csv", 1).replace(
    "attributes: ''\n", ""
).replace("inner.deep", "deep")  # fmt: skip


def iso(local):
    offset = local.strftime("%z")
    zone = "Z" if offset == "+0000" else offset[:3] + ":" + offset[3:]
    return "%s.%03d%s" % (
        local.strftime("%Y-%m-%dT%H:%M:%S"), local.microsecond // 1000, zone
    )  # fmt: skip


def row_of(event, region):
    """What must be printed of an event: None where there is no value."""
    moment = datetime.datetime.fromtimestamp(
        event["at"] // 1000, UTC
    ) + datetime.timedelta(milliseconds=event["at"] % 1000)
    local = moment.astimezone(ZONE)
    who = event.get("who")
    if who is None or who == "":
        who = event.get("cookie")
    return {
        "id": event["id"],
        "who": None if who is None or who == "" else str(who),
        "at": iso(local),
        "stamp": local.strftime("%d/%m/%Y %H:%M:%S"),
        "what": event["kind"],
        "day": local.strftime("%Y-%m-%d"),
        "hour": local.strftime("%Y%m%d%H"),
        "region": region,
        "note": event.get("note"),
        "deep": event.get("inner", {}).get("deep"),
    }


class Lake:
    """A random lake, the rows that it must come to, and its bad lines."""

    def __init__(self, rng, folder, is_csv, n_events):
        self.rng, self.folder, self.is_csv = rng, folder, is_csv
        self.rows, self.bad = [], []
        self.lines, n = 0, rng.randint(1, 9)
        regions = [None, "north", "süd", "a b"]
        parts = []
        for i in range(n):
            region = rng.choice(regions)
            name = "%s%03d.txt" % (
                "region=%s/" % region.replace(" ", "%20") if region else "",
                i,
            )
            parts.append((name, region))
        for name, region in sorted(parts, key=lambda p: p[0].encode()):
            self.partition(name, region, rng.randint(0, n_events))
        self.twice = self.again()
        self.broken = self.cut()

    def event(self):
        rng = self.rng
        event = {
            "id": "e%d" % rng.getrandbits(40),
            "kind": rng.choice([w for w in WORDS if w]),
            "at": rng.choice((
                rng.randrange(0, 4 * 10**12),
                # Around the changes of the clock of 2023.
                1679792400000 + rng.randrange(-7200000, 7200000),
                1698541200000 + rng.randrange(-7200000, 7200000),
            )),
        }  # fmt: skip
        for key in ("who", "cookie", "note"):
            if rng.random() < 0.8:
                event[key] = rng.choice(WORDS)
        if not self.is_csv:
            if rng.random() < 0.3:
                event["who"] = rng.choice((None, 7, 10**20))
            if rng.random() < 0.5:
                event["note"] = rng.choice((1, 2.5, -3, True, False, None))
        if rng.random() < 0.6:
            event["inner"] = {"deep": rng.choice(WORDS)}
        return event

    def json_line(self, event):
        rng = self.rng
        items = list(event.items())
        rng.shuffle(items)
        text = json.dumps(
            dict(items), ensure_ascii=rng.random() < 0.5,
            separators=rng.choice(((",", ":"), (", ", ": "))),
        )  # fmt: skip
        return text + rng.choice(("\n", "\n", "\r\n"))

    def csv_line(self, event):
        out = io.StringIO()
        writer = csv.writer(
            out, lineterminator=self.rng.choice(("\n", "\r\n")),
            quoting=self.rng.choice((csv.QUOTE_ALL, csv.QUOTE_MINIMAL)),
        )  # fmt: skip
        deep = event.get("inner", {}).get("deep", "")
        writer.writerow([
            event["at"], event["id"], event.get("note", ""), event["kind"],
            event.get("who", ""), event.get("cookie", ""), deep,
        ])  # fmt: skip
        return out.getvalue()

    def bad_line(self):
        if self.is_csv:
            return self.rng.choice(("x,y\n", '1,"a"b,c\n', "soon,i,,k,w,c,\n"))
        return self.rng.choice(("{]\n", "nope\n", '{"id":"x","kind":"k"}\n'))

    def text_of(self, n_events, region, count=True):
        text = io.StringIO(newline="")
        if self.is_csv:
            text.write("at,id,note,kind,who,cookie,deep\n")
        line = 1 if self.is_csv else 0
        for _ in range(n_events):
            line += 1
            if self.rng.random() < 0.05:
                bad = self.bad_line()
                text.write(bad)
                if count:
                    self.bad.append((line, bad.rstrip("\n")))
                continue
            event = self.event()
            text.write(
                self.csv_line(event) if self.is_csv else self.json_line(event)
            )
            if count:
                row = row_of(event, region)
                if self.is_csv:
                    # A field that is empty is no value.
                    row = {k: None if v == "" else v for k, v in row.items()}
                self.rows.append(row)
        return text.getvalue().encode()

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    def partition(self, name, region, n_events):
        data = self.text_of(n_events, region)
        packing = self.rng.choice(("plain", "gzip", "zstd"))
        if packing == "gzip":
            data = gzip.compress(data)
        elif packing == "zstd" and shutil.which("zstd"):
            data = subprocess.run(
                ["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE,
                check=True,
            ).stdout  # fmt: skip
        self.write(name, data)

    def again(self):
        """The bytes of one under a name that comes behind all others."""
        names = sorted(
            os.path.join(d, f) for d, _, fs in os.walk(self.folder) for f in fs
        )
        shutil.copy(self.rng.choice(names), self.folder + "/zz-again.txt")
        return True

    def cut(self):
        if self.rng.random() < 0.5:
            return False
        data = gzip.compress(self.text_of(4000, None, count=False))
        self.write("000-cut.gz", data[: len(data) * 3 // 4])
        return True


def as_text(value):
    if value is True or value is False:
        return "true" if value else "false"
    return None if value is None else str(value)


def read_tsv(text):
    """The rows of TSV as COPY reads them."""
    rows, letters = [], {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    for line in text.split("\n")[:-1]:
        row = []
        for field in line.split("\t"):
            if field == "\\N":
                row.append(None)
                continue
            out, it = [], iter(field)
            for c in it:
                out.append(letters[next(it)] if c == "\\" else c)
            row.append("".join(out))
        rows.append(row)
    return rows


def fail(why, folder):
    sys.exit("rows_check: %s; the lake is in %s" % (why, folder))


def compare(lake, kind, out, folder):
    text = out.decode()
    wanted = [[as_text(r[c]) for c in COLUMNS] for r in lake.rows]
    if kind == "jsonl":
        got = [json.loads(line) for line in text.split("\n")[:-1]]
        if any(tuple(row) != COLUMNS for row in got):
            fail("columns of JSON differ", folder)
        if got != lake.rows:
            fail("rows of JSON differ", folder)
        return
    if kind == "tsv":
        if "\r" in text:
            fail("a carriage return stands in TSV as it is", folder)
        got = read_tsv(text)
    else:
        # The csv module does not tell an empty field from "".
        wanted = [[f or "" for f in row] for row in wanted]
        got = list(csv.reader(io.StringIO(text, newline="")))
    if got[0] != list(COLUMNS):
        fail("the header of %s is %r" % (kind, got[0]), folder)
    if got[1:] != wanted:
        for a, b in zip(got[1:], wanted):
            if a != b:
                fail("%s has %r for %r" % (kind, a, b), folder)
        fail("%s has %d rows for %d" % (kind, len(got) - 1, len(wanted)), folder)


def check_round(mr, rng, folder, n_events):
    is_csv = rng.random() < 0.5
    lake = Lake(rng, folder + "/lake", is_csv, n_events)
    spec = folder + "/spec.yaml"
    with open(spec, "w", encoding="utf-8") as file:
        file.write(CSV_SPEC if is_csv else JSON_SPEC)
    for kind in ("csv", "tsv", "jsonl"):
        outs, rejects = set(), set()
        for threads in ("1", "2", "7"):
            bad = folder + "/bad.jsonl"
            run = Run(
                mr, "rows", "--spec", spec, "--format", kind, "-j", threads,
                "--rejects", bad, folder + "/lake",
            )  # fmt: skip
            if run.status != (3 if lake.broken else 0):
                fail(str(run), folder)
            outs.add(run.out)
            with open(bad, encoding="utf-8") as file:
                rejects.add(file.read())
        if len(outs) != 1 or len(rejects) != 1:
            fail("%s differs between numbers of threads" % kind, folder)
        compare(lake, kind, outs.pop(), folder)
        got = [json.loads(line) for line in rejects.pop().splitlines()]
        if [(r["line"], r["text"]) for r in got] != lake.bad:
            fail("rejected lines differ", folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--events", type=int, default=3000)
    args = parser.parse_args()
    mr = program()
    for i in range(args.rounds):
        folder = tempfile.mkdtemp(prefix="rows-")
        n_events = (3, 100, args.events)[i % 3]
        check_round(mr, random.Random(args.seed * 1000 + i), folder, n_events)
        shutil.rmtree(folder)
    print("rows_check: %d lakes, all alike" % args.rounds)


if __name__ == "__main__":
    main()
