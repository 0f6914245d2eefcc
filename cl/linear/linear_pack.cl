/* Packs the right matrix of a product into panels, see common/product.h. An item is some columns,
 * whole panels, of which lanes have vectors, and teams depths. */
#define COLS (16 / VEC)
#include "common/panels.h"
#include "common/product.h"
#include "common/row_lanes.h"

/* One piece of the right matrix from an item's first column on. */
typedef struct source {
    __global const void *from;
    long begin, step, inner; /* elements: of (first column, 0), to the next column, to the next k */
    uint dtype;
    int columns; /* that there are; 0 beyond */
    int width;   /* of the item, whole panels */
    int depth;
} source;

/* Depth k to k + VEC - 1 of columns n to n + VEC - 1 into lanes of a panel. */
INLINE void pack_square(const source *s, int n, int k, __global float *lanes)
{
    const int depth = min(VEC, s->depth - k);
    vfloat square[VEC];
#pragma unroll
    for (int lane = 0; lane < VEC; lane++)
        square[lane] = gather_elements(s->from, s->begin + (n + lane) * s->step + k * s->inner,
                                       s->inner, n + lane < s->columns ? depth : 0, s->dtype);
    transpose(square);
    store_lanes(square, 0, depth, lanes);
}

/* Panels are `step` elements apart. */
OUTLINE void pack_columns(const source *s, __global float *panels, long step)
{
    for (int n = ROW_LANE * VEC; n < s->width; n += ROW_LANES * VEC) {
        __global float *lanes = panels + n / CLATTN_PANEL * step + n % CLATTN_PANEL;
        for (uint k = ROW_TEAM * VEC; k < (uint)s->depth; k += ROW_TEAMS * VEC)
            pack_square(s, n, k, lanes + (long)k * CLATTN_PANEL);
    }
}

/* The same where columns are side by side: all of a row before the next one, because rows a power
 * of two apart are in each other's place in a cache. */
OUTLINE void pack_rows_of_columns(const source *s, __global float *panels, long step)
{
    for (uint k = ROW_TEAM; k < (uint)s->depth; k += ROW_TEAMS)
        for (int n = ROW_LANE * VEC; n < s->width; n += ROW_LANES * VEC)
            store_vector(
                gather_elements(s->from, s->begin + k * s->inner + n, 1, s->columns - n, s->dtype),
                panels + n / CLATTN_PANEL * step + (long)k * CLATTN_PANEL + n % CLATTN_PANEL);
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
linear_pack(__global const void *right, __global float *panels, const clattn_base base,
            __global const clattn_problem_row *rows, __global const clattn_work_item *items,
            uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_RIGHT];
    source s;
    s.from = right;
    s.step = t->stride[2];
    s.inner = t->stride[3];
    s.dtype = row->dtype[CLATTN_T_RIGHT];
    s.columns = row->columns - item.k_begin;
    s.width = (item.k_end - item.k_begin + CLATTN_PANEL - 1) / CLATTN_PANEL * CLATTN_PANEL;
    s.depth = row->depth;
    panels += tensor_begin(row, &base, CLATTN_T_K_PANELS, item.batch, 0) +
              item.k_begin / CLATTN_PANEL * panel_size(row);
    for (int p = 0; p < row->pieces; p++) {
        __global float *to = panels + (long)p * row->depth * CLATTN_PANEL;
        s.begin = tensor_begin(row, &base, CLATTN_T_RIGHT, item.batch, p) + item.k_begin * s.step;
        if (s.step == 1 && s.inner != 1)
            pack_rows_of_columns(&s, to, panel_size(row));
        else
            pack_columns(&s, to, panel_size(row));
    }
}
