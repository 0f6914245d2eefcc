/* Gradients of additive attention: a range of keys of one head against all its queries. Weights and
 * gradients of scores are computed once more, a key a lane; then, a channel a lane, what each pair
 * gives to the sums of its query, its key and the parameters. Sums over queries end here; those
 * over keys are parts, one a range, which gradient_parts and additive_sums add up. */
#include "common/additive_gradient.h"

#define INVISIBLE (-1.0f) /* stands for the weight of an invisible pair where care is taken */

typedef struct additive_gradient {
    pairs of;
    query_block q;
    int q_begin, rows, tiled_rows; /* queries of the block; rounded up to whole tiles */
    int start, keys;               /* the block of keys */
    int careful;                   /* something may not be finite: 0 times it must not show */
    long k_step, v_step;           /* from strip to strip, from panel to panel */
    __global float *k_strips, *k_rows, *v_panels, *dk, *dv; /* see common/additive_gradient.h */
    __global float *dw;                                     /* (2, channels) of the range */
    float *p, *ds; /* (BLOCK_M, BLOCK_N) weights; gradients of scores */
} additive_gradient;

/* ---- weights and gradients of scores --------------------------------------------------------- */

/* Products of GRAD_OUT of a tile with the values of a panel. */
INLINE void value_products(const additive_gradient *x, int tile, int panel, vfloat sum[ROWS][COLS])
{
    __global const float *g = x->q.grads + (long)tile * x->q.width;
    __global const float *v = x->v_panels + panel * x->v_step;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            sum[r][c] = 0.0f;
    for (int d = 0; d < x->of.row->value_dim; d++)
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const vfloat y = load_vector(v + d * PANEL + c * VEC);
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                sum[r][c] = fma((vfloat)(g[r * x->q.width + d]), y, sum[r][c]);
        }
}

/* From scores in p and products in sum to weights in p and gradients of scores in ds. known: what
 * additive_rows knows of the tile's queries. */
INLINE void turn_scores(const additive_gradient *x, int rows, __global const float *known,
                        vfloat sum[ROWS][COLS], float *p, float *ds)
{
    const vfloat hidden = x->careful ? INVISIBLE : 0.0f;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        __global const float *own = known + (r < rows ? r : 0) * CLATTN_GRADIENT_ROW;
        const vfloat shift = softmax_shift(own[0]);
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const vfloat s = load_vector(p + r * BLOCK_N + c * VEC), d = s - shift;
            const vfloat w = exp_of_lanes(d > (vfloat)(0.0f) ? (vfloat)(0.0f) : d) * own[1];
            const vfloat turned = w * (sum[r][c] - own[2]);
            const vint sees = s != (vfloat)(-INFINITY);
            store_vector(sees ? w : hidden, p + r * BLOCK_N + c * VEC);
            store_vector(sees ? turned : (vfloat)(0.0f), ds + r * BLOCK_N + c * VEC);
        }
    }
}

/* All pairs of the block of queries with the block of keys. known: of the block's first query. */
OUTLINE void pair_block(const additive_gradient *x, __global const float *known)
{
    for (int c = 0; c < x->keys; c += PANEL)
        for (int tile = 0; tile < x->tiled_rows; tile += ROWS) {
            vfloat sum[ROWS][COLS];
            const int rows = x->rows - tile, at = tile * BLOCK_N + c;
            score_strips(x->q.parameters, x->q.strips + tile / ROWS * x->q.strip_step,
                         x->k_strips + c / PANEL * x->k_step, x->of.row->head_dim, sum);
            keep_visible(&x->of, x->q_begin + tile, rows, x->start + c, sum, x->p + at);
            value_products(x, tile, c / PANEL, sum);
            turn_scores(x, rows, known + tile * CLATTN_GRADIENT_ROW, sum, x->p + at, x->ds + at);
        }
}

/* ---- channels -------------------------------------------------------------------------------- */

/* tanh of channels c .. c + VEC - 1 of a tile's queries with one key. q, k: their rows. */
INLINE void tanh_of_tile(const additive_gradient *x, __global const float *q,
                         __global const float *k, int c, const int form, vfloat t[ROWS])
{
    const int channels = x->q.channels, step = 2 * channels;
    if (form == FORM_MIDDLE || form == FORM_WIDE) {
        const vfloat f = load_vector(k + channels);
        vfloat d[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            d[r] = fma(load_vector(q + channels + r * step), f, (vfloat)(1.0f));
            if (form == FORM_WIDE)
                d[r] = d[r] > (vfloat)(MOST_DIVISOR) ? (vfloat)(MOST_DIVISOR) : d[r];
        }
        const vfloat d01 = d[0] * d[1], d23 = d[2] * d[3];
        const vfloat inverse = (vfloat)(-2.0f) / (d01 * d23);
        const vfloat i01 = inverse * d23, i23 = inverse * d01;
        t[0] = fma(i01, d[1], (vfloat)(1.0f));
        t[1] = fma(i01, d[0], (vfloat)(1.0f));
        t[2] = fma(i23, d[3], (vfloat)(1.0f));
        t[3] = fma(i23, d[2], (vfloat)(1.0f));
        return;
    }
    const vfloat b = load_vector(k), bias = load_vector(x->q.parameters + channels + c);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const vfloat sum = (load_vector(q + r * step) + b) + bias;
        t[r] = form == FORM_NEAR ? tanh_near(sum) : tanh_of_lanes(sum);
    }
}

/* What a tile's pairs with all keys of the block give to da (ROWS), to dk and, returned, to the
 * gradient of w. `form` is a constant. */
INLINE vfloat turn_tile(const additive_gradient *x, int tile, int c, const int form,
                        vfloat da[ROWS])
{
    const int channels = x->q.channels;
    __global const float *q = x->q.rows + (long)tile * 2 * channels + c;
    vfloat dw = 0.0f;
    for (int j = 0; j < x->keys; j++) {
        const float *ds = x->ds + tile * BLOCK_N + j, *p = x->p + tile * BLOCK_N + j;
        __global float *dk = x->dk + (long)j * channels + c;
        vfloat t[ROWS], sum = load_vector(dk);
        tanh_of_tile(x, q, x->k_rows + (long)j * 2 * channels + c, c, form, t);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (form == FORM_FAR && p[r * BLOCK_N] == INVISIBLE)
                continue;
            const vfloat s = ds[r * BLOCK_N], slope = fma(-t[r], t[r], (vfloat)(1.0f));
            da[r] = fma(s, slope, da[r]);
            sum = fma(s, slope, sum);
            dw = fma(s, t[r], dw);
        }
        store_vector(sum, dk);
    }
    return dw;
}

/* The form of channels c .. c + VEC - 1 of a strip. */
INLINE int form_at(__global const float *strip, int channels, int width, int c)
{
    __global const int *forms = const_forms_of(strip, channels, width) + c / GROUP;
    int form = forms[0];
    for (int n = 1; n < VEC / GROUP; n++)
        form = max(form, forms[n]);
    return form;
}

/* The weights of channels by which sums are multiplied: 0 where nothing was summed, so that one
 * that is not finite doesn't show where nothing is visible. */
INLINE vfloat weights_of(vfloat sum, vfloat w)
{
    return sum == (vfloat)(0.0f) ? (vfloat)(0.0f) : w;
}

/* Channels c .. c + VEC - 1 of a tile; part: where its first query's go. */
INLINE void turn_channels(const additive_gradient *x, int tile, int c, int key_form,
                          __global float *part, long width, int is_first)
{
    const int form =
        max(key_form, form_at(x->q.strips + tile / ROWS * x->q.strip_step, x->q.channels, ROWS, c));
    const vfloat w = load_vector(x->q.parameters + c);
    vfloat dw, da[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        da[r] = 0.0f;
    if (form == FORM_MIDDLE)
        dw = turn_tile(x, tile, c, FORM_MIDDLE, da);
    else if (form == FORM_WIDE)
        dw = turn_tile(x, tile, c, FORM_WIDE, da);
    else if (form == FORM_NEAR)
        dw = turn_tile(x, tile, c, FORM_NEAR, da);
    else
        dw = turn_tile(x, tile, c, FORM_FAR, da);
    store_vector(load_vector(x->dw + c) + dw, x->dw + c);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (tile + r < x->rows) {
            const vfloat own = weights_of(da[r], w);
            store_vector(is_first ? da[r] * own : fma(da[r], own, load_vector(part + r * width)),
                         part + r * width);
        }
}

/* All channels of the block; part: that of the block's first query. */
OUTLINE void turn_block(const additive_gradient *x, __global float *part, int is_first)
{
    const int width = (x->of.row->head_dim + VEC - 1) / VEC * VEC;
    for (int c = 0; c < width; c += VEC) {
        int key_form = FORM_NEAR;
        for (int j = 0; j < x->keys; j += PANEL)
            key_form = max(key_form,
                           form_at(x->k_strips + j / PANEL * x->k_step, x->q.channels, PANEL, c));
        for (int tile = 0; tile < x->tiled_rows; tile += ROWS)
            turn_channels(x, tile, c, key_form, part + (long)tile * width + c, width, is_first);
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

/* dv (4, cols * VEC) of 4 keys += p^T (4, rows) g (rows, cols * VEC); cols is a constant, 1 or 2.
 */
INLINE void value_sums(const float *p, __global const float *g, int rows, __global float *dv,
                       long width, const int cols)
{
    vfloat sum[4][2];
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            sum[k][c] = load_vector(dv + k * width + c * VEC);
    for (int r = 0; r < rows; r++)
#pragma unroll
        for (int c = 0; c < cols; c++) {
            const vfloat y = load_vector(g + r * width + c * VEC);
#pragma unroll
            for (int k = 0; k < 4; k++)
                sum[k][c] = fma((vfloat)(p[r * BLOCK_N + k]), y, sum[k][c]);
        }
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            store_vector(sum[k][c], dv + k * width + c * VEC);
}

OUTLINE void add_values(const additive_gradient *x)
{
    const int width = x->q.width;
    for (int j = 0; !x->careful && j < x->keys; j += 4) {
        __global float *dv = x->dv + (long)j * width;
        int d = 0;
        for (; d + 2 * VEC <= width; d += 2 * VEC)
            value_sums(x->p + j, x->q.grads + d, x->rows, dv + d, width, 2);
        if (d < width)
            value_sums(x->p + j, x->q.grads + d, x->rows, dv + d, width, 1);
    }
    for (int j = 0; x->careful && j < x->keys; j++)
        for (int r = 0; r < x->rows; r++) {
            const float w = x->p[r * BLOCK_N + j];
            __global float *dv = x->dv + (long)j * width;
            for (int d = 0; w != INVISIBLE && d < width; d += VEC)
                store_vector(fma((vfloat)(w), load_vector(x->q.grads + (long)r * width + d),
                                 load_vector(dv + d)),
                             dv + d);
        }
}

/* ---- blocks of keys -------------------------------------------------------------------------- */

/* Keys and values of the block; what they get begins with 0. */
OUTLINE void pack_block(const additive_gradient *x, const rows_of *keys, const rows_of *values)
{
    const int channels = x->q.channels, end = x->start + x->keys;
    __global const clattn_problem_row *row = x->of.row;
    for (int j = x->start; j < end; j += PANEL) {
        __global float *strip = x->k_strips + (j - x->start) / PANEL * x->k_step;
        clear_strip(strip, channels, PANEL);
        for (int n = j; n < min(j + PANEL, end); n++)
            pack_key(keys, n, row->head_dim, strip, channels, n - j,
                     x->k_rows + (long)(n - x->start) * 2 * channels);
        set_flags(strip, channels, PANEL, 0);
    }
    pack_panels(values, x->start, end, row->value_dim, x->v_panels - x->start / PANEL * x->v_step,
                x->v_step);
    for (long n = 0; n < (long)BLOCK_N * channels; n += VEC)
        store_vector((vfloat)(0.0f), x->dk + n);
    for (long n = 0; n < (long)BLOCK_N * x->q.width; n += VEC)
        store_vector((vfloat)(0.0f), x->dv + n);
}

/* Whether something of the pair of blocks may not be finite. */
INLINE int needs_care(const additive_gradient *x)
{
    int flags = 0;
    for (int j = 0; j < x->keys; j += PANEL)
        flags |= flags_of(x->k_strips + j / PANEL * x->k_step, x->q.channels, PANEL);
    for (int tile = 0; tile < x->tiled_rows; tile += ROWS)
        flags |= flags_of(x->q.strips + tile / ROWS * x->q.strip_step, x->q.channels, ROWS);
    return flags != 0;
}

/* What keys and values got, or 0 from key `own` on, to GRAD_K and GRAD_V; the bias's share. */
OUTLINE void store_block(const additive_gradient *x, const clattn_base *base, int end, int own,
                         __global void *grad_k, __global void *grad_v)
{
    __global const clattn_problem_row *row = x->of.row;
    __global const clattn_tensor_row *k = &row->tensor[CLATTN_T_GRAD_K];
    __global const clattn_tensor_row *v = &row->tensor[CLATTN_T_GRAD_V];
    const long to_k = tensor_begin(row, base, CLATTN_T_GRAD_K, x->of.batch, x->of.head);
    const long to_v = tensor_begin(row, base, CLATTN_T_GRAD_V, x->of.batch, x->of.head);
    __global float *of_bias = x->dw + x->q.channels;
    for (int j = x->start; j < end; j++) {
        __global float *dk = x->dk + (long)(j - x->start) * x->q.channels;
        __global float *dv = x->dv + (long)(j - x->start) * x->q.width;
        for (int c = 0; j < own && c < x->q.channels; c += VEC) {
            const vfloat sum = load_vector(dk + c);
            const vfloat d = sum * weights_of(sum, load_vector(x->q.parameters + c));
            store_vector(d, dk + c);
            store_vector(load_vector(of_bias + c) + d, of_bias + c);
        }
        if (row->gradients & CLATTN_G_K)
            store_scaled(dk, row->head_dim, 1.0f, grad_k, to_k + j * k->stride[2], k->stride[3],
                         row->dtype[CLATTN_T_GRAD_K]);
        if (row->gradients & CLATTN_G_V)
            store_scaled(dv, row->value_dim, 1.0f, grad_v, to_v + j * v->stride[2], v->stride[3],
                         row->dtype[CLATTN_T_GRAD_V]);
    }
}

/* All queries of the head against the block of keys. parts: of this range, query 0. */
INLINE void attend_block(additive_gradient *x, const clattn_base *base,
                         __global float *query_blocks, __global const float *gradient_rows,
                         __global float *parts, int is_first)
{
    __global const clattn_problem_row *row = x->of.row;
    const int b = x->of.batch, h = x->of.head;
    const long width = (row->head_dim + VEC - 1) / VEC * VEC;
    __global const float *known =
        gradient_rows + tensor_begin(row, base, CLATTN_T_GRADIENT_ROWS, b, h);
    for (int i = 0; i < x->of.queries.count; i += BLOCK_M) {
        x->q = query_block_at(row, base, query_blocks, b, h, i);
        x->q_begin = i;
        x->rows = min(BLOCK_M, x->of.queries.count - i);
        x->tiled_rows = (x->rows + ROWS - 1) / ROWS * ROWS;
        x->careful = needs_care(x);
        pair_block(x, known + (long)i * CLATTN_GRADIENT_ROW);
        turn_block(x, parts + i * width, is_first);
        if (row->gradients & CLATTN_G_V)
            add_values(x);
    }
}

/* Where the parts of the item's memory are. */
INLINE void place_item(additive_gradient *x, __global float *memory)
{
    const int channels = x->q.channels;
    x->k_step = strip_size(channels, PANEL);
    x->v_step = (long)x->of.row->value_dim * PANEL;
    x->k_strips = memory;
    x->k_rows = x->k_strips + BLOCK_N / PANEL * x->k_step;
    x->v_panels = x->k_rows + (long)BLOCK_N * 2 * channels;
    x->dk = x->v_panels + BLOCK_N / PANEL * x->v_step;
    x->dv = x->dk + (long)BLOCK_N * channels;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
additive_gradient_simd(__global const void *k, __global const void *v,
                       __global const float *gradient_rows, __global float *query_blocks,
                       __global float *block, __global float *gradient_parts, __global float *sums,
                       __global void *grad_k, __global void *grad_v, OPTION_PARAMETERS,
                       const clattn_base base, __global const clattn_problem_row *rows,
                       __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head, range = item.k_begin / row->range_keys;
    float p[BLOCK_M * BLOCK_N] __attribute__((aligned(64)));
    float ds[BLOCK_M * BLOCK_N] __attribute__((aligned(64)));
    additive_gradient x;
    x.of = pairs_init(row, &base, b, h, OPTION_ARGUMENTS);
    x.q = query_block_at(row, &base, query_blocks, b, h, 0);
    x.p = p;
    x.ds = ds;
    place_item(&x, block + item_begin(row, &base, CLATTN_T_ADDITIVE_BLOCK));
    x.dw = sums + tensor_begin(row, &base, CLATTN_T_ADDITIVE_SUMS, b, h) +
           range * row->tensor[CLATTN_T_ADDITIVE_SUMS].stride[2];
    for (int c = 0; c < 2 * x.q.channels; c += VEC)
        store_vector((vfloat)(0.0f), x.dw + c);
    const rows_of keys = rows_init(row, &base, k, CLATTN_T_K, k, CLATTN_T_K, b, h, 0, 0);
    const rows_of values = rows_init(row, &base, v, CLATTN_T_V, v, CLATTN_T_V, b, h, 0, 0);
    __global float *parts = gradient_parts +
                            tensor_begin(row, &base, CLATTN_T_GRADIENT_PARTS, b, h) +
                            range * row->tensor[CLATTN_T_GRADIENT_PARTS].stride[4];
    for (x.start = item.k_begin; x.start < item.k_end; x.start += BLOCK_N) {
        const int end = min(x.start + BLOCK_N, item.k_end);
        x.keys = max(min(end, x.of.keys.count) - x.start, 0);
        pack_block(&x, &keys, &values);
        if (x.keys > 0)
            attend_block(&x, &base, query_blocks, gradient_rows, parts, x.start == item.k_begin);
        store_block(&x, &base, end, x.of.queries.count > 0 ? x.start + x.keys : 0, grad_k, grad_v);
    }
}
