"""Event logs of five well-known shapes, with what real files have of faults.

Each function fills a folder with the files of one log and returns a Log: the
events in it, as their maker means them, and the lines that are none.  Nothing
is read back, and no figure is worked out here: that is for whoever asks.  The
same seed gives the same log.  Needs the program zstd.
"""

import collections
import gzip
import json
import os
import random
import subprocess
import time

DAY_S = 86_400
# Seconds between two events of a user; those of 30 minutes and one second
# more end a session.
GAPS_S = (0, 1, 7, 60, 600, 1799, 1800, 1801, 3600, 5 * 3600)

# user is the text of the id or None, source the field that it is from; host
# and path1 to path3 are None where a URL has none.
Event = collections.namedtuple(
    "Event",
    "id type seconds user source host path1 path2 path3 line",
    defaults=(None,) * 6,
)


class Log:
    """The files of a log and what its maker knows of them."""

    def __init__(self, folder):
        self.folder = folder
        self.events = []
        self.rejected = []  # pairs of reason and text
        self.blank = 0
        self.users = []  # rows (id, age, country) of the users table
        os.makedirs(folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def inputs(self):
        return os.path.join(self.folder, "events")


def pack(path, data):
    """Write a file, packed as the end of its name says."""
    if path.endswith(".zst"):
        done = subprocess.run(
            ["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True
        )
        data = done.stdout
    elif path.endswith(".gz"):
        # Two members, as where files were appended to each other.
        half = len(data) // 2
        data = gzip.compress(data[:half]) + gzip.compress(data[half:])
    with open(path, "wb") as file:
        file.write(data)


def write(rng, log, lines, extension, header=b""):
    """Spread lines over files.  A line is an Event, or a pair of the reason
    why it is none and its text; None is a blank line."""
    folder = log.inputs
    os.makedirs(folder)
    names = ["%d%s%s" % (i, extension, packed) for i, packed in
             enumerate(("", ".gz", ".zst", "", ".gz", ".zst"))]  # fmt: skip
    share = -(-len(lines) // len(names))
    for i, name in enumerate(names):
        end = b"\r\n" if i in (1, 3) else b"\n"
        data = b"\xef\xbb\xbf" if i in (2, 3) else b""
        if header:
            data += header + end
        for line in lines[i * share : (i + 1) * share]:
            if line is None:
                log.blank += 1
                text = ""
            elif isinstance(line, Event):
                log.events.append(line)
                text = line.line
            else:
                log.rejected.append(line)
                text = line[1]
            data += text.encode() + end
        if i % 2 and data.endswith(end):  # the last line's end is missing
            data = data[: -len(end)]
        pack(os.path.join(folder, name), data)


def visits(rng, users, first_day, days, tries=3):
    """Pairs of a user and a moment in seconds: bursts on some days, some of
    them across midnight."""
    for user in users:
        for day in range(days):
            if day == days - 2 and rng.random() < 0.9:
                continue  # a day that nearly nobody comes
            if rng.random() < 0.5:
                continue
            at = (first_day + day) * DAY_S + rng.choice(
                (rng.randrange(DAY_S), DAY_S - 600, DAY_S - 1, 0)
            )
            for _ in range(rng.randint(1, tries)):
                yield user, at
                at += rng.choice(GAPS_S)


def utc(seconds, pattern):
    return time.strftime(pattern, time.gmtime(seconds))


def spoil(rng, lines, faults, share):
    """Put faulty lines and blank ones among the others."""
    out = []
    for line in lines:
        out.append(line)
        if rng.random() < share:
            out.append(rng.choice(faults)(rng))
    return out


def uuid(rng):
    text = "%032x" % rng.getrandbits(128)
    return "-".join(
        (text[:8], text[8:12], text[12:16], text[16:20], text[20:])
    ).upper()


# --- page views as CSV in quotes, without a header ------------------------

PAGES = (
    "https://www.shop.example/menu", "https://www.shop.example/a,b",
    'https://www.shop.example/?q="x"', "", "/cookbook\nline two",
)  # fmt: skip


def quoted(*values):
    return ",".join('"%s"' % x.replace('"', '""') for x in values)


def pageviews(folder, seed):
    """event_id, timestamp, user_fingerprint, domain_userid, network_userid,
    page: all in quotes, the fingerprint often empty."""
    rng, log = random.Random(seed), Log(folder)
    people = [
        (str(rng.randrange(10**10)), "d%x" % rng.getrandbits(64), uuid(rng))
        for _ in range(300)
    ]
    # An id that is one person's fingerprint and another's cookie: one user.
    people[1] = (people[1][0], people[0][0], people[1][2])
    lines = []
    for person, at in visits(rng, people, 16_341, 8):
        # At times a cookie is all there is, at times not even that.
        known = rng.choices((0, 1, 2, 3), (4, 4, 1, 1))[0]
        ids = [x if i >= known else "" for i, x in enumerate(person)]
        which = next((i for i, x in enumerate(ids) if x), None)
        one = uuid(rng)
        lines.append(Event(
            one, "page_view", at,
            None if which is None else ids[which],
            None if which is None else str(3 + which),
            line=quoted(one, utc(at, "%Y-%m-%d %H:%M:%S"), *ids,
                        rng.choice(PAGES)),
        ))  # fmt: skip
    rng.shuffle(lines)
    lines += rng.sample(lines, 20)  # logged twice
    ids = ("1", "d", "n", "/p")
    faults = (
        lambda r: None,
        lambda r: ("malformed:2", quoted(uuid(r), "2014-09-31 10:00:00", *ids)),
        lambda r: ("malformed:2", quoted(uuid(r), "yesterday", *ids)),
        lambda r: ("missing:2", quoted(uuid(r))),
        lambda r: ("malformed:1", quoted("", "2014-09-30 10:00:00", *ids)),
        lambda r: ("csv", '"%s"!,"2014-09-30 10:00:00"' % uuid(r)),
    )
    lines = spoil(rng, lines, faults, 0.02)
    lines.append(("csv", '"%s","2014-09-3' % uuid(rng)))  # a cut last row
    write(rng, log, lines, ".csv")
    return log


# --- enriched events, 131 columns of TSV ----------------------------------


def enriched(folder, seed):
    """Columns by their numbers: event_id 7, user_id 13, user_fingerprint 15,
    domain_userid 16, network_userid 18, page_url 30, derived_tstamp 125,
    event_name 127."""
    rng, log = random.Random(seed), Log(folder)
    people = [
        ("login%d" % i, "%d" % rng.randrange(10**10), uuid(rng), uuid(rng))
        for i in range(150)
    ]
    columns, names = (13, 15, 16, 18), ("page_view", "page_ping", "link_click")

    def row(values, width=131):
        return "\t".join(values.get(i, "") for i in range(1, width + 1))

    lines = []
    for person, at in visits(rng, people, 19_782, 6):
        known = rng.randrange(5)
        ids = dict(zip(columns[known:], person[known:]))
        source = min(ids, default=None)
        one, name = uuid(rng), rng.choice(names)
        milli = rng.randrange(1000)
        values = {
            1: "website", 2: "web", 6: "unstruct", 7: one,
            4: utc(at + 5, "%Y-%m-%d %H:%M:%S.000"), 22: 'a "quoted" title',
            30: "https://www.shop.example/menu?utm_source=x", **ids,
            124: uuid(rng), 125: utc(at, "%Y-%m-%d %H:%M:%S.") + "%03d" % milli,
            126: "com.vendor", 127: name, 128: "jsonschema", 131: "",
        }  # fmt: skip
        lines.append(Event(
            one, name, at + milli / 1000, ids.get(source),
            source and str(source), line=row(values),
        ))  # fmt: skip
    rng.shuffle(lines)
    when = "2024-03-01 10:00:00.000"
    faults = (
        lambda r: None,
        lambda r: ("missing:127", row({7: "e", 125: when}, 126)),
        lambda r: ("malformed:125", row({7: "e", 125: "", 127: "page_view"})),
        lambda r: ("malformed:127", row({7: "e", 125: when})),
        lambda r: ("malformed:7", row({125: when, 127: "page_view"})),
    )
    write(rng, log, spoil(rng, lines, faults, 0.02), ".tsv")
    return log


# --- events of a lake -----------------------------------------------------


def lake(folder, seed):
    """data.id, data.type, data.attributes and meta.created_at, of some
    hundred types."""
    rng, log = random.Random(seed), Log(folder)
    types = ["user_created", "product_viewed", "caf\u00e9,paid"]
    types += ["event_%d" % i for i in range(97)]
    people = [uuid(rng) for _ in range(200)] + list(range(50))

    def text(data, meta):
        pairs = [("data", data), ("meta", meta)]
        rng.shuffle(pairs)
        return json.dumps(dict(pairs), ensure_ascii=rng.random() < 0.5)

    lines = []
    for person, at in visits(rng, people, 17_935, 4):
        one = uuid(rng)
        type_ = types[min(int(rng.expovariate(0.1)), 99)]
        attributes = {"name": "John", "favourite_ice_cream": "vanilla"}
        user = None
        if rng.random() < 0.95:
            attributes["user_id"] = person
            user = str(person)
        milli = rng.randrange(1000)
        lines.append(Event(
            one, type_, at + milli / 1000, user,
            line=text(
                {"id": one, "type": type_, "attributes": attributes},
                {"created_at": at * 1000 + milli, "service": "service_a"},
            ),
        ))  # fmt: skip
    rng.shuffle(lines)
    data = {"id": "1", "type": "t", "attributes": {}}
    meta = {"created_at": 1549650668000}

    def without(key, **other):
        kept = {k: v for k, v in data.items() if k != key}
        return text({**kept, **other}, meta)

    faults = (
        lambda r: None,
        lambda r: ("missing:data.id", without("id")),
        lambda r: ("missing:data.type", without("type")),
        lambda r: ("missing:data.attributes", without("attributes")),
        lambda r: ("malformed:data.attributes", without("", attributes=[])),
        lambda r: ("malformed:data.id", without("", id="")),
        lambda r: ("malformed:data.type", without("", type=5)),
        lambda r: ("missing:meta.created_at", text(data, {})),
        lambda r: ("malformed:meta.created_at",
                   text(data, {"created_at": "2019-02-08"})),
        lambda r: ("malformed:meta.created_at", text(data, {"created_at": -1})),
        lambda r: ("json", text(data, meta)[:-1]),
        lambda r: ("json", "%s,%s" % (text(data, meta), "{}")),
    )  # fmt: skip
    write(rng, log, spoil(rng, lines, faults, 0.03), ".jsonl")
    return log


# --- clicks with URLs -----------------------------------------------------


def url_of(rng):
    """A URL, and the parts that it was made of."""
    steps = rng.choice((
        (), ("articles",), ("articles", "7"), ("connect", "sfobusiness"),
        ("connect", "sfelectrics", "service", "190625"),
        ("caf\u00e9", "a b"), ("get_quotes_simple",),
    ))  # fmt: skip
    host = rng.choice(("hipages.com", "www.hipages.com.au", "m.hipages.com"))
    path = "".join(
        "/" + x.replace(" ", "%20").replace("\u00e9", "%C3%A9") for x in steps
    )
    written = host.upper() if rng.random() < 0.1 else host
    text = rng.choice(("https://", "http://", "", "//")) + written
    text += rng.choice(("", "", "", ":443"))
    text += path + rng.choice(("", "", "/")) if path else rng.choice(("", "/"))
    text += rng.choice(("", "", "?search_str=a/b,c", "#top", "?x=1#y/z"))
    if rng.random() < 0.05:
        host, text = None, path or "/"  # a path alone
    return text, (host, *(steps + (None,) * 3)[:3])


def clickstream(folder, seed):
    """event_id, user.id, action, url and timestamp, day before month."""
    rng, log = random.Random(seed), Log(folder)
    people = [560_000 + i for i in range(150)]
    actions = ("page_view", "button_click", "form_submit")

    def text(**members):
        pairs = list(members.items())
        rng.shuffle(pairs)
        return json.dumps(dict(pairs), ensure_ascii=rng.random() < 0.5)

    lines = []
    for person, at in visits(rng, people, 17_195, 5, tries=6):
        one, action = str(rng.randrange(10**15)), rng.choice(actions)
        url, parts = url_of(rng)
        user = {"session_id": uuid(rng), "ip": "111.222.333.4"}
        if rng.random() < 0.95:  # a number, at times as text
            user["id"] = rng.choice((person, person, str(person)))
        if rng.random() < 0.02:
            url, parts = None, (None,) * 4
        lines.append(Event(
            one, action, at, str(person) if "id" in user else None, None,
            *parts, line=text(event_id=one, user=user, action=action, url=url,
                              timestamp=utc(at, "%d/%m/%Y %H:%M:%S")),
        ))  # fmt: skip
    rng.shuffle(lines)
    fair = {
        "event_id": "1", "user": {"id": 1}, "action": "page_view",
        "url": "hipages.com", "timestamp": "02/02/2017 20:22:00",
    }  # fmt: skip

    def faulty(**other):
        members = {**fair, **other}
        return text(**{k: v for k, v in members.items() if v != "-"})

    faults = (
        lambda r: None,
        lambda r: ("malformed:timestamp",
                   faulty(timestamp="02/28/2017 20:22:00")),
        lambda r: ("malformed:timestamp", faulty(timestamp="2017-02-02")),
        lambda r: ("missing:timestamp", faulty(timestamp="-")),
        lambda r: ("missing:event_id", faulty(event_id="-")),
        lambda r: ("malformed:action", faulty(action="")),
        lambda r: ("json", faulty()[:20]),
        lambda r: ("json", "'" + faulty() + "'"),
    )  # fmt: skip
    write(rng, log, spoil(rng, lines, faults, 0.03), ".jsonl")
    return log


# --- interactions and their users -----------------------------------------

AGES = ("'18-45'", "'50-65'", "'46-80'", "33", "49", "50", "'80'", "17", "")
COUNTRIES = ("'DE'", "'DE'", "'UK'", "'HU'", "''")


def unquoted(text):
    return text.strip("'")


def interactions(folder, seed):
    """event id, user id, type, time: text in single quotes, numbers without,
    a blank after each comma; and users.csv: id, age, country.  One day is
    logged twice, and some types have wrong user ids."""
    rng, log = random.Random(seed), Log(folder)
    known = rng.sample(range(1, 400), 120)
    rows = [(str(x), rng.choice(AGES), rng.choice(COUNTRIES)) for x in known]
    log.users = [(x, unquoted(a), unquoted(c)) for x, a, c in rows]
    # A row that comes again, and says another thing: the first counts.
    again = [(x, "99", "'XX'") for x, _, _ in rows[:3]]
    with open(log.path("users.csv"), "w", encoding="utf-8") as file:
        file.write("\n".join(", ".join(x) for x in rows + again))
    wrong = {"CLICK": 0.01, "VIEW": 0.02, "EXIT": 0.3, "PLAY": 0.6}
    strangers = [x for x in range(1, 400) if x not in set(known)]
    double_day = 18_022 + 3

    def line_of(one, user, type_, at):
        return "'%s', %s, '%s', '%s'" % (
            one, user, type_, utc(at, "%Y-%m-%d %H:%M:%S")
        )  # fmt: skip

    lines = []
    for person, at in visits(rng, known, 18_022, 6, tries=30):
        one = uuid(rng)
        type_ = rng.choice(("CLICK", "CLICK", "CLICK", "VIEW", "EXIT", "PLAY"))
        user = rng.choice(strangers) if rng.random() < wrong[type_] else person
        user = "" if rng.random() < 0.01 else str(user)
        event = Event(
            one, type_, at, user or None, line=line_of(one, user, type_, at)
        )
        lines.append(event)
        # Logged again, at times; as a rule, on one day.
        often = 0.6 if at // DAY_S == double_day else 0.01
        while rng.random() < often:
            lines.append(event)
        if rng.random() < 0.01:  # the same id on another day
            late = at + DAY_S
            lines.append(event._replace(
                seconds=late, line=line_of(one, user, type_, late)
            ))  # fmt: skip
    rng.shuffle(lines)
    faults = (
        lambda r: None,
        lambda r: ("missing:4", "'%s', 3, 'CLICK'" % uuid(r)),
        lambda r: ("malformed:4", "'%s', 3, 'CLICK', 'soon'" % uuid(r)),
        lambda r: ("malformed:3", line_of(uuid(r), 3, "", 1557065120)),
        lambda r: ("malformed:1", line_of("", 3, "VIEW", 1557065120)),
        lambda r: ("csv", line_of("x' y", 3, "VIEW", 1557065120)),
    )
    write(rng, log, spoil(rng, lines, faults, 0.02), ".csv")
    return log
