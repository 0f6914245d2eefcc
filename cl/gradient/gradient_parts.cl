/* GRAD_Q of its parts: what each range of keys gave, in ascending order. */
#include "common/item.h"
#include "common/types.h"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gradient_parts(__global const float *parts, __global void *grad_q, __global const int *q_lengths,
               __global const int *kv_lengths, const clattn_base base,
               __global const clattn_problem_row *rows, __global const clattn_work_item *items,
               uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_GRAD_Q];
    const uint dtype = row->dtype[CLATTN_T_GRAD_Q];
    const tokens queries = queries_of(row, &base, q_lengths, item.batch);
    const tokens keys = keys_of(row, &base, kv_lengths, item.batch);
    const long range_step = row->tensor[CLATTN_T_GRADIENT_PARTS].stride[4];
    const int ranges = (keys.count + row->range_keys - 1) / row->range_keys;
    const int width = (row->head_dim + VEC - 1) / VEC * VEC;
    const int last = row->flags & CLATTN_F_RAGGED ? min(item.q_end, queries.count) : item.q_end;
    for (int i = item.q_begin; i < last; i++) {
        const long token = queries.first + i;
        __global const float *from =
            parts + tensor_begin(row, &base, CLATTN_T_GRADIENT_PARTS, item.batch, item.head) +
            token * width;
        const long to =
            tensor_begin(row, &base, CLATTN_T_GRAD_Q, item.batch, item.head) + token * t->stride[2];
        for (int d = 0; d < row->head_dim; d += VEC) {
            vfloat sum = 0.0f;
            for (int n = 0; i < queries.count && n < ranges; n++)
                sum += load_vector(from + n * range_step + d);
            if (t->stride[3] == 1 && d + VEC <= row->head_dim) {
                store_elements(sum, grad_q, to + d, dtype);
                continue;
            }
            float lane[VEC];
            store_vector(sum, lane);
            for (int c = 0; c < VEC && d + c < row->head_dim; c++)
                store_element(lane[c], grad_q, to + (d + c) * t->stride[3], dtype);
        }
    }
}
