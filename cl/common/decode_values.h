/* Values of a split of the keys, weighted for a few queries, see decode_split.h. */
#ifndef CLATTN_DECODE_VALUES_H
#define CLATTN_DECODE_VALUES_H

#include "common/decode_rows.h"

/* Values of keys `key` to `key` + `count` - 1, side by side in one tensor. */
typedef struct value_rows {
    int key, count;
    __global const uchar *at; /* of the first */
    long step, ahead;         /* bytes; `ahead`: to what is to be prefetched */
    int paged;
    __global const float *scales; /* of the first, by group */
    long scale_step, inner;
} value_rows;

/* The piece from dimension d on of one of the values. */
INLINE void load_value(const value_rows *of, int j, int d, vfloat v[PIECES])
{
    load_piece(of->at + j * of->step, d, GROUP_SCALE(of->scales + j * of->scale_step, of->inner, d),
               v);
}

/* o (TILE_ROWS, cols vectors) += p (TILE_ROWS, count) v (count, cols vectors); cols <= TILE_COLS,
 * whole pieces, is a constant; `d`: the first dimension. Loops have bounds that are constants
 * before this is inlined: else some are unrolled too late for `sum` to stay in registers. */
INLINE void value_tile(const decode *x, int tile, const value_rows *of, int d, const int cols)
{
    vfloat sum[TILE_ROWS][TILE_COLS];
    float *o = x->o + tile * DIM_MAX + d;
    const float *p = x->p + tile * CLATTN_SPLIT + of->key - x->begin;
    const int begin = piece_begin(d, x->row->value_dim);
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
        for (int c = 0; c < TILE_COLS; c++)
            if (c < cols)
                sum[r][c] = load_vector(o + r * DIM_MAX + c * VEC);
    for (int j = 0; j < of->count; j++) {
        vfloat v[TILE_COLS];
#pragma unroll
        for (int c = 0; c < TILE_COLS; c += PIECES) {
            if (c >= cols)
                continue;
            load_value(of, j, begin + c * VEC, v + c);
            if (WIDE && c % ASKED_PIECES == 0)
                prefetch_lines(of->at + j * of->step + bytes_of(begin + c * VEC, STORAGE),
                               of->ahead, of->paged);
        }
#pragma unroll
        for (int r = 0; r < TILE_ROWS; r++) {
            const vfloat w = p[r * CLATTN_SPLIT + j];
#pragma unroll
            for (int c = 0; c < TILE_COLS; c++)
                if (c < cols)
                    sum[r][c] = fma(w, v[c], sum[r][c]);
        }
    }
#pragma unroll
    for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
        for (int c = 0; c < TILE_COLS; c++)
            if (c < cols)
                store_vector(sum[r][c], o + r * DIM_MAX + c * VEC);
}

/* The same for one row and one piece, invisible pairs left out: 0 * NaN must not show. */
INLINE void value_row_carefully(const decode *x, int r, const value_rows *of, int d)
{
    float *o = x->o + r * DIM_MAX + d;
    for (int j = 0; j < of->count; j++) {
        const float w = x->p[r * CLATTN_SPLIT + of->key - x->begin + j];
        vfloat v[PIECES];
        if (w == INVISIBLE)
            continue;
        load_value(of, j, piece_begin(d, x->row->value_dim), v);
        for (int n = 0; n < PIECES; n++)
            store_vector(fma((vfloat)(w), v[n], load_vector(o + n * VEC)), o + n * VEC);
    }
}

INLINE void value_block(const decode *x, value_rows *of, int careful)
{
    const int dim = x->row->value_dim;
    for (int r = 0; careful && r < x->rows; r++)
        for (int d = 0; d < dim; d += STEP)
            value_row_carefully(x, r, of, d);
    for (int j = 0; !WIDE && j < of->count; j++)
        prefetch_row(of->at + j * of->step, bytes_of(dim, STORAGE), of->ahead);
    for (int tile = 0; !careful && tile < x->rows; tile += TILE_ROWS) {
        int d = 0;
        for (; d + TILE_COLS * VEC <= dim; d += TILE_COLS * VEC)
            value_tile(x, tile, of, d, TILE_COLS);
        for (; HALF_COLS > PIECES && d + HALF_COLS * VEC <= dim; d += HALF_COLS * VEC)
            value_tile(x, tile, of, d, HALF_COLS);
        for (; d < dim; d += STEP)
            value_tile(x, tile, of, d, PIECES);
        of->ahead = 0;
    }
}

/* How many values from `key` on, at most VALUES, are side by side. */
INLINE int values_of_block(const decode *x, int key)
{
    const int size = x->values.page_size, past = x->values.n_past;
    const int end = key < past ? min(past, x->to) : x->to;
    const int count = min(VALUES, end - key);
    return size ? min(count, size - key % size) : count;
}

INLINE void value_split(const decode *x, int careful)
{
    const rows_of *values = &x->values;
    value_rows of;
    for (int key = x->from; key < x->to; key += of.count) {
        of.key = key;
        of.count = values_of_block(x, key);
        of.at = address_of(values, key);
        of.step = bytes_of(values->step[key < values->n_past ? 0 : 1], STORAGE);
        of.paged = values->page_size > 0;
        const int ahead = VALUES_AHEAD(x->row->value_dim, of.paged, of.count);
        of.ahead = address_of(values, key + min(ahead, x->to - 1 - key)) - of.at;
#if GROUP_SCALES
        of.scales = values->scales + scale_begin(values, key);
        of.scale_step = values->scale_step;
        of.inner = values->scale_inner;
#endif
        touch_pages(x, values, key, of.count);
        value_block(x, &of, careful);
    }
}

#endif
