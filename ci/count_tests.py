#!/usr/bin/env python3
"""count_tests.py TESTLOG.json: prints "passed failed" for one run of meson's tests.

A Criterion program counts with each of its tests, any other program as one. A skipped program is
a failure here: on a machine where all packages are installed nothing has a reason to be skipped.
A program with a defect on purpose has to fail by a test of its own, and to say so in its last
line: one that doesn't start has seen nothing.

count_tests.py --self-test checks the counting.
"""

import json
import re
import sys

SYNTHESIS = re.compile(r"Tested: \D*(\d+)\D* \| Passing: \D*(\d+)\D* \| Failing:")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def count(entry):
    text = COLOUR.sub("", entry.get("stdout", "") + entry.get("stderr", ""))
    found = SYNTHESIS.search(text)
    tested, passing = map(int, found.groups()) if found else (0, 0)
    if entry["result"] == "EXPECTEDFAIL":
        return (1, 0) if passing < tested else (0, 1)
    good = entry["result"] == "OK"
    if not found:
        return (1, 0) if good else (0, 1)
    failing = tested - passing
    if tested == 0 or (not good and failing == 0):
        failing += 1
    return passing, failing


def self_test():
    def line(tested, passing):
        return (f"[\x1b[0;34m====\x1b[0m] Synthesis: Tested: \x1b[0;34m{tested}\x1b[0m | Passing: "
                f"\x1b[0;32m{passing}\x1b[0m | Failing: {tested - passing} | Crashing: 0\n")
    cases = [
        # result, stderr, passed and failed
        ("OK", line(5, 5), (5, 0)),
        ("FAIL", line(5, 3), (3, 2)),
        ("FAIL", line(5, 5), (5, 1)),
        ("OK", line(0, 0), (0, 1)),
        ("OK", "done\n", (1, 0)),
        ("FAIL", "", (0, 1)),
        ("SKIP", "no cmake here\n", (0, 1)),
        ("TIMEOUT", "", (0, 1)),
        ("EXPECTEDFAIL", line(2, 1), (1, 0)),
        ("EXPECTEDFAIL", line(2, 2), (0, 1)),
        ("EXPECTEDFAIL", "cannot open shared object file\n", (0, 1)),
        ("UNEXPECTEDPASS", line(2, 2), (2, 1)),
    ]
    wrong = [case for case in cases if count({"result": case[0], "stderr": case[1]}) != case[2]]
    for case in wrong:
        print(f"count_tests: self-test failed: {case}")
    return 1 if wrong else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    passed = failed = 0
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            good, bad = count(json.loads(line))
            passed += good
            failed += bad
    if passed + failed == 0:
        sys.exit("no test ran")
    print(passed, failed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
