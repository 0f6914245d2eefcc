/* Scores of a split of the keys with a few queries, see decode_split.h. */
#ifndef CLATTN_DECODE_SCORES_H
#define CLATTN_DECODE_SCORES_H

#include "common/decode_rows.h"

/* The sums of the lower and the upper halves of two vectors, lane by lane in turn. */
INLINE vfloat half_sums(vfloat a, vfloat b)
{
    return LOWER(a, b) + UPPER(a, b);
}

/* The same of four vectors, `step` apart, until one is left. */
INLINE vfloat sums_of_four(const vfloat *x, const int step)
{
    return half_sums(half_sums(x[0], x[2 * step]), half_sums(x[step], x[3 * step]));
}

/* The same of x (count); `count` is a constant, 1, 2, 4, 8 or 16. Of all keys, in one step or two,
 * this leaves in lane c the sum of the lanes of key c, halves added to halves. */
INLINE vfloat sums_of_vectors(const vfloat *x, const int count)
{
    if (count == 1)
        return x[0];
    if (count == 2)
        return half_sums(x[0], x[1]);
    if (count == 4)
        return sums_of_four(x, 1);
    if (count == 8)
        return half_sums(sums_of_four(x, 2), sums_of_four(x + 1, 2));
    return half_sums(half_sums(sums_of_four(x, 4), sums_of_four(x + 2, 4)),
                     half_sums(sums_of_four(x + 1, 4), sums_of_four(x + 3, 4)));
}

/* Where VEC keys are, and their scales by group; `ahead` bytes behind them is what to prefetch. */
typedef struct places {
    __global const uchar *at[VEC];
    long ahead;
    int paged;
    __global const float *scales[VEC];
    long inner;
} places;

/* The piece from dimension d on of one of the keys. */
INLINE void load_key(const places *keys, int c, int d, vfloat x[PIECES])
{
    load_piece(keys->at[c], d, GROUP_SCALE(keys->scales[c], keys->inner, d), x);
}

/* The dimensions from `d` on of the last piece of a row; those of the piece before are 0, as they
 * are in queries: numbers that aren't finite would show. */
INLINE void load_end(const places *keys, int c, int d, int dim, vfloat x[PIECES])
{
    load_key(keys, c, dim - STEP, x);
#if STORAGE < CLATTN_D_I8
    x[0] = LANES < (vint)(d - (dim - VEC)) ? (vfloat)(0.0f) : x[0];
#endif
}

/* Adds the products of ROWS queries, from dimension `d` on, with one key's piece. */
INLINE void add_products(const float *q, int d, const vfloat k[PIECES], int c,
                         vfloat sum[ROWS][KEYS])
{
#pragma unroll
    for (int n = 0; n < PIECES; n++)
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            sum[r][c] = fma(load_vector(q + r * DIM_MAX + d + n * VEC), k[n], sum[r][c]);
}

/* The same with key `key` of the places, which is number c of its group, from memory. */
INLINE void add_key(const float *q, int d, const places *keys, int key, int c,
                    vfloat sum[ROWS][KEYS])
{
    vfloat k[PIECES];
    load_key(keys, key, d, k);
    add_products(q, d, k, c, sum);
}

/* Prefetches the line that is `ahead` behind the piece from dimension d on of one of the keys,
 * unless whole rows are prefetched. */
INLINE void prefetch_key(const places *keys, int key, int d)
{
    if (WIDE)
        prefetch_lines(keys->at[key] + bytes_of(d, STORAGE), keys->ahead, keys->paged);
}

#if IN_TURN
/* The first `whole` dimensions of a key, one after the other. */
INLINE void add_whole_key(const float *q, int whole, const places *keys, int key, int c,
                          vfloat sum[ROWS][KEYS])
{
    int d = 0;
    for (; d + ASKED_PIECES * STEP <= whole; d += ASKED_PIECES * STEP) {
        prefetch_key(keys, key, d);
#pragma unroll
        for (int n = 0; n < ASKED_PIECES; n++)
            add_key(q, d + n * STEP, keys, key, c, sum);
    }
    if (ASKED_PIECES == 1 || d == whole)
        return;
    prefetch_key(keys, key, d);
    for (; d < whole; d += STEP)
        add_key(q, d, keys, key, c, sum);
}
#endif

/* Products of ROWS queries with the keys of a group, lane by lane. */
INLINE void product_keys(const float *q, int dim, const places *keys, int group,
                         vfloat sum[ROWS][KEYS])
{
    const int whole = dim - dim % STEP;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < KEYS; c++)
            sum[r][c] = 0.0f;
#if IN_TURN
#pragma unroll
    for (int c = 0; c < KEYS; c++)
        add_whole_key(q, whole, keys, KEY_OF(group, c), c, sum);
#else
    for (int d = 0; d < whole; d += STEP)
#pragma unroll
        for (int c = 0; c < KEYS; c++) {
            if (d / VEC % ASKED_PIECES == 0)
                prefetch_key(keys, KEY_OF(group, c), d);
            add_key(q, d, keys, KEY_OF(group, c), c, sum);
        }
#endif
    if (whole == dim)
        return;
#pragma unroll
    for (int c = 0; c < KEYS; c++) {
        vfloat k[PIECES];
        load_end(keys, KEY_OF(group, c), whole, dim, k);
        add_products(q, whole, k, c, sum);
    }
}

/* Scores of the rows of a tile with the VEC keys from `key` on. */
INLINE void score_keys(const decode *x, int tile, int key, const places *keys)
{
    vfloat part[ROWS][GROUPS];
#pragma unroll
    for (int c = 0; c < GROUPS; c++) {
        vfloat sum[ROWS][KEYS];
        product_keys(x->q + tile * DIM_MAX, x->row->head_dim, keys, c, sum);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            part[r][c] = sums_of_vectors(sum[r], KEYS);
    }
#if ROW_SCALES
    const vfloat scale = load_vector(x->k_scale + key - x->begin) * x->row->scale;
#else
    const vfloat scale = x->row->scale;
#endif
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        store_vector(IN_ORDER(sums_of_vectors(part[r], GROUPS)) * scale,
                     x->p + (tile + r) * CLATTN_SPLIT + key - x->begin);
}

/* Where the VEC keys from `key` on are; in the place of those that nobody sees, the next one that
 * is seen. */
INLINE void place_keys(const decode *x, int key, places *to)
{
    const rows_of *keys = &x->keys;
    const int first = max(key, x->from), last = key + min(VEC, x->to - key) - 1;
    const int side_by_side = (last < keys->n_past || first >= keys->n_past) &&
                             (keys->page_size == 0 || keys->page_size % VEC == 0);
    __global const uchar *begin = address_of(keys, first);
    const long step = bytes_of(keys->step[first < keys->n_past ? 0 : 1], STORAGE);
#if GROUP_SCALES
    __global const float *scales = keys->scales + scale_begin(keys, first);
    to->inner = keys->scale_inner;
#endif
#pragma unroll
    for (int c = 0; c < VEC; c++) {
        const int j = clamp(key + c, first, last);
        to->at[c] = side_by_side ? begin + (j - first) * step : address_of(keys, j);
#if GROUP_SCALES
        to->scales[c] = side_by_side ? scales + (j - first) * keys->scale_step
                                     : keys->scales + scale_begin(keys, j);
#endif
    }
    to->paged = keys->page_size > 0;
    const int ahead = min(AHEAD(x->row->head_dim, to->paged), x->to - 1 - key);
    to->ahead = address_of(keys, key + ahead) - to->at[0];
}

INLINE void score_split(const decode *x)
{
#if ROW_SCALES
    load_scales(&x->keys, x->begin, x->from, x->to, x->k_scale);
    load_scales(&x->values, x->begin, x->from, x->to, x->v_scale);
#endif
    for (int key = x->from / VEC * VEC; key < x->to; key += VEC) {
        places keys;
        place_keys(x, key, &keys);
        touch_pages(x, &x->keys, key, VEC);
        for (int c = 0; !WIDE && c < VEC; c++)
            prefetch_row(keys.at[c], bytes_of(x->row->head_dim, STORAGE), keys.ahead);
        for (int tile = 0; tile < x->rows; tile += ROWS) {
            score_keys(x, tile, key, &keys);
            keys.ahead = 0;
        }
    }
}

#endif
