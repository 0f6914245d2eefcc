"""OpenVINO among the contenders of compare.py: its operator scaled_dot_product_attention in a model
of its own, on the CPU, for latency, in float32 (it would take bfloat16 where the CPU has it)."""

import numpy as np
import openvino
from openvino import opset13

import data
from turns import Subject


def broadcast_heads(node, shape):
    """Key/value heads repeated within the model, which may keep it from copying them."""
    batch, heads, length, dim = shape.kv_shape
    group = shape.n_head // heads
    wide = opset13.broadcast(opset13.unsqueeze(node, np.int64(2)),
                             np.array([batch, heads, group, length, dim], np.int64))
    return opset13.reshape(wide, np.array([batch, heads * group, length, dim], np.int64), False)


class OpenVino(Subject):
    def __init__(self, threads):
        super().__init__()
        self.core = openvino.Core()
        self.options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                        "INFERENCE_PRECISION_HINT": "f32"}

    def describe(self):
        return f"OpenVINO {openvino.__version__.split('-')[0]}"

    def model(self, shape, arrays):
        nodes = [opset13.parameter(list(array.shape), array.dtype) for array in arrays]
        q, k, v, *masks = nodes
        if arrays[1].shape[1] != shape.n_head:
            k, v = broadcast_heads(k, shape), broadcast_heads(v, shape)
        causal = bool(shape.causal and shape.n_q == shape.n_kv)
        result = opset13.scaled_dot_product_attention(q, k, v, *masks, causal=causal)
        return openvino.Model([result], nodes)

    def attention(self, shape, arrays):
        arrays = [data.place(array) for array in arrays]
        if shape.needs_mask:
            arrays.append(data.mask(shape))
        compiled = self.core.compile_model(self.model(shape, arrays), "CPU", self.options)
        request, out = compiled.create_infer_request(), data.empty(shape.q_shape)
        tensors = [openvino.Tensor(array, shared_memory=True) for array in (*arrays, out)]
        for index, tensor in enumerate(tensors[:-1]):
            request.set_input_tensor(index, tensor)
        request.set_output_tensor(0, tensors[-1])

        def run(alive=(compiled, arrays, tensors)):
            request.infer()
        return run, lambda: out

    def variants(self, shape, arrays):
        if shape.n_head == shape.n_kv_head:
            return {"scaled_dot_product_attention": lambda: self.attention(shape, arrays)}
        return {
            "repeated heads": lambda: self.attention(shape, data.repeat_heads(shape, arrays)),
            "broadcast heads": lambda: self.attention(shape, arrays),
        }
