"""Random combinations of what ONNX' operator Attention allows, and what they should give: ONNX'
reference evaluator in float64, on the values that clattn gets in float32, float16 or bfloat16."""

import ml_dtypes
import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

INPUTS = ["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"]
OUTPUTS = ["Y", "present_key", "present_value", "qk_matmul_output"]
# In version 23 a mask is not extended; one with a last extent of 1 is repeated, not extended, which
# the evaluator doesn't tell apart.
FIRST_VERSION = {"nonpad_kv_seqlen": 24, "shorter mask": 24, "windows": 25}

QUERIES = [1, 1, 2, 3, 5, 7, 16, 17, 31, 33, 47, 48, 49, 65, 97]
KEYS = [1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 255, 257, 300]
DIMS = [1, 2, 3, 5, 7, 8, 13, 16, 31, 32, 40, 59, 64, 64, 65, 80, 96, 128, 128, 200, 257, 576]
DTYPES = [np.float32, np.float32, np.float32, np.float16, np.float16, ml_dtypes.bfloat16]
# Rounding to storage, relative to the value: half a unit in the last place.
ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


class Combination:
    """Attributes, inputs and wanted outputs; the same for the same seed and index. `given` are the
    inputs as clattn gets them, which makes no difference by what the operator promises."""

    def __init__(self, seed, index):
        self.random = np.random.default_rng([seed, index])
        self.version = int(self.random.choice([23, 24, 25, 25]))
        self.dtype = np.dtype(self.random.choice(np.array(DTYPES, dtype=object)))
        self.attributes, self.inputs, self.wanted = {}, {}, ["Y"]
        self.make_tensors()
        self.make_cache()
        self.make_mask()
        self.make_attributes()
        self.given = {name: self.as_given(name) for name in self.inputs}

    def chance(self, probability):
        return bool(self.random.random() < probability)

    def pick(self, values):
        return values[int(self.random.integers(len(values)))]

    def values(self, *shape):
        return (self.random.standard_normal(shape) * self.size).astype(self.dtype)

    def make_tensors(self):
        self.size = self.pick([1, 1, 1, 3])
        self.batch = self.pick([1, 2, 3])
        self.kv_heads = self.pick([1, 2, 3])
        self.heads = self.kv_heads * self.pick([1, 1, 2, 3, 4, 8])
        self.queries, self.keys = self.pick(QUERIES), self.pick(KEYS)
        self.dim = self.pick(DIMS)
        self.value_dim = self.dim if self.chance(0.6) else self.pick(DIMS)
        shapes = {"Q": (self.heads, self.queries, self.dim),
                  "K": (self.kv_heads, self.keys, self.dim),
                  "V": (self.kv_heads, self.keys, self.value_dim)}
        self.packed = self.chance(0.4)
        for name, (heads, length, dim) in shapes.items():
            packed = (self.batch, length, heads * dim)
            self.inputs[name] = self.values(*(packed if self.packed else
                                              (self.batch, heads, length, dim)))
        if self.packed:
            self.attributes.update(q_num_heads=self.heads, kv_num_heads=self.kv_heads)

    def make_cache(self):
        self.total = self.keys
        cache = self.pick(["none", "none", "past", "nonpad"])
        if cache == "past":
            past = self.pick([1, 2, 5, 16, 33, 70])
            self.total += past
            self.inputs["past_key"] = self.values(self.batch, self.kv_heads, past, self.dim)
            self.inputs["past_value"] = self.values(self.batch, self.kv_heads, past,
                                                    self.value_dim)
        elif cache == "nonpad" and self.version >= FIRST_VERSION["nonpad_kv_seqlen"]:
            lengths = self.random.integers(0, self.keys + 1, self.batch)
            self.inputs["nonpad_kv_seqlen"] = lengths.astype(np.int64)
        if "nonpad_kv_seqlen" not in self.inputs and self.chance(0.6):
            self.wanted += ["present_key", "present_value"]

    def make_mask(self):
        kind = self.pick(["none", "bool", "float"])
        if kind == "none":
            return
        shape = [self.batch, self.heads, self.queries, self.total]
        shape = [1 if i < 3 and self.chance(0.4) else extent for i, extent in enumerate(shape)]
        if self.version >= FIRST_VERSION["shorter mask"] and self.chance(0.3):
            least = int(max(self.inputs.get("nonpad_kv_seqlen", [1]), default=1))
            shape[3] = int(self.random.integers(max(least, 1), self.total + 1))
        shape = shape[self.pick([0, 0, 1, 2, 3]):]
        chosen = self.random.random(shape) < self.pick([0.1, 0.5, 0.9])
        if kind == "bool":
            self.inputs["attn_mask"] = chosen
            return
        added = self.random.standard_normal(shape) * 2
        if self.chance(0.6):
            least = self.pick([-np.inf, -np.inf, float(ml_dtypes.finfo(self.dtype).min)])
            added = np.where(chosen, added, least)
        self.inputs["attn_mask"] = added.astype(self.dtype)

    def make_attributes(self):
        optional = {"is_causal": (0.4, [1]),
                    "scale": (0.3, [0.01, 0.25, 0.6]),
                    "softcap": (0.3, [0.5, 2.0, 30.0]),
                    # float16 and bfloat16, the lower precisions, are allowed too, but clattn's
                    # softmax is float32 always: the results would differ by design.
                    "softmax_precision": (0.2, [onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE])}
        if self.version >= FIRST_VERSION["windows"]:
            optional["left_window_size"] = (0.4, [-1, 0, 1, 4, 20, 70])
            optional["right_window_size"] = (0.4, [-1, 0, 1, 4, 20, 70])
        for name, (probability, values) in optional.items():
            if self.chance(probability):
                self.attributes[name] = self.pick(values)
        if self.chance(0.6):
            self.wanted.append("qk_matmul_output")
            self.attributes["qk_matmul_output_mode"] = self.pick([0, 1, 2, 3])

    def as_given(self, name):
        """The input in another order of memory, and padding keys and values of any kind."""
        array = self.inputs[name]
        lengths = self.inputs.get("nonpad_kv_seqlen", [])
        raw_scores = self.attributes.get("qk_matmul_output_mode", 3) < 2  # of padding keys, too
        if name in ("K", "V") and not raw_scores and self.chance(0.5):
            array = array.copy()
            for entry, length in zip(array if self.packed else array.swapaxes(1, 2), lengths):
                entry[length:] = self.pick([np.nan, np.inf, -np.inf])
        if array.ndim == 4 and self.chance(0.3):
            array = np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)
        return array

    def __str__(self):
        shapes = ", ".join(f"{name} {array.dtype}{list(array.shape)}"
                           for name, array in self.inputs.items())
        attributes = ", ".join(f"{name}={value}" for name, value in self.attributes.items())
        return f"version {self.version}, {shapes}; {attributes or 'no attributes'}"

    def score_size(self):
        """The most that |q| . |k| with scale and bias come to: what float32 rounds."""
        def largest(name):
            values = np.abs(self.inputs[name].astype(np.float64)) if name in self.inputs else [0]
            return float(np.max(values))
        scale = self.attributes.get("scale", self.dim**-0.5)
        dot = self.dim * largest("Q") * max(largest("K"), largest("past_key")) * scale / 4
        bias = np.abs(self.inputs.get("attn_mask", np.zeros(1)).astype(np.float64))
        return dot + float(np.max(bias[bias < 1e5], initial=0))


def rows_for_evaluator(combination, mask):
    """The evaluator makes the causal bias in the mask's own shape: it fails where the mask has rank
    1, and gives every query the first one's keys where the mask has one row for all; the operator's
    definition as a function doesn't. The same mask with its rows written out avoids that."""
    if mask.ndim == 1 or mask.shape[-2] != combination.queries:
        return np.broadcast_to(mask, (*mask.shape[:-2], combination.queries, mask.shape[-1]))
    return mask


def evaluate(combination, attributes, wanted):
    inputs = {name: array if array.dtype in (bool, np.int64) else array.astype(np.float64)
              for name, array in combination.inputs.items()}
    if "attn_mask" in inputs and attributes.get("is_causal"):
        inputs["attn_mask"] = rows_for_evaluator(combination, inputs["attn_mask"])
    names = [name if name in inputs else "" for name in INPUTS]
    outputs = [name if name in wanted else "" for name in OUTPUTS]
    while not names[-1]:
        names.pop()
    while not outputs[-1]:
        outputs.pop()
    node = helper.make_node("Attention", names, outputs, **attributes)
    infos = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype),
                                           array.shape) for name, array in inputs.items()]
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None)
               for name in wanted]
    model = helper.make_model(helper.make_graph([node], "attention", infos, results),
                              opset_imports=[helper.make_opsetid("", combination.version)])
    return dict(zip(wanted, ReferenceEvaluator(model).run(wanted, inputs)))


def expected(combination):
    attributes, wanted = combination.attributes, combination.wanted
    results = evaluate(combination, attributes, wanted)
    if attributes.get("softcap") and attributes.get("qk_matmul_output_mode") == 0:
        # Mode 0 is the product before the softcap, in the text and in the operator's definition as
        # a function; the evaluator gives the one after it.
        plain = {**attributes, "softcap": 0.0}
        results["qk_matmul_output"] = evaluate(combination, plain, wanted)["qk_matmul_output"]
    return [results[name] for name in wanted]


def limits(combination, name, wanted):
    """How far each element may be from the wanted one."""
    if name.startswith("present"):
        return np.zeros_like(wanted)  # copies
    size = np.where(np.isfinite(wanted), np.abs(wanted), 0)
    largest = np.max(size[size < 1e6], initial=1)
    relative = max(1e-5, 2.0**-21 * combination.score_size())
    return relative * largest + (ROUNDING[combination.dtype.name] + 1e-6) * size


def difference(combination, name, got, wanted):
    """None, or a sentence about the worst element."""
    got = got.astype(np.float64)
    if got.shape != wanted.shape:
        return f"{name} has the shape {got.shape} instead of {wanted.shape}"
    finite = np.isfinite(wanted)
    error = np.where(finite, np.abs(got - np.where(finite, wanted, 0)), 0)
    bad = np.where(finite, ~(error <= limits(combination, name, wanted)), got != wanted)
    overflow = finite & (np.abs(wanted) > float(ml_dtypes.finfo(combination.dtype).max))
    bad &= ~(overflow & (got == np.copysign(np.inf, wanted)))
    if not bad.any():
        return None
    worst = np.unravel_index(np.argmax(bad * np.where(np.isnan(error), np.inf, error + 1e-30)),
                             bad.shape)
    return (f"{name} is {got[worst]:.9g} instead of {wanted[worst]:.9g} at "
            f"{[int(i) for i in worst]}, {int(bad.sum())} of {bad.size} wrong")
