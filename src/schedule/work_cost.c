/* Sums of costs, and where to cut them. */
#include "schedule/work_cost.h"

/* Pairs that looking at a row once takes as long as. */
#define LIGHT 8.0

static double cost_of(const clattn__problem *problem, const clattn__tiling *tiling, bool light,
                      const clattn_work_item *item)
{
    const bool over_keys =
        tiling->axis == CLATTN__OVER_KEYS || tiling->axis == CLATTN__OVER_HEAD_KEYS;
    const double queries = over_keys ? (double)problem->extent[CLATTN__N_Q]
                                     : (double)item->q_end - (double)item->q_begin;
    const double keys = (double)item->k_end - (double)item->k_begin;
    if (light)
        return 1 + LIGHT * (over_keys ? keys : queries);
    return 1 + queries * keys;
}

void clattn__work_costs(const clattn__problem *problem, const clattn__tiling *tiling, bool light,
                        const clattn_work_item *items, uint32_t count, double *sums)
{
    for (uint32_t i = 0; i < count; i++)
        sums[i + 1] = sums[i] + cost_of(problem, tiling, light, &items[i]);
}

uint32_t clattn__items_within(const double *sums, uint32_t count, double most, uint32_t units)
{
    uint32_t least = 1, end = count / units + 1; /* in units: `least` is taken, `end` too much */
    if (count <= units || sums[count] - sums[0] <= most)
        return count;
    while (end - least > 1) {
        const uint32_t middle = least + (end - least) / 2;
        if (sums[(size_t)middle * units] - sums[0] <= most)
            least = middle;
        else
            end = middle;
    }
    return least * units;
}

uint32_t clattn__slice(const clattn__cut *cut)
{
    if (cut->work <= cut->most)
        return cut->count;
    const double worth = cut->work / cut->whole; /* of a cost of 1 */
    return clattn__items_within(cut->sums, cut->count, cut->most / worth, cut->units);
}

uint32_t clattn__slices(const clattn__cut *cut)
{
    clattn__cut left = *cut;
    uint32_t slices = 0;
    for (; left.count; slices++) {
        const uint32_t count = clattn__slice(&left);
        left.sums += count;
        left.count -= count;
    }
    return slices;
}
