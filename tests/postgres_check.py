#!/usr/bin/env python3
"""scripts/load-postgres.py and a real PostgreSQL.

    postgres_check.py [--seed N] [--keep FOLDER]

Starts a server of its own in a temporary folder, on a socket there and with a
password, and loads a log of interactions (tests/seed_data.py) twice: as it is,
parsed by SQL, and as the KPIs that mr makes of it.  What is asked of the log
must have one answer by SQL from the raw events, by SQL from the KPIs, and in
mr's own files.  Then KPIs are loaded again, of other days, PARTIAL, damaged,
two at a time, and into tables of somebody else.

Prints TAP.  Exit status 1 if anything differs, 77 where there is no server.
"""

import argparse
import csv
import glob
import gzip
import io
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import seed_data
from mr_program import Run, program

SOURCE = os.environ.get("MR_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.abspath(__file__))
)
EXTRAS = ("--new", "--rolling", "--retention", "3")
LOADER = os.path.join(SOURCE, "scripts", "load-postgres.py")
SPEC = """
users_table:
  file: %s
  id: 1
  csv: {quote: "'", header: false, skip_spaces: true}
  ranges: {2: [18-49, 50-80]}
rollups:
  - {name: by_country, by: [{country: users.3}]}
duplicates: {}
segments:
  valuable: {VIEW: '>=5', CLICK: '>=10'}
segments_by: [{country: users.3}, {age: users.2}]
"""
# The tables as their owner has them, from lines of text.
RAW = r"""
create table users (user_id int primary key, age text, country text);
insert into users
select distinct on (1) f[1]::int, nullif(f[2], ''), nullif(f[3], '')
from (select n, regexp_match(
          line, '^(\d+), ''?([^'']*)''?, ''([^'']*)''$') f from user_line) x
order by 1, n;
create table user_interaction (
    event_id varchar(36), user_id int, event_type varchar(5),
    event_time timestamp);
insert into user_interaction
select f[1], nullif(f[2], '')::int, f[3], f[4]::timestamp
from (select regexp_match(ltrim(line, U&'\FEFF'),
          '^''([^'']+)'', (\d*), ''([^'']+)'', ''(\d{4}-[-\d]* [:\d]*)''$') f
      from event_line) x
where f is not null;
"""
# What is asked: by SQL of the raw tables, by SQL of the KPIs, and where mr's
# own files have it: the file, a condition on rows, the columns.
QUESTIONS = (
    (
        "types whose user ids are most often wrong",
        """select event_type, wrong, events from (
             select event_type, count(*) events,
                    count(*) filter (where user_id is not null and
                        user_id not in (select user_id from users)) wrong
             from user_interaction group by 1) x
           where wrong > 0 order by 1.0 * wrong / events desc, 1""",
        """select type, unknown_events, events from unknown_users
           order by share desc, type""",
        ("unknown_users", {}, ("type", "unknown_events", "events")),
    ),
    (
        "days with the most duplicates",
        """select date(event_time), count(*) - count(distinct event_id)
           from user_interaction group by 1 order by 2 desc, 1""",
        "select day, duplicates from duplicates order by 2 desc, 1",
        ("duplicates", {}, ("day", "duplicates")),
    ),
    (
        "countries of most visitors",
        """select country, count(distinct i.user_id)
           from user_interaction i left join users using (user_id)
           group by 1 order by country nulls first""",
        "select country, users from by_country order by country nulls first",
        ("by_country", {}, ("country", "users")),
    ),
    (
        "age groups of the most valuable users",
        """with valuable as (
             select user_id from user_interaction where user_id is not null
             group by 1 having count(*) filter (where event_type = 'VIEW') >= 5
                    and count(*) filter (where event_type = 'CLICK') >= 10),
           ends as (select user_id, split_part(age, '-', 1)::int low,
                           reverse(split_part(reverse(age), '-', 1))::int high
                    from users)
           select case when low >= 18 and high <= 49 then '18-49'
                       when low >= 50 and high <= 80 then '50-80' end, count(*)
           from valuable left join ends using (user_id)
           group by 1 order by 1 nulls first""",
        """select value, users from segments
           where segment = 'valuable' and day is null and attribute = 'age'
           order by value nulls first""",
        ("segments", {"day": "", "attribute": "age"}, ("value", "users")),
    ),
)


def find_programs():
    """The folder of the server's programs, which Debian keeps apart."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    initdb = found[-1] if found else shutil.which("initdb")
    if not initdb or not shutil.which("psql"):
        print("1..0 # SKIP no PostgreSQL (on Debian: apt-get install "
              "postgresql)")  # fmt: skip
        sys.exit(77)
    return os.path.dirname(initdb)


class Server:
    """A server of our own; what psql needs to find it is in the
    environment."""

    def __init__(self, programs, folder):
        self.folder, self.run_as = folder, {}
        os.makedirs(folder)
        if os.getuid() == 0:  # it refuses to run as root
            who = next((x for x in pwd.getpwall() if x.pw_name == "postgres"),
                       pwd.getpwnam("nobody"))  # fmt: skip
            os.chown(folder, who.pw_uid, who.pw_gid)
            self.run_as = {
                "user": who.pw_uid, "group": who.pw_gid, "extra_groups": [],
            }  # fmt: skip
        # Passwords are for libpq's own file, which the loader never reads.
        secret = os.path.join(folder, "secret")
        with open(secret, "w", encoding="utf-8") as file:
            file.write("open: sesame\n")
        os.chmod(secret, 0o644)
        subprocess.run(
            [os.path.join(programs, "initdb"), "--auth=scram-sha-256",
             "--username=loader", "--pwfile=" + secret, "--encoding=UTF8",
             "--no-sync", "--locale=C.UTF-8", "-D", self.path("data")],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **self.run_as,
        )  # fmt: skip
        with open(self.path("log"), "wb") as log:
            self.process = subprocess.Popen(
                [os.path.join(programs, "postgres"), "-D", self.path("data"),
                 "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                **self.run_as,
            )  # fmt: skip
        passwords = os.path.join(folder, "passwords")
        with open(passwords, "w", encoding="utf-8") as file:
            file.write("*:*:*:loader:open\\: sesame\n")
        os.chmod(passwords, 0o600)
        for name in list(os.environ):
            if name.startswith("PG"):
                del os.environ[name]
        os.environ.update(
            PGHOST=folder, PGUSER="loader", PGDATABASE="postgres",
            PGPASSFILE=passwords,
        )  # fmt: skip

    def path(self, name):
        return os.path.join(self.folder, name)

    def wait(self):
        for _ in range(300):
            if self.process.poll() is not None:
                break
            if subprocess.run(["pg_isready", "-q"]).returncode == 0:
                return
            time.sleep(0.1)
        with open(self.path("log"), encoding="utf-8", errors="replace") as log:
            sys.exit("the server does not start:\n" + log.read())

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def psql(sql, data=None):
    """Rows of text; what is null is empty."""
    done = subprocess.run(
        ["psql", "-X", "-q", "--csv", "-t", "-v", "ON_ERROR_STOP=1",
         "-c", sql],
        input=data, capture_output=True,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit("psql: %s\n%s" % (done.stderr.decode(), sql))
    return [tuple(x) for x in csv.reader(io.StringIO(done.stdout.decode()))]


def load(folder, **env):
    return subprocess.run(
        [sys.executable, LOADER, folder],
        capture_output=True, text=True, env={**os.environ, **env},
    )  # fmt: skip


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines_of(folder):
    """All lines of a folder's files, unpacked."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.endswith(".zst"):
            data = subprocess.run(
                ["zstd", "-d", "-q", "-c", path], check=True,
                stdout=subprocess.PIPE,
            ).stdout  # fmt: skip
        else:
            opener = gzip.open if name.endswith(".gz") else open
            with opener(path, "rb") as file:
                data = file.read()
        yield from data.splitlines()


class Check:
    def __init__(self, mr, work, seed):
        self.mr, self.work = mr, work
        self.n = self.bad = 0
        self.log = seed_data.interactions(os.path.join(work, "log"), seed)
        self.spec = os.path.join(work, "spec.yaml")
        with open(self.spec, "wb") as file:
            file.write(Run(mr, "spec", "show", "interactions").out)
            file.write((SPEC % self.log.path("users.csv")).encode())

    def kpis(self, name, *inputs, options=EXTRAS, status=0):
        """The folder of KPIs of some inputs."""
        folder = os.path.join(self.work, name)
        state = folder + ".mrs"
        for args in (
            ("map", "-q", "--spec", self.spec, "-o", state, *inputs),
            ("reduce", "-q", *options, "-o", folder, state),
        ):  # fmt: skip
            run = Run(self.mr, *args)
            if run.status != status:
                sys.exit("%s; expected %d" % (run, status))
        return folder

    def ok(self, what, problem):
        """One test: no problem, nothing unlike."""
        self.n += 1
        self.bad += bool(problem)
        print("%sok %d %s" % ("not " if problem else "", self.n, what))
        if problem:
            print("# " + str(problem)[:2000].replace("\n", "\n# "))

    def equal(self, what, got, wanted):
        unlike = got != wanted and "%s\nexpected %s" % (got, wanted)
        self.ok(what, unlike or not wanted and "nothing was expected")

    def load(self, what, folder, status=0, **env):
        done = load(folder, **env)
        self.ok(what, done.returncode != status and done.stderr)
        return done.stderr


def everything():
    """All tables of the KPIs as text."""
    names = psql("select relname from pg_class where relkind = 'r' and "
                 "obj_description(oid, 'pg_class') like '%load-postgres%' "
                 "order by 1")  # fmt: skip
    return {x: sorted(psql('table "%s"' % x)) for x, in names}


def ask_questions(check, folder):
    psql("create table event_line (line text);"
         "create table user_line (n serial, line text)")  # fmt: skip
    copy = "copy %s from stdin csv quote E'\\1' delimiter E'\\2'"
    psql(copy % "event_line", b"\n".join(lines_of(check.log.inputs)))
    with open(check.log.path("users.csv"), "rb") as file:
        psql(copy % "user_line (line)", file.read())
    psql(RAW)
    check.equal("raw events", psql("select count(*) from user_interaction"),
                [(str(len(check.log.events)),)])  # fmt: skip
    for name, raw, kpis, (file, where, columns) in QUESTIONS:
        rows = [
            tuple(row[x] for x in columns)
            for row in read_csv(os.path.join(folder, file + ".csv"))
            if where.items() <= row.items()
        ]
        wanted = psql(raw)
        check.equal(name + ", by SQL and by mr", rows, wanted)
        check.equal(name + ", from the KPIs", psql(kpis), wanted)
    with open(os.path.join(SOURCE, "docs", "postgres.md"), "rb") as file:
        page = file.read().decode()
    check.equal("queries of the page", page.count(";\n"), len(QUESTIONS))
    queries = page.partition("```sql\n")[2].partition("```")[0].split(";")
    for query, (name, raw, _, (_, _, columns)) in zip(queries, QUESTIONS):
        # The page wants the first, by number, of those that have a name.
        wanted = [x for x in psql(raw) if x[0]]
        if "limit 1" in query:
            wanted = [max(wanted, key=lambda x: int(x[1]))]
        check.equal(
            name + ", as the page asks",
            [x[: len(columns)] for x in psql(query)], wanted,
        )  # fmt: skip


def compare_tables(check, folder):
    """Every field of every file."""
    for path in sorted(glob.glob(os.path.join(folder, "*.csv"))):
        table = os.path.basename(path)[:-4]
        rows = read_csv(path)
        columns = [x for x in (rows or [{}])[0] if x != "rank"]
        wanted = sorted(tuple(x[c] for c in columns) for x in rows)
        names = ", ".join('"%s"' % c for c in columns)
        got = sorted(psql("select %s from %s" % (names, table)))
        check.equal("table " + table, got, wanted)


def load_again(check, folder):
    before = everything()
    check.load("loaded again", folder)
    check.equal("which changes nothing", everything(), before)
    command = [sys.executable, LOADER, folder]
    both = [subprocess.Popen(command) for _ in "12"]
    check.equal("two at a time", [x.wait() for x in both], [0, 0])
    check.equal("which changes nothing, either", everything(), before)


def load_days(check, folder):
    """A choice of days takes the place of those days only."""
    before = everything()
    day = "2019-05-08"
    one = check.kpis(
        "one", check.log.inputs, options=(*EXTRAS, "--day", day)
    )
    psql("update daily set users = 1; update segments set users = 1;"
         "delete from duplicates where day = '%s'" % day)  # fmt: skip
    check.load("one day", one)
    check.equal(
        "its row alone is new",
        psql("select day from daily where users <> 1"), [(day,)],
    )  # fmt: skip
    check.equal(
        "its segments are new",
        psql("select count(*) from segments where day = '%s' and users = 1"
             % day),
        [(str(sum(row[1] == day and row[4] == "1"
                  for row in before["segments"])),)],
    )  # fmt: skip
    check.load("all days", folder)
    check.equal("are as before", everything(), before)


def load_partial(check, folder):
    whole, cut = check.log.inputs, os.path.join(check.work, "cut")
    before = everything()
    shutil.copytree(whole, cut)
    with open(os.path.join(cut, "1.csv.gz"), "r+b") as file:
        file.truncate(1000)
    partial = check.kpis("partial", cut, status=3)
    said = check.load("partial figures", partial)
    check.ok("which the loader says", "PARTIAL" not in said and said)
    for table in ("daily", "by_country", "segments", "rejects"):
        check.equal(
            "partial: " + table,
            psql("select distinct status from " + table), [("partial",)],
        )  # fmt: skip
    check.load("whole again", folder)
    check.equal("are as before the failure", everything(), before)


def load_badly(check, folder):
    """Whatever cannot be loaded leaves all as it was."""
    before = everything()
    damaged = os.path.join(check.work, "damaged")
    shutil.copytree(folder, damaged)
    path = os.path.join(damaged, "unknown_users.csv")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(",complete", "x,complete", 1))
    psql("update daily set users = 1")
    spoiled = everything()
    check.load("a damaged file", damaged, status=1)
    check.equal("leaves all as it was", everything(), spoiled)
    os.remove(path)
    check.load("a file that is gone", damaged, status=1)
    check.equal("leaves all as it was, too", everything(), spoiled)
    # As the files are read in this order, killed before the last of them.
    last = os.path.join(damaged, "by_country.csv")
    shutil.copy(os.path.join(folder, "unknown_users.csv"), path)
    os.remove(last)
    os.mkfifo(last)
    loader = subprocess.Popen(
        [sys.executable, LOADER, damaged], stderr=subprocess.DEVNULL
    )
    time.sleep(2)
    loader.kill()
    check.equal("a load that is killed", loader.wait(), -9)
    check.equal("leaves all as it was, also", everything(), spoiled)
    check.load("no KPIs", check.work, status=1)
    check.load("a wrong password", folder, status=1, PGPASSFILE="/dev/null")
    check.load("no server", folder, status=1, PGHOST=check.work)
    check.load("the sound files", folder)
    check.equal("mend it", everything(), before)


def load_beside(check, folder):
    """Schemas, tables of others, and hostile names."""
    psql("create schema taken; create table taken.daily (day date);"
         "insert into taken.daily values ('2019-05-08');"
         "create schema other")  # fmt: skip
    option = {"PGOPTIONS": "-c search_path=taken"}
    check.load("a table of somebody else", folder, status=1, **option)
    check.equal("is left alone", psql("select count(*) from taken.daily"),
                [("1",)])  # fmt: skip
    spec = os.path.join(check.work, "names.yaml")
    with open(spec, "w", encoding="utf-8") as file:
        file.write(NAMES)
    events = os.path.join(check.work, "names.jsonl")
    with open(events, "w", encoding="utf-8") as file:
        file.write("\n".join(VALUES))
    check.spec = spec
    check.load("hostile names", check.kpis("names", events),
               PGOPTIONS="-c search_path=other")  # fmt: skip
    check.equal(
        "and values",
        psql('select "$mr$ "":x \'; drop table daily", status, n, mr_status '
             'from other."Odd-1" order by 1 nulls first, 2'),
        [("", "200", "1", "complete"), ("(none)", "", "1", "complete"),
         ("a\n\\.\nb\tc\\N", "404", "2", "complete")],
    )  # fmt: skip
    check.equal(
        "empty is not nothing",
        psql("select count(*) from other.\"Odd-1\" where status = ''"),
        [("1",)],
    )  # fmt: skip


NAMES = """
id: ''
type: t
attributes: ''
time: at
user: u
rollups:
  - name: Odd-1
    by: [{"$mr$ \\":x '; drop table daily": x}, {status: s}]
    events_as: 'n'
"""
VALUES = (
    r'{"t":"a,b","at":1557309600000,"u":1,"x":"a\n\\.\nb\tc\\N","s":"404"}',
    r'{"t":"a\"b","at":1557309600000,"u":2,"x":"a\n\\.\nb\tc\\N","s":"404"}',
    r'{"t":"a\nb","at":1557309600000,"u":2,"x":null,"s":"200"}',
    r'{"t":"a\u0000b","at":1557309600000,"u":2,"x":"(none)","s":""}',
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="FOLDER", help="where all lies")
    args = parser.parse_args()
    mr, programs = program(), find_programs()
    # The path of a socket is short, and others may go through it.
    base = args.keep or tempfile.mkdtemp(prefix="mr-pg-", dir="/tmp")
    os.makedirs(base, exist_ok=True)
    os.chmod(base, 0o755)
    work = os.path.join(os.path.realpath(base), "work")
    server = Server(programs, os.path.join(os.path.realpath(base), "server"))
    try:
        server.wait()
        check = Check(mr, work, args.seed)
        plain = check.kpis("plain", check.log.inputs, options=())
        check.load("loaded", plain)
        ask_questions(check, plain)
        compare_tables(check, plain)
        folder = check.kpis("kpis", check.log.inputs)
        check.load("with more columns", folder)
        compare_tables(check, folder)
        load_again(check, folder)
        load_days(check, folder)
        load_partial(check, folder)
        load_badly(check, folder)
        load_beside(check, folder)
    finally:
        server.stop()
    print("1..%d" % check.n)
    if check.bad:
        print("# all of it lies in " + base)
    elif not args.keep:
        shutil.rmtree(base)
    sys.exit(1 if check.bad else 0)


if __name__ == "__main__":
    main()
