"""ONNX' operator Attention, versions 23 to 25, computed by clattn: what the operator's inputs and
attributes are in clattn's description. https://onnx.ai/onnx/operators/onnx__Attention.html"""

import numpy as np

MODE_CAPPED = 1  # of qk_matmul_output_mode; clattn's stages of scores have the same numbers


def heads_first(array, heads):
    """(B, S, H * D) as (B, H, S, D), without a copy; 4-D arrays are so already."""
    if array.ndim == 4:
        return array
    batch, length, width = array.shape
    return array.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)


def extend_mask(mask, keys):
    """The mask with keys behind its end that are not visible."""
    missing = keys - mask.shape[-1]
    hidden = False if mask.dtype == bool else -np.inf
    widths = [(0, 0)] * (mask.ndim - 1) + [(0, missing)]
    return np.pad(mask, widths, constant_values=hidden) if missing > 0 else mask


class Attention:
    """One node: attributes by name; inputs by name, absent ones missing."""

    def __init__(self, attributes, inputs):
        self.attributes = attributes
        self.inputs = inputs
        self.packed = inputs["Q"].ndim == 3
        self.q = heads_first(inputs["Q"], attributes.get("q_num_heads"))
        self.k = heads_first(inputs["K"], attributes.get("kv_num_heads"))
        self.v = heads_first(inputs["V"], attributes.get("kv_num_heads"))
        self.past = inputs["past_key"].shape[2] if "past_key" in inputs else 0
        self.mode = attributes.get("qk_matmul_output_mode", 0)

    def score_shape(self):
        batch, heads, queries, _ = self.q.shape
        return batch, heads, queries, self.past + self.k.shape[2]

    def describe(self, library):
        desc = library.make("clattn_attention_desc")
        desc.batch, desc.n_head, desc.n_q, desc.head_dim = self.q.shape
        _, desc.n_kv_head, desc.n_kv, desc.value_dim = self.v.shape
        desc.n_past = self.past
        desc.has_scale = "scale" in self.attributes
        desc.scale = self.attributes.get("scale", 0)
        desc.softcap = self.attributes.get("softcap", 0)
        return desc

    def describe_visibility(self, library, desc):
        left = self.attributes.get("left_window_size", -1)
        right = self.attributes.get("right_window_size", -1)
        desc.causal = self.attributes.get("is_causal", 0)
        if (left, right) != (-1, -1):
            desc.has_window, desc.window_left, desc.window_right = 1, left, right
        if not (desc.causal or desc.has_window):
            return
        # Query i stands behind the past, at the end of the valid keys, or at i.
        if "nonpad_kv_seqlen" in self.inputs:
            align = "BOTTOM_RIGHT"
        else:
            align = "OFFSET" if self.past else "TOP_LEFT"
        desc.align = library.header.value[f"CLATTN_ALIGN_{align}"]
        desc.align_offset = self.past

    def input_slots(self):
        slots = {"Q": self.q, "K": self.k, "V": self.v}
        if "attn_mask" in self.inputs:
            mask = extend_mask(self.inputs["attn_mask"], self.score_shape()[-1])
            slot = "MASK" if mask.dtype == bool else "BIAS"
            slots[slot] = np.broadcast_to(mask, self.score_shape())
        if "past_key" in self.inputs:
            slots["PAST_K"], slots["PAST_V"] = self.inputs["past_key"], self.inputs["past_value"]
        if "nonpad_kv_seqlen" in self.inputs:
            slots["KV_LENGTHS"] = self.inputs["nonpad_kv_seqlen"].astype(np.int32)
        return slots

    def make_output(self, name):
        """The array that the operator returns, and the view on it that is the slot."""
        batch, heads, queries, keys = self.score_shape()
        dim, value_dim = self.q.shape[3], self.v.shape[3]
        kv_heads = self.k.shape[1]
        shapes = {"Y": (batch, heads, queries, value_dim),
                  "present_key": (batch, kv_heads, keys, dim),
                  "present_value": (batch, kv_heads, keys, value_dim),
                  "qk_matmul_output": (batch, heads, queries, keys)}
        dtypes = {"Y": self.q.dtype, "present_key": self.k.dtype, "present_value": self.v.dtype,
                  "qk_matmul_output": np.dtype(np.float32)}
        if name == "Y" and self.packed:
            made = np.empty((batch, queries, heads * value_dim), self.q.dtype)
            view = heads_first(made, heads)
        else:
            view = made = np.empty(shapes[name], dtypes[name])
        made.view(np.uint8).fill(0xFF)  # every float of such bytes is a NaN
        return made, view

    def run(self, library, wanted):
        """The wanted outputs, by name."""
        names = {"Y": "OUT", "present_key": "PRESENT_K", "present_value": "PRESENT_V",
                 "qk_matmul_output": "SCORES"}
        made = {name: self.make_output(name) for name in {"Y", *wanted}}
        views = {names[name]: view for name, (_, view) in made.items()}
        desc, slots = self.describe(library), self.input_slots()
        scores = views.get("SCORES")
        if scores is not None and self.mode <= MODE_CAPPED and "KV_LENGTHS" in slots:
            # These modes hold scores of padding keys too, which clattn leaves out.
            self.run_scores(library, views.pop("SCORES"))
        elif scores is not None:
            desc.score_stage = self.mode
        self.describe_visibility(library, desc)
        library.run(desc, {**slots, **views})
        result = {name: array for name, (array, _) in made.items()}
        if "qk_matmul_output" in result:
            with np.errstate(over="ignore"):
                result["qk_matmul_output"] = result["qk_matmul_output"].astype(self.q.dtype)
        return [result[name] for name in wanted]

    def run_scores(self, library, scores):
        desc = self.describe(library)
        desc.score_stage = self.mode
        _, out = self.make_output("Y")
        library.run(desc, {"Q": self.q, "K": self.k, "V": self.v, "OUT": out, "SCORES": scores})
