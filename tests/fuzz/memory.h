/* The memory of a problem's tensors: guard bytes, then elements and gaps, then guard bytes. */
#ifndef FUZZ_MEMORY_H
#define FUZZ_MEMORY_H

#include "problem.h"

#define FUZZ_GUARD     64   /* bytes at each end */
#define FUZZ_UNTOUCHED 0xff /* outputs before the run; NaN in every type */

typedef struct fuzz_memory {
    unsigned char *bytes; /* (size) owned; NULL: takes no part */
    size_t size;
    int64_t elements; /* in `bytes`, guards included */
    int64_t first;    /* element (0, 0, ...) */
    int64_t stride[CLATTN_RANK_LIMIT];
    clattn_dtype dtype;
} fuzz_memory;

/* One of each slot. */
typedef struct fuzz_set {
    fuzz_memory slot[FUZZ_SLOTS];
} fuzz_set;

/* Memory of every slot that takes part; inputs with their contents, outputs untouched. */
void fuzz_set_make(const fuzz_problem *p, fuzz_set *set);
void fuzz_set_copy(const fuzz_set *from, fuzz_set *to);
void fuzz_set_free(fuzz_set *set);

/* Index of an element among all of the memory; at: by the dimensions of the slot's shape, in ragged
 * problems too: the sequence and the token within it. */
int64_t fuzz_element(const fuzz_problem *p, const fuzz_set *set, int slot, const int64_t *at);

double fuzz_load(const fuzz_memory *m, int64_t element);
void fuzz_store(fuzz_memory *m, int64_t element, double value); /* rounded to the type */
int64_t fuzz_load_integer(const fuzz_memory *m, int64_t element);

/* As malloc and calloc, but without memory the program ends. */
void *fuzz_alloc(size_t count, size_t size);

#endif
