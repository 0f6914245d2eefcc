/* Keys in pages that were rotated by their positions, and have others now: token i of a batch
 * entry, at POSITIONS[batch] + i, is rotated by SHIFTS[batch] positions more, where it is. An item
 * is tokens of one head, a token a work-item. */
#include "common/rotate.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if WG_SIZE < 1
#error "WG_SIZE must be at least 1"
#endif

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
shift(__global void *present_k, __global const float *angles, __global const int *kv_lengths,
      __global const int *pages, __global const int *positions, __global const int *shifts,
      const clattn_base base, __global const clattn_problem_row *rows,
      __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch;
    const rows_of keys = rows_init(row, &base, 0, CLATTN_T_PRESENT_K, present_k, CLATTN_T_PRESENT_K,
                                   b, item.head, 0, pages);
    const rotation by = rotation_init(row, &base, angles);
    const int more = shifts[tensor_start(row, &base, CLATTN_T_SHIFTS) +
                            b * row->tensor[CLATTN_T_SHIFTS].stride[0]];
    const int limit = (int)min((long)row->page_size * row->page_limit, (long)INT_MAX);
    const int position = clamp(positions[tensor_start(row, &base, CLATTN_T_POSITIONS) +
                                         b * row->tensor[CLATTN_T_POSITIONS].stride[0]],
                               0, limit);
    const int end =
        min(min(item.k_end, keys_of(row, &base, kv_lengths, b).count), limit - position);
    if (more == 0)
        return;
    for (int i = item.k_begin + (int)get_local_id(0); i < end; i += WG_SIZE) {
        float x[ROW_MOST];
        const long begin = row_begin(&keys, position + i);
        load_row(present_k, begin, keys.inner[1], keys.dtype[1], 2 * by.pairs, x);
        rotate_row(&by, more, x);
        write_row(x, 2 * by.pairs, 1.0f, present_k, begin, keys.inner[1], keys.dtype[1]);
    }
}
