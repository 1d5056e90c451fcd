#!/usr/bin/env python3
"""docs/runbook.md, followed from top to bottom.

    runbook_check.py [--keep FOLDER] [PAGE]

Two laptops are two folders with a shell each, which goes on from box to box;
the share is a folder of the first.  Object storage is tests/s3_server.py, with
a lake of two days in it; aws and rclone are the real ones.  What is not: s5cmd
and sshfs, which check what they are given (tests/engines/laptops.bats has a
real sshfs), and the mount of rclone where there is no FUSE.

Each box begins with a line that says where it is run.  "# exit status N" ends
a line that ends with another status than 0.  "Before the day" comes first.
The figures are compared with those of tests/oracle.py, and the table of times
with what comes of its sizes.

Prints TAP.  Exit status 1 if anything went wrong, 77 if it cannot be run.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

from mr_program import compare_output, program

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ.get("MR_SOURCE") or os.path.dirname(HERE)
BUILD = os.environ.get("MR_BUILD") or os.path.join(SOURCE, "build")
BUCKET, DAY, BEFORE = "lake-events", "2024-02-29", "2024-02-28"
EARLIER = "Before the day"  # is what one does first

STUBS = {
    "s5cmd": """#!/bin/sh
[ "$#" = 3 ] && [ "$1" = sync ] && [ "$3" = lake/ ] &&
    [ "$2" = "s3://%s/events/type=*/date=%s/*" ]
""" % (BUCKET, DAY),
    "sshfs": """#!/bin/sh
[ "$#" = 4 ] &&
    [ "$1 $2" = "-o reconnect,ServerAliveInterval=15,dir_cache=no" ] &&
    [ "$3" = first:shared ] && rmdir "$4" && ln -s ../first/shared "$4"
""",
    "aws": """#!/bin/sh
exec /usr/bin/aws --endpoint-url "$RCLONE_CONFIG_LAKE_ENDPOINT" "$@"
""",
}  # fmt: skip
# In place of a mount, where there is none.
NO_FUSE = {
    "rclone": """#!/bin/sh
[ "$1" = mount ] || exec /usr/bin/rclone "$@"
[ "$#" = 5 ] && [ "$2 $3" = "--daemon --read-only" ] && rmdir "$5" &&
    exec /usr/bin/rclone copy "$4" "$5"
""",
    "fusermount3": """#!/bin/sh
[ "$#" = 2 ] && [ "$1" = -u ] && rm -r "$2"
""",
}  # fmt: skip


class Box:
    """A fenced block: where it is run, and its commands."""

    def __init__(self, text, indent):
        lines = [x[len(indent) :] for x in text.splitlines()]
        self.where = re.fullmatch(r"# on (.*)", lines[0])
        self.commands, part = [], ""
        for line in lines[1:]:
            part += line + "\n"
            if not line.endswith("\\") and complete(part):
                if part.strip():
                    self.commands.append(part)
                part = ""
        if part.strip():
            sys.exit("this is no whole command:\n" + part)


def complete(text):
    done = subprocess.run(
        ["bash", "-n"], input=text, capture_output=True, text=True
    )
    return done.returncode == 0


def boxes(section):
    return [
        Box(found[2], found[1])
        for found in re.finditer(r"(?ms)^( *)```sh\n(.*?)^ *```$", section)
    ]


class Laptop:
    """A shell with a home of its own."""

    def __init__(self, home, env):
        os.makedirs(home)
        self.home, self.log = home, os.path.join(home, "log")
        read, write = os.pipe()
        self.shell = subprocess.Popen(
            ["bash", "--norc", "-o", "pipefail"],
            cwd=home, env={**env, "HOME": home, "ENDS": str(write)},
            stdin=subprocess.PIPE, stdout=open(self.log, "w"),
            stderr=subprocess.STDOUT, pass_fds=[write], text=True,
        )  # fmt: skip
        os.close(write)
        self.ends = os.fdopen(read)

    def follow(self, box, problems):
        for command in box.commands:
            start = os.path.getsize(self.log)
            self.shell.stdin.write(
                "eval %s </dev/null\necho $? >&$ENDS\n" % quoted(command)
            )
            self.shell.stdin.flush()
            status = self.ends.readline().strip()
            wanted = re.search(r"# exit status (\d+)", command)
            if status != (wanted[1] if wanted else "0"):
                with open(self.log, errors="replace") as file:
                    file.seek(start)
                    problems.append(
                        "in %s:\n%sends with %s:\n%s" % (
                            self.home, command, status, file.read()[-2000:]
                        )
                    )  # fmt: skip
                return

    def close(self):
        self.shell.stdin.close()
        self.shell.wait()


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


class Day:
    """All that the page supposes to be there."""

    def __init__(self, base):
        self.base = base
        self.bucket = os.path.join(base, "storage", BUCKET)
        self.make_lake()
        self.server = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "s3_server.py"),
             os.path.dirname(self.bucket)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        env = self.environment(int(self.server.stdout.readline()))
        self.laptops = {
            name: Laptop(os.path.join(base, name), env)
            for name in ("first", "second", "cloud")
        }
        self.states = os.path.join(base, "first", "shared", "states")

    def make_lake(self):
        lake = os.path.join(self.bucket, "events")
        os.makedirs(self.bucket)
        subprocess.run(
            [os.path.join(BUILD, "tests", "gen_events"), "--seed", "9",
             "--events", "20000", "--users", "2000", "--types", "3",
             "--days", "2", "--late", "0", "--bad", "2", "--no-user", "5",
             "--out", lake, "--truth", os.path.join(self.base, "made.json")],
            check=True, capture_output=True,
        )  # fmt: skip
        folder = "type=%s/date=%s" % (sorted(os.listdir(lake))[0][5:], DAY)
        with open(os.path.join(lake, folder, "_SUCCESS"), "w"):
            pass
        # A name that CSV quotes, of what lands late: no list may lose it.
        hour = os.path.join(lake, folder, "hour=23")
        for name in os.listdir(hour):
            os.rename(
                os.path.join(hour, name),
                os.path.join(hour, 'the "last", ' + name),
            )
        self.truth = json.loads(
            subprocess.run(
                [sys.executable, os.path.join(HERE, "oracle.py"), lake],
                check=True, capture_output=True,
            ).stdout
        )  # fmt: skip

        self.last_hour(lake, os.path.join(self.base, "later"))

    def last_hour(self, source, target):
        """Files that land when the cloud is down already."""
        for kind in os.listdir(source):
            day = os.path.join(kind, "date=" + DAY)
            hour = os.path.join(day, "hour=23")
            os.makedirs(os.path.join(target, day), exist_ok=True)
            os.rename(
                os.path.join(source, hour), os.path.join(target, hour)
            )

    def environment(self, port):
        programs = os.path.join(self.base, "bin")
        os.makedirs(programs)
        os.symlink(program(), os.path.join(programs, "mr"))
        stubs = dict(STUBS)
        if not has_fuse():
            stubs.update(NO_FUSE)
            print("# no FUSE here: nothing is mounted")
        for name, text in stubs.items():
            with open(os.path.join(programs, name), "w") as file:
                file.write(text)
            os.chmod(file.name, 0o755)
        env = {
            name: value
            for name, value in os.environ.items()
            if not re.match(r"AWS_|RCLONE_|.*_proxy$|.*_PROXY$", name)
        }
        env.update(
            PATH=programs + os.pathsep + os.environ["PATH"],
            LC_ALL="C.UTF-8",
            AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret",
            AWS_DEFAULT_REGION="eu-west-1", AWS_EC2_METADATA_DISABLED="true",
            RCLONE_CONFIG="/dev/null", RCLONE_CONFIG_LAKE_TYPE="s3",
            RCLONE_CONFIG_LAKE_PROVIDER="Other",
            RCLONE_CONFIG_LAKE_ENV_AUTH="true",
            RCLONE_CONFIG_LAKE_ENDPOINT="http://127.0.0.1:%d" % port,
        )  # fmt: skip
        return env

    def follow(self, box):
        """At the same time where it is for both."""
        problems = []
        if not box.where:
            return ["a box does not say where it is run"]
        where = {
            "both laptops": ("first", "second"),
            "the first laptop": ("first",),
            "the second laptop": ("second",),
            "a machine of the cloud": ("cloud",),
        }.get(box.where[1])
        if where is None:
            return ["there is no '%s'" % box.where[1]]
        threads = [
            threading.Thread(
                target=self.laptops[name].follow, args=(box, problems)
            )
            for name in where
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return problems

    def before(self, title):
        """What happens to people who follow the page."""
        if title == "The first five minutes":
            self.last_hour(
                os.path.join(self.base, "later"),
                os.path.join(self.bucket, "events"),
            )
        if title == "What PARTIAL means":
            lose_some(self.states)
        if title == "Afterwards":
            path = os.path.join(
                self.base, "first", "outage", "warehouse.csv"
            )
            with open(path, "w") as file:
                file.write("day,events,users\n")
                for row in self.truth["days"]:
                    file.write("%(day)s,%(events)d,%(users)d\n" % row)

    def after(self, title):
        """Sentences about what should have come of a section."""
        outage = os.path.join(self.base, "first", "outage")
        folders = {
            "With states in the bucket": "early",
            "Reduce": "kpis",
            "What PARTIAL means": "kpis",
            "Afterwards": "checked",
        }
        if title in folders:
            yield from compare_output(
                os.path.join(outage, folders[title]), self.truth
            )
        if title == "Afterwards":
            yield from self.as_one_machine(outage)

    def as_one_machine(self, outage):
        mr, one = program(), os.path.join(self.base, "one.mrs")
        merged = os.path.join(self.base, "merged.mrs")
        lake = os.path.join(self.bucket, "events")
        for command in (
            [mr, "map", "-q", "-o", one, lake],
            [mr, "reduce", "-q", "--merged", merged, self.states],
        ):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        told = os.path.join(outage, "told.mrs")
        for path in (merged, told):
            if open(path, "rb").read() != open(one, "rb").read():
                yield "%s is not what one machine makes" % path

    def close(self):
        for laptop in self.laptops.values():
            laptop.close()
            mounted = os.path.join(laptop.home, "outage", "mounted")
            if os.path.ismount(mounted):  # something went wrong before
                subprocess.run(["fusermount3", "-u", "-z", mounted])
        self.server.terminate()
        self.server.wait()


def lose_some(folder):
    """All states but the smallest, which is that of a few hours."""
    paths = [
        os.path.join(folder, x)
        for x in os.listdir(folder)
        if x.endswith(".mrs")
    ]
    for path in sorted(paths, key=os.path.getsize)[1:]:
        os.remove(path)


def has_fuse():
    return os.access("/dev/fuse", os.W_OK) and shutil.which("fusermount3")


def seconds(text):
    number, unit = text.split()
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def wrong_times(page):
    """Sentences about the table of times."""
    rows = re.findall(r"(?m)^\| [^|]* \| [\d.]+ \|.*\|$", page)
    if len(rows) < 4:
        yield "where is the table of times?"
    for row in rows:
        _, packed, gb, slow, fast, _ = row.strip("| ").split(" | ")
        if float(gb) != float(packed):
            yield "%s: a thousand million events of %s bytes are no %s GB" % (
                row, packed, gb
            )  # fmt: skip
        for said, bits in ((slow, 1e8), (fast, 1e9)):
            exact = float(gb) * 1e9 * 8 / (0.9 * bits)
            if abs(seconds(said) - exact) > 0.12 * exact:
                yield "%s: %s should be %.0f s" % (row, said, exact)


def tell(n, title, problems):
    print("%sok %d %s" % ("not " if problems else "", n, title), flush=True)
    for problem in problems:
        print("# " + problem.rstrip().replace("\n", "\n# "))
    return bool(problems)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", metavar="FOLDER", help="where files lie")
    parser.add_argument(
        "page", nargs="?", default=os.path.join(SOURCE, "docs", "runbook.md")
    )
    args = parser.parse_args()
    for name in ("/usr/bin/aws", "/usr/bin/rclone", "/usr/bin/bash"):
        if not os.access(name, os.X_OK):
            print("1..0 # skip there is no %s" % name)
            sys.exit(77)
    with open(args.page, encoding="utf-8") as file:
        page = file.read()
    sections = [
        (x.partition("\n")[0], x) for x in re.split(r"(?m)^## ", page)[1:]
    ]
    sections.sort(key=lambda x: x[0] != EARLIER)
    base = args.keep or tempfile.mkdtemp(prefix="mr-runbook-")
    os.makedirs(base, exist_ok=True)
    print("# s5cmd and sshfs only check what they are given")
    day, bad, n = Day(base), 0, 0
    try:
        for title, text in sections:
            problems, found = [], boxes(text)
            day.before(title)
            for box in found:
                problems += day.follow(box)
            if not problems:
                problems += day.after(title)
            n += 1
            bad += tell(n, "%s (%d boxes)" % (title, len(found)), problems)
    finally:
        day.close()
    bad += tell(n + 1, "the table of times", list(wrong_times(page)))
    print("1..%d" % (n + 1))
    if not bad and not args.keep:
        shutil.rmtree(base)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
