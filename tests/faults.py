#!/usr/bin/env python3
"""Spoil every call on a file that mr makes, one at a time, in every way.

Usage: faults.py [--jobs N] [--keep FOLDER] [--only SCENARIO]...

A library that is preloaded (tests/preload/faults.c) counts the calls of a
small run and spoils one: it fails, does half, is done and fails, or the
process is killed before, in or after it.  Whatever comes of that:

- exit 0, and every output is that of an undisturbed run, whose figures are
  the oracle's;
- exit 3, the partition concerned is named, and the figures are the oracle's
  of all others;
- exit 5 or 7, and a sentence that names the file;
- exit 130 after SIGINT;
- or the process was killed.

States that are left by then give the oracle's figures of what they have.

Nothing damaged stands under a final name, a temporary file stays only where
the process was killed or removing it was refused, and the same command run
again gives, merged with what the first run left, the bytes of an undisturbed
run.  Prints counts; exit status 1 if anything is otherwise, 77 where
nothing can be preloaded.
"""

import argparse
import collections
import concurrent.futures
import gzip
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import oracle
from mr_program import compare_output, program, read_csv

DONE, PARTIAL, TRY_AGAIN, RESOURCES, INTERRUPTED = 0, 3, 5, 7, 130

# What each call can suffer.  To be killed at a call that only looks is what it
# is to be killed at the next one that reads or writes.
LOOKING = ("EIO", "away")
READING = ("EIO", "before", "away")
WRITING = ("EIO", "ENOSPC", "before", "after", "lost", "full", "away", "SIGINT")
KINDS = {
    "open": READING + ("EINTR", "EMFILE", "SIGINT"),
    "create": WRITING + ("EINTR", "EACCES", "EROFS"),
    "fopen": READING,
    "fread": ("EIO", "before"),
    "read": READING + ("EINTR", "short"),
    "pread": READING + ("EINTR", "short", "end"),
    "write": WRITING + ("EINTR", "short", "torn"),
    "pwrite": WRITING + ("EINTR", "short", "torn"),
    "fsync": WRITING + ("EINTR",),
    "fdatasync": WRITING + ("EINTR",),
    "mmap": ("EIO", "ENOMEM", "cut", "before"),
    "close": ("EIO", "ENOSPC", "EINTR", "before", "after"),
    "fclose": ("EIO", "before"),
    "rename": WRITING + ("EACCES", "EEXIST"),
    "link": WRITING + ("EEXIST",),
    "rmdir": ("EIO", "before", "after", "lost"),
    "unlink": ("EIO", "EACCES", "before", "after", "lost", "away"),
    "mkdir": WRITING + ("EACCES", "EROFS"),
    "ftruncate": WRITING,
    "futimens": WRITING,
    "utimensat": WRITING,
    "opendir": LOOKING,
    "readdir": LOOKING,
    "stat": LOOKING,
    "fstat": LOOKING,
}
# Calls on files that the library knows nothing of: mr may not make them.
UNKNOWN = set(
    "creat readv writev preadv pwritev sendfile copy_file_range fdopen "
    "freopen truncate fallocate posix_fallocate symlink symlinkat mknod "
    "mkdirat scandir fdopendir statx utime utimes futimes sync syncfs "
    "sync_file_range splice msync".split()
)
KILLED = ("before", "after", "torn")
# Where a temporary file may stay: nobody is left to remove it, or may.
LEAVING = KILLED + ("lost", "away", "EIO", "EACCES")


class Wrong(Exception):
    pass


def event(number, type_, user, ms, padding=""):
    user = "" if user is None else '"user_id":"%s",' % user
    return (
        '{"data":{"id":"e%d","type":"%s","attributes":{%s"x":"%s"}},'
        '"meta":{"created_at":%d}}\n' % (number, type_, user, padding, ms)
    )


def gzipped(data):
    return gzip.compress(data, mtime=0)


def zstd(data):
    return subprocess.run(
        ["zstd", "-q", "-c"], input=data, capture_output=True, check=True
    ).stdout


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def make_lake(root):
    """A file of each kind; one so large that it is mapped."""
    rng = random.Random(5)
    day, hour = 86400000, 3600000
    first = 19783 * day  # 2024-03-01

    def text(date, count, padding=0):
        lines = [
            event(
                rng.randrange(10**9),
                rng.choice(("click", "view", "buy")),
                rng.choice([None] + list(range(30))),
                first + date * day + rng.randrange(24 * hour),
                "".join(rng.choices("abc def", k=padding)),
            )
            for _ in range(count)
        ]
        lines.insert(count // 2, "no JSON\n\n")
        return "".join(lines).encode()

    for name, data in (
        ("date=2024-03-01/a.json.gz", gzipped(text(0, 60))),
        ("date=2024-03-01/b.json.zst", zstd(text(0, 60))),
        ("date=2024-03-02/c.json", text(1, 60)),
        ("date=2024-03-02/large.json", text(1, 40, 30000)),
        ("date=2024-03-03/e.json.gz", gzipped(text(2, 60))),
    ):
        write(os.path.join(root, name), data)
    member = os.path.join(root, "member.json.gz")
    write(member, gzipped(text(2, 20)))
    with tarfile.open(
        os.path.join(root, "date=2024-03-03", "f.tar"), "w"
    ) as tar:
        tar.add(member, "f/member.json.gz")
    os.unlink(member)


RICH = """
rollups:
  - {name: by_type, by: [type], users: both}
duplicates: {max_ids: 1000}
segments:
  buyers: {buy: '>=1', view: '>=1'}
"""


def contents(folder):
    """Every file below, by its path there; links are not followed."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found


def is_temporary(path):
    return os.path.basename(path).startswith(".mr-tmp-")


def library_path(name):
    build = os.path.abspath(os.environ.get("MR_BUILD", "."))
    return os.path.join(build, "tests/preload", name + ".so")


def command(args):
    return "mr " + " ".join(args)


class Scenario:
    """A command, what is there before it, and what must come of it.

    args: of mr, run in a folder that has links to lake, states and specs.
    before: files that are there already, by path.
    merge: what to reduce in the end, where the outputs are states.
    share: whether no file can be renamed to a name that exists.
    clock: whether time runs fast, so that there are checkpoints.
    apart: whether each file has its own state, and none if it cannot even be
    looked at.
    prints: whether what it prints is the same each time.
    step: every which call is spoiled; 1 but where others do much the same.
    """

    def __init__(self, name, args, before=None, merge=None, share=False,
                 clock=False, apart=False, prints=True,
                 step=1):  # fmt: skip
        self.name, self.args = name, args
        self.before, self.merge = before or {}, merge
        self.apart, self.prints, self.step = apart, prints, step
        self.reads = merge or args[0] == "rows"
        self.settings = {"MR_FAULT_SHARE": 1} if share else {}
        if clock:
            self.settings["MR_FAULT_CLOCK"] = 1


class Bench:
    """What all runs share: the lake, states of it, the truth about it."""

    def __init__(self, root):
        self.root, self.mr = root, program()
        self.truths, self.figures = {}, {}
        self.inputs = "lake", "states", "rich.yaml", "manifest.csv"
        make_lake(os.path.join(root, "lake"))
        write(os.path.join(root, "rich.yaml"), RICH.encode())
        rich = "--spec", "rich.yaml"
        for part in ("1/2", "2/2"):
            self.must(
                root, "map", *rich, "--shard", part, "-o", "states", "lake"
            )
        self.must(
            root, "map", *rich, "-o", "old.mrs", "lake/date=2024-03-01"
        )
        self.must(root, "plan", "-q", "--manifest", "manifest.csv", "lake")
        self.must(root, "map", "-o", "begun/out", "lake/date=2024-03-02")
        self.begun = contents(os.path.join(root, "begun"))
        old = os.path.join(root, "old")
        os.makedirs(old)
        self.must(
            root, "reduce", "-o", "old/kpis", "--merged", "old/merged.mrs",
            "old.mrs"
        )  # fmt: skip
        self.old = contents(old)
        os.unlink(os.path.join(root, "old.mrs"))

    def must(self, cwd, *args):
        done = self.run(cwd, args)
        if done.returncode != DONE:
            raise Wrong(
                "'%s' gave %d: %s"
                % (command(args), done.returncode, done.stderr)
            )
        return done.stdout

    def run(self, cwd, args, library=None, **settings):
        """mr, with a library of tests/preload/ and what it is told."""
        env = dict(os.environ, LC_ALL="C.UTF-8")
        env.update((k, str(v)) for k, v in settings.items())
        if library:
            env["LD_PRELOAD"] = library_path(library)
        return subprocess.run(
            [self.mr, *args], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
            encoding="utf-8", errors="replace",
        )  # fmt: skip

    def truth_of(self, read, failed):
        """The oracle's truth of the files whose names are in read."""
        key = frozenset(read), frozenset(failed)
        if key not in self.truths:
            truth = oracle.truth_of(
                [os.path.join(self.root, "lake", x) for x in sorted(read)]
            )
            truth["failures"] = sorted(failed)
            truth["totals"]["failures"] = len(failed)
            self.truths[key] = truth
        return self.truths[key]

    def check_figures(self, folder):
        """What reduce wrote is the oracle's of what was read.  Returns the
        names of the lake that were read, and of all that were not."""
        rows = read_csv(os.path.join(folder, "partitions.csv"))
        read = {x["name"] for x in rows if x["status"] == "read"}
        failed = {x["name"] for x in rows if x["status"] == "failed"}
        files = set(contents(os.path.join(self.root, "lake")))
        truth = self.truth_of(read & files, failed)
        problems = list(compare_output(folder, truth))
        if problems:
            raise Wrong("; ".join(problems[:3]))
        return files - read, failed

    def folder(self, scenario, name):
        """A folder to run a command of a scenario in."""
        path = os.path.join(self.root, scenario.name, name)
        os.makedirs(path)
        for link in self.inputs:
            os.symlink(os.path.join(self.root, link), os.path.join(path, link))
        for file, data in scenario.before.items():
            write(os.path.join(path, file), data)
        return path

    def figures_of(self, state):
        """What check_figures says of a state."""
        kpis = state + ".kpis"
        done = self.run(self.root, ("reduce", "-q", "-o", kpis, state))
        if done.returncode not in (DONE, PARTIAL):
            raise Wrong("reduce gave %d: %s" % (done.returncode, done.stderr))
        figures = self.check_figures(kpis)
        shutil.rmtree(kpis)
        return figures

    def merged(self, folder, place, whole=True):
        """The states of a folder, merged, and their figures looked at, once
        for each state that comes of it; whole: what has not been read must be
        listed as such."""
        state = folder + ".merged.mrs"
        done = self.run(folder, ("reduce", "-q", "--merged", state, place))
        if done.returncode not in (DONE, PARTIAL):
            raise Wrong("reduce gave %d: %s" % (done.returncode, done.stderr))
        with open(state, "rb") as file:
            data = file.read()
        if data not in self.figures:
            self.figures[data] = self.figures_of(state)
        os.unlink(state)
        missing, failed = self.figures[data]
        if (done.returncode == PARTIAL) != bool(failed):
            raise Wrong("reduce gave %d" % done.returncode)
        if whole and bool(missing) != bool(failed):
            raise Wrong("%s are not read, and not listed" % missing)
        return data


class Undisturbed:
    """A scenario without a fault: its calls, outputs and merged state."""

    def __init__(self, bench, scenario):
        folder = bench.folder(scenario, "undisturbed")
        log = folder + ".log"
        done = bench.run(
            folder, scenario.args, library="faults", MR_FAULT_LOG=log,
            **scenario.settings
        )  # fmt: skip
        if done.returncode != DONE:
            raise Wrong("undisturbed: %d: %s" % (done.returncode, done.stderr))
        self.said, self.files = done.stdout, contents(folder)
        with open(log, encoding="utf-8") as file:
            self.calls = [line.split(" ", 2)[1] for line in file]
        self.merged = None
        if scenario.merge:
            self.merged = bench.merged(folder, scenario.merge)
        elif "kpis/partitions.csv" in self.files:
            bench.check_figures(os.path.join(folder, "kpis"))


class Trial:
    """One fault in one call of a scenario."""

    def __init__(self, bench, scenario, sound, number, kind):
        self.bench, self.scenario, self.sound = bench, scenario, sound
        self.number, self.kind = number, kind
        self.what = "%s: %s of call %d (%s)" % (
            scenario.name, kind, number, sound.calls[number - 1]
        )  # fmt: skip

    def run(self):
        """(outcome, sentence or None): how it ended, and what is wrong."""
        folder = self.bench.folder(
            self.scenario, "%d-%s" % (self.number, self.kind)
        )
        try:
            outcome = self.spoil(folder)
            self.repeat(folder)
        except Wrong as wrong:
            return "WRONG", "%s: %s (%s)" % (self.what, wrong, folder)
        shutil.rmtree(folder)
        return outcome, None

    def spoil(self, folder):
        log = folder + ".log"
        done = self.bench.run(
            folder, self.scenario.args, library="faults", MR_FAULT_LOG=log,
            MR_FAULT_AT=self.number, MR_FAULT_KIND=self.kind,
            **self.scenario.settings
        )  # fmt: skip
        if not os.path.exists(log):
            return "not reached"
        with open(log, encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(" ", 2) for line in file]
        os.unlink(log)
        # With threads it need not be the call that it was undisturbed.
        lines.sort(key=lambda x: int(x[0]))
        call, struck = lines[0][1:]
        self.check_files(folder)
        if self.scenario.merge and done.returncode != DONE:
            self.check_left(folder, done.returncode == PARTIAL)
        if done.returncode == -9 and self.kind in KILLED:
            return "killed"
        if done.returncode == INTERRUPTED and self.kind == "SIGINT":
            return "exit 130"
        if done.returncode in (TRY_AGAIN, RESOURCES):
            self.check_sentence(done.stderr, struck)
            self.check_no_rows(folder, struck)
            return "exit %d" % done.returncode
        if done.returncode == DONE:
            self.check_done(folder, done)
            return "exit 0"
        if done.returncode == PARTIAL and self.scenario.reads:
            # What has been read is whole whether or not closing it fails.
            if call != "close":
                self.check_sentence(done.stderr, struck)
            return "exit 3"
        raise Wrong("exit %d: %s" % (done.returncode, done.stderr))

    def check_left(self, folder, partial):
        """Reducing what a run has left that was cut short, or that could not
        read everything."""
        merge, apart = self.scenario.merge, self.scenario.apart
        place = os.path.join(folder, merge)
        there = contents(place) if os.path.isdir(place) else ()
        if os.path.isfile(place) or any(x.endswith(".mrs") for x in there):
            self.bench.merged(folder, merge, whole=partial and not apart)
        elif partial and not apart:
            raise Wrong("exit 3, and no state")

    def check_files(self, folder):
        """What stands under a final name is whole: as it was before, as it
        is undisturbed, or another sound state."""
        for path, data in contents(folder).items():
            if is_temporary(path):
                # The older file, where it could not be named back.
                swapped = self.kind == "full" and self.scenario.settings
                if self.kind not in LEAVING and not swapped:
                    raise Wrong("'%s' stays behind" % path)
            elif data == self.sound.files.get(path):
                pass
            elif data == self.scenario.before.get(path):
                pass
            elif path.endswith(".mrs"):
                self.bench.must(folder, "inspect", path)
            elif path.endswith(".claim"):
                pass  # says nothing but who has begun with what
            elif path in ("rejects.gz", "rows.csv"):
                self.check_lines(path, data)
            else:
                raise Wrong("'%s' is neither the old nor the new one" % path)

    def check_lines(self, path, data):
        """Those of a run that could not read some partitions: no other lines
        than undisturbed, and none cut."""
        whole = self.sound.files[path]
        if path.endswith(".gz"):
            whole, data = gzip.decompress(whole), gzip.decompress(data)
        if set(data.splitlines()) - set(whole.splitlines()):
            raise Wrong("'%s' has other lines" % path)

    def check_sentence(self, said, path):
        """Somewhere it names the file: by path, as a partition, by the
        folder it is in or the output it is part of."""
        names = {path, path.split("/", 1)[-1], os.path.dirname(path)}
        names |= {path.split("/")[0]}
        if path == "(stdout)":
            names = {"standard output"}
        elif path == ".":
            names |= {"out", "kpis", "merged.mrs"}
        elif is_temporary(path):
            names |= {os.path.dirname(path) or "merged.mrs", "s.mrs", "rejects"}
        if self.kind == "away":  # others may be named before it
            names.add("date=")
        for line in said.splitlines():
            if line.startswith("mr: ") and any(x in line for x in names if x):
                return
        raise Wrong("nothing names '%s': %s" % (path, said))

    def check_no_rows(self, folder, path):
        """Rows have their name only if all has been done but to make that
        itself sure: to see them is to have the rejected lines, too."""
        last = "./rows.csv", ".", "(stdout)"
        if "rows.csv" in contents(folder) and path not in last:
            raise Wrong("'rows.csv' is there, but not '%s'" % path)

    def check_done(self, folder, done):
        if self.scenario.merge:
            if self.bench.merged(folder, self.scenario.merge) != (
                self.sound.merged
            ):
                raise Wrong("exit 0, but the merged state differs")
            for path in done.stdout.splitlines():
                if not os.path.exists(os.path.join(folder, path)):
                    raise Wrong("exit 0, but '%s' is not there" % path)
            return
        if self.scenario.prints and done.stdout != self.sound.said:
            raise Wrong("exit 0, but it printed %r" % done.stdout)
        for path, data in self.sound.files.items():
            if contents(folder).get(path) != data:
                raise Wrong("exit 0, but '%s' differs" % path)

    def repeat(self, folder):
        """Once more without a fault, over what is there now."""
        done = self.bench.run(folder, self.scenario.args)
        if done.returncode != DONE:
            raise Wrong("again: %d: %s" % (done.returncode, done.stderr))
        if self.scenario.merge:
            if self.bench.merged(folder, self.scenario.merge) != (
                self.sound.merged
            ):
                raise Wrong("again: the merged state differs")
        else:
            self.check_done(folder, done)


def scenarios(bench):
    check_coverage(bench)
    mapping = "map", "-j", "1"
    rejects = "--rejects", "rejects.gz"
    out = "-o", "out", "lake"
    yield Scenario("map", mapping + rejects + out, merge="out")
    yield Scenario(
        "map to a file",
        mapping + ("--spec", "rich.yaml", "-o", "s.mrs", "lake"),
        merge="s.mrs",
    )
    yield Scenario(
        "map with 2 threads", ("map", "-j", "2") + out, merge="out", step=2
    )
    yield Scenario(
        "map with checkpoints",
        mapping + ("--checkpoint", "1") + out,
        merge="out",
        clock=True,
    )
    yield Scenario(
        "map resumed", mapping + out, before=bench.begun, merge="out"
    )
    yield Scenario("map --claim", mapping + ("--claim",) + out, merge="out")
    beside = mapping + ("--beside",)
    yield Scenario(
        "map --beside -o", beside + out, merge="out", apart=True, step=3
    )
    data = {
        os.path.join("data", x): y
        for x, y in contents(os.path.join(bench.root, "lake")).items()
    }
    yield Scenario(
        "map --beside on a share", beside + ("data",), before=data,
        merge="data", share=True, apart=True, step=5,
    )  # fmt: skip
    yield Scenario(
        "plan", ("plan", "-j", "1", "--manifest", "m.csv", "lake"),
        prints=False,
    )  # fmt: skip
    yield Scenario(
        "rows", ("rows", "-j", "1") + rejects + ("-o", "rows.csv", "lake")
    )
    reduction = (
        "reduce", "-j", "1", "-o", "kpis", "--merged", "merged.mrs",
        "--format", "json", "states"
    )  # fmt: skip
    manifest = "--manifest", "manifest.csv"
    yield Scenario("reduce", reduction + manifest)
    yield Scenario(
        "reduce over older files", reduction, before=bench.old, step=5
    )
    yield Scenario(
        "reduce on a share", reduction, before=bench.old, share=True, step=3
    )
    yield Scenario("inspect", ("inspect", "states"))


def trials_of(bench, scenario):
    sound = Undisturbed(bench, scenario)
    for number in range(1, len(sound.calls) + 1, scenario.step):
        for kind in KINDS[sound.calls[number - 1]]:
            yield Trial(bench, scenario, sound, number, kind)


def check_coverage(bench):
    """mr may not use a call that the library lets pass."""
    done = subprocess.run(
        ["nm", "-D", "--undefined-only", bench.mr],
        stdout=subprocess.PIPE, encoding="utf-8", check=True
    )  # fmt: skip
    used = {re.sub("(64)?(@.*)?$", "", x.split()[-1])
            for x in done.stdout.splitlines()}  # fmt: skip
    if used & UNKNOWN:
        raise Wrong(
            "mr calls %s, which tests/preload/faults.c does not know"
            % ", ".join(sorted(used & UNKNOWN))
        )


def report(name, outcomes):
    places = outcomes["places"]
    print(
        "%s: %d faults at %d calls: %s" % (
            name, sum(outcomes.values()) - places, places,
            ", ".join(
                "%d %s" % (n, x)
                for x, n in sorted(outcomes.items()) if x != "places"
            ),
        ),
        flush=True,
    )  # fmt: skip


def drive(name, library, doc, scenarios_of, trials_of_one):
    """Run all trials of all scenarios, and print what came of them."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", metavar="FOLDER", help="where all lies")
    parser.add_argument("--only", metavar="SCENARIO", action="append")
    args = parser.parse_args()
    if not os.path.exists(library_path(library)):
        print("%s: there is no '%s'" % (name, library_path(library)))
        sys.exit(77)
    base = os.path.realpath(args.keep or tempfile.mkdtemp(prefix="mr-faults-"))
    os.makedirs(base, exist_ok=True)
    bench = Bench(base)
    total = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for scenario in scenarios_of(bench):
            if args.only and scenario.name not in args.only:
                continue
            trials = list(trials_of_one(bench, scenario))
            outcomes = collections.Counter(
                {"places": len({x.number for x in trials})}
            )
            for outcome, sentence in pool.map(lambda x: x.run(), trials):
                outcomes[outcome] += 1
                if sentence and outcomes[outcome] <= 10:
                    print(sentence)
            report(scenario.name, outcomes)
            total += outcomes
    report(name, total)
    if not total["WRONG"] and not args.keep:
        shutil.rmtree(base)
    sys.exit(1 if total["WRONG"] else 0)


if __name__ == "__main__":
    drive("faults", "faults", __doc__, scenarios, trials_of)
