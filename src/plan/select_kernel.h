/* Selection: which kernel of the registry, with which configuration and program, and why not the
 * others. */
#ifndef CLATTN_PLAN_SELECT_KERNEL_H
#define CLATTN_PLAN_SELECT_KERNEL_H

#include "kernels/registry.h"
#include "opencl/program.h"
#include "plan/context.h"
#include "plan/tuning.h"

typedef struct clattn__selection {
    const clattn__kernel *kernel;
    clattn__variant variant;
    clattn__origin origin;                          /* of the configuration */
    clattn__program *program[CLATTN__MAX_LAUNCHES]; /* (variant.launch_count), the device's */
    bool from_cache;                                /* all of them */
} clattn__selection;

/* The caller's OpenCL C texts, borrowed; NULL: none. */
typedef struct clattn__functions {
    const char *score, *mask, *score_gradient;
} clattn__functions;

/* The first kernel that accepts and builds; each one before it adds a line "NAME declined: why" to
 * `declined`. CLATTN_ERR_UNSUPPORTED where all decline. */
clattn_status clattn__select_kernel(clattn_context *context, const clattn__problem *problem,
                                    const clattn__functions *functions, clattn__text *declined,
                                    clattn__selection *selection);

/* This kernel with this configuration, for a problem that it accepts, without functions of the
 * caller's. */
clattn_status clattn__select_as(clattn_context *context, const clattn__problem *problem,
                                const clattn__kernel *kernel, const clattn__config *config,
                                clattn__selection *selection);

#endif
