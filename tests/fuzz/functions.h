/* The user functions that random problems choose from, few because each makes programs: the text
 * for the device, and the same in C for the oracle. */
#ifndef FUZZ_FUNCTIONS_H
#define FUZZ_FUNCTIONS_H

#include "tests/oracle/oracle.h"

typedef struct fuzz_functions {
    const char *name;
    const char *score, *mask, *gradient; /* OpenCL C, or NULL */
    oracle_score_fn score_function, score_gradient;
    oracle_mask_fn mask_function;
    int64_t n_params;
} fuzz_functions;

#define FUZZ_FUNCTIONS 4 /* the first has none */

const fuzz_functions *fuzz_functions_of(int index);

#endif
