/* Attention to the keys of highest score, one query a work-item at a time: a sorted list of them,
 * into which each key is inserted where it belongs. See reference.h. */
#include "common/reference.h"

/* A key that a query attends to. */
typedef struct chosen {
    float score;
    int key;
} chosen;

/* NaN is above everything, so that it shows; of equals the one that is there stays in front. */
static int is_above(float a, float b)
{
    return a > b || (isnan(a) && !isnan(b));
}

/* The visible keys of highest score into top (limit), in descending order; returns their number. */
static int choose(const query *x, __global chosen *top, int limit)
{
    int count = 0;
    run r = run_init();
    while (next_keys(x, &r))
        for (int j = r.begin; j < r.end; j++) {
            const float s = score(x, j);
            if (s == -INFINITY || (count == limit && !is_above(s, top[count - 1].score)))
                continue;
            int at = count < limit ? count++ : count - 1;
            for (; at > 0 && is_above(s, top[at - 1].score); at--)
                top[at] = top[at - 1];
            top[at].score = s;
            top[at].key = j;
        }
    return count;
}

/* The largest score, NaN left aside: the exponentials show it. */
static float maximum(__global const chosen *top, int count, float logit)
{
    float m = logit;
    for (int n = 0; n < count; n++)
        m = top[n].score > m ? top[n].score : m;
    return m;
}

/* Adds the chosen values to o; returns the sum of exponentials. */
static float accumulate(const rows_of *values, int value_dim, __global const chosen *top, int count,
                        float shift, float *o)
{
    float l = 0.0f;
    for (int d = 0; d < value_dim; d++)
        o[d] = 0.0f;
    for (int n = 0; n < count; n++) {
        const float p = exp(top[n].score - shift);
        const long v = row_begin(values, top[n].key);
        l += p;
        for (int d = 0; d < value_dim; d++)
            o[d] += p * element_of(values, top[n].key, v, d);
    }
    return l;
}

/* WEIGHTS and INDICES of the query. */
static void write_choice(const query *x, const clattn_base *base, __global const chosen *top,
                         int count, float shift, float l, __global float *weights,
                         __global int *indices)
{
    __global const clattn_problem_row *row = x->of.row;
    __global const clattn_tensor_row *w = &row->tensor[CLATTN_T_WEIGHTS];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_INDICES];
    if (row->flags & CLATTN_F_WEIGHTS) {
        weights += tensor_begin(row, base, CLATTN_T_WEIGHTS, x->of.batch, x->of.head) +
                   x->i * w->stride[2];
        for (int j = 0; j < row->n_kv; j++)
            weights[j * w->stride[3]] = 0.0f;
        for (int n = 0; n < count; n++)
            weights[top[n].key * w->stride[3]] = exp(top[n].score - shift) * softmax_normaliser(l);
    }
    if (row->flags & CLATTN_F_INDICES) {
        indices += tensor_begin(row, base, CLATTN_T_INDICES, x->of.batch, x->of.head) +
                   x->i * t->stride[2];
        for (int n = 0; n < row->top_k; n++)
            indices[n * t->stride[3]] = n < count ? top[n].key : -1;
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
top_k_reference(__global const void *q, __global const void *k, __global const void *past_k,
                __global const void *v, __global const void *past_v, __global void *out,
                __global float *lse, __global float *weights, __global int *indices,
                __global float *scratch, __global const float *sink, OPTION_PARAMETERS,
                const clattn_base base, __global const clattn_problem_row *rows,
                __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = row->tensor;
    const int b = item.batch, h = item.head;
    float o[DIM_MAX];
    for (int i = item.q_begin + (int)get_local_id(0); i < item.q_end; i += WG_SIZE) {
        const query x = query_init(row, &base, b, h, i, q, k, past_k, OPTION_ARGUMENTS);
        rows_of values = rows_init(row, &base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, b,
                                   h / row->group, x.of.keys.first, pages);
        rows_scale(&values, row, &base, v_scales, CLATTN_T_V_SCALES, b, h / row->group,
                   x.of.keys.first);
        __global chosen *top =
            (__global chosen *)(scratch + tensor_begin(row, &base, CLATTN_T_TOP, b, h) +
                                i * t[CLATTN_T_TOP].stride[2]);
        const float logit = sink_of(&x.of, &base, sink, i);
        const int keys = choose(&x, top, min(row->top_k, row->n_kv));
        const float m = maximum(top, keys, logit), shift = softmax_shift(m);
        const float l = accumulate(&values, row->value_dim, top, keys, shift, o) +
                        (logit == -INFINITY ? 0.0f : exp(logit - shift));
        write_choice(&x, &base, top, keys, shift, l, weights, indices);
        if (row->flags & CLATTN_F_RAGGED && i >= x.of.queries.count)
            continue;
        write_result(&x, &base, o, m, l, out, lse);
    }
}
