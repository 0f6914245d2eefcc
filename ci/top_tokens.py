#!/usr/bin/env python3
"""top_tokens.py WEIGHTS.npy CASE.json [--head N] [--top N] [--without TOKEN...]: what each token
attends to most.

Without --head the weights are averaged over the heads. Tokens named by --without are passed over.
"""

import argparse
import json

import npy

WIDTH = 100


def rows_of(shape, weights, head):
    """Yields one row of weights per query: of one head, or the mean over all."""
    n_head, n_q, n_kv = shape[-3:]
    heads = range(n_head) if head is None else [head]
    for query in range(n_q):
        starts = [(h * n_q + query) * n_kv for h in heads]
        yield [sum(weights[s + key] for s in starts) / len(starts) for key in range(n_kv)]


def describe(row, tokens, options):
    keys = [key for key in range(len(row)) if tokens[key] not in options.without]
    best = sorted(keys, key=lambda key: -row[key])[: options.top]
    return ", ".join(f"{tokens[key]} {row[key]:.2f}" for key in best)


def in_columns(cells):
    width = max(map(len, cells)) + 3
    columns = max(1, WIDTH // width)
    lines = -(-len(cells) // columns)
    for line in range(lines):
        yield "  " + "".join(cell.ljust(width) for cell in cells[line::lines]).rstrip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("case")
    parser.add_argument("--head", type=int)
    parser.add_argument("--top", type=int, default=1)
    parser.add_argument("--without", nargs="*", default=[])
    options = parser.parse_args()
    shape, weights = npy.read(options.weights)
    with open(options.case, encoding="utf-8") as file:
        tokens = json.load(file)["tokens"]
    pad = max(map(len, tokens))
    cells = [
        f"{token:>{pad}} -> {describe(row, tokens, options)}"
        for token, row in zip(tokens, rows_of(shape, weights, options.head))
    ]
    print("\n".join(in_columns(cells)))


if __name__ == "__main__":
    main()
