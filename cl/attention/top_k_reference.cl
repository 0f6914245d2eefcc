/* Attention to the keys of highest score, one query a work-item at a time: a sorted list of them,
 * into which each key is inserted where it belongs. See reference.h. */
#include "common/chosen.h"
#include "common/reference.h"

/* The visible keys of highest score into top (limit), in descending order; returns their number. */
static int choose(const query *x, __global chosen *top, int limit)
{
    int count = 0;
    run r = run_init();
    while (next_keys(x, &r))
        for (int j = r.begin; j < r.end; j++) {
            const float s = score(x, j);
            const chosen candidate = chosen_init(s, j);
            if (s == -INFINITY || (count == limit && candidate < top[count - 1]))
                continue;
            int at = count < limit ? count++ : count - 1;
            for (; at > 0 && candidate > top[at - 1]; at--)
                top[at] = top[at - 1];
            top[at] = candidate;
        }
    return count;
}

/* The sum of the chosen values. */
static void accumulate(const rows_of *values, int value_dim, const choice *c, float *o)
{
    for (int d = 0; d < value_dim; d++)
        o[d] = 0.0f;
    for (int n = 0; n < c->count; n++) {
        if (!takes_part(c, n))
            continue;
        const int j = key_of(c->top[n]);
        const long v = row_begin(values, j);
        for (int d = 0; d < value_dim; d++)
            o[d] += factor_of(c, n) * element_of(values, j, v, d);
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
        const int keys = choose(&x, top, min(row->top_k, row->n_kv));
        const choice c = choice_init(&x.of, i, top, keys, sink_of(&x.of, &base, sink, i));
        accumulate(&values, row->value_dim, &c, o);
        write_choice(&x.of, i, &base, &c, weights, indices);
        if (row->flags & CLATTN_F_RAGGED && i >= x.of.queries.count)
            continue;
        write_out(&x, &base, o, normaliser_of(&c), out);
        write_lse(&x, &base, c.m, c.l, lse);
    }
}
