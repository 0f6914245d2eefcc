"""What the tests of the options of clattn attention share: all outputs of a command compared with a
computation in plain Python."""

import attention_model
import tool_case
from attention_model import Problem
from tool_case import INPUTS

# name of the model's result, option, shape by extents
OUTPUTS = (
    ("out", "--out", ("batch", "n_head", "n_q", "value_dim")),
    ("lse", "--lse", ("batch", "n_head", "n_q")),
    ("weights", "--weights", ("batch", "n_head", "n_q", "n_kv")),
    ("mean", "--weights-mean", ("batch", "n_q", "n_kv")),
    ("sum", "--weights-sum", ("batch", "n_head", "n_kv")),
    ("visible", "--scores", ("batch", "n_head", "n_q", "n_kv")),
)
ALL = [w for name, option, _ in OUTPUTS for w in (option, f"{name}.npy")]
SHAPE = {
    "batch": 2, "n_head": 4, "n_kv_head": 2, "n_q": 5, "n_kv": 7, "head_dim": 8, "value_dim": 6
}  # fmt: skip
HEADS = ("batch", "n_head", "n_kv_head")


def file_shape(p, names, rank):
    missing = ("batch", "n_head")[: 4 - rank]
    return tuple(getattr(p, name) for name in names if name not in missing)


class OptionCase(tool_case.ToolCase):
    def write_inputs(self, p, rank=4, **form):
        """q.npy, k.npy, v.npy."""
        drop = 4 - rank
        shapes = (
            (p.batch, p.n_head, p.n_q, p.head_dim)[drop:],
            (p.batch, p.n_kv_head, p.n_kv, p.head_dim)[drop:],
            (p.batch, p.n_kv_head, p.n_kv, p.value_dim)[drop:],
        )
        return self.write_problem(*shapes, **form)

    def assert_result(self, p, rank, found):
        for name, _, names in OUTPUTS:
            self.assert_close(f"{name}.npy", file_shape(p, names, rank), found[name])

    def check(self, words, rank=4, **options):
        """All outputs with these words on the command line and these fields of a problem."""
        shape = dict(SHAPE, **{n: 1 for n in HEADS[: {4: 0, 3: 1, 2: 3}[rank]]})
        p = Problem(**{**shape, **options})
        q, k, v = self.write_inputs(p, rank)
        said = self.run_good(
            "attention", *INPUTS, *ALL, "--score-stage", "visible", "--verify", *words
        )
        self.assertEqual(said.count("verified"), len(OUTPUTS))
        self.assert_result(p, rank, attention_model.attend(p, q, k, v))

    def array(self, name, shape, values=None, **form):
        """(shape, values) of a new file."""
        return shape, self.write(name, shape, values, **form)
