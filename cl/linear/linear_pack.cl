/* Packs the right matrix of a product into panels, see common/product.h. An item is some columns,
 * whole panels. */
#define COLS (16 / VEC)
#include "common/panels.h"
#include "common/product.h"

/* Depth k to k + VEC - 1 of VEC columns at `from`, which are `step` apart, `inner` from depth to
 * depth, into lanes of a panel. */
INLINE void pack_square(__global const void *from, long begin, long step, long inner, uint dtype,
                        int columns, int depth, __global float *lanes)
{
    vfloat square[VEC];
#pragma unroll
    for (int lane = 0; lane < VEC; lane++)
        square[lane] =
            gather_elements(from, begin + lane * step, inner, lane < columns ? depth : 0, dtype);
    transpose(square);
    store_lanes(square, 0, depth, lanes);
}

/* Columns side by side: rows of the panel are vectors of them. */
INLINE void pack_vectors(__global const void *from, long begin, long inner, uint dtype, int columns,
                         int depth, __global float *lanes)
{
    for (int k = 0; k < depth; k++)
        store_vector(gather_elements(from, begin + k * inner, 1, columns, dtype),
                     lanes + (long)k * CLATTN_PANEL);
}

/* One piece of VEC columns. */
OUTLINE void pack_piece(__global const void *from, long begin, long step, long inner, uint dtype,
                        int columns, int depth, __global float *lanes)
{
    if (step == 1 && inner != 1) {
        pack_vectors(from, begin, inner, dtype, columns, depth, lanes);
        return;
    }
    for (int k = 0; k < depth; k += VEC)
        pack_square(from, begin + k * inner, step, inner, dtype, columns, min(VEC, depth - k),
                    lanes + (long)k * CLATTN_PANEL);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
linear_pack(__global const void *right, __global float *panels, const clattn_base base,
            __global const clattn_problem_row *rows, __global const clattn_work_item *items,
            uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_RIGHT];
    const int end = (item.k_end + CLATTN_PANEL - 1) / CLATTN_PANEL * CLATTN_PANEL;
    panels += tensor_begin(row, &base, CLATTN_T_K_PANELS, item.batch, 0);
    for (int p = 0; p < row->pieces; p++)
        for (int j = item.k_begin; j < end; j += VEC)
            pack_piece(right,
                       tensor_begin(row, &base, CLATTN_T_RIGHT, item.batch, p) + j * t->stride[2],
                       t->stride[2], t->stride[3], row->dtype[CLATTN_T_RIGHT], row->columns - j,
                       row->depth,
                       panels + j / CLATTN_PANEL * panel_size(row) +
                           (long)p * row->depth * CLATTN_PANEL + j % CLATTN_PANEL);
}
