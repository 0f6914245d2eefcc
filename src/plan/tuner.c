/* Walks the classes of all kernels that can be tuned, and shares the time among them by their
 * weights; what one class leaves is for those after it. */
#include "plan/tuner.h"

#include <stdio.h>
#include <string.h>

#include "plan/class_search.h"

/* The way through the classes. */
typedef struct walk {
    clattn_context *context;
    const clattn__tuner_request *request;
    clattn__tuner_results *results;
    double deadline;                  /* seconds of the clock */
    double whole_weight, weight_left; /* of classes */
} walk;

/* Whether a class is searched at all. */
static bool takes_part(const walk *of, const clattn__problem_class *problem_class)
{
    return problem_class->weight > 0 && (problem_class->quick || !of->request->quick);
}

static bool may_use(const walk *of, const clattn__kernel *kernel)
{
    const char *only = of->context->env.kernel;
    return kernel->tunable && (!only || clattn__kernel_is_in(kernel, only));
}

/* A class of a kernel; returns a status that ends the walk. */
typedef clattn_status (*visit_fn)(walk *of, const clattn__kernel *kernel, uint32_t class_index);

static clattn_status each_class(walk *of, visit_fn visit)
{
    for (uint32_t i = 0; i < clattn__kernel_count(); i++) {
        const clattn__kernel *kernel = clattn__kernel_get(i);
        for (uint32_t c = 0; may_use(of, kernel) && c < kernel->tunable->class_count; c++)
            if (takes_part(of, &kernel->tunable->classes[c]))
                CLATTN__TRY(visit(of, kernel, c));
    }
    return CLATTN_OK;
}

static clattn_status count(walk *of, const clattn__kernel *kernel, uint32_t class_index)
{
    of->whole_weight += kernel->tunable->classes[class_index].weight;
    of->results->count++;
    return CLATTN_OK;
}

static double done(const walk *of)
{
    return 1 - of->weight_left / of->whole_weight;
}

static clattn_status tell_no_time(const walk *of, const clattn__kernel *kernel,
                                  uint32_t class_index)
{
    clattn_tune_progress progress = {.struct_size = sizeof progress,
                                     .state = CLATTN_TUNE_NO_TIME,
                                     .done = done(of),
                                     .speedup = 1};
    if (!of->request->function)
        return CLATTN_OK;
    snprintf(progress.kernel, sizeof progress.kernel, "%s", kernel->name);
    snprintf(progress.problem, sizeof progress.problem, "%s",
             kernel->tunable->classes[class_index].name);
    return of->request->function(of->request->user, &progress);
}

static clattn_status visit(walk *of, const clattn__kernel *kernel, uint32_t class_index)
{
    const double weight = kernel->tunable->classes[class_index].weight;
    const double now = clattn__tuner_now(), before = done(of);
    const double share = (of->deadline - now) * weight / of->weight_left;
    bool searched;
    of->weight_left -= weight;
    if (share <= 0)
        return tell_no_time(of, kernel, class_index);
    clattn__class_search *search = clattn__alloc_array(&of->context->env, 1, sizeof *search);
    if (!search)
        return CLATTN_ERR_OUT_OF_MEMORY;
    search->context = of->context;
    search->request = of->request;
    search->kernel = kernel;
    search->problem_class = class_index;
    search->earlier = of->results;
    search->deadline = now + share;
    search->done_before = before;
    search->done_after = done(of);
    const clattn_status status =
        clattn__class_search_run(search, &of->results->row[of->results->count], &searched);
    clattn__free(&of->context->env, search);
    of->results->count += status == CLATTN_OK && searched;
    return status;
}

clattn_status clattn__tuner_run(clattn_context *context, const clattn__tuner_request *request,
                                clattn__tuner_results *results)
{
    walk of = {context, request, results, clattn__tuner_now() + request->seconds, 0, 0};
    memset(results, 0, sizeof *results);
    each_class(&of, count);
    if (results->count == 0)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "there is nothing to tune%s%s",
                            context->env.kernel ? " of kernel " : "",
                            context->env.kernel ? context->env.kernel : "");
    results->row = clattn__alloc_array(&context->env, results->count, sizeof *results->row);
    results->count = 0;
    if (!results->row)
        return CLATTN_ERR_OUT_OF_MEMORY;
    of.weight_left = of.whole_weight;
    const clattn_status status = each_class(&of, visit);
    if (status != CLATTN_OK) {
        clattn__free(&context->env, results->row);
        memset(results, 0, sizeof *results);
    }
    return status;
}
