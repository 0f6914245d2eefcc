"""What is compared beside attention: inputs of gradients, linear projections, layers and additive
attention, each in float64, and whether what was computed is right. Needs NumPy."""

import numpy as np

from data import ULP, inputs

# Largest difference allowed between a result and the same in float64, in float32's units in the
# last place of its largest element. Gradients are sums over more than results are.
TOLERANCE_ULP = 64
TOLERANCE_ULP_GRADIENTS = 512


class Check:
    """Compares outputs, arrays by name, with those expected."""

    def __init__(self, expected, tolerance):
        self.expected = expected
        self.tolerance = tolerance

    def error(self, output):
        """The largest error, in ulps of the largest element of its array, and whether all is
        right."""
        if output.keys() != self.expected.keys():
            return float("inf"), False
        found = max(self.error_of(output[name], expected)
                    for name, expected in self.expected.items())
        return found, found <= self.tolerance

    @staticmethod
    def error_of(output, expected):
        if output.shape != expected.shape:
            return float("inf")
        error = float(np.abs(output - expected).max()) / (ULP * float(np.abs(expected).max()))
        return error if np.isfinite(error) else float("inf")


def wide(arrays):
    return {name: array.astype(float) for name, array in arrays.items()}


def softmax(scores):
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def softmax_gradient(weights, by_weights):
    return weights * (by_weights - (weights * by_weights).sum(axis=-1, keepdims=True))


# ---- one head of attention: (n_q, D), (n_kv, D), (n_kv, Dv) --------------------------------------

def head_weights(q, k, causal):
    scores = q @ k.T / np.sqrt(q.shape[1])
    if causal:
        scores[np.triu_indices(len(q), len(k) - len(q) + 1, len(k))] = -np.inf
    return softmax(scores)


def head_gradients(q, k, v, by_out, causal):
    """By q, k and v."""
    weights = head_weights(q, k, causal)
    by_scores = softmax_gradient(weights, by_out @ v.T) / np.sqrt(q.shape[1])
    return by_scores @ k, by_scores.T @ q, weights.T @ by_out


# ---- the operations ------------------------------------------------------------------------------

def random_arrays(shape, **extents):
    """By name, of a standard normal distribution, the same for the same shape."""
    random = np.random.default_rng([*shape, *shape.operation.encode()])
    return {name: random.standard_normal(of, dtype=np.float32) for name, of in extents.items()}


def backward_problem(shape):
    """Queries all see a key: rows without one are NaN with others."""
    q, k, v = inputs(shape)
    arrays = {"q": q, "k": k, "v": v, **random_arrays(shape, grad_out=shape.q_shape)}
    group = shape.n_head // shape.n_kv_head
    made = {"dq": np.zeros(q.shape), "dk": np.zeros(k.shape), "dv": np.zeros(v.shape)}
    given = wide(arrays)
    for b, h in np.ndindex(shape.batch, shape.n_head):
        of_keys = b, h // group
        dq, dk, dv = head_gradients(given["q"][b, h], given["k"][of_keys], given["v"][of_keys],
                                    given["grad_out"][b, h], shape.causal)
        made["dq"][b, h] = dq
        made["dk"][of_keys] += dk
        made["dv"][of_keys] += dv
    return arrays, Check(made, TOLERANCE_ULP_GRADIENTS)


def linear_problem(shape):
    arrays = random_arrays(shape, x=(shape.rows, shape.width_in),
                           w=(shape.width_out, shape.width_in), b=(shape.width_out,))
    given = wide(arrays)
    return arrays, Check({"y": given["x"] @ given["w"].T + given["b"]}, TOLERANCE_ULP)


def cut_into_heads(shape, x):
    """(batch, tokens, width) to (batch, heads, tokens, dim)."""
    return x.reshape(shape.batch, shape.tokens, shape.n_head, -1).transpose(0, 2, 1, 3)


def join_heads(shape, x):
    return x.transpose(0, 2, 1, 3).reshape(shape.batch, shape.tokens, shape.width)


def sum_of_products(left, right):
    """(out, in) of (batch, tokens, out) and (batch, tokens, in)."""
    return np.einsum("bto,bti->oi", left, right, optimize=True)


def multi_head_back(shape, given, heads, joined):
    """Gradients by name. heads: q, k, v; joined: what the last projection is applied to."""
    by_out = given["grad_out"]
    by_joined = cut_into_heads(shape, by_out @ given["wo"])
    by_heads = [np.zeros(heads[0].shape) for _ in range(3)]
    for b, h in np.ndindex(shape.batch, shape.n_head):
        found = head_gradients(*(one[b, h] for one in heads), by_joined[b, h], False)
        for to, gradient in zip(by_heads, found):
            to[b, h] = gradient
    by_projected = np.concatenate([join_heads(shape, one) for one in by_heads], axis=2)
    return {"dx": by_projected @ given["w"],
            "dw": sum_of_products(by_projected, given["x"]), "db": by_projected.sum((0, 1)),
            "dwo": sum_of_products(by_out, joined), "dbo": by_out.sum((0, 1))}


def multi_head_problem(shape):
    """w (3 width, width): those of q, k and v, one below the other; b likewise."""
    width, tokens = shape.width, (shape.batch, shape.tokens, shape.width)
    arrays = random_arrays(shape, x=tokens, w=(3 * width, width), b=(3 * width,),
                           wo=(width, width), bo=(width,), grad_out=tokens)
    for name in ("w", "wo"):
        arrays[name] /= np.float32(np.sqrt(width))
    given = wide(arrays)
    projected = given["x"] @ given["w"].T + given["b"]
    heads = [cut_into_heads(shape, part) for part in np.split(projected, 3, axis=2)]
    made = np.zeros(heads[0].shape)
    for b, h in np.ndindex(shape.batch, shape.n_head):
        q, k, v = (one[b, h] for one in heads)
        made[b, h] = head_weights(q, k, False) @ v
    joined = join_heads(shape, made)
    expected = {"out": joined @ given["wo"].T + given["bo"]}
    if shape.passes == 2:
        expected |= multi_head_back(shape, given, heads, joined)
    return arrays, Check(expected, TOLERANCE_ULP_GRADIENTS if shape.passes == 2 else TOLERANCE_ULP)


def additive_query(given, b, i, made, passes):
    """One query, its gradients added to what was made; (n_kv, channels) at a time."""
    key, value, by_out = given["k"][b], given["v"][b], given["grad_out"][b, i]
    inner = np.tanh(given["q"][b, i] + key + given["bias"])
    weights = softmax(inner @ given["w_score"])
    made["out"][b, i] = weights @ value
    if passes == 1:
        return
    by_scores = softmax_gradient(weights, value @ by_out)
    by_inner = by_scores[:, None] * (1 - inner**2) * given["w_score"]
    made["dq"][b, i] = by_inner.sum(0)
    made["dk"][b] += by_inner
    made["dv"][b] += np.outer(weights, by_out)
    made["dw_score"] += by_scores @ inner


def additive_problem(shape):
    queries, keys = (shape.batch, shape.n_q), (shape.batch, shape.n_kv)
    of_channels = (shape.channels,)
    arrays = random_arrays(shape, q=queries + of_channels, k=keys + of_channels,
                           v=keys + (shape.value_dim,), w_score=of_channels, bias=of_channels,
                           grad_out=queries + (shape.value_dim,))
    arrays["w_score"] *= np.float32(2 / np.sqrt(shape.channels))
    made = {"out": np.zeros(queries + (shape.value_dim,))}
    if shape.passes == 2:
        made |= {"d" + name: np.zeros(arrays[name].shape) for name in ("q", "k", "v", "w_score")}
    given = wide(arrays)
    for b, i in np.ndindex(queries):
        additive_query(given, b, i, made, shape.passes)
    if shape.passes == 2:
        made["dbias"] = made["dq"].sum((0, 1))
    return arrays, Check(made, TOLERANCE_ULP_GRADIENTS if shape.passes == 2 else TOLERANCE_ULP)


PROBLEMS = {
    "backward": backward_problem,
    "linear": linear_problem,
    "multi-head": multi_head_problem,
    "additive": additive_problem,
}
