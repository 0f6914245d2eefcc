"""clattn among the contenders of compare.py: clattn_attention on host arrays."""

import data
from clattn import Library
from clattn_header import Header
from turns import Subject


class Clattn(Subject):
    def __init__(self, library, header, device):
        super().__init__()
        self.library = Library(library, Header(header), device=device)

    def describe(self):
        version = self.library.calls.clattn_version_string().decode()
        return f"clattn {version} on {self.library.device()}"

    def attention(self, shape, arrays):
        desc = self.library.make("clattn_attention_desc")
        desc.batch, desc.n_head, desc.n_q, desc.head_dim = shape.q_shape
        _, desc.n_kv_head, desc.n_kv, desc.value_dim = shape.kv_shape
        desc.causal = shape.causal
        if shape.causal:
            desc.align = self.library.header.value["CLATTN_ALIGN_BOTTOM_RIGHT"]
        out = data.empty(shape.q_shape)
        return self.library.attention(desc, *map(data.place, arrays), out), lambda: out

    def variants(self, shape, arrays):
        return {"clattn_attention": lambda: self.attention(shape, arrays)}
