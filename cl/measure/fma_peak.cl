/* Multiply-adds in registers only: CHAINS independent chains of vectors a work-item. */
#include "common/vector.h"

/* CHAINS: enough to hide the latency, few enough to stay in the registers; 4 to 32. */
#ifndef CHAINS
#define CHAINS 8
#endif
/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if CHAINS < 4 || CHAINS > 32 || WG_SIZE < 1
#error "CHAINS must be 4 to 32, WG_SIZE at least 1"
#endif

/* `values` and `out` begin at elements begin.x and begin.y; `values` has VEC of them. Every lane
 * counts in `out`, or a compiler would leave lanes out. */
__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
fma_peak(__global const float *values, __global float *out, ulong2 begin, uint iterations)
{
    const vfloat a = load_vector(values + begin.x);
    vfloat x[CHAINS];
#pragma unroll
    for (int c = 0; c < CHAINS; c++)
        x[c] = a + (float)c;
    for (uint i = 0; i < iterations; i++) {
#pragma unroll
        for (int c = 0; c < CHAINS; c++)
            x[c] = fma(x[c], a, a);
    }
    vfloat sum = x[0];
#pragma unroll
    for (int c = 1; c < CHAINS; c++)
        sum += x[c];
    out[begin.y + get_global_id(0)] = sum_of_lanes(sum);
}
