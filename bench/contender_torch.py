"""PyTorch among the contenders of compare.py: its own functions and modules, gradients by autograd.
It allocates its outputs itself; PyTorch keeps no memory for that on CPUs."""

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

import data
from turns import Subject


def tensors(arrays):
    return {name: torch.from_numpy(data.place(array)) for name, array in arrays.items()}


class Torch(Subject):
    def __init__(self, threads):
        super().__init__()
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.makers_of = {
            "attention": self.attention_variants,
            "backward": self.backward_variants,
            "linear": self.linear_variants,
            "multi-head": self.multi_head_variants,
            "additive": self.additive_variants,
        }

    def describe(self):
        return f"PyTorch {torch.__version__.split('+')[0]}"

    def variants(self, shape, arrays):
        return self.makers_of[shape.operation](shape, arrays)

    # ---- attention -------------------------------------------------------------------------------

    def attention(self, shape, arrays, **options):
        call = functional.scaled_dot_product_attention
        q, k, v = (torch.from_numpy(data.place(array)) for array in arrays)
        if shape.needs_mask:
            options["attn_mask"] = torch.from_numpy(data.mask(shape))
        elif shape.causal and shape.n_q > 1:
            options["is_causal"] = True

        def run():
            return call(q, k, v, **options)
        return run, lambda: run().numpy()

    def attention_variants(self, shape, arrays):
        if shape.n_head == shape.n_kv_head:
            return {"scaled_dot_product_attention": lambda: self.attention(shape, arrays)}
        return {
            "enable_gqa": lambda: self.attention(shape, arrays, enable_gqa=True),
            "repeated heads": lambda: self.attention(shape, data.repeat_heads(shape, arrays)),
        }

    # ---- its gradients ---------------------------------------------------------------------------

    def backward(self, shape, arrays, backend):
        """The forward pass here, once."""
        given = tensors(arrays)
        inputs = [given[name].requires_grad_() for name in ("q", "k", "v")]
        with torch.enable_grad(), sdpa_kernel(backend):
            out = functional.scaled_dot_product_attention(
                *inputs, is_causal=bool(shape.causal),
                enable_gqa=shape.n_head != shape.n_kv_head)

        def run():
            return torch.autograd.grad(out, inputs, given["grad_out"], retain_graph=True)
        return run, lambda: dict(zip(("dq", "dk", "dv"), (one.numpy() for one in run())))

    def backward_variants(self, shape, arrays):
        return {"flash": lambda: self.backward(shape, arrays, SDPBackend.FLASH_ATTENTION),
                "math": lambda: self.backward(shape, arrays, SDPBackend.MATH)}

    # ---- linear projections ----------------------------------------------------------------------

    def linear(self, arrays):
        given = tensors(arrays)

        def run():
            return functional.linear(given["x"], given["w"], given["b"])
        return run, lambda: {"y": run().numpy()}

    def linear_variants(self, shape, arrays):
        return {"linear": lambda: self.linear(arrays)}

    # ---- the layer -------------------------------------------------------------------------------

    def module(self, shape, arrays):
        made = torch.nn.MultiheadAttention(shape.width, shape.n_head, batch_first=True)
        parameters = {"w": made.in_proj_weight, "b": made.in_proj_bias,
                      "wo": made.out_proj.weight, "bo": made.out_proj.bias}
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(arrays[name]))
        return made, parameters

    def multi_head_forward(self, shape, arrays, training):
        module, _ = self.module(shape, arrays)
        module.train(training)
        x = torch.from_numpy(data.place(arrays["x"]))

        def run():
            return module(x, x, x, need_weights=False)[0]
        return run, lambda: {"out": run().numpy()}

    def multi_head_both(self, shape, arrays):
        module, parameters = self.module(shape, arrays)
        given = tensors(arrays)
        inputs = {"dx": given["x"].requires_grad_(),
                  **{"d" + name: parameter for name, parameter in parameters.items()}}

        def run():
            with torch.enable_grad():
                out = module(*[given["x"]] * 3, need_weights=False)[0]
            return out, torch.autograd.grad(out, list(inputs.values()), given["grad_out"])

        def read():
            out, found = run()
            return {"out": out.detach().numpy(), **dict(zip(inputs, (g.numpy() for g in found)))}
        return run, read

    def multi_head_variants(self, shape, arrays):
        if shape.passes == 2:
            return {"MultiheadAttention": lambda: self.multi_head_both(shape, arrays)}
        return {"MultiheadAttention, eval": lambda: self.multi_head_forward(shape, arrays, False),
                "MultiheadAttention, train": lambda: self.multi_head_forward(shape, arrays, True)}

    # ---- additive attention, its sums under the tanh in memory -----------------------------------

    @staticmethod
    def scores(given):
        return torch.tanh(given["q"][:, :, None] + given["k"][:, None] + given["bias"]) \
            @ given["w_score"]

    @staticmethod
    def scores_in_place(given):
        inner = given["q"][:, :, None] + (given["k"][:, None] + given["bias"])
        return inner.tanh_() @ given["w_score"]

    def additive_forward(self, arrays, scores):
        given = tensors(arrays)

        def run():
            return torch.softmax(scores(given), -1) @ given["v"]
        return run, lambda: {"out": run().numpy()}

    def additive_both(self, arrays, scores):
        given = tensors(arrays)
        names = ("q", "k", "v", "w_score", "bias")
        inputs = [given[name].requires_grad_() for name in names]

        def run():
            with torch.enable_grad():
                out = torch.softmax(scores(given), -1) @ given["v"]
            return out, torch.autograd.grad(out, inputs, given["grad_out"])

        def read():
            out, found = run()
            return {"out": out.detach().numpy(),
                    **{"d" + name: one.numpy() for name, one in zip(names, found)}}
        return run, read

    def additive_variants(self, shape, arrays):
        build = self.additive_forward if shape.passes == 1 else self.additive_both
        return {"materialised": lambda: build(arrays, self.scores),
                "in place": lambda: build(arrays, self.scores_in_place)}
