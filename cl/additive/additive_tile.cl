/* Additive attention for devices whose work-items are lanes: a group does BLOCK_M queries of a
 * head, block of keys by block of keys, with the online softmax; how, is in tile.h and
 * tile_additive.h. Of values it has DIM_MAX dimensions at a time, and for more of them goes through
 * the keys once more. */
#include "common/tile_additive.h"
#include "common/tile_attention.h"

/* Scores of row `own` with the block's keys before `end` into WEIGHTS, where they stay until the
 * softmax's sums are known. */
INLINE void keep_scores(const tile *x, int start, int end, __global float *weights)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_WEIGHTS];
    const long begin = tensor_begin(x->row, x->base, CLATTN_T_WEIGHTS, x->batch, x->head) +
                       (x->first + x->own) * t->stride[2];
#pragma unroll 1
    for (int j = x->part * VEC; j < min(BLOCK_N, end - start); j += PARTS * VEC)
        write_vector(load_column(x->p + j * P_STEP + x->own), weights,
                     begin + (start + j) * t->stride[3], t->stride[3], end - start - j,
                     CLATTN_D_F32);
}

/* Those scores, of the first `seen` keys, into weights; 0 from there on. A work-item has the keys
 * that it wrote itself. */
INLINE void finish_weights(const tile *x, int seen, float m, float factor, __global float *weights)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_WEIGHTS];
    const long begin = tensor_begin(x->row, x->base, CLATTN_T_WEIGHTS, x->batch, x->head) +
                       (x->first + x->own) * t->stride[2];
    const int n_kv = x->row->n_kv;
#pragma unroll 1
    for (int j = x->part * VEC; j < n_kv; j += PARTS * VEC) {
        const long at = begin + j * t->stride[3];
        const float4 s = gather_elements(weights, at, t->stride[3], seen - j, CLATTN_D_F32);
        const float4 w = exp_of_lanes(s - softmax_shift(m)) * factor;
        const int4 visible = (LANES < (int4)(seen - j)) & (s != (float4)(-INFINITY));
        write_vector(visible ? w : (float4)(0.0f), weights, at, t->stride[3], n_kv - j,
                     CLATTN_D_F32);
    }
}

/* All keys before `end`; their scores to WEIGHTS if `keeps`. */
INLINE void attend(const tile *x, const channels *of_scores, int end, int keeps, results *of,
                   __global float *weights)
{
    const pairs all = pairs_of_row(x, 0);
    const bounds see = bounds_of_query(x, &all, x->own);
    for (int left = end; left > 0; left -= BLOCK_N) {
        const int start = end - left;
        find_keys(x, start, end);
        barrier(CLK_LOCAL_MEM_FENCE);
        score_block(x, of_scores, start);
        barrier(CLK_LOCAL_MEM_FENCE);
        finish_block(x, see, start);
        if (keeps)
            keep_scores(x, start, end, weights);
        weigh_block(x, start, of);
        value_block(x, start, min(BLOCK_N, left), of);
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
additive_tile(__global const void *q, __global const void *k, __global const void *w_score,
              __global const void *channel_bias, __global const void *v, __global void *out,
              __global float *lse, __global float *weights, OPTION_PARAMETERS,
              const clattn_base base, __global const clattn_problem_row *rows,
              __global const clattn_work_item *items, uint first, uint count)
{
    TILE_ARRAYS(STAGE, G_LINES);
    SOFTMAX_ARRAYS;
    ADDITIVE_ARRAYS;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        __global const void *past_k = 0, *past_v = 0; /* there are no such keys */
        const channels of_scores = {w_score, channel_bias, slice_w, slice_bias, slice_forms};
        results of;
        tile x = TILE_OF(item.batch, item.head, item.head, item.q_begin);
        x.parts = tile_parts;
        x.factors = tile_factors;
        x.packed = 0;
        x.rows = item.q_end - item.q_begin;
        const int keys = keys_of(row, &base, kv_lengths, item.batch).count;
        const int end = item.q_begin < x.queries.count ? keys : 0;
        for (int d = 0; d < row->value_dim; d += DIM_MAX) {
            x.value_begin = d;
            begin_tile(&x, &of);
            const int keeps = d == 0 && row->flags & CLATTN_F_WEIGHTS && x.own < x.rows;
            attend(&x, &of_scores, end, keeps, &of, weights);
            const softmax_end last = softmax_finish(of.m, sum_of_parts(&x, of.l), -INFINITY);
            if (x.part == 0) {
                x.factors[x.own] = last.factor;
                if (x.own < x.rows)
                    write_lse(&x, last, lse);
            }
            if (keeps)
                finish_weights(&x, end, last.m, last.factor, weights);
            barrier(CLK_LOCAL_MEM_FENCE);
            write_queries(&x, &of.of, x.factors, CLATTN_T_OUT, row->value_dim - d, out);
        }
    }
}
