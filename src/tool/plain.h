/* The plain unfused computation in float32 that the accuracy contract (docs/numerics.md) measures
 * against: what anybody's first implementation would do, sums in ascending order. */
#ifndef CLATTN_TOOL_PLAIN_H
#define CLATTN_TOOL_PLAIN_H

#include "tests/oracle/oracle.h"

/* Results for the problem's queries, one head of one batch entry. */
typedef struct plain_results {
    float *out;     /* (n_q, value_dim) */
    float *lse;     /* (n_q) */
    float *weights; /* (n_q, n_kv) */
} plain_results;

/* `problem` with batch, n_head and n_kv_head of 1; its outputs are left alone. */
void plain_attention(const oracle_problem *problem, const plain_results *results);

#endif
