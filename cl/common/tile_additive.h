/* Scores of additive attention of a tile of queries with a block of keys, on a work-group whose
 * work-items are lanes; see tile.h for the tile, additive_forms.h for the forms.
 *
 * Slices of channels of queries and keys go through local memory as they do for products. There
 * the group looks for the form that each four channels need, by all rows of the slice, and where
 * that is one by exponentials, puts them in the place of the sums they are of. The form is the same
 * for all work-items: no lane waits for another's. What is computed once for a row of the slice
 * is about 30 instructions, beside 6 for each pair of its channels. */
#ifndef CLATTN_TILE_ADDITIVE_H
#define CLATTN_TILE_ADDITIVE_H

#include "common/additive_forms.h"
#include "common/tile_product.h"

#define SLICE_GROUPS (BLOCK_K / GROUP) /* BLOCK_K is a multiple of 4 */

/* The arrays of the scores, to be declared in the kernel beside TILE_ARRAYS. */
#define ADDITIVE_ARRAYS                                                                            \
    __local float slice_w[BLOCK_K] __attribute__((aligned(16)));                                   \
    __local float slice_bias[BLOCK_K];                                                             \
    __local int slice_forms[SLICE_GROUPS]

/* What the group has of the parameters. */
typedef struct channels {
    __global const void *w_score, *channel_bias; /* memory objects */
    __local float *w, *bias;                     /* (BLOCK_K) of the slice, 0 beyond the last */
    __local int *forms;                          /* (SLICE_GROUPS) that each group needs */
} channels;

/* ---- slices ---------------------------------------------------------------------------------- */

/* Channel c of the head's row of a tensor (n_head, channels), a constant. */
INLINE float parameter_of(const tile *x, __global const void *from, const int tensor, int c)
{
    __global const clattn_tensor_row *t = &x->row->tensor[tensor];
    return load_element(
        from, tensor_start(x->row, x->base, tensor) + x->head * t->stride[0] + c * t->stride[1],
        x->row->dtype[tensor]);
}

/* Parameters of channels c .. c + BLOCK_K - 1. */
INLINE void stage_parameters(const tile *x, const channels *of, int c)
{
    for (int n = x->me; n < BLOCK_K; n += WG_SIZE) {
        const int there = c + n < x->row->head_dim;
        const int biased = there && x->row->flags & CLATTN_F_CHANNEL_BIAS;
        const float w = there ? parameter_of(x, of->w_score, CLATTN_T_W_SCORE, c + n) : 0.0f;
        of->w[n] = w;
        of->bias[n] =
            biased ? parameter_of(x, of->channel_bias, CLATTN_T_CHANNEL_BIAS, c + n) : 0.0f;
    }
    for (int n = x->me; n < SLICE_GROUPS; n += WG_SIZE)
        of->forms[n] = FORM_NEAR;
}

/* Vectors of a slice, rows and keys of a channel side by side. */
#define LINE_VECTORS  ((BLOCK_M + BLOCK_N) / VEC)
#define SLICE_VECTORS (BLOCK_K * LINE_VECTORS)

/* One of them: 4 queries with the bias, or 4 keys with 0 in its place. */
typedef struct piece {
    __local float *at;
    float bias;
    int k; /* channel of the slice */
} piece;

INLINE piece piece_of(const tile *x, const channels *of, int n)
{
    const int k = n / LINE_VECTORS, i = n % LINE_VECTORS * VEC, is_row = i < BLOCK_M;
    piece p;
    p.at = x->stage + (is_row ? k * M_STEP + i : BLOCK_K * M_STEP + k * N_STEP + i - BLOCK_M);
    p.bias = is_row != KEYS_ARE_ROWS ? of->bias[k] : 0.0f;
    p.k = k;
    return p;
}

/* The forms that the slice needs. */
INLINE void find_forms(const tile *x, const channels *of)
{
#pragma unroll 1
    for (int n = x->me; n < SLICE_VECTORS; n += WG_SIZE) {
        const piece p = piece_of(x, of, n);
        const float4 a = LOCAL_VECTOR(p.at);
        const int4 needs = form_of(fabs(a) + fabs(p.bias), fabs(a + p.bias));
        const int form = fabs(of->w[p.k]) <= LARGEST_SCORE ? FOLD_4(needs, LARGER_) : FORM_FAR;
        if (form != FORM_NEAR)
            atomic_max(of->forms + p.k / GROUP, form);
    }
}

/* e^2(a + bias) and e^2b in the place of a and b, where the form asks for them. What rounding takes
 * from a + bias is kept (Knuth's two-sum). Chosen, without a branch: nearly all are asked for. One
 * loop for both: where either had its own, and that was of one turn and some work-items, PoCL 3.1
 * with LLVM 14 left it out. */
INLINE void make_exponentials(const tile *x, const channels *of)
{
#pragma unroll 1
    for (int n = x->me; n < SLICE_VECTORS; n += WG_SIZE) {
        const piece p = piece_of(x, of, n);
        const int form = of->forms[p.k / GROUP];
        const float4 a = LOCAL_VECTOR(p.at), sum = a + p.bias, part = sum - a;
        const float4 e = exp_twice(sum, (a - (sum - part)) + (p.bias - part));
        LOCAL_VECTOR(p.at) = form == FORM_MIDDLE || form == FORM_WIDE ? e : a;
    }
}

/* Channels c .. c + BLOCK_K - 1 of all rows, keys from `start` on or queries, and of the block's
 * columns, as their forms need them. Begins behind a barrier, and ends with one. */
INLINE void prepare_slice(const tile *x, const channels *of, int start, int c)
{
    stage_slice(x, OF_SCORES, start, c);
    stage_parameters(x, of, c);
    barrier(CLK_LOCAL_MEM_FENCE);
    find_forms(x, of);
    barrier(CLK_LOCAL_MEM_FENCE);
    make_exponentials(x, of);
    barrier(CLK_LOCAL_MEM_FENCE);
}

/* ---- sums over channels ---------------------------------------------------------------------- */

/* Of one key with 4 rows: e (GROUP) of the rows, f of the key; `wide`, a constant. */
INLINE float4 add_key(float4 w, const float4 e[GROUP], float4 f, const int wide, float4 s)
{
    const float4 one = (float4)(1.0f);
    float4 d0 = fma(e[0], (float4)(f.s0), one), d1 = fma(e[1], (float4)(f.s1), one);
    float4 d2 = fma(e[2], (float4)(f.s2), one), d3 = fma(e[3], (float4)(f.s3), one);
    if (wide) {
        const float4 most = MOST_DIVISOR;
        d0 = d0 > most ? most : d0;
        d1 = d1 > most ? most : d1;
        d2 = d2 > most ? most : d2;
        d3 = d3 > most ? most : d3;
    }
    const float half_sum = 0.5f * ((w.s0 + w.s1) + (w.s2 + w.s3));
    return fma((float4)(-2.0f), sum_of_quotients(w, d0, d1, d2, d3) - half_sum, s);
}

/* s (keys, rows of 4) += GROUP channels, by exponentials: m of rows, n of keys. */
INLINE void add_by_exponentials(float4 w, __local const float *m, __local const float *n,
                                const int wide, float4 s[COLS * VEC][ROWS / 4])
{
#pragma unroll
    for (int r = 0; r < ROWS / 4; r++) {
        float4 e[GROUP];
#pragma unroll
        for (int k = 0; k < GROUP; k++)
            e[k] = LOCAL_VECTOR(m + k * M_STEP + r * 4);
#pragma unroll
        for (int c = 0; c < COLS * VEC; c++) {
            const float4 f = {n[c], n[N_STEP + c], n[2 * N_STEP + c], n[3 * N_STEP + c]};
            s[c][r] = add_key(w, e, f, wide, s[c][r]);
        }
    }
}

/* The same of one channel, by sums; `near`, a constant. */
INLINE void add_by_sums(float w, float bias, __local const float *m, __local const float *n,
                        const int near, float4 s[COLS * VEC][ROWS / 4])
{
#pragma unroll
    for (int r = 0; r < ROWS / 4; r++) {
        const float4 a = LOCAL_VECTOR(m + r * 4);
#pragma unroll
        for (int c = 0; c < COLS * VEC; c++) {
            const float4 y = (a + n[c]) + bias;
            s[c][r] = fma((float4)(w), near ? tanh_near(y) : tanh_of_lanes(y), s[c][r]);
        }
    }
}

/* A slice from channel c on. */
INLINE void score_slice(const tile *x, const channels *of, int c, float4 s[COLS * VEC][ROWS / 4])
{
    const int count = min(BLOCK_K, x->row->head_dim - c);
#pragma unroll 1
    for (int k = 0; k < if_rows(x, count); k += GROUP) {
        __local const float *m = x->stage + k * M_STEP + x->y * ROWS;
        __local const float *n = x->stage + (BLOCK_K * M_STEP + k * N_STEP) + x->x * COLS * VEC;
        const int form = of->forms[k / GROUP];
        const float4 w = LOCAL_VECTOR(of->w + k);
        if (form == FORM_MIDDLE)
            add_by_exponentials(w, m, n, 0, s);
        if (form == FORM_WIDE)
            add_by_exponentials(w, m, n, 1, s);
#pragma unroll 1
        for (int i = 0; i < (form == FORM_NEAR ? GROUP : 0); i++)
            add_by_sums(of->w[k + i], of->bias[k + i], m + i * M_STEP, n + i * N_STEP, 1, s);
#pragma unroll 1
        for (int i = 0; i < (form == FORM_FAR ? GROUP : 0); i++)
            add_by_sums(of->w[k + i], of->bias[k + i], m + i * M_STEP, n + i * N_STEP, 0, s);
    }
}

/* Scores of all queries with all keys of the block, keys from `start` on, into p, pairs that aren't
 * visible as well. Begins behind a barrier, and ends without one. */
INLINE void score_block(const tile *x, const channels *of, int start)
{
    float4 s[COLS * VEC][ROWS / 4];
    clear_products(s);
    for (int c = 0; c < x->row->head_dim; c += BLOCK_K) {
        prepare_slice(x, of, start, c);
        score_slice(x, of, c, s);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    store_products(x, s, x->p);
}

#endif
