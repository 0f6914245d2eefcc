"""Every option of clattn attention against a computation in plain Python.

test_attention_options.py TOOL KERNELS: the folder cl."""

import json
import math
import shutil

import arrays
import attention_model
import tool_case
from attention_model import Problem
from option_case import ALL, file_shape, HEADS, OptionCase, OUTPUTS, SHAPE
from tool_case import ATTENTION, INPUTS


class Scores(OptionCase):
    def test_plain(self):
        for rank in (4, 3, 2):
            self.check((), rank)

    def test_softcap(self):
        self.check(("--softcap", "0.75"), softcap=0.75)
        self.check(("--softcap", "0"))

    def test_alibi(self):
        slopes = self.write("alibi.npy", (4,), [0.5, -0.25, 2.0, 0.0])
        for align in ("top-left", "bottom-right"):
            with self.subTest(align=align):
                words = ("--alibi", "alibi.npy", "--align", align)
                self.check(words, alibi=slopes, bottom_right=align == "bottom-right")
        self.check(("--alibi", "alibi.npy"), alibi=slopes, n_q=7)
        slope = self.write("alibi.npy", (1,), [0.5])
        self.check(("--alibi", "alibi.npy"), rank=2, alibi=slope, n_q=7)

    def test_sink(self):
        sink = self.write("sink.npy", (4,), [0.5, -1.0, 3.0, -math.inf])
        self.check(("--sink", "sink.npy"), sink=sink)

    def test_half_precision_files(self):
        for descr in ("<f2", ">f2", ">f4"):
            with self.subTest(descr=descr):
                sink = self.write("sink.npy", (4,), [0.5, -1.0, 3.0, 0.0], descr=descr)
                bias = self.array("bias.npy", (5, 7), descr=descr)
                self.check(("--sink", "sink.npy", "--bias", "bias.npy"), sink=sink, bias=bias)


class Broadcast(OptionCase):
    """Masks and biases of every rank."""

    SHAPES = ((), (1,), (7,), (5, 7), (5, 1), (4, 1, 1), (4, 5, 7), (2, 1, 1, 7), (1, 4, 5, 1),
              (2, 4, 5, 7))  # fmt: skip

    def test_mask(self):
        for shape in self.SHAPES:
            with self.subTest(shape=shape):
                values = [x > -0.75 for x in arrays.random_values(shape, "mask")]
                mask = self.array("mask.npy", shape, values, descr="|b1")
                self.check(("--mask", "mask.npy"), mask=mask)

    def test_bias(self):
        for shape in self.SHAPES:
            with self.subTest(shape=shape):
                bias = self.array("bias.npy", shape)
                self.check(("--bias", "bias.npy"), bias=bias)

    def test_fortran_order(self):
        values = [x > 0 for x in arrays.random_values((4, 5, 7), "mask")]
        mask = self.array("mask.npy", (4, 5, 7), values, descr="|b1", fortran=True)
        self.check(("--mask", "mask.npy"), mask=mask)

    def test_infinite_bias_hides(self):
        values = [-math.inf if j < 3 else 0.5 for j in range(7)]
        self.check(("--bias", "bias.npy"), bias=self.array("bias.npy", (7,), values))

    def test_with_fewer_dimensions(self):
        values = [x > -0.5 for x in arrays.random_values((5, 7), "mask")]
        for shape in ((5, 7), (1, 5, 7), (1, 1, 5, 7)):
            for rank in (2, 3):
                mask = self.array("mask.npy", shape, values, descr="|b1")
                self.check(("--mask", "mask.npy"), rank, mask=mask)

    def test_nothing_visible(self):
        mask = self.array("mask.npy", (), [False], descr="|b1")
        self.check(("--mask", "mask.npy"), mask=mask)
        self.assertEqual(set(arrays.read(self.folder / "lse.npy")[1]), {-math.inf})
        sink = self.write("sink.npy", (4,), [0.5, -1.0, 3.0, 0.0])
        self.check(("--mask", "mask.npy", "--sink", "sink.npy"), mask=mask, sink=sink)


class Visibility(OptionCase):
    def test_window(self):
        for window in ((-1, 3), (0, 0), (2, -1), (1, 1), (-1, -1), (100, 100)):
            for align in ("top-left", "bottom-right"):
                with self.subTest(window=window, align=align):
                    words = ("--window", "{},{}".format(*window), "--align", align)
                    self.check(words, window=window, bottom_right=align == "bottom-right")
        self.check(("--window=1,-1",), window=(1, -1), n_q=7)

    def test_window_and_causal(self):
        words = ("--window", "2,2", "--causal", "--align", "bottom-right")
        self.check(words, window=(2, 2), causal=True, bottom_right=True)

    def test_lengths(self):
        for descr in ("<i4", "<i8", ">i8"):
            kv = self.write("kv.npy", (2,), [3, 7], descr=descr)
            q = self.write("ql.npy", (2,), [5, 2], descr=descr)
            with self.subTest(descr=descr):
                self.check(("--kv-lengths", "kv.npy"), kv_lengths=kv)
                both = ("--kv-lengths", "kv.npy", "--q-lengths", "ql.npy")
                self.check(both, kv_lengths=kv, q_lengths=q)
                causal = {"causal": True, "bottom_right": True}
                self.check(
                    (*both, "--causal", "--align", "bottom-right"),
                    kv_lengths=kv,
                    q_lengths=q,
                    **causal,
                )
        self.write("kv.npy", (2,), [0, 0], descr="<i4")
        self.check(("--kv-lengths", "kv.npy"), kv_lengths=[0, 0])
        self.write("kv.npy", (1,), [4], descr="<i4")
        self.check(("--kv-lengths", "kv.npy"), rank=3, kv_lengths=[4])

    def test_everything_at_once(self):
        words = []
        options = {"softcap": 2.0, "window": (4, 1), "bottom_right": True, "scale": 0.75}
        words += ["--softcap", "2", "--window", "4,1", "--align", "bottom-right", "--scale", ".75"]
        for name, shape in (("bias", (4, 5, 7)), ("alibi", (4,)), ("sink", (4,))):
            values = self.write(f"{name}.npy", shape)
            options[name] = (shape, values) if name == "bias" else values
            words += [f"--{name}", f"{name}.npy"]
        values = [x > -1 for x in arrays.random_values((5, 7), "mask")]
        options["mask"] = self.array("mask.npy", (5, 7), values, descr="|b1")
        options["kv_lengths"] = self.write("kv.npy", (2,), [6, 4], descr="<i8")
        words += ["--mask", "mask.npy", "--kv-lengths", "kv.npy"]
        self.check(words, **options)


class Dropout(OptionCase):
    def test_positions(self):
        # More than 64 keys, so that every word of a counter is used.
        shape = {"n_q": 3, "n_kv": 70, "head_dim": 4, "value_dim": 3}
        for seed in (0, 7, -1, 1 << 40):
            with self.subTest(seed=seed):
                words = ("--dropout", "0.4", "--seed", seed)
                self.check(words, dropout=0.4, seed=seed, **shape)
        self.check(("--dropout", "0.4"), dropout=0.4, seed=0, **shape)
        self.check(("--dropout", "0", "--seed", "3"), **shape)

    def test_verify_in_blocks(self):
        # More queries than a block of the comparison has.
        self.write_problem((2, 3, 70, 4), (2, 3, 40, 4))
        self.run_good(*ATTENTION, "--dropout", "0.5", "--seed", "3", "--verify")


class Stages(OptionCase):
    def test_stages(self):
        p = Problem(**SHAPE, causal=True, softcap=0.5)
        q, k, v = self.write_inputs(p)
        found = attention_model.attend(p, q, k, v)
        shape = (p.batch, p.n_head, p.n_q, p.n_kv)
        words = (*ATTENTION, "--causal", "--align", "top-left", "--softcap", ".5", "--verify")
        for stage in ("scaled", "capped", "visible", "weights"):
            with self.subTest(stage=stage):
                self.run_good(*words, "--scores", "s.npy", "--score-stage", stage)
                self.assert_close("s.npy", shape, found[stage])
        self.run_good(*words, "--scores", "s.npy")
        self.assert_close("s.npy", shape, found["scaled"])


class Past(OptionCase):
    def check_past(self, rank, n_past, n_new, words=(), **options):
        shape = dict(SHAPE, **{n: 1 for n in HEADS[: {4: 0, 3: 1, 2: 3}[rank]]}, n_kv=n_new)
        p = Problem(**{**shape, **options})
        q, k, v = self.write_inputs(p, rank)
        drop = 4 - rank
        groups = p.batch * p.n_kv_head
        joined = []
        for name, new, dim in (("k", k, p.head_dim), ("v", v, p.value_dim)):
            past = self.write(
                f"past_{name}.npy", (p.batch, p.n_kv_head, n_past, dim)[drop:]
            )
            joined.append(
                [
                    x
                    for g in range(groups)
                    for part, n in ((past, n_past), (new, n_new))
                    for x in part[g * n * dim : (g + 1) * n * dim]
                ]
            )
        p.n_kv = n_past + n_new
        self.run_good(
            "attention", *INPUTS, *ALL, "--score-stage", "visible", "--past-k", "past_k.npy",
            "--past-v", "past_v.npy", "--present-k", "k2.npy", "--present-v", "v2.npy", "--verify",
            *words,
        )  # fmt: skip
        self.assert_result(p, rank, attention_model.attend(p, q, *joined))
        for name, values, dim in (("k2", joined[0], p.head_dim), ("v2", joined[1], p.value_dim)):
            shape = (p.batch, p.n_kv_head, p.n_kv, dim)[drop:]
            self.assertEqual(arrays.read(self.folder / f"{name}.npy"), (shape, tuple(values)))

    def test_past(self):
        for rank in (4, 3, 2):
            with self.subTest(rank=rank):
                self.check_past(rank, 4, 3)
        self.check_past(4, 0, 3)
        self.check_past(4, 3, 0)

    def test_alignment_counts_the_past(self):
        self.check_past(4, 2, 3, ("--causal",), causal=True)  # 5 queries, 5 keys
        words = ("--causal", "--align", "bottom-right")
        self.check_past(4, 4, 3, words, causal=True, bottom_right=True)

    def test_lengths_count_the_past(self):
        lengths = self.write("kv.npy", (2,), [7, 2], descr="<i4")
        self.check_past(4, 4, 3, ("--kv-lengths", "kv.npy"), kv_lengths=lengths)

    def test_present_alone(self):
        _, k, _ = self.write_problem((2, 3, 4))
        self.run_good(*ATTENTION, "--present-k", "k2.npy", "--verify", "--dtype", "bf16")
        self.assertEqual(arrays.read(self.folder / "k2.npy")[1], tuple(k))


class Ragged(OptionCase):
    """Sequences of different lengths in arrays (token, head, dim)."""

    def rows(self, values, begin, end, heads, dim, longest):
        """Tokens of one sequence as (head, longest, dim)."""
        found = []
        for h in range(heads):
            for i in range(longest):
                at = ((begin + i) * heads + h) * dim
                found += values[at : at + dim] if begin + i < end else [0.0] * dim
        return found

    def check_ragged(self, ends_q, ends_k, words=(), tokens=None, **options):
        n_head, n_kv_head, head_dim, value_dim = 4, 2, 8, 6
        total_q, total_k = tokens or (ends_q[-1], ends_k[-1])
        q, k, v = self.write_problem(
            (total_q, n_head, head_dim),
            (total_k, n_kv_head, head_dim),
            (total_k, n_kv_head, value_dim),
        )
        self.write("cu_q.npy", (len(ends_q),), ends_q, descr="<i4")
        self.write("cu_k.npy", (len(ends_k),), ends_k, descr="<i8")
        batch = len(ends_q) - 1
        q_lengths = [ends_q[b + 1] - ends_q[b] for b in range(batch)]
        kv_lengths = [ends_k[b + 1] - ends_k[b] for b in range(batch)]
        p = Problem(
            batch, n_head, n_kv_head, max(q_lengths, default=0), max(kv_lengths, default=0),
            head_dim, value_dim, q_lengths=q_lengths, kv_lengths=kv_lengths, **options,
        )  # fmt: skip
        said = self.run_good(
            "attention", *INPUTS, "--cu-seqlens-q", "cu_q.npy", "--cu-seqlens-k", "cu_k.npy", *ALL,
            "--score-stage", "visible", "--verify", *words,
        )  # fmt: skip
        self.assertEqual(said.count("verified"), len(OUTPUTS))
        flat = [[], [], []]
        for b in range(batch):
            flat[0] += self.rows(q, *ends_q[b : b + 2], n_head, head_dim, p.n_q)
            flat[1] += self.rows(k, *ends_k[b : b + 2], n_kv_head, head_dim, p.n_kv)
            flat[2] += self.rows(v, *ends_k[b : b + 2], n_kv_head, value_dim, p.n_kv)
        found = attention_model.attend(p, *flat)
        for name, dim, nothing in (("out", value_dim, 0.0), ("lse", 1, -math.inf)):
            expected = [nothing] * (total_q * n_head * dim)
            for b in range(batch):
                for h in range(n_head):
                    for i in range(q_lengths[b]):
                        at = ((b * n_head + h) * p.n_q + i) * dim
                        to = ((ends_q[b] + i) * n_head + h) * dim
                        expected[to : to + dim] = found[name][at : at + dim]
            shape = (total_q, n_head) if name == "lse" else (total_q, n_head, dim)
            self.assert_close(f"{name}.npy", shape, expected)
        for name, _, names in OUTPUTS[2:]:
            self.assert_close(f"{name}.npy", file_shape(p, names, 4), found[name])

    def test_sequences(self):
        self.check_ragged([0, 3, 8], [0, 6, 9])
        self.check_ragged([0, 3, 3, 8], [0, 0, 2, 9])
        self.check_ragged([0, 4], [0, 5])
        self.check_ragged([0], [0])

    def test_tokens_that_no_sequence_has(self):
        self.check_ragged([0, 3, 6], [0, 6, 9], tokens=(8, 11))

    def test_causal(self):
        words = ("--causal", "--align", "bottom-right")
        self.check_ragged([0, 3, 8], [0, 6, 9], words, causal=True, bottom_right=True)

    def test_mask_and_alibi(self):
        values = [x > -1 for x in arrays.random_values((2, 1, 5, 6), "mask")]
        options = {
            "mask": self.array("mask.npy", (2, 1, 5, 6), values, descr="|b1"),
            "alibi": self.write("alibi.npy", (4,)),
        }
        words = ("--mask", "mask.npy", "--alibi", "alibi.npy", "--align", "top-left")
        self.check_ragged([0, 3, 8], [0, 6, 9], words, **options)

    def test_dtypes(self):
        for dtype in ("f16", "bf16"):
            self.write_problem((8, 4, 8), (9, 2, 8), (9, 2, 6))
            self.write("cu_q.npy", (3,), [0, 3, 8], descr="<i4")
            self.write("cu_k.npy", (3,), [0, 6, 9], descr="<i4")
            words = ("--cu-seqlens-q", "cu_q.npy", "--cu-seqlens-k", "cu_k.npy", "--verify")
            self.run_good(*ATTENTION, *words, "--dtype", dtype)


class Dtype(OptionCase):
    ROUND = {"f16": attention_model.as_float16, "bf16": attention_model.as_bfloat16}

    def test_rounding(self):
        for dtype, rounded in self.ROUND.items():
            p = Problem(**SHAPE)
            q, k, v = self.write_inputs(p)
            # Numbers that need more bits than either type has.
            odd = [[x + i / 4096 / 7 for i, x in enumerate(values)] for values in (q, k, v)]
            for name, shape, values in zip(
                "qkv", ((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 6)), odd, strict=True
            ):
                self.write(f"{name}.npy", shape, values)
            said = self.run_good(
                "attention", *INPUTS, *ALL, "--score-stage", "visible", "--dtype", dtype,
                "--verify", "--explain",
            )  # fmt: skip
            self.assertIn(f"OUT:{dtype}", said)
            found = attention_model.attend(p, *([rounded(x) for x in each] for each in odd))
            for name, _, names in OUTPUTS[1:]:
                self.assert_close(f"{name}.npy", file_shape(p, names, 4), found[name])
            _, out = arrays.read(self.folder / "out.npy")
            ulp = {"f16": 2**-10, "bf16": 2**-7}[dtype]
            for got, wanted in zip(out, found["out"], strict=True):
                self.assertEqual(got, rounded(got))
                self.assertLessEqual(abs(got - wanted), ulp * max(abs(wanted), 2**-6))

    def test_half_precision_stays_as_it_is(self):
        # One key: the output is the value.
        special = [65504.0, -65504.0, attention_model.as_float16(6e-8), 0.0]
        self.write_problem((1, 4), values=special, descr="<f2")
        self.run_good(*ATTENTION, "--dtype", "f16", "--verify", "--scale", "1e-9")
        self.assertEqual(arrays.read(self.folder / "out.npy")[1], tuple(special))

    def test_default_is_float32(self):
        self.write_problem((3, 4), descr="<f2")
        self.assertNotIn("f16", self.run_good(*ATTENTION, "--explain"))
        self.assertNotIn("f16", self.run_good(*ATTENTION, "--explain", "--dtype", "f32"))


SCORE = """float score(float s, int batch, int head, int q, int k, __global const float *params)
{
    return s + params[head] * (float)(k - q) + (float)batch;
}
"""
VISIBLE = """int visible(int batch, int head, int q, int k, __global const float *params)
{
    return (q + k + batch) % 3 != head % 2;
}
"""


class Functions(OptionCase):
    """The caller's functions in OpenCL C."""

    def setUp(self):
        super().setUp()
        (self.folder / "score.cl").write_text(SCORE, encoding="utf-8")
        (self.folder / "visible.cl").write_text(VISIBLE, encoding="utf-8")
        self.params = self.write("params.npy", (4,), [0.5, -0.25, 1.0, 0.0])
        self.score = lambda s, b, h, q, k: s + self.params[h] * (k - q) + b
        self.visible = lambda b, h, q, k: (q + k + b) % 3 != h % 2

    def test_score(self):
        words = ("--score-mod", "score.cl", "--params", "params.npy")
        self.check(words, score=self.score)
        words = (*words, "--align", "bottom-right")
        self.check(words, score=self.score, bottom_right=True)

    def test_visible(self):
        self.check(("--mask-mod", "visible.cl"), visible=self.visible)

    def test_both(self):
        words = ("--score-mod", "score.cl", "--mask-mod", "visible.cl", "--params", "params.npy")
        self.check(words, score=self.score, visible=self.visible)

    def test_verify_says_what_it_compares_with(self):
        self.write_problem((2, 5, 4), (2, 7, 4))
        words = (*ATTENTION, "--mask-mod", "visible.cl", "--verify")
        said = self.run_good(*words)
        self.assertRegex(said, r"^verified out against attention_reference: largest error \S+, all")
        said = json.loads(self.run_good(*words, "--json"))
        self.assertEqual([v["against"] for v in said["verified"]], ["attention_reference"])
        for dtype in ("f16", "bf16"):
            self.run_good(*words, "--dtype", dtype, "--present-v", "v2.npy")

    def test_functions_that_do_not_build(self):
        self.write_problem((2, 5, 4), (2, 7, 4))
        (self.folder / "wrong.cl").write_text("float score(float s) { return nonsense; }\n")
        line = self.run_bad(1, "--score-mod", *ATTENTION, "--score-mod", "wrong.cl")
        self.assertIn("did not build", line)
        self.assertIn("nonsense", line)
        self.run_bad(1, "--mask-mod", *ATTENTION, "--mask-mod", "wrong.cl")
        words = ("--score-mod", "wrong.cl", "--mask-mod", "visible.cl")
        self.run_bad(1, "--score-mod, --mask-mod", *ATTENTION, *words)

    def test_params_that_are_read_must_be_given(self):
        self.write_problem((2, 5, 4))
        line = self.run_bad(2, "--score-mod", *ATTENTION, "--score-mod", "score.cl")
        self.assertIn("score.cl: reads params[], so --params is required", line)
        remark = "/* params[0] isn't read // */ // nor is params[1]\n"
        (self.folder / "visible.cl").write_text(remark + VISIBLE, encoding="utf-8")
        self.run_good(*ATTENTION, "--mask-mod", "visible.cl")
        (self.folder / "visible.cl").write_text(
            remark + VISIBLE.replace("(q + k", "params [0] + (q + k"), encoding="utf-8"
        )
        self.run_bad(2, "--mask-mod", *ATTENTION, "--mask-mod", "visible.cl")

    def test_files_that_are_no_functions(self):
        self.write_problem((2, 5, 4), (2, 7, 4))
        (self.folder / "empty.cl").write_bytes(b"")
        (self.folder / "zero.cl").write_bytes(b"float\0")
        (self.folder / "long.cl").write_bytes(b" " * (1 << 20))
        (self.folder / "folder").mkdir()
        for name in ("empty.cl", "zero.cl", "long.cl", "folder", "missing.cl"):
            for option in ("--score-mod", "--mask-mod"):
                with self.subTest(name=name):
                    self.assertIn(name, self.run_bad(1, option, *ATTENTION, option, name))


class Reports(OptionCase):
    def test_verify_sees_a_wrong_kernel(self):
        kernels = self.folder / "cl"
        shutil.copytree(tool_case.arguments[0], kernels)
        source = kernels / "common/score.h"
        text = source.read_text(encoding="utf-8")
        self.assertIn("-of->slope", text)
        source.write_text(text.replace("-of->slope", "+of->slope"), encoding="utf-8")
        self.write_problem((4, 5, 8))
        self.write("alibi.npy", (4,), [0.5] * 4)
        words = (*ATTENTION, "--alibi", "alibi.npy", "--verify")
        self.run_good(*words)
        line = self.run_bad(1, "--verify", *words, CLATTN_KERNEL_DIR=str(kernels))
        self.assertIn("largest error of --out", line)

    def test_explain_names_everything(self):
        self.write_problem((2, 4, 5, 8), (2, 2, 7, 8))
        (self.folder / "visible.cl").write_text(VISIBLE, encoding="utf-8")
        self.write("vector.npy", (4,))
        self.write("bias.npy", (5, 7))
        self.write("mask.npy", (7,), [True] * 7, descr="|b1")
        self.write("lengths.npy", (2,), [3, 4], descr="<i4")
        words = [
            "--mask", "mask.npy", "--bias", "bias.npy", "--alibi", "vector.npy", "--sink",
            "vector.npy", "--params", "vector.npy", "--mask-mod", "visible.cl", "--kv-lengths",
            "lengths.npy", "--q-lengths", "lengths.npy", "--lse", "/dev/null", "--scores",
            "/dev/null", "--weights-mean", "/dev/null", "--weights-sum", "/dev/null", "--softcap",
            "3", "--window", "2,1", "--align", "bottom-right", "--dropout", "0.25", "--seed", "1",
            "--dtype", "bf16", "--present-k", "/dev/null",
        ]  # fmt: skip
        said = self.run_good(*ATTENTION, *words, "--explain")
        for name in (
            "MASK", "BIAS", "ALIBI", "SINK", "PARAMS", "KV_LENGTHS", "Q_LENGTHS", "LSE", "SCORES",
            "WEIGHTS_MEAN", "WEIGHTS_SUM", "PRESENT_K", "SEED", "softcap=3", "left=2", "right=1",
            "bottom-right", "dropout=0.25", "mask_function", "Q:bf16", "OUT:bf16",
        ):  # fmt: skip
            self.assertIn(name, said)


if __name__ == "__main__":
    tool_case.main()
