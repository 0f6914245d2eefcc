/* Slices of two matrices in local memory and their product in registers, of kernels for lanes. A
 * slice is transposed: some depth, line after line, with rows of the left matrix, or columns of the
 * right one, side by side in vectors of 4. Needs ROWS and COLS, and VEC to be 4. */
#ifndef CLATTN_TILE_SLICE_H
#define CLATTN_TILE_SLICE_H

#include "common/types.h"

#define LOCAL_VECTOR(pointer) (*(__local float4 *)(pointer))

/* Where a work-item's vectors are in a slice; all but `at` are constants. */
typedef struct slice {
    __local const float *at; /* the first vector of the first line */
    int step, apart;         /* elements to the next line, and to the next vector */
} slice;

/* 4 elements in a row. Nearly always they are aligned, which no compiler can know: then they are
 * read at once, where GPUs else read one after the other. */
INLINE float4 load_four(__global const void *from, long at, uint dtype)
{
    __global const uchar *where = element_at(from, at, dtype);
    const int aligned = ((size_t)where & (4 * size_of(dtype) - 1)) == 0;
    if (aligned && dtype == CLATTN_D_F32)
        return *(__global const float4 *)where;
    if (aligned && dtype == CLATTN_D_BF16)
        return as_float4(convert_uint4(*(__global const ushort4 *)where) << 16);
    return load_elements(from, at, dtype);
}

/* 4 elements of one row or column, one below the other. */
INLINE void store_down(float4 e, __local float *to, int step)
{
    to[0] = e.s0;
    to[step] = e.s1;
    to[2 * step] = e.s2;
    to[3 * step] = e.s3;
}

/* s (columns, rows in vectors) += the product of `depth` lines: ROWS * COLS * 4 multiply-adds for
 * ROWS / 4 + COLS vectors read. */
INLINE void multiply_slices(slice left, slice right, int depth, float4 s[COLS * VEC][ROWS / 4])
{
#pragma unroll 1
    for (int d = 0; d < depth; d++, left.at += left.step, right.at += right.step) {
        float4 a[ROWS / 4];
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++)
            a[r] = LOCAL_VECTOR(left.at + r * left.apart);
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const float4 b = LOCAL_VECTOR(right.at + c * right.apart);
#pragma unroll
            for (int r = 0; r < ROWS / 4; r++) {
                s[c * VEC][r] = fma(a[r], (float4)(b.s0), s[c * VEC][r]);
                s[c * VEC + 1][r] = fma(a[r], (float4)(b.s1), s[c * VEC + 1][r]);
                s[c * VEC + 2][r] = fma(a[r], (float4)(b.s2), s[c * VEC + 2][r]);
                s[c * VEC + 3][r] = fma(a[r], (float4)(b.s3), s[c * VEC + 3][r]);
            }
        }
    }
}

#endif
