/* Past and new keys or values, one after the other, into PRESENT_K and PRESENT_V. */
#include "common/item.h"
#include "common/types.h"

static void copy_rows(const rows_of *from, const clattn_work_item *item,
                      __global const clattn_problem_row *row, int tensor, int dim,
                      __global void *to, long begin)
{
    __global const clattn_tensor_row *t = &row->tensor[tensor];
    for (int j = item->k_begin; j < item->k_end; j++) {
        const int past = j < from->n_past ? 0 : 1;
        const long source = from->begin[past] + j * from->step[past];
        for (int d = 0; d < dim; d++)
            store_element(
                load_element(from->memory[past], source + d * from->inner[past], from->dtype[past]),
                to, begin + j * t->stride[2] + d * t->stride[3], row->dtype[tensor]);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
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
