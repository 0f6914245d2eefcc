/* GRAD_BIAS of the sums that gradient_bias_tile has written for each head, over keys, or over
 * queries: over what else the bias is shared over, batch entries before heads, each in ascending
 * order. An item is a block of queries or of keys, an element a work-item's, or where the bias is
 * shared over both, all queries. Batch or head -1 stands for all. */
#include "common/item.h"
#include "common/types.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 64
#endif
#if WG_SIZE < 1
#error "WG_SIZE must be at least 1"
#endif

/* Of query or key n. */
INLINE float sum_of_heads(__global const clattn_problem_row *row, const clattn_base *base,
                          const clattn_work_item *item, __global const float *bias_parts, int n)
{
    const int b_end = item->batch < 0 ? row->batch : item->batch + 1;
    const int h_end = item->head < 0 ? row->n_head : item->head + 1;
    float sum = 0.0f;
    for (int b = max(item->batch, 0); b < b_end; b++)
        for (int h = max(item->head, 0); h < h_end; h++)
            sum += bias_parts[tensor_begin(row, base, CLATTN_T_BIAS_PARTS, b, h) + n];
    return sum;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
gradient_bias_sums(__global const float *bias_parts, __global void *grad_bias,
                   const clattn_base base, __global const clattn_problem_row *rows,
                   __global const clattn_work_item *items, uint first, uint count)
{
    __local float of_item[WG_SIZE];
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        const uint dtype = row->dtype[CLATTN_T_GRAD_BIAS];
        const int all_q = row->gradients >> (CLATTN_G_BIAS_SUM + 2) & 1;
        const int all_k = row->gradients >> (CLATTN_G_BIAS_SUM + 3) & 1;
        const int dim = all_k ? 2 : 3, me = (int)get_local_id(0);
        const long to =
            tensor_begin(row, &base, CLATTN_T_GRAD_BIAS, max(item.batch, 0), max(item.head, 0));
        const long step = row->tensor[CLATTN_T_GRAD_BIAS].stride[dim];
        const int begin = all_k ? item.q_begin : item.k_begin;
        const int end = all_k ? item.q_end : item.k_end;
        float all = 0.0f;
        for (long n = begin + me; n < end; n += WG_SIZE) {
            const float sum = sum_of_heads(row, &base, &item, bias_parts, (int)n);
            if (!all_q || !all_k)
                store_element(sum, grad_bias, to + n * step, dtype);
            all += sum;
        }
        of_item[me] = all;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (all_q && all_k && me == 0) {
            float sum = 0.0f;
            for (int n = 0; n < WG_SIZE; n++)
                sum += of_item[n];
            store_element(sum, grad_bias, to, dtype);
        }
    }
}
