/* Reads memory as fast as it comes: each group a span of `span` elements, a multiple of
 * 4 * VEC * WG_SIZE; its work-items side by side. */
#ifndef VEC
#define VEC 4
#endif
/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#if VEC == 1
typedef float vector;
#define LOAD(i) (from[i])
#define SUM(x)  (x)
#else
typedef JOIN(float, VEC) vector;
#define LOAD(i) JOIN(vload, VEC)(i, from)
#define SUM(x)  ((x).s0 + (x).s1)
#endif

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
read_bandwidth(__global const float *values, __global float *out, uint span)
{
    __global const float *from = values + (ulong)get_group_id(0) * span;
    const uint vectors = span / VEC;
    vector a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    for (uint i = get_local_id(0); i < vectors; i += 4 * WG_SIZE) {
        a += LOAD(i);
        b += LOAD(i + WG_SIZE);
        c += LOAD(i + 2 * WG_SIZE);
        d += LOAD(i + 3 * WG_SIZE);
    }
    a += b + c + d;
    out[get_global_id(0)] = SUM(a);
}
