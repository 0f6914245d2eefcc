"""clattn among the contenders of compare.py: clattn_attention on host arrays."""

import data
from clattn import Library
from clattn_header import Header
from turns import Subject


class Clattn(Subject):
    def __init__(self, library, header, device):
        super().__init__()
        self.library = Library(library, Header(header), device=device)
        self.out = None

    def describe(self):
        version = self.library.calls.clattn_version_string().decode()
        return f"clattn {version} on {self.library.device()}"

    def prepare(self, shape, arrays):
        desc = self.library.make("clattn_attention_desc")
        desc.batch, desc.n_head, desc.n_q, desc.head_dim = shape.q_shape
        _, desc.n_kv_head, desc.n_kv, desc.value_dim = shape.kv_shape
        desc.causal = shape.causal
        if shape.causal:
            desc.align = self.library.header.value["CLATTN_ALIGN_BOTTOM_RIGHT"]
        self.out = data.empty(shape.q_shape)
        inputs = [data.place(array) for array in arrays]
        self.calls = {"clattn_attention": self.library.attention(desc, *inputs, self.out)}
        return list(self.calls)

    def output(self, variant):
        self.calls[variant]()
        return self.out
