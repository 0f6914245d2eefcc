"""clattn attention --top-k: the weights of the highest, and the options that it goes without."""

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

    def test_company(self):
        self.write_problem((1, 2, 3, 4))
        for words in (
            ("--verify",),
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
