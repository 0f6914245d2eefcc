/* A block of queries against a block of keys, and what their scores' gradients are: what the
 * kernels for gradients of the simd family share. */
#ifndef CLATTN_SIMD_GRADIENT_H
#define CLATTN_SIMD_GRADIENT_H

#include "common/value_tile.h"

/* What stands for the weight of an invisible pair where care is taken. */
#define INVISIBLE (-1.0f)

/* A block of queries against a block of keys. */
typedef struct gradient {
    block b;                        /* its k_panels are that of key 0, if it were there */
    __global const float *v_panels; /* the same of values */
    __global const float *k_rows;   /* (keys, k_width) of the block */
    __global float *dk, *dv;        /* (keys, k_width), (keys, v_width) of the block */
    int k_width, v_width;           /* dimensions rounded up to whole vectors */
    int start;                      /* first key of the block */
    int careful;                    /* something isn't finite: 0 times it must not show */
    float *g;                       /* (BLOCK_M, DIM_MAX) GRAD_OUT */
    float *o;                       /* (BLOCK_M, DIM_MAX) GRAD_Q of this range */
    float *ds;                      /* (BLOCK_M, SCORE_STEP) gradients of q . k, beside b.p */
    float *factor; /* (BLOCK_M, SCORE_STEP) what dropout multiplies weights with; FULL alone */
    float *shift, *normaliser, *delta; /* (BLOCK_M) see gradient_rows.cl */
} gradient;

/* Numbers of a block's factors of dropout. */
#if FULL
#define FACTORS (BLOCK_M * SCORE_STEP)
#else
#define FACTORS VEC
#endif

/* The arrays of a block of queries, to be declared in the kernel beside BLOCK_ARRAYS. */
#define GRADIENT_ARRAYS                                                                            \
    float block_g[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));                                 \
    float block_ds[BLOCK_M * SCORE_STEP] __attribute__((aligned(64)));                             \
    float block_factor[FACTORS] __attribute__((aligned(64)));                                      \
    float shift[BLOCK_M], normaliser[BLOCK_M], delta[BLOCK_M]

/* A gradient whose memory these arrays are, and those of BLOCK_ARRAYS. */
#define GRADIENT_OF_ARRAYS                                                                         \
    {                                                                                              \
        {.q = block_q, .p = block_p, .most = block_most, .live = block_live},                      \
            .g = block_g, .ds = block_ds, .factor = block_factor, .shift = shift,                  \
            .normaliser = normaliser, .delta = delta                                               \
    }

/* ---- weights and gradients of scores --------------------------------------------------------- */

/* Scores into weights, INVISIBLE where nothing is seen. */
INLINE void weigh_tile(const gradient *x, int tile, vfloat sum[ROWS][COLS], float *p)
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const vfloat shift = softmax_shift(x->shift[tile + r]);
        const vfloat normaliser = x->normaliser[tile + r];
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const vfloat d = sum[r][c] - shift;
            const vfloat w = exp_of_lanes(d > (vfloat)0.0f ? (vfloat)0.0f : d) * normaliser;
            store_vector(sum[r][c] == (vfloat)(-INFINITY) ? (vfloat)INVISIBLE : w,
                         p + r * SCORE_STEP + c * VEC);
        }
    }
}

#if FULL
/* Between registers and (ROWS, SCORE_STEP). */
INLINE void keep_tile(vfloat sum[ROWS][COLS], float *to)
{
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            store_vector(sum[r][c], to + r * SCORE_STEP + c * VEC);
}

INLINE void load_tile(const float *from, vfloat sum[ROWS][COLS])
{
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            sum[r][c] = load_vector(from + r * SCORE_STEP + c * VEC);
}
#endif

/* Weights of a row tile with the panel at `key` into p, and what is needed for slopes into ds.
 * Returns whether anything is visible. */
INLINE int weight_tile(const gradient *x, int tile, int key, const tile_keys *keys, float *p,
                       float *ds)
{
    vfloat sum[ROWS][COLS];
#if FULL
    const int hides = hides_of_tile(&x->b, tile, key, keys);
    if (hides & TILE_HIDDEN)
        return 0;
    product_tile(&x->b, tile, key, keys->to - key, next_lines(&x->b.of, x->b.q_begin + tile, key),
                 sum);
    keep_tile(sum, ds);
    if (is_regular(&x->b, tile, key)) {
        finish_regular(&x->b, tile, key, keys, hides, sum);
    } else {
        keep_tile(sum, p);
        if (!finish_irregular(&x->b, tile, key, keys, p))
            return 0;
        load_tile(p, sum);
    }
#else
    product_tile(&x->b, tile, key, keys->to - key, no_lines(), sum);
    if (is_edge(key, keys))
        hide_beyond(&x->b.of, x->b.q_begin + tile, key, keys, sum);
    (void)ds;
#endif
    weigh_tile(x, tile, sum, p);
    return 1;
}

/* From weights and products of GRAD_OUT with values to what is accumulated: gradients of q . k, or
 * of the scores themselves. */
INLINE void turn_tile(const gradient *x, int tile, int key, vfloat sum[ROWS][COLS], float *p,
                      float *ds, const int of_scores)
{
    const pairs *of = &x->b.of;
    const vfloat hidden = x->careful ? (vfloat)INVISIBLE : (vfloat)0.0f;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const vfloat delta = x->delta[tile + r];
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const int at = r * SCORE_STEP + c * VEC;
            const vfloat w = load_vector(p + at);
            vfloat a = sum[r][c], kept = w;
            vfloat turn = of_scores ? 1.0f : of->row->scale;
#if FULL
            const int i = x->b.q_begin + tile + r;
            if (of->flags & CLATTN_F_DROPOUT) {
                const vfloat factor =
                    load_vector(x->factor + (tile + r) * SCORE_STEP + key % BLOCK_N + c * VEC);
                a = factor == (vfloat)0.0f ? factor : a * factor;
                kept = factor == (vfloat)0.0f ? factor : w * factor;
            }
            if (!of_scores)
                turn *= score_slopes(of, cap_scores(of, load_vector(ds + at)), w >= (vfloat)0.0f, i,
                                     key + c * VEC);
#endif
            const vfloat d = w * (a - delta) * turn;
            store_vector(w == (vfloat)INVISIBLE ? (vfloat)0.0f : d, ds + at);
            store_vector(w == (vfloat)INVISIBLE ? hidden : kept, p + at);
        }
    }
}

/* What dropout does to the block's weights with the BLOCK_N keys at `start`. */
OUTLINE void take_factors(const gradient *x, int start)
{
#if FULL
    const pairs *of = &x->b.of;
    if (!(of->flags & CLATTN_F_DROPOUT))
        return;
    for (int r = 0; r < x->b.rows; r++)
        for (int c = 0; c < BLOCK_N; c += 64)
            for (int first = 0; first < 16; first += VEC) {
                vuint word[4];
                random_words(word, (start + c) / 64, first, x->b.q_begin + r, of->head, of->batch,
                             of->key);
                for (int w = 0; w < 4; w++)
                    store_vector(word[w] < (vuint)of->row->drop_below ? (vfloat)0.0f
                                                                      : (vfloat)of->row->kept,
                                 x->factor + r * SCORE_STEP + c + w * 16 + first);
            }
#else
    (void)x;
    (void)start;
#endif
}

INLINE void clear_tile(const gradient *x, float *p, float *ds)
{
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < PANEL; c += VEC) {
            store_vector(x->careful ? (vfloat)INVISIBLE : (vfloat)0.0f, p + r * SCORE_STEP + c);
            store_vector((vfloat)0.0f, ds + r * SCORE_STEP + c);
        }
}

/* Weights and gradients of scores of all rows with the keys of the run in [key, end), in the block
 * of BLOCK_N keys at `start`. Returns whether anything is visible. */
INLINE int pair_block(const gradient *x, const run *r, int start, int key, int end,
                      const int of_scores)
{
    const block *b = &x->b;
    int any = 0;
    for (; key < end; key += PANEL)
        for (int tile = 0; tile < b->tiled_rows; tile += ROWS) {
            const tile_keys keys = keys_of_tile(b, tile, r);
            float *p = b->p + tile * SCORE_STEP + key - start;
            float *ds = x->ds + tile * SCORE_STEP + key - start;
            if (key >= keys.to || key + PANEL <= keys.from ||
                !weight_tile(x, tile, key, &keys, p, ds)) {
                clear_tile(x, p, ds);
                continue;
            }
            vfloat sum[ROWS][COLS];
            panel_product(x->g + tile * DIM_MAX,
                          x->v_panels + key / PANEL * (b->of.row->value_dim * (long)PANEL),
                          b->of.row->value_dim, keys.to - key, no_lines(), sum);
            turn_tile(x, tile, key, sum, p, ds, of_scores);
            any = 1;
        }
    return any;
}

/* What is known of the block's queries; rows of padding weigh nothing. */
INLINE void load_row_values(const gradient *x, __global const float *gradient_rows)
{
    for (int r = 0; r < x->b.tiled_rows; r++) {
        const int is_there = r < x->b.rows;
        __global const float *own =
            gradient_rows + (long)(x->b.of.queries.first + x->b.q_begin + r) * CLATTN_GRADIENT_ROW;
        x->shift[r] = is_there ? own[0] : 0.0f;
        x->normaliser[r] = is_there ? own[1] : 0.0f;
        x->delta[r] = is_there ? own[2] : 0.0f;
    }
}

#endif
