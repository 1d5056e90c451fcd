#!/usr/bin/env python3
"""Manifests, coverage, shards and holes of random lakes against plain sets.

Usage: coverage_check.py [--lakes N] [--first SEED] [--keep FOLDER]

Of each lake a manifest is written.  Then files grow, go and come, some are
mapped, and `mr reduce --manifest` must say of every day and type what Python
counts from names and sizes.  The parts of --shards must be those of the rule
in the manual.  Then files of hours are left out, and the notes about holes must
be those that sets of hours give.  Exit status 1 if anything differs.
"""

import collections
import csv
import datetime
import heapq
import json
import os
import random
import re
import shutil
import urllib.parse

import oracle
from mr_program import Run, read_csv, run_lakes
from random_lake import make_lake

MISSING = "in the manifest, in no state"
CHANGED = "not as in the manifest: %d bytes were read, it lists %d"


def files_of(folder):
    """Sizes by name, as the contract names partitions."""
    found = {}
    for name, path in oracle.walk(folder):
        found[name] = os.path.getsize(path)
    return found


def decode(text):
    try:
        plain = urllib.parse.unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
    return text if "\0" in plain else plain


def place(name):
    """The day and type that folders tell, '-' for none."""
    day = kind = "-"
    for part in name.split("/")[:-1]:
        key, _, value = part.partition("=")
        if key in ("date", "day", "dt") and oracle.parse_day(value) is not None:
            day = oracle.day_text(oracle.parse_day(value))
        if key in ("type", "event_type") and value:
            kind = decode(value)
    return day, kind


def read_manifest(path):
    with open(
        path, newline="", encoding="utf-8", errors="surrogateescape"
    ) as file:
        rows = list(csv.reader(file))
    return rows[0], rows[1:-1], rows[-1]


def check_manifest(path, listed):
    header, rows, last = read_manifest(path)
    wanted = sorted(
        ([n, str(b)] for n, b in listed.items()),
        key=lambda x: os.fsencode(x[0]),
    )
    if header != ["partition", "bytes"] or rows != wanted:
        yield "the manifest lists %s, not %s" % (rows, wanted)
    if last != ["", str(sum(listed.values()))]:
        yield "the manifest ends with %s" % last


def check_shards(mr, rng, listed):
    """The parts, by the rule: the largest first, each to the smallest part."""
    n = rng.choice((1, 2, 3, 7, 40))
    run = Run(mr, "plan", "-q", "--format", "json", "--shards", str(n), ".")
    if run.status != 0:
        yield "%s; expected 0" % run
        return
    heap, wanted = [(0, k) for k in range(n)], [[0, 0] for _ in range(n)]
    for name, size in sorted(
        listed.items(), key=lambda x: (-x[1], os.fsencode(x[0]))
    ):
        weight, k = heap[0]
        heapq.heapreplace(heap, (weight + size + 1, k))
        wanted[k][0] += 1
        wanted[k][1] += size
    plan = json.loads(run.out)
    got = [[x["partitions"], x["bytes"]] for x in plan["shards"]]
    if got != wanted:
        yield "the parts are %s, not %s" % (got, wanted)
    largest = max(listed.values())
    weights = [p + b for p, b in got]
    if max(weights) - min(weights) > largest + 1:
        yield "the parts %s are further apart than %d" % (got, largest)
    count = collections.Counter()
    for name, size in listed.items():
        count[place(name)[0]] += size
    days = {x["day"] or "-": x["bytes"] for x in plan["days"]}
    if days != dict(count):
        yield "the days' bytes are %s, not %s" % (days, dict(count))


def disturb(rng, paths):
    """Let plain files grow, others go, and new ones come; what is there."""
    there = list(paths)
    for path in paths:
        what = rng.random()
        if what < 0.15:
            there.remove(path)
        elif what < 0.3:
            with open(path, "rb") as file:
                plain = file.read(1) in (b"{", b"\n", b" ")
            if plain:
                with open(path, "ab") as file:
                    file.write(b"\n" * rng.randint(1, 3))
    if rng.random() < 0.5:
        os.makedirs("date=2024-03-01", exist_ok=True)
        with open("date=2024-03-01/came.json", "w", encoding="utf-8") as file:
            file.write("no event\n")
        there.append("date=2024-03-01/came.json")
    if rng.random() < 0.3:
        there = rng.sample(there, len(there) // 2)
    return there or [rng.choice(paths)]


def expect_coverage(listed, paths):
    """Rows of coverage.csv, reasons of what is not covered, names that are
    strangers to the manifest."""
    partitions, failed, _ = oracle.read_lake(paths, oracle.LAKE)
    sizes = collections.defaultdict(list)
    strangers = 0
    for p in partitions:
        archive = isinstance(p.stored, oracle.ReadArchive)
        for name in p.names:
            sizes[name].append(None if archive else p.stored_bytes)
        strangers += not any(
            n in listed or any(n.startswith(x + "/") for x in listed)
            for n in p.names
        )
    rows = collections.defaultdict(lambda: [0, 0, 0, 0])
    lacking = {name: None for name in failed}
    for name, size in listed.items():
        row = rows[place(name)]
        row[0] += 1
        row[2] += size
        if None in sizes[name] or size in sizes[name]:
            row[1] += 1
            row[3] += size
        elif sizes[name]:
            lacking[name] = CHANGED % (min(sizes[name]), size)
        else:
            lacking.setdefault(name, MISSING)
    return rows, lacking, strangers


def compare(run, out, rows, lacking, strangers):
    if run.status != (3 if lacking else 0):
        yield "%s; expected %d" % (run, 3 if lacking else 0)
        return
    word = "partial" if lacking else "complete"
    got = {}
    for x in read_csv(os.path.join(out, "coverage.csv")):
        row = [int(x[k]) for k in
               ("partitions", "partitions_read", "bytes", "bytes_read")]  # fmt: skip
        got[x["day"], x["type"]] = row
        if (x["status"] == "complete") != (row[0] == row[1]):
            yield "coverage.csv %s: its status is %s" % (row, x["status"])
    if got != dict(rows):
        yield "coverage.csv has %s, not %s" % (got, dict(rows))
    failed = {
        x["name"]: x["reason"]
        for x in read_csv(os.path.join(out, "partitions.csv"))
        if x["status"] == "failed"
    }
    if set(failed) != set(lacking):
        yield "not covered are %s, not %s" % (sorted(failed), sorted(lacking))
    for name, reason in lacking.items():
        if reason is None:
            if failed.get(name) == MISSING:
                yield "%s lacks its own cause" % name
        elif failed.get(name) != reason:
            yield "%s: '%s', not '%s'" % (name, failed.get(name), reason)
    for name in ("daily.csv", "daily_by_type.csv"):
        words = {x["status"] for x in read_csv(os.path.join(out, name))}
        if words - {word}:
            yield "%s is marked %s" % (name, words)
    with open(os.path.join(out, "kpis.json"), encoding="utf-8") as file:
        kpis = json.load(file)
    told = kpis["coverage"]["manifest"]
    sums = [sum(x[i] for x in rows.values()) for i in range(4)]
    wanted = {
        "partitions": sums[0], "partitions_read": sums[1], "bytes": sums[2],
        "bytes_read": sums[3], "not_in_manifest": strangers,
        "missing": sum(x == MISSING for x in lacking.values()),
        "changed": sum(str(x).startswith("not as") for x in lacking.values()),
    }  # fmt: skip
    for key, value in wanted.items():
        if told[key] != value:
            yield "kpis.json: %s is %d, not %d" % (key, told[key], value)
    if kpis["status"] != word:
        yield "kpis.json is marked %s" % kpis["status"]


def check_lake(mr, seed, folder):
    rng = random.Random(seed)
    lake, work = os.path.join(folder, "lake"), os.path.join(folder, "work")
    os.makedirs(lake)
    os.makedirs(work)
    paths = make_lake(seed, lake)
    os.chdir(lake)
    listed = files_of(".")
    manifest = os.path.join(work, "manifest.csv")
    run = Run(mr, "plan", "-q", "--manifest", manifest, lake)
    if run.status != 0:
        yield "%s; expected 0" % run
        return
    yield from check_manifest(manifest, listed)
    yield from check_shards(mr, rng, listed)
    there = disturb(rng, paths)
    # Two states, which may overlap.
    for i in (0, 1):
        with open(
            os.path.join(work, "list%d" % i), "w", encoding="utf-8"
        ) as file:
            cut = rng.randint(0, len(there) - 1)
            some = there if i == 0 else there[cut:]
            file.writelines(x + "\n" for x in some)
        run = Run(mr, "map", "-q", "-o", os.path.join(work, "%d.mrs" % i),
                  "@" + file.name)  # fmt: skip
        if run.status not in (0, 3):
            yield "%s; expected 0 or 3" % run
            return
    out = os.path.join(work, "out")
    run = Run(mr, "reduce", "-q", "-o", out, "--manifest", manifest,
              os.path.join(work, "0.mrs"), os.path.join(work, "1.mrs"))  # fmt: skip
    yield from compare(run, out, *expect_coverage(listed, there))


# ---- holes ----------------------------------------------------------------

EPOCH = datetime.datetime(2024, 2, 28)
NOTE = re.compile(
    r"mr: note: type '(.*?)' has no partition of (\d+) of the (\d+) hours "
    r"between (\S+ \d\d) and (\S+ \d\d), by the folders' names, the first "
    r"being (\S+ \d\d): is a file missing\?"
)


def hour_text(hour):
    return (EPOCH + datetime.timedelta(hours=hour)).strftime("%Y-%m-%d %H")


def expect_holes(hours):
    """Types with at least 7/8 of the inner hours, but not all of them.  Hours
    that few types have, compared with the fullest, are no ends."""
    types = collections.Counter(h for some in hours.values() for h in some)
    full = [h for h in types if 2 * types[h] >= max(types.values())]
    first, last = min(full), max(full)
    inner = set(range(first + 1, last))
    found = {}
    for kind, some in hours.items():
        lacking = inner - some
        if len(inner) >= 8 and 0 < len(lacking) <= len(inner) // 8:
            found[kind] = (
                str(len(lacking)), str(len(inner)), hour_text(first),
                hour_text(last), hour_text(min(lacking)),
            )  # fmt: skip
    return found


def check_holes(mr, seed, folder):
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.chdir(folder)
    span, hours = rng.choice((3, 9, 10, 24, 60)), {}
    for kind in ("a", "b", "c d", "e"):
        drop = rng.choice((0, 0.02, 0.1, 0.5))
        begin, end = rng.choice((0, 0, 1, 3)), span - rng.choice((0, 0, 1, 2))
        hours[kind] = {h for h in range(begin, end) if rng.random() >= drop}
        # Late events make folders that other types have no need of.
        late = range(end, end + rng.choice((0, 0, 0, 5)))
        hours[kind].update(h for h in late if rng.random() < 0.7)
        for hour in hours[kind]:
            when = EPOCH + datetime.timedelta(hours=hour)
            path = "lake/type=%s/%s=%s/%s=%02d" % (
                urllib.parse.quote(kind), rng.choice(("date", "dt", "day")),
                when.strftime(rng.choice(("%Y-%m-%d", "%Y%m%d"))),
                rng.choice(("hour", "hr")), when.hour,
            )  # fmt: skip
            os.makedirs(path, exist_ok=True)
            with open(path + "/x", "w", encoding="utf-8") as file:
                file.write("%s %d\n" % (kind, hour))
    if not set().union(*hours.values()):
        return
    run = Run(mr, "map", "-q", "-o", "s.mrs", "lake")
    run = Run(mr, "reduce", "s.mrs")
    got = {x.group(1): x.groups()[1:] for x in NOTE.finditer(run.said)}
    wanted = expect_holes(hours)
    if run.status != 0 or got != wanted or run.said.count("note") != len(got):
        yield "holes are noted as %s, not %s: %s" % (got, wanted, run)


def check_both(mr, seed, folder):
    yield from check_lake(mr, seed, folder)
    yield from check_holes(mr, seed, os.path.join(folder, "holes"))


if __name__ == "__main__":
    run_lakes("coverage", __doc__, check_both, 60)
