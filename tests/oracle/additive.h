/* Additive attention and its gradients as a textbook writes them (Bahdanau et al. 2015, "Neural
 * Machine Translation by Jointly Learning to Align and Translate", appendix A.1.2), in double
 * precision, on contiguous tensors:
 *    t[i,j,c] = tanh(q[i,c] + k[j,c] + bias[c])     s[i,j] = sum over c of w_score[c] t[i,j,c]
 *    w = softmax of s over the visible j            out[i] = sum over j of w[i,j] v[j]
 * and, of a loss whose derivatives by out and lse are g and e,
 *    s'[i,j] = w[i,j] (g[i] . v[j] - sum over n of w[i,n] g[i] . v[n] + e[i])
 *    q'[i,c] = sum over j of s'[i,j] w_score[c] (1 - t^2), k' and bias' the same over i and both
 *    w_score'[c] = sum over i, j of s'[i,j] t[i,j,c]      v'[j] = sum over i of w[i,j] g[i]
 * Invisible pairs give nothing, whatever they hold. See oracle.h for rows that see nothing. */
#ifndef ORACLE_ADDITIVE_H
#define ORACLE_ADDITIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "storage.h"

typedef struct oracle_additive {
    int64_t batch, n_head, n_q, n_kv, channels, value_dim;
    const float *q;            /* (batch, n_head, n_q, channels) */
    const float *k;            /* (batch, n_head, n_kv, channels) */
    const float *v;            /* (batch, n_head, n_kv, value_dim) */
    const float *w_score;      /* (n_head, channels) */
    const float *bias;         /* (n_head, channels), or NULL */
    const uint8_t *mask;       /* (batch, n_head, n_q, n_kv), 0: invisible; or NULL */
    const int32_t *q_lengths;  /* (batch), or NULL */
    const int32_t *kv_lengths; /* (batch), or NULL */
    const float *by_out;       /* (batch, n_head, n_q, value_dim) g; for gradients */
    const float *by_lse;       /* (batch, n_head, n_q) e, or NULL: 0 */
    /* What is wanted, or NULL. */
    double *out;                      /* (batch, n_head, n_q, value_dim) */
    double *lse;                      /* (batch, n_head, n_q) */
    double *weights;                  /* (batch, n_head, n_q, n_kv) */
    double *grad_q, *grad_k, *grad_v; /* as q, k, v */
    double *grad_w_score, *grad_bias; /* (n_head, channels) */
    bool plain; /* as a program that isn't fused does it: float32 throughout, sums in ascending
                   order; scores, weights and their derivatives, out and gradients of `type` */
    oracle_type type; /* of `plain` */
} oracle_additive;

/* false: out of memory, and nothing was written. */
bool oracle_additive_compute(const oracle_additive *problem);

#endif
