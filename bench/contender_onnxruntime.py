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

    def describe(self):
        return f"ONNX Runtime {onnxruntime.__version__}"

    def bind(self, operator, attributes, inputs, outputs):
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

        def run(alive=(values, inputs, outputs)):
            session.run_with_iobinding(binding)
        return run, values[id(outputs["out"])].numpy

    def attention(self, shape, arrays):
        inputs = dict(zip("QKV", map(data.place, arrays)))
        if shape.needs_mask:
            inputs["attn_mask"] = data.mask(shape)
        causal = int(shape.causal and shape.n_q == shape.n_kv)
        return self.bind("Attention", {"is_causal": causal}, inputs,
                         {"out": data.empty(shape.q_shape)})

    def bind_packed(self, operator, attributes, inputs, outputs):
        """The same for operators whose output has the queries' packed shape."""
        outputs = {"out": data.empty(inputs["query"].shape), **outputs}
        run, read = self.bind(operator, attributes, inputs, outputs)
        return run, lambda: unpack(read(), attributes["num_heads"])

    def multi_head(self, shape, arrays):
        inputs = dict(zip(("query", "key", "value"), map(pack, data.repeat_heads(shape, arrays))))
        causal = int(shape.causal and shape.n_q == shape.n_kv)
        attributes = {"num_heads": shape.n_head, "unidirectional": causal}
        return self.bind_packed("MultiHeadAttention", attributes, inputs, {})

    def group_query(self, shape, arrays):
        """Keys and values before the queries are in a cache, which the new ones are added to. That
        is causal; a single query sees all keys in any case."""
        q, k, v = arrays
        past = shape.n_kv - shape.n_q
        cache = {"past_key": data.place(k), "past_value": data.place(v)}
        inputs = {"query": pack(q), "key": pack(k[:, :, past:]), "value": pack(v[:, :, past:]),
                  **cache, "seqlens_k": np.full(shape.batch, shape.n_kv - 1, np.int32),
                  "total_sequence_length": np.array(shape.n_kv, np.int32)}
        outputs = {"present_key": cache["past_key"], "present_value": cache["past_value"]}
        attributes = {"num_heads": shape.n_head, "kv_num_heads": shape.n_kv_head}
        return self.bind_packed("GroupQueryAttention", attributes, inputs, outputs)

    def variants(self, shape, arrays):
        made = {"Attention": lambda: self.attention(shape, arrays)}
        if shape.n_head != shape.n_kv_head:
            made["Attention, repeated heads"] = lambda: self.attention(
                shape, data.repeat_heads(shape, arrays))
        if not shape.needs_mask:
            made["MultiHeadAttention"] = lambda: self.multi_head(shape, arrays)
        if shape.n_q == 1 or shape.causal and shape.n_q == shape.n_kv:
            made["GroupQueryAttention"] = lambda: self.group_query(shape, arrays)
        return made
