/* The gradient by b: columns of dy summed over batch and rows. An item is some columns, VEC of them
 * at a time a work-item. */
#include "common/product.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if WG_SIZE < 1
#error "WG_SIZE must be at least 1"
#endif

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
linear_sums(__global const void *y, __global void *b, const clattn_base base,
            __global const clattn_problem_row *rows, __global const clattn_work_item *items,
            uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = row->tensor;
    const long step = t[CLATTN_T_Y].stride[2];
    const int width = item.k_end - item.k_begin;
    for (int first = (int)get_local_id(0) * VEC; first < width; first += WG_SIZE * VEC) {
        const int j = item.k_begin + first, some = min(VEC, width - first);
        vfloat sum = 0.0f;
        for (int n = 0; n < row->batch; n++)
            for (int i = 0; i < row->n_q; i++)
                sum += gather_elements(y, tensor_begin(row, &base, CLATTN_T_Y, n, i) + j * step,
                                       step, some, row->dtype[CLATTN_T_Y]);
        float lane[VEC];
        store_vector(sum, lane);
        for (int c = 0; c < some; c++) {
            const long at = addend_begin(row, &base, j + c);
            const uint dtype = row->dtype[CLATTN_T_B];
            const float before = row->product & CLATTN_P_ADD ? load_element(b, at, dtype) : 0.0f;
            store_element(lane[c] + before, b, at, dtype);
        }
    }
}
