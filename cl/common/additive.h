/* Scores of additive attention, w . tanh(a + b + bias), for the simd family: ROWS queries by COLS
 * vectors of keys at a time, a key a lane. How a group of channels is computed is in
 * additive_forms.h. */
#ifndef CLATTN_ADDITIVE_H
#define CLATTN_ADDITIVE_H

#include "common/additive_forms.h"
#include "common/panels.h"

/* BLOCK_M: most queries of a block; a multiple of ROWS. */
#ifndef BLOCK_M
#define BLOCK_M 16
#endif
/* BLOCK_N: keys of a block; a multiple of COLS * VEC and of 4. */
#ifndef BLOCK_N
#define BLOCK_N 64
#endif
#define ROWS 4 /* queries of a tile; their denominators share a division, too */
#if BLOCK_M % ROWS != 0 || BLOCK_N % PANEL != 0 || BLOCK_N % 4 != 0
#error "BLOCK_M must be a multiple of a tile's queries, BLOCK_N of COLS * lanes and 4"
#endif

/* ---- memory ----------------------------------------------------------------------------------
 * Channels are padded to a multiple of 16: 0 in sums, 1 in exponentials, weights 0. A strip is
 * `width` rows side by side, ROWS queries, PANEL keys, or one of either:
 *    (channels, width) a or b, then (channels, width) e^2x or e^2b,
 *    (channels / GROUP) the form that each group needs at least, then STRIP_* flags; padded to a
 *    multiple of 16.
 * Parameters are (2, channels): w, then bias. A block of queries has parameters, then its strips,
 * then what the kernel adds. */
#define STRIP_UNSAFE 1 /* what goes with the rows, values or GRAD_OUT, isn't all finite */
#define STRIP_FAR    2 /* a group is FORM_FAR */

INLINE int padded(int channels)
{
    return CLATTN_ADDITIVE_CHANNELS(channels);
}

INLINE long strip_size(int channels, int width)
{
    return CLATTN_ADDITIVE_STRIP((long)channels, width);
}

INLINE __global int *forms_of(__global float *strip, int channels, int width)
{
    return (__global int *)(strip + (long)channels * width * 2);
}

INLINE __global const int *const_forms_of(__global const float *strip, int channels, int width)
{
    return (__global const int *)(strip + (long)channels * width * 2);
}

/* Writes channels c .. c + VEC - 1 of row `lane` of a strip. */
INLINE void put_channels(vfloat sums, vfloat exponentials, vint form, __global float *strip,
                         int channels, int width, int c, int lane)
{
    __global float *to = strip + (long)c * width + lane;
    __global int *forms = forms_of(strip, channels, width) + c / GROUP;
    float own[2][VEC];
    int needs[VEC];
    store_vector(sums, own[0]);
    store_vector(exponentials, own[1]);
    store_vector(form, needs);
    for (int i = 0; i < VEC; i++) {
        to[i * width] = own[0][i];
        to[((long)channels + i) * width] = own[1][i];
        /* max() of the two was compiled wrongly by PoCL 3.1 with LLVM 14 */
        if (needs[i] > forms[i / GROUP])
            forms[i / GROUP] = needs[i];
    }
}

/* Sets a strip to rows of padding. */
INLINE void clear_strip(__global float *strip, int channels, int width)
{
    const long plane = (long)channels * width;
    __global int *forms = forms_of(strip, channels, width);
    for (long n = 0; n < plane; n++) {
        strip[n] = 0.0f;
        strip[plane + n] = 1.0f;
    }
    for (int n = 0; n <= channels / GROUP; n++)
        forms[n] = 0;
}

/* Flags of a strip whose rows are complete. */
INLINE void set_flags(__global float *strip, int channels, int width, int unsafe)
{
    __global int *forms = forms_of(strip, channels, width);
    int flags = unsafe ? STRIP_UNSAFE : 0;
    for (int n = 0; n < channels / GROUP; n++)
        if (forms[n] == FORM_FAR)
            flags |= STRIP_FAR;
    forms[channels / GROUP] = flags;
}

INLINE int flags_of(__global const float *strip, int channels, int width)
{
    return const_forms_of(strip, channels, width)[channels / GROUP];
}

/* Channels c .. c + VEC - 1 also as a row, of sums and then of exponentials; row NULL: not. */
INLINE void put_row(vfloat sums, vfloat exponentials, __global float *row, int channels, int c)
{
    if (!row)
        return;
    store_vector(sums, row + c);
    store_vector(exponentials, row + channels + c);
}

/* A key's row into lane `lane` of a panel's strip, and as a row, unless that is NULL. */
INLINE void pack_key(const rows_of *keys, int j, int dim, __global float *strip, int channels,
                     int lane, __global float *as_row)
{
    for (int c = 0; c < channels; c += VEC) {
        const vfloat b = c < dim ? key_elements(keys, j, j + 1, c, dim) : (vfloat)(0.0f);
        const vfloat size = fabs(b), exponential = exp_twice(b, 0.0f);
        put_channels(b, exponential, form_of(size, size), strip, channels, PANEL, c, lane);
        put_row(b, exponential, as_row, channels, c);
    }
}

/* VEC elements of a row of `dim`, 0 beyond it. */
INLINE vfloat row_elements(__global const void *from, long begin, long step, int d, int dim,
                           uint dtype)
{
    return d < dim ? gather_elements(from, begin + d * step, step, dim - d, dtype) : (vfloat)(0.0f);
}

/* A query's row, element `begin` of q on, into lane `lane` of a strip. What rounding takes from
 * a + bias is kept for the exponential (Knuth's two-sum). */
INLINE void pack_query(__global const clattn_problem_row *row, __global const void *q, long begin,
                       __global const float *parameters, __global float *strip, int lane,
                       __global float *as_row)
{
    const int channels = padded(row->head_dim);
    for (int c = 0; c < channels; c += VEC) {
        const vfloat a = row_elements(q, begin, row->tensor[CLATTN_T_Q].stride[3], c, row->head_dim,
                                      row->dtype[CLATTN_T_Q]);
        const vfloat w = load_vector(parameters + c), bias = load_vector(parameters + channels + c);
        const vfloat x = a + bias, part = x - a;
        const vfloat exponential = exp_twice(x, (a - (x - part)) + (bias - part));
        const vint form = form_of(fabs(a) + fabs(bias), fabs(x));
        put_channels(a, exponential, fabs(w) <= (vfloat)(LARGEST_SCORE) ? form : (vint)(FORM_FAR),
                     strip, channels, ROWS, c, lane);
        put_row(a, exponential, as_row, channels, c);
    }
}

/* w and bias of a head into parameters (2, channels). */
INLINE void load_parameters(__global const clattn_problem_row *row, const clattn_base *base,
                            int head, __global const void *w_score,
                            __global const void *channel_bias, __global float *parameters)
{
    const int channels = padded(row->head_dim);
    __global const clattn_tensor_row *t = row->tensor;
    const long w = base->offset[CLATTN_T_W_SCORE] + head * t[CLATTN_T_W_SCORE].stride[0];
    const long bias =
        base->offset[CLATTN_T_CHANNEL_BIAS] + head * t[CLATTN_T_CHANNEL_BIAS].stride[0];
    for (int c = 0; c < channels; c++) {
        const int is_there = c < row->head_dim;
        parameters[c] = is_there ? load_element(w_score, w + c * t[CLATTN_T_W_SCORE].stride[1],
                                                row->dtype[CLATTN_T_W_SCORE])
                                 : 0.0f;
        parameters[channels + c] =
            is_there && row->flags & CLATTN_F_CHANNEL_BIAS
                ? load_element(channel_bias, bias + c * t[CLATTN_T_CHANNEL_BIAS].stride[1],
                               row->dtype[CLATTN_T_CHANNEL_BIAS])
                : 0.0f;
    }
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Adds GROUP channels: w (GROUP), e (GROUP, ROWS) of queries, f (GROUP, PANEL) of keys. */
INLINE void add_by_exponentials(__global const float *w, __global const float *e,
                                __global const float *f, const int wide, vfloat sum[ROWS][COLS])
{
    const vfloat half_sum = 0.5f * ((w[0] + w[1]) + (w[2] + w[3]));
#pragma unroll
    for (int c = 0; c < COLS; c++) {
        const vfloat f0 = load_vector(f + c * VEC), f1 = load_vector(f + PANEL + c * VEC);
        const vfloat f2 = load_vector(f + 2 * PANEL + c * VEC);
        const vfloat f3 = load_vector(f + 3 * PANEL + c * VEC);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            vfloat d0 = fma((vfloat)(e[r]), f0, (vfloat)(1.0f));
            vfloat d1 = fma((vfloat)(e[ROWS + r]), f1, (vfloat)(1.0f));
            vfloat d2 = fma((vfloat)(e[2 * ROWS + r]), f2, (vfloat)(1.0f));
            vfloat d3 = fma((vfloat)(e[3 * ROWS + r]), f3, (vfloat)(1.0f));
            if (wide) {
                const vfloat most = MOST_DIVISOR;
                d0 = d0 > most ? most : d0;
                d1 = d1 > most ? most : d1;
                d2 = d2 > most ? most : d2;
                d3 = d3 > most ? most : d3;
            }
            const vfloat all = sum_of_quotients((float4)(w[0], w[1], w[2], w[3]), d0, d1, d2, d3);
            sum[r][c] = fma((vfloat)(-2.0f), all - half_sum, sum[r][c]);
        }
    }
}

/* The same of sums: parameters at the group's w, a (GROUP, ROWS), b (GROUP, PANEL). */
INLINE void add_by_sums(__global const float *w, __global const float *bias,
                        __global const float *a, __global const float *b, const int near,
                        vfloat sum[ROWS][COLS])
{
    for (int k = 0; k < GROUP; k++)
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const vfloat y = load_vector(b + k * PANEL + c * VEC);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                const vfloat x = (a[k * ROWS + r] + y) + bias[k];
                const vfloat t = near ? tanh_near(x) : tanh_of_lanes(x);
                sum[r][c] = fma((vfloat)(w[k]), t, sum[r][c]);
            }
        }
}

/* Scores of a strip of queries with a strip of keys. */
INLINE void score_strips(__global const float *parameters, __global const float *queries,
                         __global const float *keys, int dim, vfloat sum[ROWS][COLS])
{
    const int channels = padded(dim);
    __global const float *bias = parameters + channels;
    __global const float *e = queries + channels * ROWS, *f = keys + (long)channels * PANEL;
    __global const int *q_forms = const_forms_of(queries, channels, ROWS);
    __global const int *k_forms = const_forms_of(keys, channels, PANEL);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            sum[r][c] = 0.0f;
    for (int c = 0; c < dim; c += GROUP) {
        const int form = max(q_forms[c / GROUP], k_forms[c / GROUP]);
        if (form == FORM_MIDDLE)
            add_by_exponentials(parameters + c, e + c * ROWS, f + c * PANEL, 0, sum);
        else if (form == FORM_WIDE)
            add_by_exponentials(parameters + c, e + c * ROWS, f + c * PANEL, 1, sum);
        else if (form == FORM_NEAR)
            add_by_sums(parameters + c, bias + c, queries + c * ROWS, keys + c * PANEL, 1, sum);
        else
            add_by_sums(parameters + c, bias + c, queries + c * ROWS, keys + c * PANEL, 0, sum);
    }
}

/* Scores of queries i .. i + ROWS - 1, of which `rows` are there, with the panel at `key`, into
 * s (ROWS, BLOCK_N), -INFINITY where not visible. */
INLINE void keep_visible(const pairs *of, int i, int rows, int key, vfloat sum[ROWS][COLS],
                         float *s)
{
    const int whole = rows >= ROWS && key + PANEL <= of->keys.count;
    const int looks = !whole || of->flags & CLATTN_F_MASK;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            vfloat x = sum[r][c];
            if (looks && r < rows)
                x = visible_lanes(of, i + r, key + c * VEC, 0, of->keys.count)
                        ? x
                        : (vfloat)(-INFINITY);
            store_vector(r < rows ? x : (vfloat)(-INFINITY), s + r * BLOCK_N + c * VEC);
        }
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Writes `count` elements, `step` apart, of x times `factor`. */
INLINE void store_scaled(__global const float *x, int count, float factor, __global void *to,
                         long index, long step, uint dtype)
{
    int d = 0;
    if (step == 1)
        for (; d + VEC <= count; d += VEC)
            store_elements(load_vector(x + d) * factor, to, index + d, dtype);
    for (; d < count; d++)
        store_element(x[d] * factor, to, index + d * step, dtype);
}

INLINE int is_finite(vfloat x)
{
    return all(fabs(x) <= (vfloat)(FLT_MAX));
}

/* Where the item's own part of a scratch tensor begins. */
INLINE long item_begin(__global const clattn_problem_row *row, const clattn_base *base, int tensor)
{
    return base->offset[tensor] + row->tensor[tensor].offset +
           (long)get_group_id(0) * row->tensor[tensor].stride[4];
}

#endif
