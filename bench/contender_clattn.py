"""clattn among the contenders of compare.py: attention, its gradients and linear projections on
host arrays; layers and additive attention, which have no such calls, in buffers of the device."""

import data
from clattn import Library
from clattn_device import Device
from clattn_header import Header
from turns import Subject

GRADIENT_ALWAYS = ("Q", "K", "V", "OUT", "GRAD_OUT")
LINEAR_ALWAYS = ("X", "W", "Y")
# Of a layer: the array that has the tensor, and which of how many equal parts of it.
MULTI_HEAD = {"X": ("x", 0, 1), "WQ": ("w", 0, 3), "WK": ("w", 1, 3), "WV": ("w", 2, 3),
              "WO": ("wo", 0, 1), "BQ": ("b", 0, 3), "BK": ("b", 1, 3), "BV": ("b", 2, 3),
              "BO": ("bo", 0, 1)}
MULTI_HEAD_BIASES = ("BQ", "BK", "BV", "BO")
# Slots of additive attention, the arrays that have them, and which of them are named.
ADDITIVE = {"Q": "q", "K": "k", "V": "v", "W_SCORE": "w_score", "CHANNEL_BIAS": "bias"}


class Clattn(Subject):
    def __init__(self, library, header, device):
        super().__init__()
        self.library = Library(library, Header(header), device=device)
        self.device = Device(self.library)
        self.scratch = 0  # bytes of the plans that were built last

    def describe(self):
        version = self.library.calls.clattn_version_string().decode()
        return f"clattn {version} on {self.library.device()}"

    def kept_bytes(self, variant):
        return self.scratch

    def described(self, shape):
        desc = self.library.make("clattn_attention_desc")
        desc.batch, desc.n_head, desc.n_q, desc.head_dim = shape.q_shape
        _, desc.n_kv_head, desc.n_kv, desc.value_dim = shape.kv_shape
        desc.causal = shape.causal
        if shape.causal:
            desc.align = self.library.header.value["CLATTN_ALIGN_BOTTOM_RIGHT"]
        return desc

    def attention(self, shape, arrays):
        out = data.empty(shape.q_shape)
        run = self.library.attention(self.described(shape), *map(data.place, arrays), out)
        return run, lambda: out

    def backward(self, shape, arrays):
        """The forward pass here, once."""
        slots = {name.upper(): data.place(arrays[name]) for name in ("q", "k", "v")}
        slots |= {"OUT": data.empty(shape.q_shape), "LSE": data.empty(shape.q_shape[:3])}
        self.library.run(self.described(shape), slots)
        made = {name: data.empty(arrays[name].shape) for name in ("q", "k", "v")}
        slots["GRAD_OUT"] = data.place(arrays["grad_out"])
        slots |= {"GRAD_" + name.upper(): array for name, array in made.items()}
        run = self.library.prepared(self.library.calls.clattn_run_gradient,
                                    self.described(shape), slots, GRADIENT_ALWAYS)
        return run, lambda: {"d" + name: array for name, array in made.items()}

    def linear(self, shape, arrays):
        desc = self.library.make("clattn_linear_desc")
        desc.batch, desc.rows = 1, shape.rows
        setattr(desc, "in", shape.width_in)
        desc.out = shape.width_out
        y = data.empty((1, shape.rows, shape.width_out))
        slots = {"X": data.place(arrays["x"])[None], "W": data.place(arrays["w"]),
                 "B": data.place(arrays["b"]), "Y": y}
        run = self.library.prepared(self.library.calls.clattn_linear, desc, slots, LINEAR_ALWAYS)
        return run, lambda: {"y": y[0]}

    def bits(self, names):
        return sum(1 << self.library.header.value[f"CLATTN_LAYER_{name}"] for name in names)

    def multi_head(self, shape, arrays):
        backward = shape.passes == 2
        desc = self.library.make("clattn_multi_head_desc")
        desc.batch, desc.n_q, desc.width, desc.n_head, _ = shape
        desc.optional = self.bits(MULTI_HEAD_BIASES)
        desc.gradients = self.bits("GRAD_" + name for name in MULTI_HEAD) if backward else 0
        layer = self.device.layer(self.library.calls.clattn_layer_create_multi_head, desc)
        given = {name: self.device.buffer_of(array) for name, array in arrays.items()}
        made = {"out": (self.device.buffer(arrays["x"].nbytes), arrays["x"].shape)}
        places = {"OUT": (made["out"][0], 0)}
        if backward:
            places["GRAD_OUT"] = given["grad_out"], 0
            made |= {"d" + name: (self.device.buffer(arrays[name].nbytes), arrays[name].shape)
                     for name in ("x", "w", "b", "wo", "bo")}
        for tensor, (name, part, parts) in MULTI_HEAD.items():
            offset = part * arrays[name].nbytes // parts
            places[tensor] = given[name], offset
            if backward:
                places["GRAD_" + tensor] = made["d" + name][0], offset
        run = self.device.layer_passes(layer, places, backward)
        return run, lambda: {name: self.device.read(*of) for name, of in made.items()}

    def additive_desc(self, shape, names):
        desc = self.library.make("clattn_additive_desc")
        desc.batch, desc.n_head = shape.batch, 1
        _, desc.n_q, desc.n_kv, desc.channels, desc.value_dim, _ = shape
        for name in names:
            desc.slots |= 1 << self.library.header.value[f"CLATTN_SLOT_{name}"]
        return desc

    def additive(self, shape, arrays):
        calls, device = self.library.calls, self.device
        out_shape = arrays["grad_out"].shape
        slots = {slot: device.buffer_of(arrays[name]) for slot, name in ADDITIVE.items()}
        slots |= {"OUT": device.buffer(arrays["grad_out"].nbytes),
                  "LSE": device.buffer(4 * shape.batch * shape.n_q)}
        names = ["CHANNEL_BIAS", "LSE"]
        steps = [(device.plan(calls.clattn_plan_additive, self.additive_desc(shape, names)), slots)]
        made = {"out": (slots["OUT"], out_shape)}
        if shape.passes == 2:
            gradients = {"GRAD_" + slot: device.buffer(arrays[name].nbytes)
                         for slot, name in ADDITIVE.items()}
            desc = self.additive_desc(shape, ["CHANNEL_BIAS", *gradients])
            steps.append((device.plan(calls.clattn_plan_additive_gradient, desc),
                          {**slots, **gradients, "GRAD_OUT": device.buffer_of(arrays["grad_out"])}))
            made |= {"d" + name: (gradients["GRAD_" + slot], arrays[name].shape)
                     for slot, name in ADDITIVE.items()}
        self.scratch = sum(device.workspace(plan) for plan, _ in steps)
        run = device.submission(steps)
        return run, lambda: {name: device.read(*of) for name, of in made.items()}

    def variants(self, shape, arrays):
        self.device.forget()
        name, build = {
            "attention": ("clattn_attention", self.attention),
            "backward": ("clattn_run_gradient", self.backward),
            "linear": ("clattn_linear", self.linear),
            "multi-head": ("clattn_layer", self.multi_head),
            "additive": ("clattn_plan_additive", self.additive),
        }[shape.operation]
        return {name: lambda: build(shape, arrays)}
