#!/usr/bin/env python3
"""The questions that are asked of five event logs, answered by mr and by SQL.

    seeds_check.py [--seed N] [--rounds N] [--keep FOLDER]

tests/seed_data.py makes logs in those shapes.  mr maps each in two shards and
reduces them, with a built-in spec and a few lines of YAML at most; sqlite3
answers the same questions from the events as they were made.  Every figure
must be equal, every rejected line be told, and 'mr init' know each shape.  Also asked is the sample of
../shared/data/wikiticker, whose answers are known, where it is there.

Prints TAP.  Exit status 1 if anything differs.
"""

import argparse
import collections
import csv
import io
import json
import os
import shutil
import sqlite3
import sys
import tempfile

import seed_data
from mr_program import Run, errors_off, program

WIKITICKER = "../shared/data/wikiticker"
EDITS = """
id: ''
type: channel
attributes: ''
time: time
time_format: iso8601
user: user
rollups:
  - {name: countries, by: [countryName]}
"""
INTERACTIONS = """
users_table:
  file: {users}
  id: 1
  csv: {{quote: "'", header: false, skip_spaces: true}}
  ranges: {{2: [18-49, 50-80]}}
rollups:
  - {{name: by_country, by: [{{country: users.3}}], users: both}}
duplicates: {{}}
segments:
  valuable: {{VIEW: '>=5', CLICK: '>=10'}}
segments_by: [{{country: users.3}}, {{age: users.2}}]
"""
# What the ages of the users table are in the ranges that are asked for.
RANGES = {
    "18-45": "18-49", "33": "18-49", "49": "18-49", "50-65": "50-80",
    "50": "50-80", "80": "50-80", "46-80": None, "17": None, "": None,
}  # fmt: skip
# Who is valuable, on each day and over all (no day), as whom.
SEGMENTS = """
with counted as (
    select user, day, sum(type = 'VIEW') views, sum(type = 'CLICK') clicks
    from event where user is not null group by user, day
    union all
    select user, null, sum(type = 'VIEW'), sum(type = 'CLICK')
    from event where user is not null group by user),
member as (select counted.day, nullif(country, '') country, span
           from counted left join known on known.id = user
           left join ranges on ranges.age = known.age
           where views >= 5 and clicks >= 10),
told as (select day, 0 by, '' attribute, null value from member union all
         select day, 1, 'country', country from member union all
         select day, 2, 'age', span from member)
select 'valuable', day, attribute, value, count(*) from told
group by day, by, value order by by, day, value
"""
# Days with events, and those that follow one; the users of each, those of the
# day before, and when each was first seen.
DAILY = """
with span as (select min(day) lo, max(day) hi from event),
at as (select day from event union
       select date(day, '+1 day') from event, span where day < hi),
seen as (select distinct day, user from event where user is not null),
began as (select user, min(day) day from (
            select user, day from seen union all
            select id, (select lo from span) from known) group by user),
pair as (select at.day,
                (select count(*) from seen where seen.day = at.day) users,
                (select count(*) from seen, seen b where seen.day = at.day
                 and b.user = seen.user and b.day = date(at.day, '-1 day'))
                active,
                (select count(*) from seen
                 where seen.day = date(at.day, '-1 day')) before,
                (select count(*) from began where began.day <= at.day) known
         from at)
select day,
       (select count(*) from event where event.day = pair.day) events,
       (select count(*) from event
        where event.day = pair.day and user is null) events_without_user,
       users,
       case when day > lo then active end active,
       case when day > lo then known - users - before + active end inactive,
       case when day > lo then before - active end churned,
       case when day > lo then users - active end reactivated,
       (select count(*) from session where session.day = pair.day) sessions
from pair, span order by day
"""
SESSIONS = """
create table session as select * from (
    select day, ms - lag(ms) over (partition by user order by ms) gap
    from event where user is not null)
where gap is null or gap > 1800000
"""


class Questions:
    """A log in sqlite3, its figures by mr, and what was unlike."""

    def __init__(self, mr, work, log, spec):
        self.mr, self.work, self.log, self.spec = mr, work, log, spec
        self.problems = []
        self.db = sqlite3.connect(":memory:")
        self.db.execute(
            "create table event (id, type, ms integer, day, hour, user, source,"
            " host, path1, path2, path3)"
        )
        self.db.executemany(
            "insert into event select ?1, ?2, ?3, date(?3 / 1000, 'unixepoch'),"
            " strftime('%Y%m%d%H', ?3 / 1000, 'unixepoch'),"
            " ?4, ?5, ?6, ?7, ?8, ?9",
            [(x.id, x.type, round(x.seconds * 1000), *x[3:9])
             for x in log.events],
        )  # fmt: skip
        self.db.execute("create table known (id primary key, age, country)")
        self.db.executemany("insert into known values (?, ?, ?)", log.users)
        self.db.execute("create table ranges (age, span)")
        self.db.executemany("insert into ranges values (?, ?)", RANGES.items())
        self.db.execute(SESSIONS)
        self.reduce()

    def run(self, *args):
        run = Run(self.mr, *args)
        if run.status != 0:
            self.problems.append(str(run))
        return run

    def reduce(self):
        """As two laptops would."""
        states = []
        for k in ("1", "2"):
            states.append(os.path.join(self.work, k + ".mrs"))
            self.run(
                "map", "-q", "--spec", self.spec, "--shard", k + "/2",
                "--rejects", os.path.join(self.work, "rejects" + k),
                "-o", states[-1], self.log.inputs,
            )  # fmt: skip
        self.run("reduce", "-q", "-o", os.path.join(self.work, "kpis"), *states)

    def read(self, name):
        """A CSV file that reduce wrote."""
        path = os.path.join(self.work, "kpis", name)
        try:
            with open(path, newline="", encoding="utf-8") as file:
                return list(csv.reader(file))
        except OSError as error:
            self.problems.append(str(error))
            return [[]]

    def header(self, name):
        return self.read(name)[0]

    def rows(self, name, *columns):
        """Its rows, as tuples of text."""
        header, *rows = self.read(name)
        try:
            at = [header.index(x) for x in columns]
            return [tuple(row[i] for i in at) for row in rows]
        except (ValueError, IndexError) as error:
            self.problems.append("%s: %s" % (name, error))
            return []

    def equal(self, what, got, wanted):
        """Both lists of tuples; an empty field stands for what is not."""
        wanted = [
            tuple("" if x is None else str(x) for x in row) for row in wanted
        ]
        if not wanted:
            self.problems.append("%s: nothing was expected" % what)
        for row in sorted(set(got) ^ set(wanted))[:4]:
            self.problems.append("%s: %s %s" % (
                what, "unexpected" if row in got else "missing", row
            ))  # fmt: skip
        if got != wanted and set(got) == set(wanted):
            self.problems.append("%s: not in order, or not as many" % what)

    def ask(self, name, sql, *columns):
        """A file of reduce against an answer in SQL with as many columns."""
        self.equal(name, self.rows(name, *columns), self.db.execute(sql))

    def common(self):
        """What is asked of any log: days, types, and what was refused."""
        self.ask(
            "daily.csv", DAILY, "day", "events", "events_without_user",
            "users", "active", "inactive", "churned", "reactivated", "sessions",
        )  # fmt: skip
        self.ask(
            "daily_by_type.csv",
            "select day, type, count(*), count(distinct user) from event"
            " group by day, type order by day, cast(type as blob)",
            "day", "type", "events", "users",
        )  # fmt: skip
        counts = collections.Counter(x for x, _ in self.log.rejected)
        self.equal(
            "rejects.csv",
            self.rows("rejects.csv", "reason", "lines"),
            sorted(counts.items()),
        )
        self.equal_rejects("rejects1", "rejects2")
        blank = sum(int(x) for x, in self.rows("partitions.csv", "blank"))
        self.equal("blank", [(str(blank),)], [(self.log.blank,)])

    def equal_rejects(self, *names):
        told = []
        for name in names:
            path = os.path.join(self.work, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    told += [json.loads(x) for x in file]
        self.equal(
            "rejected lines",
            sorted((x["reason"], x["text"]) for x in told),
            sorted(self.log.rejected),
        )

    def identity(self):
        self.ask(
            "identity.csv",
            "select source, count(*), count(distinct user) from event"
            " where source is not null group by source order by source",
            "source", "events", "users",
        )  # fmt: skip

    def propose(self, name):
        """A file says itself which built-in spec it needs."""
        first = sorted(os.listdir(self.log.inputs))[0]
        run = self.run("init", "-q", os.path.join(self.log.inputs, first))
        if "built-in spec '%s'" % name not in run.out.decode():
            self.problems.append("init does not propose '%s'" % name)

    def extend(self, name, more):
        """A spec of one's own: a built-in one and a few lines."""
        self.spec = os.path.join(self.work, "spec.yaml")
        with open(self.spec, "wb") as file:
            file.write(self.run("spec", "show", name).out)
            file.write(more.encode())
        self.reduce()


def ask_pageviews(mr, work, seed):
    log = seed_data.pageviews(os.path.join(work, "log"), seed)
    q = Questions(mr, work, log, "snowplow-pageviews")
    q.propose("snowplow-pageviews")
    q.common()
    q.identity()
    return q.problems


def ask_enriched(mr, work, seed):
    log = seed_data.enriched(os.path.join(work, "log"), seed)
    q = Questions(mr, work, log, "snowplow-enriched")
    q.propose("snowplow-enriched")
    q.common()
    q.identity()
    return q.problems


def ask_lake(mr, work, seed):
    log = seed_data.lake(os.path.join(work, "log"), seed)
    q = Questions(mr, work, log, "lake")
    q.propose("lake")
    q.common()
    q.extend("lake", "rollups:\n  - {name: hourly, by: [type, hour]}\n")
    q.common()
    q.ask(
        "hourly.csv",
        "select type, hour, count(*), count(distinct user) from event"
        " group by type, hour order by cast(type as blob), hour",
        "type", "hour", "events", "users",
    )  # fmt: skip
    return q.problems


def ask_clickstream(mr, work, seed):
    log = seed_data.clickstream(os.path.join(work, "log"), seed)
    q = Questions(mr, work, log, "clickstream")
    q.propose("clickstream")
    q.common()
    columns = (
        "time_bucket", "url_level1", "url_level2", "activity",
        "activity_count", "user_count",
    )  # fmt: skip
    q.ask(
        "activity_hourly.csv",
        "select hour, host, path1, type, count(*), count(distinct user)"
        " from event group by hour, host, path1, type"
        " order by hour, host, cast(path1 as blob), type",
        *columns,
    )
    q.equal("header", [tuple(q.header("activity_hourly.csv"))], [columns])
    rejects = os.path.join(work, "rejects")
    run = q.run(
        "rows", "-q", "--spec", "clickstream", "--rejects", rejects, log.inputs
    )
    columns = (
        "user_id", "time_stamp", "url_level1", "url_level2", "url_level3",
        "activity",
    )  # fmt: skip
    q.equal(
        "rows",
        [tuple(x) for x in csv.reader(io.StringIO(run.out.decode()))],
        [columns] + [
            (x.user, seed_data.utc(x.seconds, "%d/%m/%Y %H:%M:%S"), x.host,
             x.path1, x.path2, x.type) for x in log.events
        ],
    )  # fmt: skip
    q.equal_rejects("rejects")
    return q.problems


def ask_interactions(mr, work, seed):
    log = seed_data.interactions(os.path.join(work, "log"), seed)
    q = Questions(mr, work, log, "interactions")
    q.propose("interactions")
    # Without the table nobody is known but by events.
    q.db.execute("delete from known")
    q.common()
    q.db.executemany("insert into known values (?, ?, ?)", log.users)
    q.extend("interactions", INTERACTIONS.format(users=log.path("users.csv")))
    q.common()
    q.ask(
        "unknown_users.csv",
        "select row_number() over (order by 1.0 * unknown / events desc, type),"
        " * from (select type, count(*) filter (where user not in"
        " (select id from known)) unknown, count(*) events,"
        " count(distinct case when user not in (select id from known)"
        " then user end) from event group by type) where unknown > 0"
        " order by 1",
        "rank", "type", "unknown_events", "events", "unknown_users",
    )  # fmt: skip
    q.ask(
        "by_country.csv",
        "select nullif(country, '') c, count(*), count(distinct user)"
        " from event left join known on known.id = user group by c order by c",
        "country", "events", "users",
    )  # fmt: skip
    q.ask(
        "duplicates.csv",
        "select row_number() over (order by events - ids desc, day),"
        " day, events, ids, events - ids, events - ids, events - ids, 'exact'"
        " from (select day, count(*) events, count(distinct id) ids from event"
        " group by day) order by 1",
        "rank", "day", "events", "ids", "duplicates", "duplicates_low",
        "duplicates_high", "kind",
    )  # fmt: skip
    q.ask(
        "segments.csv", SEGMENTS,
        "segment", "day", "attribute", "value", "users",
    )  # fmt: skip
    for exact, estimate in q.rows("by_country.csv", "users", "users_estimate"):
        if errors_off(int(exact), int(estimate)) > 3:
            q.problems.append("by_country.csv: %s is no estimate of %s" % (
                estimate, exact
            ))  # fmt: skip
    return q.problems


def ask_wikiticker(mr, work, seed):
    """A day of edits of Wikipedia, whose answers its README gives."""
    folder = os.path.join(
        os.environ.get("MR_SOURCE", os.path.dirname(__file__) + "/.."),
        WIKITICKER,
    )
    if not os.path.isdir(folder):
        return None
    log = seed_data.Log(os.path.join(work, "log"))
    os.symlink(os.path.realpath(folder), log.inputs)
    spec = os.path.join(work, "spec.yaml")
    with open(spec, "w", encoding="utf-8") as file:
        file.write(EDITS)
    q = Questions(mr, work, log, spec)
    q.equal(
        "daily.csv",
        q.rows("daily.csv", "day", "events", "events_without_user", "users"),
        [("2015-09-12", 39244, 0, 10531)],
    )
    channels = dict(q.rows("daily_by_type.csv", "type", "events"))
    q.equal("channels", [(str(len(channels)),)], [(51,)])
    names = ("en", "vi", "de", "fr", "ru")
    q.equal(
        "events by channel",
        [(x, channels.get("#%s.wikipedia" % x)) for x in names],
        zip(names, (11549, 9747, 2523, 2099, 1386)),
    )
    countries = dict(q.rows("countries.csv", "countryName", "events"))
    names = ("", "United States", "Italy")
    q.equal(
        "events by country",
        [(x, countries.get(x)) for x in names],
        zip(names, (35445, 528, 256)),
    )
    return q.problems


SEEDS = (
    ("page views", ask_pageviews),
    ("enriched events", ask_enriched),
    ("a lake", ask_lake),
    ("clicks", ask_clickstream),
    ("interactions", ask_interactions),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", metavar="FOLDER", help="where logs lie")
    args = parser.parse_args()
    mr, n, bad = program(), 0, 0
    base = os.path.realpath(args.keep or tempfile.mkdtemp(prefix="mr-seeds-"))
    asked = [(ask, "%s, seed %d" % (name, seed), seed)
             for seed in range(args.seed, args.seed + args.rounds)
             for name, ask in SEEDS]  # fmt: skip
    asked.append((ask_wikiticker, "known answers of wikiticker", 0))
    for ask, name, seed in asked:
        n += 1
        work = os.path.join(base, str(n))
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        problems = ask(mr, work, seed)
        if problems is None:
            print("ok %d %s # SKIP no %s" % (n, name, WIKITICKER))
        elif problems:
            bad += 1
            print("not ok %d %s" % (n, name))
            for problem in problems[:20]:
                print("# " + problem.replace("\n", "\\n"))
        else:
            print("ok %d %s" % (n, name))
        if not problems and not args.keep:
            shutil.rmtree(work)
    print("1..%d" % n)
    if not bad and not args.keep:
        os.rmdir(base)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
