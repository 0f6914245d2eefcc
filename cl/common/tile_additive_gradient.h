/* What channels get of a block of pairs in additive attention, on a work-group whose work-items are
 * lanes: a tile of queries against a block of keys, or where KEYS_ARE_ROWS a tile of keys against a
 * block of queries. tile_additive.h has the scores, tile_gradient.h what is made of them.
 *
 * There are up to 4096 channels, and a sum for each of a row: too many for registers. So a tile's
 * sums are in memory of its own, and are read and written once a block of columns, by the work-item
 * that has them: nobody waits for that. A slice of channels is staged once more; a work-item has 4
 * rows of a channel, and goes through the columns:
 *
 *    t = tanh(a + b + bias)      sum over columns of ds (1 - t^2), and where KEYS_ARE_ROWS of ds t
 *
 * By exponentials 4 rows share a division. Where sums are written they are multiplied by w_score.
 *
 * Memory of a tile: (head_dim, SUM_STEP), of a channel BLOCK_M sums of rows, and where
 * KEYS_ARE_ROWS ROW_VECTORS of what w_score gets, each of 4 rows; then, of values, see
 * additive_keys_tile.cl. */
#ifndef CLATTN_TILE_ADDITIVE_GRADIENT_H
#define CLATTN_TILE_ADDITIVE_GRADIENT_H

/* Of values fewer dimensions at a time than elsewhere, so that slices have room for a block. */
#ifndef DIM_MAX
#define DIM_MAX 32
#endif
#ifndef VALUE_COLS
#define VALUE_COLS 1
#endif

#include "common/tile_additive.h"
#include "common/tile_gradient.h"

#define ROW_VECTORS (BLOCK_M / VEC)
#define SUM_STEP    (KEYS_ARE_ROWS ? BLOCK_M + ROW_VECTORS : BLOCK_M)
/* Channels of a slice that the group has at a time. */
#define CHANNEL_LANES (WG_SIZE / ROW_VECTORS)
#if CHANNEL_LANES * ROW_VECTORS != WG_SIZE
#error "WG_SIZE must be a multiple of BLOCK_M / 4"
#endif

/* What additive gradients read, as parameters of kernels. */
#define ADDITIVE_GRADIENT_PARAMETERS                                                               \
    __global const void *q, __global const void *k, __global const void *w_score,                  \
        __global const void *channel_bias, __global const void *v, __global const void *grad_out

/* ---- pairs ----------------------------------------------------------------------------------- */

/* Of scores of query r with keys `key` + lane those that the mask shows, -INFINITY for others. */
INLINE float4 masked(const tile *x, const pairs *of, int r, int key, float4 s)
{
    const int count = is_query(x, r) ? of->keys.count - key : 0;
    const int4 seen = mask_lanes(of, count > 0 ? query_of_row(x, r) : 0, key, count);
    return seen ? s : (float4)(-INFINITY);
}

/* Applies the mask, the only option that changes pairs one by one, to the scores in p, keys from
 * `start` on: with FULL there would be two programs of each kernel. A work-item has the scores that
 * are its own in what follows, turn_block or finish_block: no barrier is needed between them. */
INLINE void mask_block(const tile *x, const pairs *of, int start)
{
    const int is_masked = (x->row->flags & CLATTN_F_MASK) != 0;
#if KEYS_ARE_ROWS
#pragma unroll 1
    for (uint n = x->me; n < (is_masked ? BLOCK_N * ROW_VECTORS : 0); n += WG_SIZE) {
        const int query = n / ROW_VECTORS, j = n % ROW_VECTORS * VEC;
        __local float *p = x->p + query * P_STEP + j;
        LOCAL_VECTOR(p) = masked(x, of, query, start + j, LOCAL_VECTOR(p));
    }
#else
#pragma unroll 1
    for (int j = x->part * VEC; j < (is_masked ? BLOCK_N : 0); j += PARTS * VEC) {
        __local float *p = x->p + j * P_STEP + x->own;
        store_column(masked(x, of, x->own, start + j, load_column(p)), p);
    }
#endif
}

/* tanh of 4 rows with a column, of their exponentials; `wide`, a constant. */
INLINE float4 tanh_by_exponentials(float4 e, float f, const int wide)
{
    const float4 one = (float4)(1.0f), most = (float4)(MOST_DIVISOR);
    float4 d = fma(e, (float4)(f), one);
    if (wide)
        d = d > most ? most : d;
    const float d01 = d.s0 * d.s1, d23 = d.s2 * d.s3, inverse = -2.0f / (d01 * d23);
    const float i01 = inverse * d23, i23 = inverse * d01;
    return fma((float4)(i01, i01, i23, i23), d.s1032, one);
}

/* What 4 rows of a channel have. */
typedef struct channel_sums {
    float4 slopes, w; /* of ds (1 - t^2), and of ds t */
} channel_sums;

/* Channel k of the slice: rows from r on, with `count` columns; `form` is a constant. Where pairs
 * may not be finite, those that aren't visible are left out. */
INLINE void add_columns(const tile *x, __local const float *gradients, float bias, int k, int r,
                        int count, const int form, channel_sums *to)
{
    const float4 a = LOCAL_VECTOR(x->stage + k * M_STEP + r);
    __local const float *b = x->stage + BLOCK_K * M_STEP + k * N_STEP;
    __local const float *ds = gradients + r;
#pragma unroll 1
    for (int n = 0; n < count; n++, ds += P_STEP) {
        const float4 s = LOCAL_VECTOR(ds);
        const float4 y = (a + b[n]) + bias;
        float4 t = form == FORM_NEAR  ? tanh_near(y)
                   : form == FORM_FAR ? tanh_of_lanes(y)
                                      : tanh_by_exponentials(a, b[n], form == FORM_WIDE);
        float4 slope = fma(-t, t, (float4)(1.0f));
        if (form == FORM_FAR) {
            const int4 hidden = as_int4(s) == as_int4((float4)(-0.0f));
            t = hidden ? (float4)(0.0f) : t;
            slope = hidden ? (float4)(0.0f) : slope;
        }
        to->slopes = fma(s, slope, to->slopes);
        if (KEYS_ARE_ROWS)
            to->w = fma(s, t, to->w);
    }
}

/* ---- channels -------------------------------------------------------------------------------- */

/* Channel k of the slice, rows from r on, to the sums `at` the channel; `first`: they begin. */
INLINE void add_channel(const tile *x, const channels *of, __local const float *gradients, int k,
                        int count, int first, __global float *at)
{
    const int r = x->me % ROW_VECTORS * VEC, some = r < x->rows ? count : 0;
    const int form = of->forms[k / GROUP];
    channel_sums sums;
    sums.slopes = sums.w = (float4)(0.0f);
    add_columns(x, gradients, 0.0f, k, r, form == FORM_MIDDLE ? some : 0, FORM_MIDDLE, &sums);
    add_columns(x, gradients, 0.0f, k, r, form == FORM_WIDE ? some : 0, FORM_WIDE, &sums);
    add_columns(x, gradients, of->bias[k], k, r, form == FORM_NEAR ? some : 0, FORM_NEAR, &sums);
    add_columns(x, gradients, of->bias[k], k, r, form == FORM_FAR ? some : 0, FORM_FAR, &sums);
    __global float *of_rows = at + r, *of_w = at + BLOCK_M + r / VEC;
    const float4 before = first ? (float4)(0.0f) : load_vector(of_rows);
    store_vector(before + sums.slopes, of_rows);
    if (KEYS_ARE_ROWS)
        *of_w = (first ? 0.0f : *of_w) + ((sums.w.s0 + sums.w.s1) + (sums.w.s2 + sums.w.s3));
}

/* What `dims` channels, all or none, get of a block of `count` columns, keys from `start` on or
 * queries, by the `gradients` (count, P_STEP) of their scores, to the tile's memory. Begins behind
 * a barrier, and ends with one. */
INLINE void add_channels(const tile *x, const channels *of, __local const float *gradients,
                         int start, int count, int dims, int first, __global float *memory)
{
    for (int c = 0; c < dims; c += BLOCK_K) {
        prepare_slice(x, of, start, c);
#pragma unroll 1
        for (int k = x->me / ROW_VECTORS; k < min(BLOCK_K, dims - c); k += CHANNEL_LANES)
            add_channel(x, of, gradients, k, count, first, memory + (long)(c + k) * SUM_STEP);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

/* ---- results --------------------------------------------------------------------------------- */

/* A sum times the channel's w_score: 0 where nothing was summed, so that one that isn't finite
 * doesn't show where nothing is visible. */
INLINE float by_weight(float sum, float w)
{
    return sum == 0.0f ? 0.0f : sum * w;
}

/* Channels c .. c + 3 of row r, `count` of them there, times w_score. */
INLINE float4 channels_of_row(const tile *x, const channels *of, __global const float *memory,
                              int r, int c, int count)
{
    float g[VEC];
#pragma unroll
    for (int n = 0; n < VEC; n++)
        g[n] = n < count ? by_weight(memory[(long)(c + n) * SUM_STEP + r],
                                     parameter_of(x, of->w_score, CLATTN_T_W_SCORE, c + n))
                         : 0.0f;
    return (float4)(g[0], g[1], g[2], g[3]);
}

/* The first `count` rows to a tensor, a constant, whose token `token` is the first of them; 0 where
 * `there` is 0 or rows are beyond those that are there. Lanes of a row write side by side. */
INLINE void write_channels(const tile *x, const channels *of, __global const float *memory,
                           int there, const int tensor, int token, int count, __global void *to)
{
    __global const clattn_tensor_row *t = &x->row->tensor[tensor];
    const long begin = tensor_begin(x->row, x->base, tensor, x->batch, x->head);
    const int dim = x->row->head_dim, vectors = (dim + VEC - 1) / VEC;
#pragma unroll 1
    for (int n = x->me; n < count * vectors; n += WG_SIZE) {
        const int r = n / vectors, c = n % vectors * VEC;
        const float4 g =
            there && r < x->rows ? channels_of_row(x, of, memory, r, c, dim - c) : (float4)(0.0f);
        write_vector(g, to, begin + (token + r) * t->stride[2] + c * t->stride[3], t->stride[3],
                     dim - c, x->row->dtype[tensor]);
    }
}

#endif
