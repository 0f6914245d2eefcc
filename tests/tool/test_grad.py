"""clattn grad against PyTorch's gradients, against double precision, and used wrongly.

test_grad.py TOOL CASES: the folder of the torch cases, tests/data/conformance/torch."""

import json
import pathlib
import shutil

import arrays
import tool_case

BOUND = 5e-5
GRADIENTS = {"dq": "--dq", "dk": "--dk", "dv": "--dv", "dbias": "--dbias", "dsink": "--dsink"}
INPUTS = {
    "q": "--q", "k": "--k", "v": "--v", "grad_out": "--grad-out", "mask": "--mask",
    "bias": "--bias", "alibi_slopes": "--alibi", "sink": "--sink", "kv_lengths": "--kv-lengths",
    "cu_seqlens_q": "--cu-seqlens-q", "cu_seqlens_k": "--cu-seqlens-k",
}  # fmt: skip
GRAD = ("grad", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "--grad-out", "g.npy")
WANTED = ("--dq", "dq.npy", "--dk", "dk.npy", "--dv", "dv.npy")


def words_of(case):
    """Attributes of a case as options."""
    words = []
    for name, value in case["attributes"].items():
        if name == "causal":
            words += ["--causal"] if value else []
        elif name == "window":
            words += ["--window", f"{value[0]},{value[1]}"]
        elif name in ("scale", "softcap", "align"):
            words += [f"--{name}", value]
    return words


class TorchCases(tool_case.ToolCase):
    def check(self, path):
        case = json.loads((path / "case.json").read_text())
        words = words_of(case)
        for name in case["inputs"]:
            words += [INPUTS[name], path / f"{name}.npy"]
        wanted = [name for name in case["outputs"] if name in GRADIENTS]
        for name in wanted:
            words += [GRADIENTS[name], f"{name}.npy"]
        said = self.run_good("grad", *words, "--out", "out.npy", "--lse", "lse.npy", "--verify")
        self.assertEqual(said.count("verified"), len(wanted))
        for name in wanted + ["out", "lse"]:
            found, expected = arrays.read(self.folder / f"{name}.npy"), arrays.read(
                path / f"{name}.npy"
            )
            self.assertEqual(tuple(found[0]), tuple(expected[0]), name)
            finite = [abs(x) for x in expected[1] if abs(x) != float("inf")]
            bound = BOUND * max([1, *finite])
            for got, wants in zip(found[1], expected[1], strict=True):
                if got != wants:
                    self.assertLessEqual(abs(got - wants), bound, f"{path.name}: {name}")

    def test_options(self):
        names = (
            "attention/everything", "attention/sink", "attention/bias_shared_by_heads",
            "attention/bias_per_head_over_keys", "attention/boolean_mask_empty_row",
            "attention/key_length_zero", "attention/softcap_small", "attention/gqa_d80",
            "attention/alibi_causal", "attention/window_both_sides", "attention/value_dim_differs",
        )  # fmt: skip
        cases = pathlib.Path(tool_case.arguments[0])
        for name in [*names, *sorted(f"ragged/{p.name}" for p in (cases / "ragged").iterdir())]:
            with self.subTest(name=name):
                self.check(cases / name)


class Verified(tool_case.ToolCase):
    def write_all(self, q=(2, 4, 9, 8), k=(2, 2, 11, 8), v=(2, 2, 11, 6)):
        self.write_problem(q, k, v)
        self.write("g.npy", (*q[:-1], v[-1]))

    def test_every_option_of_its_own(self):
        self.write_all()
        self.write("past_k.npy", (2, 2, 3, 8))
        self.write("past_v.npy", (2, 2, 3, 6))
        self.write("e.npy", (2, 4, 9))
        past = ("--past-k", "past_k.npy", "--past-v", "past_v.npy")
        for words, count in (
            ((), 3),
            (("--dtype", "f16"), 3),
            (("--dtype", "bf16", "--causal", "--align", "bottom-right"), 3),
            (("--dropout", "0.3", "--seed", "7"), 3),
            (("--grad-lse", "e.npy"), 3),
            ((*past, "--dpast-k", "dpk.npy", "--dpast-v", "dpv.npy"), 5),
        ):
            with self.subTest(words=words):
                said = self.run_good(*GRAD, *WANTED, *words, "--verify")
                self.assertEqual(said.count("verified"), count)
        self.assertEqual(tuple(arrays.read(self.folder / "dpk.npy")[0]), (2, 2, 3, 8))

    def test_fewer_dimensions(self):
        shapes = {"q": (1, 1, 9, 8), "k": (1, 1, 11, 8), "v": (1, 1, 11, 6), "g": (1, 1, 9, 6)}
        values = {n: arrays.random_values(s, n) for n, s in shapes.items()}
        for lacking in (0, 1, 2):
            for name, shape in shapes.items():
                self.write(f"{name}.npy", shape[lacking:], values[name])
            self.run_good(*GRAD, *WANTED, "--verify")
            if not lacking:
                whole = [arrays.read(self.folder / f"{n}.npy")[1] for n in ("dq", "dk", "dv")]
            found = [arrays.read(self.folder / f"{n}.npy") for n in ("dq", "dk", "dv")]
            self.assertEqual([f[1] for f in found], whole)
            self.assertEqual(len(found[0][0]), 4 - lacking)

    def test_functions(self):
        self.write_all()
        form = "int batch, int head, int q, int k, __global const float *params)"
        (self.folder / "s.cl").write_text(f"float score(float s, {form} {{ return sin(s); }}\n")
        (self.folder / "d.cl").write_text(
            f"float score_gradient(float s, {form} {{ return cos(s); }}\n"
        )
        functions = ("--score-mod", "s.cl", "--score-grad", "d.cl")
        said = self.run_good(*GRAD, *WANTED, *functions, "--verify")
        self.assertEqual(said.count("against gradient_reference"), len(WANTED) // 2)
        before = arrays.read(self.folder / "dq.npy")[1]
        (self.folder / "d.cl").write_text(
            f"float score_gradient(float s, {form} {{ return 2.0f * cos(s); }}\n"
        )
        self.run_good(*GRAD, *WANTED, *functions, "--verify")
        # queries get the derivative as a factor: twice the slope, twice their gradient
        after = arrays.read(self.folder / "dq.npy")[1]
        self.assertTrue(any(x != 0 for x in before))
        for x, y in zip(before, after, strict=True):
            self.assertLessEqual(abs(y - 2 * x), 1e-5)

    def test_json(self):
        self.write_all()
        said = json.loads(self.run_good(*GRAD, *WANTED, "--verify", "--explain", "--json"))
        self.assertTrue(said["kernel"].startswith("gradient"))
        self.assertIn("gradients of attention", said["explain"])
        self.assertEqual([v["tensor"] for v in said["verified"]], ["dq", "dk", "dv"])


class Wrong(tool_case.ToolCase):
    def setUp(self):
        super().setUp()
        self.write_problem((2, 3, 4))
        self.write("g.npy", (2, 3, 4))
        self.write("small.npy", (2, 3, 3))
        self.write("bias.npy", (3, 3))

    def test_usage(self):
        self.run_bad(2, "--dq", *GRAD)
        self.run_bad(2, "--grad-out", *GRAD[:-2], *WANTED)
        self.run_bad(2, "--dbias", *GRAD, "--dbias", "x.npy")
        self.run_bad(2, "--dsink", *GRAD, "--dsink", "x.npy")
        self.run_bad(2, "--dpast-k", *GRAD, "--dpast-k", "x.npy")
        self.run_bad(2, "--score-mod", *GRAD, *WANTED, "--score-mod", "s.cl")
        self.run_bad(2, "--score-grad", *GRAD, *WANTED, "--score-grad", "s.cl")
        self.run_bad(2, "--weights", *GRAD, *WANTED, "--weights", "w.npy")
        self.run_bad(2, "--top-k", *GRAD, *WANTED, "--top-k", "3")
        self.run_bad(2, "--sample", *GRAD, *WANTED, "--sample", "3")
        self.assertNotIn("--sample", self.run_good("grad", "--help"))
        self.run_bad(2, "--dq", "attention", *GRAD[1:7], "--out", "o.npy", "--dq", "x.npy")

    def test_shapes(self):
        line = self.run_bad(1, "--grad-out", *GRAD[:-1], "small.npy", *WANTED)
        self.assertIn("value dimension", line)
        self.run_bad(1, "--grad-lse", *GRAD, *WANTED, "--grad-lse", "g.npy")
        self.run_bad(1, "--grad-out", *GRAD[:-1], "missing.npy", *WANTED)

    def test_the_same_file_twice(self):
        self.run_bad(1, "--dk", *GRAD, "--dq", "x.npy", "--dk", "x.npy")

    def test_outputs_appear_together(self):
        shutil.copy(self.folder / "q.npy", self.folder / "dq.npy")
        self.run_bad(1, "--dk", *GRAD, "--dq", "dq.npy", "--dk", "no/such/folder.npy")


if __name__ == "__main__":
    tool_case.main()
