/* GRAD_K and GRAD_V of additive attention, one key a work-item at a time, queries in ascending
 * order; see additive_reference.h. */
#include "common/additive_reference.h"

/* Elements `first` to `first` + size - 1 of what key j gets, or, with `of_value`, its value. */
static void sum_chunk(__global const clattn_problem_row *row, const clattn_base *base, int b, int h,
                      int j, int first, int size, int of_value, float *sum, ADDITIVE_PARAMETERS,
                      LOSS_PARAMETERS, OPTION_PARAMETERS)
{
    for (int n = 0; n < size; n++)
        sum[n] = 0.0f;
    for (int i = 0; i < row->n_q; i++) {
        const additive_query x =
            additive_query_init(row, base, b, h, i, ADDITIVE_ARGUMENTS, OPTION_ARGUMENTS);
        if (j >= x.of.keys.count || i >= x.of.queries.count)
            return;
        const additive_pair pair = additive_pair_of(&x, j, LOSS_ARGUMENTS);
        const element_row key = key_at(&x, j);
        const element_row g = row_at(row, base, grad_out, CLATTN_T_GRAD_OUT, b, h, i);
        for (int n = 0; pair.visible && n < size; n++) {
            const float t = of_value ? 0.0f : tanh_of_channel(&x, key, first + n);
            sum[n] += of_value ? pair.weight * at(g, first + n)
                               : pair.score * at(x.w, first + n) * fma(-t, t, 1.0f);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_keys_reference(ADDITIVE_PARAMETERS, LOSS_PARAMETERS, __global void *grad_k,
                        __global void *grad_v, OPTION_PARAMETERS, const clattn_base base,
                        __global const clattn_problem_row *rows,
                        __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head;
    float sum[CHUNK];
    for (int j = item.k_begin + (int)get_local_id(0); j < item.k_end; j += WG_SIZE) {
        for (int c = 0; row->gradients & CLATTN_G_K && c < row->head_dim; c += CHUNK) {
            const int size = min(CHUNK, row->head_dim - c);
            sum_chunk(row, &base, b, h, j, c, size, 0, sum, ADDITIVE_ARGUMENTS, LOSS_ARGUMENTS,
                      OPTION_ARGUMENTS);
            store_chunk(sum, c, size, row_at(row, &base, grad_k, CLATTN_T_GRAD_K, b, h, j));
        }
        for (int d = 0; row->gradients & CLATTN_G_V && d < row->value_dim; d += CHUNK) {
            const int size = min(CHUNK, row->value_dim - d);
            sum_chunk(row, &base, b, h, j, d, size, 1, sum, ADDITIVE_ARGUMENTS, LOSS_ARGUMENTS,
                      OPTION_ARGUMENTS);
            store_chunk(sum, d, size, row_at(row, &base, grad_v, CLATTN_T_GRAD_V, b, h, j));
        }
    }
}
