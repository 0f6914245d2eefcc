/* Copies values for attention_simd where their rows can't be read as whole vectors: contiguous
 * rows, padded with 0 to a multiple of VEC. */
#include "common/arguments.h"
#include "common/item.h"
#include "common/vector.h"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
pack_values(__global const float *v, __global float *v_rows, const clattn_base base,
            __global const clattn_problem_row *rows, __global const clattn_work_item *items,
            uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *from = &row->tensor[CLATTN_T_V];
    const long width = row->tensor[CLATTN_T_V_ROWS].stride[2];
    __global const float *values = v + tensor_begin(row, &base, CLATTN_T_V, item.batch, item.head);
    __global float *packed =
        v_rows + tensor_begin(row, &base, CLATTN_T_V_ROWS, item.batch, item.head);
    for (int j = item.k_begin; j < item.k_end; j++) {
        for (int d = 0; d < row->value_dim; d++)
            packed[j * width + d] = values[j * from->stride[2] + d * from->stride[3]];
        for (int d = row->value_dim; d < width; d++)
            packed[j * width + d] = 0.0f;
    }
}
