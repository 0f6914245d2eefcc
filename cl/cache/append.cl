/* New keys and values into the pages of their sequences: token i of a batch entry goes to position
 * POSITIONS[batch] + i. An item is tokens of one head. */
#include "common/item.h"
#include "common/types.h"

/* One row of `dim` elements from one tensor to another; VEC at a time where they are side by side.
 */
INLINE void copy_row(__global const void *from, long source, long source_step, uint source_type,
                     __global void *to, long target, long target_step, uint target_type, int dim)
{
    int d = 0;
    if (source_step == 1 && target_step == 1)
        for (; d + VEC <= dim; d += VEC)
            store_elements(load_elements(from, source + d, source_type), to, target + d,
                           target_type);
    for (; d < dim; d++)
        store_element(load_element(from, source + d * source_step, source_type), to,
                      target + d * target_step, target_type);
}

/* Tokens of an item, `position` that of token 0. */
INLINE void append_rows(const rows_of *from, const rows_of *to, int begin, int end, int position,
                        int dim)
{
    for (int i = begin; i < end; i++)
        copy_row(from->memory[1], from->begin[1] + i * from->step[1], from->inner[1],
                 from->dtype[1], (__global void *)to->memory[1], row_begin(to, position + i),
                 to->inner[1], to->dtype[1], dim);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
append(__global const void *k, __global const void *v, __global void *present_k,
       __global void *present_v, __global const int *kv_lengths, __global const int *pages,
       __global const int *positions, const clattn_base base,
       __global const clattn_problem_row *rows, __global const clattn_work_item *items, uint first,
       uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, g = item.head;
    rows_of keys = rows_init(row, &base, 0, CLATTN_T_K, k, CLATTN_T_K, b, g, 0, pages);
    rows_of values = rows_init(row, &base, 0, CLATTN_T_V, v, CLATTN_T_V, b, g, 0, pages);
    const rows_of to_keys =
        rows_init(row, &base, 0, CLATTN_T_PRESENT_K, present_k, CLATTN_T_PRESENT_K, b, g, 0, pages);
    const rows_of to_values =
        rows_init(row, &base, 0, CLATTN_T_PRESENT_V, present_v, CLATTN_T_PRESENT_V, b, g, 0, pages);
    keys.begin[1] += b * keys.page_step; /* the new ones aren't in pages */
    values.begin[1] += b * values.page_step;
    const int limit = (int)min((long)row->page_size * row->page_limit, (long)INT_MAX);
    const int position = clamp(positions[tensor_start(row, &base, CLATTN_T_POSITIONS) +
                                         b * row->tensor[CLATTN_T_POSITIONS].stride[0]],
                               0, limit);
    const int end =
        min(min(item.k_end, keys_of(row, &base, kv_lengths, b).count), limit - position);
    append_rows(&keys, &to_keys, item.k_begin, end, position, row->head_dim);
    append_rows(&values, &to_values, item.k_begin, end, position, row->value_dim);
}
