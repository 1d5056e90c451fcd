#!/usr/bin/env python3
"""A peer's figures against the generator's truth.

Usage: check.py TRUTH.json FIGURES.csv

FIGURES has lines of day,type,events,users, and may have lines of
#day,users,active,churned,reactivated,sessions.  Prints "as the truth" or what
differs, and exits 1 then.
"""

import csv
import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        truth = json.load(file)
    wanted = {
        (x["day"], x["type"]): [x["events"], x["users"]]
        for x in truth["day_types"]
    }
    got, days = {}, {}
    with open(sys.argv[2], newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if row[0].startswith("#"):
                days[row[0][1:]] = [int(x) for x in row[1:]]
            else:
                got[row[0], row[1]] = [int(x) for x in row[2:4]]
    off = [k for k in {**wanted, **got} if wanted.get(k) != got.get(k)]
    for i, x in enumerate(truth["days"] if days else []):
        keys = ["users", "active", "churned", "reactivated", "sessions"]
        figures = days.get(x["day"], [None] * 5)
        for key, figure in zip(keys, figures):
            if x[key] != figure and (i > 0 or key in ("users", "sessions")):
                off.append((x["day"], key, x[key], figure))
    if off:
        print("%d figures differ, such as %s" % (len(off), off[0]))
        sys.exit(1)
    print("as the truth")


main()
