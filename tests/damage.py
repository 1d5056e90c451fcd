#!/usr/bin/env python3
"""Flip every bit of small states, and cut them to every length.

Usage: damage.py [--sample N] [--keep FOLDER]

All of it goes through the library's own verbs in one process
(tests/damage_states.c); of the flips and cuts every N-th, 101 by default, goes
through the commands besides.  Each must be refused with exit 6, the file and
the section named.  Prints counts; exit status 1 if anything else comes of one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

from faults import Bench, contents, write

DAMAGED = 6


def section_at(data, at):
    """What a message must name: the section that a byte is in."""
    name = b"header"
    for i in range(int.from_bytes(data[12:16], "little")):
        entry = data[64 + 40 * i : 104 + 40 * i]
        if at >= int.from_bytes(entry[8:16], "little"):
            name = b"section " + entry[:4]
    return name.decode()


def damages(data, sample):
    """(what, bytes, section) of each that the commands are given."""
    for bit in range(0, 8 * len(data), sample):
        other = bytearray(data)
        other[bit // 8] ^= 1 << bit % 8
        what = "bit %d of byte %d" % (bit % 8, bit // 8)
        yield what, bytes(other), section_at(data, bit // 8)
    for n in range(0, len(data), sample):
        yield "cut to %d" % n, data[:n], section_at(data, n)


def check_commands(bench, data, sample):
    """(how many were tried, sentences about what is wrong)."""
    tried, wrong = 0, []
    for what, other, section in damages(data, sample):
        write(os.path.join(bench.root, "damaged.mrs"), other)
        for args in (("inspect",), ("reduce", "-o", "kpis")):
            done = bench.run(bench.root, args + ("damaged.mrs",))
            tried += 1
            if (
                done.returncode != DAMAGED
                or "'damaged.mrs'" not in done.stderr
                or section not in done.stderr
                or os.path.exists(os.path.join(bench.root, "kpis"))
            ):
                wrong.append(
                    "%s (%s): %s gives %d, %s"
                    % (what, section, args[0], done.returncode, done.stderr)
                )
    return tried, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=101, metavar="N")
    parser.add_argument("--keep", metavar="FOLDER", help="where all lies")
    args = parser.parse_args()
    base = os.path.realpath(args.keep or tempfile.mkdtemp(prefix="mr-damage-"))
    os.makedirs(base, exist_ok=True)
    bench = Bench(base)
    bench.must(base, "map", "-o", "sound.mrs", "lake")
    folder = os.path.join(base, "states")
    shutil.copy(os.path.join(base, "sound.mrs"), folder)
    states = contents(folder)
    tool = os.path.join(os.environ.get("MR_BUILD", "."), "tests/damage_states")
    done = subprocess.run(
        [os.path.abspath(tool), *sorted(states)], cwd=folder
    )
    tried, wrong = 0, []
    for data in states.values():
        some = check_commands(bench, data, args.sample)
        tried += some[0]
        wrong += some[1]
    for sentence in wrong[:10]:
        print(sentence)
    print(
        "damage: %d times through the commands, but for %d refused with file "
        "and section named" % (tried, len(wrong))
    )
    if not wrong and not done.returncode and not args.keep:
        shutil.rmtree(base)
    sys.exit(1 if wrong or done.returncode else 0)


if __name__ == "__main__":
    main()
