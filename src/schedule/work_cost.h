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

/* How many such pieces they are, one after the other. */
uint32_t clattn__slices(const double *sums, uint32_t count, double most, uint32_t units);

#endif
