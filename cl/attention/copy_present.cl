/* Past and new keys or values, one after the other, into PRESENT_K and PRESENT_V. An item is tokens
 * of one head. */
#include "common/item.h"
#include "common/row_lanes.h"
#include "common/types.h"

/* Rows of an item that are past ones, 0, or new ones, 1: `now`, a constant. */
INLINE void copy_part(const rows_of *from, const int now, const clattn_work_item *item,
                      __global const clattn_problem_row *row, int tensor, int dim,
                      __global void *to, long to_begin)
{
    __global const clattn_tensor_row *t = &row->tensor[tensor];
    const int begin = now ? max(item->k_begin, from->n_past) : item->k_begin;
    const int end = now ? item->k_end : min(item->k_end, from->n_past);
    for (int n = ROW_TEAM; n < end - begin; n += ROW_TEAMS) {
        const int j = begin + n;
        const long source = from->begin[now] + j * from->step[now];
        for (int d = ROW_LANE; d < dim; d += ROW_LANES)
            store_element(
                load_element(from->memory[now], source + d * from->inner[now], from->dtype[now]),
                to, to_begin + j * t->stride[2] + d * t->stride[3], row->dtype[tensor]);
    }
}

INLINE void copy_rows(const rows_of *from, const clattn_work_item *item,
                      __global const clattn_problem_row *row, int tensor, int dim,
                      __global void *to, long begin)
{
    copy_part(from, 0, item, row, tensor, dim, to, begin);
    copy_part(from, 1, item, row, tensor, dim, to, begin);
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
copy_present(__global const void *k, __global const void *past_k, __global void *present_k,
             __global const void *v, __global const void *past_v, __global void *present_v,
             const clattn_base base, __global const clattn_problem_row *rows,
             __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, g = item.head;
    if (row->flags & CLATTN_F_PRESENT_K) {
        const rows_of keys =
            rows_init(row, &base, past_k, CLATTN_T_PAST_K, k, CLATTN_T_K, b, g, 0, 0);
        copy_rows(&keys, &item, row, CLATTN_T_PRESENT_K, row->head_dim, present_k,
                  tensor_begin(row, &base, CLATTN_T_PRESENT_K, b, g));
    }
    if (row->flags & CLATTN_F_PRESENT_V) {
        const rows_of values =
            rows_init(row, &base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, b, g, 0, 0);
        copy_rows(&values, &item, row, CLATTN_T_PRESENT_V, row->value_dim, present_v,
                  tensor_begin(row, &base, CLATTN_T_PRESENT_V, b, g));
    }
}
