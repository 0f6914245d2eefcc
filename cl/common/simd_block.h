/* A block of queries of one head against keys in panels: what the kernels of the simd family share.
 * One work-item does a block: register tiles of ROWS queries by COLS vectors of keys. */
#ifndef CLATTN_SIMD_BLOCK_H
#define CLATTN_SIMD_BLOCK_H

#include "common/simd_score.h"

/* BLOCK_M: most queries of a block; a multiple of ROWS. */
#ifndef BLOCK_M
#define BLOCK_M 48
#endif
/* BLOCK_N: keys of a block; a multiple of COLS * VEC and of 64, at most 32 panels. */
#ifndef BLOCK_N
#define BLOCK_N 256
#endif
/* DIM_MAX: bound of head_dim and value_dim; 64, 128, 256 or 576. */
#ifndef DIM_MAX
#define DIM_MAX 64
#endif
/* FULL: 1 with the options beyond bounds: whatever changes scores or weights pair by pair. */
#ifndef FULL
#define FULL 0
#endif

/* Elements from row to row of scores, weights and their gradients: a cache line more than a block
 * of keys, because rows a power of two apart would share a few sets of the first cache. */
#define SCORE_STEP (BLOCK_N + 16)

#define TILES (BLOCK_M / ROWS)
#if BLOCK_M % ROWS != 0 || BLOCK_N % PANEL != 0 || BLOCK_N % 64 != 0 || DIM_MAX % 16 != 0
#error "BLOCK_M must be a multiple of ROWS, BLOCK_N of COLS * VEC and 64, DIM_MAX of 16"
#endif
#if BLOCK_N / PANEL > 32
#error "BLOCK_N must be at most 32 * COLS * VEC"
#endif

/* What one work-group works on. Arrays are private memory; rows beyond `rows` are padding. */
typedef struct block {
    pairs of;
    __global const float *k_panels; /* of this head */
    long panel_step;                /* elements from panel to panel */
    int q_begin, rows;              /* queries */
    int tiled_rows;                 /* rows, rounded up to whole tiles */
    float scale;                    /* of the products; 1: none */
    float *q;                       /* (BLOCK_M, DIM_MAX) */
    float *p;                       /* (BLOCK_M, SCORE_STEP) scores, or weights relative to m */
    vfloat *most;                   /* (BLOCK_M) largest scores of the block of keys, by lane */
    uint *live; /* (TILES) bit p: panel p of the block of keys has visible pairs */
} block;

/* The arrays of a block, to be declared in the kernel. */
#define BLOCK_ARRAYS                                                                               \
    float block_q[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));                                 \
    float block_p[BLOCK_M * SCORE_STEP] __attribute__((aligned(64)));                              \
    vfloat block_most[BLOCK_M];                                                                    \
    uint block_live[TILES]

INLINE tile_keys keys_of_tile(const block *b, int tile, const run *r)
{
    const int first = b->q_begin + tile, last = b->q_begin + min(tile + ROWS, b->rows) - 1;
    tile_keys keys;
    keys.from = max(keys_from(&b->of, first), r->begin);
    keys.all_from = max(keys_from(&b->of, last), r->begin);
    keys.all_to = min(keys_to(&b->of, first), r->end);
    keys.to = min(keys_to(&b->of, last), r->end);
    return keys;
}

/* Rows of a tensor of queries into private memory, to (BLOCK_M, DIM_MAX), rows of padding 0. */
OUTLINE void load_rows(const block *b, __global const void *from, long begin, int tensor, int dim,
                       float *to)
{
    __global const clattn_problem_row *row = b->of.row;
    const long step = row->tensor[tensor].stride[2], inner = row->tensor[tensor].stride[3];
    const uint dtype = row->dtype[tensor];
    const int rows = b->rows, whole = dtype == CLATTN_D_F32 && inner == 1 ? dim / VEC * VEC : 0;
    begin += (long)(b->of.queries.first + b->q_begin) * step;
    for (int r = 0; r < b->tiled_rows; r++) {
        int d = 0;
        for (; d < whole && r < rows; d += VEC)
            store_vector(load_vector((__global const float *)from + begin + r * step + d),
                         to + r * DIM_MAX + d);
        for (; d < dim; d += VEC)
            store_vector(gather_elements(from, begin + r * step + d * inner, inner,
                                         r < rows ? dim - d : 0, dtype),
                         to + r * DIM_MAX + d);
    }
}

INLINE void load_queries(const block *b, __global const void *q, long begin)
{
    load_rows(b, q, begin, CLATTN_T_Q, b->of.row->head_dim, b->q);
}

/* One dimension of the products of a row tile with the first `cols` vectors of a panel, a constant.
 */
INLINE void product_step(const float *q, __global const float *panel, const int cols,
                         vfloat sum[ROWS][COLS])
{
    vfloat k[COLS];
#pragma unroll
    for (int c = 0; c < cols; c++)
        k[c] = load_vector(panel + c * VEC);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const vfloat x = q[r * DIM_MAX];
#pragma unroll
        for (int c = 0; c < cols; c++)
            sum[r][c] = fma(x, k[c], sum[r][c]);
    }
}

/* Products of rows q (ROWS, DIM_MAX) with `seen` or more keys of a panel of `dim` dimensions, while
 * `ahead` is fetched. */
INLINE void panel_product(const float *q, __global const float *panel, int dim, int seen,
                          lines ahead, vfloat sum[ROWS][COLS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            sum[r][c] = 0.0f;
    const float *end = q + dim;
    if (seen <= COLS / 2 * VEC)
        for (; q < end; q++, panel += PANEL)
            product_step(q, panel, COLS / 2, sum);
    for (; q < end && ahead.left > 0; q++, panel += PANEL) {
        prefetch_line(&ahead);
        product_step(q, panel, COLS, sum);
    }
    for (; q < end; q++, panel += PANEL)
        product_step(q, panel, COLS, sum);
}

/* Scaled products of a row tile with `seen` or more keys of the panel that begins at key `key`,
 * while `ahead` is fetched. */
INLINE void product_tile(const block *b, int tile, int key, int seen, lines ahead,
                         vfloat sum[ROWS][COLS])
{
    panel_product(b->q + tile * DIM_MAX, b->k_panels + key / PANEL * b->panel_step,
                  b->of.row->head_dim, seen, ahead, sum);
    if (b->scale == 1.0f)
        return;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            sum[r][c] *= b->scale;
}

/* Scores in registers into s (ROWS, SCORE_STEP), the rows' largest ones into `most`. Returns
 * whether something is visible for certain: NaN isn't looked at. */
INLINE int keep_scores(const block *b, int tile, vfloat sum[ROWS][COLS], float *s)
{
    vfloat top = -INFINITY;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        vfloat most = -INFINITY;
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            store_vector(sum[r][c], s + r * SCORE_STEP + c * VEC);
            most = larger(sum[r][c], most);
        }
        b->most[tile + r] = larger(most, b->most[tile + r]);
        top = larger(most, top);
    }
    return any(top > (vfloat)(-INFINITY));
}

INLINE int is_edge(int key, const tile_keys *keys)
{
    return key < keys->all_from || key + PANEL > keys->all_to;
}

#if FULL

/* What hides pairs of a tile, as far as it is known before its products: TILE_*. */
INLINE int hides_of_tile(const block *b, int tile, int key, const tile_keys *keys)
{
    const int first = b->q_begin + tile, last = b->q_begin + min(tile + ROWS, b->rows) - 1;
#if MASK_FUNCTION && defined(CLATTN_VISIBLE_TILE)
    const int offset = (int)b->of.offset;
    if (!clattn_user_visible_tile(b->of.batch, b->of.head, first + offset, last + 1 + offset,
                                  max(key, keys->from), min(key + PANEL, keys->to), b->of.params))
        return TILE_HIDDEN;
#endif
    const int edge = is_edge(key, keys) ? TILE_EDGE : 0;
    return b->of.flags & CLATTN_F_MASK ? edge | mask_of_tile(&b->of, first, last, key) : edge;
}

/* Whether the tile can be finished in registers: whole vectors of whole rows. */
INLINE int is_regular(const block *b, int tile, int key)
{
    const pairs *of = &b->of;
    if (SCORE_FUNCTION || MASK_FUNCTION)
        return 0;
    if (!(of->flags & (CLATTN_F_MASK | CLATTN_F_BIAS)))
        return 1;
    return key + PANEL <= of->keys.count && tile + ROWS <= b->rows &&
           (!(of->flags & CLATTN_F_MASK) || of->row->tensor[CLATTN_T_MASK].stride[3] == 1) &&
           (!(of->flags & CLATTN_F_BIAS) || (of->row->tensor[CLATTN_T_BIAS].stride[3] == 1 &&
                                             of->row->dtype[CLATTN_T_BIAS] == CLATTN_D_F32));
}

/* From scaled products to scores. */
INLINE void finish_regular(const block *b, int tile, int key, const tile_keys *keys, int hides,
                           vfloat sum[ROWS][COLS])
{
    const pairs *of = &b->of;
    const int i = b->q_begin + tile;
    if (of->flags & CLATTN_F_SOFTCAP)
        cap_tile(of, sum);
    if (of->flags & CLATTN_F_ALIBI)
        add_alibi_tile(of, i, key, sum);
    if (of->flags & CLATTN_F_BIAS)
        add_bias_tile(of, i, key, sum);
    if (hides & TILE_EDGE)
        hide_beyond(of, i, key, keys, sum);
    if (hides & TILE_MASKED)
        mask_tile(of, i, key, sum);
}

/* The same, vector by vector, from products in s (ROWS, SCORE_STEP). */
INLINE int finish_irregular(const block *b, int tile, int key, const tile_keys *keys, float *s)
{
    vint alive = 0;
    for (int r = 0; r < min(ROWS, b->rows - tile); r++) {
        const int i = b->q_begin + tile + r;
        const int from = max(keys_from(&b->of, i), keys->from);
        const int to = min(keys_to(&b->of, i), keys->to);
        vfloat most = -INFINITY;
        for (int c = 0; c < PANEL; c += VEC) {
            const vfloat capped = cap_scores(&b->of, load_vector(s + r * SCORE_STEP + c));
            const vfloat x = finish_scores(&b->of, capped, i, key + c, from, to);
            store_vector(x, s + r * SCORE_STEP + c);
            alive |= x != (vfloat)(-INFINITY);
            most = larger(x, most);
        }
        b->most[tile + r] = larger(most, b->most[tile + r]);
    }
    return any(alive);
}

/* Scores of a row tile with a panel into s (ROWS, SCORE_STEP). Returns whether anything is visible.
 */
INLINE int score_tile(const block *b, int tile, int key, const tile_keys *keys, float *s)
{
    vfloat sum[ROWS][COLS];
    const int hides = hides_of_tile(b, tile, key, keys);
    if (hides & TILE_HIDDEN)
        return 0;
    product_tile(b, tile, key, keys->to - key, next_lines(&b->of, b->q_begin + tile, key), sum);
    if (is_regular(b, tile, key)) {
        finish_regular(b, tile, key, keys, hides, sum);
        return keep_scores(b, tile, sum, s) || some_visible(sum);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            store_vector(sum[r][c], s + r * SCORE_STEP + c * VEC);
    return finish_irregular(b, tile, key, keys, s);
}

#else

/* The same where only bounds hide. */
INLINE int score_tile(const block *b, int tile, int key, const tile_keys *keys, float *s)
{
    vfloat sum[ROWS][COLS];
    product_tile(b, tile, key, keys->to - key, no_lines(), sum);
    if (is_edge(key, keys))
        hide_beyond(&b->of, b->q_begin + tile, key, keys, sum);
    keep_scores(b, tile, sum, s);
    return 1;
}

#endif

/* Scores of all rows with the keys of the run in [key, end); `start` is where the block of keys
 * begins. */
INLINE void score_block(const block *b, const run *r, int start, int key, int end)
{
    tile_keys of_tile[TILES];
    for (int i = 0; i < b->tiled_rows; i++)
        b->most[i] = -INFINITY;
    for (int t = 0; t < b->tiled_rows / ROWS; t++) {
        b->live[t] = 0;
        of_tile[t] = keys_of_tile(b, t * ROWS, r);
    }
    for (; key < end; key += PANEL)
        for (int tile = 0; tile < b->tiled_rows; tile += ROWS) {
            const tile_keys *keys = &of_tile[tile / ROWS];
            if (key >= keys->to || key + PANEL <= keys->from)
                continue;
            if (score_tile(b, tile, key, keys, b->p + tile * SCORE_STEP + key - start))
                b->live[tile / ROWS] |= 1u << ((key - start) / PANEL);
        }
}

/* Rows and queries of a block; `queries` are those of an item, some of them perhaps beyond the
 * batch entry's. */
INLINE void set_rows(block *b, int q_begin, int queries)
{
    b->q_begin = q_begin;
    b->rows = clamp(b->of.queries.count - q_begin, 0, queries);
    b->tiled_rows = (b->rows + ROWS - 1) / ROWS * ROWS;
    b->scale = b->of.row->scale;
}

INLINE void set_keys(block *b, __global const float *k_panels, const clattn_base *base)
{
    __global const clattn_problem_row *row = b->of.row;
    b->panel_step = row->tensor[CLATTN_T_K_PANELS].stride[2];
    b->k_panels = k_panels +
                  tensor_begin(row, base, CLATTN_T_K_PANELS, b->of.batch, b->of.head / row->group) +
                  packed_begin(row, b->of.keys, b->of.batch) / PANEL * b->panel_step;
}

/* Whether all of x (rows, width), rows DIM_MAX apart, is finite. */
INLINE int rows_are_finite(const float *x, int rows, int width)
{
    vint most = 0;
    for (int r = 0; r < rows; r++)
        for (int d = 0; d < width; d += VEC)
            most = larger_magnitude(load_vector(x + r * DIM_MAX + d), most);
    return is_finite_magnitude(most);
}

/* Dropout of weights with keys `key` + 0..BLOCK_N-1, `key` a multiple of 64; negative ones stay. */
INLINE void drop_weights(const pairs *of, float *p, int i, int key, int end)
{
    for (int c = 0; c < end; c += 64)
        for (int first = 0; first < 16; first += VEC) {
            vuint word[4];
            random_words(word, (key + c) / 64, first, i, of->head, of->batch, of->key);
            for (int w = 0; w < 4; w++) {
                float *at = p + c + w * 16 + first;
                const vfloat x = load_vector(at);
                const vfloat kept =
                    word[w] < (vuint)of->row->drop_below ? (vfloat)0.0f : x * of->row->kept;
                store_vector(x < (vfloat)0.0f ? x : kept, at);
            }
        }
}

/* Scores of one row into final weights, in live panels; stats (2): maximum and sum. An invisible
 * pair's weight is 0 even where the sum is NaN. */
INLINE void weigh_row(const block *b, int r, int start, __global const float *stats)
{
    const float shift = softmax_shift(stats[0]), normaliser = softmax_normaliser(stats[1]);
    float *p = b->p + r * SCORE_STEP;
    for (int c = 0; c < BLOCK_N; c += PANEL) {
        if (!(b->live[r / ROWS] >> c / PANEL & 1))
            continue;
        for (int i = c; i < c + PANEL; i += VEC) {
            const vfloat x = load_vector(p + i);
            const vfloat w = exp_of_lanes(x - shift) * normaliser;
            store_vector(x == (vfloat)(-INFINITY) ? (vfloat)(0.0f) : w, p + i);
        }
    }
#if FULL
    const uint dropped = CLATTN_F_DROPOUT | CLATTN_F_WEIGHTS_DROPPED;
    if ((b->of.flags & dropped) == dropped)
        drop_weights(&b->of, p, b->q_begin + r, start, BLOCK_N);
#else
    (void)start;
#endif
}

#endif
