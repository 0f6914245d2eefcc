/* Packs keys into panels for attention_simd: panel p holds keys p * COLS * VEC and on as
 * (head_dim, COLS * VEC), a key a lane; keys beyond n_kv are 0. */
#include "common/arguments.h"
#include "common/item.h"
#include "common/vector.h"

/* COLS: vectors of a panel's row. */
#ifndef COLS
#define COLS 2
#endif

#define PANEL (COLS * VEC)

/* Keys `from` to `end` - 1, at most a vector of them, into VEC lanes of a panel. */
static void pack_lanes(__global const float *k, __global const clattn_tensor_row *tensor, int from,
                       int end, int head_dim, __global float *lanes)
{
    for (int d = 0; d < head_dim; d++)
        for (int lane = 0; lane < VEC; lane++)
            lanes[d * PANEL + lane] =
                from + lane < end ? k[(from + lane) * tensor->stride[2] + d * tensor->stride[3]]
                                  : 0.0f;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
pack_keys(__global const float *k, __global float *k_panels, const clattn_base base,
          __global const clattn_problem_row *rows, __global const clattn_work_item *items,
          uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const float *keys = k + tensor_begin(row, &base, CLATTN_T_K, item.batch, item.head);
    __global float *panels =
        k_panels + tensor_begin(row, &base, CLATTN_T_K_PANELS, item.batch, item.head);
    for (int j = item.k_begin; j < item.k_end; j += PANEL) {
        __global float *panel = panels + j / PANEL * row->tensor[CLATTN_T_K_PANELS].stride[2];
        for (int c = 0; c < COLS; c++)
            pack_lanes(keys, &row->tensor[CLATTN_T_K], j + c * VEC, item.k_end, row->head_dim,
                       panel + c * VEC);
    }
}
