/* The data types: one row each. */
#ifndef CLATTN_PROBLEM_DTYPE_H
#define CLATTN_PROBLEM_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

#include <clattn/clattn.h>

typedef struct clattn__dtype_info {
    clattn_dtype dtype;
    const char *name;  /* "f32" */
    uint32_t size;     /* bytes of the smallest piece that has an address */
    uint32_t elements; /* of it: 1, or 2 of half a byte */
} clattn__dtype_info;

/* Bytes of this many elements side by side; where two are in a byte, an even number of them. */
int64_t clattn__dtype_bytes(clattn_dtype dtype, int64_t elements);

/* Whether elements are integers that have scales. */
bool clattn__dtype_is_quantised(clattn_dtype dtype);

/* NULL for a value that is no data type. */
const clattn__dtype_info *clattn__dtype_get(clattn_dtype dtype);

#endif
