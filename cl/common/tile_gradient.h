/* Gradients of a tile of queries against a block of keys, or of a tile of keys against a block of
 * queries; tile.h says what a tile is, reference_gradient.h what the formulas are.
 *
 * There is no softmax to be found: gradient_rows has written what weights are relative to. So every
 * pair is for itself, and in the place of the softmax its weight and the gradient of its product
 * are made of two products, which lie in local memory:
 *
 *                  p (BLOCK_N, P_STEP)                    ds (BLOCK_N, P_STEP)
 *    products      of Q with K                            of GRAD_OUT with V
 *    queries       the gradient of Q K^T                  (where slices are, and free again)
 *    keys          the weight, after dropout              the gradient of Q K^T
 *
 * The gradient of a bias is that of the final score, OF_BIAS, in the place of that of Q K^T.
 *
 * Queries then get the sum of gradients times keys. Where KEYS_ARE_ROWS, columns are queries: keys
 * get the sum of gradients times queries, and values that of weights times GRAD_OUT. The order of a
 * sum is that of its columns: keys ascending; heads that share a key, and of each its queries
 * ascending.
 *
 * -0 stands for what must not be seen, here as in tile.h, and for weights of 0, which don't take
 * NaN from GRAD_OUT; a gradient of 0 of a visible pair is +0. */
#ifndef CLATTN_TILE_GRADIENT_H
#define CLATTN_TILE_GRADIENT_H

#include "common/gradient.h"
#include "common/tile_product.h"

/* OF_BIAS: 1 where gradients are those of final scores. */
#ifndef OF_BIAS
#define OF_BIAS 0
#endif

/* ds has memory of its own, or is where slices are. */
#if KEYS_ARE_ROWS
#define DS_ARRAY       __local float tile_ds[BLOCK_N * P_STEP] __attribute__((aligned(16)))
#define GRADIENT_STAGE STAGE
#else
#define DS_ARRAY       __local float *const tile_ds = tile_stage
#define GRADIENT_STAGE (STAGE > BLOCK_N * P_STEP ? STAGE : BLOCK_N * P_STEP)
#endif

/* The arrays of a tile, to be declared in the kernel. */
#define GRADIENT_ARRAYS                                                                            \
    TILE_ARRAYS(GRADIENT_STAGE, ALL_LINES);                                                        \
    DS_ARRAY;                                                                                      \
    __local float tile_row_values[3 * QUERIES];                                                    \
    __local int tile_seen[2 * QUERIES]

/* What tiles of gradients have beside those of attention. */
#define GRADIENT_OF_ARRAYS(x)                                                                      \
    ((x).grad_out = grad_out, (x).row_values = tile_row_values, (x).seen = tile_seen,              \
     (x).ds = tile_ds, (x).packed = 0)

/* ---- queries --------------------------------------------------------------------------------- */

/* 0 where query r isn't there. */
INLINE float delta_of(const tile *x, int r)
{
    return x->row_values[2 * QUERIES + r];
}

/* Where the tile's queries, or those of the block, are, and what is known of them. */
INLINE void find_gradient_queries(const tile *x, const pairs *of,
                                  __global const float *gradient_rows)
{
    find_query_lines(x, CLATTN_T_Q, x->lines + Q_LINES);
    find_query_lines(x, CLATTN_T_GRAD_OUT, x->lines + G_LINES);
    __global const float *rows =
        gradient_rows + tensor_begin(x->row, x->base, CLATTN_T_GRADIENT_ROWS, x->batch, x->head) +
        (long)(x->queries.first + x->first) * CLATTN_GRADIENT_ROW;
    for (int r = x->me; r < QUERIES; r += WG_SIZE) {
        const int there = is_query(x, r);
        __global const float *own = rows + (there ? r : 0) * CLATTN_GRADIENT_ROW;
        keep_query(x, r, there ? softmax_shift(own[0]) : 0.0f, there ? own[1] : 0.0f);
        x->row_values[2 * QUERIES + r] = there ? own[2] : 0.0f;
        keep_seen(x, r, bounds_of_query(x, of, r));
    }
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/* The first or both of the products of a block: a loop, so that there is one text of them. */
INLINE void product_blocks(const tile *x, int start, int count)
{
#pragma unroll 1
    for (int product = OF_SCORES; product < count; product++)
        product_block(x, product, start, product == OF_SCORES ? x->p : x->ds);
}

/* Of query r, at `key` + lane. */
typedef struct pair_lanes {
    float4 kept; /* weights after dropout, -0 for 0 */
    float4 ds;   /* gradients of q . k, or of scores, -0 where nothing is seen */
} pair_lanes;

/* From products q . k and GRAD_OUT . v of query r of the tile with the keys `start` + j + lane,
 * which it sees within `see`. */
INLINE pair_lanes turn_lanes(const tile *x, const pairs *of, int r, bounds see, int start, int j,
                             float4 product, float4 a)
{
    const float4 hidden = (float4)(-INFINITY), nothing = (float4)(-0.0f);
    const int i = query_of_row(x, r);
    float4 capped = product * x->row->scale, turn = OF_BIAS ? 1.0f : x->row->scale;
#if FULL
    capped = cap_scores(of, capped);
#endif
    const float4 s = visible_scores(of, i, see, start, j, capped);
    const float4 d = s - shift_of(x, r);
    const float4 w = exp_of_lanes(d > (float4)(0.0f) ? (float4)(0.0f) : d) * normaliser_of(x, r);
    pair_lanes to;
    to.kept = w;
#if FULL
    if (of->flags & CLATTN_F_DROPOUT) {
        const float4 factor = drop_lanes(of, (float4)(1.0f), i, start + j);
        a = factor == (float4)(0.0f) ? factor : a * factor;
        to.kept = factor == (float4)(0.0f) ? factor : w * factor;
    }
    if (!OF_BIAS)
        turn *= score_slopes(of, capped, s != hidden, i, start + j);
#endif
    to.ds = w * (a - delta_of(x, r)) * turn;
    to.ds = to.ds == (float4)(0.0f) ? (float4)(0.0f) : to.ds;
    to.ds = s == hidden ? nothing : to.ds;
    to.kept = s == hidden || to.kept == (float4)(0.0f) ? nothing : to.kept;
    return to;
}

/* From products to weights and gradients; keys from `start` on, within a run of them. Begins behind
 * a barrier, and ends without one. */
#if KEYS_ARE_ROWS
INLINE void turn_block(const tile *x, const pairs *of, const run *r, int start, int of_keys)
{
#pragma unroll 1
    for (uint n = x->me; n < BLOCK_N * (BLOCK_M / VEC); n += WG_SIZE) {
        const int query = n / (BLOCK_M / VEC), j = n % (BLOCK_M / VEC) * VEC;
        __local float *p = x->p + query * P_STEP + j, *ds = x->ds + query * P_STEP + j;
        const bounds see = bounds_within(seen_by(x, query), r);
        const float4 a = of_keys ? LOCAL_VECTOR(ds) : (float4)(0.0f);
        const pair_lanes to = turn_lanes(x, of, query, see, start, j, LOCAL_VECTOR(p), a);
        LOCAL_VECTOR(p) = to.kept;
        LOCAL_VECTOR(ds) = to.ds;
    }
}
#else
INLINE void turn_block(const tile *x, const pairs *of, const run *r, int start)
{
    const bounds see = bounds_within(seen_by(x, x->own), r);
#pragma unroll 1
    for (int j = x->part * VEC; j < BLOCK_N; j += PARTS * VEC) {
        __local float *p = x->p + j * P_STEP + x->own;
        const float4 a = load_column(x->ds + j * P_STEP + x->own);
        store_column(turn_lanes(x, of, x->own, see, start, j, load_column(p), a).ds, p);
    }
}
#endif

/* ---- sums ------------------------------------------------------------------------------------ */

/* Columns' weights times one of the tensors of a product, a constant: `count` columns, keys from
 * `start` on or queries. */
INLINE void sum_block(const tile *x, __local const float *weights, const int product, int start,
                      int count, sums *to)
{
    for (int n = 0; n < count; n += VALUE_KEYS) {
        const int some = min(VALUE_KEYS, count - n);
        stage_values(x, product, start, n, some);
        barrier(CLK_LOCAL_MEM_FENCE);
        add_values(x, weights + n * P_STEP, some, to);
    }
}

#endif
