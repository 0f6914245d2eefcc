/* Timing one shape of clattn bench: planned once, memory of the device, submitted and waited for
 * again and again. */
#ifndef CLATTN_TOOL_BENCH_TIME_H
#define CLATTN_TOOL_BENCH_TIME_H

#include "tool/bench_shape.h"

typedef struct bench_timing {
    double min, median; /* seconds from submitting to the end of waiting */
    char kernel[64];    /* that the plan has chosen */
} bench_timing;

/* Goes on for about `seconds`. On failure prints nothing: clattn_error_message() has the sentence.
 */
clattn_status bench_time(clattn_context *context, const bench_shape *shape, double seconds,
                         bench_timing *timing);

/* Whether the problem is valid and some kernel takes it; the bytes that it needs beside its
 * tensors. Compiles. Otherwise the status and sentence of the library. */
clattn_status bench_time_check(clattn_context *context, const bench_shape *shape,
                               uint64_t *workspace);

#endif
