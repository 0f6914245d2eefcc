/* What the gradients of a query's scores have in common, as additive_rows has it, for devices whose
 * work-items are lanes: shift, normaliser, and delta = GRAD_OUT . OUT - GRAD_LSE. A group does
 * BLOCK_M queries of a head and goes through the keys with the online softmax, as additive_tile
 * does. All is of the scores as they are computed here, in the way of the gradients after it; OUT
 * and LSE, which another kernel may have computed, aren't read. */
#include "common/tile_additive_gradient.h"
#include "common/tile_attention.h"

/* Of row `own`: running maximum and sums of its part, relative to it. */
typedef struct row_sums {
    results softmax; /* without values */
    float delta;
} row_sums;

/* Weights in p times products with GRAD_OUT, key by key; what is invisible is left out. */
INLINE float delta_of_part(const tile *x)
{
    float sum = 0.0f;
#pragma unroll 1
    for (int j = x->part * VEC; j < BLOCK_N; j += PARTS * VEC) {
        const float4 w = load_column(x->p + j * P_STEP + x->own);
        const float4 a = load_column(x->ds + j * P_STEP + x->own);
        const float4 seen = as_int4(w) == as_int4((float4)(-0.0f)) ? (float4)(0.0f) : a;
        sum = fma(w.s0, seen.s0, sum);
        sum = fma(w.s1, seen.s1, sum);
        sum = fma(w.s2, seen.s2, sum);
        sum = fma(w.s3, seen.s3, sum);
    }
    return sum;
}

/* The keys from `start` on and before `end`; ends with a barrier. */
INLINE void add_keys_of_rows(const tile *x, const pairs *all, const channels *of_scores, bounds see,
                             int start, int end, row_sums *of)
{
    const float before = of->softmax.m;
    find_keys(x, start, end);
    barrier(CLK_LOCAL_MEM_FENCE);
    score_block(x, of_scores, start);
    product_block(x, OF_VALUES, start, x->ds);
    barrier(CLK_LOCAL_MEM_FENCE);
    mask_block(x, all, start);
    finish_block(x, see, start);
    weigh_block(x, start, &of->softmax);
    const float factor = exp_nonpositive(before - softmax_shift(of->softmax.m));
    of->delta = fma(of->delta, factor, delta_of_part(x));
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* Of row `own`, by its first work-item. */
INLINE void write_gradient_row(const tile *x, float m, float l, float delta,
                               __global const float *grad_lse, __global float *gradient_rows)
{
    const int i = x->first + x->own;
    const float normaliser = softmax_normaliser(l);
    float by_lse = 0.0f;
    if (x->part != 0 || !is_query(x, x->own))
        return;
    if (x->row->gradients & CLATTN_G_LSE)
        by_lse = grad_lse[tensor_begin(x->row, x->base, CLATTN_T_GRAD_LSE, x->batch, x->head) +
                          i * x->row->tensor[CLATTN_T_GRAD_LSE].stride[2]];
    __global float *to = gradient_rows +
                         tensor_begin(x->row, x->base, CLATTN_T_GRADIENT_ROWS, x->batch, x->head) +
                         (long)i * CLATTN_GRADIENT_ROW;
    to[0] = m;
    to[1] = normaliser;
    to[2] = delta * normaliser - by_lse;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_rows_tile(ADDITIVE_GRADIENT_PARAMETERS, __global const float *grad_lse,
                   __global float *gradient_rows, OPTION_PARAMETERS, const clattn_base base,
                   __global const clattn_problem_row *rows, __global const clattn_work_item *items,
                   uint first, uint count)
{
    GRADIENT_ARRAYS;
    SOFTMAX_ARRAYS;
    ADDITIVE_ARRAYS;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        __global const void *past_k = 0, *past_v = 0; /* there are no such keys */
        const channels of_scores = {w_score, channel_bias, slice_w, slice_bias, slice_forms};
        row_sums of;
        tile x = TILE_OF(item.batch, item.head, item.head, item.q_begin);
        GRADIENT_OF_ARRAYS(x);
        x.parts = tile_parts;
        x.factors = tile_factors;
        x.rows = item.q_end - item.q_begin;
        of.delta = 0.0f;
        begin_tile(&x, &of.softmax);
        find_query_lines(&x, CLATTN_T_GRAD_OUT, x.lines + G_LINES);
        const pairs all = pairs_of_row(&x, 0);
        const bounds see = bounds_of_query(&x, &all, x.own);
        const int end = item.q_begin < x.queries.count ? all.keys.count : 0;
        for (int left = end; left > 0; left -= BLOCK_N)
            add_keys_of_rows(&x, &all, &of_scores, see, end - left, end, &of);
        const float l = sum_of_parts(&x, of.softmax.l);
        barrier(CLK_LOCAL_MEM_FENCE);
        const float delta = sum_of_parts(&x, of.delta);
        write_gradient_row(&x, of.softmax.m, l, delta, grad_lse, gradient_rows);
    }
}
