#!/usr/bin/env python3
"""mrs_read.py against mr: do they find the same in a state file?

Usage: second_reader_check.py STATE FOLDER
       second_reader_check.py [--lakes N] [--first SEED]

FOLDER is what "mr reduce -o FOLDER STATE" wrote.  Without the two, N random
lakes of the built-in spec (random_lake.py), N of random specs
(random_spec.py), and one with so many ids and users that they take several
blocks are mapped and reduced by the program that the environment variable MR
names, as one state and merged from two.  Each line printed is a difference;
exit status 1 if there is one.
"""

import argparse
import os
import random
import re
import sys
import tempfile

import mrs_read
from mr_program import Run, program, read_csv
from random_lake import make_lake
from random_spec import make_spec_lake

# The worked example of docs/kpis.md, which good-kpis.mrs was made from.
SAMPLE = "samples/states/good-kpis.mrs"
SAMPLE_DAYS = """
2024-03-01 4 1 2 None None None None 2
2024-03-02 5 0 3 2 0 0 1 3
2024-03-03 0 0 0 0 0 3 0 0
2024-03-04 2 0 2 0 2 0 2 2
"""
SAMPLE_TYPES = """
2024-03-01 view 4 2
2024-03-02 buy 2 2
2024-03-02 view 3 2
2024-03-04 view 2 2
"""
PARTITION_NUMBERS = (
    "stored_bytes", "text_bytes", "lines", "events", "rejected", "blank",
    "other_day", "other_type",
)  # fmt: skip


def as_csv(figure):
    """A figure as it stands in the files."""
    if figure is None:
        return ""
    return "%.0f" % figure if isinstance(figure, float) else str(figure)


def compare_rows(what, rows, wanted):
    """Row by row and column by column; further columns do not matter."""
    if len(rows) != len(wanted):
        yield "%s has %d rows, not %d" % (what, len(rows), len(wanted))
        return
    for i, (row, one) in enumerate(zip(rows, wanted), 2):
        for key, figure in one.items():
            if row[key] != as_csv(figure):
                yield "%s line %d: %s is %r, not %r" % (
                    what, i, key, row[key], as_csv(figure)
                )  # fmt: skip


def partition_rows(state):
    rows = []
    for p in state.partitions:
        row = {key: p[key] for key in PARTITION_NUMBERS}
        row["name"] = os.fsdecode(p["names"][0])
        row.update(digest=p["digest"], status="read", names=len(p["names"]))
        rows.append(row)
    for name, offset, cause in state.failures:
        row = {"name": os.fsdecode(name), "digest": "", "status": "failed"}
        row.update(offset=offset, reason=cause.decode("utf-8"))
        rows.append(row)
    return sorted(rows, key=lambda x: (os.fsencode(x["name"]), x["digest"]))


def compare_sketches(state):
    """The registers must be those that the exact users leave."""
    p = int(state.spec["sketch_bits"])
    for cell, members, registers in zip(
        state.cells + state.figures, state.members, state.sketches
    ):
        if mrs_read.sketch_of(members, p) != (registers or {}):
            yield "the sketch of %s is not that of its users" % (cell,)


def compare_users(state):
    """Who is in a set has intervals on that day, and the other way round."""
    per_day = {}
    for (day, _), members in zip(state.cells, state.members):
        per_day.setdefault(day, set()).update(members)
    for h, intervals in state.users.items():
        if not any(h in members for members in per_day.values()):
            yield "user %016x is in no set" % h
        for time in (t for interval in intervals for t in interval):
            if h not in per_day.get(mrs_read.day_of(state, time), ()):
                yield "user %016x has no event on the day of %d" % (h, time)


def rollup_name(state, number):
    return re.findall(r"{name: (.*?), by:", state.spec["rollups"])[number]


def compare_figures(state, csv):
    """Each figure's counts, by the file that has them; by nothing but
    counts, as how rows are written is for others to say."""
    files = {}
    for text, counts in mrs_read.figure_counts(state).items():
        files.setdefault(text[0], []).append(counts)
    for kind, counts in files.items():
        if kind == mrs_read.IDENTITY:
            name, columns = "identity.csv", ("events", "users")
        elif kind == mrs_read.UNKNOWN:
            name = "unknown_users.csv"
            columns = "unknown_events", "unknown_users"
        elif kind == mrs_read.ATTRIBUTE:
            continue
        else:
            name = rollup_name(state, kind - mrs_read.ROLLUP) + ".csv"
            columns = "events", "users"
        rows = csv(name)
        if rows and columns[1] not in rows[0]:
            counts, columns = [(n,) for n, _ in counts], columns[:1]
        got = sorted(tuple(int(x[c]) for c in columns) for x in rows)
        if got != sorted(counts):
            yield "%s has %s, not %s" % (name, got, sorted(counts))
    for text in state.figures:
        if text[0] >= mrs_read.ROLLUP:
            mrs_read.group_values(text)


def compare_ids(state, rows):
    got = {x["day"]: (x["kind"], int(x["ids"])) for x in rows}
    wanted = {}
    for day, (is_cut, ids) in state.ids.items():
        n, kind = len(ids), "exact"
        if is_cut:
            kind = "estimate"
            n = round((n - 1) / ((ids[-1] + 0.5) / 2**64))
        wanted[mrs_read.date(day)] = kind, n
    if got != wanted:
        yield "duplicates.csv has %s, not %s" % (got, wanted)


def compare_segments(state, rows):
    keys = "segment", "day", "attribute", "value"
    got = {tuple(x[k] for k in keys): int(x["users"]) for x in rows}
    wanted = mrs_read.segment_users(state)
    if got != wanted:
        unlike = sorted(set(got.items()) ^ set(wanted.items()))
        yield "segments.csv: %s" % unlike[:6]


def compare(path, folder):
    state = mrs_read.read_state(path)
    csv = lambda name: read_csv(os.path.join(folder, name))
    days, by_type = mrs_read.kpis(state)
    yield from compare_rows("daily.csv", csv("daily.csv"), days)
    yield from compare_rows(
        "daily_by_type.csv", csv("daily_by_type.csv"), by_type
    )
    rejects = {x["reason"]: int(x["lines"]) for x in csv("rejects.csv")}
    if rejects != mrs_read.reasons(state):
        yield "rejects.csv is %s, not %s" % (rejects, mrs_read.reasons(state))
    partitions = sorted(
        csv("partitions.csv"),
        key=lambda x: (os.fsencode(x["name"]), x["digest"]),
    )
    yield from compare_rows(
        "partitions.csv (sorted)", partitions, partition_rows(state)
    )
    yield from compare_figures(state, csv)
    if mrs_read.has_ids(state.spec):
        yield from compare_ids(state, csv("duplicates.csv"))
    if mrs_read.has_segments(state.spec):
        yield from compare_segments(state, csv("segments.csv"))
    yield from compare_sketches(state)
    yield from compare_users(state)
    stem, ending = os.path.splitext(os.path.basename(path))
    if ending == ".mrs" and len(stem) == 32 and stem != state.name:
        yield "the file's name is %s, its content's %s" % (stem, state.name)


def compare_reduced(mr, work, states, what):
    """Reduce states and read what comes out."""
    merged = os.path.join(work, what + ".mrs")
    out = os.path.join(work, what + ".out")
    run = Run(mr, "reduce", "-q", "-o", out, "--merged", merged, *states)
    if run.status not in (0, 3):
        yield str(run)
        return
    for problem in compare(merged, out):
        yield "%s: %s" % (what, problem)


LARGE_SPEC = """
format: csv
id: id
type: type
time: t
user: uid
duplicates: {max_ids: 25000}
segments: {a: {v: '=0', c: '>=2'}, b: {b: '>1'}}
"""


def make_built_in(seed, folder):
    make_lake(seed, os.path.join(folder, "lake"))
    return "lake"


def make_random(seed, folder):
    return make_spec_lake(seed, folder).spec_path


def make_large(seed, folder):
    """Of two days one is cut."""
    rng = random.Random(seed)
    for name in ("1.csv", "2.csv"):
        path = os.path.join(folder, "lake", name)
        with open(path, "w", encoding="ascii") as file:
            file.write("id,type,t,uid\n")
            for _ in range(40000):
                day = rng.choice((0, 0, 1))
                time_s = 1709078400 + 86400 * day + rng.randrange(86400)
                file.write("%d,%s,%d000,u%d\n" % (
                    rng.randrange(60000), rng.choice("vcbx"), time_s,
                    rng.randrange(9000),
                ))  # fmt: skip
    spec = os.path.join(folder, "spec.yaml")
    with open(spec, "w", encoding="ascii") as file:
        file.write(LARGE_SPEC)
    return spec


def with_days_moved(data):
    """A state, sound but that the days of its ids are others."""
    data, at = bytearray(data), data.index(b"DIDX")
    start = mrs_read.little(data, at + 8, 8)
    stored = mrs_read.little(data, at + 16, 8)
    data[start + 1] ^= 1
    checksum = mrs_read.xxh64(bytes(data[start : start + stored]))
    data[at + 32 : at + 40] = checksum.to_bytes(8, "little")
    end = 64 + 40 * mrs_read.little(data, 12, 4)
    checksum = mrs_read.xxh64(bytes(data[:56] + data[64:end]))
    data[56:64] = checksum.to_bytes(8, "little")
    return data


def check_days_moved(mr, state):
    """Both readers must refuse such a state."""
    with open(state, "rb") as file:
        data = with_days_moved(file.read())
    with open(state, "wb") as file:
        file.write(data)
    run = Run(mr, "reduce", "-q", state)
    if run.status != 6 or "days with events" not in run.said:
        yield "ids of other days: %s" % run
    try:
        mrs_read.read_state(state)
        yield "ids of other days are no problem of the second reader"
    except mrs_read.Refused as why:
        if "DIDX" not in str(why):
            yield "ids of other days: %s" % why


def check(mr, seed, folder, make):
    """make writes the lake and names its spec."""
    lake, work = os.path.join(folder, "lake"), os.path.join(folder, "work")
    os.makedirs(lake)
    os.makedirs(work)
    spec = make(seed, folder)
    for shard in ("1/1", "1/2", "2/2"):
        run = Run(mr, "map", "-q", "-o", os.path.join(work, shard[2]),
                  "--spec", spec, "--shard", shard, lake)  # fmt: skip
        if run.status not in (0, 3):
            yield str(run)
            return
    yield from compare_reduced(mr, work, [os.path.join(work, "1")], "whole")
    yield from compare_reduced(mr, work, [os.path.join(work, "2")], "merged")
    with open(os.path.join(work, "whole.mrs"), "rb") as whole:
        with open(os.path.join(work, "merged.mrs"), "rb") as merged:
            if whole.read() != merged.read():
                yield "one state and two merged ones differ"
    if make is make_large:
        yield from check_days_moved(mr, os.path.join(work, "whole.mrs"))


def rows_as_text(rows):
    return "".join(
        " ".join(str(v) for k, v in row.items() if k != "users_estimate") + "\n"
        for row in rows
    )


def check_sample():
    """The second reader itself, against figures found by hand."""
    here = os.path.dirname(os.path.abspath(__file__))
    state = mrs_read.read_state(os.path.join(here, SAMPLE))
    days, by_type = mrs_read.kpis(state)
    for got, wanted in (
        (rows_as_text(days), SAMPLE_DAYS),
        (rows_as_text(by_type), SAMPLE_TYPES),
    ):
        if got != wanted.lstrip():
            yield "%s gives\n%snot%s" % (SAMPLE, got, wanted)
    if mrs_read.reasons(state) != {"json": 1} or len(state.failures) != 1:
        yield "%s: bad lines or failures differ" % SAMPLE


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lakes", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("state", nargs="?")
    parser.add_argument("folder", nargs="?")
    args = parser.parse_args()
    if args.state and not args.folder:
        parser.error("STATE needs the FOLDER that was made of it")
    problems = []
    if args.state:
        problems += compare(args.state, args.folder)
    else:
        problems += check_sample()
        mr = program()
        seeds = range(args.first, args.first + args.lakes)
        lakes = [(x, make_built_in) for x in seeds]
        lakes += [(x, make_random) for x in seeds]
        for seed, make in lakes + [(args.first, make_large)]:
            with tempfile.TemporaryDirectory(prefix="mr-second-") as folder:
                problems += (
                    "lake %d (%s): %s" % (seed, make.__name__, x)
                    for x in check(mr, seed, folder, make)
                )
    for problem in problems[:20]:
        print(problem)
    print("second reader: %d differences" % len(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
