/* A problem with memory to run it in, for measuring: inputs are made up, results are compared with
 * those of a plan that is trusted. */
#ifndef CLATTN_PLAN_SAMPLE_H
#define CLATTN_PLAN_SAMPLE_H

#include "plan/binding.h"
#include "plan/launch.h"

typedef struct clattn__sample {
    clattn_context *context; /* borrowed */
    clattn__problem problem;
    clattn__bound bound;       /* references to memory of its own */
    clattn__memory *workspace; /* a reference; NULL before it is needed */
    int32_t result;            /* slot of the result that is compared; -1: none */
    float *expected, *found;   /* (result_count) owned */
    size_t result_count;
} clattn__sample;

/* Slots may be of floats or masks, without strides that leave gaps in the result. A sample that
 * failed is finished already. */
clattn_status clattn__sample_init(clattn__sample *sample, clattn_context *context,
                                  const clattn__problem *problem);
void clattn__sample_finish(clattn__sample *sample);

/* One run of a plan of the problem, from the first launch to the end of all; takes what workspace
 * the plan needs beforehand. */
clattn_status clattn__sample_run(clattn__sample *sample, const clattn_plan *plan,
                                 clattn__queue *queue, double *seconds);

/* Runs a plan that is trusted, and remembers its result. */
clattn_status clattn__sample_expect(clattn__sample *sample, const clattn_plan *plan,
                                    clattn__queue *queue);

/* Runs a plan, and compares. CLATTN_ERR_INTERNAL if it gives something else, beyond rounding. */
clattn_status clattn__sample_check(clattn__sample *sample, const clattn_plan *plan,
                                   clattn__queue *queue);

#endif
