"""Every way to use an option of clattn attention wrongly: one line that names the option, exit
status 1 or 2, and no file left."""

import math

import tool_case
from tool_case import ATTENTION


class Errors(tool_case.ToolCase):
    """One line that names the option, and no file left."""

    def setUp(self):
        super().setUp()
        self.write_problem((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 6))

    USAGE = (
        ("--window", ("--window", "1")),
        ("--window", ("--window", "1,")),
        ("--window", ("--window", ",1")),
        ("--window", ("--window", "1,2,3")),
        ("--window", ("--window", "1.5,2")),
        ("--window", ("--window", "-2,1", "--align", "top-left")),
        ("--window", ("--window", "1,2147483648", "--align", "top-left")),
        ("--window", ("--window", "1,99999999999999999999")),
        ("--window", ("--window",)),
        ("--softcap", ("--softcap", "-1")),
        ("--softcap", ("--softcap", "nan")),
        ("--softcap", ("--softcap", "1e300")),
        ("--softcap", ("--softcap", "1e-300")),
        ("--dropout", ("--dropout", "1")),
        ("--dropout", ("--dropout", "-0.5")),
        ("--dropout", ("--dropout", "0.99999999999")),
        ("--dropout", ("--dropout", "half")),
        ("--seed", ("--dropout", "0.5", "--seed", "1.5")),
        ("--seed", ("--dropout", "0.5", "--seed", "99999999999999999999")),
        ("--seed", ("--seed", "1")),
        ("--dtype", ("--dtype", "f64")),
        ("--score-stage", ("--scores", "s.npy", "--score-stage", "raw")),
        ("--score-stage", ("--score-stage", "scaled")),
        ("--params", ("--params", "vector.npy")),
        ("--past-k", ("--past-k", "k.npy")),
        ("--past-v", ("--past-v", "v.npy")),
        ("--cu-seqlens-q", ("--cu-seqlens-q", "q.npy")),
        ("--cu-seqlens-k", ("--cu-seqlens-k", "q.npy")),
        ("--mask", ("--mask", "")),
        ("--bias", ("--bias",)),
    )

    def test_usage(self):
        for argument, words in self.USAGE:
            with self.subTest(words=words):
                self.run_bad(2, argument, *ATTENTION, *words)

    def test_options_that_exclude_ragged(self):
        ragged = ("--cu-seqlens-q", "c.npy", "--cu-seqlens-k", "c.npy")
        for argument in ("--q-lengths", "--kv-lengths", "--present-k", "--present-v"):
            self.run_bad(2, argument, *ATTENTION, *ragged, argument, "l.npy")
        words = ("--past-k", "k.npy", "--past-v", "v.npy")
        self.run_bad(2, "--past-k", *ATTENTION, *ragged, *words)

    def test_alignment(self):
        self.write("alibi.npy", (4,))
        self.write("lengths.npy", (2,), [5, 5], descr="<i4")
        for words in (("--causal",), ("--window", "1,1"), ("--alibi", "alibi.npy")):
            with self.subTest(words=words):
                line = self.run_bad(2, "--align", *ATTENTION, *words)
                self.assertIn(f"{words[0]}, since there are 5 queries and 7 keys", line)
        self.write_problem((2, 4, 5, 8), (2, 2, 5, 8), (2, 2, 5, 6))
        for option in ("--kv-lengths", "--q-lengths"):
            for words in (("--causal",), ("--window", "1,1"), ("--alibi", "alibi.npy")):
                with self.subTest(option=option, words=words):
                    self.run_bad(2, "--align", *ATTENTION, *words, option, "lengths.npy")
                    self.run_good(*ATTENTION, *words)
        self.write_problem((5, 4, 8), (5, 2, 8), (5, 2, 6))
        self.write("ends.npy", (2,), [0, 5], descr="<i4")
        ragged = ("--cu-seqlens-q", "ends.npy", "--cu-seqlens-k", "ends.npy")
        self.run_bad(2, "--align", *ATTENTION, *ragged, "--causal")
        self.run_good(*ATTENTION, *ragged, "--causal", "--align", "top-left")

    SHAPES = (
        ("--mask", "|b1", ((2,), (6,), (7, 5), (3, 5, 7), (4, 4, 5, 7), (0,), (1, 2, 4, 5, 7))),
        ("--bias", "<f4", ((2,), (6,), (7, 5), (3, 5, 7), (4, 4, 5, 7), (0,), (1, 2, 4, 5, 7))),
        ("--alibi", "<f4", ((), (3,), (2,), (1,), (0,), (4, 1), (1, 4))),
        ("--sink", "<f4", ((), (3,), (2,), (1,), (0,), (4, 1), (1, 4))),
        ("--kv-lengths", "<i4", ((), (1,), (3,), (2, 1), (0,))),
        ("--q-lengths", "<i8", ((), (1,), (3,), (2, 1), (0,))),
    )

    def test_shapes(self):
        for argument, descr, shapes in self.SHAPES:
            for shape in shapes:
                with self.subTest(argument=argument, shape=shape):
                    count = math.prod(shape)
                    self.write("wrong.npy", shape, [1] * count, descr=descr)
                    line = self.run_bad(
                        1, argument, *ATTENTION, argument, "wrong.npy", "--align", "top-left"
                    )
                    self.assertIn("wrong.npy", line)

    def test_shapes_of_fewer_dimensions(self):
        self.write_problem((4, 5, 8), (2, 7, 8))
        self.write("lengths.npy", (2,), [1, 2], descr="<i4")
        line = self.run_bad(1, "--kv-lengths", *ATTENTION, "--kv-lengths", "lengths.npy")
        self.assertIn("batch is 2, that of --q is 1", line)
        self.write_problem((5, 8))
        self.write("sink.npy", (4,))
        self.run_bad(1, "--sink", *ATTENTION, "--sink", "sink.npy")

    TYPES = (
        ("--mask", ("<f4", "<i4", "<i8")),
        ("--bias", ("|b1", "<i4", "<f8")),
        ("--alibi", ("|b1", "<i4", "<f8")),
        ("--sink", ("|b1", "<i4", "<f8")),
        ("--kv-lengths", ("|b1", "<f4", "<f8")),
        ("--q-lengths", ("|b1", "<f4", "<f2")),
    )

    def test_types(self):
        for argument, types in self.TYPES:
            for descr in types:
                with self.subTest(argument=argument, descr=descr):
                    self.write("wrong.npy", (1,), [1], descr=descr)
                    line = self.run_bad(1, argument, *ATTENTION, argument, "wrong.npy")
                    self.assertIn(descr, line)

    def test_missing_and_damaged(self):
        (self.folder / "damaged.npy").write_bytes(b"\x93NUMPY\x01\x00")
        options = [argument for argument, _, _ in self.SHAPES]
        for argument in options:
            for name in ("missing.npy", "damaged.npy"):
                with self.subTest(argument=argument, name=name):
                    self.run_bad(1, argument, *ATTENTION, argument, name)

    def test_values_of_lengths(self):
        for argument, most in (("--q-lengths", 5), ("--kv-lengths", 7)):
            for wrong in (-1, most + 1, -(2**63), 2**63 - 1, 2**32):
                with self.subTest(argument=argument, wrong=wrong):
                    self.write("lengths.npy", (2,), [1, wrong], descr="<i8")
                    line = self.run_bad(1, argument, *ATTENTION, argument, "lengths.npy")
                    self.assertIn(f"element 1 is {wrong}, must be 0 to", line)

    def test_past(self):
        new = {"k": (2, 2, 3, 8), "v": (2, 2, 3, 6)}
        for name, wrong in (
            ("k", (2, 2, 3, 7)),
            ("k", (2, 1, 3, 8)),
            ("k", (2, 3, 8)),
            ("v", (2, 2, 4, 6)),
            ("v", (2, 2, 3, 5)),
            ("v", (1, 2, 3, 6)),
        ):
            with self.subTest(name=name, wrong=wrong):
                for each, shape in new.items():
                    self.write(f"past_{each}.npy", wrong if each == name else shape)
                words = ("--past-k", "past_k.npy", "--past-v", "past_v.npy")
                self.run_bad(1, f"--past-{name}", *ATTENTION, *words)

    def test_ragged(self):
        self.write_problem((5, 4, 8), (7, 2, 8), (7, 2, 6))
        good = {"q": [0, 2, 5], "k": [0, 6, 7]}
        for name, wrong in (
            ("q", []),
            ("q", [1, 2, 5]),
            ("q", [0, 3, 2]),
            ("q", [0, 2, 6]),
            ("k", [0, 2**40, 7]),
            ("k", [0, -1, 7]),
            ("k", [-1, 0, 7]),
            ("k", [0, 7]),
            ("k", [0, 1, 2, 3]),
        ):
            with self.subTest(name=name, wrong=wrong):
                for each, ends in good.items():
                    ends = wrong if each == name else ends
                    self.write(f"{each}.cu", (len(ends),), ends, descr="<i8")
                words = ("--cu-seqlens-q", "q.cu", "--cu-seqlens-k", "k.cu")
                # Their number is that of --cu-seqlens-q.
                argument = f"--cu-seqlens-{name if wrong else 'k'}"
                self.run_bad(1, argument, *ATTENTION, *words)
        for name, ends in good.items():
            self.write(f"{name}.cu", (3,), ends, descr="<i4")
        words = ("--cu-seqlens-q", "q.cu", "--cu-seqlens-k", "k.cu")
        self.write("q.npy", (5, 8))
        self.assertIn("token, head, dim", self.run_bad(1, "--q", *ATTENTION, *words))
        self.write("q.npy", (1, 5, 4, 8))
        self.run_bad(1, "--q", *ATTENTION, *words)

    def test_outputs_that_can_not_be_written(self):
        for option in ("--weights-mean", "--weights-sum", "--scores", "--present-k", "--present-v"):
            self.run_bad(1, option, *ATTENTION, option, "missing/file.npy")
            self.run_bad(1, option, *ATTENTION, option, "out.npy")


if __name__ == "__main__":
    tool_case.main()
