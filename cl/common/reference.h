/* Attention as the formula says it, one query at a time: what the reference kernels share. Compiled
 * with VEC 1. Short rather than fast, for every valid problem on every device; fast kernels are
 * compared with it. */
#ifndef CLATTN_REFERENCE_H
#define CLATTN_REFERENCE_H

#include "common/score.h"

/* DIM_MAX: bound of head_dim and value_dim; 64, 128, 256 or 576. */
#ifndef DIM_MAX
#define DIM_MAX 576
#endif
/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if DIM_MAX < 1 || DIM_MAX > 576 || WG_SIZE < 1 || VEC != 1
#error "DIM_MAX must be 1 to 576, WG_SIZE at least 1, VEC 1"
#endif

/* One query and the keys of its head. */
typedef struct query {
    pairs of;
    int i;                  /* within its sequence */
    __global const void *q; /* the memory object */
    long q_begin;           /* element (batch, head, i, 0) */
    rows_of keys;
} query;

static query query_init(__global const clattn_problem_row *row, const clattn_base *base, int batch,
                        int head, int i, __global const void *q, __global const void *k,
                        __global const void *past_k, OPTION_PARAMETERS)
{
    query x;
    x.of = pairs_init(row, base, batch, head, OPTION_ARGUMENTS);
    x.i = i;
    x.q = q;
    x.q_begin = tensor_begin(row, base, CLATTN_T_Q, batch, head) +
                (long)(x.of.queries.first + i) * row->tensor[CLATTN_T_Q].stride[2];
    x.keys = rows_init(row, base, past_k, CLATTN_T_PAST_K, k, CLATTN_T_K, batch, head / row->group,
                       x.of.keys.first, pages);
    rows_scale(&x.keys, row, base, k_scales, CLATTN_T_K_SCALES, batch, head / row->group,
               x.of.keys.first);
    return x;
}

/* Element d of key or value j, whose row begins at `begin`. */
static float element_of(const rows_of *rows, int j, long begin, int d)
{
    const int past = j < rows->n_past ? 0 : 1;
    return load_element(rows->memory[past], begin + d * rows->inner[past], rows->dtype[past]) *
           scale_of(rows, j, d);
}

/* The next run of keys that x may see. */
static int next_keys(const query *x, run *r)
{
    if (x->i >= x->of.queries.count)
        return 0;
    return next_run(&x->of, r, x->i, keys_from(&x->of, x->i), keys_to(&x->of, x->i));
}

/* Whether key j is in a run of the query; finish_scores sees to the rest. */
static int may_see(const query *x, int j)
{
    run r = run_init();
    while (next_keys(x, &r))
        if (j >= r.begin && j < r.end)
            return 1;
    return 0;
}

static float product(const query *x, int j)
{
    __global const clattn_problem_row *row = x->of.row;
    const long k = row_begin(&x->keys, j);
    float s = 0.0f;
    for (int d = 0; d < row->head_dim; d++)
        s += load_element(x->q, x->q_begin + d * row->tensor[CLATTN_T_Q].stride[3],
                          row->dtype[CLATTN_T_Q]) *
             element_of(&x->keys, j, k, d);
    return row->scale * s;
}

/* -INFINITY if key j, of a run, isn't visible. */
static float score(const query *x, int j)
{
    return finish_scores(&x->of, cap_scores(&x->of, product(x, j)), x->i, j, 0, x->of.keys.count);
}

/* The weight of a score where maximum and sum are known; 0 if not visible. */
static float weight(const query *x, int j, float s, float m, float l)
{
    const uint dropped = CLATTN_F_DROPOUT | CLATTN_F_WEIGHTS_DROPPED;
    if (s == -INFINITY)
        return 0.0f;
    const float w = exp(s - softmax_shift(m)) * softmax_normaliser(l);
    return (x->of.flags & dropped) == dropped ? drop_weight(&x->of, w, x->i, j) : w;
}

/* OUT of the query: o (value_dim) times factor. */
static void write_out(const query *x, const clattn_base *base, const float *o, float factor,
                      __global void *out)
{
    __global const clattn_problem_row *row = x->of.row;
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_OUT];
    const long begin = tensor_begin(row, base, CLATTN_T_OUT, x->of.batch, x->of.head) +
                       (long)(x->of.queries.first + x->i) * t->stride[2];
    write_row(o, row->value_dim, factor, out, begin, t->stride[3], row->dtype[CLATTN_T_OUT]);
}

/* LSE of the query, if it takes part. */
static void write_lse(const query *x, const clattn_base *base, float m, float l,
                      __global float *lse)
{
    __global const clattn_problem_row *row = x->of.row;
    if (row->flags & CLATTN_F_LSE)
        lse[tensor_begin(row, base, CLATTN_T_LSE, x->of.batch, x->of.head) +
            (long)(x->of.queries.first + x->i) * row->tensor[CLATTN_T_LSE].stride[2]] =
            softmax_lse(m, l);
}

/* OUT and LSE of the query: o (value_dim), weighted with exp(score - m), and their sum l. */
static void write_result(const query *x, const clattn_base *base, const float *o, float m, float l,
                         __global void *out, __global float *lse)
{
    write_out(x, base, o, softmax_normaliser(l), out);
    write_lse(x, base, m, l, lse);
}

#endif
