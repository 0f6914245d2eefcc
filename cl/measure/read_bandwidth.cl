/* Reads memory as fast as it comes: each group a span of `span` elements, its work-items side by
 * side. */
#include "common/vector.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if WG_SIZE < 1
#error "WG_SIZE must be at least 1"
#endif

/* Vectors that a work-item reads before it looks at the loop. */
#define AT_ONCE 8

/* `values` and `out` begin at elements begin.x and begin.y; `span` is a multiple of
 * AT_ONCE * VEC * WG_SIZE. With more than one pass the later ones may come from a cache. */
__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
read_bandwidth(__global const float *values, __global float *out, ulong2 begin, uint span,
               uint passes)
{
    __global const float *from = values + begin.x + (ulong)get_group_id(0) * span;
    const uint step = VEC * WG_SIZE;
    vfloat sum[AT_ONCE];
#pragma unroll
    for (int c = 0; c < AT_ONCE; c++)
        sum[c] = 0.0f;
    for (uint pass = 0; pass < passes; pass++)
        for (uint i = VEC * get_local_id(0); i < span; i += AT_ONCE * step) {
#pragma unroll
            for (int c = 0; c < AT_ONCE; c++)
                sum[c] += load_vector(from + i + c * step);
        }
    vfloat all = sum[0];
#pragma unroll
    for (int c = 1; c < AT_ONCE; c++)
        all += sum[c];
    out[begin.y + get_global_id(0)] = sum_of_lanes(all);
}
