/* Partial results over disjoint sets of keys into the whole, one query a work-item at a time; parts
 * in ascending order. */
#include "common/item.h"
#include "common/softmax.h"
#include "common/types.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif

/* One query of the problem. */
typedef struct merged {
    __global const clattn_problem_row *row;
    __global const float *partial_lse; /* element (0, batch, head, i) */
    __global const void *partial_out;  /* the memory object */
    long partial_begin;                /* element (0, batch, head, i, 0) */
} merged;

/* The largest LSE of the parts and the sink, NaN left aside. */
static float largest_lse(const merged *x, float sink)
{
    float m = sink == sink ? sink : -INFINITY;
    for (int part = 0; part < x->row->parts; part++) {
        const float lse = x->partial_lse[part * x->row->tensor[CLATTN_T_PARTIAL_LSE].stride[0]];
        m = lse > m ? lse : m;
    }
    return m;
}

static float sum_of_parts(const merged *x, float shift)
{
    float l = 0.0f;
    for (int part = 0; part < x->row->parts; part++) {
        const float lse = x->partial_lse[part * x->row->tensor[CLATTN_T_PARTIAL_LSE].stride[0]];
        l += lse == -INFINITY ? 0.0f : exp(lse - shift);
    }
    return l;
}

static float merged_value(const merged *x, int d, float shift, float l)
{
    __global const clattn_tensor_row *t = x->row->tensor;
    float o = 0.0f;
    for (int part = 0; part < x->row->parts; part++) {
        const float lse = x->partial_lse[part * t[CLATTN_T_PARTIAL_LSE].stride[0]];
        if (lse == -INFINITY)
            continue; /* nothing was visible: whatever PARTIAL_OUT holds */
        o += exp(lse - shift) *
             load_element(x->partial_out,
                          x->partial_begin + part * t[CLATTN_T_PARTIAL_OUT].stride[0] +
                              d * t[CLATTN_T_PARTIAL_OUT].stride[4],
                          x->row->dtype[CLATTN_T_PARTIAL_OUT]);
    }
    return o * softmax_normaliser(l);
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
merge(__global const void *partial_out, __global const float *partial_lse,
      __global const float *sink, __global void *out, __global float *lse, const clattn_base base,
      __global const clattn_problem_row *rows, __global const clattn_work_item *items, uint first,
      uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = row->tensor;
    const int b = item.batch, h = item.head;
    const float logit =
        row->flags & CLATTN_F_SINK
            ? sink[tensor_start(row, &base, CLATTN_T_SINK) + h * t[CLATTN_T_SINK].stride[0]]
            : -INFINITY;
    for (int i = item.q_begin + (int)get_local_id(0); i < item.q_end; i += WG_SIZE) {
        merged x;
        x.row = row;
        x.partial_lse = partial_lse + tensor_start(row, &base, CLATTN_T_PARTIAL_LSE) +
                        b * t[CLATTN_T_PARTIAL_LSE].stride[1] +
                        h * t[CLATTN_T_PARTIAL_LSE].stride[2] +
                        i * t[CLATTN_T_PARTIAL_LSE].stride[3];
        x.partial_out = partial_out;
        x.partial_begin =
            tensor_start(row, &base, CLATTN_T_PARTIAL_OUT) + b * t[CLATTN_T_PARTIAL_OUT].stride[1] +
            h * t[CLATTN_T_PARTIAL_OUT].stride[2] + i * t[CLATTN_T_PARTIAL_OUT].stride[3];
        const float m = largest_lse(&x, logit);
        const float shift = softmax_shift(m);
        const float l = sum_of_parts(&x, shift) + (logit == -INFINITY ? 0.0f : exp(logit - shift));
        const long out_begin =
            tensor_begin(row, &base, CLATTN_T_OUT, b, h) + i * t[CLATTN_T_OUT].stride[2];
        for (int d = 0; d < row->value_dim; d++)
            store_element(merged_value(&x, d, shift, l), out,
                          out_begin + d * t[CLATTN_T_OUT].stride[3], row->dtype[CLATTN_T_OUT]);
        if (row->flags & CLATTN_F_LSE)
            lse[tensor_begin(row, &base, CLATTN_T_LSE, b, h) + i * t[CLATTN_T_LSE].stride[2]] =
                softmax_lse(m, l);
    }
}
