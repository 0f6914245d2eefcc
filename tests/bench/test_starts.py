"""bench/starts: what it prints, and how it refuses what makes no sense."""

import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
program = None  # build/bench/starts
# A heap that is written to when it is asked for is resident before the call that uses it.
ENVIRONMENT = {**os.environ, "MALLOC_PERTURB_": "0"}


def run(*words):
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, env=ENVIRONMENT)


class Program(unittest.TestCase):
    def numbers(self, *words):
        done = run(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [float(number) for number in done.stdout.split()]

    def test_first(self):
        created, called = self.numbers("first", 17)
        self.assertGreater(created, 0)
        self.assertGreater(called, 0)

    def test_memory(self):
        """Tensors count as they are; packed keys, a fourth of their size, are beyond them. The most
        of several, because a system that is short of memory takes some away meanwhile."""
        found = [self.numbers("memory", 4096) for _ in range(5)]
        self.assertEqual({tensors for tensors, _ in found}, {4 * 8 * 4096 * 64 * 4})
        share = max(beyond / tensors for tensors, beyond in found)
        self.assertGreater(share, 0.2)
        self.assertLessEqual(share, 0.5)

    def test_usage(self):
        for words in ((), ("first",), ("last", 17), ("first", 0), ("memory", "many"),
                      ("first", 1 << 21), ("first", 17, 17)):
            done = run(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertIn("usage: starts first|memory TOKENS", done.stderr)


class Script(unittest.TestCase):
    def test_refusals(self):
        for words in (("--cold", "0"), ("--warm", "-1"), ("--build", "/nowhere"),
                      ("--opencl", "none")):
            done = subprocess.run([sys.executable, ROOT / "bench/starts.py", *words],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(words[0] if words[0] != "--build" else words[1], done.stderr)


if __name__ == "__main__":
    program = sys.argv.pop(1)
    unittest.main()
