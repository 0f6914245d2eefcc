/* Weights summed over the queries, one key a work-item at a time; see reference.h. */
#include "common/reference.h"

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
weight_sums_reference(__global const void *q, __global const void *k, __global const void *past_k,
                      __global const float *stats, __global float *weights_sum, OPTION_PARAMETERS,
                      const clattn_base base, __global const clattn_problem_row *rows,
                      __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head;
    for (int j = item.k_begin + (int)get_local_id(0); j < item.k_end; j += WG_SIZE) {
        float sum = 0.0f;
        for (int i = 0; i < row->n_q; i++) {
            const query x = query_init(row, &base, b, h, i, q, k, past_k, OPTION_ARGUMENTS);
            const long at = tensor_begin(row, &base, CLATTN_T_STATS, b, h) + (long)i * 2;
            if (may_see(&x, j))
                sum += weight(&x, j, score(&x, j), stats[at], stats[at + 1]);
        }
        weights_sum[tensor_begin(row, &base, CLATTN_T_WEIGHTS_SUM, b, h) +
                    j * row->tensor[CLATTN_T_WEIGHTS_SUM].stride[2]] = sum;
    }
}
