/* Keys into strips and values into rows of whole vectors, for additive_simd. An item is whole
 * panels of keys of one head. */
#include "common/additive.h"

/* Values of a panel; returns whether all are finite. */
INLINE int pack_panel_values(const rows_of *values, int begin, int end, int dim, __global float *to,
                             long width)
{
    int finite = 1;
    for (int j = begin; j < end; j++)
        for (int d = 0; d < dim; d += VEC) {
            const vfloat x = key_elements(values, j, end, d, dim);
            finite &= is_finite(x);
            store_vector(x, to + j * width + d);
        }
    return finite;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
additive_pack_keys(__global const void *k, __global const void *v, __global float *k_strips,
                   __global float *v_rows, __global const int *kv_lengths, const clattn_base base,
                   __global const clattn_problem_row *rows, __global const clattn_work_item *items,
                   uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head, channels = padded(row->head_dim);
    const int end = min(item.k_end, keys_of(row, &base, kv_lengths, b).count);
    const rows_of keys = rows_init(row, &base, k, CLATTN_T_K, k, CLATTN_T_K, b, h, 0, 0);
    const rows_of values = rows_init(row, &base, v, CLATTN_T_V, v, CLATTN_T_V, b, h, 0, 0);
    __global float *strips = k_strips + tensor_begin(row, &base, CLATTN_T_K_PANELS, b, h);
    __global float *own_rows = v_rows + tensor_begin(row, &base, CLATTN_T_V_ROWS, b, h);
    const long step = row->tensor[CLATTN_T_K_PANELS].stride[2];
    for (int j = item.k_begin; j < end; j += PANEL) {
        __global float *strip = strips + j / PANEL * step;
        const int last = min(j + PANEL, end);
        clear_strip(strip, channels, PANEL);
        for (int n = j; n < last; n++)
            pack_key(&keys, n, row->head_dim, strip, channels, n - j, 0);
        set_flags(strip, channels, PANEL,
                  !pack_panel_values(&values, j, last, row->value_dim, own_rows,
                                     row->tensor[CLATTN_T_V_ROWS].stride[2]));
    }
}
