#!/usr/bin/env python3
"""mr against the oracle on random lakes, each mapped as by two laptops.

Usage: oracle_check.py [--lakes N] [--first SEED] [--keep FOLDER]

Each lake is mapped twice over: by two lists of files that may overlap, and by
--shard.  Every figure of every file that reduce writes must be the oracle's,
and so must each rejected line and the exit statuses.  A lake that differs is
kept.  Exit status 1 if any does.
"""

import collections
import json
import os
import random

import oracle
from mr_program import Run, compare_output, run_lakes
from random_lake import make_lake


def split(rng, paths):
    """Two lists, neither empty, that make up all paths; some in both."""
    lists = [], []
    for path in paths:
        where = rng.choice((0, 1, 0, 1, 0, 1, 2))
        for i in (0, 1):
            if where in (i, 2):
                lists[i].append(path)
    for some in lists:
        if not some:
            some.append(rng.choice(paths))
        rng.shuffle(some)
    return lists


def expect(run, status):
    if run.status != status:
        yield "%s; expected %d" % (run, status)


def partial(paths):
    return 3 if oracle.truth_of(paths, with_digests=False)["partial"] else 0


def map_lists(mr, rng, paths, work):
    """Two states of two lists of files."""
    for i, some in enumerate(split(rng, paths)):
        name = os.path.join(work, "list%d" % i)
        with open(name, "w", encoding="utf-8") as file:
            file.writelines(x + "\n" for x in some)
        state = os.path.join(work, "list%d.mrs" % i)
        threads = str(rng.choice((1, 2, 7)))
        run = Run(mr, "map", "-q", "-j", threads, "-o", state, "@" + name)
        yield from expect(run, partial(some))


def map_shards(mr, rng, work):
    """Two states of the two shards of the lake, with their rejected lines."""
    for i in (1, 2):
        run = Run(
            mr, "map", "-q", "-o", os.path.join(work, "shard%d.mrs" % i),
            "--shard", "%d/2" % i,
            "--rejects", os.path.join(work, "rejects%d.jsonl" % i),
            "-j", str(rng.choice((1, 2, 7))), ".",
        )  # fmt: skip
        if run.status not in (0, 3):
            yield "%s; expected 0 or 3" % run


def compare_rejected_lines(work, truth):
    """Only where each partition has one name that both sides agree on."""
    if truth["totals"]["repeated"]:
        return
    got = collections.Counter()
    for i in (1, 2):
        path = os.path.join(work, "rejects%d.jsonl" % i)
        with open(path, encoding="utf-8") as file:
            for line in file:
                x = json.loads(line)
                got[x["partition"], x["line"], x["reason"]] += 1
    wanted = collections.Counter(tuple(x) for x in truth["rejected_lines"])
    for key in sorted((got - wanted) | (wanted - got)):
        yield "--rejects: %s stands %d times, not %d" % (
            key, got[key], wanted[key]
        )  # fmt: skip


def check(mr, seed, folder):
    """Sentences about what is unlike on one lake."""
    rng = random.Random(seed)
    lake, work = os.path.join(folder, "lake"), os.path.join(folder, "work")
    os.makedirs(lake)
    os.makedirs(work)
    paths = make_lake(seed, lake)
    os.chdir(lake)
    truth = oracle.truth_of(["."])
    problems = list(map_lists(mr, rng, paths, work))
    problems += map_shards(mr, rng, work)
    for kind in () if problems else ("list", "shard"):
        out = os.path.join(work, kind + ".out")
        states = [os.path.join(work, kind + "%s.mrs") % i
                  for i in ((0, 1) if kind == "list" else (1, 2))]  # fmt: skip
        run = Run(mr, "reduce", "-q", "-o", out, *states)
        problems += expect(run, 3 if truth["partial"] else 0)
        if run.status in (0, 3):
            problems += (kind + ": " + x for x in compare_output(out, truth))
    if not problems:
        problems += compare_rejected_lines(work, truth)
    return problems


if __name__ == "__main__":
    run_lakes("oracle", __doc__, check, 200)
