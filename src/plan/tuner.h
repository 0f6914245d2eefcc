/* The search for faster configurations: what clattn_tune measures. */
#ifndef CLATTN_PLAN_TUNER_H
#define CLATTN_PLAN_TUNER_H

#include "plan/context.h"
#include "plan/tuning.h"

typedef struct clattn__tuner_request {
    double seconds;          /* to end within, roughly */
    bool quick;              /* classes marked as quick alone */
    clattn_tune_fn function; /* NULL: nobody wants to know */
    void *user;
} clattn__tuner_request;

/* The classes that were searched, in order; configurations are whole. Speedup 0: nothing is faster
 * than the built-in one. */
typedef struct clattn__tuner_results {
    clattn__tuned *row; /* (count) owned */
    uint32_t count;
} clattn__tuner_results;

/* Searches the classes of all kernels that may be used in the context, which should be without
 * tuning. On failure there are no results. */
clattn_status clattn__tuner_run(clattn_context *context, const clattn__tuner_request *request,
                                clattn__tuner_results *results);

#endif
