/* From a plan and its memory to launches on a queue: whole, in parts, or together with others. */
#ifndef CLATTN_PLAN_LAUNCH_H
#define CLATTN_PLAN_LAUNCH_H

#include "plan/binding.h"

typedef struct clattn__wait_list {
    struct _cl_event *const *event; /* (count) */
    uint32_t count;
} clattn__wait_list;

/* Some of a launch's items: from the `first` on, `count` of them, at least 1. */
typedef struct clattn__launch_part {
    uint32_t launch; /* of the plan */
    uint32_t first, count;
} clattn__launch_part;

/* Where its tensors are, and which arguments its launches have, from its variant. */
void clattn__find_homes(clattn_plan *plan);

/* All items of a launch. */
clattn__launch_part clattn__plan_part(const clattn_plan *plan, uint32_t launch);

/* Enqueues them. */
clattn_status clattn__plan_launch(const clattn_plan *plan, clattn__launch_part part,
                                  const clattn__bound *bound, clattn__queue *queue,
                                  clattn__wait_list wait, struct _cl_event **event);

/* Tables of a launch that several plans share, in the place of their own. */
typedef struct clattn__shared_tables {
    clattn__memory *rows, *items; /* clattn_problem_row, clattn_work_item; each at offset 0 */
    uint32_t first, count;        /* items of the launch */
    clattn__wait_list wait;
} clattn__shared_tables;

/* Writes the row of a plan with this memory, for such tables. */
void clattn__shared_row(const clattn_plan *plan, const clattn__bound *bound,
                        clattn_problem_row *row);
/* Writes the items of a launch, which name that row; returns the number. */
uint32_t clattn__shared_items(const clattn_plan *plan, uint32_t launch, uint32_t row,
                              clattn_work_item *items);
/* Enqueues launch `launch` of all plans whose rows and items are in the tables. Functions and
 * memory objects are those of this plan; the others' are the same. */
clattn_status clattn__shared_launch(const clattn_plan *plan, uint32_t launch,
                                    const clattn__bound *bound, const clattn__shared_tables *tables,
                                    clattn__queue *queue, struct _cl_event **event);

/* Where the device compiles at the first launch, launches every kernel once without work. */
clattn_status clattn__plan_warm_up(const clattn_plan *plan);

#endif
