/* The keys and values of a problem as the one call gets them, where they aren't what memory.h has:
 * in pages, as integers with scales, or both. */
#ifndef FUZZ_STORED_H
#define FUZZ_STORED_H

#include "memory.h"

typedef struct fuzz_stored {
    void *rows[2];    /* K, V; owned */
    float *scales[2]; /* of each row, owned; NULL: floats */
    int32_t *table;   /* (batch, page_limit) owned; NULL: not in pages */
} fuzz_stored;

/* Whether the problem's keys and values must be stored so. */
bool fuzz_is_stored(const fuzz_problem *p);

/* Copies K and V as they are, poison too; all else in the pages, and its scales, is NaN. Changes
 * the description. */
void fuzz_stored_make(const fuzz_problem *p, const fuzz_set *set, clattn_attention_desc *desc,
                      fuzz_stored *stored);
void fuzz_stored_free(fuzz_stored *stored);

/* Of a problem with integers: makes K and V numbers that integers and scales stand for exactly,
 * those that aren't finite NaN together with all that they share a scale with. */
void fuzz_make_integers(const fuzz_problem *p, fuzz_set *set);

#endif
