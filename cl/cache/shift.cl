/* Keys in pages that were rotated by their positions, and have others now: token i of a batch
 * entry, at POSITIONS[batch] + i, is rotated by SHIFTS[batch] positions more, where it is. An item
 * is tokens of one head. */
#include "common/rotate.h"

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
shift(__global void *present_k, __global const float *angles, __global const int *kv_lengths,
      __global const int *pages, __global const int *positions, __global const int *shifts,
      const clattn_base base, __global const clattn_problem_row *rows,
      __global const clattn_work_item *items, uint first, uint count)
{
    ROW_ARRAY(x);
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        const int b = item.batch;
        const rows_of keys = rows_init(row, &base, 0, CLATTN_T_PRESENT_K, present_k,
                                       CLATTN_T_PRESENT_K, b, item.head, 0, pages);
        const way by = {{0}, rotation_init(row, &base, angles)};
        const int dim = 2 * by.by_angle.pairs;
        const int more = shifts[tensor_start(row, &base, CLATTN_T_SHIFTS) +
                                b * row->tensor[CLATTN_T_SHIFTS].stride[0]];
        const int limit = (int)min((long)row->page_size * row->page_limit, (long)INT_MAX);
        const int position = clamp(positions[tensor_start(row, &base, CLATTN_T_POSITIONS) +
                                             b * row->tensor[CLATTN_T_POSITIONS].stride[0]],
                                   0, limit);
        const int tokens = min(keys_of(row, &base, kv_lengths, b).count, limit - position);
        const int end = more ? min(item.k_end, tokens) : item.k_begin;
        for (int n = 0; n < end - item.k_begin; n += ROW_TEAMS) {
            const int i = row_of_team(item.k_begin, end, n);
            const int here = n + ROW_TEAM < end - item.k_begin;
            const long at = row_begin(&keys, position + i);
            if (here)
                load_row(present_k, at, keys.inner[1], keys.dtype[1], dim, x);
            turn_row(&by, here, more, dim, x);
            if (here)
                store_row(x, dim, present_k, at, keys.inner[1], keys.dtype[1]);
            ROW_BARRIER();
        }
    }
}
