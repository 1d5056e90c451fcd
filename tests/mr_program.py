"""Running mr, reading what it writes, and comparing that with a truth.

The program is the one that the environment variable MR names, ./cmd/mr by
default.
"""

import argparse
import csv
import os
import resource
import shutil
import subprocess
import sys
import tempfile

DAY_FIGURES = (
    "events", "events_without_user", "users", "active", "inactive", "churned",
    "reactivated", "sessions",
)  # fmt: skip
COUNTS = (
    "stored_bytes", "text_bytes", "lines", "events", "rejected", "blank",
    "other_day", "other_type", "names",
)  # fmt: skip
STANDARD_ERROR = 1.04 / 2**7  # of a sketch with 2^14 registers


def program():
    path = os.path.abspath(os.environ.get("MR", "./cmd/mr"))
    if not os.access(path, os.X_OK):
        sys.exit("cannot run '%s'; build it, or set MR" % path)
    return path


class Run:
    """One run of mr: its exit status, what it printed, what it said."""

    def __init__(self, path, *args, env=None, files=None):
        """With files, so many can be open."""
        self.args = args

        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        done = subprocess.run(
            [path, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, **env} if env else None,
            timeout=120,
            preexec_fn=limit if files else None,
        )
        self.status, self.out = done.returncode, done.stdout
        self.said = done.stderr.decode("utf-8", "replace").strip()

    def __str__(self):
        return "'mr %s' gave %d: %s" % (
            " ".join(self.args), self.status, self.said[:500]
        )  # fmt: skip


def read_csv(path):
    with open(
        path, newline="", encoding="utf-8", errors="surrogateescape"
    ) as file:
        return list(csv.DictReader(file))


def number(text):
    return None if text == "" else int(text)


def errors_off(exact, estimate):
    """How many standard errors an estimate is off.  In a small set two users
    more or less are none."""
    if abs(estimate - exact) <= 2:
        return 0
    return abs(estimate - exact) / (STANDARD_ERROR * max(exact, 1))


def compare_days(rows, days):
    if [x["day"] for x in rows] != [x["day"] for x in days]:
        yield "daily.csv has the days %s, not %s" % (
            [x["day"] for x in rows], [x["day"] for x in days]
        )  # fmt: skip
        return
    for row, day in zip(rows, days):
        for key in DAY_FIGURES:
            if number(row[key]) != day[key]:
                yield "daily.csv %s: %s is %s, not %s" % (
                    day["day"], key, row[key], day[key]
                )  # fmt: skip
        if errors_off(day["users"], int(row["users_estimate"])) > 3:
            yield "daily.csv %s: users_estimate is %s of %d" % (
                day["day"], row["users_estimate"], day["users"]
            )  # fmt: skip


def compare_day_types(rows, truth):
    got = [(x["day"], x["type"]) for x in rows]
    wanted = [(x["day"], x["type"]) for x in truth]
    if got != wanted:
        yield "daily_by_type.csv: unlike rows or order: %s" % sorted(
            set(got) ^ set(wanted), key=repr
        )
        return
    for row, one in zip(rows, truth):
        for key in ("events", "users"):
            if int(row[key]) != one[key]:
                yield "daily_by_type.csv %s %r: %s is %s, not %d" % (
                    one["day"], one["type"], key, row[key], one[key]
                )  # fmt: skip
    # Of many honest estimates some are off by more than three.
    off = [errors_off(int(x["users"]), int(x["users_estimate"])) for x in rows]
    beyond = sum(x > 3 for x in off)
    if beyond > 1 + len(off) / 100 or max(off, default=0) > 5:
        yield (
            "daily_by_type.csv: %d of %d estimates are off by more than 3 "
            "standard errors, one by %.1f" % (beyond, len(off), max(off))
        )


def compare_rejects(rows, rejects):
    got = {x["reason"]: int(x["lines"]) for x in rows if x["lines"] != "0"}
    for reason in sorted(set(got) | set(rejects)):
        if got.get(reason, 0) != rejects.get(reason, 0):
            yield "rejects.csv: %s is %d, not %d" % (
                reason, got.get(reason, 0), rejects.get(reason, 0)
            )  # fmt: skip


def compare_partitions(rows, truth):
    """Against the oracle's list; the order of rows is part of it."""
    failed = [x["name"] for x in rows if x["status"] == "failed"]
    if failed != truth["failures"]:
        yield "partitions.csv: failed are %s, not %s" % (
            failed, truth["failures"]
        )  # fmt: skip
    read = [x for x in rows if x["status"] == "read"]
    wanted = truth["partitions"]

    def by_name(row):
        return os.fsencode(row["name"]), row["digest"] or ""

    if read != sorted(read, key=by_name):
        yield "partitions.csv: not in order of names"
    read = sorted(read, key=by_name)
    wanted = sorted(wanted, key=by_name)
    if [x["name"] for x in read] != [x["name"] for x in wanted]:
        yield "partitions.csv: the names are %s, not %s" % (
            [x["name"] for x in read], [x["name"] for x in wanted]
        )  # fmt: skip
        return
    for row, one in zip(read, wanted):
        if one["digest"] not in (None, row["digest"]):
            yield "partitions.csv %s: digest is %s, not %s" % (
                one["name"], row["digest"], one["digest"]
            )  # fmt: skip
        for key in COUNTS:
            if int(row[key]) != one[key]:
                yield "partitions.csv %s: %s is %s, not %d" % (
                    one["name"], key, row[key], one[key]
                )  # fmt: skip


def compare_totals(rows, totals):
    """The sums of partitions.csv against totals that know no partitions."""
    read = [x for x in rows if x["status"] == "read"]
    got = {
        key: sum(int(x[key]) for x in read) for key in COUNTS if key != "names"
    }
    got["partitions"], got["failures"] = len(read), len(rows) - len(read)
    for key in sorted(set(got) & set(totals)):
        if got[key] != totals[key]:
            yield "partitions.csv: %s sums up to %d, not %d" % (
                key, got[key], totals[key]
            )  # fmt: skip


def compare_output(folder, truth):
    """Sentences about whatever is unlike in a folder that reduce wrote."""
    rows = read_csv(os.path.join(folder, "partitions.csv"))
    if "partitions" in truth:
        yield from compare_partitions(rows, truth)
    yield from compare_totals(rows, truth["totals"])
    for name, key, compare in (
        ("daily.csv", "days", compare_days),
        ("daily_by_type.csv", "day_types", compare_day_types),
        ("rejects.csv", "rejects", compare_rejects),
    ):
        yield from compare(read_csv(os.path.join(folder, name)), truth[key])


def run_lakes(label, about, check, lakes):
    """The main of a test on random lakes, whose options it reads.

    check(mr, seed, folder) makes the lake of a seed in a folder and yields
    sentences about what is wrong; what is equal is deleted.  Ends the program.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--lakes", type=int, default=lakes)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--keep", metavar="FOLDER", help="where lakes lie")
    args = parser.parse_args()
    mr, differ = program(), 0
    base = args.keep or tempfile.mkdtemp(prefix="mr-%s-" % label)
    base = os.path.realpath(base)
    os.makedirs(base, exist_ok=True)
    for seed in range(args.first, args.first + args.lakes):
        folder = os.path.join(base, str(seed))
        shutil.rmtree(folder, ignore_errors=True)
        problems = list(check(mr, seed, folder))
        os.chdir("/")
        differ += bool(problems)
        for problem in problems[:5]:
            print("lake %d (%s): %s" % (seed, folder, problem))
        if not problems:
            shutil.rmtree(folder)
    if not differ and not args.keep:
        os.rmdir(base)
    print(
        "%s: %d lakes equal, %d differ" % (label, args.lakes - differ, differ)
    )
    sys.exit(1 if differ else 0)
