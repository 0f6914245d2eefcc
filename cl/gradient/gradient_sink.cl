/* GRAD_SINK: what the sinks' share of each softmax changes, queries in ascending order within a
 * batch entry, then batch entries. An item is a head. */
#include "common/item.h"
#include "common/vector.h"
#include "common/softmax.h"

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gradient_sink(__global const float *sink, __global const float *gradient_rows,
              __global float *grad_sink, __global const int *q_lengths, const clattn_base base,
              __global const clattn_problem_row *rows, __global const clattn_work_item *items,
              uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = row->tensor;
    const int h = item.head;
    const float logit = sink[base.offset[CLATTN_T_SINK] + h * t[CLATTN_T_SINK].stride[0]];
    float all = 0.0f;
    for (int b = 0; logit != -INFINITY && b < row->batch; b++) {
        const tokens queries = queries_of(row, &base, q_lengths, b);
        float sum = 0.0f;
        for (int i = 0; i < queries.count; i++) {
            __global const float *own = gradient_rows +
                                        tensor_begin(row, &base, CLATTN_T_GRADIENT_ROWS, b, h) +
                                        (long)(queries.first + i) * CLATTN_GRADIENT_ROW;
            const float share = exp(softmax_exponent(logit, own[0])) * own[1];
            if (share != 0.0f) /* NaN in what others see doesn't show */
                sum -= share * own[2];
        }
        all += sum;
    }
    grad_sink[base.offset[CLATTN_T_GRAD_SINK] + h * t[CLATTN_T_GRAD_SINK].stride[0]] = all;
}
