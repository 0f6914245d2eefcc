/* What a problem's outputs must be: by the oracle, and by the plain computation whose error is the
 * measure for that of the library. */
#ifndef FUZZ_EXPECTED_H
#define FUZZ_EXPECTED_H

#include "memory.h"

typedef struct fuzz_expected {
    /* By slot: outputs in the order of the oracle's shapes, sequences of ragged problems padded to
     * n_q; owned, NULL where not wanted. */
    double *exact[FUZZ_SLOTS], *plain[FUZZ_SLOTS];
    double largest_value;   /* of V or PARTIAL_OUT, finite ones; scaled up as dropout does */
    double *terms, *spread; /* of oracle.h, owned; NULL in a merge */
    /* By slot, of gradients: the terms of gradient.h, in the order of exact[slot]; owned. */
    double *of_terms[FUZZ_SLOTS];
    /* With top_k, else NULL; owned. unsure: (batch, n_head, n_q) 1 where rounding decides which
     * keys OUT and WEIGHTS are of; lse: the same, exact. */
    unsigned char *unsure;
    double *lse;
    /* By slot: inputs, one for each element of the memory: 1 where it may matter. */
    unsigned char *used[FUZZ_SLOTS];
    char wrong[160]; /* where finite differences contradict `exact`; "": nowhere, or not asked */
} fuzz_expected;

void fuzz_expect(const fuzz_problem *p, const fuzz_set *set, fuzz_expected *e);
/* Writes what a forward pass would have written into OUT and LSE of a set for gradients. */
void fuzz_fill_forward(const fuzz_problem *p, fuzz_set *set);
void fuzz_expected_free(fuzz_expected *e);

/* Index in exact[slot] and plain[slot] of an element. */
int64_t fuzz_expected_index(const fuzz_problem *p, int slot, const int64_t *at);

#endif
