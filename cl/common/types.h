/* Storage types: elements and vectors of them, read as float and written from float. Needs
 * vector.h. The types are run-time values, the same for a whole tensor. */
#ifndef CLATTN_TYPES_H
#define CLATTN_TYPES_H

#include "common/arguments.h"
#include "common/vector.h"

/* Bytes of an element of a floating-point type. */
static inline long size_of(uint dtype)
{
    return dtype == CLATTN_D_F32 ? 4 : 2;
}

/* Bytes of this many elements; where two are in a byte, an even number of them. */
static inline long bytes_of(long elements, uint dtype)
{
    if (dtype == CLATTN_D_I4)
        return elements / 2;
    if (dtype == CLATTN_D_I8)
        return elements;
    return elements * size_of(dtype);
}

/* Address of element `index`. */
static inline __global const uchar *element_at(__global const void *from, long index, uint dtype)
{
    return (__global const uchar *)from + bytes_of(index, dtype);
}

/* The integer at `index`; its scale is in item.h. */
static inline float load_integer(__global const void *from, long index, uint dtype)
{
    if (dtype == CLATTN_D_I8)
        return ((__global const char *)from)[index];
    const uint pair = ((__global const uchar *)from)[index / 2];
    return (float)((int)(pair << (index & 1 ? 24 : 28)) >> 28);
}

static inline float load_element(__global const void *from, long index, uint dtype)
{
    if (dtype == CLATTN_D_F32)
        return ((__global const float *)from)[index];
    if (dtype == CLATTN_D_F16)
        return vload_half(index, (__global const half *)from);
    if (dtype >= CLATTN_D_I8)
        return load_integer(from, index, dtype);
    return as_float((uint)((__global const ushort *)from)[index] << 16);
}

/* Nearest even; NaN stays NaN, a quiet one. */
static inline ushort bf16_of(float x)
{
    const uint bits = as_uint(x);
    if (isnan(x))
        return (ushort)(bits >> 16 | 0x40);
    return (ushort)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline void store_element(float x, __global void *to, long index, uint dtype)
{
    if (dtype == CLATTN_D_F32)
        ((__global float *)to)[index] = x;
    else if (dtype == CLATTN_D_F16)
        vstore_half_rte(x, index, (__global half *)to);
    else
        ((__global ushort *)to)[index] = bf16_of(x);
}

/* VEC elements in a row. */
INLINE vfloat load_elements(__global const void *from, long index, uint dtype)
{
    if (dtype == CLATTN_D_F32)
        return load_vector((__global const float *)from + index);
#if VEC == 1
    return load_element(from, index, dtype);
#else
    if (dtype == CLATTN_D_F16)
        return VECTOR_JOIN(vload_half, VEC)(0, (__global const half *)from + index);
    return as_vfloat(VECTOR_JOIN(convert_uint, VEC)(
                         VECTOR_JOIN(vload, VEC)(0, (__global const ushort *)from + index))
                     << 16);
#endif
}

/* VEC integers in a row, the first of them at an even index. */
INLINE vfloat load_integers(__global const void *from, long index, uint dtype)
{
#if VEC == 1
    return load_integer(from, index, dtype);
#else
    if (dtype == CLATTN_D_I8)
        return convert_vfloat(VECTOR_JOIN(vload, VEC)(0, (__global const char *)from + index));
    const VECTOR_JOIN(char, HALF_VEC) pairs =
        VECTOR_JOIN(vload, HALF_VEC)(0, (__global const char *)from + index / 2);
    VECTOR_JOIN(char, VEC) both;
    both.even = (pairs << (char)4) >> (char)4;
    both.odd = pairs >> (char)4;
    return convert_vfloat(both);
#endif
}

/* `count` (up to VEC) elements, `step` apart; 0 in lanes beyond. */
SELDOM vfloat gather_singly(__global const void *from, long index, long step, int count, uint dtype)
{
    float lane[VEC];
    UNROLL_LANES
    for (int i = 0; i < VEC; i++)
        lane[i] = i < count ? load_element(from, index + i * step, dtype) : 0.0f;
    return load_vector(lane);
}

/* The same, vectors of elements side by side at once. */
INLINE vfloat gather_elements(__global const void *from, long index, long step, int count,
                              uint dtype)
{
    if (step == 1 && count >= VEC)
        return load_elements(from, index, dtype);
    return gather_singly(from, index, step, count, dtype);
}

#if VEC > 1
INLINE VECTOR_JOIN(ushort, VEC) bf16_of_lanes(vfloat x)
{
    const vuint bits = as_vuint(x);
    const vuint rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const vuint quiet = bits >> 16 | 0x40;
    return VECTOR_JOIN(convert_ushort, VEC)(x != x ? quiet : rounded);
}
#endif

/* VEC elements in a row. */
INLINE void store_elements(vfloat x, __global void *to, long index, uint dtype)
{
#if VEC == 1
    store_element(x, to, index, dtype);
#else
    if (dtype == CLATTN_D_F32)
        store_vector(x, (__global float *)to + index);
    else if (dtype == CLATTN_D_F16)
        VECTOR_JOIN(VECTOR_JOIN(vstore_half, VEC), _rte)(x, 0, (__global half *)to + index);
    else
        VECTOR_JOIN(vstore, VEC)(bf16_of_lanes(x), 0, (__global ushort *)to + index);
#endif
}

/* Writes x (count) from element `index` on, `step` apart, each times `factor`. */
INLINE void write_row(const float *x, int count, float factor, __global void *to, long index,
                      long step, uint dtype)
{
    int d = 0;
    for (; step == 1 && d + VEC <= count; d += VEC)
        store_elements(load_vector(x + d) * factor, to, index + d, dtype);
    for (; d < count; d++)
        store_element(x[d] * factor, to, index + d * step, dtype);
}

#endif
