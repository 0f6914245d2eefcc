/* Weights and scores that are returned, for a tile of queries and a block of keys; tile.h says what
 * a tile is. Maximum and sum of every row are known, so that a pair is for itself:
 *
 *   products  as in tile.h, in registers; then they go to local memory, where slices were, a row of
 *             queries a line: p (BLOCK_M, N_STEP), 4 keys in a row a vector.
 *   turning   A work-item makes of vectors of p what is shown of them, in one short loop that has
 *             the options of score.h. Lanes side by side have keys side by side, here as in masks
 *             and biases.
 *   writing   A line of p is written by lanes that are side by side, each element once, by vectors
 *             where lines of the result are aligned.
 *
 * Block lists are asked once a block of keys, by one work-item, which leaves a bit a key. */
#ifndef CLATTN_TILE_WEIGHTS_H
#define CLATTN_TILE_WEIGHTS_H

#include "common/tile_product.h"

#if BLOCK_N > 64
#error "BLOCK_N must be at most 64: a key a bit"
#endif

/* Lines of p, and vectors of one, of all, and of a work-item. */
#define W_STEP     N_STEP
#define W_PIECES   (BLOCK_N / VEC)
#define W_VECTORS  (BLOCK_M * W_PIECES)
#define W_OWN      (W_VECTORS / WG_SIZE)
#define W_STAGE    (STAGE > BLOCK_M * W_STEP ? STAGE : BLOCK_M * W_STEP)
#define W_LINE(n)  ((n) / W_PIECES)
#define W_PIECE(n) ((n) % W_PIECES * VEC)

/* Keys of a block that a list has, and where in the list of its queries the group is. */
typedef struct listed_keys {
    run r;
    int found;  /* 0: there is no further run */
    ulong keys; /* bit j: key `start` + j */
} listed_keys;

/* The arrays of a tile, to be declared in the kernel. */
#define WEIGHTS_ARRAYS                                                                             \
    __local float tile_stage[W_STAGE] __attribute__((aligned(16)));                                \
    __local float *const tile_p = tile_stage;                                                      \
    __local long tile_lines[V_LINES];                                                              \
    __local float tile_row_values[2 * QUERIES];                                                    \
    __local int tile_seen[2 * QUERIES];                                                            \
    __local listed_keys tile_listed

/* A tile of one batch entry, in the kernel that declares WEIGHTS_ARRAYS. */
#define TILE_OF_WEIGHTS(batch_)                                                                    \
    {                                                                                              \
        TILE_OF_KEYS, .batch = batch_, .queries = queries_of(row, &base, q_lengths, batch_),       \
                      .token = keys_of(row, &base, kv_lengths, batch_).first,                      \
                      .row_values = tile_row_values, .seen = tile_seen                             \
    }

/* ---- what is there --------------------------------------------------------------------------- */

/* Where the rows of a head are and what is known of them. Of products that are shown for
 * themselves a query sees all keys. */
INLINE void find_rows(const tile *x, const pairs *of, uint stage, __global const float *stats)
{
    find_queries(x);
    stats += tensor_begin(x->row, x->base, CLATTN_T_STATS, x->batch, x->head);
    for (int r = x->me; r < QUERIES; r += WG_SIZE) {
        const int there = is_query(x, r);
        const float2 end = there ? vload2(x->first + r, stats) : (float2)(0.0f);
        bounds see = bounds_of_query(x, of, r);
        if (stage < CLATTN_STAGE_VISIBLE) {
            see.from = 0;
            see.to = there ? of->keys.count : 0;
        }
        keep_query(x, r, softmax_shift(end.s0), softmax_normaliser(end.s1));
        keep_seen(x, r, see);
    }
}

/* Those that some row may see. */
INLINE bounds seen_by_tile(const tile *x, const pairs *of, uint stage)
{
    const int last = min(x->first + x->rows, x->queries.count) - 1;
    bounds see = {0, 0};
    if (x->first > last)
        return see;
    see.from = stage < CLATTN_STAGE_VISIBLE ? 0 : keys_from(of, x->first);
    see.to = stage < CLATTN_STAGE_VISIBLE ? of->keys.count : keys_to(of, last);
    return see;
}

/* Bits `from` to `to` - 1, one or more of 64. */
INLINE ulong bits_between(int from, int to)
{
    return ~(ulong)0 >> (64 - (to - from)) << from;
}

/* Member by member: Oclgrind ends at structs that are copied from local memory. */
INLINE run kept_run(__local const listed_keys *kept)
{
    run r;
    r.begin = kept->r.begin;
    r.end = kept->r.end;
    r.at = kept->r.at;
    r.last = kept->r.last;
    return r;
}

INLINE void keep_run(run r, __local listed_keys *kept)
{
    kept->r.begin = r.begin;
    kept->r.end = r.end;
    kept->r.at = r.at;
    kept->r.last = r.last;
}

/* To the block of keys at `start`; `again`: the list is another, or goes back. Of one work-item. */
INLINE void list_keys(const tile *x, const pairs *of, int start, int again,
                      __local listed_keys *kept)
{
    const int n_kv = x->row->n_kv, end = start + min(BLOCK_N, n_kv - start);
    run r = again ? run_init() : kept_run(kept);
    int found = again ? next_run(of, &r, x->first, 0, n_kv) : kept->found;
    ulong keys = 0;
    while (found && r.begin < end) {
        if (r.end > start)
            keys |= bits_between(max(r.begin, start) - start, min(r.end, end) - start);
        if (r.end > end)
            break;
        found = next_run(of, &r, x->first, 0, n_kv);
    }
    keep_run(r, kept);
    kept->found = found;
    kept->keys = keys;
}

/* Finds rows and keys of a block, for a head and stage. Ends with a barrier. */
INLINE void find_block(const tile *x, const pairs *of, uint stage, int start, int again,
                       __local listed_keys *listed, __global const float *stats)
{
    find_rows(x, of, stage, stats);
    find_key_lines(x, start, of->keys.count);
    if (x->me == 0)
        list_keys(x, of, start, again, listed);
    if (x->me == 0 && stage < CLATTN_STAGE_VISIBLE)
        listed->keys = ~(ulong)0;
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

/* What is shown of products of query r with the keys `start` + j + lane: CLATTN_STAGE_*. Of what
 * isn't there, or isn't visible, that is -INFINITY, or a weight of 0. */
INLINE float4 shown_lanes(const tile *x, const pairs *of, uint stage, int r, int start, int j,
                          ulong listed, float4 product)
{
    const float4 hidden = (float4)(-INFINITY);
    const int i = query_of_row(x, r);
    const bounds see = seen_by(x, r);
    const int4 in_list = ((int4)((int)(listed >> j)) >> LANES & 1) != 0;
    float4 s = product * x->row->scale;
#if FULL
    if (stage >= CLATTN_STAGE_CAPPED)
        s = cap_scores(of, s);
    if (stage < CLATTN_STAGE_VISIBLE) {
        const int4 there = LANES + j < (int4)(see.to - start);
        return there ? s : hidden;
    }
#endif
    s = visible_scores(of, i, see, start, j, s);
    s = in_list ? s : hidden;
    if (stage < CLATTN_STAGE_WEIGHTS)
        return s;
    const float4 d = s - shift_of(x, r);
    float4 w = exp_of_lanes(d > (float4)(0.0f) ? (float4)(0.0f) : d) * normaliser_of(x, r);
#if FULL
    const uint dropped = CLATTN_F_DROPOUT | CLATTN_F_WEIGHTS_DROPPED;
    if ((of->flags & dropped) == dropped)
        w = drop_lanes(of, w, i, start + j);
#endif
    return s == hidden ? (float4)(0.0f) : w;
}

/* Products of the block in p, each vector turned by the work-item that has it. Begins behind a
 * barrier, and ends without one; what isn't seen at all isn't multiplied. */
INLINE void show_block(const tile *x, const pairs *of, uint stage, int start,
                       __local const listed_keys *listed)
{
    const ulong keys = listed->keys;
    const bounds see = seen_by_tile(x, of, stage);
    const int is_seen =
        stage <= CLATTN_STAGE_WEIGHTS && keys && see.to > start && see.from - start < BLOCK_N;
    float4 s[COLS * VEC][ROWS / 4];
    multiply_block(x, OF_SCORES, start, is_seen ? x->row->head_dim : 0, s);
#pragma unroll
    for (int c = 0; c < COLS; c++)
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++) {
            const float4 a = s[c * VEC][r], b = s[c * VEC + 1][r];
            const float4 d = s[c * VEC + 2][r], e = s[c * VEC + 3][r];
            __local float *to = x->p + (x->y * ROWS + r * 4) * W_STEP + (x->x * COLS + c) * VEC;
            LOCAL_VECTOR(to) = (float4)(a.s0, b.s0, d.s0, e.s0);
            LOCAL_VECTOR(to + W_STEP) = (float4)(a.s1, b.s1, d.s1, e.s1);
            LOCAL_VECTOR(to + 2 * W_STEP) = (float4)(a.s2, b.s2, d.s2, e.s2);
            LOCAL_VECTOR(to + 3 * W_STEP) = (float4)(a.s3, b.s3, d.s3, e.s3);
        }
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
    for (uint n = x->me; n < W_VECTORS; n += WG_SIZE) {
        __local float *p = x->p + W_LINE(n) * W_STEP + W_PIECE(n);
        LOCAL_VECTOR(p) =
            shown_lanes(x, of, stage, W_LINE(n), start, W_PIECE(n), keys, LOCAL_VECTOR(p));
    }
}

#endif
