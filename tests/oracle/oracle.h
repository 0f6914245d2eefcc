/* Attention as a textbook writes it, in double precision, to compare with. It shares no code with
 * the library: own description, own indexing, contiguous tensors only.
 *
 * out[b,h,i,:] = sum over visible j of softmax_j(scale * q[b,h,i,:] . k[b,g,j,:]) v[b,g,j,:],
 * g = h / (n_head / n_kv_head). Vaswani et al. 2017, "Attention Is All You Need", eq. 1; shared
 * key/value heads: Ainslie et al. 2023.
 *
 * A key is invisible if a rule hides it or if its score is -inf; nothing of an invisible key is
 * read into a sum. A query without a visible key has out 0, weights 0 and lse -inf. NaN in a
 * visible score makes the whole row NaN. */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct oracle_problem {
    int64_t batch, n_head, n_kv_head, n_q, n_kv, head_dim, value_dim;
    double scale;
    bool causal;           /* key j is visible to query i only if j <= i + causal_offset */
    int64_t causal_offset; /* 0: top-left; n_kv - n_q: bottom-right */
    const float *q;        /* (batch, n_head, n_q, head_dim) */
    const float *k;        /* (batch, n_kv_head, n_kv, head_dim) */
    const float *v;        /* (batch, n_kv_head, n_kv, value_dim); may be NULL if out is NULL */
    double *out;           /* (batch, n_head, n_q, value_dim), or NULL: not wanted */
    double *lse;           /* (batch, n_head, n_q), natural log, or NULL */
    double *weights;       /* (batch, n_head, n_q, n_kv), or NULL */
} oracle_problem;

/* Fills out, lse and weights. false: out of memory, and nothing was written. Any thread. */
bool oracle_attention(const oracle_problem *problem);

#endif
