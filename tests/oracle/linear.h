/* Linear projections and their gradients in double precision, as sums as they stand, and as a
 * program computes them that isn't tuned: float32, in ascending order. Contiguous tensors; shares
 * no code with the library. */
#ifndef ORACLE_LINEAR_H
#define ORACLE_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

#include "storage.h"

/* NULL: not wanted, or, of b, not there. */
typedef struct oracle_linear {
    int64_t batch, rows, in, out;
    const float *x;  /* (batch, rows, in) */
    const float *w;  /* (out, in) */
    const float *b;  /* (out) */
    const float *dy; /* (batch, rows, out) */
    double *y;       /* (batch, rows, out) x W^T + b */
    double *dx;      /* (batch, rows, in) dy W */
    double *dw;      /* (out, in) dy^T x */
    double *db;      /* (out) sum of dy */
    bool accumulate; /* adds to what y, dx, dw and db hold */
    bool plain;      /* products and sums in float32, each rounded; results of `type` */
    oracle_type type;
} oracle_linear;

void oracle_linear_run(const oracle_linear *of);

#endif
