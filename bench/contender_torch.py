"""PyTorch among the contenders of compare.py: scaled_dot_product_attention, without gradients. It
allocates its output itself; PyTorch keeps no memory for that on CPUs."""

import torch

import data
from turns import Subject


class Torch(Subject):
    def __init__(self, threads):
        super().__init__()
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def describe(self):
        return f"PyTorch {torch.__version__.split('+')[0]}"

    def call(self, shape, arrays, **options):
        attention = torch.nn.functional.scaled_dot_product_attention
        q, k, v = (torch.from_numpy(data.place(array)) for array in arrays)
        if shape.needs_mask:
            options["attn_mask"] = torch.from_numpy(data.mask(shape))
        elif shape.causal and shape.n_q > 1:
            options["is_causal"] = True
        return lambda: attention(q, k, v, **options)

    def prepare(self, shape, arrays):
        if shape.n_head == shape.n_kv_head:
            self.calls = {"scaled_dot_product_attention": self.call(shape, arrays)}
        else:
            self.calls = {
                "enable_gqa": self.call(shape, arrays, enable_gqa=True),
                "repeated heads": self.call(shape, data.repeat_heads(shape, arrays)),
            }
        return list(self.calls)

    def output(self, variant):
        return self.calls[variant]().numpy()
