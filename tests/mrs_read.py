#!/usr/bin/env python3
"""A second reader of state files: plain Python and the zstd program.

Usage: mrs_read.py [--kpis] STATE

Written from docs/state-format.md, sharing no code with mr, slow and simple on
purpose.  Everything the format promises is looked at; what does not hold is
printed with where, and the exit status is 1.  Otherwise the whole content is
printed as JSON with sorted keys.
"""

import argparse
import collections
import datetime
import json
import math
import re
import subprocess
import sys
import zoneinfo

M64 = 2**64 - 1
MAGIC = b"\x8dMRS\r\n\x1a\n"
CHUNKS = ("USER", "UIDX", "SPEC", "TYPE", "CELL", "PART", "FAIL", "SKET")
# Behind them, where the spec wants them.
OPTIONAL = ("FIGU", "DUPS", "DIDX", "SEGM", "SIDX")
STREAMS = ("USER", "DUPS", "SEGM")  # in blocks that an index describes
IDENTITY, UNKNOWN, ATTRIBUTE, ROLLUP = 1, 2, 3, 16  # kinds of figures
REQUIRED, PACKED, BLOCKS = 1, 2, 4
MAX_RATIO = 200
END_OF_TIME = 7258118400000
MS_PER_DAY = 86400000
BLOCK_USERS = 65536
BLOCK_WEIGHT = 2**24
BLOCK_IDS = 16384
SEGMENT_USERS = 4096
SEGMENT_WEIGHT = 65536
MOST_EVENTS = 2**32 - 1


class Refused(Exception):
    """The file is not what docs/state-format.md says."""


def demand(condition, why, *values):
    if not condition:
        raise Refused(why % values)


# XXH64 and XXH3-128, as doc/xxhash_spec.md of xxHash describes them.

P64 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
    0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
)  # fmt: skip
P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def little(data, at, size):
    return int.from_bytes(data[at : at + size], "little")


def rotate(x, r):
    return (x << r | x >> (64 - r)) & M64


def xxh64_round(acc, lane):
    return rotate((acc + lane * P64[1]) & M64, 31) * P64[0] & M64


def xxh64(data):
    n, at = len(data), 0
    if n >= 32:
        acc = [(P64[0] + P64[1]) & M64, P64[1], 0, -P64[0] & M64]
        while at + 32 <= n:
            for i in range(4):
                acc[i] = xxh64_round(acc[i], little(data, at + 8 * i, 8))
            at += 32
        h = sum(rotate(a, r) for a, r in zip(acc, (1, 7, 12, 18))) & M64
        for a in acc:
            h = ((h ^ xxh64_round(0, a)) * P64[0] + P64[3]) & M64
    else:
        h = P64[4]
    h = (h + n) & M64
    while at + 8 <= n:
        h ^= xxh64_round(0, little(data, at, 8))
        h = (rotate(h, 27) * P64[0] + P64[3]) & M64
        at += 8
    if at + 4 <= n:
        h ^= little(data, at, 4) * P64[0] & M64
        h = (rotate(h, 23) * P64[1] + P64[2]) & M64
        at += 4
    for byte in data[at:]:
        h = rotate(h ^ byte * P64[4] & M64, 11) * P64[0] & M64
    for shift, prime in ((33, P64[1]), (29, P64[2]), (32, 1)):
        h = (h ^ h >> shift) * prime & M64
    return h


def fold(a, b):
    return a * b & M64 ^ a * b >> 64


def avalanche(h):
    h = (h ^ h >> 37) * 0x165667919E3779F9 & M64
    return h ^ h >> 32


def xxh3_128_middle(data):
    """129 to 240 bytes."""
    n = len(data)

    def mix16(at, key):
        return fold(
            little(data, at, 8) ^ little(SECRET, key, 8),
            little(data, at + 8, 8) ^ little(SECRET, key + 8, 8),
        )

    def mix32(low, high, a, b, key):
        plain = lambda at: little(data, at, 8) + little(data, at + 8, 8)
        low = (low + mix16(a, key) & M64) ^ plain(b) & M64
        high = (high + mix16(b, key + 16) & M64) ^ plain(a) & M64
        return low, high

    low, high = n * P64[0] & M64, 0
    for i in range(n // 32):
        if i == 4:
            low, high = avalanche(low), avalanche(high)
        key = 32 * i if i < 4 else 3 + 32 * (i - 4)
        low, high = mix32(low, high, 32 * i, 32 * i + 16, key)
        if i == 3 and n // 32 == 4:
            low, high = avalanche(low), avalanche(high)
    low, high = mix32(low, high, n - 16, n - 32, 136 - 17 - 16)
    h = avalanche(low + high & M64)
    g = -avalanche((low * P64[0] + high * P64[3] + n * P64[1]) & M64) & M64
    return g << 64 | h


def xxh3_128_long(data):
    """More than 240 bytes."""
    acc = [P32[2], *P64[:4], P32[1], P64[4], P32[0]]
    n = len(data)

    def accumulate(at, key):
        for i in range(8):
            value = little(data, at + 8 * i, 8)
            mixed = value ^ little(SECRET, key + 8 * i, 8)
            acc[i ^ 1] = (acc[i ^ 1] + value) & M64
            acc[i] = (acc[i] + (mixed & 0xFFFFFFFF) * (mixed >> 32)) & M64

    def merge(key, h):
        for i in range(0, 8, 2):
            h += fold(
                acc[i] ^ little(SECRET, key + 8 * i, 8),
                acc[i + 1] ^ little(SECRET, key + 8 * i + 8, 8),
            )
        return avalanche(h & M64)

    for stripe in range((n - 1) // 64):
        accumulate(64 * stripe, 8 * (stripe % 16))
        if stripe % 16 == 15:
            for i in range(8):
                acc[i] ^= acc[i] >> 47 ^ little(SECRET, 128 + 8 * i, 8)
                acc[i] = acc[i] * P32[0] & M64
    accumulate(n - 64, 192 - 64 - 7)
    low = merge(11, n * P64[0] & M64)
    high = merge(192 - 64 - 11, ~(n * P64[1]) & M64)
    return high << 64 | low


def xxh3_128(data):
    """The canonical form: 16 bytes, big-endian.  No shorter text than 129
    bytes is ever digested in a state."""
    demand(len(data) > 128, "a digest of only %d bytes", len(data))
    h = xxh3_128_middle(data) if len(data) <= 240 else xxh3_128_long(data)
    return h.to_bytes(16, "big")


# Bytes to values.


class Bytes:
    """A cursor that refuses to go past the end."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def take(self, n):
        demand(n <= len(self.data) - self.at, "%s ends too early", self.what)
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def varint(self):
        value = 0
        for i in range(10):
            byte = self.number(1)
            value |= (byte & 127) << 7 * i
            if byte < 128:
                demand(i == 0 or byte > 0, "%s: long varint", self.what)
                demand(value <= M64, "%s: huge varint", self.what)
                return value
        raise Refused("%s: endless varint" % self.what)

    def string(self):
        return self.take(self.varint())

    def text(self):
        data = self.string()
        demand(b"\0" not in data, "%s: NUL in a name", self.what)
        return data

    def column(self, n):
        """n numbers, stored plane by plane."""
        width = self.number(1)
        demand(1 <= width <= 8, "%s: width %d", self.what, width)
        planes = [self.take(n) for _ in range(width)]
        if width > 1:
            demand(any(planes[-1]), "%s: a column too wide", self.what)
        return [
            sum(planes[k][i] << 8 * k for k in range(width)) for i in range(n)
        ]

    def gap(self, before):
        """A number that ascends from one call to the next."""
        return self.varint() + before + 1

    def ascending(self, n, first, last):
        """n numbers in the code of Elias and Fano."""
        demand(n >= 1 and (n == 1) == (first == last), "%s: ends", self.what)
        reach, out = last - first, []
        demand(reach >= n - 1, "%s: too many numbers", self.what)
        low_bits = (reach // n).bit_length() - 1 if reach >= n else 0
        low = self.number((n * low_bits + 7) // 8)
        n_high = n + (reach >> low_bits)
        high = self.number((n_high + 7) // 8)
        demand(low >> n * low_bits == 0, "%s: low bits behind", self.what)
        demand(high >> n_high == 0, "%s: high bits behind", self.what)
        for place, bit in enumerate(reversed(bin(high)[2:])):
            if bit == "1":
                i = len(out)
                rest = low >> i * low_bits & (1 << low_bits) - 1
                out.append(first + (place - i << low_bits | rest))
        demand(len(out) == n and ascends(out), "%s: its numbers", self.what)
        demand((out[0], out[-1]) == (first, last), "%s: its ends", self.what)
        return out

    def end(self):
        demand(self.at == len(self.data), "%s: bytes follow", self.what)


def ascends(values):
    return all(a < b for a, b in zip(values, values[1:]))


def unpack(stored, plain_length, what):
    demand(plain_length <= MAX_RATIO * len(stored), "%s: a bomb", what)
    done = subprocess.run(
        ["zstd", "-dcq", "--memory=2048MB"], input=stored, capture_output=True
    )
    demand(done.returncode == 0, "%s: %s", what, done.stderr.decode())
    demand(len(done.stdout) == plain_length, "%s: its length differs", what)
    return done.stdout


# The file.

State = collections.namedtuple(
    "State",
    "name spec types cells partitions failures sketches users members"
    " figures ids events",
)


def read_table(data):
    head = Bytes(data, "header")
    demand(head.take(8) == MAGIC, "no state file")
    demand(head.number(4) == 2, "another version")
    count = head.number(4)
    demand(len(CHUNKS) <= count <= 64, "%d chunks", count)
    spec_digest, size = head.take(16), head.number(8)
    demand(head.take(16) == bytes(16), "header bytes that are not zero")
    checksum = head.number(8)
    table = head.take(40 * count)
    demand(xxh64(data[:56] + table) == checksum, "the header's checksum")
    demand(size == len(data), "%d bytes instead of %d", len(data), size)
    entries, offset = [], head.at
    for i in range(count):
        entry = Bytes(table[40 * i : 40 * i + 40], "table")
        id_, flags = entry.take(4).decode("ascii"), entry.number(4)
        at, stored, plain, checksum = (entry.number(8) for _ in range(4))
        demand(at == offset, "%s is not where it must be", id_)
        offset += stored
        entries.append((id_, flags, data[at:offset], plain, checksum))
    demand(offset == size, "the chunks do not fill the file")
    ids = tuple(x[0] for x in entries)
    demand(ids[: len(CHUNKS)] == CHUNKS, "chunks %s", ids)
    demand(len(set(ids)) == len(ids), "a chunk stands twice")
    optional = [x for x in ids if x in OPTIONAL]
    demand(optional == [x for x in OPTIONAL if x in ids], "chunks %s", ids)
    return entries, spec_digest, xxh3_128(data[: 64 + 40 * count])


def read_chunks(entries):
    """The plain bytes of all known chunks, by id; of those in blocks the
    stored ones."""
    chunks = {}
    for id_, flags, stored, plain, checksum in entries:
        if id_ in STREAMS:
            demand(flags == REQUIRED | BLOCKS, "%s: flags %d", id_, flags)
            demand(checksum == 0, "%s: a checksum", id_)
            demand(id_ == "USER" or plain == len(stored), "%s: length", id_)
            chunks[id_] = stored
            continue
        known = id_ in CHUNKS + OPTIONAL
        demand(known or not flags & REQUIRED, "%s is not known", id_)
        demand(not known or flags in (1, 3), "%s: flags %d", id_, flags)
        if flags & BLOCKS:
            continue
        demand(xxh64(stored) == checksum, "%s: its checksum differs", id_)
        if flags & PACKED:
            demand(plain > len(stored), "%s: packed for nothing", id_)
            stored = unpack(stored, plain, id_)
        demand(len(stored) == plain, "%s: its length differs", id_)
        if known:
            chunks[id_] = stored
    return chunks


def read_spec(text, digest):
    demand(xxh3_128(text) == digest, "SPEC: its digest differs")
    spec = {"n_users": 1}
    for line in text.decode("utf-8").splitlines():
        key, value = line.split(": ", 1)
        # Of a list of users' ids the first names what is wrong with them.
        if key == "user" and value.startswith("["):
            users = re.findall(r'"(?:[^"\\]|\\.)*"|[^",\] \[]+', value)
            spec["n_users"], value = len(users), users[0]
        if value.startswith('"'):
            value = json.loads(value)
        spec[key] = value
    return spec


def read_types(data):
    r = Bytes(data, "TYPE")
    types = [r.string() for _ in range(r.varint())]
    r.end()
    demand(all(1 <= len(t) <= 1024 for t in types), "TYPE: a type's length")
    demand(ascends(types), "TYPE: no ascending order")
    return types


def read_cells(data, types):
    r = Bytes(data, "CELL")
    cells, day = [], 0
    for _ in range(r.varint()):
        day += r.varint()
        cells.append((day, r.varint()))
    r.end()
    demand(ascends(cells), "CELL: no ascending order")
    demand({t for _, t in cells} == set(range(len(types))), "CELL: its types")
    demand(all(d < END_OF_TIME // MS_PER_DAY for d, _ in cells), "CELL: days")
    return cells


def read_partition(r, n_cells):
    p = {"digest": r.take(16).hex()}
    p["names"] = [r.text() for _ in range(r.varint())]
    demand(p["names"] and all(p["names"]), "PART: names")
    demand(ascends(p["names"]), "PART: names do not ascend")
    for key in (
        "stored_bytes", "text_bytes", "lines", "blank", "other_day",
        "other_type",
    ):  # fmt: skip
        p[key] = r.varint()
    p["reasons"] = [(r.varint(), r.varint()) for _ in range(r.varint())]
    reasons = [x[0] for x in p["reasons"]]
    demand(ascends(reasons) and max(reasons, default=0) < 13, "PART: reasons")
    demand(all(x[1] for x in p["reasons"]), "PART: a reason without lines")
    p["cells"], cell = [], -1
    for _ in range(r.varint()):
        cell = r.gap(cell)
        events, without_user = r.varint(), r.varint()
        demand(1 <= events >= without_user, "PART: events of a cell")
        p["cells"].append((cell, events, without_user))
    demand(cell < n_cells, "PART: a cell too many")
    p["events"] = sum(x[1] for x in p["cells"])
    p["rejected"] = sum(x[1] for x in p["reasons"])
    demand(
        p["lines"] == p["events"] + p["rejected"] + p["blank"],
        "PART: lines do not add up",
    )
    demand(max(p["other_day"], p["other_type"]) <= p["events"], "PART: other")
    return p


def read_partitions(data, n_cells):
    r = Bytes(data, "PART")
    partitions = [read_partition(r, n_cells) for _ in range(r.varint())]
    r.end()
    demand(ascends([p["digest"] for p in partitions]), "PART: order")
    seen = {c[0] for p in partitions for c in p["cells"]}
    demand(seen == set(range(n_cells)), "PART: cells without events")
    return partitions


def read_failures(data, partitions):
    r = Bytes(data, "FAIL")
    failures = []
    for _ in range(r.varint()):
        name, offset = r.text(), r.varint()
        failures.append((name, offset - 1 if offset else None, r.text()))
    r.end()
    names = [x[0] for x in failures]
    demand(ascends(names) and all(names), "FAIL: names")
    read = {name for p in partitions for name in p["names"]}
    demand(not read & set(names), "FAIL: a name that has been read")
    return failures


def has_figures(spec):
    """By the canonical text of a spec."""
    return (
        spec["rollups"] != "[]"
        or spec["users_table"] != "null"
        or spec["n_users"] > 1
    )


def read_figures(data, partitions, n_cells, p):
    """Texts; each partition's counts are added to its cells."""
    r = Bytes(data, "FIGU")
    texts = [r.string() for _ in range(r.varint())]
    demand(ascends(texts) and all(texts), "FIGU: texts")
    kinds = {x[0] for x in texts}
    demand(
        kinds <= {IDENTITY, UNKNOWN, ATTRIBUTE, *range(ROLLUP, ROLLUP + 16)},
        "FIGU: kinds %s",
        kinds,
    )
    seen = set()
    for partition in partitions:
        figure, counts = -1, []
        for _ in range(r.varint()):
            figure = r.gap(figure)
            events, without_user = r.varint(), r.varint()
            demand(1 <= events >= without_user, "FIGU: events")
            demand(events <= partition["events"], "FIGU: too many events")
            counts.append((n_cells + figure, events, without_user))
            seen.add(figure)
        partition["figures"] = counts
    demand(seen == set(range(len(texts))), "FIGU: texts without events")
    return texts, read_sketches(r, len(texts), p)


def read_sketches(r, n_cells, p):
    """A dictionary of registers for each cell, None where it has no user."""
    sketches = []
    for _ in range(n_cells):
        if r.number(1) == 0:
            sketches.append(None)
            continue
        form = r.number(1)
        demand(form in (0, 1), "SKET: form %d", form)
        if form == 0:
            registers, index = {}, -1
            for _ in range(r.varint()):
                index = r.gap(index)
                registers[index] = r.number(1)
                demand(registers[index], "SKET: a zero register")
        else:
            registers = {i: x for i, x in enumerate(r.take(2**p)) if x}
        demand((form == 0) == (len(registers) <= 2**p // 8), "SKET: form")
        demand(registers and max(registers) < 2**p, "SKET: registers")
        demand(max(registers.values()) <= 64 - p + 1, "SKET: ranks")
        sketches.append(registers)
    r.end()
    return sketches


def read_sets(r, n, n_sets, n_cells, hashes, members):
    """Add the sets of a block to members; return users' memberships."""
    weight, cell = [0] * n, -1
    for _ in range(n_sets):
        cell, k = r.gap(cell), r.varint()
        demand(cell < n_cells and 1 <= k <= n, "a set")
        if 8 * k <= n:
            positions, position = [], -1
            for gap in r.column(k):
                position += gap + 1
                positions.append(position)
        else:
            bits = r.number((n + 7) // 8)
            positions = [i for i in range(bits.bit_length()) if bits >> i & 1]
        demand(len(positions) == k and positions[-1] < n, "members")
        for i in positions:
            weight[i] += 1
            members[cell].append(hashes[i])
    return weight


def read_intervals(r, n, m, gap):
    """A list of (start, end) for each user."""
    counts = [c + 1 for c in r.column(n)]
    demand(sum(counts) == m, "interval counts")
    base = r.number(8)
    starts = r.column(n)
    demand(min(starts) == 0, "base")
    later, lengths = iter(r.column(m - n)), iter(r.column(m))
    users = []
    for count, start in zip(counts, starts):
        at = base + start
        intervals = [(at, at + next(lengths))]
        for _ in range(count - 1):
            at = intervals[-1][1] + gap + 1 + next(later)
            intervals.append((at, at + next(lengths)))
        demand(intervals[-1][1] < END_OF_TIME, "a time too late")
        users.append(intervals)
    return users


def read_block(plain, entry, what, n_cells, gap, users, members):
    """Add a block's users; return the weight of it and of its first user."""
    r = Bytes(plain, what)
    n, n_sets, m = r.number(4), r.number(4), r.number(8)
    demand((n, m) == (entry["users"], entry["intervals"]), "%s: counts", what)
    demand(1 <= n <= BLOCK_USERS, "%s: users", what)
    hashes = [r.number(8)]
    for gap_ in r.column(n - 1):
        hashes.append(hashes[-1] + gap_ + 1)
    demand(
        (hashes[0], hashes[-1]) == (entry["first"], entry["last"])
        and hashes[-1] <= M64,
        "%s: hashes",
        what,
    )
    weight = read_sets(r, n, n_sets, n_cells, hashes, members)
    demand(sum(weight) == entry["members"], "%s: members", what)
    intervals = read_intervals(r, n, m, gap)
    r.end()
    users.update(zip(hashes, intervals))
    weight = [w + 8 * len(i) for w, i in zip(weight, intervals)]
    demand(n == 1 or sum(weight) <= BLOCK_WEIGHT, "%s: weight", what)
    return sum(weight), weight[0]


def read_users(entry, index, n_cells, gap):
    """All users' intervals and all cells' members, and that blocks are cut
    where they must be."""
    _, _, stored, plain_sum, _ = entry
    r = Bytes(index, "UIDX")
    n_blocks, n_users, n_members, n_intervals = (r.varint() for _ in range(4))
    users, members = {}, [[] for _ in range(n_cells)]
    at, last, full = 0, -1, True
    sums = collections.Counter()
    for i in range(n_blocks):
        what = "block %d" % i
        keys = (
            ("first", 8), ("last", 8), ("users", 4), ("stored", 8),
            ("plain", 8), ("members", 8), ("intervals", 8), ("checksum", 8),
        )  # fmt: skip
        b = {key: r.number(size) for key, size in keys}
        data = stored[at : at + b["stored"]]
        at += b["stored"]
        demand(xxh64(data) == b["checksum"], "%s: its checksum differs", what)
        demand(len(data) == b["stored"] <= b["plain"], "%s: length", what)
        demand(b["first"] > last, "%s does not ascend", what)
        if b["stored"] < b["plain"]:
            data = unpack(data, b["plain"], what)
        weight, first = read_block(
            data, b, what, n_cells, gap, users, members
        )
        demand(full or before + first > BLOCK_WEIGHT, "%s: cut early", what)
        full, before = b["users"] == BLOCK_USERS, weight
        last = b["last"]
        sums.update(b)
    r.end()
    demand(at == len(stored), "USER: bytes follow")
    demand(sums["plain"] == plain_sum, "USER: its plain length")
    demand(
        (sums["users"], sums["members"], sums["intervals"])
        == (n_users, n_members, n_intervals),
        "UIDX: sums",
    )
    return users, members


# What is kept of events beside figures.


def has_ids(spec):
    return spec["duplicates"] != "null"


def has_segments(spec):
    return spec["segments"] != "{}"


def read_blocks(data, lengths, what):
    """Cut a chunk into blocks and look at their checksums."""
    r, blocks = Bytes(data, what), []
    for length, checksum in lengths:
        blocks.append(r.take(length))
        demand(xxh64(blocks[-1]) == checksum, "%s: a checksum differs", what)
    r.end()
    return blocks


def read_ids(dups, index, spec, cells, partitions):
    """By day whether it is cut, and its ids."""
    rule = re.fullmatch(
        r"{max_ids: (\d+), exact: (true|false)}", spec["duplicates"]
    )
    most, exact = int(rule.group(1)), rule.group(2) == "true"
    r, all_ids, days, day = Bytes(index, "DIDX"), Bytes(dups, "DUPS"), {}, -1
    for _ in range(r.varint()):
        day = r.gap(day)
        n, is_cut = divmod(r.varint(), 2)
        demand(n >= 1, "DIDX: a day without ids")
        demand(exact or n <= most, "DIDX: %d ids", n)
        demand(not is_cut or (not exact and n == most), "DIDX: a cut")
        ids = []
        for left in range(n, 0, -BLOCK_IDS):
            first, last, checksum = (r.number(8) for _ in range(3))
            at = all_ids.at
            ids += all_ids.ascending(min(left, BLOCK_IDS), first, last)
            block = dups[at : all_ids.at]
            demand(xxh64(block) == checksum, "DUPS: a checksum differs")
        demand(len(ids) == n and ascends(ids), "DUPS: ids")
        days[day] = bool(is_cut), ids
    r.end()
    all_ids.end()
    events = collections.Counter()
    for partition in partitions:
        for cell, n, _ in partition["cells"]:
            events[cells[cell][0]] += n
    demand(set(days) == set(events), "DIDX: its days")
    for day, (is_cut, ids) in days.items():
        demand(len(ids) + is_cut <= events[day], "DIDX: more ids than events")
    return days


def segments(spec):
    """By name a list of conditions: type, comparison, number."""
    out, r = {}, spec["segments"]
    word = r'("(?:[^"\\]|\\.)*"|[^",:{} ]+)'
    plain = lambda x: json.loads(x) if x.startswith('"') else x
    for name, conditions in re.findall(
        word + r": {((?:" + word[1:-1] + r"|[:, ])*)}", r
    ):
        out[plain(name)] = [
            (plain(type_).encode("utf-8"), *read_condition(plain(condition)))
            for type_, condition in re.findall(word + ": " + word, conditions)
        ]
    return out


def read_condition(text):
    found = re.fullmatch(r"(>=|>|=|<|<=)(\d+)", text)
    demand(found, "SPEC: the condition %s", text)
    return found.group(1), int(found.group(2))


def holds(condition, n):
    _, word, limit = condition
    return {
        ">=": n >= limit, ">": n > limit, "=": n == limit, "<": n < limit,
        "<=": n <= limit,
    }[word]  # fmt: skip


def in_segment(conditions, events):
    """By a counter of types."""
    return all(holds(c, events[c[0]]) for c in conditions)


def read_user_events(r, types, keeps_seen):
    """By day a counter of types; and the weight."""
    days, day, weight = {}, -1, 0
    for _ in range(r.varint() + 1):
        day, mask = r.gap(day), r.varint()
        demand(day < END_OF_TIME // MS_PER_DAY, "%s: days", r.what)
        demand(mask >> len(types) == 0, "%s: types", r.what)
        demand(mask or keeps_seen, "%s: a day without events", r.what)
        events = collections.Counter()
        for i, type_ in enumerate(types):
            if mask >> i & 1:
                events[type_] = r.varint() + 1
                demand(events[type_] <= MOST_EVENTS, "%s: events", r.what)
        days[day] = events
        weight += max(len(events), 1)
    return days, weight


def read_events(segm, index, spec):
    """By user and day a counter of types that segments name."""
    wanted = segments(spec).values()
    types = sorted({c[0] for conditions in wanted for c in conditions})
    nothing = collections.Counter()
    keeps_seen = any(in_segment(x, nothing) for x in wanted)
    r, users, entries, last = Bytes(index, "SIDX"), {}, [], -1
    for _ in range(r.varint()):
        entry = tuple(r.number(size) for size in (8, 8, 4, 8, 8))
        demand(entry[0] > last, "SIDX: users do not ascend")
        last = entry[1]
        entries.append(entry)
    r.end()
    blocks = read_blocks(segm, [x[3:] for x in entries], "SEGM")
    before = before_users = None
    for (first, last, n, _, _), data in zip(entries, blocks):
        r = Bytes(data, "a block of SEGM")
        demand(1 <= n <= SEGMENT_USERS, "SIDX: users")
        weights = []
        for h in r.ascending(n, first, last):
            users[h], weight = read_user_events(r, types, keeps_seen)
            weights.append(weight)
        r.end()
        demand(n == 1 or sum(weights) <= SEGMENT_WEIGHT, "SEGM: weight")
        demand(
            before is None
            or before_users == SEGMENT_USERS
            or before + weights[0] > SEGMENT_WEIGHT,
            "SEGM: cut early",
        )
        before, before_users = sum(weights), n
    return users, types, keeps_seen


def check_events(events, types, keeps_seen, names, cells, members, partitions):
    """Against the sets of users, and against the partitions' numbers."""
    wanted = collections.defaultdict(set)
    for (day, type_), hashes in zip(cells, members):
        for h in hashes:
            if names[type_] in types:
                wanted[h, day].add(names[type_])
            elif keeps_seen:
                wanted[h, day].update()
    got, sums = {}, collections.Counter()
    for h, days in events.items():
        for day, counts in days.items():
            got[h, day] = set(counts)
            for type_, n in counts.items():
                sums[day, type_] += n
    demand(got == wanted, "SEGM: its users, days or types")
    in_cells = collections.Counter()
    for partition in partitions:
        for cell, n, without_user in partition["cells"]:
            day, type_ = cells[cell]
            if names[type_] in types:
                in_cells[day, names[type_]] += n - without_user
    for key in set(sums) | set(in_cells):
        demand(
            sums[key] == in_cells[key]
            or sums[key] < in_cells[key] > MOST_EVENTS,
            "SEGM: its numbers of events",
        )


def read_state(path):
    """The whole content of a state file, or Refused."""
    with open(path, "rb") as file:
        data = file.read()
    entries, digest, name = read_table(data)
    chunks = read_chunks(entries)
    spec = read_spec(chunks["SPEC"], digest)
    types = read_types(chunks["TYPE"])
    cells = read_cells(chunks["CELL"], types)
    partitions = read_partitions(chunks["PART"], len(cells))
    failures = read_failures(chunks["FAIL"], partitions)
    p, gap = int(spec["sketch_bits"]), int(spec["session_gap_ms"])
    sketches = read_sketches(Bytes(chunks["SKET"], "SKET"), len(cells), p)
    figures = []
    demand(("FIGU" in chunks) == has_figures(spec), "FIGU: presence")
    if "FIGU" in chunks:
        figures, more = read_figures(chunks["FIGU"], partitions, len(cells), p)
        sketches += more
    users, members = read_users(
        entries[0], chunks["UIDX"], len(sketches), gap
    )
    with_user = collections.Counter()
    for partition in partitions:
        counts = partition["cells"] + partition.get("figures", [])
        for cell, events, without_user in counts:
            with_user[cell] += events - without_user
    for cell, registers in enumerate(sketches):
        demand((registers is None) == (with_user[cell] == 0), "SKET: presence")
    ids, events = {}, {}
    for chunk in ("DUPS", "DIDX"):
        demand((chunk in chunks) == has_ids(spec), "%s: presence", chunk)
    if has_ids(spec):
        ids = read_ids(
            chunks["DUPS"], chunks["DIDX"], spec, cells, partitions
        )
    for chunk in ("SEGM", "SIDX"):
        demand((chunk in chunks) == has_segments(spec), "%s: presence", chunk)
    if has_segments(spec):
        events, *rule = read_events(chunks["SEGM"], chunks["SIDX"], spec)
        check_events(events, *rule, types, cells, members, partitions)
    return State(
        name.hex(), spec, types, cells, partitions, failures, sketches, users,
        members, figures, ids, events,
    )  # fmt: skip


# Figures.


def sketch_of(hashes, p):
    """The registers that these users leave."""
    registers = {}
    for h in hashes:
        index, rest = h >> (64 - p), h & (2 ** (64 - p) - 1)
        rank = 64 - p - rest.bit_length() + 1
        registers[index] = max(rank, registers.get(index, 0))
    return registers


def estimate(registers, p):
    """Ertl's improved estimator."""
    m, q = 2**p, 64 - p
    if not registers:
        return 0
    count = collections.Counter(registers.values())
    count[0] = m - len(registers)

    def sigma(x):
        y, z = 1, x
        while True:
            x *= x
            before = z
            z += x * y
            y += y
            if z == before:
                return z

    def tau(x):
        if x in (0, 1):
            return 0
        y, z = 1, 1 - x
        while True:
            x = math.sqrt(x)
            before = z
            y /= 2
            z -= (1 - x) ** 2 * y
            if z == before:
                return z / 3

    z = m * tau(1 - count[q + 1] / m)
    for k in range(q, 0, -1):
        z = (z + count[k]) / 2
    return m * m / (2 * math.log(2)) / (z + m * sigma(count[0] / m))


def date(day):
    return str(datetime.date(1970, 1, 1) + datetime.timedelta(days=day))


def type_text(name):
    return name.decode("utf-8", "surrogateescape")


def merged(sketches):
    union = {}
    for registers in sketches:
        for index, rank in (registers or {}).items():
            union[index] = max(rank, union.get(index, 0))
    return union


def day_of(state, time_ms):
    """The day of a time in the spec's zone."""
    zone = zoneinfo.ZoneInfo(state.spec["zone"].split(" ")[0])
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    local = (moment + datetime.timedelta(milliseconds=time_ms)).astimezone(zone)
    return local.toordinal() - datetime.date(1970, 1, 1).toordinal()


def table_users(state):
    """How many users the spec's table has; 0 without one."""
    found = re.search(r"users: (\d+)}$", state.spec["users_table"])
    return int(found.group(1)) if found else 0


def outsiders(state):
    """Users who are not in the table; everybody without one."""
    if state.spec["users_table"] == "null":
        return set(state.users)
    first, out = len(state.cells), set()
    for i, text in enumerate(state.figures):
        if text[0] == UNKNOWN:
            out.update(state.members[first + i])
    return out


def figure_counts(state):
    """Events, distinct users and registers of each figure's text."""
    first, events = len(state.cells), collections.Counter()
    for partition in state.partitions:
        for cell, n, _ in partition.get("figures", ()):
            events[cell] += n
    return {
        text: (events[first + i], len(state.members[first + i]))
        for i, text in enumerate(state.figures)
    }


def attributes(state):
    """By number of the attribute, from 0 on, each user's value."""
    out, first = collections.defaultdict(dict), len(state.cells)
    for i, text in enumerate(state.figures):
        if text[0] == ATTRIBUTE:
            values = out[text[1] - 1]
            for h in state.members[first + i]:
                demand(h not in values, "FIGU: a user of two values")
                values[h] = text[2:].decode("utf-8")
    return out


def segment_users(state):
    """Users by (segment, day, attribute, value); no day: all of them together,
    no attribute: all users."""
    values, counts = attributes(state), collections.Counter()
    names = re.findall(
        r"[\[ ]{(.*?): users\.", state.spec["segments_by"]
    )
    for h, days in state.events.items():
        groups = [("", "")] + [
            (name, values[i].get(h, "")) for i, name in enumerate(names)
        ]
        by_day = {date(day): events for day, events in days.items()}
        by_day[""] = sum(days.values(), collections.Counter())
        for name, conditions in segments(state.spec).items():
            for day, events in by_day.items():
                if in_segment(conditions, events):
                    counts.update((name, day, *group) for group in groups)
    return counts


def group_values(text):
    """The values of a rollup's group; None for all further groups."""
    r, values = Bytes(text[1:], "a group"), []
    while r.at < len(r.data):
        n = r.varint()
        values.append(r.take(n - 1).decode("utf-8") if n else None)
    return tuple(values) if values else None


def kpis(state):
    """The rows of daily.csv and daily_by_type.csv as lists of dictionaries;
    None where a figure is not defined."""
    p = int(state.spec["sketch_bits"])
    events, without = collections.Counter(), collections.Counter()
    for partition in state.partitions:
        for cell, n, n_without in partition["cells"]:
            events[cell] += n
            without[cell] += n_without
    by_day = collections.defaultdict(list)
    for i, (day, _) in enumerate(state.cells):
        by_day[day].append(i)
    sessions = collections.Counter(
        day_of(state, start)
        for intervals in state.users.values()
        for start, _ in intervals
    )
    users = collections.defaultdict(set)
    for day, cells in by_day.items():
        for i in cells:
            users[day].update(state.members[i])
    rows, known, outside = [], set(), outsiders(state)
    first = min(by_day, default=0)
    for day in range(first, max(by_day, default=-1) + 1):
        if day not in by_day and day - 1 not in by_day:
            continue
        now, before = users.get(day, set()), users.get(day - 1, set())
        known |= now
        has_before = day > first
        cells = by_day.get(day, [])
        rows.append({
            "day": date(day),
            "events": sum(events[i] for i in cells),
            "events_without_user": sum(without[i] for i in cells),
            "users": len(now),
            "users_estimate": estimate(
                merged(state.sketches[i] for i in cells), p
            ),
            "active": len(now & before) if has_before else None,
            "inactive": table_users(state) + len(known & outside)
            - len(now | before) if has_before else None,
            "churned": len(before - now) if has_before else None,
            "reactivated": len(now - before) if has_before else None,
            "sessions": sessions[day],
        })  # fmt: skip
    by_type = [
        {
            "day": date(day),
            "type": type_text(state.types[t]),
            "events": events[i],
            "users": len(state.members[i]),
            "users_estimate": estimate(state.sketches[i] or {}, p),
        }
        for i, (day, t) in enumerate(state.cells)
    ]
    return rows, by_type


def reasons(state):
    """Rejected lines by the name of the reason."""
    rows = state.spec["format"] in ("csv", "tsv")
    names = ["csv" if rows else "json", "too-long", "too-deep"]
    for field in ("id", "type", "attributes", "time", "user"):
        for kind in ("missing", "malformed"):
            names.append("%s:%s" % (kind, state.spec[field]))
    lines = collections.Counter()
    for partition in state.partitions:
        for reason, n in partition["reasons"]:
            lines[names[reason]] += n
    return dict(lines)


def as_json(state):
    """The whole state in terms that JSON has."""
    text = lambda name: name.decode("utf-8", "backslashreplace")
    hexadecimal = lambda h: "%016x" % h
    return {
        "name": state.name,
        "spec": state.spec,
        "types": [text(t) for t in state.types],
        "cells": [
            {
                "day": date(day),
                "type": text(state.types[t]),
                "users": [hexadecimal(h) for h in members],
                "registers": registers and sorted(registers.items()),
            }
            for (day, t), members, registers in zip(
                state.cells, state.members, state.sketches
            )
        ],
        "partitions": [
            {**p, "names": [text(n) for n in p["names"]]}
            for p in state.partitions
        ],
        "failures": [
            {"name": text(n), "offset": offset, "cause": text(cause)}
            for n, offset, cause in state.failures
        ],
        "intervals": {hexadecimal(h): x for h, x in state.users.items()},
        "ids": {
            date(day): {"cut": is_cut, "ids": [hexadecimal(h) for h in ids]}
            for day, (is_cut, ids) in state.ids.items()
        },
        "events": {
            hexadecimal(h): {
                date(day): {text(t): n for t, n in counts.items()}
                for day, counts in days.items()
            }
            for h, days in state.events.items()
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kpis", action="store_true", help="only the KPIs")
    parser.add_argument("state")
    args = parser.parse_args()
    try:
        state = read_state(args.state)
    except Refused as why:
        sys.exit("%s: %s" % (args.state, why))
    if args.kpis:
        days, by_type = kpis(state)
        content = {"days": days, "by_type": by_type}
    else:
        content = as_json(state)
    json.dump(content, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
