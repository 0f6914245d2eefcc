/* Partial results over the splits of the keys into OUT and LSE, in ascending order. An item is
 * queries of one head. */
#include "common/partial.h"

/* DIM_MAX: bound of value_dim; 64, 128, 256 or 576. */
#ifndef DIM_MAX
#define DIM_MAX 64
#endif
#if DIM_MAX % 16 != 0
#error "DIM_MAX must be a multiple of 16"
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
merge_splits(__global float *parts, __global void *out, __global float *lse,
             __global const float *sink, OPTION_PARAMETERS, const clattn_base base,
             __global const clattn_problem_row *rows, __global const clattn_work_item *items,
             uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const pairs of = pairs_init(row, &base, item.batch, item.head, OPTION_ARGUMENTS);
    const int width = partial_width(row->value_dim), step = row->tensor[CLATTN_T_PARTS].stride[3];
    const int splits = (of.keys.count + CLATTN_SPLIT - 1) / CLATTN_SPLIT;
    for (int i = item.q_begin; i < item.q_end; i++) {
        __global const float *from = partial_row(parts, row, &base, item.batch, item.head, i, 0);
        float o[DIM_MAX] __attribute__((aligned(64)));
        float m = -INFINITY, l = 0.0f;
        for (int part = 0; part < splits; part++)
            m = fmax(m, from[(long)part * step + width]);
        for (int d = 0; d < width; d += VEC)
            store_vector((vfloat)(0.0f), o + d);
        for (int part = 0; part < splits; part++) {
            __global const float *x = from + (long)part * step;
            const float sum = x[width + 1];
            const float factor = exp_nonpositive(x[width] - softmax_shift(m));
            if (sum == 0.0f)
                continue; /* nothing was visible, nothing was written */
            l = fma(sum, factor, l);
            for (int d = 0; d < width; d += VEC)
                store_vector(fma(load_vector(x + d), (vfloat)(factor), load_vector(o + d)), o + d);
        }
        write_final(&of, &base, i, o, m, l, sink_of(&of, &base, sink, i), out, lse);
    }
}
