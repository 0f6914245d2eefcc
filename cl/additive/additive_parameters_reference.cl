/* GRAD_W_SCORE and GRAD_CHANNEL_BIAS, CHUNK channels of a head a work-item at a time: batch
 * entries, queries and keys in ascending order; see additive_reference.h. */
#include "common/additive_reference.h"

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_parameters_reference(ADDITIVE_PARAMETERS, LOSS_PARAMETERS, __global void *grad_w_score,
                              __global void *grad_channel_bias, OPTION_PARAMETERS,
                              const clattn_base base, __global const clattn_problem_row *rows,
                              __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int h = item.head;
    for (int start = (int)get_local_id(0) * CHUNK; start < row->head_dim;
         start += WG_SIZE * CHUNK) {
        const int size = min(CHUNK, row->head_dim - start);
        float of_w[CHUNK], of_bias[CHUNK];
        for (int c = 0; c < CHUNK; c++)
            of_w[c] = of_bias[c] = 0.0f;
        for (int b = 0; b < row->batch; b++)
            for (int i = 0; i < row->n_q; i++) {
                const additive_query x =
                    additive_query_init(row, &base, b, h, i, ADDITIVE_ARGUMENTS, OPTION_ARGUMENTS);
                for (int j = 0; j < x.of.keys.count; j++) {
                    const additive_pair pair = additive_pair_of(&x, j, LOSS_ARGUMENTS);
                    const element_row key = key_at(&x, j);
                    for (int c = 0; pair.visible && c < size; c++) {
                        const float t = tanh_of_channel(&x, key, start + c);
                        of_w[c] += pair.score * t;
                        of_bias[c] += pair.score * at(x.w, start + c) * fma(-t, t, 1.0f);
                    }
                }
            }
        if (row->gradients & CLATTN_G_W_SCORE)
            store_chunk(of_w, start, size,
                        parameter_at(row, &base, grad_w_score, CLATTN_T_GRAD_W_SCORE, h));
        if (row->gradients & CLATTN_G_CHANNEL_BIAS)
            store_chunk(of_bias, start, size,
                        parameter_at(row, &base, grad_channel_bias, CLATTN_T_GRAD_CHANNEL_BIAS, h));
    }
}
