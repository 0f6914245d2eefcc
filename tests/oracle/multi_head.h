/* A layer of multi-head attention with its projections and all gradients, as a textbook writes it
 * (Vaswani et al. 2017, 3.2.2), in double precision from end to end, and as a program computes it
 * that isn't fused. Contiguous tensors; shares no code with the library, nor with oracle.h.
 *    q = x WQ^T + bq, k = key WK^T + bk, v = value WV^T + bv, cut into heads
 *    y = (heads of softmax(q k^T / sqrt(head_dim)) v, side by side) WO^T + bo */
#ifndef ORACLE_MULTI_HEAD_H
#define ORACLE_MULTI_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "storage.h"

/* In this order wherever there are four. */
enum { ORACLE_QUERIES, ORACLE_KEYS, ORACLE_VALUES, ORACLE_RESULTS, ORACLE_PROJECTIONS };

/* NULL: not wanted, or, of biases, not there. */
typedef struct oracle_multi_head {
    int64_t batch, n_q, n_kv, n_head, n_kv_head, head_dim, value_dim;
    int64_t width[3];                   /* of x, key, value */
    bool cross;                         /* false: key and value are x */
    bool causal;                        /* query i sees keys 0 to i */
    const float *x[3];                  /* (batch, n_q or n_kv, width[.]): x, key, value */
    const float *w[ORACLE_PROJECTIONS]; /* (heads * dim, width[.]); WO (width[0], heads * dim) */
    const float *b[ORACLE_PROJECTIONS]; /* as many as w has rows */
    const float *by_y;                  /* (batch, n_q, width[0]) derivatives of a loss */
    double *y;                          /* (batch, n_q, width[0]) */
    double *grad_x[3];                  /* as x; without `cross` the first one has the sum */
    double *grad_w[ORACLE_PROJECTIONS], *grad_b[ORACLE_PROJECTIONS]; /* as w and b */
    bool plain; /* float32 throughout, sums in ascending order; what passes between products,
                   softmax and sums, and all results, are tensors of `type` */
    oracle_type type;
} oracle_multi_head;

/* false: out of memory, and what was written is of no use. */
bool oracle_multi_head_compute(const oracle_multi_head *of);

#endif
