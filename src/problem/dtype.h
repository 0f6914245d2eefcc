/* The data types: one row each. */
#ifndef CLATTN_PROBLEM_DTYPE_H
#define CLATTN_PROBLEM_DTYPE_H

#include <stdint.h>

#include <clattn/clattn.h>

typedef struct clattn__dtype_info {
    clattn_dtype dtype;
    const char *name; /* "f32" */
    uint32_t size;    /* bytes */
} clattn__dtype_info;

/* NULL for a value that is no data type. */
const clattn__dtype_info *clattn__dtype_get(clattn_dtype dtype);

#endif
