/* Additive attention: a block of queries of one head against all keys, in blocks of BLOCK_N, with
 * the online softmax. An item has in its own memory: parameters, strips of its queries, and rows of
 * its results. Keys come in strips, values in rows, from additive_pack_keys. */
#include "common/additive.h"

#define INVISIBLE                                                                                  \
    (-1.0f) /* stands for the weight of an invisible pair where values aren't finite */

typedef struct additive {
    pairs of;
    int q_begin, rows, tiled_rows; /* queries; rounded up to whole tiles */
    int channels;                  /* padded */
    int width;                     /* of a row of values, whole vectors */
    __global float *parameters, *q_strips, *o;
    __global const float *k_strips, *v_rows;
    long k_step, q_step; /* from strip to strip */
    float *p;            /* (BLOCK_M, BLOCK_N) scores, then weights relative to m */
    float *m, *l;        /* (BLOCK_M) maximum and sum of the softmax */
} additive;

/* The item's queries into strips. */
OUTLINE void pack_queries(const additive *x, __global const void *q, long begin)
{
    const long step = x->of.row->tensor[CLATTN_T_Q].stride[2];
    for (int tile = 0; tile < x->tiled_rows; tile += ROWS) {
        __global float *strip = x->q_strips + tile / ROWS * x->q_step;
        clear_strip(strip, x->channels, ROWS);
        for (int r = tile; r < min(tile + ROWS, x->rows); r++)
            pack_query(x->of.row, q, begin + (x->q_begin + r) * step, x->parameters, strip,
                       r - tile, 0);
    }
}

/* Scores of all rows with the keys of [start, end). */
OUTLINE void score_block(const additive *x, int start, int end)
{
    for (int key = start; key < end; key += PANEL)
        for (int tile = 0; tile < x->tiled_rows; tile += ROWS) {
            vfloat sum[ROWS][COLS];
            score_strips(x->parameters, x->q_strips + tile / ROWS * x->q_step,
                         x->k_strips + key / PANEL * x->k_step, x->of.row->head_dim, sum);
            keep_visible(&x->of, x->q_begin + tile, x->rows - tile, key, sum,
                         x->p + tile * BLOCK_N + key - start);
        }
}

/* Whether values of the panel at `key` are not all finite. */
INLINE int is_unsafe(const additive *x, int key)
{
    return flags_of(x->k_strips + key / PANEL * x->k_step, x->channels, PANEL) & STRIP_UNSAFE;
}

/* Scores of one row, of `size` keys in whole panels, into weights; m, l and o follow the maximum.
 * p: the row's. */
INLINE void weigh_row(const additive *x, int r, int start, int size, float *p)
{
    vfloat most = -INFINITY, sum = 0.0f;
    for (int c = 0; c < size; c += VEC)
        most = larger(load_vector(p + c), most);
    const float top = largest_lane(most), m = top > x->m[r] ? top : x->m[r];
    const float shift = softmax_shift(m), rescale = exp_nonpositive(x->m[r] - shift);
    for (int key = 0; key < size; key += PANEL) {
        const vfloat hidden = is_unsafe(x, start + key) ? INVISIBLE : 0.0f;
        for (int c = key; c < key + PANEL; c += VEC) {
            const vfloat s = load_vector(p + c), w = exp_of_lanes(s - shift);
            sum += w;
            store_vector(s == (vfloat)(-INFINITY) ? hidden : w, p + c);
        }
    }
    x->l[r] = x->l[r] * rescale + sum_of_lanes(sum);
    x->m[r] = m;
    if (rescale == 1.0f)
        return;
    for (int d = 0; d < x->width; d += VEC) {
        __global float *o = x->o + (long)r * x->width + d;
        store_vector(load_vector(o) * rescale, o);
    }
}

/* o (ROWS, cols * VEC) += p (ROWS, PANEL) v (PANEL, cols * VEC); cols is a constant, 1 or 2. */
INLINE void value_strip(const float *p, __global const float *v, __global float *o, long width,
                        int keys, const int cols)
{
    vfloat sum[ROWS][2];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            sum[r][c] = load_vector(o + r * width + c * VEC);
    for (int j = 0; j < keys; j++)
#pragma unroll
        for (int c = 0; c < cols; c++) {
            const vfloat y = load_vector(v + j * width + c * VEC);
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                sum[r][c] = fma((vfloat)(p[r * BLOCK_N + j]), y, sum[r][c]);
        }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            store_vector(sum[r][c], o + r * width + c * VEC);
}

/* The same pair by pair, without invisible ones. */
INLINE void value_strip_carefully(const float *p, __global const float *v, __global float *o,
                                  long width, int keys)
{
    for (int r = 0; r < ROWS; r++)
        for (int j = 0; j < keys; j++) {
            const float w = p[r * BLOCK_N + j];
            for (int d = 0; w != INVISIBLE && d < width; d += VEC)
                store_vector(fma((vfloat)(w), load_vector(v + j * width + d),
                                 load_vector(o + r * width + d)),
                             o + r * width + d);
        }
}

/* Weights times values of [start, end). */
OUTLINE void add_values(const additive *x, int start, int end)
{
    const long width = x->width;
    for (int key = start; key < end; key += PANEL)
        for (int tile = 0; tile < x->tiled_rows; tile += ROWS) {
            const float *p = x->p + tile * BLOCK_N + key - start;
            const int keys = min(PANEL, end - key);
            __global const float *v = x->v_rows + key * width;
            __global float *o = x->o + tile * width;
            int d = 0;
            if (is_unsafe(x, key)) {
                value_strip_carefully(p, v, o, width, keys);
                continue;
            }
            for (; d + 2 * VEC <= width; d += 2 * VEC)
                value_strip(p, v + d, o + d, width, keys, 2);
            if (d < width)
                value_strip(p, v + d, o + d, width, keys, 1);
        }
}

/* ---- results --------------------------------------------------------------------------------- */

/* Scores of the block into WEIGHTS, where they stay until the softmax's sums are known. */
OUTLINE void keep_scores(const additive *x, __global float *weights, long begin, int start, int end)
{
    __global const clattn_tensor_row *t = &x->of.row->tensor[CLATTN_T_WEIGHTS];
    for (int r = 0; r < x->rows; r++)
        for (int j = start; j < end; j++)
            weights[begin + (x->q_begin + r) * t->stride[2] + j * t->stride[3]] =
                x->p[r * BLOCK_N + j - start];
}

/* WEIGHTS of query i: from scores, or 0 from `keys` on. */
INLINE void write_weights(__global const clattn_problem_row *row, __global float *weights,
                          long begin, int i, int keys, float m, float l)
{
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_WEIGHTS];
    const float shift = softmax_shift(m), normaliser = softmax_normaliser(l);
    __global float *own = weights + begin + i * t->stride[2];
    int j = 0;
    if (t->stride[3] == 1)
        for (; j + VEC <= keys; j += VEC) {
            const vfloat s = load_vector(own + j), w = exp_of_lanes(s - shift) * normaliser;
            store_vector(s == (vfloat)(-INFINITY) ? (vfloat)(0.0f) : w, own + j);
        }
    for (; j < row->n_kv; j++) {
        __global float *at = own + j * t->stride[3];
        const float s = j < keys ? *at : -INFINITY;
        *at = s == -INFINITY ? 0.0f : exp_nonpositive(s - shift) * normaliser;
    }
}

/* Everything about query i, row r of the block, or a row behind the queries. */
INLINE void write_query(const additive *x, const clattn_base *base, int r, __global void *out,
                        __global float *lse, __global float *weights)
{
    __global const clattn_problem_row *row = x->of.row;
    __global const clattn_tensor_row *t = row->tensor;
    const int b = x->of.batch, h = x->of.head, i = x->q_begin + r, is_there = r < x->rows;
    const float m = is_there ? x->m[r] : -INFINITY, l = is_there ? x->l[r] : 0.0f;
    const long to = tensor_begin(row, base, CLATTN_T_OUT, b, h) + i * t[CLATTN_T_OUT].stride[2];
    const uint dtype = row->dtype[CLATTN_T_OUT];
    if (is_there)
        store_scaled(x->o + (long)r * x->width, row->value_dim, softmax_normaliser(l), out, to,
                     t[CLATTN_T_OUT].stride[3], dtype);
    for (int d = 0; !is_there && d < row->value_dim; d++)
        store_element(0.0f, out, to + d * t[CLATTN_T_OUT].stride[3], dtype);
    if (row->flags & CLATTN_F_LSE)
        lse[tensor_begin(row, base, CLATTN_T_LSE, b, h) + i * t[CLATTN_T_LSE].stride[2]] =
            softmax_lse(m, l);
    if (row->flags & CLATTN_F_WEIGHTS)
        write_weights(row, weights, tensor_begin(row, base, CLATTN_T_WEIGHTS, b, h), i,
                      is_there ? x->of.keys.count : 0, m, l);
}

INLINE void clear_results(const additive *x)
{
    for (long n = 0; n < (long)x->tiled_rows * x->width; n += VEC)
        store_vector((vfloat)(0.0f), x->o + n);
    for (int r = 0; r < x->tiled_rows; r++) {
        x->m[r] = -INFINITY;
        x->l[r] = 0.0f;
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
additive_simd(__global const void *q, __global const void *w_score,
              __global const void *channel_bias, __global const float *k_strips,
              __global const float *v_rows, __global float *block, __global void *out,
              __global float *lse, __global float *weights, OPTION_PARAMETERS,
              const clattn_base base, __global const clattn_problem_row *rows,
              __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head;
    float p[BLOCK_M * BLOCK_N] __attribute__((aligned(64)));
    float m[BLOCK_M], l[BLOCK_M];
    additive x;
    x.of = pairs_init(row, &base, b, h, OPTION_ARGUMENTS);
    x.q_begin = item.q_begin;
    x.rows = clamp(x.of.queries.count - item.q_begin, 0, item.q_end - item.q_begin);
    x.tiled_rows = (x.rows + ROWS - 1) / ROWS * ROWS;
    x.channels = padded(row->head_dim);
    x.width = (row->value_dim + VEC - 1) / VEC * VEC;
    x.parameters = block + item_begin(row, &base, CLATTN_T_ADDITIVE_BLOCK);
    x.q_step = strip_size(x.channels, ROWS);
    x.q_strips = x.parameters + 2 * x.channels;
    x.o = x.q_strips + BLOCK_M / ROWS * x.q_step;
    x.k_step = row->tensor[CLATTN_T_K_PANELS].stride[2];
    x.k_strips = k_strips + tensor_begin(row, &base, CLATTN_T_K_PANELS, b, h);
    x.v_rows = v_rows + tensor_begin(row, &base, CLATTN_T_V_ROWS, b, h);
    x.p = p;
    x.m = m;
    x.l = l;
    load_parameters(row, &base, h, w_score, channel_bias, x.parameters);
    pack_queries(&x, q, tensor_begin(row, &base, CLATTN_T_Q, b, h));
    clear_results(&x);
    for (int start = 0; start < x.of.keys.count; start += BLOCK_N) {
        const int end = min(start + BLOCK_N, x.of.keys.count);
        const int size = (end - start + PANEL - 1) / PANEL * PANEL;
        score_block(&x, start, end);
        if (row->flags & CLATTN_F_WEIGHTS)
            keep_scores(&x, weights, tensor_begin(row, &base, CLATTN_T_WEIGHTS, b, h), start, end);
        for (int r = 0; r < x.tiled_rows; r++)
            weigh_row(&x, r, start, size, p + r * BLOCK_N);
        add_values(&x, start, end);
    }
    for (int r = 0; r < item.q_end - item.q_begin; r++)
        write_query(&x, &base, r, out, lse, weights);
}
