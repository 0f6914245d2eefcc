/* A plan: problem, kernel, configuration, compiled program, and the tables that its launches read.
 * Immutable after plan_create; counted, because submissions in flight keep it. */
#ifndef CLATTN_PLAN_PLAN_H
#define CLATTN_PLAN_PLAN_H

#include "kernels/registry.h"
#include "opencl/queue.h"
#include "plan/context.h"
#include "plan/select_kernel.h"

typedef struct clattn__planned_launch {
    clattn__program *program;   /* the device's */
    clattn__function *function; /* owned by the program */
    uint32_t first;             /* index of its first item in the table of items */
    uint32_t count;             /* items; 0: nothing to launch */
    /* Arguments that have a value, in order; the others are bits of `absent`. */
    uint8_t present[CLATTN__MAX_ARGUMENTS];
    uint32_t present_count;
    uint64_t absent;
} clattn__planned_launch;

/* A slot that takes part, with the bytes it spans: see clattn__slot_span. */
typedef struct clattn__planned_slot {
    uint32_t slot;
    int64_t low, high;
} clattn__planned_slot;

/* Where a tensor is that is in no slot's memory. */
enum { CLATTN__NOWHERE = -1, CLATTN__IN_WORKSPACE = -2 };

struct clattn_plan {
    atomic_int references;
    clattn_context *context; /* borrowed, held */
    clattn__problem problem;
    clattn__planned_slot slot[CLATTN_SLOT_LIMIT]; /* (slot_count) the problem's, in order */
    uint32_t slot_count;
    int16_t home[CLATTN_T_COUNT];   /* of the row's tensors: a slot that takes part, or see above */
    uint8_t tensor[CLATTN_T_COUNT]; /* (tensor_count) those that are somewhere */
    uint32_t tensor_count;
    const clattn__kernel *kernel; /* of the registry */
    clattn__variant variant;
    clattn__origin origin;                               /* of its configuration */
    clattn__planned_launch launch[CLATTN__MAX_LAUNCHES]; /* (variant.launch_count) */
    clattn__memory *rows;                                /* owned; clattn_problem_row[1] */
    clattn__memory *items; /* owned; clattn_work_item, of all launches; NULL: none */
    /* What `rows` and `items` have, for launches that several plans share; owned, both NULL where
     * the plan shares none: see clattn__kernel.shares. */
    clattn_problem_row *host_row;
    clattn_work_item *host_items;
    uint64_t family; /* equal for plans of which every launch is of the same function */
    /* For the context's other devices, (context->peer_count) owned; NULL where a device has none,
     * and where the plan is for the first device alone. */
    clattn_plan **peer;
    uint64_t groups;   /* items of all launches */
    double *costs;     /* (groups + 1) owned; what the items before each cost, and all of them; NULL
                          without items */
    char *explanation; /* owned */
    double seconds;    /* that planning took */
    bool from_cache;
};

/* `functions` are the texts whose hashes the problem has; not needed afterwards. */
clattn_status clattn__plan_create(clattn_context *context, const clattn__problem *problem,
                                  const clattn__functions *functions, clattn_plan **plan);
/* The same for the context's first device alone: nothing is compiled for the others. */
clattn_status clattn__plan_create_first(clattn_context *context, const clattn__problem *problem,
                                        const clattn__functions *functions, clattn_plan **plan);
/* The same with this kernel, which accepts the problem, and this configuration. */
clattn_status clattn__plan_create_as(clattn_context *context, const clattn__problem *problem,
                                     const clattn__kernel *kernel, const clattn__config *config,
                                     clattn_plan **plan);
/* The same for this device of the context; NULL: there is none. */
const clattn_plan *clattn__plan_on(const clattn_plan *plan, const clattn__device *device);
/* Scratch memory that a submission needs, on whichever device. */
uint64_t clattn__plan_workspace(const clattn_plan *plan);
void clattn__plan_retain(const clattn_plan *plan);
void clattn__plan_release(const clattn_plan *plan); /* NULL is allowed */

/* CLATTN_ERR_ARGUMENT for NULL. */
clattn_status clattn__plan_check(const clattn_plan *plan);

#endif
