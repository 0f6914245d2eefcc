/* Scores, softmax and values of a tile of queries, block of keys by block of keys, and its results;
 * see tile.h. */
#ifndef CLATTN_TILE_ATTENTION_H
#define CLATTN_TILE_ATTENTION_H

#include "common/tile_product.h"

/* The arrays of the softmax, to be declared in the kernel beside TILE_ARRAYS. */
#define SOFTMAX_ARRAYS                                                                             \
    __local float tile_parts[WG_SIZE] __attribute__((aligned(16)));                                \
    __local float tile_factors[BLOCK_M] __attribute__((aligned(16)))

/* What a work-item has of the results, in registers. */
typedef struct results {
    sums of;
    float m, l; /* of row `own`: running maximum, and sum of its part */
} results;

/* ---- softmax --------------------------------------------------------------------------------- */

/* From products to scores, in place, and the largest of them. */
INLINE float finish_part(const tile *x, bounds see, int start)
{
    const float scale = x->row->scale;
    float4 most = -INFINITY;
#if FULL
    const pairs of = pairs_of_row(x, x->own);
    const int i = query_of_row(x, x->own);
#endif
#pragma unroll 1
    for (int j = x->part * VEC; j < BLOCK_N; j += PARTS * VEC) {
        __local float *p = x->p + j * P_STEP + x->own;
        float4 s = load_column(p) * scale;
#if FULL
        if (see.from < see.to && j < see.to - start)
            s = finish_scores(&of, cap_scores(&of, s), i, start + j, see.from, see.to);
        else
            s = (float4)(-INFINITY);
#else
        const int4 key = LANES + j; /* from `start` on, as bounds are: no sum is too large */
        const int4 seen = (key >= (int4)(see.from - start)) & (key < (int4)(see.to - start));
        s = seen ? s : (float4)(-INFINITY);
#endif
        most = larger(s, most);
        store_column(s, p);
    }
    return largest_lane(most);
}

/* From scores to weights relative to m, in place; their sum, key by key in order. */
INLINE float weigh_part(const tile *x, float m, int start)
{
    const float shift = softmax_shift(m);
    float sum = 0.0f;
#if FULL
    const pairs of = pairs_of_row(x, x->own);
#endif
#pragma unroll 1
    for (int j = x->part * VEC; j < BLOCK_N; j += PARTS * VEC) {
        __local float *p = x->p + j * P_STEP + x->own;
        const float4 s = load_column(p);
        float4 w = exp_of_lanes(s - shift);
        sum += w.s0;
        sum += w.s1;
        sum += w.s2;
        sum += w.s3;
#if FULL
        if (of.flags & CLATTN_F_DROPOUT)
            w = drop_lanes(&of, w, query_of_row(x, x->own), start + j);
#endif
        store_column(s == (float4)(-INFINITY) ? (float4)(-0.0f) : w, p);
    }
    return sum;
}

/* The products in p into scores. Ends with a barrier. */
INLINE void finish_block(const tile *x, bounds see, int start)
{
    x->parts[x->me] = finish_part(x, see, start);
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* The scores in p into weights; `factors` gets what sums so far are to be multiplied with. */
INLINE void weigh_block(const tile *x, int start, results *to)
{
    float m = to->m;
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        const float other = x->parts[part * BLOCK_M + x->own];
        m = other > m ? other : m;
    }
    const float factor = exp_nonpositive(to->m - softmax_shift(m));
    to->l = fma(to->l, factor, weigh_part(x, m, start));
    to->m = m;
    if (x->part == 0)
        x->factors[x->own] = factor;
}

/* ---- values ---------------------------------------------------------------------------------- */

INLINE void rescale(const tile *x, results *to)
{
    float factor[ROWS];
    load_rows(x->factors + x->y * ROWS, factor);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c++)
            to->of.o[r][c] *= factor[r];
}

/* Weights in p times `keys` values from `start` on. */
INLINE void value_block(const tile *x, int start, int keys, results *to)
{
    for (int key = 0; key < keys; key += VALUE_KEYS) {
        const int count = min(VALUE_KEYS, keys - key);
        stage_values(x, OF_VALUES, start, key, count);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (key == 0)
            rescale(x, to);
        add_values(x, x->p + key * P_STEP, count, &to->of);
    }
}

/* A block of keys; `see`: what row `own` sees of all keys. */
INLINE void attend_block(const tile *x, bounds see, const walk *w, results *to)
{
    find_keys(x, w->start, w->r.end);
    barrier(CLK_LOCAL_MEM_FENCE);
    product_block(x, OF_SCORES, w->start, x->p);
    barrier(CLK_LOCAL_MEM_FENCE);
    finish_block(x, bounds_within(see, &w->r), w->start);
    weigh_block(x, w->start, to);
    value_block(x, w->start, min(BLOCK_N, w->r.end - w->start), to);
}

/* All keys from `from` to `to` - 1 that lists of blocks have. The loop has a condition of its own:
 * compilers that make loops of what is between barriers can't make them of one that goes through
 * next_run. */
INLINE void attend_keys(const tile *x, const pairs *of, int from, int to, results *of_rows)
{
    walk w = walk_init(x, from, to);
    const bounds see = bounds_of_query(x, of, x->own);
    while (w.start < w.to) {
        attend_block(x, see, &w, of_rows);
        next_block(x, &w);
    }
}

/* A group that has seen nothing yet; ends with a barrier. */
INLINE void begin_tile(tile *x, results *to)
{
    place_item(x);
    to->m = -INFINITY;
    to->l = 0.0f;
    clear_sums(&to->of);
    find_queries(x);
    if (x->me == 0)
        *x->odd = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* ---- results --------------------------------------------------------------------------------- */

/* The sum of row `own`, of all its parts. Begins behind a barrier, and ends without one. */
INLINE float sum_of_parts(const tile *x, float l)
{
    float sum = 0.0f;
    x->parts[x->me] = l;
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int part = 0; part < PARTS; part++)
        sum += x->parts[part * BLOCK_M + x->own];
    return sum;
}

/* LSE of row `own`, if it is wanted. */
INLINE void write_lse(const tile *x, softmax_end end, __global float *lse)
{
    const int head = head_of_row(x, x->own), i = query_of_row(x, x->own);
    if (x->row->flags & CLATTN_F_LSE)
        lse[tensor_begin(x->row, x->base, CLATTN_T_LSE, x->batch, head) +
            (x->queries.first + i) * x->row->tensor[CLATTN_T_LSE].stride[2]] =
            softmax_lse(end.m, end.l);
}

/* LSE and STATS of row `own`. */
INLINE void write_sums(const tile *x, softmax_end end, __global float *lse, __global float *stats)
{
    const int head = head_of_row(x, x->own), i = query_of_row(x, x->own);
    write_lse(x, end, lse);
    if (x->row->flags & CLATTN_F_STATS)
        vstore2((float2)(end.m, end.l), i,
                stats + tensor_begin(x->row, x->base, CLATTN_T_STATS, x->batch, head));
}

#endif
