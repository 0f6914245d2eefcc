"""The shapes that compare.py times: how they are written, the suites, and what they count. Knows
nothing of who computes them."""

import itertools
from typing import NamedTuple

FORM = "B,H,HKV,SQ,SK,D[,causal]"
LIMIT = 2**31 - 1
BYTES = 4  # of a float32


class ShapeError(ValueError):
    """A text that is no shape; the sentence says why."""


def as_text(shape):
    return ",".join(map(str, shape))


def billions(shape, seconds):
    return shape.operations() / seconds * 1e-9


class Shape(NamedTuple):
    """Of attention: what FORM is the form of."""
    batch: int
    n_head: int
    n_kv_head: int
    n_q: int
    n_kv: int
    head_dim: int
    causal: int = 0  # aligned bottom-right: the last query sees all keys

    operation = "attention"
    form = "B,H,HKV,SQ,SK,D,causal"
    counts_memory = False

    __str__ = as_text

    @property
    def q_shape(self):
        return self.batch, self.n_head, self.n_q, self.head_dim

    @property
    def kv_shape(self):
        return self.batch, self.n_kv_head, self.n_kv, self.head_dim

    @property
    def is_decode(self):
        return self.n_q == 1

    @property
    def needs_mask(self):
        """Causal, but neither a square nor a single query: other libraries align top-left."""
        return bool(self.causal) and self.n_q not in (1, self.n_kv)

    def visible_pairs(self):
        """Of a query and a key, in one head."""
        if not self.causal:
            return self.n_q * self.n_kv
        seeing = min(self.n_q, self.n_kv)  # queries that see a key; the last one sees all
        return seeing * self.n_kv - seeing * (seeing - 1) // 2

    def operations(self):
        """Of both products: a multiplication and an addition for each visible pair and channel."""
        return 2 * self.batch * self.n_head * self.visible_pairs() * 2 * self.head_dim

    def kv_bytes(self):
        """K and V, read once."""
        return 2 * BYTES * self.batch * self.n_kv_head * self.n_kv * self.head_dim

    def rate(self, seconds):
        """GB/s of K and V with one query, else GF/s."""
        return (self.kv_bytes() if self.is_decode else self.operations()) / seconds * 1e-9

    @property
    def rate_unit(self):
        return "GB/s" if self.is_decode else "GF/s"


class Backward(Shape):
    """The gradients by q, k and v, the forward pass not counted: five products, not two."""
    operation = "backward"
    is_decode = False

    def operations(self):
        return super().operations() * 5 // 2


class Linear(NamedTuple):
    """y = x W^T + b."""
    rows: int
    width_in: int
    width_out: int

    operation = "linear"
    counts_memory = False
    form = "rows,in,out"
    rate_unit = "GF/s"

    __str__ = as_text

    def operations(self):
        return 2 * self.rows * self.width_in * self.width_out

    rate = billions


class MultiHead(NamedTuple):
    """A layer of self-attention with its four projections and their biases."""
    batch: int
    tokens: int
    width: int
    n_head: int
    passes: int  # 1: forward; 2: and backward, by the input and all parameters

    operation = "multi-head"
    counts_memory = False
    form = "B,S,width,H,passes"
    rate_unit = "GF/s"

    __str__ = as_text

    def operations(self):
        """Backward counts two products for each of a projection, and five for attention's two."""
        projections = 2 * self.batch * self.tokens * 4 * self.width**2
        attention = 4 * self.batch * self.tokens**2 * self.width
        if self.passes == 1:
            return projections + attention
        return 3 * projections + attention * 7 // 2

    rate = billions


class Additive(NamedTuple):
    """Additive attention of one head, its queries and keys projected already."""
    batch: int
    n_q: int
    n_kv: int
    channels: int
    value_dim: int
    passes: int  # 1: forward; 2: and backward, by everything that is read

    operation = "additive"
    counts_memory = True
    form = "B,SQ,SK,A,DV,passes"
    rate_unit = "G pairs*A/s"

    __str__ = as_text

    def operations(self):
        """Of a pair and a channel, in each pass."""
        return self.passes * self.batch * self.n_q * self.n_kv * self.channels

    rate = billions


OPERATIONS = {of.operation: of for of in (Shape, Backward, Linear, MultiHead, Additive)}
EVERYTHING = frozenset(OPERATIONS)


def parse(text):
    """The shape of a text in FORM."""
    parts = text.split(",")
    if not 6 <= len(parts) <= 7:
        raise ShapeError(f"'{text}' has {len(parts)} numbers, not the 6 or 7 of {FORM}")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ShapeError(f"'{text}' is not {FORM}, whole numbers")
    shape = Shape(*map(int, parts))
    if not all(1 <= extent <= LIMIT for extent in shape[:6]):
        raise ShapeError(f"'{text}' has an extent out of 1 to {LIMIT}")
    if shape.n_head % shape.n_kv_head:
        raise ShapeError(f"'{text}': {shape.n_kv_head} key/value heads don't divide "
                         f"{shape.n_head} heads")
    if shape.causal > 1:
        raise ShapeError(f"'{text}': causal is 0 or 1")
    return shape


def squares(heads, lengths, dims, causal):
    return [Shape(1, *h, length, length, dim, c)
            for dim, h, c, length in itertools.product(dims, heads, causal, lengths)]


SUITES = {
    "short": squares([(8, 8), (12, 12)], [64, 96, 128, 256, 384], [64], [0]),
    "prefill": squares([(8, 8), (32, 8)], [512, 1024, 2048, 4096], [64, 80, 128], [0, 1]),
    "decode": [Shape(1, 32, kv_heads, 1, length, 128)
               for kv_heads in (32, 8) for length in (4096, 8192, 16384, 32768)],
    "backward": [Backward(*shape)
                 for shape in squares([(8, 8)], [1024, 2048], [64, 128], [0, 1])],
    "linear": [Linear(512, width, width) for width in (384, 768, 1024, 1536, 2048)],
    "layers": [MultiHead(1, tokens, 384, 12, passes)
               for tokens in (128, 512) for passes in (1, 2)],
    "additive": [Additive(1, 512, 512, 128, 128, passes) for passes in (1, 2)],
}


def suite_of(shape):
    """The name of the suite that has this shape, or "other"."""
    return next((name for name, of in SUITES.items()
                 if of[0].operation == shape.operation and shape in of), "other")
