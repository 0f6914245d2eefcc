/* How much of a submission is OpenCL's own: a context whose calls of OpenCL are timed. */
#ifndef CLATTN_TOOL_BENCH_RAW_H
#define CLATTN_TOOL_BENCH_RAW_H

#include <clattn/clattn.h>

/* Sets get_proc of the options, so that the calls of a submission are timed from now on. */
void bench_raw_set(clattn_context_options *options);
/* Seconds spent in them on this thread since the last call, without what timing them took, which
 * is *own (out). */
double bench_raw_take(double *own);
/* Seconds of enqueueing the kernel that was launched last once more, with the arguments it has, and
 * waiting for it; negative where that fails. Nobody may launch meanwhile. */
double bench_raw_again(void);
/* Launches since the last call. */
unsigned bench_raw_launches(void);

#endif
