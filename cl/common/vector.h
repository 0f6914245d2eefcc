/* The float vector of the simd family: VEC lanes, one register of the core. With VEC 1 the same
 * text works on single numbers, as the reference kernels do. A comparison of vectors is -1 or 0 in
 * each lane, of numbers 1 or 0; use it only before ? : and &. */
#ifndef CLATTN_VECTOR_H
#define CLATTN_VECTOR_H

/* VEC: lanes of a vector; 1, 4, 8 or 16. */
#ifndef VEC
#define VEC 8
#endif
#if VEC != 1 && VEC != 4 && VEC != 8 && VEC != 16
#error "VEC must be 1, 4, 8 or 16"
#endif

#define VECTOR_JOIN_(a, b) a##b
#define VECTOR_JOIN(a, b)  VECTOR_JOIN_(a, b)

#if VEC == 4
#define HALF_VEC 2
#define LANES    (vint)(0, 1, 2, 3)
#elif VEC == 8
#define HALF_VEC 4
#define LANES    (vint)(0, 1, 2, 3, 4, 5, 6, 7)
#elif VEC == 16
#define HALF_VEC 8
#define LANES    (vint)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#endif

/* Unaligned loads and stores. LLVM uses 512-bit registers only in a function whose own body calls
 * something on 512-bit vectors, so these are macros. */
#if VEC == 1
typedef float vfloat;
typedef int vint;
typedef uint vuint;
typedef uchar vbytes;
#define load_vector(pointer)          (*(pointer))
#define store_vector(vector, pointer) (*(pointer) = (vector))
#define as_vfloat(x)                  as_float(x)
#define as_vint(x)                    as_int(x)
#define as_vuint(x)                   as_uint(x)
#define convert_vfloat(x)             convert_float(x)
#define convert_vint(x)               convert_int(x)
#define convert_vuint(x)              convert_uint(x)
#define load_bytes(pointer)           (*(pointer))
#define LANES                         0
#else
typedef VECTOR_JOIN(float, VEC) vfloat;
typedef VECTOR_JOIN(int, VEC) vint;
typedef VECTOR_JOIN(uint, VEC) vuint;
typedef VECTOR_JOIN(uchar, VEC) vbytes;
typedef VECTOR_JOIN(ulong, HALF_VEC) vpairs; /* two lanes of vuint in one: the even one is low */
#define load_bytes(pointer)  VECTOR_JOIN(vload, VEC)(0, pointer)
#define load_vector(pointer) VECTOR_JOIN(vload, VEC)(0, pointer)
#define as_vfloat(x)         VECTOR_JOIN(as_float, VEC)(x)
#define as_vint(x)           VECTOR_JOIN(as_int, VEC)(x)
#define as_vuint(x)          VECTOR_JOIN(as_uint, VEC)(x)
#define as_pairs(x)          VECTOR_JOIN(as_ulong, HALF_VEC)(x)
#define convert_vfloat(x)    VECTOR_JOIN(convert_float, VEC)(x)
#define convert_vint(x)      VECTOR_JOIN(convert_int, VEC)(x)
#define convert_vuint(x)     VECTOR_JOIN(convert_uint, VEC)(x)
#endif

/* In front of loops over the lanes of short vectors: unrolled, their arrays of lanes are registers,
 * which GPUs need; of long ones they would be much code for what is rare. */
#if VEC <= 4
#define UNROLL_LANES _Pragma("unroll")
#else
#define UNROLL_LANES
#endif

#define INLINE static inline __attribute__((always_inline))
/* For the larger parts of a kernel: runtimes that compile a kernel's body several times over (PoCL:
 * three times) then compile these once. */
#define OUTLINE static __attribute__((noinline))
/* For what goes lane by lane through long vectors, which is much code for what is rare. */
#if VEC > 4
#define SELDOM OUTLINE
#else
#define SELDOM INLINE
#endif

#if VEC > 1
/* Stores that need no alignment. Not vstore: PoCL 3.1 makes it of halves, and LLVM then leaves 3
 * stores of a vector of 16. Several functions of one name are an extension of clang, on which the
 * OpenCL compilers for CPUs are built. */
typedef struct __attribute__((packed)) loose_vfloat {
    vfloat x;
} loose_vfloat;
typedef struct __attribute__((packed)) loose_vint {
    vint x;
} loose_vint;
INLINE __attribute__((overloadable)) void store_vector(vfloat x, float *to)
{
    ((loose_vfloat *)to)->x = x;
}
INLINE __attribute__((overloadable)) void store_vector(vfloat x, __global float *to)
{
    ((__global loose_vfloat *)to)->x = x;
}
INLINE __attribute__((overloadable)) void store_vector(vfloat x, __local float *to)
{
    ((__local loose_vfloat *)to)->x = x;
}
INLINE __attribute__((overloadable)) void store_vector(vint x, int *to)
{
    ((loose_vint *)to)->x = x;
}
#endif

/* The larger of two, lane by lane; b where one is NaN (one instruction on x86). */
INLINE vfloat larger(vfloat a, vfloat b)
{
    return a > b ? a : b;
}

/* Whether something is finite, by its magnitude as an integer: these are in the order of the
 * numbers, and a maximum of integers takes a cycle. Not by x * 0.0f or x - x: compilers may take
 * them for 0, and Mesa's does take the product. */
#define NOT_FINITE 0x7f800000 /* magnitudes from here on */
INLINE vint larger_magnitude(vfloat x, vint than)
{
    const vint size = as_vint(x) & 0x7fffffff;
    return size > than ? size : than;
}
#if VEC == 1
#define is_finite_magnitude(size) ((size) < NOT_FINITE)
#else
#define is_finite_magnitude(size) (!any((size) >= (vint)(NOT_FINITE)))
#endif

/* largest_lane(x), sum_of_lanes(x): in halves, so that the order of the sum is fixed. */
#define FOLD_4(x, op) op(op((x).s0, (x).s2), op((x).s1, (x).s3))
#define LARGER_(a, b) ((a) > (b) ? (a) : (b))
#define SUM_(a, b)    ((a) + (b))
static inline float largest_lane4(float4 x)
{
    return FOLD_4(x, LARGER_);
}
static inline float sum_of_lanes4(float4 x)
{
    return FOLD_4(x, SUM_);
}
static inline float largest_lane8(float8 x)
{
    return largest_lane4(LARGER_(x.lo, x.hi));
}
static inline float sum_of_lanes8(float8 x)
{
    return sum_of_lanes4(x.lo + x.hi);
}
#if VEC == 1
#define largest_lane(x) (x)
#define sum_of_lanes(x) (x)
#elif VEC == 4
#define largest_lane(x) largest_lane4(x)
#define sum_of_lanes(x) sum_of_lanes4(x)
#elif VEC == 8
#define largest_lane(x) largest_lane8(x)
#define sum_of_lanes(x) sum_of_lanes8(x)
#else
#define largest_lane(x) largest_lane8(LARGER_((x).lo, (x).hi))
#define sum_of_lanes(x) sum_of_lanes8((x).lo + (x).hi)
#endif

/* NO_PREFETCH: 1 where the compiler can't, see src/opencl/quirk.c. */
#ifndef NO_PREFETCH
#define NO_PREFETCH 0
#endif
/* Fetches the line at an address, a size_t, which need not be valid; PREFETCH_SECOND into the
 * second cache alone. A built-in function of clang, on which the OpenCL compilers for CPUs are
 * built. */
#if NO_PREFETCH
#define PREFETCH(address)        ((void)(address))
#define PREFETCH_SECOND(address) ((void)(address))
#else
#define PREFETCH(address)        __builtin_prefetch((const void *)(address))
#define PREFETCH_SECOND(address) __builtin_prefetch((const void *)(address), 0, 2)
#endif

#endif
