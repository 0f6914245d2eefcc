/* What work items cost beside each other, so that parts of a launch take the same time though items
 * don't: of causal attention the last ones see the most keys. Pure functions. */
#ifndef CLATTN_SCHEDULE_WORK_COST_H
#define CLATTN_SCHEDULE_WORK_COST_H

#include "schedule/work_list.h"

/* Costs in pairs of a row and a column, about. `light`: the launch brings into shape what others
 * compute with, and looks at each row once. Writes sums[i] (count + 1), what the items before i
 * cost, beginning with sums[0], which is given; each costs something. */
void clattn__work_costs(const clattn__problem *problem, const clattn__tiling *tiling, bool light,
                        const clattn_work_item *items, uint32_t count, double *sums);

/* How many of `count` items, with sums as above, cost at most `most` together: 1 .. count, whole
 * multiples of `units`, which a lane executes at a time, and at least so many, or all. */
uint32_t clattn__items_within(const double *sums, uint32_t count, double most, uint32_t units);

/* A launch, or what is left of it, of a step that a lane may have to do in several pieces. */
typedef struct clattn__cut {
    const double *sums; /* (count + 1) as above, of its items */
    uint32_t count;
    double whole;   /* what all items of the step cost, of whatever launch */
    double work;    /* of the step; see clattn__estimate_work */
    double most;    /* work that a launch may be; see clattn__lane_most_work */
    uint32_t units; /* items that the lane executes at a time */
} clattn__cut;

/* How many of the items go first: all where the step isn't more than a launch may be, else as many
 * as make that, as above. */
uint32_t clattn__slice(const clattn__cut *cut);
/* How many pieces that makes, one after the other. */
uint32_t clattn__slices(const clattn__cut *cut);

#endif
