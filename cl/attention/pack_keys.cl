/* Packs keys into panels for the simd family: panel p holds keys p * COLS * VEC and on as
 * (head_dim, COLS * VEC), a key a lane; lanes beyond the last key are 0. Panels of a ragged batch
 * entry begin at panel first / (COLS * VEC) + batch. */
#include "common/item.h"
#include "common/types.h"

/* COLS: vectors of a panel's row. */
#ifndef COLS
#define COLS 2
#endif

#define PANEL (COLS * VEC)

/* Keys `from` to `end` - 1, at most a vector of them, into VEC lanes of a panel. */
INLINE void pack_lanes(const rows_of *keys, int from, int end, int head_dim, __global float *lanes)
{
    for (int d = 0; d < head_dim; d += VEC) {
        float square[VEC * VEC] __attribute__((aligned(64)));
        for (int lane = 0; lane < VEC; lane++) {
            const int past = from + lane < keys->n_past ? 0 : 1;
            const int count = from + lane < end ? head_dim - d : 0;
            store_vector(gather_elements(keys->memory[past],
                                         keys->begin[past] + (from + lane) * keys->step[past] +
                                             d * keys->inner[past],
                                         keys->inner[past], count, keys->dtype[past]),
                         square + lane * VEC);
        }
        for (int c = 0; c < min(VEC, head_dim - d); c++)
            for (int lane = 0; lane < VEC; lane++)
                lanes[(d + c) * PANEL + lane] = square[lane * VEC + c];
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
pack_keys(__global const void *k, __global const void *past_k, __global float *k_panels,
          __global const int *kv_lengths, const clattn_base base,
          __global const clattn_problem_row *rows, __global const clattn_work_item *items,
          uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const tokens own = keys_of(row, &base, kv_lengths, item.batch);
    const rows_of keys = rows_init(row, &base, past_k, CLATTN_T_PAST_K, k, CLATTN_T_K, item.batch,
                                   item.head, own.first);
    const long step = row->tensor[CLATTN_T_K_PANELS].stride[2];
    __global float *panels = k_panels +
                             tensor_begin(row, &base, CLATTN_T_K_PANELS, item.batch, item.head) +
                             own.first / PANEL * step;
    const int end = min(item.k_end, own.count);
    for (int j = item.k_begin; j < end; j += PANEL)
        for (int c = 0; c < PANEL; c += VEC)
            pack_lanes(&keys, j + c, end, row->head_dim, panels + j / PANEL * step + c);
}
