"""Inputs of a shape, and whether what was computed from them is right. Needs NumPy."""

import numpy as np

# Bytes. Intel's OpenCL copies host memory that begins elsewhere (CL_DEVICE_MEM_BASE_ADDR_ALIGN);
# the compared libraries give their own tensors 64.
ALIGNMENT = 128
CHECKED_ROWS = 64  # queries of each head that are compared with float64
# Largest difference allowed, for inputs of a standard normal distribution: between an output and
# attention in float64, in float32's units in the last place of the largest value.
TOLERANCE_ULP = 64
ULP = 2.0**-23


def empty(shape):
    """An aligned array of float32."""
    size = int(np.prod(shape))
    memory = np.empty(size + ALIGNMENT // 4, np.float32)
    skip = -(memory.ctypes.data // 4) % (ALIGNMENT // 4)
    return memory[skip:skip + size].reshape(shape)


def place(array):
    """An aligned, contiguous copy."""
    made = empty(array.shape)
    made[...] = array
    return made


def inputs(shape):
    """q, k and v, the same for the same shape."""
    random = np.random.default_rng(list(shape))
    return [random.standard_normal(extents, dtype=np.float32)
            for extents in (shape.q_shape, shape.kv_shape, shape.kv_shape)]


def repeat_heads(shape, arrays):
    """q, k and v with each key/value head once for each of its query heads."""
    q, k, v = arrays
    group = shape.n_head // shape.n_kv_head
    return q, np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)


def mask(shape):
    """(n_q, n_kv), true where visible: causal, aligned bottom-right."""
    return np.tril(np.ones((shape.n_q, shape.n_kv), bool), shape.n_kv - shape.n_q)


def expected_rows(shape, arrays, rows):
    """Attention of these queries in float64, (batch, n_head, len(rows), head_dim); rows that see no
    key are 0."""
    q, k, v = arrays
    group = shape.n_head // shape.n_kv_head
    made = np.zeros((shape.batch, shape.n_head, len(rows), shape.head_dim))
    last = np.asarray(rows) + shape.n_kv - shape.n_q
    hidden = np.arange(shape.n_kv) > last[:, None] if shape.causal else None
    for b, h in np.ndindex(shape.batch, shape.n_head):
        scores = q[b, h, rows].astype(float) @ k[b, h // group].astype(float).T
        scores /= np.sqrt(shape.head_dim)
        if shape.causal:
            scores[hidden] = -np.inf
        top = scores.max(axis=1, keepdims=True)
        weights = np.exp(scores - np.where(np.isinf(top), 0, top))
        total = weights.sum(axis=1, keepdims=True)
        weights /= np.where(total == 0, 1, total)
        made[b, h] = weights @ v[b, h // group].astype(float)
    return made


class Check:
    """Compares outputs of one shape: rows of all heads with float64, and the whole with the first
    output that was right."""

    def __init__(self, shape, arrays):
        count = min(shape.n_q, CHECKED_ROWS)
        self.rows = np.unique(np.linspace(0, shape.n_q - 1, count).astype(int))
        self.expected = expected_rows(shape, arrays, self.rows)
        self.tolerance = TOLERANCE_ULP
        self.bound = TOLERANCE_ULP * ULP * float(np.abs(arrays[2]).max())
        # Queries that see no key: 0 with clattn, NaN with others.
        self.begin = max(0, shape.n_q - shape.n_kv) if shape.causal else 0
        self.first = None

    def difference(self, output, expected):
        """The largest; infinite where there is a NaN."""
        found = float(np.abs(output - expected).max(initial=0))
        return found if np.isfinite(found) else float("inf")

    def error(self, output):
        """The largest error, in ulps of the largest value, and whether the output is right."""
        seen = self.rows >= self.begin
        found = self.difference(output[:, :, self.rows[seen]], self.expected[:, :, seen])
        if found <= self.bound:
            output = output[:, :, self.begin:]
            if self.first is None:
                self.first = output
            found = max(found, self.difference(output, self.first))
        return found / self.bound * TOLERANCE_ULP, found <= self.bound


def problem(shape):
    """Inputs, and the check of outputs."""
    arrays = inputs(shape)
    return arrays, Check(shape, arrays)
