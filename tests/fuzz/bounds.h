/* How far a result may be from the oracle's. x is what the library computed, ref the oracle's
 * answer, plain that of plain.h; maxima are over the finite elements of one tensor; u = 2^-24.
 *
 * The contract of docs/numerics.md, and what it is taken to mean for other outputs than OUT:
 *    OUT           |x - ref| <= 2 max|plain - ref| + 2 ulp M, M = max(|v|, |ref|), |v| scaled up as
 *                  dropout does, ulp 2^-23, 2^-10, 2^-7 by OUT's type
 *    LSE           the same with plain in float32 and M = max(1, |ref|): a relative error of the
 *                  sum is an absolute one of its logarithm
 *    WEIGHTS, WEIGHTS_MEAN, WEIGHTS_SUM, SCORES
 *                  the same with M = max|ref|
 *    PRESENT_K, PRESENT_V
 *                  equal
 * Each has the smallest step of the output's type on top, and 2^-126 where denormal numbers may be
 * flushed.
 *
 * In a tensor of few elements the plain computation may happen to be exact, and then nothing passes
 * that isn't. So one result fails only beyond the sure bound, in which max|plain - ref| is at least
 * what rounding alone does, u X, by the oracle's `spread` and `terms`:
 *    OUT           X = M (2 max spread[0] + sqrt(n_kv) / 2)
 *    LSE           X = max spread[1] + sqrt(n_kv) / 2
 *    WEIGHTS, WEIGHTS_MEAN   X = 2 max spread[0] / (1 - dropout) + M sqrt(n_kv) / 2
 *    WEIGHTS_SUM   the same times sqrt(n_q)
 *    SCORES        X = max terms, or as WEIGHTS
 *    merge         X = M parts
 * Gradients: |x - ref| <= 3 max|plain - ref| + 4 ulp max|ref|, plain in the coarser of the types of
 * OUT and the gradient, and in the sure bound at least u max terms (2 + sqrt(longest) / 2), with u
 * of that type, the terms of gradient.h, and the larger number of queries and keys. Tensors in
 * which everything cancels, as gradients of scores do where queries see one key each, are held to
 * the sure bound alone. How many tensors are beyond the contract's bound is counted; there may be
 * few.
 *
 * Scores and LSEs beyond 1e30, which come from biases of -FLT_MAX, are compared by themselves,
 * relative FUZZ_FAR_ERROR, and raise no bound. */
#ifndef FUZZ_BOUNDS_H
#define FUZZ_BOUNDS_H

#include "expected.h"

#define FUZZ_FAR_ERROR 0x1p-21

typedef struct fuzz_bounds {
    double contract, sure;
} fuzz_bounds;

fuzz_bounds fuzz_bounds_of(const fuzz_problem *p, const fuzz_expected *e, int slot);

bool fuzz_is_far(int slot, double ref);

/* The slot holds weights, for which 0 is exact. */
bool fuzz_is_weight(const fuzz_problem *p, int slot);

#endif
