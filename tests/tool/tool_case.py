"""What the tests of the tool share: running it in an empty folder, and looking at what it left.

Each test file is run as `FILE TOOL [ARGUMENT]...`; main() takes the arguments off."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import arrays

BOUND = 1e-5
# Built with sanitizers, which make everything slower.
IS_INSTRUMENTED = bool(os.environ.get("CLATTN_TEST_INSTRUMENTED"))
tool = None
arguments = []


def main():
    global tool, arguments
    tool, *arguments = map(os.path.abspath, sys.argv[1:])
    unittest.main(module="__main__", argv=sys.argv[:1], verbosity=2)


class ToolCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="clattn-tool-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_tool(self, *words, **environment):
        words = [str(word) for word in words]
        return subprocess.run(
            [tool, *words],
            cwd=self.folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def run_good(self, *words, **environment):
        """Its standard output, as text."""
        done = self.run_tool(*words, **environment)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode()

    def files(self):
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }

    def run_bad(self, status, argument, *words, **environment):
        """Fails with this status, one line that names the argument, and no trace in the folder.
        Returns the line."""
        before = self.files()
        done = self.run_tool(*words, **environment)
        line = done.stderr.decode()
        self.assertEqual(done.returncode, status, line)
        self.assertEqual(line.count("\n"), 1, line)
        self.assertTrue(line.endswith("\n"), line)
        self.assertTrue(line.startswith(f"clattn: {argument}: "), line)
        self.assertEqual(done.stdout, b"")
        self.assertEqual(self.files(), before)
        return line

    def write(self, name, shape, values=None, **form):
        return arrays.write(self.folder / name, shape, values, **form)

    def write_problem(self, q, k=None, v=None, **form):
        """q.npy, k.npy, v.npy of these shapes; k like q and v like k where not given."""
        k = k or q
        v = v or k
        return [self.write(f"{n}.npy", s, **form) for n, s in (("q", q), ("k", k), ("v", v))]

    def assert_close(self, name, shape, expected):
        found_shape, found = arrays.read(self.folder / name)
        self.assertEqual(tuple(found_shape), tuple(shape), name)
        finite = [abs(e) for e in expected if abs(e) != float("inf")]
        bound = BOUND * max([1, *finite])
        for got, wanted in zip(found, expected, strict=True):
            if got != wanted:
                self.assertLessEqual(abs(got - wanted), bound, name)


# The options of a whole command on the files that write_problem() makes.
INPUTS = ("--q", "q.npy", "--k", "k.npy", "--v", "v.npy")
ATTENTION = ("attention", *INPUTS, "--out", "out.npy")
