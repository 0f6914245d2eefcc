/* Random problems of the operations beside attention, by the rigs of tests/device: every layout,
 * type and option that they know, on every family of kernels, against the oracle; and, if asked,
 * the oracle's gradients against finite differences. The environment says which: CLATTN_SWEEP_SEED
 * of the random numbers, 1 CLATTN_SWEEP_COUNT        problems of each operation, 12
 *    CLATTN_SWEEP_DIFFERENCES  1: finite differences, too
 * A failure names seed and index of its problem; CLATTN_SWEEP_FIRST begins with that index. */
#ifndef FUZZ_SWEEP_H
#define FUZZ_SWEEP_H

#include "random.h"

/* One problem; rig_said() names it. */
typedef void (*sweep_body)(fuzz_random *r, bool differences);

/* Calls body for each problem of this stream, which is the operation's own. */
void sweep(const char *operation, uint64_t stream, sweep_body body);

/* Bits of `set`, each with this probability. */
uint64_t sweep_subset(fuzz_random *r, uint64_t set, int percent);

/* The loss as a function of what `of` points to, in double precision. */
typedef double (*sweep_loss)(const void *of);

/* Compares some elements of a gradient, chosen at random, with finite differences of the loss by
 * elements of x, which is part of `of`; errors up to `bound` times the largest element, or 1.
 * offset: (count) what was there before the gradient was added, or NULL. */
typedef struct sweep_gradient {
    const char *name;
    float *x;
    const double *gradient; /* (count) */
    const float *offset;
    int64_t count;
} sweep_gradient;

void sweep_compare(sweep_loss loss, const void *of, const sweep_gradient *gradient, double bound,
                   fuzz_random *r);

#endif
