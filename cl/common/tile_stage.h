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

/* Of Q or GRAD_OUT: `tensor`, a constant. */
INLINE void find_query_lines(const tile *x, const int tensor, __local long *lines)
{
    __global const clattn_tensor_row *t = &x->row->tensor[tensor];
    for (int r = x->me; r < QUERIES; r += WG_SIZE)
        lines[r] = is_query(x, r)
                       ? tensor_begin(x->row, x->base, tensor, x->batch, head_of_row(x, r)) +
                             (x->queries.first + query_of_row(x, r)) * t->stride[2]
                       : -1;
}

INLINE void find_queries(const tile *x)
{
    find_query_lines(x, CLATTN_T_Q, x->lines + Q_LINES);
}

/* Keys or values from `start` on, and before `end`. */
INLINE void find_lines(const tile *x, const rows_of *of, int start, int end, __local long *lines)
{
#pragma unroll 1
    for (int j = x->me; j < KEYS; j += WG_SIZE)
        lines[j] = j < end - start ? row_begin(of, start + j) : -1;
}

/* Of keys alone, and of keys and values. */
INLINE void find_key_lines(const tile *x, int start, int end)
{
    const rows_of keys = keys_of_tile(x);
    find_lines(x, &keys, start, end, x->lines + K_LINES);
}

INLINE void find_keys(const tile *x, int start, int end)
{
    find_key_lines(x, start, end);
    rows_of values = values_of_tile(x);
    values.begin[0] += x->value_begin * values.inner[0];
    values.begin[1] += x->value_begin * values.inner[1];
    find_lines(x, &values, start, end, x->lines + V_LINES);
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

/* Lines of keys from `start` on that are past ones, and new ones, `kind` 1 and 2; of queries, 0,
 * all are. */
INLINE source source_of(const tile *x, int start, int kind, __global const void *memory, int tensor)
{
    const int border = kind ? clamp(x->row->n_past - start, 0, KEYS) : QUERIES;
    source of;
    of.memory = memory;
    of.inner = x->row->tensor[tensor].stride[3];
    of.dtype = x->row->dtype[tensor];
    of.begin = kind == 2 ? border : 0;
    of.end = kind == 2 ? KEYS : border;
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

/* Which two tensors are multiplied: Q and K, or GRAD_OUT and V. */
#define OF_SCORES 0
#define OF_VALUES 1

/* Queries, past keys or new keys of a slice, or what belongs to them: `kind` 0, 1 or 2. */
INLINE source source_of_kind(const tile *x, int product, int start, int kind)
{
    const int of_values = product == OF_VALUES;
    __global const void *memory = of_values ? x->grad_out : x->q;
    int tensor = of_values ? CLATTN_T_GRAD_OUT : CLATTN_T_Q;
    if (kind == 1) {
        memory = of_values ? x->past_v : x->past_k;
        tensor = of_values ? CLATTN_T_PAST_V : CLATTN_T_PAST_K;
    } else if (kind == 2) {
        memory = of_values ? x->v : x->k;
        tensor = of_values ? CLATTN_T_V : CLATTN_T_K;
    }
    return source_of(x, start, kind, memory, tensor);
}

INLINE __local const long *lines_of_kind(const tile *x, int product, int kind)
{
    const int of_values = product == OF_VALUES;
    if (kind == 0)
        return x->lines + (of_values ? G_LINES : Q_LINES);
    return x->lines + (of_values ? V_LINES : K_LINES);
}

INLINE int depth_of(const tile *x, int product)
{
    return product == OF_SCORES ? x->row->head_dim : x->row->value_dim - x->value_begin;
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
 * columns are side by side. What is loaded from one memory object is loaded together: what is the
 * same for all work-items then needs no registers of theirs. */
INLINE void stage_slice(const tile *x, int product, int start, int d)
{
    const int dim = depth_of(x, product);
#pragma unroll 1
    for (int kind = 0; kind < 3; kind++) {
        const source of = source_of_kind(x, product, start, kind);
        const int are_rows = (kind == 0) != KEYS_ARE_ROWS, step = are_rows ? M_STEP : N_STEP;
        __local const long *lines = lines_of_kind(x, product, kind);
        __local float *to = x->stage + (are_rows ? 0 : BLOCK_K * M_STEP);
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

/* Columns `first` to `first` + `count` - 1 of those from `start` on, at most VALUE_KEYS, of one of
 * the tensors of a product, a constant: keys or values, or where KEYS_ARE_ROWS queries or GRAD_OUT,
 * whose lines begin with dimension 0, not value_begin. */
INLINE void stage_values(const tile *x, const int product, int start, int first, int count)
{
    const int dim = depth_of(x, product);
    int odd = 0;
#pragma unroll 1
    for (int kind = KEYS_ARE_ROWS ? 0 : 1; kind < (KEYS_ARE_ROWS ? 1 : 3); kind++) {
        const source of = source_of_kind(x, product, start, kind);
        __local const long *lines = lines_of_kind(x, product, kind);
        const int begin = max(of.begin - first, 0), end = clamp(of.end - first, 0, count);
        const long skip = KEYS_ARE_ROWS && product == OF_VALUES ? x->value_begin * of.inner : 0;
#pragma unroll 1
        for (uint i = begin * (DIM_MAX / VEC) + x->me; i < (uint)end * (DIM_MAX / VEC);
             i += WG_SIZE) {
            const int d = i % (DIM_MAX / VEC) * VEC, j = first + i / (DIM_MAX / VEC);
            const long line = lines[j] < 0 ? -1 : lines[j] + skip;
            const float scale = kind == 2 ? VALUE_SCALE(x, start + j, d, line) : 1.0f;
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
