#!/usr/bin/env python3
"""torch_random.py FOLDER: random cases of every kind of tests/data/conformance/torch, computed by
PyTorch in float64 with gradients by autograd, in the form that tests/conformance reads.

Needs the packages torch and numpy: bench/setup_peers.sh makes a virtual environment with them.
ci/torch_cases.sh runs this and then the runner on what it wrote."""

import argparse
import json
import math
import pathlib

import numpy as np
import torch

INF = math.inf
DIMS = (1, 3, 8, 16, 24, 32, 40, 48, 59, 64, 80, 96, 100, 128, 160, 192, 256)
LENGTHS = (1, 2, 5, 15, 16, 17, 31, 33, 48, 63, 64, 65, 100, 129, 200, 257, 300)


class Draw:
    """What is drawn for a case: the attributes, and the tensors by name."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.attributes, self.inputs, self.outputs = {}, {}, {}

    def of(self, values):
        return values[self.random.integers(len(values))]

    def chance(self, of_one):
        return self.random.random() < of_one

    def between(self, least, most):
        return int(self.random.integers(least, most + 1))

    def tensor(self, name, *shape, size=1.0):
        """A float tensor as it is stored: rounded to float32."""
        values = (self.random.standard_normal(shape) * size).astype(np.float32)
        self.inputs[name] = values
        return torch.from_numpy(values).double().requires_grad_()

    def integers(self, name, values):
        self.inputs[name] = np.asarray(values, np.int32)
        return [int(x) for x in values]

    def differentiate(self, out, leaves):
        """Gradients by a random one of the output, named d and the input."""
        gradient = self.tensor("grad_out", *out.shape).detach()
        found = torch.autograd.grad(out, list(leaves.values()), gradient, allow_unused=True)
        for (name, leaf), of in zip(leaves.items(), found):
            self.outputs["d" + name] = torch.zeros_like(leaf) if of is None else of

    def write(self, folder, kind):
        folder.mkdir(parents=True)
        outputs = {name: value.detach().numpy() for name, value in self.outputs.items()}
        text = {
            "kind": kind,
            "source": f"PyTorch {torch.__version__}, float64, autograd",
            "attributes": self.attributes,
            "inputs": list(self.inputs),
            "outputs": list(outputs),
        }
        (folder / "case.json").write_text(json.dumps(text, indent=1))
        for name, value in {**self.inputs, **outputs}.items():
            if value.dtype == np.float64:
                value = value.astype(np.float32)
            np.save(folder / f"{name}.npy", np.ascontiguousarray(value))


def softmax(scores, sink=None):
    """Weights and log-sum-exp of rows, of which some may have no finite score."""
    alive = torch.isfinite(scores)
    some = alive.any(-1, keepdim=True)
    safe = torch.where(alive | ~some, scores, torch.full_like(scores, -INF))
    safe = torch.where(some, safe, torch.zeros_like(safe))
    if sink is not None:
        all_scores = torch.cat((torch.where(some, safe, torch.full_like(safe, -1e30)), sink), -1)
        lse = torch.logsumexp(all_scores, -1, keepdim=True)
    else:
        lse = torch.logsumexp(safe, -1, keepdim=True)
    weights = torch.where(alive, torch.exp(torch.where(alive, scores, lse) - lse), 0.0)
    if sink is None:
        lse = torch.where(some, lse, torch.full_like(lse, -INF))
    return weights, lse.squeeze(-1)


def visible(n_q, n_k, offset, causal, window):
    i = torch.arange(n_q)[:, None] + offset
    j = torch.arange(n_k)[None, :]
    see = torch.ones(n_q, n_k, dtype=torch.bool)
    if causal:
        see &= j <= i
    left, right = window
    if left >= 0:
        see &= j >= i - left
    if right >= 0:
        see &= j <= i + right
    return see, (i - j).abs()


def attend(draw, q, k, v, lengths=None, mask=None, bias=None, slopes=None, sink=None):
    """(B,Hq,Sq,D), (B,Hkv,Sk,D), (B,Hkv,Sk,Dv) -> out, lse, weights, by the attributes."""
    a = draw.attributes
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    n_q, n_k = q.shape[2], k.shape[2]
    s = a["scale"] * q @ k.transpose(-1, -2)
    if a.get("softcap"):
        s = a["softcap"] * torch.tanh(s / a["softcap"])
    rows = []
    for b in range(q.shape[0]):
        length = lengths[b] if lengths else n_k
        offset = length - n_q if a.get("align", "bottom-right") == "bottom-right" else 0
        see, distance = visible(
            n_q, n_k, offset, a.get("causal", False), a.get("window", [-1, -1])
        )
        see = see & (torch.arange(n_k) < length)[None, :]
        row = s[b]
        if slopes is not None:
            row = row - slopes.detach()[:, None, None] * distance
        if bias is not None:
            row = row + bias.expand(q.shape[0], q.shape[1], n_q, n_k)[b]
        see = see[None].expand_as(row)
        if mask is not None:
            see = see & mask.expand(q.shape[0], q.shape[1], n_q, n_k)[b]
        rows.append(torch.where(see, row, torch.full_like(row, -INF)))
    s = torch.stack(rows)
    extra = sink[None, :, None, None].expand(*s.shape[:3], 1) if sink is not None else None
    weights, lse = softmax(s, extra)
    return weights @ v, lse, weights


def optional_inputs(draw, batch, heads, n_q, n_k):
    """Mask, bias, slopes and sink, each now and then, broadcast in some way."""
    found = {}
    shape = lambda: tuple(1 if draw.chance(0.4) else n for n in (batch, heads, n_q)) + (n_k,)
    if draw.chance(0.25):
        draw.inputs["mask"] = draw.random.random(shape()) < 0.7
        found["mask"] = torch.from_numpy(draw.inputs["mask"])
    if draw.chance(0.25):
        found["bias"] = draw.tensor("bias", *shape())
    if draw.chance(0.2):
        slopes = (2.0 ** -(1 + 7 * draw.random.random(heads))).astype(np.float32)
        draw.inputs["alibi_slopes"] = slopes
        found["slopes"] = torch.from_numpy(slopes).double()
    if draw.chance(0.2):
        found["sink"] = draw.tensor("sink", heads)
    return found


def bounds(draw):
    a = draw.attributes
    if draw.chance(0.45):
        a["causal"] = True
    if draw.chance(0.3):
        a["window"] = [draw.of((-1, 0, 3, 17, 64)), draw.of((-1, 0, 5, 33))]
    if draw.chance(0.2):
        a["softcap"] = draw.of((2.0, 8.0, 30.0))
    if "causal" in a or "window" in a or draw.chance(0.2):
        a["align"] = draw.of(("bottom-right", "bottom-right", "top-left"))


def attention(draw):
    kv_heads, dim = draw.of((1, 1, 2, 3)), draw.of(DIMS)
    heads = kv_heads * draw.of((1, 1, 2, 4))
    batch, n_q, n_k = draw.of((1, 1, 2, 3)), draw.of(LENGTHS), draw.of(LENGTHS)
    value_dim = dim if draw.chance(0.7) else draw.of(DIMS)
    draw.attributes["scale"] = 1 / math.sqrt(dim) if draw.chance(0.8) else 0.2
    bounds(draw)
    q = draw.tensor("q", batch, heads, n_q, dim)
    k = draw.tensor("k", batch, kv_heads, n_k, dim)
    v = draw.tensor("v", batch, kv_heads, n_k, value_dim)
    options = optional_inputs(draw, batch, heads, n_q, n_k)
    if "slopes" in options:  # distances are along the aligned diagonal
        draw.attributes.setdefault("align", "bottom-right")
    if draw.chance(0.3):
        lengths = [draw.between(0, n_k) for _ in range(batch)]
        options["lengths"] = draw.integers("kv_lengths", lengths)
    draw.outputs["out"], draw.outputs["lse"], weights = attend(draw, q, k, v, **options)
    leaves = {"q": q, "k": k, "v": v}
    leaves.update((name, options[name]) for name in ("bias", "sink") if name in options)
    draw.differentiate(draw.outputs["out"], leaves)
    if draw.chance(0.3):
        draw.outputs["weights"] = weights


def ragged(draw):
    kv_heads, dim = draw.of((1, 2)), draw.of(DIMS)
    heads, sequences = kv_heads * draw.of((1, 2, 3)), draw.between(1, 5)
    q_lengths = [draw.of((0, 1, 3, 16, 40, 70)) for _ in range(sequences)]
    k_lengths = [draw.of((0, 1, 5, 17, 64, 90)) for _ in range(sequences)]
    if sum(q_lengths) == 0:
        q_lengths[0] = 7
    if sum(k_lengths) == 0:
        k_lengths[0] = 7
    draw.attributes.update(scale=1 / math.sqrt(dim), layout="packed (token, head, dim)")
    if draw.chance(0.5):
        draw.attributes.update(causal=True, align="bottom-right")
    q = draw.tensor("q", sum(q_lengths), heads, dim)
    k = draw.tensor("k", sum(k_lengths), kv_heads, dim)
    v = draw.tensor("v", sum(k_lengths), kv_heads, dim)
    q_at = draw.integers("cu_seqlens_q", np.concatenate(([0], np.cumsum(q_lengths))))
    k_at = draw.integers("cu_seqlens_k", np.concatenate(([0], np.cumsum(k_lengths))))
    outs, lses = [], []
    for b in range(sequences):
        rows, keys = slice(q_at[b], q_at[b + 1]), slice(k_at[b], k_at[b + 1])
        if q_lengths[b] == 0:
            continue
        if k_lengths[b] == 0:
            outs.append(torch.zeros(q_lengths[b], heads, dim, dtype=torch.float64))
            lses.append(torch.full((q_lengths[b], heads), -INF, dtype=torch.float64))
            continue
        part = [x.transpose(0, 1)[None] for x in (q[rows], k[keys], v[keys])]
        out, lse, _ = attend(draw, *part)
        outs.append(out[0].transpose(0, 1))
        lses.append(lse[0].transpose(0, 1))
    draw.outputs["out"], draw.outputs["lse"] = torch.cat(outs), torch.cat(lses)
    draw.differentiate(draw.outputs["out"], {"q": q, "k": k, "v": v})


def additive(draw):
    batch, n_q, n_k = draw.of((1, 2, 3)), draw.of((1, 5, 11, 33)), draw.of((1, 19, 64, 130))
    q_dim, k_dim, dim, channels = (draw.of((1, 16, 24, 32, 50, 96)) for _ in range(4))
    q, k = draw.tensor("q", batch, n_q, q_dim), draw.tensor("k", batch, n_k, k_dim)
    v = draw.tensor("v", batch, n_k, dim)
    w_query = draw.tensor("w_query", channels, q_dim, size=q_dim**-0.5)
    w_key = draw.tensor("w_key", channels, k_dim, size=k_dim**-0.5)
    bias = draw.tensor("bias", channels)
    w_score = draw.tensor("w_score", channels)
    inner = (q @ w_query.T)[:, :, None] + (k @ w_key.T)[:, None] + bias
    s = torch.tanh(inner) @ w_score
    if draw.chance(0.5):
        lengths = draw.integers("kv_lengths", [draw.between(0, n_k) for _ in range(batch)])
        see = torch.arange(n_k)[None, None] < torch.tensor(lengths)[:, None, None]
        s = torch.where(see, s, torch.full_like(s, -INF))
    weights, lse = softmax(s)
    draw.outputs.update(out=weights @ v, weights=weights, lse=lse)
    draw.differentiate(
        draw.outputs["out"],
        dict(q=q, k=k, v=v, w_query=w_query, w_key=w_key, bias=bias, w_score=w_score),
    )


def multiplicative(draw):
    batch, n_q, n_k = draw.of((1, 2, 3)), draw.of((1, 9, 33)), draw.of((1, 31, 100))
    general = draw.chance(0.6)
    q_dim, dim = draw.of((8, 24, 33, 64)), draw.of((16, 40, 80))
    k_dim = draw.of((8, 36, 64)) if general else q_dim
    draw.attributes["mode"] = "general" if general else "dot"
    q = draw.tensor("q", batch, n_q, q_dim, size=0.5)
    k = draw.tensor("k", batch, n_k, k_dim, size=0.5)
    v = draw.tensor("v", batch, n_k, dim)
    leaves = dict(q=q, k=k, v=v)
    if general:
        leaves["w_score"] = draw.tensor("w_score", q_dim, k_dim, size=q_dim**-0.5)
        s = q @ leaves["w_score"] @ k.transpose(-1, -2)
    else:
        s = q @ k.transpose(-1, -2)
    weights, _ = softmax(s)
    draw.outputs.update(out=weights @ v, weights=weights)
    draw.differentiate(draw.outputs["out"], leaves)


def multi_head(draw):
    heads, head_dim = draw.of((1, 2, 3, 4, 8)), draw.of((4, 8, 16, 24))
    batch, n_q, cross = draw.of((1, 2, 3)), draw.of((1, 9, 21, 50)), draw.chance(0.4)
    width = heads * head_dim
    draw.attributes.update(heads=heads, cross=cross)
    x = draw.tensor("x", batch, n_q, width)
    leaves, key, value, n_k = {"x": x}, x, x, n_q
    if cross:
        n_k = draw.of((1, 9, 27, 70))
        key = leaves["key"] = draw.tensor("key", batch, n_k, draw.of((20, 40, width)))
        value = leaves["value"] = draw.tensor("value", batch, n_k, draw.of((24, 40, width)))
    if draw.chance(0.4):
        draw.attributes.update(causal=True, align="top-left")
    lengths = None
    if draw.chance(0.4):
        lengths = draw.integers("kv_lengths", [draw.between(1, n_k) for _ in range(batch)])
    sources = {"q": x, "k": key, "v": value}
    for name, source in {**sources, "o": x}.items():
        wide = source.shape[-1]
        leaves["w" + name] = draw.tensor("w" + name, width, wide, size=wide**-0.5)
    with_bias = draw.chance(0.7)
    for name in "qkvo" if with_bias else "":
        leaves["b" + name] = draw.tensor("b" + name, width)
    parts = []
    for name, source in sources.items():
        y = source @ leaves["w" + name].T
        y = y + leaves["b" + name] if with_bias else y
        parts.append(y.unflatten(-1, (heads, head_dim)).transpose(1, 2))
    draw.attributes["scale"] = 1 / math.sqrt(head_dim)
    out, _, weights = attend(draw, *parts, lengths=lengths)
    del draw.attributes["scale"]
    out = out.transpose(1, 2).flatten(2) @ leaves["wo"].T
    out = out + leaves["bo"] if with_bias else out
    draw.outputs.update(out=out, weights=weights)
    draw.differentiate(out, leaves)


def rotate(x, positions, a):
    dim, half = a["rotary_dim"], a["rotary_dim"] // 2
    if dim == 0:
        return x
    i = torch.arange(half, dtype=torch.float64)
    angle = positions[:, None].double() * a["rotary_base"] ** (-2 * i / dim)
    cos, sin = angle.cos(), angle.sin()
    pairs = x[..., :dim]
    if a["rotary_interleaved"]:
        one, two = pairs[..., 0::2], pairs[..., 1::2]
        turned = torch.stack((one * cos - two * sin, one * sin + two * cos), -1).flatten(-2)
    else:
        one, two = pairs[..., :half], pairs[..., half:]
        turned = torch.cat((one * cos - two * sin, one * sin + two * cos), -1)
    return torch.cat((turned, x[..., dim:]), -1)


def decode(draw):
    kv_heads, dim = draw.of((1, 2)), draw.of((16, 32, 64, 80, 128))
    heads, batch = kv_heads * draw.of((1, 2, 4)), draw.of((1, 2, 3))
    steps, step_len = draw.between(1, 8), draw.of((1, 1, 1, 2, 4))
    a = draw.attributes
    a.update(scale=1 / math.sqrt(dim), steps=steps, step_len=step_len)
    a.update(rotary_dim=draw.of((0, dim, dim, dim // 2)), rotary_base=draw.of((10000.0, 500000.0)))
    a.update(rotary_interleaved=draw.chance(0.4))
    if draw.chance(0.35):
        a["window"] = [draw.of((0, 3, 16, 40)), 0]
    prompts = draw.integers("prompt_lengths", [draw.between(1, 60) for _ in range(batch)])
    longest, last = max(prompts), steps * step_len
    shape = (longest + last, dim)
    q = draw.tensor("q", batch, heads, *shape).detach()
    k = draw.tensor("k", batch, kv_heads, *shape).detach()
    v = draw.tensor("v", batch, kv_heads, *shape).detach()
    out_prompt = torch.zeros(batch, heads, longest, dim, dtype=torch.float64)
    out_steps = torch.zeros(batch, heads, last, dim, dtype=torch.float64)
    for b, prompt in enumerate(prompts):
        rows = list(range(prompt)) + list(range(longest, longest + last))
        positions = torch.arange(len(rows))
        part = Draw(0)
        part.attributes = dict(a, causal=True)
        mine = [rotate(x[b : b + 1, :, rows], positions, a) for x in (q, k)]
        out, _, _ = attend(part, *mine, v[b : b + 1, :, rows])
        out_prompt[b, :, :prompt], out_steps[b] = out[0, :, :prompt], out[0, :, prompt:]
    draw.outputs.update(out_prompt=out_prompt, out_steps=out_steps)


def top_k(draw):
    batch, heads, dim = draw.of((1, 2)), draw.of((1, 3)), draw.of((16, 32, 64, 80))
    n_q, n_k = draw.of((1, 9, 33)), draw.of((16, 64, 100, 300))
    count = draw.attributes["k"] = draw.of((1, 2, 4, 8, 16))
    q = draw.tensor("q", batch, heads, n_q, dim).detach()
    k = draw.tensor("k", batch, heads, n_k, dim).detach()
    v = draw.tensor("v", batch, heads, n_k, dim).detach()
    s = q @ k.transpose(-1, -2) / math.sqrt(dim)
    indices = torch.sort(s, descending=True, stable=True).indices[..., :count]
    chosen = torch.full_like(s, -INF).scatter(-1, indices, s.gather(-1, indices))
    weights, _ = softmax(chosen)
    draw.outputs.update(out=weights @ v, weights=weights, indices=indices.int())


KINDS = [attention, ragged, additive, multiplicative, multi_head, decode, top_k]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--cases", type=int, default=20, help="of each kind; three times as many of attention"
    )
    options = parser.parse_args()
    for kind in KINDS:
        for i in range(options.cases * (3 if kind is attention else 1)):
            draw = Draw([options.seed, KINDS.index(kind), i])
            kind(draw)
            draw.write(options.folder / kind.__name__ / f"seed{options.seed}_{i}", kind.__name__)


if __name__ == "__main__":
    main()
