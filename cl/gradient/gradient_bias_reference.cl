/* GRAD_BIAS, one element a work-item at a time; see reference_gradient.h. Dimensions that are
 * summed over have their batch entries, heads, queries and keys in ascending order. An item is a
 * block of queries, or where these are summed over, of keys, or all; batch or head -1 stands for
 * all. */
#include "common/reference_gradient.h"

/* From begin to end - 1. */
typedef struct range {
    int begin, end;
} range;

INLINE range range_of(int begin, int end)
{
    range r;
    r.begin = begin;
    r.end = end;
    return r;
}

/* What one query gives: gradients of its scores with some keys. */
static float sum_of_query(const query_gradient *g, range keys)
{
    float sum = 0.0f;
    run r = run_init();
    while (next_keys(&g->x, &r))
        for (int j = max(r.begin, keys.begin); j < min(r.end, keys.end); j++)
            sum += pair(g, j).score;
    return sum;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
gradient_bias_reference(GRADIENT_PARAMETERS, __global void *grad_bias, OPTION_PARAMETERS,
                        const clattn_base base, __global const clattn_problem_row *rows,
                        __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_GRAD_BIAS];
    const int all_q = row->gradients >> (CLATTN_G_BIAS_SUM + 2) & 1;
    const int all_k = row->gradients >> (CLATTN_G_BIAS_SUM + 3) & 1;
    const range batches =
        item.batch < 0 ? range_of(0, row->batch) : range_of(item.batch, item.batch + 1);
    const range heads =
        item.head < 0 ? range_of(0, row->n_head) : range_of(item.head, item.head + 1);
    const range queries = all_q ? range_of(0, row->n_q) : range_of(item.q_begin, item.q_end);
    const range keys =
        all_q && !all_k ? range_of(item.k_begin, item.k_end) : range_of(0, row->n_kv);
    const int columns = all_k ? 1 : keys.end - keys.begin;
    const long elements = (long)(all_q ? 1 : queries.end - queries.begin) * columns;
    for (long e = get_local_id(0); e < elements; e += WG_SIZE) {
        const int i = queries.begin + (int)(e / columns), j = keys.begin + (int)(e % columns);
        const range of_q = all_q ? queries : range_of(i, i + 1);
        const range of_k = all_k ? keys : range_of(j, j + 1);
        float sum = 0.0f;
        for (int b = batches.begin; b < batches.end; b++)
            for (int h = heads.begin; h < heads.end; h++)
                for (int n = of_q.begin; n < of_q.end; n++) {
                    const query_gradient g =
                        query_gradient_init(row, &base, b, h, n, GRADIENT_ARGUMENTS,
                                            OPTION_ARGUMENTS);
                    sum += sum_of_query(&g, of_k);
                }
        store_element(sum, grad_bias,
                      tensor_begin(row, &base, CLATTN_T_GRAD_BIAS, max(item.batch, 0),
                                   max(item.head, 0)) +
                          i * t->stride[2] + j * t->stride[3],
                      row->dtype[CLATTN_T_GRAD_BIAS]);
    }
}
