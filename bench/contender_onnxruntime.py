"""ONNX Runtime among the contenders of compare.py: ONNX' own operator Attention, and the runtime's
MultiHeadAttention and GroupQueryAttention, which want arrays of (batch, sequence, head * dim).
Inputs and output are bound beforehand."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

import data
from turns import Subject

TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "bool": TensorProto.BOOL}
OPSETS = {"": 23, "com.microsoft": 1}
IR_VERSION = 10


def pack(array):
    """(batch, head, sequence, dim) as (batch, sequence, head * dim)."""
    batch, heads, length, dim = array.shape
    return data.place(array.swapaxes(1, 2)).reshape(batch, length, heads * dim)


def unpack(array, heads):
    batch, length, width = array.shape
    return array.reshape(batch, length, heads, width // heads).swapaxes(1, 2)


def model(operator, domain, attributes, inputs, outputs):
    """Of a single node; the arrays, by name, give types and shapes."""
    infos = [[helper.make_tensor_value_info(name, TYPES[array.dtype.name], array.shape)
              for name, array in arrays.items()] for arrays in (inputs, outputs)]
    node = helper.make_node(operator, list(inputs), list(outputs), domain=domain, **attributes)
    graph = helper.make_graph([node], operator, *infos)
    opsets = [helper.make_opsetid(*pair) for pair in OPSETS.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


class OnnxRuntime(Subject):
    def __init__(self, threads):
        super().__init__()
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.results = {}
        self.n_head = 0

    def describe(self):
        return f"ONNX Runtime {onnxruntime.__version__}"

    def add(self, variant, operator, attributes, inputs, outputs):
        """outputs: "out" first. One that is an input too is written in place."""
        domain = "" if operator == "Attention" else "com.microsoft"
        made = model(operator, domain, attributes, inputs, outputs)
        session = onnxruntime.InferenceSession(made.SerializeToString(), self.options,
                                               providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        value_of = onnxruntime.OrtValue.ortvalue_from_numpy
        values = {id(array): value_of(array) for array in [*inputs.values(), *outputs.values()]}
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, values[id(array)])
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, values[id(array)])
        self.results[variant] = values[id(outputs["out"])]

        def run(alive=(values, inputs, outputs)):
            session.run_with_iobinding(binding)
        self.calls[variant] = run

    def add_attention(self, variant, shape, arrays):
        inputs = dict(zip("QKV", map(data.place, arrays)))
        if shape.needs_mask:
            inputs["attn_mask"] = data.mask(shape)
        causal = int(shape.causal and shape.n_q == shape.n_kv)
        self.add(variant, "Attention", {"is_causal": causal}, inputs,
                 {"out": data.empty(shape.q_shape)})

    def add_multi_head(self, shape, arrays):
        inputs = dict(zip(("query", "key", "value"), map(pack, arrays)))
        attributes = {"num_heads": shape.n_head, "unidirectional": int(
            shape.causal and shape.n_q == shape.n_kv)}
        self.add("MultiHeadAttention", "MultiHeadAttention", attributes, inputs,
                 {"out": data.empty(inputs["query"].shape)})

    def add_group_query(self, shape, arrays):
        """Keys and values before the queries are in a cache, which the new ones are added to. That is
        causal; a single query sees all keys in any case."""
        q, k, v = arrays
        count, past = shape.n_q, shape.n_kv - shape.n_q
        cache = {"past_key": data.place(k), "past_value": data.place(v)}
        inputs = {"query": pack(q), "key": pack(k[:, :, past:]), "value": pack(v[:, :, past:]),
                  **cache, "seqlens_k": np.full(shape.batch, past + count - 1, np.int32),
                  "total_sequence_length": np.array(past + count, np.int32)}
        outputs = {"out": data.empty(inputs["query"].shape), "present_key": cache["past_key"],
                   "present_value": cache["past_value"]}
        self.add("GroupQueryAttention", "GroupQueryAttention",
                 {"num_heads": shape.n_head, "kv_num_heads": shape.n_kv_head}, inputs, outputs)

    def prepare(self, shape, arrays):
        self.calls.clear()
        self.results.clear()
        self.n_head = shape.n_head
        repeated = data.repeat_heads(shape, arrays)
        self.add_attention("Attention", shape, arrays)
        if shape.n_head != shape.n_kv_head:
            self.add_attention("Attention, repeated heads", shape, repeated)
        if not shape.needs_mask:
            self.add_multi_head(shape, repeated)
        if shape.n_q == 1 or shape.causal and shape.n_q == shape.n_kv:
            self.add_group_query(shape, arrays)
        return list(self.calls)

    def output(self, variant):
        self.calls[variant]()
        result = self.results[variant].numpy()
        return unpack(result, self.n_head) if result.ndim == 3 else result
