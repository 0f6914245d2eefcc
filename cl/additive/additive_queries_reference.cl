/* GRAD_Q of additive attention, one query a work-item at a time; see additive_reference.h. */
#include "common/additive_reference.h"

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_queries_reference(ADDITIVE_PARAMETERS, LOSS_PARAMETERS, __global void *grad_q,
                           OPTION_PARAMETERS, const clattn_base base,
                           __global const clattn_problem_row *rows,
                           __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head;
    for (int i = item.q_begin + (int)get_local_id(0); i < item.q_end; i += WG_SIZE) {
        const additive_query x =
            additive_query_init(row, &base, b, h, i, ADDITIVE_ARGUMENTS, OPTION_ARGUMENTS);
        for (int start = 0; start < row->head_dim; start += CHUNK) {
            const int size = min(CHUNK, row->head_dim - start);
            float sum[CHUNK];
            for (int c = 0; c < size; c++)
                sum[c] = 0.0f;
            for (int j = 0; j < x.of.keys.count; j++) {
                const additive_pair pair = additive_pair_of(&x, j, LOSS_ARGUMENTS);
                const element_row key = key_at(&x, j);
                for (int c = 0; pair.visible && c < size; c++) {
                    const float t = tanh_of_channel(&x, key, start + c);
                    sum[c] += pair.score * at(x.w, start + c) * fma(-t, t, 1.0f);
                }
            }
            store_chunk(sum, start, size, row_at(row, &base, grad_q, CLATTN_T_GRAD_Q, b, h, i));
        }
    }
}
