#!/usr/bin/env python3
"""example_test.py PROGRAM SOURCE README SUBMIT: the example runs, prints what it should, is short,
and the README shows the same text. The program SUBMIT prints what it should."""

import pathlib
import subprocess
import sys

EXPECTED = """\
1.212 2.194 3.177 4.159
5.000 5.982 6.965 7.947
"""
SUBMIT_EXPECTED = """\
0.00 10.00 0.00 -1.00
0.50 10.00 0.00 -1.00
1.00 10.00 0.00 -1.00
1.50 10.00 0.00 -1.00
"""


def run_and_compare(program, expected):
    """What is wrong, a list."""
    run = subprocess.run([program], capture_output=True, text=True)
    if run.returncode == 0 and run.stdout == expected:
        return []
    printed = run.stdout + run.stderr
    return [f"{program}: exit {run.returncode}, printed\n{printed}expected\n{expected}"]


def main():
    program, source_path, readme_path, submit = sys.argv[1:]
    source = pathlib.Path(source_path).read_text(encoding="utf-8")
    readme = pathlib.Path(readme_path).read_text(encoding="utf-8")
    wrong = run_and_compare(program, EXPECTED) + run_and_compare(submit, SUBMIT_EXPECTED)
    if source.count("\n") >= 40:
        wrong.append(f"{source_path} has {source.count(chr(10))} lines, fewer than 40 are wanted")
    if f"```c\n{source}```" not in readme:
        wrong.append(f"{readme_path} does not show the text of {source_path}")
    print("\n".join(wrong) if wrong else "the examples work, and one is the README's")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
