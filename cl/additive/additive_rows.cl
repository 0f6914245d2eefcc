/* What the gradients of a query's scores have in common, as gradient_rows has it for attention, one
 * query a work-item at a time: shift, normaliser, and delta = GRAD_OUT . OUT - GRAD_LSE. */
#include "common/additive_reference.h"

/* FULL: 1: all is of the scores as they are computed here, because the gradients after it have the
 * same, and the forward pass perhaps others; 0: of OUT and LSE. */
#ifndef FULL
#define FULL 0
#endif
#if FULL != 0 && FULL != 1
#error "FULL must be 0 or 1"
#endif

/* Beyond it float32 rounds away what LSE has beyond the largest score; see gradient_rows.cl. */
#define LARGEST_LSE 1024.0f

/* Elements of OUT that are 0 give 0: where nothing is visible, GRAD_OUT may hold anything. */
static float row_product(element_row o, element_row g, int dim)
{
    float sum = 0.0f;
    for (int d = 0; d < dim; d++) {
        const float x = at(o, d);
        if (x != 0.0f)
            sum = fma(x, at(g, d), sum);
    }
    return sum;
}

/* The softmax of the query's scores once more: shift and normaliser. */
static float2 from_scores(const additive_query *x)
{
    float m = -INFINITY, l = 0.0f;
    for (int j = 0; j < x->of.keys.count; j++) {
        const float s = additive_score(x, j);
        m = s > m ? s : m;
    }
    for (int j = 0; j < x->of.keys.count; j++) {
        const float s = additive_score(x, j);
        l += s == -INFINITY ? 0.0f : exp(s - softmax_shift(m));
    }
    return (float2)(m, softmax_normaliser(l));
}

/* OUT . GRAD_OUT of the same softmax. */
static float delta_of_scores(const additive_query *x, float2 softmax, __global const void *v,
                             element_row g)
{
    __global const clattn_problem_row *row = x->of.row;
    float sum = 0.0f;
    for (int j = 0; j < x->of.keys.count; j++) {
        const float s = additive_score(x, j);
        const element_row value = row_at(row, x->base, v, CLATTN_T_V, x->of.batch, x->of.head, j);
        float product = 0.0f;
        for (int d = 0; s != -INFINITY && d < row->value_dim; d++)
            product = fma(at(g, d), at(value, d), product);
        if (s != -INFINITY)
            sum = fma(exp(softmax_exponent(s, softmax.x)) * softmax.y, product, sum);
    }
    return sum;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_rows(ADDITIVE_PARAMETERS, __global const void *v, __global const void *out,
              __global const float *lse, __global const void *grad_out,
              __global const float *grad_lse, __global float *gradient_rows, OPTION_PARAMETERS,
              const clattn_base base, __global const clattn_problem_row *rows,
              __global const clattn_work_item *items, uint first, uint count)
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
        const float own =
            lse[tensor_begin(row, &base, CLATTN_T_LSE, b, h) + i * t[CLATTN_T_LSE].stride[2]];
        const element_row g = row_at(row, &base, grad_out, CLATTN_T_GRAD_OUT, b, h, i);
        const int from_all = own != -INFINITY && (FULL | (fabs(own) > LARGEST_LSE));
        const additive_query x =
            additive_query_init(row, &base, b, h, i, ADDITIVE_ARGUMENTS, OPTION_ARGUMENTS);
        const float2 softmax = from_all ? from_scores(&x) : (float2)(own, 1.0f);
        float delta = FULL & from_all ? delta_of_scores(&x, softmax, v, g)
                                      : row_product(row_at(row, &base, out, CLATTN_T_OUT, b, h, i),
                                                    g, row->value_dim);
        if (row->gradients & CLATTN_G_LSE)
            delta -= grad_lse[tensor_begin(row, &base, CLATTN_T_GRAD_LSE, b, h) +
                              i * t[CLATTN_T_GRAD_LSE].stride[2]];
        __global float *to = gradient_rows +
                             tensor_begin(row, &base, CLATTN_T_GRADIENT_ROWS, b, h) +
                             (long)i * CLATTN_GRADIENT_ROW;
        to[0] = softmax.x;
        to[1] = softmax.y;
        to[2] = delta;
    }
}
