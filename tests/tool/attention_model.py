"""Attention with every option of clattn attention, in plain Python and double precision: what the
tests of the tool's options compare with. Small arrays only, as flat lists in C order."""

import dataclasses
import itertools
import math
import struct

INFINITY = math.inf


def philox(counter, key):
    """Philox4x32-10, Salmon et al. 2011."""
    x, key = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [
            second >> 32 ^ x[1] ^ key[0],
            second & 0xFFFFFFFF,
            first >> 32 ^ x[3] ^ key[1],
            first & 0xFFFFFFFF,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return x


def keeps(seed, probability, b, h, i, j):
    """Whether dropout keeps the weight of a pair."""
    seed &= 0xFFFFFFFFFFFFFFFF
    key = philox((0, 0, 0, 0), (seed & 0xFFFFFFFF, seed >> 32))[:2]
    word = philox((j // 64 * 16 + j % 16, i, h, b), key)[j // 16 % 4]
    return word >= math.floor(as_float32(probability) * 2**32)


def as_float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def as_float16(x):
    return struct.unpack("<e", struct.pack("<e", x))[0]


def as_bfloat16(x):
    """Rounded to nearest, ties to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", x))
    bits += 0x7FFF + (bits >> 16 & 1)
    return struct.unpack("<f", struct.pack("<I", bits & 0xFFFF0000))[0]


def element(array, index):
    """Of (shape, values), broadcast as NumPy does."""
    shape, values = array
    at = 0
    for extent, i in zip(shape, index[len(index) - len(shape) :]):
        at = at * extent + (0 if extent == 1 else i)
    return values[at]


@dataclasses.dataclass
class Problem:
    """Extents and options; arrays as (shape, values). n_kv counts the past too."""

    batch: int = 1
    n_head: int = 1
    n_kv_head: int = 1
    n_q: int = 1
    n_kv: int = 1
    head_dim: int = 4
    value_dim: int = 4
    scale: float = None
    softcap: float = None
    causal: bool = False
    bottom_right: bool = False
    window: tuple = None
    mask: tuple = None
    bias: tuple = None
    alibi: list = None
    sink: list = None
    q_lengths: list = None
    kv_lengths: list = None
    score: object = None
    visible: object = None
    dropout: float = 0
    seed: int = 0


def score_stages(p, row, key, at, position, within):
    """Scaled, capped and visible score of a pair. at: (b, h, i, j)."""
    b, h, _, j = at
    if not within:
        return [-INFINITY] * 3
    scale = 1 / math.sqrt(p.head_dim) if p.scale is None else p.scale
    scaled = scale * sum(x * y for x, y in zip(row, key))
    capped = p.softcap * math.tanh(scaled / p.softcap) if p.softcap else scaled
    s = capped
    if p.alibi:
        s -= p.alibi[h] * abs(position - j)
    if p.score:
        s = p.score(s, b, h, position, j)
    if p.bias:
        s += element(p.bias, at)
    see = not p.mask or element(p.mask, at)
    see = see and not (p.causal and j > position)
    if p.window:
        left, right = p.window
        see = see and (left < 0 or j >= position - left) and (right < 0 or j <= position + right)
    see = see and (not p.visible or p.visible(b, h, position, j))
    return [scaled, capped, s if see else -INFINITY]


def softmax(s, sink):
    """Weights and LSE."""
    most = max([*s, sink])
    if most == -INFINITY:
        return [0.0] * len(s), -INFINITY
    lse = most + math.log(sum(math.exp(x - most) for x in [*s, sink]))
    return [math.exp(x - lse) for x in s], lse


def attend(p, q, k, v):
    """Flat lists by name: out, lse, weights, mean, sum, and scaled, capped, visible scores."""
    names = ("out", "lse", "weights", "scaled", "capped", "visible")
    found = {name: [] for name in names}
    found["mean"] = [0.0] * (p.batch * p.n_q * p.n_kv)
    found["sum"] = [0.0] * (p.batch * p.n_head * p.n_kv)
    for b, h, i in itertools.product(range(p.batch), range(p.n_head), range(p.n_q)):
        queries = p.n_q if p.q_lengths is None else p.q_lengths[b]
        keys = p.n_kv if p.kv_lengths is None else p.kv_lengths[b]
        position = i + (keys - queries if p.bottom_right else 0)
        group = (b * p.n_kv_head + h // (p.n_head // p.n_kv_head)) * p.n_kv
        row = q[((b * p.n_head + h) * p.n_q + i) * p.head_dim :][: p.head_dim]
        pairs = [
            score_stages(
                p,
                row,
                k[(group + j) * p.head_dim :][: p.head_dim],
                (b, h, i, j),
                position,
                i < queries and j < keys,
            )
            for j in range(p.n_kv)
        ]
        sink = p.sink[h] if p.sink and i < queries else -INFINITY
        w, lse = softmax([pair[2] for pair in pairs], sink)
        dropped = w
        if p.dropout:
            kept = 1 / (1 - as_float32(p.dropout))
            dropped = [
                x * kept if keeps(p.seed, p.dropout, b, h, i, j) else 0.0 for j, x in enumerate(w)
            ]
        found["lse"].append(lse)
        found["weights"] += w
        for stage in range(3):
            found[names[3 + stage]] += [pair[stage] for pair in pairs]
        for j, x in enumerate(w):
            found["mean"][(b * p.n_q + i) * p.n_kv + j] += x / p.n_head
            found["sum"][(b * p.n_head + h) * p.n_kv + j] += x
        for d in range(p.value_dim):
            found["out"].append(
                sum(x * v[(group + j) * p.value_dim + d] for j, x in enumerate(dropped) if x)
            )
    return found
