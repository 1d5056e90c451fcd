#!/usr/bin/env python3
"""Small lakes that are as nasty as lakes get.

Usage: random_lake.py SEED FOLDER [--sound]

make_lake(seed, folder, damage=True) fills a new folder and returns the paths
in it, relative to it, of the files that mr would read.  The same seed gives
the same lake.  What is in a lake is for the oracle to say; here nothing is
counted.
"""

import argparse
import datetime
import gzip
import io
import json
import os
import random
import struct
import subprocess
import tarfile
import urllib.parse
import zipfile
import zlib

DAY_MS = 86_400_000
HALF_HOUR_MS = 1_800_000
TIME_END_MS = 7_258_118_400_000
# First days: a leap day, a turn of the year, the first and the last there are.
FIRST_DAYS = (19_780, 19_781, 19_722, 10_955, 0, TIME_END_MS // DAY_MS - 6)
TYPES = (
    "user_created", "order/paid", "page viewed", "caf\u00e9", "a%2Fb", 'quo"te',
    "comma,type", "new\nline", "\u043a\u043b\u044e\u0447", "x" * 1024, "type=a",
    "\U0001f600", "a", "aa", "a\u00ff", "back\\slash", "{", "tab\t",
)  # fmt: skip
# Users that a sloppy program might take for one another, or for nobody.
USERS = (
    "123", "0123", " 123", "123 ", "-0", "0", "123.0", "1e2", "null", "NULL",
    "true", "u\u0000", "u", "U", "\u00fc", "u\u0308", "\U0001f600", "\ud7ff",
    "\uffff", "'", '"', "\\", "/", "a" * 31, "a" * 32, "a" * 33, "b" * 300,
    "99999999999999999999999999", "-5", "[]", "{}", " ", "\t", "\n",
)  # fmt: skip
GAPS_MS = (
    0, 1, 999, 1000, 60_000, 600_000, HALF_HOUR_MS - 1, HALF_HOUR_MS,
    HALF_HOUR_MS + 1, 2 * HALF_HOUR_MS, 2 * HALF_HOUR_MS + 1, 5 * HALF_HOUR_MS,
)  # fmt: skip
JUNK = (
    "null", "true", "0", "-1.5e-3", '""', "[]", "{}", '[1,[2,{"a":[]}]]',
    '"\\ud83d\\ude00\\\\\\""', '{"id":1,"type":"t","user_id":"no"}',
    '"caf\u00e9 \u6771\u4eac"', '"a\\u0000b"', '"},{"', "1E+400", '"\x7f"',
    '{"data":{"id":"x"}}', "[" * 100 + "]" * 100, '"' + "y" * 700 + '"',
    "123456789012345678901234567890",
)  # fmt: skip


# Bytes that hurt most where they do not belong.
SHARP = b'"\\{}[]:,0123456789.eE+-utn \x00\x1f\x80\xc0\xed\xff'


class Writer:
    """JSON text of a value, never twice in the same manner."""

    def __init__(self, rng):
        self.rng = rng
        self.wild = rng.random() < 0.4  # white space and escapes
        self.space = ("",) if not self.wild else ("", "", " ", "\t", "  ", "\r")

    def gap(self):
        return self.rng.choice(self.space)

    def string(self, text):
        out = json.dumps(text, ensure_ascii=self.rng.random() < 0.3)
        if self.wild and self.rng.random() < 0.3:
            out = "".join(
                "\\u%04x" % ord(c)
                if c.isalnum() and ord(c) < 0x10000 and self.rng.random() < 0.3
                else c
                for c in text
                if c not in '"\\' and ord(c) >= 0x20
            )
            # Only where nothing had to be left out is it the same text.
            plain = all(c not in '"\\' and ord(c) >= 0x20 for c in text)
            out = '"' + out + '"' if plain else json.dumps(text)
        return out

    def pairs(self, pairs):
        """An object of keys and texts of values, in this order."""
        inner = (self.gap() + ",").join(
            self.gap() + self.string(k) + self.gap() + ":" + self.gap() + v
            for k, v in pairs
        )
        return "{" + inner + self.gap() + "}"

    def shuffled(self, pairs):
        """The same with the members in any order, and more of them."""
        pairs = list(pairs)
        names = {k for k, _ in pairs}
        for _ in range(self.rng.choice((0, 0, 1, 2, 4))):
            key = self.rng.choice(
                ("x", "", "Id", "users", "user", "id ", "meta", "service",
                 "type", "data", "attributes", "created_at", "user_id",
                 "\u00e9")
            )  # fmt: skip
            if key not in names:
                pairs.append((key, self.rng.choice(JUNK)))
        self.rng.shuffle(pairs)
        # A key that stands twice: the last counts.
        if pairs and self.rng.random() < 0.08:
            key = self.rng.choice(pairs)[0]
            at = [k for k, _ in pairs].index(key)
            pairs.insert(self.rng.randint(0, at), (key, self.rng.choice(JUNK)))
        return self.pairs(pairs)

    def time(self, time_ms):
        """A number, or a string of one, that is cut off to this time."""
        text, rng = str(time_ms), self.rng
        kind = rng.randrange(10)
        if kind == 0:
            text += rng.choice((".0", ".999", ".5000000000000000000001", "e0"))
        elif kind == 1:
            text = "%s.%se%d" % (text[0], text[1:] or "0", len(text) - 1)
        elif kind == 2 and time_ms:
            zeros = rng.choice((1, 3, 30))
            text += "0" * zeros + rng.choice(("e-", "E-0")) + str(zeros)
        elif kind == 3 and time_ms:
            text = "0." + "0" * 5 + text + "E+" + str(len(text) + 5)
        return self.string(text) if rng.random() < 0.2 else text

    def user(self, user):
        if user is None:
            return self.rng.choice((None, "null", '""'))
        digits = user[1:] if user.startswith("-") else user
        whole = digits.isascii() and digits.isdigit()
        if whole and (digits == "0" or digits[0] != "0"):
            if self.rng.random() < 0.5:
                return user
        return self.string(user)

    def event(self, type_, time_ms, user):
        rng = self.rng
        attributes = []
        user = self.user(user)
        if user is not None:
            attributes.append(("user_id", user))
        if rng.random() < 0.5:
            attributes.append(("pad", '"' + "p" * rng.randrange(200) + '"'))
        data = [
            ("id", self.string("%032x" % rng.getrandbits(128))),
            ("type", self.string(type_)),
            ("attributes", self.shuffled(attributes)),
        ]
        meta = [("created_at", self.time(time_ms))]
        top = [("data", self.shuffled(data)), ("meta", self.shuffled(meta))]
        return self.gap() + self.shuffled(top) + self.gap()


def bad_line(rng, time_ms):
    """A line, most likely no event; as bytes."""
    good = '"id":"i","type":"t","attributes":{"user_id":"u"}'
    meta = '"meta":{"created_at":%d}' % time_ms
    kind = rng.randrange(12)
    if kind == 0:
        return ("{%s}" % meta).encode()
    if kind == 1:
        field = rng.choice(("id", "type", "attributes"))
        members = {"id": '"i"', "type": '"t"', "attributes": "{}"}
        members[field] = rng.choice(("null", "0", '""', "[]", "{}", "true"))
        if rng.random() < 0.3:
            del members[field]
        data = ",".join('"%s":%s' % x for x in members.items())
        return ('{"data":{%s},%s}' % (data, meta)).encode()
    if kind == 2:
        bad = ("-1", "-0", "-0.1", str(TIME_END_MS), "1e13", "1e99999", '""',
               '"1e12 "', '" 1"', '"0x10"', "null", "[]", "{}", '"1.e3"',
               "%d.9" % (TIME_END_MS - 1), "0e99999999999999999999", '"01"',
               "7258118400000e-0", '"+1"', "1e-99999999999999999999", "true",
               "0.0000000001e22", '"-0.0"', '"-1e-400"')  # fmt: skip
        return (
            '{"data":{%s},"meta":{"created_at":%s}}' % (good, rng.choice(bad))
        ).encode()
    if kind == 3:
        bad = ("1.0", "1e3", "true", "[]", "{}", "-0.0", "1E0", "-0", "00")
        user = '{"user_id":%s}' % rng.choice(bad)
        return (
            '{"data":{"id":"i","type":"t","attributes":%s},%s}' % (user, meta)
        ).encode()
    if kind == 4:
        n = rng.choice((1021, 1022, 1023, 2000))  # 1022 is one too many
        deep = '"d":' + "[" * n + "]" * rng.choice((n, n, n - 1))
        inner = '"id":"i","type":"t","attributes":{%s}' % deep
        return ('{"data":{%s},%s}' % (inner, meta)).encode()
    if kind == 5:
        return rng.choice((b"[" * 1024 + b"]" * 1024, b"[" * 1025, b"{" * 9,
                           b"\xff" + b"[" * 2000, b"[" * 2000 + b"\xff",
                           b'["\\ud800",' + b"[" * 2000))  # fmt: skip
    if kind == 6:
        return rng.choice((b"", b" ", b"\t", b" \r", b"\x0b", b"\xa0", b"\0",
                           b"\0\0\0\0", b"\xef\xbb\xbf", b"null", b"[]", b"{}",
                           b"0", b'""', b'"x"', b"nul", b"-"))  # fmt: skip
    if kind == 7:
        typed = '"id":"i","type":"%s","attributes":{}' % (
            rng.choice(("x" * 1024, "x" * 1025, "\u00e9" * 512, "\u00e9" * 513,
                        "\\u00e9" * 512, "\\u00e9" * 513, "x" * 5000))
        )  # fmt: skip
        return ('{"data":{%s},%s}' % (typed, meta)).encode()
    if kind == 8:  # the last data counts, and nothing of the first
        return (
            '{"data":{%s},%s,"data":{"id":"j","type":"t"%s}}'
            % (good, meta, rng.choice(("", ',"attributes":{}')))
        ).encode()
    line = Writer(rng).event("t", time_ms, "u").encode()
    if kind == 9:
        return line[: rng.randrange(1, len(line))]
    return mutate(rng, line)


def mutate(rng, line):
    """A line with a few bytes changed, put in or taken out."""
    line = bytearray(line)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(line))
        byte = rng.choice(SHARP)
        kind = rng.randrange(3)
        if kind == 0:
            line[at] = byte
        elif kind == 1:
            line.insert(at, byte)
        elif len(line) > 1:
            del line[at]
    return bytes(line)


def make_users(rng):
    n = rng.choice((1, 2, 5, 12, 30))
    users = rng.sample(USERS, min(n, rng.randrange(len(USERS))))
    while len(users) < n:
        users.append("%08x-%04x" % (rng.getrandbits(32), rng.getrandbits(16)))
    return users


def make_events(rng):
    """(type, time, user) of a lake, in no order."""
    first = rng.choice(FIRST_DAYS)
    days = sorted(rng.sample(range(6), rng.choice((1, 2, 3, 4, 6))))
    types = rng.sample(TYPES, rng.choice((1, 1, 2, 4, 8)))
    users = make_users(rng)
    events = []
    wanted = rng.choice((10, 30, 100, 300))
    while len(events) < wanted:
        user = rng.choice(users) if rng.random() < 0.93 else None
        time_ms = (first + rng.choice(days)) * DAY_MS
        if rng.random() < 0.4:
            time_ms += DAY_MS - rng.choice((1, 2, 1000, HALF_HOUR_MS))
        elif rng.random() < 0.9:
            time_ms += rng.randrange(DAY_MS)
        for _ in range(rng.choice((1, 1, 2, 5, 10))):
            if time_ms < TIME_END_MS:
                events.append((rng.choice(types), time_ms, user))
            time_ms += rng.choice(GAPS_MS)
    rng.shuffle(events)
    return events


def day_text(time_ms, form):
    date = datetime.date(1970, 1, 1) + datetime.timedelta(time_ms // DAY_MS)
    return date.strftime("%Y-%m-%d") if form else date.strftime("%Y%m%d")


def make_path(rng, number, type_, time_ms):
    """Where a file stands; most folders tell the truth about one event."""
    day = day_text(time_ms, rng.random() < 0.7)
    key = rng.choice(("date", "day", "dt"))
    name = "part-%04d.json%s" % (number, rng.choice(("", ".gz", ".zst", ".x")))
    typed = urllib.parse.quote(type_, safe=rng.choice(("", "=")))
    typed = "%s=%s" % (rng.choice(("type", "event_type")), typed[:200])
    folders = rng.choice((
        [typed, key + "=" + day, "hour=%02d" % rng.randrange(24)],
        [key + "=" + day, typed],
        [key + "=" + day],
        ["lake", "raw", key + "=" + day],
        [key + "=unknown", typed],
        [key + "=" + day, key + "=" + day_text(time_ms + DAY_MS, True)],
        ["a", "b"],
        [],
    ))  # fmt: skip
    return "/".join(folders + [name])


def gzip_member(rng, text):
    out = io.BytesIO()
    name = rng.choice(("", "events.json"))
    with gzip.GzipFile(name, "wb", rng.choice((1, 6, 9)), out, 0) as file:
        file.write(text)
    return out.getvalue()


def zstd_frame(rng, text):
    """By the zstd program, or raw blocks by hand."""
    if rng.random() < 0.3:
        check = rng.choice(("--check", "--no-check"))
        return subprocess.run(
            ["zstd", "-qc", check], input=text, capture_output=True, check=True
        ).stdout
    # Single segment, four bytes of content size, no checksum.
    out = [struct.pack("<IBI", 0xFD2FB528, 0xA0, len(text))]
    size = rng.choice((1000, 128 << 10))
    at = 0
    while True:
        block = text[at : at + size]
        at += size
        last = at >= len(text)
        out.append(struct.pack("<I", last | len(block) << 3)[:3] + block)
        if last:
            return b"".join(out)


def cut(rng, text):
    """A text in one to four parts, cut anywhere."""
    n = rng.choice((0, 0, 1, 3))
    places = [rng.randrange(len(text) + 1) for _ in range(n)]
    edges = [0] + sorted(places) + [len(text)]
    return [text[a:b] for a, b in zip(edges, edges[1:])]


def pack(rng, text):
    kind = rng.randrange(5)
    if kind < 2:
        stored = b"".join(gzip_member(rng, x) for x in cut(rng, text))
        return stored + b"\0" * rng.choice((0, 0, 0, 7))
    if kind < 4:
        frames = [zstd_frame(rng, x) for x in cut(rng, text)]
        if rng.random() < 0.3:
            skippable = struct.pack("<II", 0x184D2A50 + rng.randrange(16), 5)
            frames.insert(rng.randint(0, len(frames)), skippable + b"skip!")
        return b"".join(frames)
    return text


def file_text(rng, lines):
    end = b"\r\n" if rng.random() < 0.15 else b"\n"
    text = b"".join(x + end for x in lines)
    if lines and rng.random() < 0.2:
        text = text[: -len(end)]
    return b"\xef\xbb\xbf" + text if lines and rng.random() < 0.1 else text


def break_file(rng, stored):
    """A packed file that can no longer be read to its end (mostly)."""
    if stored[:2] == b"\x1f\x8b" and len(stored) > 40:
        kind = rng.randrange(4)
        if kind == 0:
            return stored[:-8] + bytes(x ^ 0xFF for x in stored[-8:])
        if kind == 1:
            return stored + b"what is this?"
        return stored[: rng.randrange(12, len(stored) - 1)]
    if stored[:4] == b"\x28\xb5\x2f\xfd" and len(stored) > 40:
        return stored[: rng.randrange(12, len(stored) - 1)]
    return stored


def make_archive(rng, files):
    """A tar or zip of named stored bytes."""
    out = io.BytesIO()
    if rng.random() < 0.5:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, stored in files:
                entry = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
                entry.compress_type = rng.choice((0, zipfile.ZIP_DEFLATED))
                archive.writestr(entry, stored)
        return out.getvalue()
    form = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, stored in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(stored)
            tar.addfile(entry, io.BytesIO(stored))
    if rng.random() < 0.3:
        return gzip_member(rng, out.getvalue())
    return out.getvalue()


def make_files(rng, damage):
    """Paths and stored bytes."""
    events = make_events(rng)
    n_files = rng.choice((1, 2, 4, 8, 12))
    lines = [[] for _ in range(n_files)]
    bad = rng.choice((0, 0.02, 0.2))
    for event in events:
        where = rng.choice(lines)
        while rng.random() < bad:
            where.append(bad_line(rng, event[1]))
        line = Writer(rng).event(*event)
        try:
            where.append(line.encode())
        except UnicodeEncodeError:  # a lone surrogate cannot be written raw
            where.append(json.dumps(line).encode())
        if rng.random() < 0.02:
            rng.choice(lines).append(where[-1])
    files = {}
    for number, batch in enumerate(lines):
        type_, time_ms, _ = rng.choice(events)
        stored = pack(rng, file_text(rng, batch))
        path = make_path(rng, number, type_, time_ms)
        if damage and rng.random() < 0.3:
            stored = break_file(rng, stored)
        files[path] = stored
    return files


def add_oddities(rng, files):
    """Copies, hidden files, archives."""
    paths = sorted(files)
    if rng.random() < 0.3:
        copy = "type=copy/date=1999-01-01/" + os.path.basename(paths[0])
        files[copy] = files[rng.choice(paths)]
    if rng.random() < 0.3:
        for path in ("_tmp/a.json", ".b.json", "lake/_SUCCESS"):
            files[path] = files[rng.choice(paths)]
    if rng.random() < 0.1:
        files["empty.json"] = b""
    if rng.random() < 0.15 and len(paths) > 1:
        inside = [(x, files.pop(x)) for x in paths[: len(paths) // 2]]
        inside.append((".hidden", b"{}\n"))
        files["pack.bin"] = make_archive(rng, inside)


def is_hidden(path):
    return any(x.startswith(("_", ".")) for x in path.split("/"))


def make_lake(seed, folder, damage=True):
    rng = random.Random(seed)
    files = make_files(rng, damage and rng.random() < 0.4)
    add_oddities(rng, files)
    for path, stored in files.items():
        whole = os.path.join(folder, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "wb") as file:
            file.write(stored)
    return sorted(x for x in files if not is_hidden(x))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("folder")
    parser.add_argument("--sound", action="store_true", help="nothing damaged")
    args = parser.parse_args()
    os.makedirs(args.folder)
    for path in make_lake(args.seed, args.folder, not args.sound):
        print(path)


if __name__ == "__main__":
    main()
