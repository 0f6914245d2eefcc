"""Every way to use the tool wrongly: exit status, one line that names the argument, nothing left
behind."""

import os
import subprocess
import unittest

import arrays
import tool_case
from tool_case import ATTENTION, INPUTS

ONE = (1, 2, 3, 4)


class Usage(tool_case.ToolCase):
    """The command line itself is wrong: status 2, and no file is looked at."""

    CASES = [
        ("COMMAND", ()),
        ("COMMAND", ("",)),
        ("nonsense", ("nonsense",)),
        ("--nonsense", ("--nonsense",)),
        ("--nonsense", ("devices", "--nonsense")),
        ("--nonsense=1", ("devices", "--nonsense=1")),
        ("-x", ("devices", "-x")),
        ("extra", ("devices", "extra")),
        ("extra", ("version", "extra")),
        ("--json", ("devices", "--json=yes")),
        ("--help", ("devices", "--help=yes")),
        ("--device", ("devices", "--device")),
        ("--device", ("devices", "--device", "")),
        ("programs", ("programs",)),
        ("programs", ("programs", "list", "clear")),
        ("nonsense", ("programs", "nonsense")),
        ("--q", ("attention",)),
        ("--out", ("attention", *INPUTS)),
        ("--v", ("attention", "--q", "q.npy", "--k", "k.npy", "--out", "out.npy")),
        ("--out", ("attention", *INPUTS, "--out")),
        ("--out", ("attention", *INPUTS, "--out", "")),
        ("extra", (*ATTENTION, "extra")),
        ("--scale", (*ATTENTION, "--scale", "wide")),
        ("--scale", (*ATTENTION, "--scale", "1x")),
        ("--scale", (*ATTENTION, "--scale", "nan")),
        ("--scale", (*ATTENTION, "--scale", "inf")),
        ("--align", (*ATTENTION, "--align", "left")),
        ("--align", (*ATTENTION, "--align", "")),
        ("--align", (*ATTENTION, "--align", "top-left|bottom-right")),
        ("--causal", (*ATTENTION, "--causal=1")),
    ]

    def test_command_line(self):
        for argument, words in self.CASES:
            with self.subTest(words=words):
                self.run_bad(2, argument, *words)

    def test_align_is_needed_where_lengths_differ(self):
        self.write_problem((2, 3, 4), (2, 5, 4))
        line = self.run_bad(2, "--align", *ATTENTION, "--causal")
        self.assertIn("3 queries and 5 keys", line)

    def test_scale_beyond_float32(self):
        self.write_problem((3, 4))
        self.run_bad(2, "--scale", *ATTENTION, "--scale", "1e300")


class Shapes(tool_case.ToolCase):
    """Arrays that don't fit together: status 1."""

    CASES = [
        ("--q", (4,), (3, 4), (3, 4)),
        ("--q", (), (3, 4), (3, 4)),
        ("--q", (1, *ONE), ONE, ONE),
        ("--k", ONE, (4,), ONE),
        ("--k", ONE, (2, 3, 4), ONE),
        ("--v", (2, 3, 4), (2, 3, 4), (1, 2, 3, 4)),
        ("--k", ONE, (2, 2, 3, 4), (2, 2, 3, 4)),
        ("--v", ONE, ONE, (2, 2, 3, 4)),
        ("--k", ONE, (1, 2, 3, 5), (1, 2, 3, 5)),
        ("--v", ONE, ONE, (1, 2, 4, 4)),
        ("--v", ONE, ONE, (1, 1, 3, 4)),
        ("--k", (1, 4, 3, 4), (1, 3, 3, 4), (1, 3, 3, 4)),
        ("--k", (1, 2, 3, 4), (1, 4, 3, 4), (1, 4, 3, 4)),
        ("--k", ONE, (1, 0, 3, 4), (1, 0, 3, 4)),
        ("--q", (1, 0, 3, 4), (1, 1, 3, 4), (1, 1, 3, 4)),
        ("--q", (2, 577), (2, 577), (2, 4)),
        ("--v", (2, 4), (2, 4), (2, 577)),
        ("--q", (2, 0), (2, 0), (2, 4)),
        ("--v", (2, 4), (2, 4), (2, 0)),
    ]

    def test_shapes(self):
        for argument, q, k, v in self.CASES:
            with self.subTest(q=q, k=k, v=v):
                self.write_problem(q, k, v)
                self.run_bad(1, argument, *ATTENTION, "--weights", "weights.npy")

    def test_heads_that_do_not_divide(self):
        self.write_problem((1, 4, 3, 4), (1, 3, 3, 4))
        self.assertIn("do not divide", self.run_bad(1, "--k", *ATTENTION))


GOOD = arrays.encode((2, 3, 4), [0.5] * 24)


def with_text(text, elements=b"", version=1):
    return arrays.header("", (), version=version, text=text) + elements


def dictionary(descr="'<f4'", order="False", shape="(2, 3, 4)"):
    return "{'descr': %s, 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape)


class Files(tool_case.ToolCase):
    """Files that are no arrays, or not of a type that fits: status 1, for each input."""

    DATA = GOOD[-96:]
    CASES = [
        ("empty", b"", "truncated"),
        ("text", b"q = [1, 2, 3]\n" * 20, "not a .npy file"),
        ("short magic", GOOD[:5], "truncated"),
        ("no length", GOOD[:9], "truncated in its header"),
        ("half a header", GOOD[:60], "truncated in its header"),
        ("no elements", GOOD[:-96], "truncated"),
        ("one byte short", GOOD[:-1], "truncated"),
        ("one byte more", GOOD + b"\0", "1 bytes more"),
        ("version 0", GOOD[:6] + b"\0\0" + GOOD[8:], "version 0.0"),
        ("version 4", GOOD[:6] + b"\4\0" + GOOD[8:], "version 4.0"),
        ("version 1.1", GOOD[:6] + b"\1\1" + GOOD[8:], "version 1.1"),
        ("header of 4 GB", b"\x93NUMPY\2\0\xff\xff\xff\xff" + GOOD[10:], "4294967295 bytes"),
        ("header of 64 KiB", b"\x93NUMPY\2\0\0\0\1\0" + b" " * 65536 + DATA, "65536 bytes"),
        ("zero byte", with_text(dictionary() + "\0", DATA), "zero byte"),
        ("float64", arrays.encode((2, 3, 4), [0.5] * 24, descr="<f8"), "'<f8'"),
        ("int32", arrays.encode((2, 3, 4), [1] * 24, descr="<i4"), "'<i4'"),
        ("bool", arrays.encode((2, 3, 4), [True] * 24, descr="|b1"), "'|b1'"),
        ("object", with_text(dictionary("'|O'"), DATA), "'|O'"),
        ("no byte order", with_text(dictionary("'f4'"), DATA), "'f4'"),
        ("empty type", with_text(dictionary("''"), DATA), "''"),
        ("long type", with_text(dictionary("'<U1000000000000000'"), DATA), "'descr'"),
        ("structured", with_text(dictionary("[('x', '<f4')]"), DATA), "structured"),
        ("order", with_text(dictionary(order="Maybe"), DATA), "'fortran_order'"),
        ("no dictionary", with_text("[1, 2]", DATA), "header"),
        ("unclosed", with_text("{'descr': '<f4', 'shape': (1", DATA), "shape"),
        ("missing key", with_text("{'descr': '<f4', 'shape': (24,)}", DATA), "without"),
        ("key twice", with_text("{'descr': '<f4', 'descr': '<f4'}", DATA), "twice"),
        ("other key", with_text("{'descr': '<f4', 'x': 1}", DATA), "unknown key"),
        ("behind", with_text(dictionary() + " 1", DATA), "behind its end"),
        ("negative", with_text(dictionary(shape="(2, -3, 4)"), DATA), "shape"),
        ("fraction", with_text(dictionary(shape="(2, 3.0, 4)"), DATA), "shape"),
        ("no tuple", with_text(dictionary(shape="(24)"), DATA), "shape"),
        ("beyond 64 bits", with_text(dictionary(shape="(99999999999999999999,)")), "64 bits"),
        ("overflow", with_text(dictionary(shape="(4294967296, 4294967296, 2)")), "addressed"),
        ("terabytes", with_text(dictionary(shape="(1099511627776, 4)"), DATA), "truncated"),
        ("nine dimensions", with_text(dictionary(shape="(" + "1, " * 9 + ")")), "8 dimensions"),
    ]

    def test_files(self):
        for name, content, why in self.CASES:
            for wrong in "qkv":
                with self.subTest(name=name, wrong=wrong):
                    self.write_problem((2, 3, 4))
                    (self.folder / f"{wrong}.npy").write_bytes(content)
                    line = self.run_bad(1, f"--{wrong}", *ATTENTION)
                    self.assertIn(f"{wrong}.npy", line)
                    self.assertIn(why, line)

    def test_missing(self):
        self.write_problem((2, 3, 4))
        for wrong in "qkv":
            words = [word.replace(f"{wrong}.npy", "missing.npy") for word in ATTENTION]
            self.run_bad(1, f"--{wrong}", *words)

    def test_folder(self):
        self.write_problem((2, 3, 4))
        (self.folder / "k.npy").unlink()
        (self.folder / "k.npy").mkdir()
        self.run_bad(1, "--k", *ATTENTION)

    def test_device_that_has_nothing(self):
        self.write_problem((2, 3, 4))
        words = [word.replace("v.npy", "/dev/null") for word in ATTENTION]
        self.assertIn("truncated", self.run_bad(1, "--v", *words))

    def test_name_with_newline_stays_one_line(self):
        self.write_problem((2, 3, 4))
        words = [word.replace("q.npy", "new\nline\x1b[31m.npy") for word in ATTENTION]
        self.assertNotIn("\x1b", self.run_bad(1, "--q", *words))


class Outputs(tool_case.ToolCase):
    """A target that can't be written: nothing is, not even the targets that could be."""

    def setUp(self):
        super().setUp()
        self.write_problem((2, 3, 4))
        (self.folder / "folder").mkdir()
        (self.folder / "file").write_bytes(b"before")

    def test_unwritable(self):
        for path in ("folder", "folder/", "missing/out.npy", "missing/", "file/out.npy"):
            with self.subTest(path=path):
                self.run_bad(1, "--out", "attention", *INPUTS, "--out", path)
                self.run_bad(1, "--weights", *ATTENTION, "--lse", "file", "--weights", path)

    def test_full(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        self.run_bad(1, "--weights", *ATTENTION, "--lse", "file", "--weights", "/dev/full")

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_no_permission(self):
        (self.folder / "file").chmod(0o444)
        self.run_bad(1, "--out", "attention", *INPUTS, "--out", "file")
        (self.folder / "folder").chmod(0o555)
        self.run_bad(1, "--out", "attention", *INPUTS, "--out", "folder/out.npy")

    @unittest.skipIf(tool_case.IS_INSTRUMENTED, "sanitizers end a program that asks for too much")
    def test_more_than_an_address_space(self):
        self.write_problem((6000000, 1), values=[0.0] * 6000000)
        self.run_bad(1, "--weights", *ATTENTION, "--weights", "weights.npy")

    def test_one_file_for_two(self):
        os.symlink("file", self.folder / "link")
        self.run_bad(1, "--lse", *ATTENTION, "--lse", "folder/../out.npy")
        self.run_bad(1, "--lse", "attention", *INPUTS, "--out", "file", "--lse", "link")

    def test_failure_keeps_what_was_there(self):
        self.run_bad(1, "--device", "attention", *INPUTS, "--out", "file", "--device", "nonsense")


class Devices(tool_case.ToolCase):
    """No device, or no OpenCL at all."""

    def setUp(self):
        super().setUp()
        self.write_problem((2, 3, 4))

    def test_selector(self):
        for selector in ("nonsense", "999", "99999999999", "nonsense/nonsense"):
            self.run_bad(1, "--device", *ATTENTION, "--device", selector)
            self.run_bad(1, "--device", "devices", "--device", selector)
            self.run_bad(1, "--device", "devices", "--json", "--device", selector)

    def test_selector_of_the_environment(self):
        self.run_bad(1, "CLATTN_DEVICE", *ATTENTION, CLATTN_DEVICE="nonsense")

    def test_no_opencl(self):
        for words in (("devices",), ("devices", "--measure", "--json"), ATTENTION):
            line = self.run_bad(
                1, "CLATTN_OPENCL_LIBRARY", *words, CLATTN_OPENCL_LIBRARY="/nonexistent"
            )
            self.assertIn("/nonexistent", line)

    def test_stdout_is_full(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [tool_case.tool, "version"], stdout=full, stderr=subprocess.PIPE, check=False
            )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, b"clattn: stdout: can't be written\n")


if __name__ == "__main__":
    tool_case.main()
