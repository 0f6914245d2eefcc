"""clattn attention --top-k and --sample: the weights of the highest, which they are, the one that
is drawn, and the options that they go without."""

import arrays
import tool_case
from attention_model import Problem
from option_case import OptionCase, SHAPE
from tool_case import ATTENTION


class TopK(OptionCase):
    def test_weights_of_the_highest(self):
        p = Problem(**SHAPE)
        self.write_inputs(p)
        self.run_good(*ATTENTION, "--weights", "all.npy")
        shape, every = arrays.read(self.folder / "all.npy")
        for top in (1, 3, p.n_kv, p.n_kv + 5):
            with self.subTest(top=top):
                self.run_good(*ATTENTION, "--weights", "w.npy", "--top-k", top)
                expected = []
                for at in range(0, len(every), p.n_kv):
                    row = list(every[at : at + p.n_kv])
                    kept = sorted(row, reverse=True)[:top]
                    expected += [w / sum(kept) if w >= kept[-1] else 0.0 for w in row]
                self.assert_close("w.npy", shape, expected)

    def test_indices(self):
        p = Problem(**SHAPE)
        self.write_inputs(p)
        self.run_good(*ATTENTION, "--weights", "all.npy")
        _, every = arrays.read(self.folder / "all.npy")
        for top in (1, 4, p.n_kv + 2):
            with self.subTest(top=top):
                said = self.run_good(
                    *ATTENTION, "--top-k", top, "--indices", "i.npy", "--lse", "l.npy", "--verify"
                )
                self.assertEqual(said.count("verified"), 3)
                shape, listed = arrays.read(self.folder / "i.npy")
                self.assertEqual(shape, (p.batch, p.n_head, p.n_q, top))
                self.assertTrue(all(isinstance(n, int) for n in listed))
                for row in range(len(listed) // top):
                    weights = every[row * p.n_kv : (row + 1) * p.n_kv]
                    order = sorted(range(p.n_kv), key=lambda j: -weights[j])[:top]
                    found = listed[row * top : (row + 1) * top]
                    self.assertEqual(found, tuple(order) + (-1,) * (top - len(order)))

    def test_verify(self):
        p = Problem(**SHAPE)
        self.write_inputs(p)
        for words in (
            ("--causal", "--align", "bottom-right"),
            ("--dtype", "f16", "--softcap", "3"),
            ("--window", "1,2", "--align", "top-left"),
            ("--sample", "5"),
        ):
            with self.subTest(words=words):
                said = self.run_good(
                    *ATTENTION, "--top-k", "3", "--weights", "w.npy", "--verify", *words
                )
                self.assertEqual(said.count("verified"), 2 if "--sample" in words else 3)

    def test_sample(self):
        p = Problem(**SHAPE)
        self.write_inputs(p)
        drawn = {}
        for seed in ("1", "1", "2"):
            self.run_good(
                *ATTENTION, "--top-k", "3", "--sample", seed, "--indices", "i.npy",
                "--weights", "w.npy",
            )  # fmt: skip
            shape, keys = arrays.read(self.folder / "i.npy")
            self.assertEqual(shape, (p.batch, p.n_head, p.n_q, 1))
            _, values = arrays.read(self.folder / "v.npy")
            _, out = arrays.read(self.folder / "out.npy")
            for row, key in enumerate(keys):
                head = row // p.n_q
                kept = (head // p.n_head * p.n_kv_head
                        + head % p.n_head * p.n_kv_head // p.n_head) * p.n_kv + key  # fmt: skip
                width = p.value_dim
                self.assertEqual(out[row * width : (row + 1) * width],
                                 values[kept * width : (kept + 1) * width])  # fmt: skip
            self.assertEqual(drawn.setdefault(seed, keys), keys)
        self.assertNotEqual(drawn["1"], drawn["2"])

    def test_company(self):
        self.write_problem((1, 2, 3, 4))
        self.run_bad(2, "--indices", *ATTENTION, "--indices", "i.npy")
        self.run_bad(2, "--sample", *ATTENTION, "--sample", "1")
        for words in (
            ("--dropout", "0.5"),
            ("--weights-mean", "m.npy"),
            ("--weights-sum", "m.npy"),
            ("--scores", "m.npy"),
            ("--present-k", "m.npy"),
            ("--present-v", "m.npy"),
        ):
            with self.subTest(words=words):
                self.run_bad(2, words[0], *ATTENTION, "--top-k", "2", *words)
        for number in ("0", "-1", str(1 << 31)):
            with self.subTest(number=number):
                self.run_bad(2, "--top-k", *ATTENTION, "--top-k", number)


if __name__ == "__main__":
    tool_case.main()
