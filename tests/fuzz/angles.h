/* Queries that attention rotates, by angles of 0: nothing changes but the way that they take. Where
 * each token has its own position, those that no token has have no angles, NaN. */
#ifndef FUZZ_ANGLES_H
#define FUZZ_ANGLES_H

#include "problem.h"

typedef struct fuzz_angles {
    float *table;       /* (n_positions, rotary_dim / 2, 2) owned */
    clattn_slot slot;   /* POSITIONS or TOKEN_POSITIONS */
    int32_t *positions; /* of it; owned; NULL: the alignment has them */
} fuzz_angles;

/* Changes the description. */
void fuzz_angles_make(const fuzz_problem *p, clattn_attention_desc *desc, fuzz_angles *angles);
void fuzz_angles_free(fuzz_angles *angles);

#endif
