/* The keys and values of a problem in pages, for the one call. */
#ifndef FUZZ_PAGES_H
#define FUZZ_PAGES_H

#include "memory.h"

typedef struct fuzz_pages {
    void *pool[2];  /* K, V: pages of heads and tokens in either order, owned */
    int32_t *table; /* (batch, page_limit) owned */
} fuzz_pages;

/* Copies K and V as they are, poison too; all else in the pages is NaN. Changes the description. */
void fuzz_pages_make(const fuzz_problem *p, const fuzz_set *set, clattn_attention_desc *desc,
                     fuzz_pages *pages);
void fuzz_pages_free(fuzz_pages *pages);

#endif
