#!/usr/bin/env python3
"""Machines that share a listing out by claims: mr map --claim.

Usage: claims_check.py [--keep FOLDER] [SCENARIO]...

Each scenario runs the program that the environment variable MR names as one
or two machines on one shared folder, and stops, kills or misleads them at a
certain claim (preload/stop.c, which the C compiler $CC makes a library of).
Whatever happens, the states in the folder must merge to the very bytes that
one machine alone gives, and their figures be those that oracle.py finds.
One line is printed for each scenario, and one for each thing that is wrong.
Exit status 1 if anything is.
"""

import argparse
import csv
import datetime
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile

import mrs_read
import oracle
import random_lake
from mr_program import Run, compare_output, program, read_csv

FILES = 40
TIMEOUT = 120


class Failed(Exception):
    """Something is not as it must be."""


def demand(condition, why, *values):
    if not condition:
        raise Failed(why % values)


# The lake.


def make_lake(folder, seed=1):
    """FILES files of users who are active in several of them."""
    rng = random.Random(seed)
    for i in range(FILES):
        day, hour = 1 + i // 20, i % 20
        name = "date=2024-03-%02d/type=t%d/hour=%02d.json.gz" % (
            day, i % 4, hour
        )  # fmt: skip
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        begin = datetime.datetime(
            2024, 3, day, hour, tzinfo=datetime.timezone.utc
        ).timestamp()
        with gzip.open(path, "wt") as file:
            for k in range(rng.randrange(20, 60)):
                user = "u%d" % int(300 * rng.random() ** 2)
                event = {
                    "data": {
                        "id": "%d-%d" % (i, k),
                        "type": "t%d" % (i % 4),
                        "attributes": {"user_id": user},
                    },
                    "meta": {
                        "created_at": int(begin * 1000)
                        + rng.randrange(3600000)
                    },
                }
                print(json.dumps(event), file=file)


# States and claims, read by what their pages say of them.


def states_of(folder):
    return sorted(x for x in os.listdir(folder) if x.endswith(".mrs"))


def partitions_of(folder, state):
    read = mrs_read.read_state(os.path.join(folder, state))
    return {
        os.fsdecode(name) for p in read.partitions for name in p["names"]
    }


def claims_of(folder):
    """The claims in a shared folder, as dictionaries."""
    claims = []
    folder = os.path.join(folder, ".mr-claims")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            lines = file.read().split(b"\n")
        demand(lines[0] == b"mr claim 1", "%s: first line", name)
        demand(lines[-2:] == [b"end", b""], "%s: last line", name)
        claim = dict(line.split(b" ", 1) for line in lines[1:-2])
        claims.append({k.decode(): v.decode() for k, v in claim.items()})
        claims[-1]["file"] = name
    return claims


def put_claim(folder, name, **other):
    """A claim of everything by a run that never was, but for what is
    given."""
    claim = {
        "run": "%032x" % 0xDEAD,
        "host": "elsewhere",
        "user": "nobody",
        "pid": "1",
        "time": "2024-03-03T00:00:00Z",
        "spec": "",
        "listing": "0" * 32,
        "first": "a",
        "last": "z",
        "partitions": "40",
        "bytes": "1",
        **other,
    }
    folder = os.path.join(folder, ".mr-claims")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write("mr claim 1\n")
        for key, value in claim.items():
            file.write("%s %s\n" % (key, value))
        file.write("end\n")
    return path


# Machines.


class Machine:
    """mr map --claim, which stops after some of its claims."""

    def __init__(self, case, *args, stop_at="", lake="lake"):
        env = {**os.environ, "LD_PRELOAD": case.library, "MR_STOP_AT": stop_at}
        # The sanitizers' own library need not come first.
        env["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + env.get(
            "ASAN_OPTIONS", ""
        )
        self.process = subprocess.Popen(
            [case.mr, "map", "--claim", "-o", "shared", *args, lake],
            cwd=case.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        case.machines.append(self)

    def wait_stopped(self):
        signal.alarm(TIMEOUT)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        signal.alarm(0)
        if not os.WIFSTOPPED(status):
            self.process.returncode = 0
            raise Failed("a machine ended before its claim: %d" % status)

    def go_on(self, number=signal.SIGCONT):
        """Send a signal, which is seen once the machine goes on."""
        # One SIGCONT: a second could undo the machine's next stop.
        if number != signal.SIGCONT:
            os.kill(self.process.pid, number)
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self, status=0):
        """Wait for the end; return what it printed, as lines, and said."""
        out, said = self.process.communicate(timeout=TIMEOUT)
        said = said.decode()
        status = status if isinstance(status, tuple) else (status,)
        demand(
            self.process.returncode in status,
            "a machine ended with %d, not %s: %s",
            self.process.returncode, status, said,
        )  # fmt: skip
        return out.decode().splitlines(), said


class Case:
    """A folder with a lake, what is known of it, and a shared folder."""

    def __init__(self, mr, folder, library):
        self.mr, self.folder, self.library = mr, folder, library
        self.machines, self.whole = [], None
        self.lake = os.path.join(folder, "lake")
        self.shared = os.path.join(folder, "shared")
        make_lake(self.lake)

    def run(self, *args, status=0):
        run = Run(self.mr, *args)
        demand(run.status == status, "%s; expected %d", run, status)
        return run

    def alone(self, *inputs):
        """The state that one machine gives of the whole lake."""
        path = os.path.join(self.folder, "alone.mrs")
        Run(self.mr, "map", "-q", "-o", path, *(inputs or [self.lake]))
        with open(path, "rb") as file:
            return file.read()

    def check_merged(self, *inputs, status=0):
        """The states in the shared folder are, together, those of one
        machine."""
        merged = os.path.join(self.folder, "merged.mrs")
        out = os.path.join(self.folder, "out")
        self.run(
            "reduce", "-q", "--merged", merged, "-o", out, self.shared,
            status=status,
        )  # fmt: skip
        with open(merged, "rb") as file:
            demand(
                file.read() == self.alone(*inputs),
                "the merged state is not that of one machine",
            )
        os.chdir(self.lake)
        truth = oracle.truth_of(list(inputs) or ["."])
        os.chdir(self.folder)
        for problem in compare_output(out, truth):
            raise Failed(problem)

    def spec_digest(self):
        """That of the built-in spec, as in a state's header."""
        self.alone()
        with open(os.path.join(self.folder, "alone.mrs"), "rb") as file:
            return file.read(32)[16:].hex()

    def release(self):
        for machine in self.machines:
            if machine.process.poll() is None:
                machine.process.kill()
                machine.process.communicate()


def spans(claim, name):
    """Whether a name that needs no escapes is in a claim's range."""
    return claim["first"] <= name <= claim["last"]


# What may happen.


def together(case):
    """two at once: each does its part, and all is done"""
    a = Machine(case, stop_at="1")
    a.wait_stopped()
    first = claims_of(case.shared)
    b = Machine(case, "-j", "1", stop_at="1")
    b.wait_stopped()
    both = claims_of(case.shared)
    demand(len(first) == 1 and len(both) == 2, "one claim each")
    demand(both[0]["run"] != both[1]["run"], "run ids are alike")
    demand(both[0]["listing"] == both[1]["listing"], "listings differ")
    demand(
        all(int(c["partitions"]) < FILES / 4 for c in both),
        "a batch is most of the lake",
    )
    low, high = sorted(both, key=lambda c: c["first"])
    demand(low["last"] < high["first"], "both claimed the same")
    b.go_on()
    a.go_on()
    printed = a.end()[0] + b.end()[0]
    states = {x: partitions_of(case.shared, x) for x in states_of(case.shared)}
    demand(len(states) == 2, "there are %d states", len(states))
    for claim in both:
        demand(
            any(
                sum(spans(claim, x) for x in names)
                == int(claim["partitions"])
                for names in states.values()
            ),
            "what was claimed is not done",
        )
    for state in states:
        demand("shared/" + state in printed, "%s was not printed", state)
    demand(claims_of(case.shared) == [], "claims are left")
    case.check_merged()
    again, said = Machine(case).end()
    there = set().union(*(states[os.path.basename(x)] for x in again))
    demand(len(there) == FILES, "a third run rests on %s", again)
    demand(sorted(states) == states_of(case.shared), "a third run wrote")
    demand("nothing is left to read" in said, "a third run said %s", said)


def overtaken(case):
    """one sleeps with a batch claimed: the other takes it over in the end"""
    a = Machine(case, "-j", "1", stop_at="1")
    a.wait_stopped()
    (claim,) = claims_of(case.shared)
    _, said = Machine(case).end()
    demand("claimed by other runs" in said, "nothing was taken over: %s", said)
    (state,) = states_of(case.shared)
    demand(len(partitions_of(case.shared, state)) == FILES, "not all is done")
    demand(claims_of(case.shared) == [claim], "the sleeper's claim is gone")
    a.go_on()
    a.end()
    (own,) = set(states_of(case.shared)) - {state}
    demand(
        len(partitions_of(case.shared, own)) == int(claim["partitions"]),
        "the sleeper did more than its batch",
    )
    demand(claims_of(case.shared) == [], "claims are left")
    case.check_merged()


def killed(case):
    """kill -9 in the middle, before anything was published"""
    a = Machine(case, stop_at="3")
    a.wait_stopped()
    a.go_on(signal.SIGKILL)
    a.end(-signal.SIGKILL)
    demand(states_of(case.shared) == [], "there is a state")
    dead = claims_of(case.shared)
    demand(len(dead) == 3, "there are %d claims", len(dead))
    # The dead one's batches come last.
    b = Machine(case, stop_at="2")
    b.wait_stopped()
    for claim in claims_of(case.shared):
        for other in dead:
            demand(
                claim in dead or not spans(other, claim["first"]),
                "a claimed batch is taken before unclaimed ones",
            )
    b.go_on()
    _, said = b.end()
    demand("claimed by other runs" in said, "nothing was taken over: %s", said)
    demand(claims_of(case.shared) == dead, "others' claims were touched")
    case.check_merged()


def check_claimed(case, had):
    """What is missing, and by whom it was claimed, in reports; had is what
    the states have."""
    manifest = os.path.join(case.folder, "manifest.csv")
    case.run("plan", "-q", "--manifest", manifest, case.lake)
    claims = claims_of(case.shared)
    plain = os.path.join(case.folder, "plain.mrs")
    merged = os.path.join(case.folder, "partial.mrs")
    out = os.path.join(case.folder, "partial")
    with open(manifest, newline="", encoding="utf-8") as file:
        names = {x["partition"] for x in csv.DictReader(file)} - {""}
    for args in ((), ("--manifest", manifest)):
        said = case.run(
            "reduce", "-o", out, "--merged", merged, *args, case.shared,
            status=3,
        ).said  # fmt: skip
        rows = read_csv(os.path.join(out, "partitions.csv"))
        failed = {x["name"]: x for x in rows if x["status"] == "failed"}
        demand(set(failed) == names - had, "failed are %s", sorted(failed))
        for name, row in failed.items():
            who = {
                "claimed by %(user)s on %(host)s, process %(pid)s, at "
                "%(time)s)" % c for c in claims if spans(c, name)
            }  # fmt: skip
            text = " ".join(row.values())
            demand(("claimed by" in text) == bool(who), "%s: %s", name, text)
            demand(all(x in text for x in who), "%s: %s", name, text)
        n = sum(any(spans(c, x) for c in claims) for x in failed)
        demand(n > 0, "nothing of what is missing is claimed")
        note = "of the partitions that are missing %d are claimed, '" % n
        demand(note in said, "it said: %s", said)
        # The merged state knows nothing of claims.
        away = os.path.join(case.folder, "claims-away")
        os.rename(os.path.join(case.shared, ".mr-claims"), away)
        case.run("reduce", "-q", "--merged", plain, case.shared, status=3)
        os.rename(away, os.path.join(case.shared, ".mr-claims"))
        with open(merged, "rb") as a, open(plain, "rb") as b:
            demand(a.read() == b.read(), "claims are in the merged state")


def killed_later(case):
    """kill -9 after a checkpoint: what it has is not read again"""
    a = Machine(case, "-j", "1", "--checkpoint", "1", stop_at="3,4")
    a.wait_stopped()
    # The checkpoint is due when its second is over, whatever the clock says.
    subprocess.run(["sleep", "1.1"], check=True)
    a.go_on()
    a.wait_stopped()
    (state,) = states_of(case.shared)
    had = partitions_of(case.shared, state)
    demand(0 < len(had) < FILES, "%d partitions at the checkpoint", len(had))
    a.go_on(signal.SIGKILL)
    a.end(-signal.SIGKILL)
    check_claimed(case, had)
    Machine(case).end()
    (own,) = set(states_of(case.shared)) - {state}
    more = partitions_of(case.shared, own)
    demand(not had & more, "%d were read twice", len(had & more))
    demand(len(had) + len(more) == FILES, "not all is done")
    case.check_merged()


def interrupted(case):
    """Ctrl-C: what was read is published, and claims are given back"""
    a = Machine(case, "-j", "1", stop_at="3")
    a.wait_stopped()
    a.go_on(signal.SIGINT)
    _, said = a.end(128 + signal.SIGINT)
    demand("run the same command again" in said, "it said: %s", said)
    (state,) = states_of(case.shared)
    had = partitions_of(case.shared, state)
    demand(0 < len(had) < FILES, "%d partitions were published", len(had))
    demand(claims_of(case.shared) == [], "claims are left")
    _, said = Machine(case).end()
    demand("claimed by other runs" not in said, "it said: %s", said)
    demand(len(states_of(case.shared)) == 2, "not two states")
    case.check_merged()


def clocks(case):
    """claims of dead machines whose clocks are years off"""
    spec = case.spec_digest()
    years = ("1970-01-01", "2023-11-22", "2025-11-22", "9999-12-31")
    for i, day in enumerate(years):
        put_claim(
            case.shared, "%d.claim" % i, spec=spec, time=day + "T00:00:00Z",
            run="%032x" % i,
        )  # fmt: skip
    a = Machine(case, stop_at="1")
    a.wait_stopped()
    # The clock of one that is at work is altered, too.
    (claim,) = (c for c in claims_of(case.shared) if int(c["run"], 16) > 9)
    name = claim.pop("file")
    claim["time"] = "%d%s" % (int(claim["time"][:4]) + 1, claim["time"][4:])
    put_claim(case.shared, name, **claim)
    b = Machine(case, stop_at="1")
    b.wait_stopped()
    (other,) = (
        c
        for c in claims_of(case.shared)
        if int(c["run"], 16) > 9 and c["run"] != claim["run"]
    )
    demand(not spans(claim, other["first"]), "both claimed the same")
    a.go_on()
    b.go_on()
    _, said = a.end()
    demand("claimed by other runs" in said, "it said: %s", said)
    b.end()
    demand(len(claims_of(case.shared)) == len(years), "claims differ")
    case.check_merged()


def damaged_claims(case):
    """what is no claim is named once and left out"""
    folder = os.path.join(case.shared, ".mr-claims")
    spec = case.spec_digest()
    bad = {
        "cut": lambda text: text[:-20],
        "empty": lambda text: b"",
        "longer": lambda text: text + b"\n",
        "binary": lambda text: os.urandom(300),
        "zeros": lambda text: bytes(len(text)),
        "large": lambda text: text * 1000,
        "escape": lambda text: text.replace(b"elsewhere", b"\x1b[2Jhost"),
        "version": lambda text: text.replace(b"claim 1", b"claim 2"),
        "reversed": lambda text: text.replace(b"first a", b"first zz"),
    }
    for name, damage in bad.items():
        path = put_claim(case.shared, name + ".claim", spec=spec)
        with open(path, "rb") as file:
            text = file.read()
        with open(path, "wb") as file:
            file.write(damage(text))
    os.mkdir(os.path.join(folder, "folder.claim"))
    os.mkfifo(os.path.join(folder, "fifo.claim"))
    _, said = Machine(case).end()
    for name in [*bad, "folder", "fifo"]:
        notes = [x for x in said.splitlines() if "/%s.claim'" % name in x]
        demand(len(notes) == 1, "%d notes on %s", len(notes), name)
        demand("cannot use claim" in notes[0], "a note: %s", notes[0])
    demand("claimed by other runs" not in said, "a bad one was heeded")
    demand("\x1b" not in said, "a claim steers the terminal")
    demand(len(os.listdir(folder)) == len(bad) + 2, "they are gone")
    case.check_merged()


def other_claims(case):
    """claims of other specs are left alone, those of other listings not"""
    put_claim(case.shared, "spec.claim", spec="0" * 32)
    a = Machine(case)
    _, said = a.end()
    demand("claimed by other runs" not in said, "another spec's was heeded")
    case.check_merged()
    # One that names the first day only.
    shutil.rmtree(case.shared)
    last = "date=2024-03-01/z"
    put_claim(case.shared, "1.claim", spec=case.spec_digest(), last=last)
    b = Machine(case, stop_at="1,2,3,4")
    for _ in range(4):
        b.wait_stopped()
        *_, claim = (c for c in claims_of(case.shared) if c["pid"] != "1")
        demand(claim["last"] > last, "what is claimed is taken first")
        b.go_on()
    _, said = b.end()
    demand("claimed by other runs" in said, "it said: %s", said)
    case.check_merged()


def published_first(case):
    """before what others claimed is read, what was read is published"""
    last = "date=2024-03-01/z"
    put_claim(case.shared, "1.claim", spec=case.spec_digest(), last=last)
    a = Machine(case, "-j", "1", stop_at=",".join(map(str, range(1, FILES))))
    a.wait_stopped()
    while all(int(c["pid"]) == 1 or c["last"] > last
              for c in claims_of(case.shared)):  # fmt: skip
        demand(states_of(case.shared) == [], "there is a state already")
        a.go_on()
        a.wait_stopped()
    (state,) = states_of(case.shared)
    had = partitions_of(case.shared, state)
    own = [c for c in claims_of(case.shared) if int(c["pid"]) != 1]
    read = [c for c in own if c["last"] > last]
    demand(
        len(had) == sum(int(c["partitions"]) for c in read)
        and all(any(spans(c, x) for c in read) for x in had),
        "what was read is not what is published",
    )
    a.go_on(signal.SIGKILL)
    a.end(-signal.SIGKILL)
    Machine(case).end()
    case.check_merged()


def without_claims(case):
    """claims that fail in the middle: the work goes on without them"""
    a = Machine(case, stop_at="2")
    a.wait_stopped()
    folder = os.path.join(case.shared, ".mr-claims")
    os.rename(folder, folder + "-away")
    with open(folder, "wb"):
        pass
    a.go_on()
    _, said = a.end()
    demand(said.count("without what other machines claim") == 1, "%s", said)
    os.remove(folder)
    os.rename(folder + "-away", folder)
    case.check_merged()
    Machine(case).end()
    case.check_merged()


def grown(case):
    """files that differ in size, or come later, are read; the rest is not"""
    first = os.path.join(case.lake, "date=2024-03-01/type=t0/hour=00.json.gz")
    with gzip.open(first, "at") as file:
        file.write("\n")
    Machine(case).end()
    (state,) = states_of(case.shared)
    os.remove(os.path.join(case.shared, state))
    with gzip.open(first, "rt") as file:
        text = file.read()
    Machine(case).end()
    before = set(states_of(case.shared))
    with gzip.open(first, "wt") as file:
        file.write(text + text)
    later = os.path.join(case.lake, "date=2024-03-02/type=t0/later.json")
    with open(later, "w", encoding="utf-8") as file:
        file.write(text.splitlines()[0] + "\n")
    Machine(case).end()
    (own,) = set(states_of(case.shared)) - before
    demand(
        partitions_of(case.shared, own)
        == {os.path.relpath(x, case.lake) for x in (first, later)},
        "another set of files was read",
    )


def one_name_twice(case):
    """several files of one name and size, none of which is left out"""
    name = "date=2024-03-01/type=t0/x.json"
    for i in (1, 2):
        path = os.path.join(case.lake, "copy%d" % i, name)
        os.makedirs(os.path.dirname(path))
        line = {
            "data": {"id": "x", "type": "t0",
                     "attributes": {"user_id": "x%d" % i}},
            "meta": {"created_at": 1709251200000 + i},
        }  # fmt: skip
        with open(path, "w", encoding="utf-8") as file:
            print(json.dumps(line), file=file)
    for i in (1, 2):
        copy = os.path.join(case.lake, "copy%d" % i)
        shutil.rmtree(case.shared, ignore_errors=True)
        case.run("map", "-q", "--claim", "-o", case.shared, copy)
        Machine(case).end()
        case.check_merged()
        Machine(case).end()
        case.check_merged()


def bad_copy(case):
    """a file that is damaged here and whole there is read there"""
    path = os.path.join(case.lake, "date=2024-03-01/type=t0/hour=00.json.gz")
    with open(path, "rb") as file:
        whole = file.read()
    with open(path, "wb") as file:
        file.write(whole[:-10])
    Machine(case).end(3)
    case.check_merged(status=3)
    with open(path, "wb") as file:
        file.write(whole)
    Machine(case).end()
    case.check_merged()


def damaged_state(case):
    """a state that is damaged where only a full reading finds it"""
    Machine(case).end()
    (state,) = states_of(case.shared)
    path = os.path.join(case.shared, "bad.mrs")
    os.rename(os.path.join(case.shared, state), path)
    with open(path, "r+b") as file:
        # The blocks of users come first, behind header and table.
        data = bytearray(file.read())
        at = 64 + 40 * int.from_bytes(data[12:16], "little") + 100
        data[at] ^= 4
        file.seek(0)
        file.write(data)
    printed, said = Machine(case).end()
    demand("cannot use 'shared/bad.mrs'" in said, "it said: %s", said)
    demand(printed == ["shared/" + state], "it printed %s", printed)
    os.remove(path)
    case.check_merged()


def nasty(case):
    """two at once on lakes as nasty as they get, damaged files and all"""
    merged = os.path.join(case.folder, "merged.mrs")
    for seed in range(1, 9):
        shutil.rmtree(case.shared, ignore_errors=True)
        lake = os.path.join(case.folder, "lake%d" % seed)
        os.makedirs(lake)
        random_lake.make_lake(seed, lake)
        whole = case.alone(lake)
        both = [Machine(case, "-j", str(j), lake=lake) for j in (1, 3)]
        for machine in both:
            machine.end((0, 3))
        Run(case.mr, "reduce", "-q", "--merged", merged, case.shared)
        with open(merged, "rb") as file:
            demand(file.read() == whole, "lake %d gives another state", seed)


SCENARIOS = (
    together, overtaken, killed, killed_later, interrupted, clocks,
    damaged_claims, other_claims, published_first, without_claims, grown,
    one_name_twice, bad_copy, damaged_state, nasty,
)  # fmt: skip


def make_library(folder):
    """The library that stops a machine, or None where there cannot be one."""
    source = os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "preload/stop.c"
    )
    library = os.path.join(folder, "stop.so")
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", library]
    try:
        subprocess.run([*command, source, "-ldl"], check=True)
    except (OSError, subprocess.CalledProcessError) as why:
        print("claims: nothing is tested without a C compiler: %s" % why)
        return None
    return library


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", metavar="FOLDER", help="where lakes lie")
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO")
    args = parser.parse_args()
    mr, bad = program(), 0
    base = os.path.realpath(args.keep or tempfile.mkdtemp(prefix="mr-claims-"))
    os.makedirs(base, exist_ok=True)
    library = make_library(base)
    if library is None:
        sys.exit(77)
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("a machine hangs"))
    for scenario in SCENARIOS:
        if args.scenario and scenario.__name__ not in args.scenario:
            continue
        folder = os.path.join(base, scenario.__name__)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        os.chdir(folder)
        case = Case(mr, folder, library)
        try:
            scenario(case)
            print("ok      %s" % scenario.__doc__)
        except (Failed, ValueError, mrs_read.Refused,
                subprocess.TimeoutExpired) as why:
            print("FAILED  %s (%s): %s" % (scenario.__doc__, folder, why))
            bad += 1
        finally:
            case.release()
        os.chdir("/")
    if not bad and not args.keep:
        shutil.rmtree(base)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
