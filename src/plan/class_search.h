/* The search in one class of problems: candidates one after another, each measured in turns with
 * the best so far. */
#ifndef CLATTN_PLAN_CLASS_SEARCH_H
#define CLATTN_PLAN_CLASS_SEARCH_H

#include "opencl/queue.h"
#include "plan/sample.h"
#include "plan/tuner.h"

#define CLATTN__MOST_TRIED 96

/* A configuration with its plans, one a sample. */
typedef struct clattn__trial {
    clattn__config config;
    clattn_plan *plan[CLATTN__MOST_SAMPLES]; /* a reference each */
    /* Seconds of the two fastest runs of the last comparison; 0: there was none. */
    double best[CLATTN__MOST_SAMPLES], second[CLATTN__MOST_SAMPLES];
} clattn__trial;

typedef struct clattn__class_search {
    clattn_context *context;              /* borrowed, as all that follows */
    const clattn__tuner_request *request; /* whom to tell */
    const clattn__kernel *kernel;
    uint32_t problem_class;
    const clattn__tuner_results *earlier; /* of other classes */
    double deadline;                      /* seconds of the clock */
    double done_before, done_after;       /* of the whole */

    clattn__queue *queue; /* owned, as all that follows */
    clattn__sample sample[CLATTN__MOST_SAMPLES];
    uint32_t sample_count;
    clattn__trial built_in, best; /* `best` has plans once something is faster */
    clattn__config tried[CLATTN__MOST_TRIED];
    uint32_t tried_count;  /* the built-in one included */
    double start, longest; /* seconds: of the clock, of one candidate */
} clattn__class_search;

/* Seconds of the clock. */
double clattn__tuner_now(void);

/* Searches until the candidates or the time are at their end. With the fields up to `done_after`
 * filled in and the others 0. *searched is false where the class has nothing to be measured by, or
 * the kernel doesn't take it on this device. */
clattn_status clattn__class_search_run(clattn__class_search *search, clattn__tuned *result,
                                       bool *searched);

#endif
