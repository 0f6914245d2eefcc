/* A load as a server has it: requests arrive at random, each is a prefill of random length and then
 * decode steps, one after the other. */
#ifndef CLATTN_TOOL_BENCH_SERVING_H
#define CLATTN_TOOL_BENCH_SERVING_H

#include "tool/bench_rig.h"

typedef struct serving_load {
    uint32_t requests;
    uint32_t steps;                /* decode steps of each */
    double rate;                   /* arrivals a second */
    uint32_t prefill;              /* 0: requests come with their keys and values */
    clattn_dispatcher *dispatcher; /* of serving_dispatcher, borrowed; NULL: one for this run */
} serving_load;

typedef struct serving_result {
    double tokens_per_s;
    double p50, p95, p99; /* seconds from submitting a decode step until it is done */
    double least, most;   /* mean latency of the request that fared best, and worst */
} serving_result;

/* A dispatcher with the options of serving_run. `traced`: it remembers what ran when. */
clattn_status serving_dispatcher(clattn_context *context, int naive, int traced,
                                 clattn_dispatcher **dispatcher);

/* Runs the load on a dispatcher of the context, or naively: one by one on one queue, as they come.
 * `trace` (may be NULL) is written at the end. */
clattn_status serving_run(clattn_context *context, const serving_load *load, int naive,
                          const char *trace, serving_result *result);

#endif
