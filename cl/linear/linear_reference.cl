/* Linear projections and their gradients: each element of the result a sum as it stands. An item is
 * a rectangle of the result, an element a work-item. */
#include "common/product.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if VEC != 1 || WG_SIZE < 1
#error "VEC must be 1, WG_SIZE at least 1"
#endif

/* Element (piece, column, k) of the right matrix, packed or not. */
static float right_element(__global const clattn_problem_row *row, const clattn_base *base,
                           __global const void *right, int batch, int piece, int column, int k)
{
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_RIGHT];
    const long begin = tensor_begin(row, base, CLATTN_T_RIGHT, batch, piece);
    if (row->product & CLATTN_P_PANELS)
        return ((__global const float *)right)[begin + column / CLATTN_PANEL * panel_size(row) +
                                               (long)k * CLATTN_PANEL + column % CLATTN_PANEL];
    return load_element(right, begin + column * t->stride[2] + k * t->stride[3],
                        row->dtype[CLATTN_T_RIGHT]);
}

static float product(__global const clattn_problem_row *row, const clattn_base *base,
                     __global const void *left, __global const void *right, int batch, int i, int j)
{
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_LEFT];
    float sum = 0.0f;
    for (int p = 0; p < row->pieces; p++) {
        const long begin = tensor_begin(row, base, CLATTN_T_LEFT, batch, p) + i * t->stride[2];
        for (int k = 0; k < row->depth; k++)
            sum = fma(load_element(left, begin + k * t->stride[3], row->dtype[CLATTN_T_LEFT]),
                      right_element(row, base, right, batch, p, j, k), sum);
    }
    return sum;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
linear_reference(__global const void *left, __global const void *right, __global const void *addend,
                 __global void *result, const clattn_base base,
                 __global const clattn_problem_row *rows, __global const clattn_work_item *items,
                 uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int width = item.k_end - item.k_begin, height = item.q_end - item.q_begin;
    for (int n = (int)get_local_id(0); n < width * height; n += WG_SIZE) {
        const int i = item.q_begin + n / width, j = item.k_begin + n % width;
        write_sum(row, &base, addend, result, item.batch, i, j,
                  product(row, &base, left, right, item.batch, i, j));
    }
}
