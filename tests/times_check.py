#!/usr/bin/env python3
"""Zones and forms of times against Python's zoneinfo and datetime.

    times_check.py [--seed N] [--instants N]

Asks tests/print_times (of the build that MR_BUILD names, ./build by default)
about every zone of the system: random moments and those around changes of the
clock, forth and back, days, and times as text.  Where Python has no zoneinfo
or the system no zones, nothing is tested, and that is said (status 77).
"""

import argparse
import datetime
import os
import random
import shutil
import subprocess
import sys
import tempfile

FOLDER = "/usr/share/zoneinfo"
END_S = 7258118400  # 2200-01-01
DAY_S = 86400
EPOCH = datetime.datetime(1970, 1, 1)
UTC = datetime.timezone.utc
HARD = (
    "Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia",
    "Asia/Kathmandu", "Africa/Casablanca", "America/Sao_Paulo",
    "America/St_Johns", "Europe/Dublin", "Africa/Monrovia", "Asia/Gaza",
    "Antarctica/Troll", "America/Scoresbysund", "Pacific/Kwajalein",
)  # fmt: skip
PATTERNS = (
    "%d/%m/%Y %H:%M:%S", "%Y%m%d%H%M%S", "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %z", "%A %d %B %Y %I:%M:%S %p", "%Y-%j %H:%M",
    "%y%m%d", "%m/%d/%y %H:%M", "%Y-%m-%dT%H:%M:%S%z",
)  # fmt: skip


def skip(why):
    print("times_check: not tested: " + why)
    sys.exit(77)


def civil(seconds, zone):
    """The local date and time of a moment, without its zone."""
    moment = EPOCH.replace(tzinfo=UTC) + datetime.timedelta(seconds=seconds)
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def offset_s(seconds, zone):
    return round((civil(seconds, zone) - EPOCH).total_seconds()) - seconds


def to_utc(local, zone):
    """fold=0: the first of two; in a gap, the offset before it."""
    return round(
        (local - EPOCH - local.replace(tzinfo=zone).utcoffset())
        .total_seconds()
    )  # fmt: skip


def changes(zone):
    """Moments at which the offset changes, found by looking weekly."""
    step, found, before = 7 * DAY_S, [], offset_s(0, zone)
    for at in range(step, END_S, step):
        here = offset_s(at, zone)
        if here != before:
            low, high = at - step, at
            while high - low > 1:
                middle = (low + high) // 2
                if offset_s(middle, zone) == before:
                    low = middle
                else:
                    high = middle
            found.append(high)
        before = here
    return found


def stretch(seconds, zone, marks, unit_s):
    """How long a local day or hour goes on around a moment: over each edge
    behind which it is the same."""

    def number(at):
        return (at + offset_s(at, zone)) // unit_s

    around = [x for x in marks if abs(x - seconds) < 4 * DAY_S]
    here = number(seconds)
    offsets = {offset_s(x + d, zone) for x in around for d in (-1, 0)}
    offsets.add(offset_s(seconds, zone))
    edges = set(around)
    for offset in offsets:
        edges |= {here * unit_s - offset, (here + 1) * unit_s - offset}
    start = max(x for x in edges if x <= seconds and number(x - 1) != here)
    end = min(x for x in edges if x > seconds and number(x) != here)
    return start * 1000, end * 1000


class Questions:
    def __init__(self):
        self.lines, self.wanted = [], []

    def ask(self, wanted, *words):
        self.lines.append("\t".join(str(x) for x in words))
        self.wanted.append(str(wanted))

    def answers(self, program):
        run = subprocess.run(
            [program], input="\n".join(self.lines) + "\n", text=True,
            capture_output=True, encoding="utf-8",
        )  # fmt: skip
        if run.returncode != 0:
            sys.exit("print_times gave %d: %s" % (run.returncode, run.stderr))
        return run.stdout.split("\n")[:-1]


def ask_moment(q, rng, name, zone, seconds):
    local = civil(seconds, zone)
    day = (local - EPOCH).days
    ms = rng.randrange(1000)
    q.ask("%d %d %d" % (offset_s(seconds, zone) * 1000, day, local.hour),
          "offset", name, seconds * 1000 + ms)  # fmt: skip
    for shown in (local, local + datetime.timedelta(minutes=45)):
        q.ask(to_utc(shown, zone) * 1000 + ms, "utc", name,
              round((shown - EPOCH).total_seconds()) * 1000 + ms)  # fmt: skip


def ask_text(q, rng, name, zone, seconds):
    local = civil(seconds, zone)
    aware = (EPOCH.replace(tzinfo=UTC) + datetime.timedelta(seconds=seconds)
             ).astimezone(zone)  # fmt: skip
    ms = rng.randrange(1000)
    q.ask(seconds * 1000 + ms, "parse", name, "iso8601",
          aware.replace(microsecond=ms * 1000).isoformat(rng.choice("T ")))  # fmt: skip
    back = to_utc(local, zone)
    in_range = 0 <= back < END_S
    q.ask(back * 1000 if in_range else "no", "parse", name, "iso8601",
          local.isoformat())  # fmt: skip
    text = aware.replace(microsecond=ms * 1000).isoformat(
        timespec="milliseconds"
    )
    q.ask(text.replace("+00:00", "Z") if aware.utcoffset() ==
          datetime.timedelta(0) else text,
          "format", name, "iso8601", seconds * 1000 + ms)  # fmt: skip
    pattern = rng.choice(PATTERNS)
    text = aware.strftime(pattern)
    q.ask(text, "format", name, pattern, seconds * 1000)
    read = datetime.datetime.strptime(text, pattern)
    if read.tzinfo:
        wanted = round((read - EPOCH.replace(tzinfo=UTC)).total_seconds())
    else:
        wanted = to_utc(read, zone)
    q.ask(wanted * 1000 if 0 <= wanted < END_S else "no",
          "parse", name, pattern, text)  # fmt: skip


def ask_zone(q, rng, name, zone, instants):
    marks = changes(zone) if name in HARD else []
    for _ in range(instants):
        ask_moment(q, rng, name, zone, rng.randrange(END_S))
    for _ in range(instants // 4):
        ask_text(q, rng, name, zone, rng.randrange(DAY_S, END_S - DAY_S))
    for mark in marks:
        for away in (-7200, -1801, -1, 0, 1, 1799, 3599, 3600, 9000):
            if 0 <= mark + away < END_S:
                ask_moment(q, rng, name, zone, mark + away)
                day = stretch(mark + away, zone, marks, DAY_S)
                hour = stretch(mark + away, zone, marks, 3600)
                q.ask("%d %d %d %d" % (day + hour), "span", name,
                      (mark + away) * 1000)  # fmt: skip


def ask_digests(q, folder):
    """Zones compiled with all changes and with few and a rule are one."""
    source = os.path.join(FOLDER, "tzdata.zi")
    if not shutil.which("zic") or not os.path.exists(source):
        print("times_check: without zic and tzdata.zi no digests are compared")
        return []
    for kind in ("fat", "slim"):
        subprocess.run(
            ["zic", "-b", kind, "-d", os.path.join(folder, kind), source],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    first = len(q.lines)
    for name in HARD:
        if name == "Asia/Gaza":
            continue  # from 2073 on its two files do say other things
        for kind in ("fat", "slim"):
            q.ask("", "digest", "UTC", os.path.join(folder, kind, name))
    return range(first, len(q.lines), 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--instants", type=int, default=20)
    args = parser.parse_args()
    try:
        import zoneinfo
    except ImportError:
        skip("this Python has no zoneinfo")
    zoneinfo.reset_tzpath([FOLDER])
    names = sorted(
        x for x in zoneinfo.available_timezones() if x != "localtime"
        and os.path.isfile(os.path.join(FOLDER, x))
    )  # fmt: skip
    if not names:
        skip("there are no zones in " + FOLDER)
    program = os.path.join(
        os.environ.get("MR_BUILD", "build"), "tests", "print_times"
    )
    rng, q = random.Random(args.seed), Questions()
    for name in names:
        ask_zone(q, rng, name, zoneinfo.ZoneInfo(name), args.instants)
    with tempfile.TemporaryDirectory() as folder:
        pairs = ask_digests(q, folder)
        got = q.answers(program)
    if len(got) != len(q.lines):
        sys.exit("times_check: %d answers to %d questions"
                 % (len(got), len(q.lines)))  # fmt: skip
    for i in pairs:
        q.wanted[i] = got[i + 1]
        q.wanted[i + 1] = got[i]
    differ = 0
    for line, wanted, answer in zip(q.lines, q.wanted, got):
        if answer != wanted:
            differ += 1
            if differ <= 20:
                print("%r: %s, not %s" % (line, answer, wanted))
    print("times_check: %d zones, %d answers equal, %d differ"
          % (len(names), len(got) - differ, differ))  # fmt: skip
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
