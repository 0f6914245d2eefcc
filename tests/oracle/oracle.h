/* Attention as a textbook writes it, in double precision, to compare with. It shares no code with
 * the library: own description, own indexing, contiguous tensors only. Callers expand what they
 * broadcast, concatenate past and present keys, pad ragged sequences and give their lengths, and
 * convert narrow types to float, which is exact.
 *
 * out[b,h,i,:] = sum over visible j of softmax_j(s[b,h,i,j]) v[b,g,j,:], g = h / (n_head /
 * n_kv_head). Vaswani et al. 2017, "Attention Is All You Need", eq. 1; shared key/value heads:
 * Ainslie et al. 2023. A score is made in this order:
 *    s = scale * q[b,h,i,:] . k[b,g,j,:]
 *    s = softcap * tanh(s / softcap)
 *    s = s - alibi[h] * |i + offset - j|      Press et al. 2022
 *    s = score_function(s, b, h, i + offset, j)
 *    s = s + bias[b,h,i,j]
 *
 * A key is invisible if a rule hides it, or if its bias or score is -inf; nothing of an invisible
 * key is read into a sum. A query without a visible key has out 0, weights 0 and lse -inf, or the
 * sink's logit; a query from a query length on has lse -inf in any case. NaN in a visible score
 * makes the whole row NaN, but for weights that dropout drops, which are 0. */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>
#include <stdint.h>

/* The caller's functions; at: batch, head, i + offset, key; `user` is oracle_problem.user. */
typedef double (*oracle_score_fn)(const void *user, double s, const int64_t at[4]);
typedef bool (*oracle_mask_fn)(const void *user, const int64_t at[4]);

/* What `scores` holds. */
typedef enum oracle_stage {
    ORACLE_SCALED = 0,  /* scale * q . k; -inf beyond a length, whatever else is visible */
    ORACLE_CAPPED = 1,  /* after the softcap; the same */
    ORACLE_VISIBLE = 2, /* after everything; -inf where not visible */
    ORACLE_WEIGHTS = 3  /* as `weights` */
} oracle_stage;

/* 0 and NULL: without. */
typedef struct oracle_problem {
    int64_t batch, n_head, n_kv_head, n_q, n_kv, head_dim, value_dim;
    double scale;
    bool causal;           /* key j is visible to query i only if j <= i + offset */
    int64_t causal_offset; /* the offset, whatever uses it; 0: top-left, n_kv - n_q: bottom-right */
    const float *q;        /* (batch, n_head, n_q, head_dim) */
    const float *k;        /* (batch, n_kv_head, n_kv, head_dim) */
    const float *v;        /* (batch, n_kv_head, n_kv, value_dim); may be NULL if out is NULL */
    double *out;           /* (batch, n_head, n_q, value_dim), or NULL: not wanted */
    double *lse;           /* (batch, n_head, n_q), natural log, or NULL */
    double *weights;       /* (batch, n_head, n_q, n_kv), or NULL */

    bool bottom_right; /* offset = keys - queries of the batch entry, not causal_offset */
    bool has_window;   /* key j is visible only if i + offset - left <= j <= i + offset + right */
    int64_t window_left, window_right; /* -1: without limit */
    double softcap;
    const float *alibi;                     /* (n_head) slopes */
    const float *sink;                      /* (n_head) logits */
    const float *bias;                      /* (batch, n_head, n_q, n_kv) */
    const uint8_t *mask;                    /* (batch, n_head, n_q, n_kv), 0: invisible */
    const int32_t *q_lengths;               /* (batch), clamped to 0 .. n_q */
    const int32_t *kv_lengths;              /* (batch), clamped to 0 .. n_kv */
    int64_t block_q, block_kv, block_limit; /* of the block lists */
    const int32_t *block_count;             /* (batch, n_head, ceil(n_q / block_q)) */
    const int32_t *block_index;             /* (batch, n_head, ceil(n_q / block_q), block_limit) */
    oracle_score_fn score_function;         /* see above */
    oracle_mask_fn mask_function;           /* false: invisible */
    const void *user;                       /* for both */
    float dropout;                          /* by philox.h */
    uint64_t dropout_seed, dropout_offset;  /* where dropout is not 0 */
    int64_t origin[3];                      /* batch, head, query of this problem's first row in a
                                               larger one, of which dropout counts positions */
    bool weights_dropped;                   /* weights, _mean and _sum after dropout */
    oracle_stage score_stage;               /* of scores */
    double *weights_mean;                   /* (batch, n_q, n_kv), of the heads, or NULL */
    double *weights_sum;                    /* (batch, n_head, n_kv), over the queries, or NULL */
    double *scores;                         /* (batch, n_head, n_q, n_kv), or NULL */
    /* How much rounding can do, or NULL. terms: (batch, n_head, n_q, n_kv) the sum of absolute
     * values that a score is made of, so that its relative rounding by u makes an error of about
     * u * terms. spread: (batch, n_head, n_q, 2) terms weighted by w(1 - w), which is how such
     * errors reach the output, and by w, which is how they reach the lse. */
    double *terms, *spread;
} oracle_problem;

/* Fills the outputs that are wanted. false: out of memory, and nothing was written. Any thread. */
bool oracle_attention(const oracle_problem *problem);

/* Partial results over disjoint sets of keys become one: lse = log(sum over parts of
 * exp(partial_lse) + exp(sink)), out = sum over parts of exp(partial_lse - lse) * partial_out.
 * Parts whose LSE is -inf count for nothing. */
typedef struct oracle_merge_problem {
    int64_t parts, batch, n_head, n_q, value_dim;
    const float *partial_out; /* (parts, batch, n_head, n_q, value_dim) */
    const float *partial_lse; /* (parts, batch, n_head, n_q) */
    const float *sink;        /* (n_head), or NULL */
    double *out;              /* (batch, n_head, n_q, value_dim), or NULL */
    double *lse;              /* (batch, n_head, n_q), or NULL */
} oracle_merge_problem;

void oracle_merge(const oracle_merge_problem *problem);

#endif
