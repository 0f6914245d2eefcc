/* Copies values for the simd family where their rows can't be read as whole vectors of float:
 * contiguous rows, padded with 0 to a multiple of VEC. */
#include "common/panels.h"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
pack_values(__global const void *v, __global const void *past_v, __global float *v_rows,
            __global const int *kv_lengths, __global const int *pages,
            __global const float *v_scales, const clattn_base base,
            __global const clattn_problem_row *rows, __global const clattn_work_item *items,
            uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const tokens own = keys_of(row, &base, kv_lengths, item.batch);
    rows_of values = rows_init(row, &base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, item.batch,
                               item.head, own.first, pages);
    rows_scale(&values, row, &base, v_scales, CLATTN_T_V_SCALES, item.batch, item.head, own.first);
    const long width = row->tensor[CLATTN_T_V_ROWS].stride[2];
    __global float *packed = v_rows +
                             tensor_begin(row, &base, CLATTN_T_V_ROWS, item.batch, item.head) +
                             packed_begin(row, own, item.batch) * width;
    pack_rows(&values, item.k_begin, min(item.k_end, own.count), row->value_dim, packed, width);
}
