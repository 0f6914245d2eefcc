/* Figures of repeated measurements. */
#ifndef CLATTN_TOOL_BENCH_MEDIAN_H
#define CLATTN_TOOL_BENCH_MEDIAN_H

#include <stddef.h>

/* The least first. */
void bench_sort(double *values, size_t count);

/* Sorts them. The mean of the two in the middle where `count`, at least 1, is even. */
double bench_median(double *values, size_t count);

#endif
