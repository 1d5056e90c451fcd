#!/usr/bin/env python3
"""The figures of a lake from plain sets and lists.

Usage: oracle.py [--spec-json FILE] [--no-digests] PATH... > truth.json

Slow, small, and independent of the program: it knows the contract only.
Packed files are unpacked with zlib and the `zstd` program, digests are taken
with the `xxhsum` program where there is one (else they are null).  The spec
file may set "fields" (id, type, attributes, time, user: dotted paths),
"session_gap_ms", "max_line_bytes" and "max_depth".
"""

import argparse
import datetime
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import zipfile
import zlib

DAY_MS = 86_400_000
TIME_END_MS = 7_258_118_400_000
TYPE_MAX_BYTES = 1024
FIELDS = ("id", "type", "attributes", "time", "user")
LAKE = {
    "fields": {
        "id": "data.id",
        "type": "data.type",
        "attributes": "data.attributes",
        "time": "meta.created_at",
        "user": "data.attributes.user_id",
    },
    "session_gap_ms": 1_800_000,
    "max_line_bytes": 16 << 20,
    "max_depth": 1024,
}


# ---- JSON -----------------------------------------------------------------


class Refused(Exception):
    """A line that is no event; the argument is its reason."""


class Number:
    """A number as it is written."""

    def __init__(self, text):
        self.text = text


NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
SPACE = re.compile(r"[ \t\r\n]*")
# What a string may hold; a lone surrogate is looked for afterwards.
STRING = re.compile(
    r'"((?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*)"'
)
ESCAPE = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u([0-9a-fA-F]{4})|\\(.)"
)
SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def unescape(text):
    def one(match):
        high, low, unit, short = match.groups()
        if high:
            high, low = int(high, 16), int(low, 16)
            return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)
        if unit:
            if 0xD800 <= int(unit, 16) <= 0xDFFF:
                raise Refused("json")
            return chr(int(unit, 16))
        return SHORT.get(short, short)

    return ESCAPE.sub(one, text) if "\\" in text else text


class Parser:
    """RFC 8259 from left to right, without recursion."""

    def __init__(self, text, max_depth):
        self.text, self.at, self.max_depth = text, 0, max_depth

    def skip(self):
        self.at = SPACE.match(self.text, self.at).end()
        return self.text[self.at : self.at + 1]

    def expect(self, char):
        if self.skip() != char:
            raise Refused("json")
        self.at += 1

    def take(self, pattern):
        match = pattern.match(self.text, self.at)
        if not match:
            raise Refused("json")
        self.at = match.end()
        return match

    def key(self):
        self.skip()
        key = unescape(self.take(STRING).group(1))
        self.expect(":")
        return key

    def scalar(self, char):
        if char == '"':
            return unescape(self.take(STRING).group(1))
        for word, value in (("true", True), ("false", False), ("null", None)):
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return value
        return Number(self.take(NUMBER).group())

    def value(self):
        """One value and nothing after it."""
        stack = []  # containers that are open, with the key being filled
        while True:
            char = self.skip()
            if char and char in "[{":
                if len(stack) == self.max_depth:
                    raise Refused("too-deep")
                self.at += 1
                new = [] if char == "[" else {}
                if self.skip() == ("]" if char == "[" else "}"):
                    self.at += 1
                    done = new
                else:
                    stack.append((new, self.key() if char == "{" else None))
                    continue
            else:
                done = self.scalar(char)
            while stack:  # put what is done where it belongs
                owner, key = stack.pop()
                if key is None:
                    owner.append(done)
                else:
                    owner[key] = done
                char = self.skip()
                self.at += 1
                if char == ",":
                    key = None if key is None else self.key()
                    stack.append((owner, key))
                    break
                if char != ("]" if key is None else "}"):
                    raise Refused("json")
                done = owner
            else:
                if self.skip():
                    raise Refused("json")
                return done


def parse_plainly(line, max_depth):
    """The value of a line, judged character by character."""
    try:
        text, bad_end = line.decode("utf-8"), False
    except UnicodeDecodeError as error:
        text, bad_end = line[: error.start].decode("utf-8"), True
    try:
        value = Parser(text, max_depth).value()
    except Refused as refused:
        # An error at the end of what could be decoded is the bad byte's.
        raise Refused("too-deep" if refused.args[0] == "too-deep" else "json")
    if bad_end:
        raise Refused("json")
    return value


def refuse_constant(_):
    raise ValueError


FAST = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=refuse_constant
)


def parse(line, max_depth):
    """The value of a line.  The library's parser does the common case, where
    it is as strict as ours; the tests compare the two."""
    if (
        line.count(b"{") + line.count(b"[") > min(200, max_depth)
        or rb"\u" in line
    ):
        return parse_plainly(line, max_depth)
    try:
        text = line.decode("utf-8")
        return FAST.decode(text) if text[:1] != "\ufeff" else refuse_constant(0)
    except ValueError:
        raise Refused("json")


# ---- events ---------------------------------------------------------------

ABSENT = object()


def find(value, path):
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return ABSENT
        value = value[key]
    return value


def parse_time(text):
    """Whole milliseconds of a JSON number's text, or None."""
    if not NUMBER.fullmatch(text):
        return None
    mantissa, _, exponent = text.lower().partition("e")
    negative = mantissa.startswith("-")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0
    if negative:
        return None
    sign, size = exponent[:1] == "-", exponent.lstrip("+-0")
    if len(size) > 18:
        return 0 if sign else None
    # The number of digits before the point, once the exponent is done with.
    shift = -int(size or 0) if sign else int(size or 0)
    places = len(digits) - len(fraction) + shift
    if places <= 0:
        return 0
    if places > 13:
        return None
    time_ms = int(digits[:places].ljust(places, "0"))
    return time_ms if time_ms < TIME_END_MS else None


def check_field(name, value):
    """The value in the form that counts, or ABSENT when it is malformed."""
    if name == "attributes":
        return value if isinstance(value, dict) else ABSENT
    if name == "time":
        text = value.text if isinstance(value, Number) else value
        time_ms = parse_time(text) if isinstance(text, str) else None
        return ABSENT if time_ms is None else time_ms
    if name == "user":
        if value is None or value == "":
            return None
        if isinstance(value, Number):
            whole = re.fullmatch(r"-?[0-9]+", value.text)
            return value.text if whole else ABSENT
        return value if isinstance(value, str) else ABSENT
    if not isinstance(value, str) or value == "":
        return ABSENT
    if name == "type" and len(value.encode("utf-8")) > TYPE_MAX_BYTES:
        return ABSENT
    return value


def decode(line, spec):
    """(type, time_ms, user or None) of a line; raises Refused."""
    value = parse(line, spec["max_depth"])
    got = {}
    for name in FIELDS:
        path = spec["fields"][name]
        found = find(value, path) if path else ABSENT
        if found is ABSENT:
            if name == "user" or (name == "attributes" and not path):
                got[name] = None
                continue
            raise Refused("missing:" + path)
        got[name] = check_field(name, found)
        if got[name] is ABSENT:
            raise Refused("malformed:" + path)
    return got["type"], got["time"], got["user"]


# ---- files ----------------------------------------------------------------


class Unreadable(Exception):
    pass


def gunzip(data):
    out = []
    while data:
        member = zlib.decompressobj(31)
        try:
            out.append(member.decompress(data))
        except zlib.error as error:
            raise Unreadable(str(error))
        if not member.eof:
            raise Unreadable("truncated gzip member")
        data = member.unused_data.lstrip(b"\0")
        if data and not data.startswith(b"\x1f\x8b"):
            raise Unreadable("not gzip after a gzip member")
    return b"".join(out)


def unzstd(data):
    done = subprocess.run(
        ["zstd", "-dcq", "--long=31"], input=data, capture_output=True
    )
    if done.returncode != 0:
        raise Unreadable(done.stderr.decode("utf-8", "replace").strip())
    return done.stdout


def is_zstd(data):
    magic = int.from_bytes(data[:4], "little")
    return magic == 0xFD2FB528 or 0x184D2A50 <= magic <= 0x184D2A5F


def unpack(data):
    if data.startswith(b"\x1f\x8b"):
        return gunzip(data)
    return unzstd(data) if len(data) >= 4 and is_zstd(data) else data


def partition_name(path, below):
    parts = path.split("/")
    for i, part in enumerate(parts[:-1]):
        if re.match(r"[^=]+=", part):
            return "/".join(parts[i:])
    return path[below:]


def is_hidden(name):
    return name.startswith(("_", "."))


def walk(path):
    """Names and paths of the files at or under a path, which is a str."""
    if not os.path.isdir(path):
        yield partition_name(path, 0), path
        return
    below = len(path.rstrip("/")) + 1
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(x for x in folders if not is_hidden(x))
        for file in sorted(files):
            whole = os.path.join(folder, file)
            if not is_hidden(file) and os.path.isfile(whole):
                yield partition_name(whole, below), whole


def archive_members(data, text):
    """Names and stored bytes of an archive's files; None if it is none."""
    if data.startswith(b"PK\x03\x04"):
        archive = zipfile.ZipFile(io.BytesIO(data))
        files = [x for x in archive.infolist() if not x.is_dir()]
        return [(x.filename, archive.read(x)) for x in files]
    if isinstance(text, bytes) and text[257:262] == b"ustar":
        archive = tarfile.open(fileobj=io.BytesIO(text))
        files = [x for x in archive if x.isfile()]
        return [(x.name, archive.extractfile(x).read()) for x in files]
    return None


class ReadArchive(bytes):
    """What stands for an archive itself: its members' digests, in order; of
    one without members as of one with an empty member."""

    @classmethod
    def of(cls, members):
        sums = digests(members or [b""])
        if None in sums:
            return cls(b"archive of " + b"".join(members))
        return cls(b"".join(bytes.fromhex(x) for x in sums))


def try_unpack(data):
    """The unpacked bytes, or None."""
    try:
        return unpack(data)
    except Unreadable:
        return None


def stored_partitions(paths):
    """(name, stored bytes, text) of everything under the paths, each path
    once; what could not be read is None."""
    seen = set()
    for argument in paths:
        for name, path in walk(argument):
            if os.path.abspath(path) in seen:
                continue
            seen.add(os.path.abspath(path))
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except OSError:
                yield name, None, None
                continue
            text = try_unpack(data)
            members = archive_members(data, text)
            if members is None:
                yield name, data, text
                continue
            read = []
            for inner, stored in members:
                if not is_hidden(inner.split("/")[-1]):
                    whole = partition_name(name + "/" + inner, 0)
                    text = try_unpack(stored)
                    yield whole, stored, text
                    if text is not None:
                        read.append(stored)
            yield name, ReadArchive.of(read), b""


# ---- figures --------------------------------------------------------------


def parse_day(text):
    match = re.fullmatch(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})", text)
    if not match:
        return None
    try:
        date = datetime.date(*(int(match.group(i)) for i in (1, 3, 4)))
    except ValueError:
        return None
    return (date - datetime.date(1970, 1, 1)).days


def day_text(day):
    return (datetime.date(1970, 1, 1) + datetime.timedelta(day)).isoformat()


def folder_says(name):
    """The day and the type that the folders of a name speak of, or None."""
    day = type_ = None
    for part in name.split("/")[:-1]:
        key, _, value = part.partition("=")
        if key in ("date", "day", "dt"):
            said = parse_day(value)
            day = day if said is None else said
        elif key in ("type", "event_type"):
            said = urllib.parse.unquote(value, errors="surrogateescape")
            type_ = said or type_
    return day, type_


def split_lines(text):
    if text.startswith(b"\xef\xbb\xbf"):
        text = text[3:]
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [x[:-1] if x.endswith(b"\r") else x for x in lines]


class Partition:
    def __init__(self, name, stored, text, spec):
        self.name, self.names, self.stored = name, {name}, stored
        # An archive's bytes are those of its members.
        self.stored_bytes = 0 if isinstance(stored, ReadArchive) else len(stored)
        self.text_bytes = len(text)
        self.events, self.rejected = [], []  # (type, time, user), (line, why)
        self.blank = self.lines = 0
        for line in split_lines(text):
            self.lines += 1
            if len(line) > spec["max_line_bytes"]:
                self.rejected.append((self.lines, "too-long"))
            elif not line.strip(b" \t\r"):
                self.blank += 1
            else:
                try:
                    self.events.append(decode(line, spec))
                except Refused as refused:
                    self.rejected.append((self.lines, refused.args[0]))

    def settle_name(self):
        """Of several names the first stays, and what its folders say."""
        self.name = min(self.names, key=os.fsencode)
        day, type_ = folder_says(self.name)
        self.other_day = self.other_type = 0
        for event_type, time_ms, _ in self.events:
            self.other_day += day is not None and day != time_ms // DAY_MS
            self.other_type += type_ is not None and type_ != event_type


def read_lake(paths, spec):
    """Partitions by name, and the names of what could not be read."""
    found, failed, read, repeated = {}, set(), set(), 0
    for name, stored, text in stored_partitions(paths):
        if text is None:
            failed.add(name)
            continue
        read.add(name)
        if stored in found:
            found[stored].names.add(name)
            repeated += 1
        else:
            found[stored] = Partition(name, stored, text, spec)
    for partition in found.values():
        partition.settle_name()
    partitions = sorted(found.values(), key=lambda x: os.fsencode(x.name))
    return partitions, sorted(failed - read, key=os.fsencode), repeated


def count_sessions(users, gap_ms):
    """Sessions by the day of their first event."""
    sessions = {}
    for times in users.values():
        last = None
        for time_ms in sorted(times):
            if last is None or time_ms - last > gap_ms:
                day = time_ms // DAY_MS
                sessions[day] = sessions.get(day, 0) + 1
            last = time_ms
    return sessions


def day_rows(events, gap_ms):
    by_day, without, seen, users = {}, {}, {}, {}
    for _, time_ms, user in events:
        day = time_ms // DAY_MS
        by_day[day] = by_day.get(day, 0) + 1
        if user is None:
            without[day] = without.get(day, 0) + 1
        else:
            seen.setdefault(day, set()).add(user)
            users.setdefault(user, []).append(time_ms)
    sessions = count_sessions(users, gap_ms)
    days = set(by_day)
    if by_day:
        days |= {x + 1 for x in by_day if x < max(by_day)}
    rows, first = [], min(days, default=None)
    for day in sorted(days):
        now, before = seen.get(day, set()), seen.get(day - 1, set())
        known = set().union(*(seen[x] for x in seen if x <= day))
        follows = day != first
        rows.append(
            {
                "day": day_text(day),
                "events": by_day.get(day, 0),
                "events_without_user": without.get(day, 0),
                "users": len(now),
                "active": len(now & before) if follows else None,
                "inactive": len(known - now - before) if follows else None,
                "churned": len(before - now) if follows else None,
                "reactivated": len(now - before) if follows else None,
                "sessions": sessions.get(day, 0),
            }
        )
    return rows, len(users)


def day_type_rows(events):
    count, seen = {}, {}
    for type_, time_ms, user in events:
        # Text in order of its UTF-8 bytes, as rows stand.
        key = (time_ms // DAY_MS, type_.encode("utf-8"))
        count[key] = count.get(key, 0) + 1
        seen.setdefault(key, set())
        if user is not None:
            seen[key].add(user)
    return [
        {
            "day": day_text(day),
            "type": type_.decode("utf-8"),
            "events": count[day, type_],
            "users": len(seen[day, type_]),
        }
        for day, type_ in sorted(count)
    ]


def digests(pieces):
    """XXH3-128 of each piece as the xxhsum program prints it, or None."""
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, str(i)) for i in range(len(pieces))]
        for name, piece in zip(names, pieces):
            with open(name, "wb") as file:
                file.write(piece)
        try:
            done = subprocess.run(
                ["xxhsum", "-H2", *names], capture_output=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return [None] * len(pieces)
    return [x.split()[0].decode() for x in done.stdout.splitlines()]


def partition_row(partition, digest):
    return {
        "name": partition.name,
        "names": len(partition.names),
        "digest": digest,
        "stored_bytes": partition.stored_bytes,
        "text_bytes": partition.text_bytes,
        "lines": partition.lines,
        "events": len(partition.events),
        "rejected": len(partition.rejected),
        "blank": partition.blank,
        "other_day": partition.other_day,
        "other_type": partition.other_type,
    }


def truth_of(paths, spec=None, with_digests=True):
    """Everything there is to say about the files under the paths."""
    spec = spec or LAKE
    partitions, failures, repeated = read_lake(paths, spec)
    events = [x for partition in partitions for x in partition.events]
    days, n_users = day_rows(events, spec["session_gap_ms"])
    rejects, rejected_lines = {}, []
    for partition in partitions:
        for line, reason in partition.rejected:
            rejects[reason] = rejects.get(reason, 0) + 1
            rejected_lines.append([partition.name, line, reason])
    sums = [None] * len(partitions)
    if with_digests and partitions:
        sums = digests([x.stored for x in partitions])
    rows = [partition_row(x, y) for x, y in zip(partitions, sums)]
    total = {
        key: sum(x[key] for x in rows)
        for key in ("lines", "events", "rejected", "blank", "other_day",
                    "other_type", "stored_bytes", "text_bytes")
    }
    total.update(
        partitions=len(rows),
        failures=len(failures),
        repeated=repeated,
        users=n_users,
        events_without_user=sum(x["events_without_user"] for x in days),
    )
    return {
        "days": days,
        "day_types": day_type_rows(events),
        "rejects": rejects,
        "rejected_lines": rejected_lines,
        "partitions": rows,
        "failures": failures,
        "partial": bool(failures),
        "totals": total,
    }


def load_spec(path):
    spec = dict(LAKE)
    if path:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        spec.update(given)
        spec["fields"] = {**LAKE["fields"], **given.get("fields", {})}
    return spec


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spec-json", metavar="FILE")
    parser.add_argument("--no-digests", action="store_true")
    parser.add_argument("path", nargs="+", metavar="PATH")
    args = parser.parse_args()
    truth = truth_of(args.path, load_spec(args.spec_json), not args.no_digests)
    json.dump(truth, sys.stdout, indent=1, ensure_ascii=True)
    print()


if __name__ == "__main__":
    main()
