/* Additive attention as the formula says it, pair by pair: what its reference kernels share.
 * Compiled with VEC 1. */
#ifndef CLATTN_ADDITIVE_REFERENCE_H
#define CLATTN_ADDITIVE_REFERENCE_H

#include "common/score.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if WG_SIZE < 1 || VEC != 1
#error "WG_SIZE must be at least 1, VEC 1"
#endif

/* Elements of a row that a work-item has at a time: for more of them it computes scores again. */
#define CHUNK 64

/* Tensors that every such kernel reads, as parameters and arguments of functions. */
#define ADDITIVE_PARAMETERS                                                                        \
    __global const void *q, __global const void *k, __global const void *w_score,                  \
        __global const void *channel_bias
#define ADDITIVE_ARGUMENTS q, k, w_score, channel_bias

/* What of the gradients' kernels reads besides. */
#define LOSS_PARAMETERS                                                                            \
    __global const void *v, __global const void *grad_out, __global const float *gradient_rows
#define LOSS_ARGUMENTS v, grad_out, gradient_rows

/* A row of a tensor. */
typedef struct element_row {
    __global const void *memory;
    long begin, step;
    uint dtype;
} element_row;

static float at(element_row of, int n)
{
    return load_element(of.memory, of.begin + n * of.step, of.dtype);
}

/* Row `token` of (batch, head) of a tensor of rank 4. */
static element_row row_at(__global const clattn_problem_row *row, const clattn_base *base,
                          __global const void *memory, int tensor, int batch, int head, int token)
{
    element_row of;
    of.memory = memory;
    of.begin = tensor_begin(row, base, tensor, batch, head) + token * row->tensor[tensor].stride[2];
    of.step = row->tensor[tensor].stride[3];
    of.dtype = row->dtype[tensor];
    return of;
}

/* The head's row of a tensor (n_head, channels). */
static element_row parameter_at(__global const clattn_problem_row *row, const clattn_base *base,
                                __global const void *memory, int tensor, int head)
{
    element_row of;
    of.memory = memory;
    of.begin = base->offset[tensor] + head * row->tensor[tensor].stride[0];
    of.step = row->tensor[tensor].stride[1];
    of.dtype = row->dtype[tensor];
    return of;
}

/* A query and the keys of its head. */
typedef struct additive_query {
    pairs of;
    const clattn_base *base;
    int i;
    __global const void *k;
    element_row a, w, bias;
    int has_bias;
} additive_query;

static additive_query additive_query_init(__global const clattn_problem_row *row,
                                          const clattn_base *base, int batch, int head, int i,
                                          ADDITIVE_PARAMETERS, OPTION_PARAMETERS)
{
    additive_query x;
    x.of = pairs_init(row, base, batch, head, OPTION_ARGUMENTS);
    x.base = base;
    x.i = i;
    x.k = k;
    x.a = row_at(row, base, q, CLATTN_T_Q, batch, head, i);
    x.w = parameter_at(row, base, w_score, CLATTN_T_W_SCORE, head);
    x.bias = parameter_at(row, base, channel_bias, CLATTN_T_CHANNEL_BIAS, head);
    x.has_bias = (row->flags & CLATTN_F_CHANNEL_BIAS) != 0;
    return x;
}

static element_row key_at(const additive_query *x, int j)
{
    return row_at(x->of.row, x->base, x->k, CLATTN_T_K, x->of.batch, x->of.head, j);
}

static float tanh_of_channel(const additive_query *x, element_row b, int c)
{
    return tanh((at(x->a, c) + at(b, c)) + (x->has_bias ? at(x->bias, c) : 0.0f));
}

/* -INFINITY where key j isn't visible. */
static float additive_score(const additive_query *x, int j)
{
    const element_row b = key_at(x, j);
    float s = 0.0f;
    if (x->i >= x->of.queries.count || !visible_lanes(&x->of, x->i, j, 0, x->of.keys.count))
        return -INFINITY;
    for (int c = 0; c < x->of.row->head_dim; c++)
        s = fma(at(x->w, c), tanh_of_channel(x, b, c), s);
    return s;
}

/* What a pair gives to gradients; both 0 where it isn't visible. */
typedef struct additive_pair {
    int visible;
    float weight, score; /* the weight, and the derivative by the score */
} additive_pair;

static additive_pair additive_pair_of(const additive_query *x, int j, LOSS_PARAMETERS)
{
    __global const clattn_problem_row *row = x->of.row;
    const int b = x->of.batch, h = x->of.head;
    const float s = additive_score(x, j);
    additive_pair pair = {0, 0.0f, 0.0f};
    if (s == -INFINITY)
        return pair;
    const element_row value = row_at(row, x->base, v, CLATTN_T_V, b, h, j);
    const element_row g = row_at(row, x->base, grad_out, CLATTN_T_GRAD_OUT, b, h, x->i);
    __global const float *own = gradient_rows +
                                tensor_begin(row, x->base, CLATTN_T_GRADIENT_ROWS, b, h) +
                                (long)x->i * CLATTN_GRADIENT_ROW;
    float product = 0.0f;
    for (int d = 0; d < row->value_dim; d++)
        product = fma(at(g, d), at(value, d), product);
    pair.visible = 1;
    pair.weight = exp(softmax_exponent(s, own[0])) * own[1];
    pair.score = pair.weight * (product - own[2]);
    return pair;
}

/* Writes `count` elements from element `first` of the row on. */
static void store_chunk(const float *x, int first, int count, element_row to)
{
    for (int n = 0; n < count; n++)
        store_element(x[n], (__global void *)to.memory, to.begin + (first + n) * to.step, to.dtype);
}

#endif
