/* Whether the outputs of a run are what they must be.
 *
 * Bounds, by the contract in docs/numerics.md, x computed, ref the oracle's, plain the plain
 * computation of plain.h, maxima over the finite elements of one tensor:
 *    OUT       |x - ref| <= 2 max|plain - ref| + 2 ulp max(|v|, |ref|)
 *    LSE       |x - ref| <= 2 max|plain - ref| + 2^-22 max(1, |ref|): a relative error of the sum
 *              is an absolute one of its logarithm
 *    WEIGHTS, WEIGHTS_MEAN, WEIGHTS_SUM, SCORES
 *              |x - ref| <= 2 max|plain - ref| + 2^-22 max|ref|
 *    PRESENT_K, PRESENT_V  equal
 * with ulp 2^-23, 2^-10, 2^-7 by OUT's type. Each bound has the smallest step of the output's type
 * on top, and 2^-126 where a device flushes denormal numbers. Scores and LSEs beyond 1e30, which
 * come from biases of -FLT_MAX, are compared by themselves, relative 2^-21, and raise no bound.
 *
 * Exactly equal: NaN, infinities, 0 of weights, and rows of OUT that are all 0. What no element of
 * an output occupies must be untouched, and inputs unchanged. */
#ifndef FUZZ_COMPARE_H
#define FUZZ_COMPARE_H

#include "expected.h"

typedef struct fuzz_verdict {
    bool good;
    char why[320];            /* otherwise */
    double ratio[FUZZ_SLOTS]; /* largest error relative to its bound, by output */
} fuzz_verdict;

/* before: the inputs as the run got them. */
void fuzz_compare(const fuzz_problem *p, const fuzz_expected *e, const fuzz_set *before,
                  const fuzz_set *after, fuzz_verdict *verdict);

/* Outputs of two runs: the same bits, any NaN alike. */
void fuzz_compare_runs(const fuzz_problem *p, const fuzz_set *a, const fuzz_set *b,
                       fuzz_verdict *verdict);

#endif
