#!/usr/bin/env python3
"""What reduce wrote against the truth of the generator (or of the oracle).

Usage: check_truth.py TRUTH.json... FOLDER

FOLDER is that of `mr reduce -o FOLDER`.  Several truths are those of the
parts of one stream (gen_events --part) and are added up.
"""

import argparse
import json
import sys

from mr_program import compare_output


def add(a, b):
    """The sum of two numbers that may both be undefined."""
    if (a is None) != (b is None):
        sys.exit("the parts do not begin on the same day")
    return None if a is None else a + b


def add_rows(rows, more, keys):
    """Rows by their keys, everything else added up."""
    table = {tuple(x[k] for k in keys): dict(x) for x in rows}
    for row in more:
        key = tuple(row[k] for k in keys)
        if key not in table:
            table[key] = dict(row)
            continue
        for name in set(row) - set(keys):
            table[key][name] = add(table[key][name], row[name])
    return list(table.values())


def add_counts(a, b):
    return {k: a.get(k, 0) + b.get(k, 0) for k in {**a, **b}}


def load(paths):
    truth = None
    for path in paths:
        with open(path, encoding="utf-8") as file:
            one = json.load(file)
        if truth is None:
            truth = one
            continue
        truth["days"] = add_rows(truth["days"], one["days"], ("day",))
        truth["day_types"] = add_rows(
            truth["day_types"], one["day_types"], ("day", "type")
        )
        for key in ("rejects", "totals"):
            truth[key] = add_counts(truth[key], one[key])
    truth["days"].sort(key=lambda x: x["day"])
    truth["day_types"].sort(key=lambda x: (x["day"], x["type"].encode()))
    return truth


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth", nargs="+")
    parser.add_argument("folder")
    args = parser.parse_args()
    truth = load(args.truth)
    if len(args.truth) > 1:  # mapped in other pieces than they were made in
        del truth["totals"]["partitions"]
    problems = list(compare_output(args.folder, truth))
    for problem in problems:
        print(problem)
    figures = sum(len(x) - 1 for x in truth["days"]) + sum(
        len(x) - 2 for x in truth["day_types"]
    )
    print("truth: %d figures, %d differ" % (figures, len(problems)))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
