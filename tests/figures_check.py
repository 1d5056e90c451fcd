#!/usr/bin/env python3
"""mr against Python's sets on lakes of random specs (random_spec.py).

Usage: figures_check.py [--lakes N] [--first SEED] [--keep FOLDER]

Each lake is mapped whole and in two shards; every figure of daily.csv, of each
rollup, of identity.csv, unknown_users.csv, duplicates.csv and segments.csv
must be the one counted here, from one state and from two, and both must merge
to the same bytes.
A lake that differs is kept.  Exit status 1 if any does.
"""

import os

from mr_program import DAY_FIGURES, Run, errors_off, number, read_csv, run_lakes
from random_spec import make_spec_lake, truth_of


def compare_days(rows, wanted):
    if [x["day"] for x in rows] != [x["day"] for x in wanted]:
        yield "daily.csv has the days %s, not %s" % (
            [x["day"] for x in rows], [x["day"] for x in wanted]
        )  # fmt: skip
        return
    for row, day in zip(rows, wanted):
        for key in DAY_FIGURES:
            if number(row[key]) != day[key]:
                yield "daily.csv %s: %s is %s, not %s" % (
                    day["day"], key, row[key], day[key]
                )  # fmt: skip


def compare_rollup(rollup, rows, wanted):
    by, name = rollup["by"], rollup["name"] + ".csv"
    got = {}
    for row in rows:
        key = tuple(row[f] or None for f in by)
        got[None if key[0] == "(further)" else key] = row
    if set(got) != set(wanted) or len(rows) != len(wanted):
        yield "%s: groups %s" % (
            name, sorted(set(got) ^ set(wanted), key=repr)[:6]
        )  # fmt: skip
        return
    for key, (events, users) in wanted.items():
        row = got[key]
        if int(row["events"]) != events:
            yield "%s %s: events %s, not %d" % (name, key, row["events"], events)
        if ("users" in row) != (rollup["users"] != "estimate"):
            yield "%s: its columns are %s" % (name, sorted(row))
        elif "users" in row and int(row["users"]) != users:
            yield "%s %s: users %s, not %d" % (name, key, row["users"], users)
        estimate = row.get("users_estimate")
        if (estimate is None) != (rollup["users"] == "exact"):
            yield "%s: its columns are %s" % (name, sorted(row))
        elif estimate is not None and errors_off(users, int(estimate)) > 5:
            yield "%s %s: estimate %s of %d" % (name, key, estimate, users)


def compare_identity(rows, wanted):
    got = {x["source"]: (int(x["events"]), int(x["users"])) for x in rows}
    if got != wanted:
        yield "identity.csv is %s, not %s" % (got, wanted)


def compare_unknown(rows, wanted):
    got = {
        x["type"]: (
            int(x["unknown_events"]), int(x["events"]), int(x["unknown_users"])
        ) for x in rows
    }  # fmt: skip
    if got != wanted:
        yield "unknown_users.csv is %s, not %s" % (got, wanted)
    shares = [int(x["unknown_events"]) / int(x["events"]) for x in rows]
    if shares != sorted(shares, reverse=True):
        yield "unknown_users.csv is not ranked by share"
    if [int(x["rank"]) for x in rows] != list(range(1, len(rows) + 1)):
        yield "unknown_users.csv: its ranks"
    for row, share in zip(rows, shares):
        if abs(float(row["share"]) - share) > 1e-6:
            yield "unknown_users.csv: share %s, not %f" % (row["share"], share)


def compare_duplicates(rows, wanted):
    if sorted(x["day"] for x in rows) != sorted(wanted):
        yield "duplicates.csv has the days %s, not %s" % (
            [x["day"] for x in rows], sorted(wanted)
        )  # fmt: skip
        return
    by_rank = sorted(wanted, key=lambda day: (-wanted[day][2], day))
    ranks = [(x["rank"], x["day"]) for x in rows]
    if ranks != [(str(i), day) for i, day in enumerate(by_rank, 1)]:
        yield "duplicates.csv: its ranks are %s" % ranks
    columns = (
        "events", "ids", "duplicates", "duplicates_low", "duplicates_high",
    )  # fmt: skip
    for row in rows:
        *figures, kept = wanted[row["day"]]
        if row["kind"] != ("exact" if kept is None else "estimate"):
            yield "duplicates.csv %s: kind %s" % (row["day"], row["kind"])
        for column, figure in zip(columns, figures):
            # Estimates are shown as the nearest whole numbers.
            if abs(int(row[column]) - figure) > 0.5 + 1e-6:
                yield "duplicates.csv %s: %s is %s, not %s" % (
                    row["day"], column, row[column], figure
                )  # fmt: skip
        # Only an impossible estimate may lie outside of its interval.
        value, low, high = (int(row[x]) for x in columns[2:])
        events, ids = figures[:2]
        most = events - (ids if kept is None else kept + 1)
        if 0 <= figures[2] <= most and not low <= value <= high:
            yield "duplicates.csv %s: %s" % (row["day"], row)


def compare_segments(rows, wanted):
    keys = ("segment", "day", "attribute", "value")
    got = {tuple(x[k] for k in keys): int(x["users"]) for x in rows}
    if len(got) != len(rows):
        yield "segments.csv has a row twice"
    for key in sorted(set(got) | set(wanted)):
        if got.get(key) != wanted.get(key):
            yield "segments.csv %s: %s, not %s" % (
                key, got.get(key), wanted.get(key)
            )  # fmt: skip


def compare(folder, lake, truth):
    csv = lambda name: read_csv(os.path.join(folder, name))
    yield from compare_days(csv("daily.csv"), truth["days"])
    for rollup, wanted in zip(lake.spec["rollups"], truth["rollups"]):
        yield from compare_rollup(rollup, csv(rollup["name"] + ".csv"), wanted)
    for name, key, check in (
        ("identity.csv", "identity", compare_identity),
        ("unknown_users.csv", "unknown", compare_unknown),
        ("duplicates.csv", "duplicates", compare_duplicates),
        ("segments.csv", "segments", compare_segments),
    ):
        if truth[key] is not None:
            yield from check(csv(name), truth[key])
        elif os.path.exists(os.path.join(folder, name)):
            yield "%s is there, though the spec has nothing of it" % name


def check(mr, seed, folder):
    """Sentences about what is unlike on one lake."""
    lake = make_spec_lake(seed, folder)
    truth = truth_of(lake)
    runs, states = [], {}
    for shard, jobs in (("1/1", 3), ("1/2", 1), ("2/2", 2)):
        states[shard] = os.path.join(folder, shard.replace("/", "of") + ".mrs")
        runs.append(Run(mr, "map", "-q", "--spec", lake.spec_path, "-j",
                        str(jobs), "-o", states[shard], "--shard", shard,
                        lake.root))  # fmt: skip
    merged, out = os.path.join(folder, "m.mrs"), os.path.join(folder, "out%d")
    halves = states["1/2"], states["2/2"]
    runs.append(Run(mr, "reduce", "-q", "-o", out % 1, states["1/1"]))
    runs.append(Run(mr, "reduce", "-q", "-o", out % 2, *halves))
    runs.append(Run(mr, "reduce", "-q", "-o", out % 3, "--merged", merged,
                    *halves))  # fmt: skip
    problems = [str(x) for x in runs if x.status != 0]
    for i in () if problems else (1, 2, 3):
        problems += ("out%d: %s" % (i, x) for x in compare(out % i, lake, truth))
    if not problems:
        with open(states["1/1"], "rb") as a, open(merged, "rb") as b:
            if a.read() != b.read():
                problems.append("the whole and the merged state differ")
    return problems


if __name__ == "__main__":
    run_lakes("figures", __doc__, check, 100)
