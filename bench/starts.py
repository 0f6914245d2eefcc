#!/usr/bin/env python3
"""How long a new process waits for its first result, with and without programs in the caches, and
how much memory a large call takes beyond its tensors. Needs a build of clattn; prints a table.
docs/benchmarks.md has figures."""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from runtimes import OPENCL, ROOT

TOKENS = (128, 1024)  # of one launch, and of those that pack keys first
LARGE = 8192


def run(program, runtime, caches, *words):
    """The numbers that the program prints, with the caches of all runtimes in one folder."""
    environment = {**os.environ, **OPENCL[runtime], "CLATTN_CACHE_DIR": f"{caches}/clattn",
                   "POCL_CACHE_DIR": f"{caches}/pocl", "XDG_CACHE_HOME": f"{caches}/other",
                   "HOME": str(caches)}
    done = subprocess.run([program, *map(str, words)], env=environment, check=True, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return [float(number) for number in done.stdout.split()]


def starts(program, runtime, tokens, colds, warms):
    """Seconds until the first result: of processes with empty caches, of those with full ones."""
    cold, warm = [], []
    for _ in range(colds):
        with tempfile.TemporaryDirectory() as caches:
            for times, count in (cold, 1), (warm, warms):
                times += [sum(run(program, runtime, caches, "first", tokens))
                          for _ in range(count)]
    return cold, warm


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--opencl", choices=OPENCL, action="append",
                        help="the system's OpenCL (default), or Intel's for CPUs from "
                        "bench/setup_peers.sh --intel-opencl; repeatable")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="FOLDER")
    parser.add_argument("--cold", type=int, default=2, metavar="N", help="starts with empty caches")
    parser.add_argument("--warm", type=int, default=10, metavar="N",
                        help="starts with full ones after each")
    options = parser.parse_args()
    program = options.build / "bench" / "starts"
    if not program.exists():
        parser.error(f"{program} isn't there: build clattn first")
    if options.cold < 1 or options.warm < 1:
        parser.error("--cold and --warm must be 1 or more")
    print("OpenCL   tokens  cold, s: fastest, median  warm, s: fastest, median")
    for runtime in options.opencl or ["system"]:
        for tokens in TOKENS:
            cold, warm = starts(program, runtime, tokens, options.cold, options.warm)
            print(f"{runtime:8} {tokens:6}  {min(cold):16.3f}  {statistics.median(cold):6.3f}  "
                  f"{min(warm):16.3f}  {statistics.median(warm):6.3f}", flush=True)
        with tempfile.TemporaryDirectory() as caches:
            tensors, beyond = run(program, runtime, caches, "memory", LARGE)
        print(f"{runtime:8} {LARGE:6}  {beyond / 2**20:.1f} MiB beyond tensors of "
              f"{tensors / 2**20:.1f} MiB: {beyond / tensors:.0%}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
