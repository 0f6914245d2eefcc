/* Keys into panels: (head_dim, COLS * VEC) floats, a key a lane, so that products of queries and
 * keys need no sums across lanes. Lanes beyond the last key are 0. */
#ifndef CLATTN_PANELS_H
#define CLATTN_PANELS_H

#include "common/item.h"
#include "common/types.h"

/* COLS: vectors of keys of a panel's row. */
#ifndef COLS
#define COLS 2
#endif
#define PANEL (COLS * VEC)

/* The lower and the upper halves of two vectors, lane by lane in turn. */
#if VEC == 4
#define LOWER(a, b) (vfloat)(a.s0, b.s0, a.s1, b.s1)
#define UPPER(a, b) (vfloat)(a.s2, b.s2, a.s3, b.s3)
#elif VEC == 8
#define LOWER(a, b) (vfloat)(a.s0, b.s0, a.s1, b.s1, a.s2, b.s2, a.s3, b.s3)
#define UPPER(a, b) (vfloat)(a.s4, b.s4, a.s5, b.s5, a.s6, b.s6, a.s7, b.s7)
#elif VEC == 16
#define LOWER(a, b)                                                                                \
    (vfloat)(a.s0, b.s0, a.s1, b.s1, a.s2, b.s2, a.s3, b.s3, a.s4, b.s4, a.s5, b.s5, a.s6, b.s6,   \
             a.s7, b.s7)
#define UPPER(a, b)                                                                                \
    (vfloat)(a.s8, b.s8, a.s9, b.s9, a.sa, b.sa, a.sb, b.sb, a.sc, b.sc, a.sd, b.sd, a.se, b.se,   \
             a.sf, b.sf)
#endif

/* x (VEC, VEC) transposed in place: each round moves the first bit of an element's row to the end
 * of its column and that of its column to the end of its row. */
INLINE void transpose(vfloat *x)
{
#if VEC > 1
#pragma unroll
    for (int bit = 1; bit < VEC; bit *= 2) {
        vfloat y[VEC];
#pragma unroll
        for (int i = 0; i < VEC / 2; i++) {
            y[2 * i] = LOWER(x[i], x[i + VEC / 2]);
            y[2 * i + 1] = UPPER(x[i], x[i + VEC / 2]);
        }
#pragma unroll
        for (int i = 0; i < VEC; i++)
            x[i] = y[i];
    }
#endif
}

/* `count` (up to VEC) dimensions, from `d` on, of key j, which is stored as integers. */
INLINE vfloat scaled_elements(const rows_of *keys, int j, int d, int count)
{
    const long at = row_begin(keys, j) + d * keys->inner[1];
    if (keys->inner[1] == 1 && count >= VEC)
        return load_integers(keys->memory[1], at, keys->dtype[1]) * scale_of(keys, j, d);
    float lane[VEC];
    for (int i = 0; i < VEC; i++)
        lane[i] = i < count
                      ? load_integer(keys->memory[1], at + i * keys->inner[1], keys->dtype[1]) *
                            scale_of(keys, j, d + i)
                      : 0.0f;
    return load_vector(lane);
}

/* VEC dimensions, from `d` on, of key j; 0 beyond `end` keys and `head_dim`. Called for each lane
 * of an unrolled loop, which would be much code for a compiler. */
OUTLINE vfloat key_elements(const rows_of *keys, int j, int end, int d, int head_dim)
{
    const int past = j < keys->n_past ? 0 : 1;
    const int count = j < end ? head_dim - d : 0;
    if (keys->dtype[past] >= CLATTN_D_I8)
        return count > 0 ? scaled_elements(keys, j, d, count) : (vfloat)(0.0f);
    return gather_elements(keys->memory[past], row_begin(keys, j) + d * keys->inner[past],
                           keys->inner[past], count, keys->dtype[past]);
}

/* Whether keys `from` to `from` + VEC - 1, a multiple of VEC, are rows of float side by side. */
INLINE int are_rows(const rows_of *keys, int from, int end)
{
    const int past = from < keys->n_past ? 0 : 1;
    return from + VEC <= (past ? end : min(end, keys->n_past)) &&
           (keys->page_size == 0 || keys->page_size % VEC == 0) &&
           keys->dtype[past] == CLATTN_D_F32 && keys->inner[past] == 1;
}

/* The first `dims` rows of x into a panel's lanes, from its dimension d on. */
INLINE void store_lanes(const vfloat *x, int d, int dims, __global float *lanes)
{
#pragma unroll
    for (int c = 0; c < VEC; c++)
        if (c < dims)
            store_vector(x[c], lanes + (d + c) * PANEL);
}

/* Keys `from` to `end` - 1, at most VEC of them, into VEC lanes of a panel. */
INLINE void pack_lanes(const rows_of *keys, int from, int end, int head_dim, __global float *lanes)
{
    const int past = from < keys->n_past ? 0 : 1;
    const long step = keys->step[past];
    vfloat square[VEC];
    int d = 0;
    if (are_rows(keys, from, end)) {
        __global const float *row =
            (__global const float *)keys->memory[past] + row_begin(keys, from);
        for (; d + VEC <= head_dim; d += VEC) {
#pragma unroll
            for (int lane = 0; lane < VEC; lane++)
                square[lane] = load_vector(row + lane * step + d);
            transpose(square);
            store_lanes(square, d, VEC, lanes);
        }
    }
    for (; d < head_dim; d += VEC) {
#pragma unroll
        for (int lane = 0; lane < VEC; lane++)
            square[lane] = key_elements(keys, from + lane, end, d, head_dim);
        transpose(square);
        store_lanes(square, d, head_dim - d, lanes);
    }
}

/* Keys `begin` to `end` - 1 into panels `step` elements apart; `begin` is a multiple of PANEL, and
 * `panels` is that of key 0. */
OUTLINE void pack_panels(const rows_of *keys, int begin, int end, int head_dim,
                         __global float *panels, long step)
{
    for (int j = begin; j < end; j += PANEL)
        for (int c = 0; c < PANEL; c += VEC)
            pack_lanes(keys, j + c, end, head_dim, panels + j / PANEL * step + c);
}

/* Values `begin` to `end` - 1 into rows of `width` floats, whole vectors; `to` is that of value 0.
 */
OUTLINE void pack_rows(const rows_of *values, int begin, int end, int value_dim, __global float *to,
                       long width)
{
    for (int j = begin; j < end; j++)
        for (int d = 0; d < value_dim; d += VEC)
            store_vector(key_elements(values, j, end, d, value_dim), to + j * width + d);
}

#endif
