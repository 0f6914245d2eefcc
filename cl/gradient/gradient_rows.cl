/* What the gradients of a query's scores have in common, one query a work-item at a time:
 *    shift, normaliser   a weight is exp(score - shift) * normaliser
 *    delta               GRAD_OUT . OUT - GRAD_LSE
 * The shift is LSE, unless that is so large that float32 rounds away what it has beyond the largest
 * score: there maximum and sum are computed once more. */
#include "common/reference.h"

/* Half a unit in the last place of an LSE of this size changes a weight by 3e-5. */
#define LARGEST_LSE 1024.0f

typedef struct row_softmax {
    float shift, normaliser;
} row_softmax;

static row_softmax from_scores(const query *x, float sink)
{
    row_softmax of;
    float m = sink, l = 0.0f;
    run r = run_init();
    while (next_keys(x, &r))
        for (int j = r.begin; j < r.end; j++) {
            const float s = score(x, j);
            m = s > m ? s : m;
        }
    r = run_init();
    while (next_keys(x, &r))
        for (int j = r.begin; j < r.end; j++) {
            const float s = score(x, j);
            l += s == -INFINITY ? 0.0f : exp(s - softmax_shift(m));
        }
    l += sink == -INFINITY ? 0.0f : exp(sink - softmax_shift(m));
    of.shift = m;
    of.normaliser = softmax_normaliser(l);
    return of;
}

/* Elements of OUT that are 0 give 0: where nothing is visible, GRAD_OUT may hold anything. */
static float row_product(__global const clattn_problem_row *row, const clattn_base *base, int b,
                         int h, long token, __global const void *out, __global const void *grad_out)
{
    __global const clattn_tensor_row *o = &row->tensor[CLATTN_T_OUT];
    __global const clattn_tensor_row *g = &row->tensor[CLATTN_T_GRAD_OUT];
    const uint o_type = row->dtype[CLATTN_T_OUT], g_type = row->dtype[CLATTN_T_GRAD_OUT];
    const long o_begin = tensor_begin(row, base, CLATTN_T_OUT, b, h) + token * o->stride[2];
    const long g_begin = tensor_begin(row, base, CLATTN_T_GRAD_OUT, b, h) + token * g->stride[2];
    const long o_step = o->stride[3], g_step = g->stride[3];
    float sum = 0.0f;
    for (int d = 0; d < row->value_dim; d++) {
        const float x = load_element(out, o_begin + d * o_step, o_type);
        if (x != 0.0f)
            sum += x * load_element(grad_out, g_begin + d * g_step, g_type);
    }
    return sum;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
gradient_rows(__global const void *q, __global const void *k, __global const void *past_k,
              __global const float *sink, __global const void *out, __global const float *lse,
              __global const void *grad_out, __global const float *grad_lse,
              __global float *gradient_rows, OPTION_PARAMETERS, const clattn_base base,
              __global const clattn_problem_row *rows, __global const clattn_work_item *items,
              uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = row->tensor;
    const int b = item.batch, h = item.head;
    const tokens queries = queries_of(row, &base, q_lengths, b);
    for (int i = item.q_begin + (int)get_local_id(0); i < min(item.q_end, queries.count);
         i += WG_SIZE) {
        const long token = queries.first + i;
        const query x = query_init(row, &base, b, h, i, q, k, past_k, OPTION_ARGUMENTS);
        row_softmax of;
        of.shift =
            lse[tensor_begin(row, &base, CLATTN_T_LSE, b, h) + token * t[CLATTN_T_LSE].stride[2]];
        of.normaliser = 1.0f;
        if (fabs(of.shift) > LARGEST_LSE && of.shift != -INFINITY)
            of = from_scores(&x, sink_of(&x.of, &base, sink, i));
        float delta = row_product(row, &base, b, h, token, out, grad_out);
        if (row->gradients & CLATTN_G_LSE)
            delta -= grad_lse[tensor_begin(row, &base, CLATTN_T_GRAD_LSE, b, h) +
                              token * t[CLATTN_T_GRAD_LSE].stride[2]];
        __global float *to = gradient_rows +
                             tensor_begin(row, &base, CLATTN_T_GRADIENT_ROWS, b, h) +
                             token * CLATTN_GRADIENT_ROW;
        to[0] = of.shift;
        to[1] = of.normaliser;
        to[2] = delta;
    }
}
