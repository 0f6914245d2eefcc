/* GRAD_W_SCORE and GRAD_CHANNEL_BIAS of their parts: batch entries, and ranges of keys of each, in
 * ascending order. An item is a head, a vector of its channels a work-item's at a time. */
#include "common/item.h"
#include "common/types.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if WG_SIZE < 1
#error "WG_SIZE must be at least 1"
#endif

INLINE void store_row(const float *x, __global const clattn_problem_row *row,
                      const clattn_base *base, int tensor, int head, int c, __global void *to)
{
    __global const clattn_tensor_row *t = &row->tensor[tensor];
    const long at = base->offset[tensor] + head * t->stride[0];
    for (int i = 0; i < VEC && c + i < row->head_dim; i++)
        store_element(x[i], to, at + (c + i) * t->stride[1], row->dtype[tensor]);
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_sums(__global const float *sums, __global void *grad_w_score,
              __global void *grad_channel_bias, const clattn_base base,
              __global const clattn_problem_row *rows, __global const clattn_work_item *items,
              uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int channels = CLATTN_ADDITIVE_CHANNELS(row->head_dim);
    const int ranges = (row->n_kv + row->range_keys - 1) / row->range_keys;
    for (int c = (int)get_local_id(0) * VEC; c < row->head_dim; c += WG_SIZE * VEC) {
        float lane[2][VEC];
        vfloat of_w = 0.0f, of_bias = 0.0f;
        for (int b = 0; b < row->batch; b++)
            for (int n = 0; n < ranges; n++) {
                __global const float *own =
                    sums + tensor_begin(row, &base, CLATTN_T_ADDITIVE_SUMS, b, item.head) +
                    n * row->tensor[CLATTN_T_ADDITIVE_SUMS].stride[2] + c;
                of_w += load_vector(own);
                of_bias += load_vector(own + channels);
            }
        store_vector(of_w, lane[0]);
        store_vector(of_bias, lane[1]);
        if (row->gradients & CLATTN_G_W_SCORE)
            store_row(lane[0], row, &base, CLATTN_T_GRAD_W_SCORE, item.head, c, grad_w_score);
        if (row->gradients & CLATTN_G_CHANNEL_BIAS)
            store_row(lane[1], row, &base, CLATTN_T_GRAD_CHANNEL_BIAS, item.head, c,
                      grad_channel_bias);
    }
}
