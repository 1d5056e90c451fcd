#!/usr/bin/env python3
"""Random specs, each with a lake in its form and what must come of it.

make_spec_lake(seed, folder, ...) writes a spec, a users table and partitions,
and returns a SpecLake: where they are, and every event in plain terms, which
are what the files were made from.  truth_of(lake) counts them with Python's
sets and dates; nothing here shares code with mr.
"""

import csv
import datetime
import gzip
import io
import json
import math
import operator
import os
import random
import subprocess
import urllib.parse
import zoneinfo

from mrs_read import xxh64

UTC = datetime.timezone.utc
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata",
    "Australia/Lord_Howe", "Pacific/Apia",
)  # fmt: skip
# The clocks change within a few days of each.
STARTS = ((2021, 3, 27), (2021, 10, 30), (2011, 12, 28), (2024, 2, 28))
PATTERN = "%d/%m/%Y %H:%M:%S"
FORMS = ("epoch_ms", "epoch_s", "iso8601", PATTERN)
TYPES = ("view", "click", "buy, or not", "caf\u00e9", "t=1", "+")
HOSTS = ("example.com", "www.example.org", "a.b.c", None)
STEPS = ("articles", "caf\u00e9", "a b", "x", "100%", "q?")
VALUES = (None, "red", "blue", "x" * 256, "y" * 257, "\u00e9" * 200, "0", "a/b")
SITES = ("A", "B", "caf\u00e9", None)
COUNTRIES = ("IE", "FR", "", "C\u00f4te d'Ivoire")
AGES = (("18", "18-49"), ("49", "18-49"), ("20-30", "18-49"), ("50", "50-80"),
        ("81", None), ("40-60", None), ("?", None), ("", None))  # fmt: skip
FIELDS = (
    "type", "hour", "day", "url.host", "url.path1", "url.path2", "path.site",
    "users.country", "users.age", "k",
)  # fmt: skip
TABLE_FIELDS = ("users.country", "users.age")
COMPARISONS = {
    ">=": operator.ge, ">": operator.gt, "=": operator.eq, "<": operator.lt,
    "<=": operator.le,
}  # fmt: skip


class SpecLake:
    """paths: of the partitions, below folder; extra: bytes of one more."""

    def __init__(self, rng, folder):
        self.rng, self.folder, self.events = rng, folder, []
        self.spec, self.paths, self.table = {}, [], {}


def make_spec(lake, folders):
    rng = lake.rng
    spec = lake.spec
    spec["format"] = rng.choice(("json", "json", "csv", "tsv"))
    spec["csv"] = {}
    if spec["format"] != "json":
        spec["csv"] = {
            "delimiter": rng.choice(",;|") if spec["format"] == "csv" else "\t",
            "quote": rng.choice("\"'"),
            "header": rng.random() < 0.5,
            "nulls": rng.choice(([], ["\\N", "NULL"])),
        }
    spec["time_format"] = rng.choice(FORMS)
    spec["zone"] = rng.choice(ZONES)
    local = spec["time_format"] in ("iso8601", PATTERN)
    spec["time_zone"] = rng.choice(ZONES) if local else "UTC"
    spec["chain"] = rng.random() < 0.5
    spec["table"] = rng.random() < 0.6
    spec["tagged"] = rng.random() < 0.3 and not spec["table"]
    spec["gap"] = rng.choice((1_800_000, 60_000))
    fields = [
        x for x in FIELDS
        if (x not in TABLE_FIELDS or spec["table"])
        and (x != "path.site" or folders)
    ]  # fmt: skip
    spec["rollups"] = [
        {
            "name": "roll%d" % i,
            "by": rng.sample(fields, rng.randint(1, 3)),
            "users": rng.choice(("exact", "estimate", "both")),
            "max_groups": rng.choice((1, 2, 5, 12)),
        }
        for i in range(rng.choice((0, 1, 2, 3)))
    ]
    make_kept_spec(lake)


def make_kept_spec(lake):
    """Duplicates, of days that are cut or not, and segments."""
    rng, spec = lake.rng, lake.spec
    spec["duplicates"], spec["segments"], spec["segments_by"] = None, {}, []
    if rng.random() < 0.6:
        spec["duplicates"] = {
            "max_ids": rng.choice((2, 3, 8, 30, 1000000)),
            "exact": rng.random() < 0.3,
        }
    if rng.random() < 0.5:
        return
    for name in rng.sample(("b", "a", "Z-1", "0"), rng.randint(1, 3)):
        types = rng.sample(TYPES + ("never",), rng.choice((1, 1, 2, 3)))
        spec["segments"][name] = {x: make_condition(rng) for x in types}
    if spec["table"]:
        n = rng.randint(0, len(TABLE_FIELDS))
        spec["segments_by"] = rng.sample(TABLE_FIELDS, n)


def make_condition(rng):
    word = rng.choice(tuple(COMPARISONS))
    # No number is below 0: that is no condition.
    return word, rng.choice((1, 2, 3, 4294967295 if word[0] == "<" else 0))


COLUMNS = ("id", "type", "t", "uid", "alt_id", "u", "k")
PATHS = dict(zip(COLUMNS, COLUMNS), alt_id="alt.id")


def path_of(spec, column):
    """What a spec calls a field."""
    if spec["format"] == "json":
        return PATHS[column]
    if spec["csv"]["header"]:
        return column
    return str(COLUMNS.index(column) + 1)


def spec_text(spec):
    """YAML, of which JSON is a part."""
    name = lambda column: path_of(spec, column)
    users = ["uid", "alt_id"] if spec["chain"] else ["uid"]
    lines = {
        "format": spec["format"],
        "id": name("id"),
        "type": name("type"),
        "time": name("t"),
        "time_format": spec["time_format"],
        "time_zone": spec["time_zone"],
        "zone": spec["zone"],
        "user": [name(x) for x in users],
        "identity": "tagged" if spec["tagged"] else "shared",
        "url": name("u"),
        "session_gap_ms": spec["gap"],
    }
    if spec["format"] == "json":
        lines["attributes"] = ""
    else:
        lines["csv"] = spec["csv"]
    if spec["table"]:
        lines["users_table"] = {
            "file": "users.csv",
            "id": "uid",
            "ranges": {"age": ["18-49", "50-80"]},
        }
    if spec["rollups"]:
        lines["rollups"] = [
            {**x, "by": [{f: name("k") if f == "k" else f} for f in x["by"]]}
            for x in spec["rollups"]
        ]
    if spec["duplicates"]:
        lines["duplicates"] = spec["duplicates"]
    if spec["segments"]:
        lines["segments"] = {
            name: {x: "%s%d" % condition for x, condition in conditions.items()}
            for name, conditions in spec["segments"].items()
        }
        lines["segments_by"] = spec["segments_by"]
    return "".join("%s: %s\n" % (k, json.dumps(v)) for k, v in lines.items())


def make_table(lake, users):
    """The table's rows; of a user who stands twice the first counts."""
    rng, rows = lake.rng, []
    for user in users + ["nobody-%d" % i for i in range(3)]:
        if rng.random() < 0.4:
            continue
        country, (age, range_) = rng.choice(COUNTRIES), rng.choice(AGES)
        rows.append((age, user, country))
        lake.table[user] = {
            "users.country": country or None,
            "users.age": range_,
        }
    rows += [("1", x, "XX") for x in list(lake.table)[:2]]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("age", "uid", "country"))
    writer.writerows(rows)
    with open(os.path.join(lake.folder, "users.csv"), "w", newline="") as file:
        file.write(out.getvalue())


# ---- events ----


def make_time(lake, first):
    """Milliseconds that the spec's form can tell."""
    rng, spec = lake.rng, lake.spec
    time_ms = first + rng.randrange(4 * 86_400_000)
    if spec["time_format"] in ("epoch_s", PATTERN):
        time_ms -= time_ms % 1000
    local = local_time(time_ms, spec["time_zone"])
    # Of a time that clocks show twice, text means the first.
    return time_ms - 3_600_000 if local.fold else time_ms


def local_time(time_ms, zone):
    moment = datetime.datetime(1970, 1, 1, tzinfo=UTC)
    moment += datetime.timedelta(milliseconds=time_ms)
    return moment.astimezone(zoneinfo.ZoneInfo(zone))


def time_text(lake, time_ms):
    rng, spec = lake.rng, lake.spec
    form = spec["time_format"]
    local = local_time(time_ms, spec["time_zone"])
    if form == "epoch_ms":
        return str(time_ms)
    if form == "epoch_s":
        return str(time_ms // 1000) + rng.choice(("", ".0"))
    if form == PATTERN:
        return local.strftime(PATTERN)
    kind, ms = rng.randrange(3), ".%03d" % (time_ms % 1000)
    if kind == 0:
        return local.strftime("%Y-%m-%d %H:%M:%S") + ms
    other = local_time(time_ms, rng.choice(("UTC", "Asia/Kolkata")))
    offset = other.strftime("%z")
    text = other.strftime("%Y-%m-%dT%H:%M:%S") + ms
    return text + ("Z" if offset == "+0000" else offset)


def make_url(rng):
    """A text, its host, its steps."""
    host = rng.choice(HOSTS)
    steps = rng.choices(STEPS, k=rng.randrange(4))
    path = "".join("/" + urllib.parse.quote(x, safe="") for x in steps)
    path += rng.choice(("", "/", "?a=/b", "#c/d"))
    if host is None:
        return (path, None, steps) if path[:1] == "/" else (None, None, [])
    scheme = rng.choice(("", "https://", "http://u:p@", "//"))
    shown = host.upper() if rng.random() < 0.2 else host
    port = rng.choice(("", ":8080")) if scheme else ""
    return scheme + shown + port + path, host, steps


def make_event(lake, users, first):
    rng = lake.rng
    user = rng.choice(users) if rng.random() < 0.8 else None
    alt = rng.choice(users) if rng.random() < 0.6 else None
    url, host, steps = make_url(rng)
    return {
        "id": rng.choice(lake.ids)
        if rng.random() < 0.8
        else "%016x" % rng.getrandbits(64),
        "type": rng.choice(TYPES),
        "time_ms": make_time(lake, first),
        "uid": user,
        "alt_id": alt,
        "url": url,
        "url.host": host,
        "steps": steps,
        "k": rng.choice(VALUES),
    }


# ---- partitions ----


def json_line(lake, e):
    rng = lake.rng
    text = time_text(lake, e["time_ms"])
    if lake.spec["time_format"].startswith("epoch"):
        text = float(text) if "." in text else int(text)
    members = {"id": e["id"], "type": e["type"], "t": text}
    if e["uid"] is not None or rng.random() < 0.5:
        whole = (e["uid"] or "").isdigit() and rng.random() < 0.5
        members["uid"] = int(e["uid"]) if whole else e["uid"]
    if e["alt_id"] is not None:
        members["alt"] = {"x": 1, "id": e["alt_id"]}
    if e["url"] is not None:
        members["u"] = e["url"]
    if e["k"] is not None:
        members["k"] = e["k"]
    return json.dumps(members, ensure_ascii=rng.random() < 0.5)


def csv_line(lake, e):
    rules, rng = lake.spec["csv"], lake.rng
    values = (
        e["id"], e["type"], time_text(lake, e["time_ms"]), e["uid"],
        e["alt_id"], e["url"], e["k"],
    )  # fmt: skip
    fields = []
    for value in values:
        if value is None:
            fields.append(rng.choice([""] + rules["nulls"]))
            continue
        quote = rules["quote"]
        must = any(c in value for c in (rules["delimiter"], quote, "\n"))
        if must or rng.random() < 0.2:
            value = quote + value.replace(quote, 2 * quote) + quote
        fields.append(value)
    return rules["delimiter"].join(fields)


def partition_text(lake, events):
    write = json_line if lake.spec["format"] == "json" else csv_line
    lines = [write(lake, x) for x in events]
    if lake.spec["csv"].get("header"):
        lines.insert(0, lake.spec["csv"]["delimiter"].join(COLUMNS))
    return "".join(x + "\n" for x in lines).encode("utf-8")


def pack(rng, path, text):
    if path.endswith(".gz"):
        return gzip.compress(text, mtime=0)
    if path.endswith(".zst"):
        return subprocess.run(
            ["zstd", "-qc"], input=text, capture_output=True, check=True
        ).stdout
    return text


def make_path(rng, number):
    site = rng.choice(SITES)
    ending = rng.choice(("", ".gz", ".zst"))
    name = "part-%02d.txt%s" % (number, ending)
    if site is None:
        folder = rng.choice(("x", "site=__HIVE_DEFAULT_PARTITION__", "site="))
    else:
        folder = "site=" + urllib.parse.quote(site)
    return folder + "/" + name, site


def make_spec_lake(seed, folder, folders=True):
    """folders: a rollup may take values from them."""
    rng = random.Random(seed)
    lake = SpecLake(rng, folder)
    os.makedirs(folder, exist_ok=True)
    make_spec(lake, folders)
    users = ["%d" % rng.choice((7, 123, 10**12))]
    users += ["u-%d" % i for i in range(rng.choice((2, 8, 30)))]
    if lake.spec["table"]:
        make_table(lake, users)
    lake.spec_path = os.path.join(folder, "spec.yaml")
    with open(lake.spec_path, "w", encoding="utf-8") as file:
        file.write(spec_text(lake.spec))
    start = datetime.datetime(*rng.choice(STARTS), tzinfo=UTC)
    first = int(start.timestamp()) * 1000
    lake.root = os.path.join(folder, "lake")
    lake.ids = ["id %d" % i for i in range(rng.choice((2, 30, 300)))]
    for number in range(rng.choice((2, 4, 7))):
        path, site = make_path(rng, number)
        events = [
            make_event(lake, users, first) for _ in range(rng.randint(1, 60))
        ]
        for event in events:
            event["path.site"], event["path"] = site, path
        lake.events += events
        lake.paths.append(path)
        whole = os.path.join(lake.root, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "wb") as file:
            file.write(pack(rng, path, partition_text(lake, events)))
    lake.paths.sort()
    lake.extra = partition_text(
        lake, [make_event(lake, users, first) for _ in range(500)]
    )
    return lake


# ---- what must come of it ----


def identify(lake):
    """Give each event its user, a source, whether the table has the user, and
    the day."""
    spec = lake.spec
    for e in lake.events:
        columns = ("uid", "alt_id") if spec["chain"] else ("uid",)
        found = [x for x in columns if e[x] is not None]
        e["source"] = found[0] if found else None
        plain = e[found[0]] if found else None
        e["known"] = plain in lake.table
        tag = (found[0], plain) if found else None
        e["user"] = tag if spec["tagged"] else plain
        e["local"] = local_time(e["time_ms"], spec["zone"])
        e["date"] = e["local"].date()
        e["attributes"] = lake.table.get(plain, {})


def value_of(e, field):
    if field == "hour":
        return e["local"].strftime("%Y%m%d%H")
    if field == "day":
        return e["date"].isoformat()
    if field.startswith("url.path"):
        number = int(field[-1])
        return e["steps"][number - 1] if len(e["steps"]) >= number else None
    if field in TABLE_FIELDS:
        return e["attributes"].get(field)
    return e[field]


def cut(value):
    """A value of more than 256 bytes ends with an ellipsis."""
    data = value.encode("utf-8")
    if len(data) <= 256:
        return value
    return data[:253].decode("utf-8", "ignore") + "\u2026"


def group_text(values):
    """A group as docs/derived.md has it, without its first byte."""
    out = bytearray()
    for value in values:
        data = b"" if value is None else value.encode("utf-8")
        n = 0 if value is None else len(data) + 1
        out += bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7])
        out += data
    return bytes(out)


def tally(pairs):
    """Events and users by key."""
    out = {}
    for key, user in pairs:
        one = out.setdefault(key, [0, set()])
        one[0] += 1
        if user is not None:
            one[1].add(user)
    return {key: (n, len(users)) for key, (n, users) in out.items()}


def rollup_truth(lake, rollup):
    """(events, users) by the tuple of values; None for further groups."""
    groups = [
        tuple(
            x if x is None else cut(x)
            for x in (value_of(e, f) for f in rollup["by"])
        )
        for e in lake.events
    ]
    order = sorted(set(groups), key=lambda g: (xxh64(group_text(g)), group_text(g)))
    kept = set(order[: rollup["max_groups"]])
    return tally(
        (g if g in kept else None, e["user"])
        for g, e in zip(groups, lake.events)
    )


def count_sessions(lake):
    times, out = {}, {}
    for e in lake.events:
        if e["user"] is not None:
            times.setdefault(e["user"], []).append((e["time_ms"], e["date"]))
    for one in times.values():
        last = None
        for time_ms, date in sorted(one):
            if last is None or time_ms - last > lake.spec["gap"]:
                out[date] = out.get(date, 0) + 1
            last = time_ms
    return out


def daily_truth(lake):
    """The rows of daily.csv."""
    by_day, sessions = {}, count_sessions(lake)
    for e in lake.events:
        by_day.setdefault(e["date"], []).append(e)
    one = datetime.timedelta(1)
    # A day that the zone has skipped stands between two all the same.
    wanted = set(by_day) | {x + one for x in by_day if x < max(by_day)}
    users = {d: {e["user"] for e in x} - {None} for d, x in by_day.items()}
    seen, rows = set(lake.table) if lake.spec["table"] else set(), []
    for day in sorted(wanted):
        now, before = users.get(day, set()), users.get(day - one, set())
        seen |= now
        row = {
            "day": day.isoformat(),
            "events": len(by_day.get(day, ())),
            "events_without_user": sum(
                e["user"] is None for e in by_day.get(day, ())
            ),
            "users": len(now),
            "active": len(now & before),
            "inactive": len(seen - now - before),
            "churned": len(before - now),
            "reactivated": len(now - before),
            "sessions": sessions.get(day, 0),
        }
        if day == min(wanted):
            for key in ("active", "inactive", "churned", "reactivated"):
                row[key] = None
        rows.append(row)
    return rows


def interval(k, u, events):
    """The least and the largest number of ids, of those that are possible,
    for which the k-th least being u is not too much of a surprise."""

    def fewer(n):
        """The chance that of n ids fewer than k lie up to u."""
        return sum(
            math.comb(n, i) * u**i * (1 - u) ** (n - i) for i in range(k)
        )

    possible = range(k + 1, events + 1)
    low = next((n for n in possible if 1 - fewer(n) >= 0.025), events)
    high = next((n for n in reversed(possible) if fewer(n) >= 0.025), k + 1)
    return low, high


def duplicates_truth(lake):
    """By day (events, ids, duplicates, least, most, ids kept); None where all
    are."""
    rule, by_day, out = lake.spec["duplicates"], {}, {}
    for e in lake.events:
        by_day.setdefault(e["date"].isoformat(), []).append(e["id"])
    for day, ids in by_day.items():
        n, k, distinct = len(ids), rule["max_ids"], len(set(ids))
        if rule["exact"] or distinct <= k:
            out[day] = (n, distinct, *3 * (n - distinct,), None)
            continue
        kept = sorted(xxh64(x.encode("utf-8")) for x in set(ids))[:k]
        u = (kept[-1] + 0.5) / 2**64
        low, high = interval(k, u, n)
        ids = (k - 1) / u
        out[day] = (n, ids, n - ids, n - high, n - low, k)
    return out


def segments_truth(lake):
    """Users by (segment, day, attribute, value); no day: all days, no
    attribute: all of them."""
    counts, out = {}, {}
    for e in lake.events:
        for day in ("", e["date"].isoformat()):
            if e["user"] is not None:
                types = counts.setdefault((e["user"], day), {})
                types[e["type"]] = types.get(e["type"], 0) + 1
    for (user, day), types in counts.items():
        attributes = lake.table.get(user, {})
        groups = [
            (x, attributes.get(x) or "") for x in lake.spec["segments_by"]
        ]
        for name, conditions in lake.spec["segments"].items():
            if all(
                COMPARISONS[word](types.get(x, 0), n)
                for x, (word, n) in conditions.items()
            ):
                for by, value in [("", "")] + groups:
                    key = name, day, by, value
                    out[key] = out.get(key, 0) + 1
    return out


def truth_of(lake):
    identify(lake)
    name = lambda column: path_of(lake.spec, column)
    types = tally((e["type"], None) for e in lake.events)
    unknown = tally(
        (e["type"], e["user"])
        for e in lake.events
        if e["user"] is not None and not e["known"]
    )
    return {
        "days": daily_truth(lake),
        "rollups": [rollup_truth(lake, x) for x in lake.spec["rollups"]],
        "identity": tally(
            (name(e["source"]), e["user"]) for e in lake.events if e["source"]
        ) if lake.spec["chain"] else None,
        "duplicates": duplicates_truth(lake)
        if lake.spec["duplicates"]
        else None,
        "segments": segments_truth(lake) if lake.spec["segments"] else None,
        "unknown": {
            key: (n, types[key][0], users)
            for key, (n, users) in unknown.items()
        } if lake.spec["table"] else None,
    }  # fmt: skip
