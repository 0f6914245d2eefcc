/* Queries, keys and values of a tile from where the caller has them, of any type and stride, to
 * local memory. */
#ifndef CLATTN_TILE_STAGE_H
#define CLATTN_TILE_STAGE_H

#include "common/tile.h"

INLINE rows_of keys_of_tile(const tile *x)
{
    rows_of keys = rows_init(x->row, x->base, x->past_k, CLATTN_T_PAST_K, x->k, CLATTN_T_K,
                             x->batch, x->group, x->token, x->pages);
    rows_scale(&keys, x->row, x->base, x->k_scales, CLATTN_T_K_SCALES, x->batch, x->group,
               x->token);
    return keys;
}

INLINE rows_of values_of_tile(const tile *x)
{
    rows_of values = rows_init(x->row, x->base, x->past_v, CLATTN_T_PAST_V, x->v, CLATTN_T_V,
                               x->batch, x->group, x->token, x->pages);
    rows_scale(&values, x->row, x->base, x->v_scales, CLATTN_T_V_SCALES, x->batch, x->group,
               x->token);
    return values;
}

/* ---- lines: where rows, keys and values begin, once for all of their slices ------------------ */

INLINE void find_queries(const tile *x)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_Q];
    for (int r = x->me; r < BLOCK_M; r += WG_SIZE)
        x->q_lines[r] =
            is_row(x, r) ? tensor_begin(x->row, x->base, CLATTN_T_Q, x->batch, head_of_row(x, r)) +
                               (x->queries.first + query_of_row(x, r)) * t->stride[2]
                         : -1;
}

/* Keys or values from `start` on, and before `end`. */
INLINE void find_lines(const tile *x, const rows_of *of, int start, int end, __local long *lines)
{
#pragma unroll 1
    for (int j = x->me; j < BLOCK_N; j += WG_SIZE)
        lines[j] = j < end - start ? row_begin(of, start + j) : -1;
}

INLINE void find_keys(const tile *x, int start, int end)
{
    const rows_of keys = keys_of_tile(x);
    find_lines(x, &keys, start, end, x->k_lines);
    const rows_of values = values_of_tile(x);
    find_lines(x, &values, start, end, x->v_lines);
}

/* ---- elements -------------------------------------------------------------------------------- */

/* A memory object with rows, the same for all work-items, and which lines of a slice are its rows.
 */
typedef struct source {
    __global const void *memory;
    long inner; /* elements from dimension to dimension */
    uint dtype;
    int begin, end;
} source;

/* Those of the keys (values) from `start` on that are past ones, and new ones. */
INLINE source source_of(const tile *x, int start, int past, __global const void *memory, int tensor)
{
    const int border = clamp(x->row->n_past - start, 0, BLOCK_N);
    source of;
    of.memory = memory;
    of.inner = x->row->tensor[tensor].stride[3];
    of.dtype = x->row->dtype[tensor];
    of.begin = past ? 0 : border;
    of.end = past ? border : BLOCK_N;
    return of;
}

/* Whether `count` elements or more can be loaded as a vector. */
INLINE int is_vector(const source *of, long line, int count)
{
    return line >= 0 && of->inner == 1 && count >= VEC;
}

/* 4 elements in a row. */
INLINE float4 elements_of(const source *of, long at)
{
#if STORAGE >= CLATTN_D_I8
    if (of->dtype >= CLATTN_D_I8)
        return load_integers(of->memory, at, of->dtype);
#endif
    return load_elements(of->memory, at, of->dtype);
}

/* Element d of a row that begins at `line`, 0 if it isn't there. */
INLINE float element_of(const source *of, long line, int d, int dim)
{
    return line >= 0 && d < dim ? load_element(of->memory, line + d * of->inner, of->dtype) : 0.0f;
}

/* ---- slices ---------------------------------------------------------------------------------- */

/* Queries, past keys or new keys of a slice: `kind` 0, 1 or 2. */
INLINE source source_of_kind(const tile *x, int start, int kind)
{
    source of = source_of(x, start, kind == 1,
                          kind == 0   ? x->q
                          : kind == 1 ? x->past_k
                                      : x->k,
                          kind == 0   ? CLATTN_T_Q
                          : kind == 1 ? CLATTN_T_PAST_K
                                      : CLATTN_T_K);
    if (kind == 0) {
        of.begin = 0;
        of.end = BLOCK_M;
    }
    return of;
}

/* What elements of a vector from dimension d on of key or value j are multiplied with. A loop of
 * single elements has vectors of one scale, too: groups are whole vectors. */
#if STORAGE >= CLATTN_D_I8
INLINE float scale_at(const rows_of *rows, int j, int d, long line, int dim)
{
    return line >= 0 && d < dim ? scale_of(rows, j, d) : 1.0f;
}

INLINE float scale_of_key(const tile *x, int j, int d, long line)
{
    const rows_of keys = keys_of_tile(x);
    return scale_at(&keys, j, d, line, x->row->head_dim);
}

INLINE float scale_of_value(const tile *x, int j, int d, long line)
{
    const rows_of values = values_of_tile(x);
    return scale_at(&values, j, d, line, x->row->value_dim);
}
#define KEY_SCALE(x, j, d, line)   scale_of_key(x, j, d, line)
#define VALUE_SCALE(x, j, d, line) scale_of_value(x, j, d, line)
#else
#define KEY_SCALE(x, j, d, line)   1.0f
#define VALUE_SCALE(x, j, d, line) 1.0f
#endif

/* A slice of queries and of keys from `start` on, from dimension d on: transposed, so that rows and
 * keys are side by side. What is loaded from one memory object is loaded together: what is the same
 * for all work-items then needs no registers of theirs. */
INLINE void stage_slice(const tile *x, int start, int d)
{
    const int dim = x->row->head_dim;
#pragma unroll 1
    for (int kind = 0; kind < 3; kind++) {
        const source of = source_of_kind(x, start, kind);
        const int step = kind == 0 ? Q_STEP : K_STEP;
        __local const long *lines = kind == 0 ? x->q_lines : x->k_lines;
        __local float *to = x->stage + (kind == 0 ? 0 : BLOCK_K * Q_STEP);
#pragma unroll 1
        for (uint i = of.begin * PIECES + x->me; i < (uint)of.end * PIECES; i += WG_SIZE) {
            const int line = i / PIECES, piece = i % PIECES * VEC, at = d + piece;
            const long begin = lines[line];
            const float scale = kind == 2 ? KEY_SCALE(x, start + line, at, begin) : 1.0f;
            __local float *at_line = to + piece * step + line;
            if (is_vector(&of, begin, dim - at)) {
                const float4 e = elements_of(&of, begin + at) * scale;
                at_line[0] = e.s0;
                at_line[step] = e.s1;
                at_line[2 * step] = e.s2;
                at_line[3 * step] = e.s3;
                continue;
            }
#pragma unroll 1
            for (int c = 0; c < VEC; c++)
                at_line[c * step] = element_of(&of, begin, at + c, dim) * scale;
        }
    }
}

/* Values `key` to `key` + `count` - 1 of those from `start` on, at most VALUE_KEYS. */
INLINE void stage_values(const tile *x, int start, int key, int count)
{
    const int dim = x->row->value_dim;
    int odd = 0;
#pragma unroll 1
    for (int now = 0; now < 2; now++) {
        const source of =
            source_of(x, start, !now, now ? x->v : x->past_v, now ? CLATTN_T_V : CLATTN_T_PAST_V);
        const int begin = max(of.begin - key, 0), end = clamp(of.end - key, 0, count);
#pragma unroll 1
        for (uint i = begin * (DIM_MAX / VEC) + x->me; i < (uint)end * (DIM_MAX / VEC);
             i += WG_SIZE) {
            const int d = i % (DIM_MAX / VEC) * VEC, j = key + i / (DIM_MAX / VEC);
            const long line = x->v_lines[j];
            const float scale = now ? VALUE_SCALE(x, start + j, d, line) : 1.0f;
            if (is_vector(&of, line, dim - d)) {
                const float4 e = elements_of(&of, line + d) * scale;
                odd |= any((as_int4(e) & 0x7fffffff) >= 0x7f800000);
                LOCAL_VECTOR(x->stage + i * VEC) = e;
                continue;
            }
#pragma unroll 1
            for (int c = 0; c < VEC; c++) {
                const float e = element_of(&of, line, d + c, dim) * scale;
                odd |= (as_int(e) & 0x7fffffff) >= 0x7f800000;
                x->stage[i * VEC + c] = e;
            }
        }
    }
    if (odd)
        atomic_or(x->odd, 1);
}

#endif
