#!/usr/bin/env python3
"""The laws of the contract as properties of random lakes.

Usage: laws.py [--lakes N] [--first SEED] [--law N]... [--keep FOLDER]

One line is printed for each law, and one for each comparison that fails; the
lake of a failure is kept.  Exit status 1 if any fails.  Each law is tried on
lakes of the built-in spec (random_lake.py), and on as many of random specs
with all kinds of figures (random_spec.py).  Users' numbers of events, which
segments need, add up: where these are kept, states that overlap in part must
be refused, with a partition that they have in common.

  1 merging states is a union: any order, grouping, repetition, overlap;
    what is superseded can be left out
  2 mapping parts and merging is mapping all: threads, order, splits, shards,
    a state for each file, runs that were cut short and went on
  3 a state does not depend on where the lake lies, nor on the environment
  4 nothing counts twice: mapped twice, or under two names
  5 what cannot be read adds nothing, and its repair completes the state
  6 lines = events + rejected + blank, in each partition and in total
  7 every figure is marked exact, or an estimate with its error
"""

import argparse
import gzip
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from mr_program import Run, number, program, read_csv
from random_lake import make_lake
from random_spec import identify, make_spec_lake

MISMATCH = 6  # the exit status


class Failed(Exception):
    """A comparison that failed, or a run that went wrong."""


class Lake:
    """A random lake and the means to map and merge it."""

    def __init__(self, mr, law, seed, folder, damage):
        self.mr, self.rng = mr, random.Random(law * 1000003 + seed)
        self.folder, self.lake = folder, os.path.join(folder, "lake")
        self.compared, self.files = 0, 0
        self.spec, self.whole_file = (), whole_file()
        # Partitions of each state whose numbers of events add up.
        self.parts, self.adding = {}, set()
        self.make(seed, law, damage)
        os.chdir(self.lake)

    def make(self, seed, _, damage):
        os.makedirs(self.lake)
        self.paths = make_lake(seed, self.lake, damage)

    def new_path(self, ending):
        self.files += 1
        return os.path.join(self.folder, "%03d%s" % (self.files, ending))

    def run(self, *args, env=None, files=None):
        run = Run(self.mr, *args, env=env, files=files)
        if run.status not in (0, 3):
            raise Failed("%s; expected 0 or 3" % run)
        return run.status

    def map(self, *args, env=None):
        """The path of the state that mapping the arguments gives."""
        state = self.new_path(".mrs")
        self.run("map", "-q", *self.spec, "-o", state, *args, env=env)
        return state

    def map_paths(self, paths, threads=None):
        name = self.new_path(".list")
        with open(name, "w", encoding="utf-8") as file:
            file.writelines(x + "\n" for x in paths)
        threads = threads or self.rng.choice((1, 2, 7))
        state = self.map("-j", str(threads), "@" + name)
        self.parts[state] = self.adding & set(paths)
        return state

    def beside(self, *args):
        """The folder that has a state for each file of the lake."""
        tree = self.new_path(".states")
        self.run("map", "-q", "--beside", *self.spec, "-o", tree, *args, ".")
        return tree

    def cut_short(self):
        """The folder of a map that signals ended a few times."""
        folder = self.new_path(".states")
        args = ("map", "-q", *self.spec, "-o", folder, ".")
        begin = time.monotonic()
        self.map(".")
        seconds = time.monotonic() - begin
        for _ in range(self.rng.randint(1, 4)):
            number = self.rng.choice(
                (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
            )
            threads = str(self.rng.choice((1, 2, 7)))
            status, said = interrupt(
                (self.mr, *args, "-j", threads),
                number,
                seconds * self.rng.uniform(0.1, 0.9),
            )
            ends = (0, 3, 128 + number, -number)
            self.true(
                "signal %d ends with %d: %s" % (number, status, said),
                status in ends,
            )
        self.run(*args)
        return folder

    def merge(self, *states, threads=2, files=None):
        """None of states that must be refused, and are."""
        if None in states:
            return None
        merged = self.new_path(".mrs")
        run = "reduce", "-q", "-j", str(threads), "--merged", merged, *states
        shared = self.shared(states)
        if shared:
            self.refused(shared, *run)
            self.refused(shared, "reduce", "-q", *states)
            self.true("%s is there" % merged, not os.path.exists(merged))
            return None
        self.run(*run, files=files)
        parts = [self.parts.get(x, set()) for x in states]
        self.parts[merged] = set().union(*parts)
        return merged

    def shared(self, states):
        """Partitions that two of the states have, of which neither has all
        of the other's, nor a third all of one's."""
        parts = [self.parts.get(x, set()) for x in states]
        parts = [a for a in parts if not any(a < b for b in parts)]
        return set().union(*(a & b for a in parts for b in parts if a != b))

    def refused(self, shared, *args):
        self.compared += 1
        run = Run(self.mr, *args)
        named = any("'%s'" % x in run.said for x in shared)
        if run.status != MISMATCH or not named:
            raise Failed("%s; expected 6 and one of %s" % (run, shared))

    def reduce(self, *states):
        out = self.new_path(".out")
        self.run("reduce", "-q", "-o", out, *states)
        return out

    def split(self, n):
        """The paths in n parts, none empty."""
        parts = [[] for _ in range(n)]
        for path in self.paths:
            self.rng.choice(parts).append(path)
        for part in parts:
            if not part:
                part.append(self.rng.choice(self.paths))
            self.rng.shuffle(part)
        return parts

    def same(self, what, a, b):
        """Two files are alike to the byte; None has been refused."""
        if a is None or b is None:
            return
        self.compared += 1
        with open(a, "rb") as x, open(b, "rb") as y:
            if x.read() != y.read():
                raise Failed("%s: %s and %s differ" % (what, a, b))

    def same_output(self, what, a, b):
        """Two outputs are alike to the byte."""
        names = sorted(os.listdir(a))
        self.true("%s: other files" % what, names == sorted(os.listdir(b)))
        for name in names:
            self.same(what, os.path.join(a, name), os.path.join(b, name))

    def same_figures(self, what, a, b, status_too=True):
        """Two outputs agree on everything but coverage."""
        tables = {x for x in os.listdir(a) + os.listdir(b) if x[-4:] == ".csv"}
        for name in sorted(tables - {"partitions.csv"}):
            x = read_csv(os.path.join(a, name))
            y = read_csv(os.path.join(b, name))
            for row in () if status_too else x + y:
                row.pop("status", None)
            self.compared += 1
            if x != y:
                raise Failed("%s: %s of %s and %s differ" % (what, name, a, b))

    def true(self, what, condition):
        self.compared += 1
        if not condition:
            raise Failed(what)


class SpecLake(Lake):
    """One of a random spec.  Law 4 gives a partition a second name: no
    rollup may count by its folders."""

    def make(self, seed, law, _):
        made = make_spec_lake(seed, self.folder, law != 4)
        self.lake, self.paths = made.root, made.paths
        if made.spec["segments"]:
            identify(made)
            self.adding = {
                e["path"] for e in made.events if e["user"] is not None
            }
        self.spec = "--spec", made.spec_path
        self.whole_file = made.extra


def interrupt(command, number, seconds):
    """The exit status and the messages of a command that got a signal after
    so long."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)
        if number != signal.SIGKILL
        else None,
    )
    time.sleep(seconds)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    return process.returncode, said.strip()


def whole_file():
    """Lines of 500 events, 7 users."""
    line = '{"data":{"id":"%d","type":"t","attributes":{"user_id":"%d"}},'
    line += '"meta":{"created_at":%d}}\n'
    events = (line % (i, i % 7, 1709078400000 + 977 * i) for i in range(500))
    return "".join(events).encode()


def law_1(lake):
    parts = lake.split(3)
    if lake.adding and lake.rng.random() < 0.5:
        parts.append(lake.rng.sample(parts[0], (len(parts[0]) + 1) // 2))
    else:
        parts.append(lake.rng.sample(lake.paths, (len(lake.paths) + 1) // 2))
    a, b, c, d = states = [lake.map_paths(x) for x in parts]
    whole = lake.merge(*states)
    for order in lake.rng.sample(list(itertools.permutations(states)), 4):
        lake.same("any order", whole, lake.merge(*order))
    for threads in (1, 7):
        lake.same("any threads", whole, lake.merge(*states, threads=threads))
    ab, cd, bc = lake.merge(a, b), lake.merge(c, d), lake.merge(b, c)
    lake.same("(a + b) + (c + d)", whole, lake.merge(ab, cd))
    lake.same("((a + b) + c) + d", whole, lake.merge(lake.merge(ab, c), d))
    lake.same("(a + (b + c)) + d", whole, lake.merge(lake.merge(a, bc), d))
    lake.same("b + a", ab, lake.merge(b, a))
    lake.same("a + a", lake.merge(a), lake.merge(a, a))
    lake.same("a alone is settled", a, lake.merge(a))
    lake.same("overlap", whole, lake.merge(ab, bc, cd, d))
    lake.same("repetition", whole, lake.merge(whole, a, whole, d, d))
    abc = lake.merge(ab, c)
    lake.same("equal ones", abc, lake.merge(abc, lake.merge(a, bc)))
    lake.same("contained ones", abc, lake.merge(b, abc, d, bc))
    if abc is not None:
        alone = lake.reduce(abc)
        lake.same_output("left out", alone, lake.reduce(a, b, abc, c))
    singles = [lake.map_paths([x]) for x in sorted(set(lake.paths))]
    together = lake.merge(*singles)
    for files in (34, 40):
        lake.same("in groups", together, lake.merge(*singles, files=files))


def law_2(lake):
    whole = lake.map_paths(lake.paths, 1)
    figures = lake.reduce(whole)
    for threads in (2, 7):
        lake.same("threads", whole, lake.map_paths(lake.paths, threads))
    for _ in range(2):
        paths = lake.rng.sample(lake.paths, len(lake.paths))
        lake.same("shuffled list", whole, lake.map_paths(paths))
    lake.same("walked", whole, lake.map("."))
    for _ in range(5):
        states = [lake.map_paths(x) for x in lake.split(lake.rng.randint(2, 4))]
        lake.same("split", whole, lake.merge(*states))
        lake.same_figures("split", figures, lake.reduce(*states))
    n = lake.rng.choice((2, 3, 5))
    shards = [lake.map("--shard", "%d/%d" % (k + 1, n), ".") for k in range(n)]
    lake.same("shards", whole, lake.merge(*shards))
    tree = lake.beside("-j", "3")
    lake.same("beside", whole, lake.merge(tree))
    lake.same("beside, in groups", whole, lake.merge(tree, files=34))
    lake.same_figures("beside", figures, lake.reduce(tree))
    for _ in range(2):
        lake.same("cut short", whole, lake.merge(lake.cut_short()))
    part = lake.map_paths(lake.rng.sample(lake.paths, len(lake.paths) // 2 + 1))
    lake.same("beside and a part", whole, lake.merge(part, tree))


def law_3(lake):
    whole = lake.map(".")
    lake.same("absolute path", whole, lake.map(lake.lake))
    lake.same("slash at the end", whole, lake.map(lake.lake + "/"))
    parent, name = os.path.split(lake.lake)
    elsewhere = os.path.join(parent, "another place", "of the lake")
    shutil.copytree(lake.lake, elsewhere)
    lake.same("lies elsewhere", whole, lake.map(elsewhere))
    os.chdir(parent)
    lake.same("relative path", whole, lake.map(name))
    dotted = "./%s/../%s" % (name, name)
    lake.same("relative path with dots", whole, lake.map(dotted))
    env = {"TZ": "Asia/Kolkata", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "3"}
    lake.same("environment", whole, lake.map(name, env=env))


def law_4(lake):
    whole = lake.map(".")
    figures = lake.reduce(whole)
    path = lake.rng.choice(lake.paths)
    # Last in byte order, so that the name that stays is the one it had.
    copy = "~copy/~type=other/" + os.path.basename(path)
    os.makedirs(os.path.dirname(copy))
    shutil.copyfile(path, copy)
    both = lake.reduce(lake.map("."))
    lake.same_figures("two names", figures, both)
    apart = lake.reduce(whole, lake.map_paths([copy]))
    lake.same_figures("two names by two laptops", figures, apart)
    twice = lake.reduce(whole, lake.map("."))
    lake.same_figures("mapped twice", figures, twice)
    for out in (both, apart):
        old = read_csv(os.path.join(figures, "partitions.csv"))
        new = read_csv(os.path.join(out, "partitions.csv"))
        lake.true(
            "two names: another number of partitions in %s" % out,
            len([x for x in old if x["status"] == "read"])
            == len([x for x in new if x["status"] == "read"]),
        )
    os.unlink(copy)
    os.removedirs(os.path.dirname(copy))


def law_5(lake):
    path = "date=2024-02-28/whole.json.gz"
    good = gzip.compress(lake.whole_file, mtime=0)
    figures = lake.reduce(lake.map("."))
    broken = lake.rng.choice(
        (
            good[: lake.rng.randrange(20, len(good) - 1)],
            good[:-8] + b"\0\0\0\0" + good[-4:],
            good[:100] + bytes([good[100] ^ 0x55]) + good[101:],
            good + b"rubbish",
        )
    )
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write(path, broken)
    partial = lake.map(".")
    out = lake.reduce(partial)
    lake.same_figures("a failure adds nothing", figures, out, status_too=False)
    failed = [x for x in read_csv(os.path.join(out, "partitions.csv"))
              if x["status"] == "failed" and x["name"] == path]  # fmt: skip
    lake.true("the failure is not listed in %s" % out, len(failed) == 1)
    lake.true("no reason in %s" % out, failed[0]["reason"] != "")
    lake.true(
        "not PARTIAL", Run(lake.mr, "reduce", "-q", partial).status == 3
    )
    write(path, good)
    repair, whole = lake.map(path), lake.map(".")
    lake.same("repaired", whole, lake.merge(partial, repair))
    lake.same("repaired first", whole, lake.merge(repair, partial))
    lake.same("mapped again", whole, lake.merge(partial, whole))
    lake.true(
        "still PARTIAL", Run(lake.mr, "reduce", "-q", repair, partial).status
        == Run(lake.mr, "reduce", "-q", whole).status,
    )  # fmt: skip


def law_6(lake):
    out = lake.reduce(*[lake.map_paths(x) for x in lake.split(2)])
    total = dict.fromkeys(("lines", "events", "rejected", "blank"), 0)
    for row in read_csv(os.path.join(out, "partitions.csv")):
        if row["status"] != "read":
            continue
        x = {key: int(row[key]) for key in total}
        lake.true(
            "%s: %s" % (row["name"], x),
            x["lines"] == x["events"] + x["rejected"] + x["blank"],
        )
        for key in total:
            total[key] += x[key]
    for name, column, key in (
        ("daily.csv", "events", "events"),
        ("daily_by_type.csv", "events", "events"),
        ("rejects.csv", "lines", "rejected"),
    ):
        rows = read_csv(os.path.join(out, name))
        lake.true(
            "%s does not sum up in %s" % (name, out),
            sum(int(x[column]) for x in rows) == total[key],
        )


def law_7(lake):
    out = lake.reduce(*[lake.map_paths(x) for x in lake.split(2)])
    with open(os.path.join(out, "kpis.json"), encoding="utf-8") as file:
        kpis = json.load(file)
    days = read_csv(os.path.join(out, "daily.csv"))
    figures = set(days[0] if days else ()) - {"day", "status"}
    for name in figures:
        mark = kpis["figures"].get(name, {})
        lake.true(
            "%s is neither exact nor an estimate with its error" % name,
            mark.get("kind") == "exact"
            or (mark.get("kind") == "estimate" and mark["standard_error"] > 0),
        )
    for row in kpis.get("duplicates", ()):
        low, high = row["low"], row["high"]
        lake.true(
            "duplicates are neither exact nor an estimate with its interval:"
            " %s" % row,
            (row["kind"] == "exact" and low == row["duplicates"] == high)
            or (row["kind"] == "estimate" and low <= high),
        )
    for row, day in zip(days, kpis["days"]):
        for name in figures:
            lake.true(
                "%s: %s is not the same in kpis.json" % (row["day"], name),
                number(row[name]) == day[name],
            )


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


LAWS = {1: law_1, 2: law_2, 3: law_3, 4: law_4, 5: law_5, 6: law_6, 7: law_7}
# These put in damage of their own, or none.
SOUND = {4, 5}


def check_law(mr, law, kind, seeds, base):
    compared = failed = 0
    for seed in seeds:
        folder = os.path.join(base, "law%d-%d" % (law, seed))
        shutil.rmtree(folder, ignore_errors=True)
        lake = kind(mr, law, seed, folder, law not in SOUND)
        try:
            LAWS[law](lake)
        except Failed as problem:
            failed += 1
            print("law %d: lake %d: %s" % (law, seed, problem))
        else:
            shutil.rmtree(folder)
        finally:
            os.chdir("/")
        compared += lake.compared
    print(
        "law %d: %d lakes of %s, %d comparisons, %s"
        % (law, len(seeds), "random specs" if kind is SpecLake else "lake",
           compared, "%d failed" % failed if failed else "ok"),
        flush=True,
    )
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lakes", type=int, default=25)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--law", type=int, action="append", choices=LAWS)
    parser.add_argument("--keep", metavar="FOLDER", help="for lakes that fail")
    args = parser.parse_args()
    mr = program()
    base = os.path.realpath(args.keep or tempfile.mkdtemp(prefix="mr-laws-"))
    os.makedirs(base, exist_ok=True)
    seeds = range(args.first, args.first + args.lakes)
    failed = sum(
        check_law(mr, law, kind, seeds, base)
        for law in args.law or LAWS
        for kind in (Lake, SpecLake)
    )
    if not failed and not args.keep:
        os.rmdir(base)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
