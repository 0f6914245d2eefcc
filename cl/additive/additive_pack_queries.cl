/* Queries and their GRAD_OUT for additive_gradient_simd: an item is one block of BLOCK_M queries of
 * a head; see common/additive_gradient.h for what it writes. */
#include "common/additive_gradient.h"

/* Row i of GRAD_OUT into whole vectors; returns whether all is finite. */
INLINE int pack_gradient(__global const clattn_problem_row *row, __global const void *grad_out,
                         long begin, __global float *to)
{
    int finite = 1;
    for (int d = 0; d < row->value_dim; d += VEC) {
        const vfloat g = row_elements(grad_out, begin, row->tensor[CLATTN_T_GRAD_OUT].stride[3], d,
                                      row->value_dim, row->dtype[CLATTN_T_GRAD_OUT]);
        finite &= is_finite(g);
        store_vector(g, to + d);
    }
    return finite;
}

/* A row of padding. */
INLINE void clear_row(const query_block *x, int r)
{
    for (int c = 0; c < x->channels; c += VEC)
        put_row((vfloat)(0.0f), (vfloat)(1.0f), x->rows + (long)r * 2 * x->channels, x->channels,
                c);
    for (int d = 0; d < x->width; d += VEC)
        store_vector((vfloat)(0.0f), x->grads + (long)r * x->width + d);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
additive_pack_queries(__global const void *q, __global const void *w_score,
                      __global const void *channel_bias, __global const void *grad_out,
                      __global float *query_blocks, __global const int *q_lengths,
                      const clattn_base base, __global const clattn_problem_row *rows,
                      __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head;
    const int end = min(item.q_end, queries_of(row, &base, q_lengths, b).count);
    const query_block x = query_block_at(row, &base, query_blocks, b, h, item.q_begin);
    const long q_begin = tensor_begin(row, &base, CLATTN_T_Q, b, h);
    const long g_begin = tensor_begin(row, &base, CLATTN_T_GRAD_OUT, b, h);
    load_parameters(row, &base, h, w_score, channel_bias, x.parameters);
    for (int tile = 0; item.q_begin + tile < end; tile += ROWS) {
        __global float *strip = x.strips + tile / ROWS * x.strip_step;
        int unsafe = 0;
        clear_strip(strip, x.channels, ROWS);
        for (int r = tile; r < tile + ROWS; r++) {
            const int i = item.q_begin + r;
            if (i >= end) {
                clear_row(&x, r);
                continue;
            }
            pack_query(row, q, q_begin + i * row->tensor[CLATTN_T_Q].stride[2], x.parameters, strip,
                       r - tile, x.rows + (long)r * 2 * x.channels);
            unsafe |= !pack_gradient(row, grad_out,
                                     g_begin + i * row->tensor[CLATTN_T_GRAD_OUT].stride[2],
                                     x.grads + (long)r * x.width);
        }
        set_flags(strip, x.channels, ROWS, unsafe);
    }
}
