/* Scores, softmax and values of a tile, block of keys by block of keys, and its results; see
 * tile.h. */
#ifndef CLATTN_TILE_ATTENTION_H
#define CLATTN_TILE_ATTENTION_H

#include "common/tile_stage.h"

/* ---- scores ---------------------------------------------------------------------------------- */

/* How often a work-item whose rows are all beyond the last goes through a loop of `count`. */
INLINE int if_rows(const tile *x, int count)
{
    return x->y * ROWS < x->rows ? count : 0;
}

/* s (keys, rows of 4) += products of a slice. */
INLINE void product_slice(const tile *x, float4 s[COLS * VEC][ROWS / 4])
{
    __local const float *q = x->stage + x->y * ROWS;
    __local const float *k = x->stage + BLOCK_K * Q_STEP + x->x * COLS * VEC;
#pragma unroll 1
    for (int d = 0; d < if_rows(x, BLOCK_K); d++, q += Q_STEP, k += K_STEP) {
        float4 a[ROWS / 4];
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++)
            a[r] = LOCAL_VECTOR(q + r * 4);
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const float4 b = LOCAL_VECTOR(k + c * VEC);
#pragma unroll
            for (int r = 0; r < ROWS / 4; r++) {
                s[c * VEC][r] = fma(a[r], (float4)(b.s0), s[c * VEC][r]);
                s[c * VEC + 1][r] = fma(a[r], (float4)(b.s1), s[c * VEC + 1][r]);
                s[c * VEC + 2][r] = fma(a[r], (float4)(b.s2), s[c * VEC + 2][r]);
                s[c * VEC + 3][r] = fma(a[r], (float4)(b.s3), s[c * VEC + 3][r]);
            }
        }
    }
}

/* Products of all rows with the keys from `start` on, before `end`, into p. Ends without a
 * barrier. */
INLINE void score_block(const tile *x, int start, int end)
{
    float4 s[COLS * VEC][ROWS / 4];
    find_keys(x, start, end);
#pragma unroll
    for (int c = 0; c < COLS * VEC; c++)
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++)
            s[c][r] = (float4)(0.0f);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int d = 0; d < x->row->head_dim; d += BLOCK_K) {
        stage_slice(x, start, d);
        barrier(CLK_LOCAL_MEM_FENCE);
        product_slice(x, s);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#pragma unroll
    for (int c = 0; c < COLS * VEC; c++)
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++)
            LOCAL_VECTOR(x->p + (x->x * COLS * VEC + c) * P_STEP + x->y * ROWS + r * 4) = s[c][r];
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* The work-item's row: which keys its query sees. */
typedef struct bounds {
    int from, to;
} bounds;

INLINE float4 load_column(__local const float *p)
{
    return (float4)(p[0], p[P_STEP], p[2 * P_STEP], p[3 * P_STEP]);
}

INLINE void store_column(float4 x, __local float *p)
{
    p[0] = x.s0;
    p[P_STEP] = x.s1;
    p[2 * P_STEP] = x.s2;
    p[3 * P_STEP] = x.s3;
}

#if FULL
/* Dropout of weights of query i with keys `key` + lane, `key` a multiple of 4. */
INLINE float4 drop_lanes(const pairs *of, float4 w, int i, int key)
{
    vuint word[4];
    random_words(word, key / 64, key % 16, i, of->head, of->batch, of->key);
    const int n = key / 16 % 4;
    const vuint drawn = n < 2 ? (n == 0 ? word[0] : word[1]) : (n == 2 ? word[2] : word[3]);
    return drawn < (vuint)(of->row->drop_below) ? (float4)(0.0f) : w * of->row->kept;
}
#endif

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

/* The products in p into weights; `factors` gets what sums so far are to be multiplied with. */
INLINE void softmax_block(const tile *x, bounds see, int start, results *to)
{
    float m = finish_part(x, see, start);
    x->parts[x->me] = m;
    barrier(CLK_LOCAL_MEM_FENCE);
    m = to->m;
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

INLINE void load_rows(__local const float *from, float to[ROWS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r += 4) {
        const float4 x = LOCAL_VECTOR(from + r);
        to[r] = x.s0;
        to[r + 1] = x.s1;
        to[r + 2] = x.s2;
        to[r + 3] = x.s3;
    }
}

INLINE void rescale(const tile *x, results *to)
{
    float factor[ROWS];
    load_rows(x->factors + x->y * ROWS, factor);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c++)
            to->o[r][c] *= factor[r];
}

/* `careful`, a constant: weights of -0 are left out. */
INLINE void value_slice(const tile *x, int key, int count, const int careful, results *to)
{
    __local const float *p = x->p + key * P_STEP + x->y * ROWS;
    __local const float *v = x->stage + x->x * VEC;
#pragma unroll 1
    for (int j = 0; j < count; j++, p += P_STEP, v += DIM_MAX) {
        float w[ROWS];
        load_rows(p, w);
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c++) {
            const float4 e = LOCAL_VECTOR(v + c * GRID_X * VEC);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                const int left_out = careful && as_uint(w[r]) == 0x80000000u;
                to->o[r][c] = fma((float4)(w[r]), left_out ? (float4)(0.0f) : e, to->o[r][c]);
            }
        }
    }
}

/* Weights in p times `keys` values from `start` on. */
INLINE void value_block(const tile *x, int start, int keys, results *to)
{
    for (int key = 0; key < keys; key += VALUE_KEYS) {
        const int count = min(VALUE_KEYS, keys - key);
        stage_values(x, start, key, count);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (key == 0)
            rescale(x, to);
        /* One loop after the other, one of them for nothing: a branch would double the sums. */
        const int odd = *x->odd;
        value_slice(x, key, if_rows(x, odd ? 0 : count), 0, to);
        value_slice(x, key, if_rows(x, odd ? count : 0), 1, to);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

/* ---- keys, block by block -------------------------------------------------------------------- */

/* Where a group is in the keys that its rows may see. */
typedef struct walk {
    run r;
    int from, to; /* bounds of all rows */
    int start;    /* of the block of keys, a multiple of BLOCK_N; `to`: that was the last */
} walk;

/* To the first block of the next run; `first`, a constant, of the first. The list of blocks is that
 * of any row. */
INLINE void next_run_of(const tile *x, const int first, walk *w)
{
    int found = first && w->from < w->to;
    w->r.begin = w->from;
    w->r.end = w->to;
    if (x->row->flags & CLATTN_F_BLOCKS) {
        const pairs of = pairs_of_row(x, 0);
        found = next_run(&of, &w->r, query_of_row(x, 0), w->from, w->to);
    }
    w->start = found ? w->r.begin / BLOCK_N * BLOCK_N : w->to;
}

INLINE walk walk_init(const tile *x, int from, int to)
{
    walk w;
    w.r = run_init();
    w.from = from;
    w.to = to;
    next_run_of(x, 1, &w);
    return w;
}

INLINE void next_block(const tile *x, walk *w)
{
    if (w->r.end - w->start > BLOCK_N) /* the sum may be beyond what an int holds */
        w->start += BLOCK_N;
    else
        next_run_of(x, 0, w);
}

/* A block of keys; `see`: what row `own` sees of all keys. */
INLINE void attend_block(const tile *x, bounds see, const walk *w, results *to)
{
    see.from = max(see.from, w->r.begin);
    see.to = min(see.to, w->r.end);
    score_block(x, w->start, w->r.end);
    barrier(CLK_LOCAL_MEM_FENCE);
    softmax_block(x, see, w->start, to);
    value_block(x, w->start, min(BLOCK_N, w->r.end - w->start), to);
}

/* All keys from `from` to `to` - 1 that lists of blocks have. The loop has a condition of its own:
 * compilers that make loops of what is between barriers can't make them of one that goes through
 * next_run. */
INLINE void attend_keys(const tile *x, const pairs *of, int from, int to, results *of_rows)
{
    walk w = walk_init(x, from, to);
    bounds see = {0, 0};
    if (is_row(x, x->own)) {
        see.from = keys_from(of, query_of_row(x, x->own));
        see.to = keys_to(of, query_of_row(x, x->own));
    }
    while (w.start < w.to) {
        attend_block(x, see, &w, of_rows);
        next_block(x, &w);
    }
}

/* What a work-item knows of itself, and a group that has seen nothing yet; ends with a barrier. */
INLINE void begin_tile(tile *x, results *to)
{
    const uint me = (uint)get_local_id(0);
    x->me = me;
    x->own = me % BLOCK_M;
    x->part = me / BLOCK_M;
    x->x = me % GRID_X;
    x->y = me / GRID_X;
    to->m = -INFINITY;
    to->l = 0.0f;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c++)
            to->o[r][c] = (float4)(0.0f);
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

/* Whether row r has results to be written. */
INLINE int is_written(const tile *x, int r)
{
    return x->row->flags & CLATTN_F_RAGGED ? is_row(x, r) : r < x->rows;
}

/* 4 elements of a row, `count` of which are there. */
INLINE void write_vector(float4 x, __global void *to, long at, long step, int count, uint dtype)
{
    if (step == 1 && count >= VEC) {
        store_elements(x, to, at, dtype);
        return;
    }
#pragma unroll 1
    for (int c = 0; c < min(count, VEC); c++)
        store_element(c < 2 ? (c == 0 ? x.s0 : x.s1) : (c == 2 ? x.s2 : x.s3), to, at + c * step,
                      dtype);
}

/* Vector c of row r of the work-item, neither of them a constant. */
INLINE float4 result_at(const results *of, int r, int c)
{
    float4 o = 0.0f;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < VALUE_COLS; j++)
            o = r == i && c == j ? of->o[i][j] : o;
    return o;
}

/* The work-item's rows, times their factors, to OUT, if they are there; of ragged sequences those
 * alone that are queries of the batch entry. */
INLINE void write_rows(const tile *x, const results *of, __global void *out)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_OUT];
    const int dim = x->row->value_dim;
#pragma unroll 1
    for (int n = 0; n < ROWS; n++) {
        const int r = x->y * ROWS + n;
        if (!is_written(x, r))
            continue;
        const float factor = x->factors[r];
        const long begin =
            tensor_begin(x->row, x->base, CLATTN_T_OUT, x->batch, head_of_row(x, r)) +
            (x->queries.first + query_of_row(x, r)) * t->stride[2];
#pragma unroll 1
        for (int c = 0; c < VALUE_COLS; c++) {
            const int d = (c * GRID_X + x->x) * VEC;
            write_vector(result_at(of, n, c) * factor, out, begin + d * t->stride[3], t->stride[3],
                         dim - d, x->row->dtype[CLATTN_T_OUT]);
        }
    }
}

/* LSE and STATS of row `own`. */
INLINE void write_sums(const tile *x, softmax_end end, __global float *lse, __global float *stats)
{
    const uint flags = x->row->flags;
    const int head = head_of_row(x, x->own), i = query_of_row(x, x->own);
    if (flags & CLATTN_F_LSE)
        lse[tensor_begin(x->row, x->base, CLATTN_T_LSE, x->batch, head) +
            (x->queries.first + i) * x->row->tensor[CLATTN_T_LSE].stride[2]] =
            softmax_lse(end.m, end.l);
    if (flags & CLATTN_F_STATS)
        vstore2((float2)(end.m, end.l), i,
                stats + tensor_begin(x->row, x->base, CLATTN_T_STATS, x->batch, head));
}

#endif
