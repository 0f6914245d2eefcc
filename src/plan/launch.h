/* From a plan and its memory to launches on a queue. */
#ifndef CLATTN_PLAN_LAUNCH_H
#define CLATTN_PLAN_LAUNCH_H

#include "plan/binding.h"

typedef struct clattn__wait_list {
    struct _cl_event *const *event; /* (count) */
    uint32_t count;
} clattn__wait_list;

/* Enqueues launch `index` of the plan, which must have items. */
clattn_status clattn__plan_launch(const clattn_plan *plan, uint32_t index,
                                  const clattn__bound *bound, clattn__queue *queue,
                                  clattn__wait_list wait, struct _cl_event **event);

/* Where the device compiles at the first launch, launches every kernel once without work. */
clattn_status clattn__plan_warm_up(const clattn_plan *plan);

#endif
