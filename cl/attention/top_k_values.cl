/* From the candidates of all ranges of the keys to the keys of highest score, their weights, and
 * attention to their values. An item is queries of one head. */
#include "common/chosen.h"
#include "common/panels.h"
#include "common/select.h"

/* DIM_MAX: bound of value_dim; 64, 128, 256 or 576. */
#ifndef DIM_MAX
#define DIM_MAX 64
#endif
#if DIM_MAX % 16 != 0
#error "DIM_MAX must be a multiple of 16"
#endif

/* Moves the candidates of all ranges, `step` apart, behind each other from `to` on; their number.
 */
INLINE int gather_candidates(__global const ulong *list, int ranges, long step, __global ulong *to)
{
    int count = 0;
    for (int n = 0; n < ranges; n++) {
        __global const ulong *from = list + n * step;
        const int more = (int)from[0];
        for (int i = 0; i < more; i++) /* forwards: `to` isn't behind `from` */
            to[count + i] = from[1 + i];
        count += more;
    }
    return count;
}

/* VEC elements, from `d` on, of value j; 0 beyond value_dim. */
INLINE vfloat value_elements(const rows_of *values, int j, long begin, int d, int value_dim)
{
    const int past = j < values->n_past ? 0 : 1;
    if (d + VEC <= value_dim && values->inner[past] == 1 && values->dtype[past] <= CLATTN_D_BF16)
        return load_elements(values->memory[past], begin + d, values->dtype[past]);
    return key_elements(values, j, j + 1, d, value_dim);
}

/* The sum of the chosen values. */
INLINE void accumulate(const rows_of *values, int value_dim, const choice *c, float *o)
{
    for (int d = 0; d < value_dim; d += VEC)
        store_vector((vfloat)(0.0f), o + d);
    for (int n = 0; n < c->count; n++) {
        if (!takes_part(c, n))
            continue;
        const int j = key_of(c->top[n]);
        const long begin = row_begin(values, j);
        const vfloat p = factor_of(c, n);
        for (int d = 0; d < value_dim; d += VEC)
            store_vector(fma(p, value_elements(values, j, begin, d, value_dim), load_vector(o + d)),
                         o + d);
    }
}

INLINE void write_out(const pairs *of, int i, const clattn_base *base, const float *o, float factor,
                      __global void *out)
{
    __global const clattn_tensor_row *t = &of->row->tensor[CLATTN_T_OUT];
    const uint dtype = of->row->dtype[CLATTN_T_OUT];
    const int dim = of->row->value_dim;
    const long begin = tensor_begin(of->row, base, CLATTN_T_OUT, of->batch, of->head) +
                       (long)(of->queries.first + i) * t->stride[2];
    int d = 0;
    for (; t->stride[3] == 1 && d + VEC <= dim; d += VEC)
        store_elements(load_vector(o + d) * factor, out, begin + d, dtype);
    for (; d < dim; d++)
        store_element(o[d] * factor, out, begin + d * t->stride[3], dtype);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
top_k_values(__global const void *v, __global const void *past_v, __global void *out,
             __global float *lse, __global float *weights, __global int *indices,
             __global float *scratch, __global const float *sink, OPTION_PARAMETERS,
             const clattn_base base, __global const clattn_problem_row *rows,
             __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_TOP];
    const int b = item.batch, h = item.head, limit = min(row->top_k, row->n_kv);
    const pairs of = pairs_init(row, &base, b, h, OPTION_ARGUMENTS);
    rows_of values = rows_init(row, &base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, b,
                               h / row->group, of.keys.first, pages);
    rows_scale(&values, row, &base, v_scales, CLATTN_T_V_SCALES, b, h / row->group, of.keys.first);
    float o[DIM_MAX] __attribute__((aligned(64)));
    for (int i = item.q_begin; i < item.q_end; i++) {
        __global ulong *list =
            (__global ulong *)(scratch + tensor_begin(row, &base, CLATTN_T_TOP, b, h) +
                               i * t->stride[2]);
        const int ranges = limit > 0 ? (int)(t->stride[2] / t->stride[3]) : 0;
        int keys = gather_candidates(list, ranges, t->stride[3] / 2, list);
        if (keys > limit) {
            select_largest(list, keys, limit);
            keys = limit;
        }
        sort_descending(list, keys);
        const choice c = choice_init(&of, i, list, keys, sink_of(&of, &base, sink, i));
        accumulate(&values, row->value_dim, &c, o);
        write_choice(&of, i, &base, &c, weights, indices);
        if (row->flags & CLATTN_F_RAGGED && i >= of.queries.count)
            continue;
        write_out(&of, i, &base, o, normaliser_of(&c), out);
        if (row->flags & CLATTN_F_LSE)
            lse[tensor_begin(row, &base, CLATTN_T_LSE, b, h) +
                (long)(of.queries.first + i) * row->tensor[CLATTN_T_LSE].stride[2]] =
                softmax_lse(c.m, c.l);
    }
}
