"""Writes and reads .npy files for the tests of the tool; the standard library alone."""

import ast
import itertools
import math
import random
import struct

CODES = {"f4": "f", "f2": "e", "f8": "d", "i4": "i", "i8": "q", "b1": "?"}


def header(descr, shape, fortran=False, version=1, text=None):
    """Everything before the elements."""
    if text is None:
        text = repr({"descr": descr, "fortran_order": fortran, "shape": tuple(shape)})
    start = 10 if version == 1 else 12
    text += " " * (-(start + len(text) + 1) % 64) + "\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode("utf-8")


def in_file_order(shape, values, fortran):
    if not fortran:
        return values
    steps = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    indices = itertools.product(*(range(n) for n in reversed(shape)))
    return [values[sum(s * i for s, i in zip(steps, reversed(index)))] for index in indices]


def encode(shape, values, descr="<f4", fortran=False, version=1):
    code = CODES[descr[1:]]
    order = ">" if descr[0] == ">" else "<"
    elements = in_file_order(shape, values, fortran)
    return header(descr, shape, fortran, version) + struct.pack(
        f"{order}{len(elements)}{code}", *elements
    )


def write(path, shape, values=None, **form):
    """`values` in C order; None: random numbers, the same for the same path and shape."""
    if values is None:
        values = random_values(shape, path)
    path.write_bytes(encode(shape, values, **form))
    return values


def random_values(shape, seed):
    generator = random.Random(f"{seed}{shape}")
    # Multiples of 1/64 below 4 are the same in float16 and float32.
    return [generator.randrange(-128, 128) / 64 for _ in range(math.prod(shape))]


def read(path):
    """(shape, values) of a little-endian float32 or int32 file in C order."""
    data = path.read_bytes()
    if data[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError(f"{path}: not version 1.0 of the format")
    (length,) = struct.unpack("<H", data[8:10])
    if (10 + length) % 64 != 0:
        raise ValueError(f"{path}: elements begin at {10 + length}, no multiple of 64")
    found = ast.literal_eval(data[10 : 10 + length].decode("ascii"))
    if found["descr"] not in ("<f4", "<i4") or found["fortran_order"]:
        raise ValueError(f"{path}: {found}")
    count = math.prod(found["shape"])
    if len(data) != 10 + length + 4 * count:
        raise ValueError(f"{path}: {len(data)} bytes")
    return found["shape"], struct.unpack(f"<{count}{found['descr'][1]}", data[10 + length :])


def attention(q, k, v, shape, scale=None, offset=None):
    """Out, LSE and weights of small problems in double precision. shape: (batch, n_head, n_kv_head,
    n_q, n_kv, head_dim, value_dim); offset: causal with this offset."""
    batch, n_head, n_kv_head, n_q, n_kv, head_dim, value_dim = shape
    scale = 1 / math.sqrt(head_dim) if scale is None else scale
    outs, lses, weights = [], [], []
    for b, h, i in itertools.product(range(batch), range(n_head), range(n_q)):
        group = (b * n_kv_head + h // (n_head // n_kv_head)) * n_kv
        row = q[((b * n_head + h) * n_q + i) * head_dim :][:head_dim]
        visible = n_kv if offset is None else max(0, min(n_kv, i + offset + 1))
        scores = [
            scale * sum(x * y for x, y in zip(row, k[(group + j) * head_dim :][:head_dim]))
            for j in range(visible)
        ]
        most = max(scores, default=-math.inf)
        total = sum(math.exp(s - most) for s in scores)
        lse = most + math.log(total) if scores else -math.inf
        w = [math.exp(s - lse) for s in scores] + [0.0] * (n_kv - visible)
        lses.append(lse)
        weights += w
        for d in range(value_dim):
            outs.append(sum(w[j] * v[(group + j) * value_dim + d] for j in range(visible)))
    return outs, lses, weights
