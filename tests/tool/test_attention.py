"""clattn attention computes what it should, from and to all kinds of files.

test_attention.py TOOL MINILM KERNELS: the folders tests/data/minilm and cl."""

import json
import os
import pathlib
import pty
import shutil
import signal
import struct
import subprocess
import time

import arrays
import tool_case
from tool_case import ATTENTION, INPUTS

ALL = (*ATTENTION, "--lse", "lse.npy", "--weights", "weights.npy")


class Values(tool_case.ToolCase):
    """Against a computation in double precision, in Python."""

    def check(self, shape, rank, words=(), scale=None, offset=None, **form):
        batch, n_head, n_kv_head, n_q, n_kv, head_dim, value_dim = shape
        skip = 4 - rank
        q, k, v = self.write_problem(
            (batch, n_head, n_q, head_dim)[skip:],
            (batch, n_kv_head, n_kv, head_dim)[skip:],
            (batch, n_kv_head, n_kv, value_dim)[skip:],
            **form,
        )
        self.assertEqual(self.run_good(*ALL, *words), "")
        out, lse, weights = arrays.attention(q, k, v, shape, scale, offset)
        self.assert_close("out.npy", (batch, n_head, n_q, value_dim)[skip:], out)
        self.assert_close("lse.npy", (batch, n_head, n_q)[skip:], lse)
        self.assert_close("weights.npy", (batch, n_head, n_q, n_kv)[skip:], weights)

    def test_ranks(self):
        self.check((2, 4, 2, 5, 7, 8, 6), 4)
        self.check((1, 4, 2, 5, 7, 8, 6), 3)
        self.check((1, 1, 1, 5, 7, 8, 6), 2)

    def test_files_of_other_kinds(self):
        for form in (
            {"descr": "<f2"},
            {"descr": ">f2"},
            {"descr": ">f4"},
            {"fortran": True},
            {"fortran": True, "descr": ">f2"},
            {"version": 2},
            {"version": 3},
        ):
            with self.subTest(**form):
                self.check((2, 4, 2, 5, 7, 8, 6), 4, **form)

    def test_scale(self):
        # The values of options may begin with '-'.
        self.check((1, 1, 1, 5, 7, 8, 6), 2, ("--scale", "-0.5"), scale=-0.5)
        self.check((1, 1, 1, 5, 7, 8, 6), 2, ("--scale=0",), scale=0)

    def test_causal(self):
        self.check((1, 2, 2, 6, 6, 8, 6), 3, ("--causal",), offset=0)
        for align, offset in (("top-left", 0), ("bottom-right", 3)):
            self.check((1, 2, 2, 4, 7, 8, 6), 3, ("--causal", "--align", align), offset=offset)
        # The first three queries see nothing.
        self.check((1, 2, 2, 7, 4, 8, 6), 3, ("--causal", "--align=bottom-right"), offset=-3)

    def test_nothing_to_compute(self):
        self.check((2, 2, 2, 0, 3, 4, 5), 4)
        self.check((0, 2, 2, 3, 3, 4, 5), 4)
        self.check((1, 2, 2, 3, 0, 4, 5), 3)

    def test_large_numbers_of_half_precision(self):
        special = [65504.0, -65504.0, 6e-8, 0.0]
        self.write_problem((1, 4), values=special, descr="<f2")
        self.run_good(*ATTENTION)
        half = struct.unpack("<e", struct.pack("<e", 6e-8))[0]
        self.assertEqual(arrays.read(self.folder / "out.npy")[1][:2], (65504.0, -65504.0))
        self.assertEqual(arrays.read(self.folder / "out.npy")[1][2], half)
        inf = float("inf")
        self.write("v.npy", (1, 4), [inf, -inf, float("nan"), 0.0], descr="<f2")
        self.write("q.npy", (1, 4))
        self.write("k.npy", (1, 4))
        self.run_good(*ATTENTION, "--verify")
        out = arrays.read(self.folder / "out.npy")[1]
        self.assertEqual((out[0], out[1], out[3]), (inf, -inf, 0.0))
        self.assertNotEqual(out[2], out[2])

    def test_outputs_replace_files_and_follow_links(self):
        self.write_problem((3, 4))
        (self.folder / "old.npy").write_bytes(b"old")
        (self.folder / "link.npy").symlink_to("old.npy")
        self.run_good("attention", *INPUTS, "--out", "link.npy", "--lse", "/dev/null")
        self.assertTrue((self.folder / "link.npy").is_symlink())
        self.assertEqual(arrays.read(self.folder / "old.npy")[0], (3, 4))
        self.assertFalse(pathlib.Path("/dev/null").is_file())

    def test_output_may_be_a_pipe(self):
        self.write_problem((3, 4))
        done = self.run_tool("attention", *INPUTS, "--out", "/dev/stdout")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        (self.folder / "piped.npy").write_bytes(done.stdout)
        self.assertEqual(arrays.read(self.folder / "piped.npy")[0], (3, 4))


class MiniLM(tool_case.ToolCase):
    """The queries, keys and values of a language model, and its own results."""

    def test_cases(self):
        folder = pathlib.Path(tool_case.arguments[0])
        cases = sorted(path.parent for path in folder.glob("*/q.npy"))
        self.assertGreaterEqual(len(cases), 4)
        for case in cases:
            with self.subTest(case=case.name):
                inputs = [w for n in "qkv" for w in (f"--{n}", case / f"{n}.npy")]
                said = self.run_good(
                    "attention", *inputs, "--out", "out.npy", "--lse", "lse.npy", "--weights",
                    "weights.npy", "--verify",
                )
                self.assertEqual(said.count("verified"), 3)
                for name in ("out", "weights"):
                    expected = case / f"expected_{name}.npy"
                    if expected.exists():
                        self.assert_close(f"{name}.npy", *arrays.read(expected))


class Reports(tool_case.ToolCase):
    def setUp(self):
        super().setUp()
        self.write_problem((2, 5, 4), (2, 7, 4))

    def test_explain(self):
        said = self.run_good(*ATTENTION, "--explain")
        self.assertIn("n_q=5 n_kv=7", said)
        self.assertIn("kernel: attention_", said)

    def test_verify(self):
        said = self.run_good(*ATTENTION, "--verify").splitlines()
        self.assertEqual(len(said), 1)
        line = r"^verified out: largest error \d\.\d\de-\d+, allowed 1\.\d+e-05$"
        self.assertRegex(said[0], line)
        self.assertEqual(len(self.run_good(*ALL, "--verify").splitlines()), 3)

    def test_json(self):
        said = json.loads(self.run_good(*ALL, "--json", "--verify", "--explain"))
        self.assertTrue(said["kernel"].startswith("attention_"))
        self.assertIn("kernel: ", said["explain"])
        self.assertEqual([v["tensor"] for v in said["verified"]], ["out", "lse", "weights"])
        for result in said["verified"]:
            self.assertLessEqual(result["largest_error"], result["allowed"])
        self.assertNotIn("verified", json.loads(self.run_good(*ATTENTION, "--json")))

    def test_verify_sees_a_wrong_kernel(self):
        kernels = self.folder / "cl"
        shutil.copytree(tool_case.arguments[1], kernels)
        source = kernels / "common/softmax.h"
        text = source.read_text(encoding="utf-8")
        self.assertIn("0.693146978f", text)
        source.write_text(text.replace("0.693146978f", "0.6f"), encoding="utf-8")
        line = self.run_bad(1, "--verify", *ALL, "--verify", CLATTN_KERNEL_DIR=str(kernels))
        self.assertIn("allowed", line)

    def test_verify_knows_what_float32_can_do(self):
        # Scores near 1e5, where float32 has steps of 1/128, that differ by about 1: the weights
        # can't be right to 1e-5, and the plain computation is not either.
        row = [1 + abs(x) for x in arrays.random_values((64,), "k")]
        keys = [x + 1e-5 * j for j in range(8) for x in row]
        queries = [1 + abs(x) for x in arrays.random_values((40, 64), "q")]
        self.write_problem((40, 64), (8, 64))
        self.write("q.npy", (40, 64), queries)
        self.write("k.npy", (8, 64), keys)
        said = json.loads(self.run_good(*ALL, "--verify", "--json", "--scale", "300"))
        weights = said["verified"][2]
        self.assertGreater(weights["largest_error"], 1e-5)
        self.assertGreater(weights["allowed"], weights["largest_error"])

    def test_not_a_number_is_expected_where_it_belongs(self):
        self.write("v.npy", (2, 7, 4), [float("nan")] * 4 + [1.0] * 52)
        self.run_good(*ATTENTION, "--verify")


class Long(tool_case.ToolCase):
    """What takes longer than a second."""

    def setUp(self):
        super().setUp()
        self.write_problem((4, 2500, 64))

    def start(self, **streams):
        return subprocess.Popen(
            [tool_case.tool, *ATTENTION, "--verify"], cwd=self.folder, **streams
        )

    def test_progress_on_a_terminal(self):
        leader, follower = pty.openpty()
        process = self.start(stdout=subprocess.DEVNULL, stderr=follower)
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not part:
                break
            shown += part
        os.close(leader)
        self.assertEqual(process.wait(), 0)
        self.assertIn(b"verifying: [", shown)
        self.assertRegex(shown, rb"#+ *\] +\d+ %")
        self.assertTrue(shown.endswith(b" \r"), "the line is cleared")
        self.assertNotIn(b"\n", shown)

    def test_interrupted(self):
        process = self.start(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not list(self.folder.glob("out.npy*")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, -signal.SIGINT)
        self.assertEqual(said, b"")
        self.assertEqual(sorted(self.files()), ["k.npy", "q.npy", "v.npy"])


if __name__ == "__main__":
    tool_case.main()
