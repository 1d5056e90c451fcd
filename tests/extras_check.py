#!/usr/bin/env python3
"""New users, windows and retention of mr reduce against plain sets.

Usage: extras_check.py [--lakes N] [--first SEED] [--keep FOLDER]

First the worked example of docs/kpis.md, whose tables are read from there
(MR_SOURCE is where docs/ is, the folder above this one by default).  Then
random lakes, each mapped to several states: those of random_lake.py, and
long ones made here with gaps, zones and users tables.  What was not asked
for must not change by what was.  Exit status 1 if anything differs.
"""

import datetime
import fractions
import json
import os
import random
import re
import sys

import oracle
from mr_program import Run, read_csv, run_lakes
from random_lake import make_lake

try:
    import zoneinfo
except ImportError:
    zoneinfo = None

DAY_MS = 86_400_000
EPOCH = datetime.date(1970, 1, 1)
ROLLING = ("users_7d", "users_28d", "stickiness")
# Days of 23, 24 and 25 hours, and one that never was.
ZONES = ("Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu")


# ---- what is expected -----------------------------------------------------


def six_decimals(part, whole):
    """Rounded to the nearest, and up from the middle."""
    share = fractions.Fraction(part, whole) * 10**6
    number = int(share + fractions.Fraction(1, 2))
    return "%d.%06d" % divmod(number, 10**6)


def day_of(time_ms, zone):
    if zone is None:
        return time_ms // DAY_MS
    moment = datetime.datetime.fromtimestamp(time_ms // 1000, zone)
    return (moment.date() - EPOCH).days


class Truth:
    """Of (time in ms, user or None) everything that can be asked for."""

    def __init__(self, events, zone=None):
        self.seen = {}
        for time_ms, user in events:
            users = self.seen.setdefault(day_of(time_ms, zone), set())
            if user is not None:
                users.add(user)
        self.loaded = sorted(self.seen)
        self.first_day = {}
        for day in self.loaded:
            for user in self.seen[day]:
                self.first_day.setdefault(user, day)

    def rows(self):
        for day in self.loaded:
            yield day
            if day != self.loaded[-1] and day + 1 not in self.seen:
                yield day + 1

    def came(self, first, last):
        """Who came on any of the days."""
        some = set()
        for day in range(first, last + 1):
            some |= self.seen.get(day, set())
        return some

    def day_row(self, day, new, rolling):
        begin, row = self.loaded[0], {"day": oracle.day_text(day)}
        if new:
            users = [x for x in self.first_day if self.first_day[x] == day]
            row["new_users"] = "" if day == begin else str(len(users))
        if rolling:
            row.update(dict.fromkeys(ROLLING, ""))
            if day - 6 >= begin:
                row["users_7d"] = str(len(self.came(day - 6, day)))
            if day - 27 >= begin:
                month = len(self.came(day - 27, day))
                row["users_28d"] = str(month)
                if month:
                    users = len(self.came(day, day))
                    row["stickiness"] = six_decimals(users, month)
        return row

    def retention(self, n):
        for day in self.loaded[1:]:
            group = {x for x in self.first_day if self.first_day[x] == day}
            row = {"first_day": oracle.day_text(day), "users": str(len(group))}
            for k in range(n + 1):
                known = day + k <= self.loaded[-1]
                back = group & self.seen.get(day + k, set())
                row["day_%d" % k] = str(len(back)) if known else ""
            yield row


# ---- against what mr says -------------------------------------------------


def unlike(what, got, wanted):
    if got == wanted:
        return
    for i, (x, y) in enumerate(zip(got, wanted)):
        if x != y:
            yield "%s, row %d: %s, not %s" % (what, i, x, y)
            return
    yield "%s: %d rows, not %d" % (what, len(got), len(wanted))


def as_json(rows):
    """Rows of a CSV as kpis.json has them, numbers as they are written."""
    return [
        {
            key: text if key.endswith("day") else text or None
            for key, text in row.items()
        }
        for row in rows
    ]


def compare(folder, plain, truth, new, rolling, n):
    """Sentences about what is unlike in a folder, of which plain is the same
    without anything asked for."""
    keys = ["day"] + ["new_users"] * new + list(ROLLING) * rolling
    base = read_csv(os.path.join(plain, "daily.csv"))
    rows = read_csv(os.path.join(folder, "daily.csv"))
    names = list(base[0]) if base else None
    wanted = [truth.day_row(x, new, rolling) for x in truth.rows()]
    if rows and list(rows[0]) != names + keys[1:]:
        yield "daily.csv has the columns %s" % list(rows[0])
        return
    yield from unlike(
        "daily.csv", [{k: x[k] for k in keys} for x in rows], wanted
    )
    yield from unlike(
        "daily.csv as without", [{k: x[k] for k in names} for x in rows], base
    )
    with open(os.path.join(folder, "kpis.json"), encoding="utf-8") as file:
        kpis = json.load(file, parse_int=str, parse_float=str)
    yield from unlike(
        "kpis.json days",
        [{k: x[k] for k in keys} for x in kpis["days"]],
        as_json(wanted),
    )
    for key in keys[1:] + ["retention"] * (n > 0):
        if kpis["figures"].get(key) != {"kind": "exact"}:
            yield "kpis.json: %s is not marked as exact" % key
    others = set(os.listdir(plain))
    if n > 0:
        others.add("retention.csv")
        wanted = list(truth.retention(n))
        rows = read_csv(os.path.join(folder, "retention.csv"))
        status = {x.pop("status") for x in rows}
        if rows and status != {base[0]["status"]}:
            yield "retention.csv: the status is %s" % status
        yield from unlike("retention.csv", rows, wanted)
        yield from unlike(
            "kpis.json retention", kpis["retention"], as_json(wanted)
        )
    if set(os.listdir(folder)) != others:
        yield "there are the files %s" % sorted(os.listdir(folder))
    for name in os.listdir(plain):
        if name not in ("daily.csv", "kpis.json"):
            with open(os.path.join(plain, name), "rb") as x, open(
                os.path.join(folder, name), "rb"
            ) as y:
                if x.read() != y.read():
                    yield "%s is not as without" % name


def ask(mr, rng, states, work, truth):
    """Reduce plainly, and then with what chance asks for, and compare."""
    plain = os.path.join(work, "plain")
    run = Run(mr, "reduce", "-q", "-o", plain, *states)
    if run.status not in (0, 3):
        yield str(run)
        return
    for i, (new, rolling, n) in enumerate(
        ((True, True, rng.choice((1, 5, 30, 366))),
         (rng.random() < 0.5, rng.random() < 0.5, rng.choice((0, 0, 3))))
    ):  # fmt: skip
        folder = os.path.join(work, "asked%d" % i)
        args = ["--new"] * new + ["--rolling"] * rolling
        args += ["--retention", str(n)] if n else []
        args += ["-j", str(rng.choice((1, 2, 5)))]
        # Users are merged by other means where a state is written.
        if rng.random() < 0.5:
            args += ["--merged", os.path.join(work, "merged.mrs")]
        run = Run(mr, "reduce", "-q", "-o", folder, *args, *states)
        if run.status not in (0, 3):
            yield str(run)
            continue
        for problem in compare(folder, plain, truth, new, rolling, n):
            yield "%s: %s" % (" ".join(args), problem)


# ---- the worked example ---------------------------------------------------


def tables_of(path):
    """The tables of a Markdown file, by the first word of their heads."""
    tables, rows = {}, None
    with open(path, encoding="utf-8") as file:
        for line in file:
            cells = [x.strip() for x in line.strip().strip("|").split("|")]
            if not line.startswith("|"):
                rows = None
            elif rows is None:
                rows = tables.setdefault(tuple(cells), [])
            elif not set(line.strip()) <= set("|-"):
                rows.append(cells)
    return tables


def table(tables, *begin):
    for head, rows in tables.items():
        if head[: len(begin)] == begin:
            return [dict(zip(head, x)) for x in rows]
    sys.exit("docs/kpis.md has no table that begins %s" % (begin,))


def write_events(path, events):
    with open(path, "w", encoding="utf-8") as file:
        for i, (time_ms, user, *type_) in enumerate(events):
            event = {
                "data": {
                    "id": "%s-%d" % (os.path.basename(path), i),
                    "type": type_[0] if type_ else "t",
                    "attributes": {} if user is None else {"user_id": user},
                },
                "meta": {"created_at": time_ms},
            }
            file.write(json.dumps(event) + "\n")


def check_example(mr, work):
    """The tables of the manual are what mr prints."""
    source = os.environ.get(
        "MR_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    )
    tables = tables_of(os.path.join(source, "docs", "kpis.md"))
    march = (datetime.date(2024, 3, 1) - EPOCH).days
    events = [
        ((march + int(day) - 1) * DAY_MS + DAY_MS // 2, row["User"])
        for row in table(tables, "User", "Days of March 2024")
        for day in re.findall("[0-9]+", row["Days of March 2024"])
    ]
    days = table(tables, "day", "users", "new_users")
    first_days = table(tables, "first_day", "users", "day_0")
    n = len(first_days[0]) - 3
    lake, out = os.path.join(work, "example.jsonl"), os.path.join(work, "out")
    state = os.path.join(work, "example.mrs")
    write_events(lake, events)
    for run in (
        Run(mr, "map", "-q", "-o", state, lake),
        Run(mr, "reduce", "-q", "-o", out, "--new", "--rolling",
            "--retention", str(n), state),
    ):  # fmt: skip
        if run.status != 0:
            yield str(run)
            return
    for name, wanted in (("daily.csv", days), ("retention.csv", first_days)):
        rows = read_csv(os.path.join(out, name))
        got = [{key: x[key] for key in wanted[0]} for x in rows]
        yield from unlike("the example's " + name, got, wanted)


# ---- random lakes ---------------------------------------------------------


def nasty_lake(mr, rng, seed, folder):
    """The states of a lake of random_lake.py, and its events."""
    lake = os.path.join(folder, "lake")
    os.makedirs(lake)
    paths = make_lake(seed, lake)
    os.chdir(lake)
    states = []
    for i in range(rng.choice((1, 2, 3))):
        some = [x for x in paths if rng.random() < 0.6] or paths[:1]
        states.append(os.path.join(folder, "%d.mrs" % i))
        Run(mr, "map", "-q", "-o", states[-1], *(some if i else ["."]))
    parts, _, _ = oracle.read_lake(["."], oracle.LAKE)
    return states, [(x[1], x[2]) for part in parts for x in part.events], None


def long_events(rng):
    """Visits of some months: users with habits of their own, days on which
    nobody comes, and some on which only strangers do."""
    begin = rng.choice((19_700, 19_780, 14_960)) + rng.randrange(40)
    days = [begin]
    while len(days) < rng.choice((3, 20, 40, 70, 100)):
        long = rng.random() < 0.04
        days.append(days[-1] + (rng.randrange(2, 45) if long else
                                rng.choice((1, 1, 1, 1, 1, 2))))  # fmt: skip
    events = []
    for user in range(rng.choice((1, 5, 60, 300))):
        rarity, since = rng.choice((1, 2, 7, 20, 60)), rng.choice(days)
        for day in days:
            if day >= since and rng.randrange(rarity) == 0:
                for _ in range(rng.choice((1, 1, 2))):
                    at = rng.choice((0, DAY_MS - 1, rng.randrange(DAY_MS)))
                    type_ = "t%d" % rng.randrange(3)
                    events.append((day * DAY_MS + at, str(user), type_))
    for day in days:
        if rng.random() < 0.3:
            events.append((day * DAY_MS + rng.randrange(DAY_MS), None, "t0"))
    rng.shuffle(events)
    return events


def long_lake(mr, rng, folder):
    """The states of a long lake, whose files lie in several of them; its
    events; and the zone of its days."""
    events, zone, spec = long_events(rng), None, []
    os.makedirs(folder)
    if zoneinfo and rng.random() < 0.5:
        name = rng.choice(ZONES)
        try:
            zone = zoneinfo.ZoneInfo(name)
            spec.append("zone: " + name)
        except zoneinfo.ZoneInfoNotFoundError:
            pass
    if rng.random() < 0.3:
        table_file = os.path.join(folder, "users.csv")
        known = rng.sample(range(400), rng.randrange(1, 300))
        with open(table_file, "w", encoding="utf-8") as file:
            file.write("id\n" + "".join("%d\n" % x for x in sorted(known)))
        spec.append("users_table: {file: users.csv, id: id}")
    args = []
    if spec:
        args = ["--spec", os.path.join(folder, "spec.yaml")]
        with open(args[1], "w", encoding="utf-8") as file:
            file.write("\n".join(spec) + "\n")
    files = []
    for i in range(rng.choice((1, 2, 5))):
        files.append(os.path.join(folder, "%d.jsonl" % i))
    for i, path in enumerate(files):
        write_events(path, events[i :: len(files)])
    states = []
    for i in range(rng.choice((1, 2, 3))):
        some = [x for x in files if rng.random() < 0.6] or files[:1]
        states.append(os.path.join(folder, "%d.mrs" % i))
        run = Run(mr, "map", "-q", "-o", states[-1], *args,
                  *(some if i else files))  # fmt: skip
        if run.status != 0:
            sys.exit(str(run))
    return states, [x[:2] for x in events], zone


def check(mr, seed, folder):
    """Sentences about what is unlike on one lake."""
    rng = random.Random(seed)
    if seed % 3 == 0:
        states, events, zone = nasty_lake(mr, rng, seed, folder)
    else:
        states, events, zone = long_lake(mr, rng, folder)
    problems = list(ask(mr, rng, states, folder, Truth(events, zone)))
    os.chdir("/")
    return problems


def check_both(mr, seed, folder):
    """The first lake has the manual's example beside it."""
    yield from check(mr, seed, folder)
    if seed == 1:
        example = os.path.join(folder, "example")
        os.makedirs(example)
        yield from check_example(mr, example)


if __name__ == "__main__":
    run_lakes("extras", __doc__, check_both, 60)
