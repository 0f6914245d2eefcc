/* What tiles do with products: slices of rows and columns into products, columns and their weights
 * into sums, block of keys by block of keys; and how sums are written. See tile.h. */
#ifndef CLATTN_TILE_PRODUCT_H
#define CLATTN_TILE_PRODUCT_H

#include "common/tile_stage.h"

/* The results of a work-item, in registers. */
typedef struct sums {
    float4 o[ROWS][VALUE_COLS];
} sums;

INLINE void clear_sums(sums *of)
{
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c++)
            of->o[r][c] = (float4)(0.0f);
}

/* How often a work-item whose rows are all beyond the last goes through a loop of `count`. */
INLINE int if_rows(const tile *x, int count)
{
    return x->y * ROWS < x->rows ? count : 0;
}

/* ---- products -------------------------------------------------------------------------------- */

/* s (columns, rows of 4) += products of a slice. */
INLINE void product_slice(const tile *x, float4 s[COLS * VEC][ROWS / 4])
{
    __local const float *m = x->stage + x->y * ROWS;
    __local const float *n = x->stage + BLOCK_K * M_STEP + x->x * COLS * VEC;
#pragma unroll 1
    for (int d = 0; d < if_rows(x, BLOCK_K); d++, m += M_STEP, n += N_STEP) {
        float4 a[ROWS / 4];
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++)
            a[r] = LOCAL_VECTOR(m + r * 4);
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const float4 b = LOCAL_VECTOR(n + c * VEC);
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

INLINE void clear_products(float4 s[COLS * VEC][ROWS / 4])
{
#pragma unroll
    for (int c = 0; c < COLS * VEC; c++)
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++)
            s[c][r] = (float4)(0.0f);
}

/* Into `to` (BLOCK_N, P_STEP). */
INLINE void store_products(const tile *x, float4 s[COLS * VEC][ROWS / 4], __local float *to)
{
#pragma unroll
    for (int c = 0; c < COLS * VEC; c++)
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++)
            LOCAL_VECTOR(to + (x->x * COLS * VEC + c) * P_STEP + x->y * ROWS + r * 4) = s[c][r];
}

/* s: products of all rows with all columns, keys from `start` on, over `depth` dimensions. Begins
 * and ends behind a barrier. */
INLINE void multiply_block(const tile *x, int product, int start, int depth,
                           float4 s[COLS * VEC][ROWS / 4])
{
    clear_products(s);
    for (int d = 0; d < depth; d += BLOCK_K) {
        stage_slice(x, product, start, d);
        barrier(CLK_LOCAL_MEM_FENCE);
        product_slice(x, s);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

/* The same into `to` (BLOCK_N, P_STEP), which may be where slices are; ends without a barrier. */
INLINE void product_block(const tile *x, int product, int start, __local float *to)
{
    float4 s[COLS * VEC][ROWS / 4];
    multiply_block(x, product, start, depth_of(x, product), s);
    store_products(x, s, to);
}

/* ---- sums ------------------------------------------------------------------------------------ */

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

/* `careful`, a constant: weights of -0 are left out. */
INLINE void value_slice(const tile *x, __local const float *weights, int count, const int careful,
                        sums *to)
{
    __local const float *p = weights + x->y * ROWS;
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

/* Weights (columns, P_STEP) times `count` columns as stage_values has left them. Begins behind a
 * barrier, and ends with one. */
INLINE void add_values(const tile *x, __local const float *weights, int count, sums *to)
{
    /* One loop after the other, one of them for nothing: a branch would double the sums. */
    const int odd = *x->odd;
    value_slice(x, weights, if_rows(x, odd ? 0 : count), 0, to);
    value_slice(x, weights, if_rows(x, odd ? count : 0), 1, to);
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* ---- keys, block by block -------------------------------------------------------------------- */

/* Where a group is in the keys that its queries may see. */
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

/* The work-item's row of queries: which keys its query sees. */
typedef struct bounds {
    int from, to;
} bounds;

INLINE bounds bounds_of_query(const tile *x, const pairs *of, int r)
{
    bounds see = {0, 0};
    if (is_query(x, r)) {
        see.from = keys_from(of, query_of_row(x, r));
        see.to = keys_to(of, query_of_row(x, r));
    }
    return see;
}

INLINE bounds bounds_within(bounds see, const run *r)
{
    see.from = max(see.from, r->begin);
    see.to = min(see.to, r->end);
    return see;
}

/* From capped scores of query i with the keys `start` + j + lane to final ones, -INFINITY where it
 * doesn't see them within `see`. */
INLINE float4 visible_scores(const pairs *of, int i, bounds see, int start, int j, float4 capped)
{
#if FULL
    if (see.from < see.to && j < see.to - start)
        return finish_scores(of, capped, i, start + j, see.from, see.to);
    return (float4)(-INFINITY);
#else
    const int4 key = LANES + j; /* from `start` on: no sum is too large */
    const int4 seen = (key >= (int4)(see.from - start)) & (key < (int4)(see.to - start));
    return seen ? capped : (float4)(-INFINITY);
#endif
}

/* ---- what is known of queries, in local memory ------------------------------------------------
 */

/* What weights of query r are relative to, and what they are multiplied with; 0 where it isn't
 * there. */
INLINE void keep_query(const tile *x, int r, float shift, float normaliser)
{
    x->row_values[r] = shift;
    x->row_values[QUERIES + r] = normaliser;
}

INLINE float shift_of(const tile *x, int r)
{
    return x->row_values[r];
}

INLINE float normaliser_of(const tile *x, int r)
{
    return x->row_values[QUERIES + r];
}

/* Which keys it sees. */
INLINE void keep_seen(const tile *x, int r, bounds see)
{
    x->seen[r] = see.from;
    x->seen[QUERIES + r] = see.to;
}

INLINE bounds seen_by(const tile *x, int r)
{
    bounds see;
    see.from = x->seen[r];
    see.to = x->seen[QUERIES + r];
    return see;
}

/* Queries of a head that may see any of the keys `begin` to `end` - 1. */
INLINE bounds queries_that_see(const pairs *of, int begin, int end)
{
    const long most = of->queries.count;
    bounds seen;
    seen.from = (int)clamp(begin - of->offset - of->row->right, 0L, most);
    seen.to = (int)clamp(end - of->offset + of->row->left, 0L, most);
    return seen;
}

/* How many from `first` on, up to `most` and before `end`, have one list of blocks. */
INLINE int queries_of_list(__global const clattn_problem_row *row, int first, int end, int most)
{
    const int count = min(most, end - first);
    return row->flags & CLATTN_F_BLOCKS ? min(count, row->block_q - first % row->block_q) : count;
}

/* ---- results --------------------------------------------------------------------------------- */

/* Whether query r has results to be written. */
INLINE int is_written(const tile *x, int r)
{
    return x->row->flags & CLATTN_F_RAGGED ? is_query(x, r) : r < x->rows;
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
INLINE float4 sum_at(const sums *of, int r, int c)
{
    float4 o = 0.0f;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < VALUE_COLS; j++)
            o = r == i && c == j ? of->o[i][j] : o;
    return o;
}

/* What the work-item has of its row n, times `factor`, to a row of `dim` elements at `begin`. */
INLINE void write_row_of(const tile *x, const sums *of, int n, float factor, __global void *to,
                         long begin, long step, int dim, uint dtype)
{
#pragma unroll 1
    for (int c = 0; c < VALUE_COLS; c++) {
        const int d = (c * GRID_X + x->x) * VEC;
        write_vector(sum_at(of, n, c) * factor, to, begin + d * step, step, dim - d, dtype);
    }
}

/* The work-item's rows, queries, to OUT or GRAD_Q, `tensor`, a constant, if they are there; of
 * ragged sequences those alone that are queries of the batch entry. dim: dimensions that are left
 * from value_begin on. factors (BLOCK_M), or NULL. */
INLINE void write_queries(const tile *x, const sums *of, __local const float *factors,
                          const int tensor, int dim, __global void *to)
{
    __global const clattn_tensor_row *t = &x->row->tensor[tensor];
#pragma unroll 1
    for (int n = 0; n < ROWS; n++) {
        const int r = x->y * ROWS + n;
        if (!is_written(x, r))
            continue;
        const long begin = tensor_begin(x->row, x->base, tensor, x->batch, head_of_row(x, r)) +
                           (x->queries.first + query_of_row(x, r)) * t->stride[2] +
                           x->value_begin * t->stride[3];
        write_row_of(x, of, n, factors ? factors[r] : 1.0f, to, begin, t->stride[3], dim,
                     x->row->dtype[tensor]);
    }
}

#endif
