/* The float vector of the simd family: VEC lanes, one register of the core. */
#ifndef CLATTN_VECTOR_H
#define CLATTN_VECTOR_H

/* VEC: lanes of a vector; 4, 8 or 16. */
#ifndef VEC
#define VEC 8
#endif
#if VEC != 4 && VEC != 8 && VEC != 16
#error "VEC must be 4, 8 or 16"
#endif

#define VECTOR_JOIN_(a, b) a##b
#define VECTOR_JOIN(a, b)  VECTOR_JOIN_(a, b)

typedef VECTOR_JOIN(float, VEC) vfloat;
typedef VECTOR_JOIN(int, VEC) vint;

/* Unaligned loads and stores. LLVM uses 512-bit registers only in a function whose own body calls
 * something on 512-bit vectors, so these are macros. */
#define load_vector(pointer)          VECTOR_JOIN(vload, VEC)(0, pointer)
#define store_vector(vector, pointer) VECTOR_JOIN(vstore, VEC)(vector, 0, pointer)
#define as_vfloat(x)                  VECTOR_JOIN(as_float, VEC)(x)
#define as_vint(x)                    VECTOR_JOIN(as_int, VEC)(x)

#if VEC == 4
#define LANES (vint)(0, 1, 2, 3)
#elif VEC == 8
#define LANES (vint)(0, 1, 2, 3, 4, 5, 6, 7)
#else
#define LANES (vint)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#endif

/* The larger of two, lane by lane; b where one is NaN (one instruction on x86). */
static inline vfloat larger(vfloat a, vfloat b)
{
    return a > b ? a : b;
}

static inline float largest_lane4(float4 x)
{
    const float2 y = x.lo > x.hi ? x.lo : x.hi;
    return y.x > y.y ? y.x : y.y;
}

static inline float sum_of_lanes4(float4 x)
{
    const float2 y = x.lo + x.hi;
    return y.x + y.y;
}

#if VEC == 4
#define largest_lane(x) largest_lane4(x)
#define sum_of_lanes(x) sum_of_lanes4(x)
#else
static inline float largest_lane8(float8 x)
{
    return largest_lane4(x.lo > x.hi ? x.lo : x.hi);
}
static inline float sum_of_lanes8(float8 x)
{
    return sum_of_lanes4(x.lo + x.hi);
}
#if VEC == 8
#define largest_lane(x) largest_lane8(x)
#define sum_of_lanes(x) sum_of_lanes8(x)
#else
#define largest_lane(x) largest_lane8((x).lo > (x).hi ? (x).lo : (x).hi)
#define sum_of_lanes(x) sum_of_lanes8((x).lo + (x).hi)
#endif
#endif

#endif
