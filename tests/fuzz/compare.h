/* Whether the outputs of a run are what they must be. Errors are within the bounds of bounds.h.
 *
 * Exactly equal: NaN, infinities, 0 of weights, rows of OUT that are all 0, gradients of what
 * nobody sees. Where rounding decides which keys a row is of, it may be anything, but NaN only
 * where an input is NaN or infinite. What no element of an output occupies must be untouched, and
 * inputs unchanged. */
#ifndef FUZZ_COMPARE_H
#define FUZZ_COMPARE_H

#include "expected.h"

typedef struct fuzz_verdict {
    bool good;
    char why[320];            /* otherwise */
    double ratio[FUZZ_SLOTS]; /* largest error relative to the contract's bound, by output */
    int compared, beyond;     /* outputs, and those whose ratio is above 1 */
} fuzz_verdict;

/* before: the inputs as the run got them. */
void fuzz_compare(const fuzz_problem *p, const fuzz_expected *e, const fuzz_set *before,
                  const fuzz_set *after, fuzz_verdict *verdict);

/* Outputs of two runs: the same bits, NaN of any kind and 0 of any sign alike. */
void fuzz_compare_runs(const fuzz_problem *p, const fuzz_set *a, const fuzz_set *b,
                       fuzz_verdict *verdict);

#endif
