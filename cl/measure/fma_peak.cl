/* Multiply-adds in registers only: CHAINS independent chains of vectors a work-item. */
#ifndef VEC
#define VEC 4
#endif
/* CHAINS: enough to hide the latency, few enough to stay in the registers. */
#ifndef CHAINS
#define CHAINS 8
#endif
/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#if VEC == 1
typedef float vector;
#define LOAD(pointer) (*(pointer))
#define SUM(x)        (x)
#else
typedef JOIN(float, VEC) vector;
#define LOAD(pointer) JOIN(vload, VEC)(0, pointer)
#define SUM(x)        ((x).s0 + (x).s1)
#endif

/* `values` has VEC elements. */
__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
fma_peak(__global const float *values, __global float *out, uint iterations)
{
    const vector a = LOAD(values);
    vector x[CHAINS];
#pragma unroll
    for (int c = 0; c < CHAINS; c++)
        x[c] = a + (float)c;
    for (uint i = 0; i < iterations; i++) {
#pragma unroll
        for (int c = 0; c < CHAINS; c++)
            x[c] = fma(x[c], a, a);
    }
    vector sum = x[0];
#pragma unroll
    for (int c = 1; c < CHAINS; c++)
        sum += x[c];
    out[get_global_id(0)] = SUM(sum);
}
