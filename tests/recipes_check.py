#!/usr/bin/env python3
"""docs/recipes.md, followed to the letter.

    recipes_check.py [--keep FOLDER] [PAGE]

Each section (##) of the page has a folder.  A block behind a line that ends in
"`NAME`:" or names one file only is that file; of a block "console" the lines
that begin with "$ " are commands, and the others what they print.  What they
say on standard error is not looked at; each must end with exit status 0.

Prints TAP, one case a section.  Exit status 1 if anything differs.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

from mr_program import program

SOURCE = os.environ.get("MR_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.abspath(__file__))
)


def blocks(section):
    """Language, text before, and content of each fenced block."""
    before = ""
    for part in re.split(r"(?ms)^(```\w+\n.*?^```$)", section):
        fenced = re.fullmatch(r"(?s)```(\w+)\n(.*)```", part)
        if fenced:
            yield fenced[1], before, fenced[2]
        before = part


def file_name(before):
    """The last name of a file in the paragraph before a block."""
    paragraph = before.strip().split("\n\n")[-1]
    names = re.findall(r"`([\w./-]+\.(?:csv|jsonl|yaml|awk))`", paragraph)
    return names[-1] if names else None


def commands(text):
    """Pairs of a command and what it prints."""
    for part in re.split(r"(?m)^\$ ", text)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def follow(section, folder, env):
    """A section's problems, and the number of its commands."""
    os.makedirs(folder)
    n = 0
    for language, before, content in blocks(section):
        if language != "console":
            name = file_name(before)
            if name is None:
                yield n, "no name for the block\n" + content
                continue
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
            continue
        for command, wanted in commands(content):
            n += 1
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command], cwd=folder, env=env,
                capture_output=True, text=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            problem = None
            if done.returncode != 0:
                problem = "exit status %d: %s" % (done.returncode, done.stderr)
            elif done.stdout != wanted:
                problem = "printed\n%snot\n%s" % (done.stdout, wanted)
            yield n, problem and "$ %s\n%s" % (command, problem)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", metavar="FOLDER", help="where files lie")
    parser.add_argument(
        "page", nargs="?", default=os.path.join(SOURCE, "docs", "recipes.md")
    )
    args = parser.parse_args()
    base = args.keep or tempfile.mkdtemp(prefix="mr-recipes-")
    programs = os.path.join(base, "bin")
    os.makedirs(programs)
    os.symlink(program(), os.path.join(programs, "mr"))
    path = programs + os.pathsep + os.environ["PATH"]
    env = {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}
    with open(args.page, encoding="utf-8") as file:
        sections = re.split(r"(?m)^## ", file.read())[1:]
    bad = 0
    for i, section in enumerate(sections, 1):
        title, n, problems = section.partition("\n")[0], 0, []
        for n, problem in follow(section, os.path.join(base, str(i)), env):
            if problem:
                problems.append(problem)
        if n == 0:
            problems.append("no commands")
        bad += bool(problems)
        print("%sok %d %s (%d commands)" % (
            "not " if problems else "", i, title.replace("#", ""), n
        ))  # fmt: skip
        for problem in problems:
            print("# " + problem.replace("\n", "\n# "))
    print("1..%d" % len(sections))
    if not bad and not args.keep:
        shutil.rmtree(base)
    sys.exit(1 if bad or not sections else 0)


if __name__ == "__main__":
    main()
