#!/usr/bin/env python3
"""serve_test.py PROGRAM: the example of a server answers requests, nothing fails, and its last line
has throughput and latencies that make sense."""

import re
import subprocess
import sys

LINE = re.compile(
    r"\d+\.\d s +(?P<tokens>\d+) tokens/s +(?P<answered>\d+) answered +\d+ in line +p50/p99, ms:"
    r" +token (?P<token_50>\d+\.\d\d)/(?P<token_99>\d+\.\d\d)"
    r" +chunk (?P<chunk_50>\d+\.\d\d)/(?P<chunk_99>\d+\.\d\d)"
    r" +(?P<launches>\d+\.\d\d) launches"
)


def complaints(done):
    if done.returncode != 0 or done.stderr:
        yield f"exit {done.returncode}: {done.stderr}"
        return
    lines = done.stdout.splitlines()
    found = LINE.fullmatch(lines[-1]) if lines else None
    if not found:
        yield f"not the lines of a server:\n{done.stdout}"
        return
    last = {name: float(value) for name, value in found.groupdict().items()}
    if not last["tokens"] or not last["answered"] or not last["launches"]:
        yield f"nobody was served: {lines[-1]}"
    for what in ("token", "chunk"):
        if not 0 < last[what + "_50"] <= last[what + "_99"]:
            yield f"latencies of a {what} make no sense: {lines[-1]}"


def main(program):
    done = subprocess.run([program, "2"], capture_output=True, text=True, timeout=60)
    wrong = list(complaints(done))
    for complaint in wrong:
        print(f"serve_test: {complaint}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
