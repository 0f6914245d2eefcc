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

    def attention(self, shape, arrays, **options):
        call = torch.nn.functional.scaled_dot_product_attention
        q, k, v = (torch.from_numpy(data.place(array)) for array in arrays)
        if shape.needs_mask:
            options["attn_mask"] = torch.from_numpy(data.mask(shape))
        elif shape.causal and shape.n_q > 1:
            options["is_causal"] = True

        def run():
            return call(q, k, v, **options)
        return run, lambda: run().numpy()

    def variants(self, shape, arrays):
        if shape.n_head == shape.n_kv_head:
            return {"scaled_dot_product_attention": lambda: self.attention(shape, arrays)}
        return {
            "enable_gqa": lambda: self.attention(shape, arrays, enable_gqa=True),
            "repeated heads": lambda: self.attention(shape, data.repeat_heads(shape, arrays)),
        }
