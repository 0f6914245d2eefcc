/* Additive attention, one query a work-item at a time; see additive_reference.h. */
#include "common/additive_reference.h"

/* Elements `first` to `first` + CHUNK - 1 of OUT. */
static void write_chunk(const additive_query *x, int first, float m, float l,
                        __global const void *v, __global void *out)
{
    __global const clattn_problem_row *row = x->of.row;
    const int b = x->of.batch, h = x->of.head, size = min(CHUNK, row->value_dim - first);
    const float shift = softmax_shift(m), normaliser = softmax_normaliser(l);
    float o[CHUNK];
    for (int d = 0; d < size; d++)
        o[d] = 0.0f;
    for (int j = 0; j < x->of.keys.count; j++) {
        const float s = additive_score(x, j);
        const element_row value = row_at(row, x->base, v, CLATTN_T_V, b, h, j);
        for (int d = 0; s != -INFINITY && d < size; d++)
            o[d] = fma(exp(s - shift), at(value, first + d), o[d]);
    }
    for (int d = 0; d < size; d++)
        o[d] *= normaliser;
    store_chunk(o, first, size, row_at(row, x->base, out, CLATTN_T_OUT, b, h, x->i));
}

static void write_weights(const additive_query *x, float m, float l, __global float *weights)
{
    __global const clattn_problem_row *row = x->of.row;
    const element_row to =
        row_at(row, x->base, weights, CLATTN_T_WEIGHTS, x->of.batch, x->of.head, x->i);
    for (int j = 0; j < row->n_kv; j++) {
        const float s = j < x->of.keys.count ? additive_score(x, j) : -INFINITY;
        weights[to.begin + j * to.step] =
            s == -INFINITY ? 0.0f : exp(s - softmax_shift(m)) * softmax_normaliser(l);
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_reference(ADDITIVE_PARAMETERS, __global const void *v, __global void *out,
                   __global float *lse, __global float *weights, OPTION_PARAMETERS,
                   const clattn_base base, __global const clattn_problem_row *rows,
                   __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head;
    for (int i = item.q_begin + (int)get_local_id(0); i < item.q_end; i += WG_SIZE) {
        const additive_query x =
            additive_query_init(row, &base, b, h, i, ADDITIVE_ARGUMENTS, OPTION_ARGUMENTS);
        float m = -INFINITY, l = 0.0f;
        for (int j = 0; j < x.of.keys.count; j++) {
            const float s = additive_score(&x, j);
            m = s > m ? s : m;
        }
        for (int j = 0; j < x.of.keys.count; j++) {
            const float s = additive_score(&x, j);
            l += s == -INFINITY ? 0.0f : exp(s - softmax_shift(m));
        }
        for (int d = 0; d < row->value_dim; d += CHUNK)
            write_chunk(&x, d, m, l, v, out);
        if (row->flags & CLATTN_F_LSE)
            lse[tensor_begin(row, &base, CLATTN_T_LSE, b, h) +
                i * row->tensor[CLATTN_T_LSE].stride[2]] = softmax_lse(m, l);
        if (row->flags & CLATTN_F_WEIGHTS)
            write_weights(&x, m, l, weights);
    }
}
