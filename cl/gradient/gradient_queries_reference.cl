/* GRAD_Q, one query a work-item at a time; see reference_gradient.h. */
#include "common/reference_gradient.h"

/* dq (head_dim) */
static void add_key_rows(const query_gradient *g, float *dq)
{
    const rows_of *keys = &g->x.keys;
    run r = run_init();
    while (next_keys(&g->x, &r))
        for (int j = r.begin; j < r.end; j++) {
            const pair_gradient d = pair(g, j);
            const int past = j < keys->n_past ? 0 : 1;
            const long key = keys->begin[past] + j * keys->step[past];
            for (int c = 0; d.visible && c < g->x.of.row->head_dim; c++)
                dq[c] += d.product * load_element(keys->memory[past], key + c * keys->inner[past],
                                                  keys->dtype[past]);
        }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
gradient_queries_reference(GRADIENT_PARAMETERS, __global void *grad_q, OPTION_PARAMETERS,
                           const clattn_base base, __global const clattn_problem_row *rows,
                           __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_GRAD_Q];
    float dq[DIM_MAX];
    for (int i = item.q_begin + (int)get_local_id(0); i < item.q_end; i += WG_SIZE) {
        const query_gradient g = query_gradient_init(row, &base, item.batch, item.head, i,
                                                     GRADIENT_ARGUMENTS, OPTION_ARGUMENTS);
        if (i >= g.x.of.queries.count && row->flags & CLATTN_F_RAGGED)
            continue;
        for (int d = 0; d < row->head_dim; d++)
            dq[d] = 0.0f;
        add_key_rows(&g, dq);
        const long begin = tensor_begin(row, &base, CLATTN_T_GRAD_Q, item.batch, item.head) +
                           (long)(g.x.of.queries.first + i) * t->stride[2];
        for (int d = 0; d < row->head_dim; d++)
            store_element(dq[d], grad_q, begin + d * t->stride[3], row->dtype[CLATTN_T_GRAD_Q]);
    }
}
