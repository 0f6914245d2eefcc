/* GRAD_K, GRAD_V and those of past ones, one key a work-item at a time: a head's queries in
 * ascending order, and the query heads that share the key one after the other; see
 * reference_gradient.h. */
#include "common/reference_gradient.h"

/* dk (head_dim), dv (value_dim) */
static void add_query_row(const query_gradient *g, int j, float *dk, float *dv)
{
    __global const clattn_problem_row *row = g->x.of.row;
    const pair_gradient d = pair(g, j);
    if (!d.visible)
        return;
    for (int c = 0; c < row->head_dim; c++)
        dk[c] +=
            d.product * load_element(g->x.q, g->x.q_begin + c * row->tensor[CLATTN_T_Q].stride[3],
                                     row->dtype[CLATTN_T_Q]);
    for (int c = 0; d.kept != 0.0f && c < row->value_dim; c++)
        dv[c] += d.kept * load_element(g->grad_out,
                                       g->grad_begin + c * row->tensor[CLATTN_T_GRAD_OUT].stride[3],
                                       row->dtype[CLATTN_T_GRAD_OUT]);
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
gradient_keys_reference(GRADIENT_PARAMETERS, __global void *grad_k, __global void *grad_past_k,
                        __global void *grad_v, __global void *grad_past_v, OPTION_PARAMETERS,
                        const clattn_base base, __global const clattn_problem_row *rows,
                        __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch;
    const tokens own = keys_of(row, &base, kv_lengths, b);
    const rows_of to_k = rows_init(row, &base, grad_past_k, CLATTN_T_GRAD_PAST_K, grad_k,
                                   CLATTN_T_GRAD_K, b, item.head, own.first, pages);
    const rows_of to_v = rows_init(row, &base, grad_past_v, CLATTN_T_GRAD_PAST_V, grad_v,
                                   CLATTN_T_GRAD_V, b, item.head, own.first, pages);
    const int keys = row->flags & CLATTN_F_RAGGED ? own.count : row->n_kv;
    float dk[DIM_MAX], dv[DIM_MAX];
    for (int j = item.k_begin + (int)get_local_id(0); j < min(item.k_end, keys); j += WG_SIZE) {
        for (int d = 0; d < DIM_MAX; d++)
            dk[d] = dv[d] = 0.0f;
        for (int h = item.head * row->group; h < (item.head + 1) * row->group; h++)
            for (int i = 0; j < own.count && i < row->n_q; i++) {
                const query_gradient g =
                    query_gradient_init(row, &base, b, h, i, GRADIENT_ARGUMENTS, OPTION_ARGUMENTS);
                if (may_see(&g.x, j))
                    add_query_row(&g, j, dk, dv);
            }
        store_row(dk, row->head_dim, &to_k, j, CLATTN_G_PAST_K, CLATTN_G_K, row->gradients);
        store_row(dv, row->value_dim, &to_v, j, CLATTN_G_PAST_V, CLATTN_G_V, row->gradients);
    }
}
