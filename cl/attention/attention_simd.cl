/* Attention for devices whose work-item is a core with vectors: one work-item a group, blocks of
 * queries against blocks of keys, register tiles of ROWS queries by COLS or VALUE_COLS vectors,
 * online softmax (Milakov and Gimelshein 2018; Dao et al. 2022). Reads keys from the panels of
 * pack_keys and values as rows of whole vectors. */
#include "common/arguments.h"
#include "common/item.h"
#include "common/vector.h"
#include "common/softmax.h"

/* ROWS: queries of a register tile. ROWS * COLS + COLS + 1 vectors should fit the registers. */
#ifndef ROWS
#define ROWS 6
#endif
/* COLS: vectors of keys of a register tile of Q K^T, so a panel has COLS * VEC keys. */
#ifndef COLS
#define COLS 2
#endif
/* VALUE_COLS: vectors of value dimensions of a register tile of P V. */
#ifndef VALUE_COLS
#define VALUE_COLS 2
#endif
/* BLOCK_M: most queries of an item; a multiple of ROWS. */
#ifndef BLOCK_M
#define BLOCK_M 48
#endif
/* BLOCK_N: keys of a block; a multiple of COLS * VEC. */
#ifndef BLOCK_N
#define BLOCK_N 128
#endif
/* DIM_MAX: bound of head_dim and value_dim; 64, 128, 256 or 576. */
#ifndef DIM_MAX
#define DIM_MAX 64
#endif
/* FULL: 1 with the options beyond OUT and LSE: returned weights. */
#ifndef FULL
#define FULL 0
#endif

#define PANEL (COLS * VEC)
#if BLOCK_M % ROWS != 0 || BLOCK_N % PANEL != 0 || DIM_MAX % 16 != 0
#error "BLOCK_M must be a multiple of ROWS, BLOCK_N of COLS * VEC, DIM_MAX of 16"
#endif

/* What stands for the weight of an invisible pair in a careful pass. */
#define INVISIBLE (-1.0f)

/* What one work-group works on. Arrays are private memory; rows beyond the item's are 0. */
typedef struct block {
    __global const clattn_problem_row *row;
    __global const float *k_panels, *v_rows; /* of this head */
    long panel_step, v_step;                 /* elements from panel to panel, from value to value */
    int q_begin, rows, k_end;
    int tiled_rows; /* rows, rounded up to whole tiles */
    int width;      /* value_dim, rounded up to whole vectors */
    float *q, *o;   /* (BLOCK_M, DIM_MAX) */
    float *p;       /* (BLOCK_M, BLOCK_N) scores, then weights relative to m */
    vfloat *most;   /* (BLOCK_M) largest scores of the block of keys, by lane */
    float *m, *l;   /* (BLOCK_M) running maximum, running sum */
} block;

#define INLINE static inline __attribute__((always_inline))

/* Keys that the tile's first query (the fewest) or its last one (the most) sees. */
INLINE int fewest_keys(const block *of, int tile)
{
    return visible_keys(of->row, of->q_begin + tile, of->k_end);
}
INLINE int most_keys(const block *of, int tile)
{
    return visible_keys(of->row, of->q_begin + min(tile + ROWS, of->rows) - 1, of->k_end);
}

/* s (ROWS, BLOCK_N): scaled scores of a row tile with one panel that begins at key `key`, where
 * no key is visible -INFINITY; m: the rows' running maxima, by lane. */
INLINE void
score_tile(const block *of, int tile, int key, const float *q, float *s, vfloat *m)
{
    vfloat sum[ROWS][COLS];
    __global const float *panel = of->k_panels + key / PANEL * of->panel_step;
    const int head_dim = of->row->head_dim;
    const float scale = of->row->scale;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            sum[r][c] = 0.0f;
    for (int d = 0; d < head_dim; d++) {
        vfloat k[COLS];
#pragma unroll
        for (int c = 0; c < COLS; c++)
            k[c] = load_vector(panel + d * PANEL + c * VEC);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const vfloat x = q[r * DIM_MAX + d];
#pragma unroll
            for (int c = 0; c < COLS; c++)
                sum[r][c] = fma(x, k[c], sum[r][c]);
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++)
            sum[r][c] *= scale;
    if (key + PANEL > fewest_keys(of, tile)) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const int keys = visible_keys(of->row, of->q_begin + tile + r, of->k_end);
#pragma unroll
            for (int c = 0; c < COLS; c++)
                sum[r][c] = LANES + (key + c * VEC) < keys ? sum[r][c] : (vfloat)(-INFINITY);
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        vfloat most = m[r];
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            store_vector(sum[r][c], s + r * BLOCK_N + c * VEC);
            most = larger(sum[r][c], most);
        }
        m[r] = most;
    }
}

EXP_OF_NONPOSITIVE(exp_of_lanes, vfloat, as_vfloat, as_vint)

/* Turns the scores of one row into weights relative to the new maximum; returns their sum. */
INLINE float exponentiate(float *s, int panels, float shift)
{
    vfloat sum = 0.0f;
    for (int c = 0; c < panels * PANEL; c += PANEL) {
#pragma unroll
        for (int i = 0; i < PANEL; i += VEC) {
            const vfloat p = exp_of_lanes(load_vector(s + c + i) - shift);
            sum += p;
            store_vector(p, s + c + i);
        }
    }
    return sum_of_lanes(sum);
}

/* The same, with invisible pairs marked. */
static float exponentiate_carefully(float *s, int panels, float shift)
{
    float sum = 0.0f;
    for (int j = 0; j < panels * PANEL; j++) {
        const float p = exp_nonpositive(s[j] - shift);
        s[j] = s[j] == -INFINITY ? INVISIBLE : p;
        sum += p;
    }
    return sum;
}

INLINE void scale_row(float *o, int width, float factor)
{
    for (int d = 0; d < width; d += VEC)
        store_vector(load_vector(o + d) * factor, o + d);
}

/* o (ROWS, cols * VEC) += p (ROWS, keys) v (keys, cols * VEC); cols <= VALUE_COLS is a constant. */
INLINE void
value_tile(const float *p, int keys, __global const float *v, long v_step, float *o, const int cols)
{
    vfloat sum[ROWS][VALUE_COLS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            sum[r][c] = load_vector(o + r * DIM_MAX + c * VEC);
    for (int j = 0; j < keys; j++) {
        vfloat x[VALUE_COLS];
#pragma unroll
        for (int c = 0; c < cols; c++)
            x[c] = load_vector(v + j * v_step + c * VEC);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const vfloat w = p[r * BLOCK_N + j];
#pragma unroll
            for (int c = 0; c < cols; c++)
                sum[r][c] = fma(w, x[c], sum[r][c]);
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            store_vector(sum[r][c], o + r * DIM_MAX + c * VEC);
}

/* One row against the values of a block, invisible pairs left out: 0 * NaN must not show. */
static void value_row_carefully(const float *p, int keys, __global const float *v, long v_step,
                                float *o, int value_dim)
{
    for (int j = 0; j < keys; j++) {
        if (p[j] == INVISIBLE)
            continue;
        for (int d = 0; d < value_dim; d++)
            o[d] = fma(p[j], v[j * v_step + d], o[d]);
    }
}

/* Writes `count` elements, `step` apart, each times `factor`. */
INLINE void
write_row(const float *x, int count, float factor, __global float *to, long step)
{
    int d = 0;
    if (step == 1)
        for (; d + VEC <= count; d += VEC)
            store_vector(load_vector(x + d) * factor, to + d);
    for (; d < count; d++)
        to[d * step] = x[d] * factor;
}

INLINE void load_queries(const block *of, __global const float *q)
{
    __global const clattn_tensor_row *tensor = &of->row->tensor[CLATTN_T_Q];
    for (int r = 0; r < of->tiled_rows; r++)
        for (int d = 0; d < of->row->head_dim; d++)
            of->q[r * DIM_MAX + d] =
                r < of->rows ? q[(of->q_begin + r) * tensor->stride[2] + d * tensor->stride[3]]
                             : 0.0f;
}

INLINE void clear_results(const block *of)
{
    for (int r = 0; r < of->tiled_rows; r++) {
        of->m[r] = -INFINITY;
        of->l[r] = 0.0f;
        for (int d = 0; d < of->width; d += VEC)
            store_vector((vfloat)(0.0f), of->o + r * DIM_MAX + d);
    }
}

/* Scores of all rows with keys `key` to `key + keys` - 1, panel by panel. */
INLINE void score_block(const block *of, int key, int keys)
{
    for (int r = 0; r < of->tiled_rows; r++)
        of->most[r] = -INFINITY;
    for (int c = 0; c < keys; c += PANEL)
        for (int tile = 0; tile < of->tiled_rows; tile += ROWS)
            if (key + c < most_keys(of, tile))
                score_tile(of, tile, key + c, of->q + tile * DIM_MAX, of->p + tile * BLOCK_N + c,
                           of->most + tile);
}

/* Moves a row to its new maximum, and turns its scores into weights relative to it. */
INLINE void softmax_row(const block *of, int r, int panels, int careful)
{
    const float before = of->m[r];
    const float now = largest_lane(larger(of->most[r], (vfloat)(before)));
    const float shift = softmax_shift(now);
    float *p = of->p + r * BLOCK_N;
    if (now > before) {
        const float factor = exp_nonpositive(before - shift);
        of->m[r] = now;
        of->l[r] *= factor;
        scale_row(of->o + r * DIM_MAX, of->width, factor);
    }
    of->l[r] += careful ? exponentiate_carefully(p, panels, shift) : exponentiate(p, panels, shift);
}

INLINE void softmax_block(const block *of, int key, int keys, int careful)
{
    for (int tile = 0; tile < of->tiled_rows; tile += ROWS) {
        const int seen = min(keys, most_keys(of, tile) - key);
        for (int r = tile; seen > 0 && r < tile + ROWS; r++)
            softmax_row(of, r, (seen + PANEL - 1) / PANEL, careful);
    }
}

/* Values from dimension `d` on, `cols` vectors of them. */
INLINE void value_columns(const block *of, int key, int keys, int d, const int cols)
{
    __global const float *v = of->v_rows + key * of->v_step + d;
    for (int tile = 0; tile < of->tiled_rows; tile += ROWS)
        value_tile(of->p + tile * BLOCK_N, min(keys, most_keys(of, tile) - key), v, of->v_step,
                   of->o + tile * DIM_MAX + d, cols);
}

INLINE void value_block(const block *of, int key, int keys)
{
    int d = 0;
    for (; d + VALUE_COLS * VEC <= of->width; d += VALUE_COLS * VEC)
        value_columns(of, key, keys, d, VALUE_COLS);
    for (; d < of->width; d += VEC)
        value_columns(of, key, keys, d, 1);
}

INLINE void value_block_carefully(const block *of, int key, int keys)
{
    __global const float *v = of->v_rows + key * of->v_step;
    for (int r = 0; r < of->rows; r++)
        value_row_carefully(of->p + r * BLOCK_N, min(keys, most_keys(of, r / ROWS * ROWS) - key), v,
                            of->v_step, of->o + r * DIM_MAX, of->row->value_dim);
}

INLINE int all_finite(const block *of)
{
    vfloat check = 0.0f; /* becomes NaN */
    for (int r = 0; r < of->rows; r++)
        for (int d = 0; d < of->width; d += VEC)
            check += load_vector(of->o + r * DIM_MAX + d) * 0.0f;
    return sum_of_lanes(check) == 0.0f;
}

/* A result that isn't finite may come from 0 * NaN or 0 * infinity behind a mask: then all is done
 * once more, with care. */
INLINE void attend(const block *of)
{
    for (int careful = 0; careful < 2; careful++) {
        clear_results(of);
        for (int key = 0; key < of->k_end; key += BLOCK_N) {
            const int keys = min(BLOCK_N, of->k_end - key);
            score_block(of, key, keys);
            softmax_block(of, key, keys, careful);
            if (careful)
                value_block_carefully(of, key, keys);
            else
                value_block(of, key, keys);
        }
        if (all_finite(of))
            break;
    }
}

INLINE void write_results(const block *of, __global float *out, __global float *lse)
{
    __global const clattn_tensor_row *out_row = &of->row->tensor[CLATTN_T_OUT];
    const long lse_step = of->row->tensor[CLATTN_T_LSE].stride[2];
    for (int r = 0; r < of->rows; r++) {
        write_row(of->o + r * DIM_MAX, of->row->value_dim, softmax_normaliser(of->l[r]),
                  out + (of->q_begin + r) * out_row->stride[2], out_row->stride[3]);
        if (of->row->flags & CLATTN_F_LSE)
            lse[(of->q_begin + r) * lse_step] = softmax_lse(of->m[r], of->l[r]);
    }
}

#if FULL
/* Weights of one row with a panel of keys; an invisible pair's is 0 even where the sum is NaN. */
INLINE void weigh_panel(const block *of, int r, int visible)
{
    float *p = of->p + r * BLOCK_N;
    const float l = of->l[r];
    if (!visible) {
        for (int c = 0; c < PANEL; c += VEC)
            store_vector((vfloat)(0.0f), p + c);
    } else if (isnan(l)) {
        exponentiate_carefully(p, 1, softmax_shift(of->m[r]));
        for (int c = 0; c < PANEL; c++)
            p[c] = p[c] == INVISIBLE ? 0.0f : l;
    } else {
        exponentiate(p, 1, softmax_shift(of->m[r]));
        scale_row(p, PANEL, softmax_normaliser(l));
    }
}

/* The scores once more, now that maximum and sum are known. */
INLINE void write_weights(const block *of, __global float *weights)
{
    __global const clattn_tensor_row *tensor = &of->row->tensor[CLATTN_T_WEIGHTS];
    for (int key = 0; key < of->row->n_kv; key += PANEL)
        for (int tile = 0; tile < of->tiled_rows; tile += ROWS) {
            const int visible = key < most_keys(of, tile);
            if (visible)
                score_tile(of, tile, key, of->q + tile * DIM_MAX, of->p + tile * BLOCK_N,
                           of->most + tile);
            for (int r = tile; r < min(tile + ROWS, of->rows); r++) {
                weigh_panel(of, r, visible);
                write_row(of->p + r * BLOCK_N, min(PANEL, of->row->n_kv - key), 1.0f,
                          weights + (of->q_begin + r) * tensor->stride[2] + key * tensor->stride[3],
                          tensor->stride[3]);
            }
        }
}
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_simd(__global const float *q, __global const float *k_panels,
               __global const float *v_rows, __global float *out, __global float *lse,
               __global float *weights, const clattn_base base,
               __global const clattn_problem_row *rows, __global const clattn_work_item *items,
               uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head, g = item.head / row->group;
    float block_q[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));
    float block_o[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));
    float block_p[BLOCK_M * BLOCK_N] __attribute__((aligned(64)));
    vfloat most[BLOCK_M];
    float m[BLOCK_M], l[BLOCK_M];
    block of;
    of.row = row;
    of.k_panels = k_panels + tensor_begin(row, &base, CLATTN_T_K_PANELS, b, g);
    of.v_rows = v_rows + tensor_begin(row, &base, CLATTN_T_V_ROWS, b, g);
    of.panel_step = row->tensor[CLATTN_T_K_PANELS].stride[2];
    of.v_step = row->tensor[CLATTN_T_V_ROWS].stride[2];
    of.q_begin = item.q_begin;
    of.rows = item.q_end - item.q_begin;
    of.k_end = item.k_end;
    of.tiled_rows = (of.rows + ROWS - 1) / ROWS * ROWS;
    of.width = (row->value_dim + VEC - 1) / VEC * VEC;
    of.q = block_q;
    of.o = block_o;
    of.p = block_p;
    of.most = most;
    of.m = m;
    of.l = l;
    load_queries(&of, q + tensor_begin(row, &base, CLATTN_T_Q, b, h));
    attend(&of);
    write_results(&of, out + tensor_begin(row, &base, CLATTN_T_OUT, b, h),
                  lse + tensor_begin(row, &base, CLATTN_T_LSE, b, h));
#if FULL
    if (row->flags & CLATTN_F_WEIGHTS)
        write_weights(&of, weights + tensor_begin(row, &base, CLATTN_T_WEIGHTS, b, h));
#endif
}
