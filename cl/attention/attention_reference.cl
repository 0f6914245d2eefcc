/* Attention as the formula says it, one query a work-item at a time: short, for every valid
 * problem on every device. Fast kernels are compared with it. */
#include "common/arguments.h"
#include "common/item.h"
#include "common/softmax.h"

/* DIM_MAX: bound of head_dim and value_dim; 64, 128, 256 or 576. */
#ifndef DIM_MAX
#define DIM_MAX 576
#endif
/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if DIM_MAX < 1 || DIM_MAX > 576 || WG_SIZE < 1
#error "DIM_MAX must be 1 to 576, WG_SIZE at least 1"
#endif

/* One query and the keys and values of its head. */
typedef struct query {
    __global const clattn_problem_row *row;
    __global const float *q, *k, *v; /* (head_dim), (n_kv, head_dim), (n_kv, value_dim) */
    int keys;                        /* visible ones, from key 0 on */
} query;

static float score(const query *of, int j)
{
    __global const clattn_tensor_row *tensor = of->row->tensor;
    __global const float *k = of->k + j * tensor[CLATTN_T_K].stride[2];
    float s = 0.0f;
    for (int d = 0; d < of->row->head_dim; d++)
        s += of->q[d * tensor[CLATTN_T_Q].stride[3]] * k[d * tensor[CLATTN_T_K].stride[3]];
    return of->row->scale * s;
}

/* The largest score, NaN left aside: the exponentials show it. */
static float maximum(const query *of)
{
    float m = -INFINITY;
    for (int j = 0; j < of->keys; j++) {
        const float s = score(of, j);
        m = s > m ? s : m;
    }
    return m;
}

/* Sum of exponentials; o (value_dim) is the sum of exponentials times values. */
static float accumulate(const query *of, float m, float *o)
{
    __global const clattn_tensor_row *v = &of->row->tensor[CLATTN_T_V];
    float l = 0.0f;
    for (int d = 0; d < of->row->value_dim; d++)
        o[d] = 0.0f;
    for (int j = 0; j < of->keys; j++) {
        const float s = score(of, j);
        if (s == -INFINITY)
            continue; /* not visible: its value must not count, not even as 0 * NaN */
        const float p = exp(s - m);
        l += p;
        for (int d = 0; d < of->row->value_dim; d++)
            o[d] += p * of->v[j * v->stride[2] + d * v->stride[3]];
    }
    return l;
}

static void write_weights(const query *of, float m, float l, __global float *weights)
{
    const long step = of->row->tensor[CLATTN_T_WEIGHTS].stride[3];
    const float normaliser = softmax_normaliser(l);
    for (int j = 0; j < of->row->n_kv; j++) {
        const float s = j < of->keys ? score(of, j) : -INFINITY;
        weights[j * step] = s == -INFINITY ? 0.0f : exp(s - m) * normaliser;
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
attention_reference(__global const float *q, __global const float *k, __global const float *v,
                    __global float *out, __global float *lse, __global float *weights,
                    const clattn_base base, __global const clattn_problem_row *rows,
                    __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *tensor = row->tensor;
    const int b = item.batch, h = item.head, g = item.head / row->group;
    float o[DIM_MAX];
    query of;
    of.row = row;
    of.k = k + tensor_begin(row, &base, CLATTN_T_K, b, g);
    of.v = v + tensor_begin(row, &base, CLATTN_T_V, b, g);
    for (int i = item.q_begin + (int)get_local_id(0); i < item.q_end; i += WG_SIZE) {
        of.q = q + tensor_begin(row, &base, CLATTN_T_Q, b, h) + i * tensor[CLATTN_T_Q].stride[2];
        of.keys = visible_keys(row, i, item.k_end);
        const float m = softmax_shift(maximum(&of));
        const float l = accumulate(&of, m, o);
        __global float *out_row = out + tensor_begin(row, &base, CLATTN_T_OUT, b, h) +
                                  i * tensor[CLATTN_T_OUT].stride[2];
        for (int d = 0; d < row->value_dim; d++)
            out_row[d * tensor[CLATTN_T_OUT].stride[3]] = o[d] * softmax_normaliser(l);
        if (row->flags & CLATTN_F_LSE)
            lse[tensor_begin(row, &base, CLATTN_T_LSE, b, h) + i * tensor[CLATTN_T_LSE].stride[2]] =
                softmax_lse(m, l);
        if (row->flags & CLATTN_F_WEIGHTS)
            write_weights(&of, m, l,
                          weights + tensor_begin(row, &base, CLATTN_T_WEIGHTS, b, h) +
                              i * tensor[CLATTN_T_WEIGHTS].stride[2]);
    }
}
