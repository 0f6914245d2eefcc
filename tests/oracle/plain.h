/* Attention as a program writes it that knows nothing better: unfused, in float32, with scores,
 * weights and output rounded to the type of the output. Its error against the oracle is what the
 * error of a kernel is measured by (docs/numerics.md, Accuracy).
 *
 * scores = q k^T; scores times scale; softmax of each row, its maximum subtracted; out = weights v.
 * Every sum goes in ascending order, one float32 addition after the other, without fused
 * multiply-add. */
#ifndef PLAIN_H
#define PLAIN_H

#include "oracle.h"

typedef enum plain_type { PLAIN_F32, PLAIN_F16, PLAIN_BF16, PLAIN_TYPES } plain_type;

/* The nearest number of the type, ties to even; beyond its range infinity. NaN stays. */
float plain_round(float x, plain_type type);

/* The distance from 1 to the next number of the type. */
double plain_ulp(plain_type type);

/* out: (batch, n_head, n_q, value_dim). The problem's own out, lse and weights are not touched.
 * false: out of memory, and nothing was written. Any thread. */
bool plain_attention(const oracle_problem *problem, plain_type type, float *out);

#endif
