/* Packs keys into panels for the simd family: panel p holds keys p * COLS * VEC and on as
 * (head_dim, COLS * VEC), a key a lane; lanes beyond the last key are 0. Panels of a ragged batch
 * entry begin at panel packed_begin() / (COLS * VEC) + batch. */
#include "common/panels.h"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
pack_keys(__global const void *k, __global const void *past_k, __global float *k_panels,
          __global const int *kv_lengths, __global const int *pages, __global const float *k_scales,
          const clattn_base base, __global const clattn_problem_row *rows,
          __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const tokens own = keys_of(row, &base, kv_lengths, item.batch);
    rows_of keys = rows_init(row, &base, past_k, CLATTN_T_PAST_K, k, CLATTN_T_K, item.batch,
                             item.head, own.first, pages);
    rows_scale(&keys, row, &base, k_scales, CLATTN_T_K_SCALES, item.batch, item.head, own.first);
    const long step = row->tensor[CLATTN_T_K_PANELS].stride[2];
    __global float *panels = k_panels +
                             tensor_begin(row, &base, CLATTN_T_K_PANELS, item.batch, item.head) +
                             packed_begin(row, own, item.batch) / PANEL * step;
    pack_panels(&keys, item.k_begin, min(item.k_end, own.count), row->head_dim, panels, step);
}
