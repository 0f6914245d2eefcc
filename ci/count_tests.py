#!/usr/bin/env python3
"""count_tests.py TESTLOG.json: prints "passed failed" for one run of meson's tests.

A Criterion program counts with each of its tests, any other program as one. A skipped program is
a failure here: on a machine where all packages are installed nothing has a reason to be skipped.
"""

import json
import re
import sys

SYNTHESIS = re.compile(r"Tested: \D*(\d+)\D* \| Passing: \D*(\d+)\D* \| Failing:")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def count(entry):
    good = entry["result"] == "OK"
    text = COLOUR.sub("", entry.get("stdout", "") + entry.get("stderr", ""))
    found = SYNTHESIS.search(text)
    if not found:
        return (1, 0) if good else (0, 1)
    tested, passing = map(int, found.groups())
    failing = tested - passing
    if tested == 0 or (not good and failing == 0):
        failing += 1
    return passing, failing


def main():
    passed = failed = 0
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            good, bad = count(json.loads(line))
            passed += good
            failed += bad
    if passed + failed == 0:
        sys.exit("no test ran")
    print(passed, failed)


if __name__ == "__main__":
    main()
