#!/usr/bin/env python3
"""Let every allocation of a small run of mr fail, one at a time.

Usage: starve.py [--jobs N] [--keep FOLDER] [--only SCENARIO]...

The n-th allocation fails, for all n of map, reduce, inspect, rows and init
(with two threads, where it is another one each time, for plan and the other
ways to map, for every fourth); and for every fourth with all after it.  What may come of it is

- exit 7 with a message, and nothing under a final name that was not there
  before, but for outputs that are written one after the other;
- or exit 0 and the outputs of an undisturbed run, where mr could do without.

Nothing that an undisturbed run would have given back may be held at the end,
whoever allocated it.  libarchive and libgomp end the process by themselves
when there is no memory for them, and say so: these are counted apart.
Prints counts; exit status 1 if anything is otherwise, 77 where nothing can
be preloaded.
"""

import collections
import functools
import os
import shutil
import subprocess

from faults import (
    DONE, RESOURCES, Scenario, Wrong, contents, drive, event, is_temporary
)  # fmt: skip

SENTENCE = "out of memory; free some memory or use fewer threads, and rerun"
OWN_ENDS = {
    "libarchive": "Fatal Internal Error in libarchive: ",
    "libgomp": "libgomp: Out of memory allocating",
}


@functools.lru_cache(None)
def function_at(mr, place):
    """Of a place in mr the function, which may stand in several places."""
    file, _, offset = place.partition("+")
    if file != "mr" or not shutil.which("addr2line"):
        return place
    done = subprocess.run(
        ["addr2line", "-f", "-i", "-e", mr, offset],
        stdout=subprocess.PIPE, encoding="utf-8", check=True
    )  # fmt: skip
    return done.stdout.split()[0]


def by_function(mr, held):
    sums = collections.Counter()
    for place, n in held.items():
        sums[function_at(mr, place)] += n
    return sums


def leaks(mr, held, expected, threads):
    """What is held at the end beyond what is without a fault: there it may be
    one a thread, kept for whoever needs it next.  glibc keeps what it has
    loaded of locales, more where loading one has failed."""
    most = {
        x: max(n, threads) for x, n in by_function(mr, expected).items()
    }
    return {
        x: n
        for x, n in by_function(mr, held).items()
        if n > most.get(x, 0) and not x.startswith("libc.so")
    }


def read_log(path):
    """(calls, who failed, {place: blocks held})."""
    held, calls, failed = collections.Counter(), 0, None
    with open(path, encoding="utf-8") as file:
        for line in file:
            word, *rest = line.split()
            if word == "calls":
                calls = int(rest[0])
            elif word == "failed":
                failed = rest[0]
            else:
                held[rest[2]] += int(rest[0])
    os.unlink(path)
    return calls, failed, held


class Sated:
    """A scenario with all the memory that it wants."""

    def __init__(self, bench, scenario):
        folder = bench.folder(scenario, "sated")
        log = folder + ".log"
        done = bench.run(
            folder, scenario.args, library="memory", MR_MEMORY_LOG=log
        )
        if done.returncode != DONE:
            raise Wrong("undisturbed: %d: %s" % (done.returncode, done.stderr))
        self.said, self.files = done.stdout, contents(folder)
        self.calls, _, self.held = read_log(log)


class Trial:
    """One allocation that fails, alone or with all after it."""

    def __init__(self, bench, scenario, sated, number, and_on):
        self.bench, self.scenario, self.sated = bench, scenario, sated
        self.number, self.and_on = number, and_on
        self.what = "%s: allocation %d%s" % (
            scenario.name, number, " and all after it" if and_on else ""
        )  # fmt: skip

    def run(self):
        folder = self.bench.folder(
            self.scenario, "%d-%d" % (self.number, self.and_on)
        )
        try:
            outcome = self.starve(folder)
        except Wrong as wrong:
            return "WRONG", "%s: %s (%s)" % (self.what, wrong, folder)
        shutil.rmtree(folder)
        return outcome, None

    def starve(self, folder):
        log = folder + ".log"
        env = {"MR_MEMORY_LOG": log, "MR_MEMORY_AT": self.number}
        if self.and_on:
            env["MR_MEMORY_ON"] = 1
        done = self.bench.run(
            folder, self.scenario.args, library="memory", **env
        )
        _, failed, held = read_log(log)
        if done.returncode < 0:
            raise Wrong(
                "%s failed, signal %d: %s"
                % (failed, -done.returncode, done.stderr)
            )
        if failed is None:
            return "not reached"
        ended = [who for who, x in OWN_ENDS.items() if x in done.stderr]
        self.check_files(folder, bool(ended))
        if ended and done.returncode == 1:
            return "ended by " + ended[0]
        threads = int(dict(zip(self.scenario.args, self.scenario.args[1:]))
                      .get("-j", 1))  # fmt: skip
        lost = leaks(self.bench.mr, held, self.sated.held, threads)
        if lost:
            raise Wrong(
                "%s failed, exit %d, and %s is still held"
                % (failed, done.returncode, lost)
            )
        if done.returncode == DONE:
            if (
                (self.scenario.prints and done.stdout != self.sated.said)
                or contents(folder) != self.sated.files
            ):
                raise Wrong("%s failed, exit 0, other outputs" % failed)
            return "exit 0"
        if done.returncode != RESOURCES or SENTENCE not in done.stderr:
            raise Wrong(
                "%s failed: exit %d: %s"
                % (failed, done.returncode, done.stderr)
            )
        return "exit 7"

    def check_files(self, folder, ended):
        for path, data in contents(folder).items():
            if ended and is_temporary(path):
                continue
            if path.endswith(".claim"):
                continue
            if self.scenario.name == "map --beside" and path.endswith(".mrs"):
                # Those of other files are published one by one.
                self.bench.must(folder, "inspect", path)
            elif data not in (
                self.sated.files.get(path), self.scenario.before.get(path)
            ):  # fmt: skip
                raise Wrong("'%s' is not what it is undisturbed" % path)


def scenarios(bench):
    rich = "--spec", "rich.yaml"
    yield Scenario(
        "map",
        ("map", "-j", "1", *rich, "--rejects", "rejects.gz", "-o", "s.mrs",
         "lake"),
    )  # fmt: skip
    yield Scenario(
        "map with 2 threads", ("map", "-j", "2", "-o", "out", "lake")
    )
    yield Scenario(
        "reduce",
        ("reduce", "-j", "1", "-o", "kpis", "--merged", "merged.mrs", "--new",
         "--rolling", "--retention", "2", "--manifest", "manifest.csv",
         "states"),
    )  # fmt: skip
    yield Scenario("inspect", ("inspect", "states"))
    mapping, out = ("map", "-j", "1"), ("-o", "out", "lake")
    yield Scenario("map resumed", mapping + out, before=bench.begun)
    yield Scenario("map --claim", mapping + ("--claim",) + out)
    yield Scenario("map --beside", mapping + ("--beside",) + out)
    yield Scenario(
        "plan", ("plan", "-j", "1", "--manifest", "m.csv", "lake"),
        prints=False,
    )  # fmt: skip
    yield Scenario(
        "rows",
        ("rows", "-j", "1", "--rejects", "rejects.zst", "-o", "rows.csv",
         "lake"),
    )  # fmt: skip
    yield Scenario("rows with 2 threads", ("rows", "-j", "2", "lake"))
    typed = os.path.join("typed", "type=click", "c.json")
    yield Scenario(
        "init", ("init", "-o", "spec.yaml", "lake", "typed"),
        before={typed: event(1, "click", 1, 1709287200000).encode()},
    )  # fmt: skip


def trials_of(bench, scenario):
    sated = Sated(bench, scenario)
    whole = scenario.name in ("map", "reduce", "inspect", "rows", "init")
    for number in range(1, sated.calls + 1, 1 if whole else 4):
        yield Trial(bench, scenario, sated, number, False)
    for number in range(1, sated.calls + 1, 4):
        yield Trial(bench, scenario, sated, number, True)


if __name__ == "__main__":
    drive("starve", "memory", __doc__, scenarios, trials_of)
