/* Attention as the formula says it, one query a work-item at a time; see reference.h. */
#include "common/reference.h"

/* The largest score, NaN left aside: the exponentials show it. */
static float maximum(const query *x)
{
    float m = -INFINITY;
    run r = run_init();
    while (next_keys(x, &r))
        for (int j = r.begin; j < r.end; j++) {
            const float s = score(x, j);
            m = s > m ? s : m;
        }
    return m;
}

/* Sum of exponentials; o (value_dim) is the sum of exponentials, after dropout, times values. */
static float accumulate(const query *x, const rows_of *values, float shift, float *o)
{
    const int value_dim = x->of.row->value_dim;
    float l = 0.0f;
    run r = run_init();
    for (int d = 0; d < value_dim; d++)
        o[d] = 0.0f;
    while (next_keys(x, &r))
        for (int j = r.begin; j < r.end; j++) {
            const float s = score(x, j);
            const long v = row_begin(values, j);
            if (s == -INFINITY)
                continue; /* not visible: its value must not count, not even as 0 * NaN */
            float p = exp(s - shift);
            l += p;
            if (x->of.flags & CLATTN_F_DROPOUT)
                p = drop_weight(&x->of, p, x->i, j);
            for (int d = 0; d < value_dim; d++)
                o[d] += p * element_of(values, j, v, d);
        }
    return l;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
attention_reference(__global const void *q, __global const void *k, __global const void *past_k,
                    __global const void *v, __global const void *past_v, __global void *out,
                    __global float *lse, __global float *stats, __global const float *sink,
                    OPTION_PARAMETERS, const clattn_base base,
                    __global const clattn_problem_row *rows, __global const clattn_work_item *items,
                    uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head;
    float o[DIM_MAX];
    for (int i = item.q_begin + (int)get_local_id(0); i < item.q_end; i += WG_SIZE) {
        const query x = query_init(row, &base, b, h, i, q, k, past_k, OPTION_ARGUMENTS);
        rows_of values = rows_init(row, &base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, b,
                                   h / row->group, x.of.keys.first, pages);
        rows_scale(&values, row, &base, v_scales, CLATTN_T_V_SCALES, b, h / row->group,
                   x.of.keys.first);
        if (row->flags & CLATTN_F_RAGGED && i >= x.of.queries.count)
            continue;
        const float logit = sink_of(&x.of, &base, sink, i);
        const float most = maximum(&x);
        const float m = logit > most ? logit : most;
        const float l = accumulate(&x, &values, softmax_shift(m), o) +
                        (logit == -INFINITY ? 0.0f : exp(logit - softmax_shift(m)));
        write_result(&x, &base, o, m, l, out, lse);
        if (row->flags & CLATTN_F_STATS) {
            const long at = tensor_begin(row, &base, CLATTN_T_STATS, b, h) + (long)i * 2;
            stats[at] = m;
            stats[at + 1] = l;
        }
    }
}
