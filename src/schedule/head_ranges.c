/* Intervals of sequences and heads: made from lists of ids, compared by one sweep. */
#include "schedule/head_ranges.h"

#include <stdlib.h>

static bool is_known(const clattn__head_ranges *ranges, const clattn__head_range *made)
{
    for (uint32_t i = 0; i < ranges->count; i++) {
        const clattn__head_range *range = &ranges->range[i];
        if (range->first <= made->first && made->last <= range->last && range->head <= made->head &&
            made->head_end <= range->head_end)
            return true;
    }
    return false;
}

static void add_range(clattn__head_ranges *ranges, const clattn__head_range *made, uint32_t known)
{
    const clattn__head_ranges before = {.range = ranges->range, .count = known};
    if (!is_known(&before, made))
        ranges->range[ranges->count++] = *made;
}

void clattn__head_ranges_add(clattn__head_ranges *ranges, const uint64_t *ids, uint64_t count,
                             uint32_t head, uint32_t head_end)
{
    /* Steps of one submission mostly have the same sequences: those of earlier calls are compared
     * while they are few. */
    const uint32_t known = ranges->count <= 8 ? ranges->count : 0;
    uint64_t i = 0;
    while (i < count) {
        const uint64_t first = ids[i++];
        clattn__head_range made = {first, first, head, head_end};
        if (first == 0)
            continue;
        while (i < count && made.last != UINT64_MAX && ids[i] == made.last + 1)
            made.last = ids[i++];
        add_range(ranges, &made, known);
    }
}

/* By the rest where they begin with the same sequence, so that the order doesn't depend on qsort().
 */
static int by_first(const void *a, const void *b)
{
    const clattn__head_range *x = a, *y = b;
    const uint64_t keys[][2] = {
        {x->first, y->first}, {x->head, y->head}, {x->head_end, y->head_end}, {x->last, y->last}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (keys[i][0] != keys[i][1])
            return keys[i][0] < keys[i][1] ? -1 : 1;
    return 0;
}

void clattn__head_ranges_close(clattn__head_ranges *ranges)
{
    if (ranges->count == 0)
        return;
    if (ranges->count > 1)
        qsort(ranges->range, ranges->count, sizeof *ranges->range, by_first);
    ranges->least = ranges->range[0].first;
    ranges->most = ranges->range[0].last;
    for (uint32_t i = 1; i < ranges->count; i++)
        if (ranges->range[i].last > ranges->most)
            ranges->most = ranges->range[i].last;
}

bool clattn__head_ranges_meet(const clattn__head_ranges *a, const clattn__head_ranges *b)
{
    uint32_t begin = 0;
    if (a->count == 0 || b->count == 0 || a->most < b->least || b->most < a->least)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const clattn__head_range *one = &a->range[i];
        while (begin < b->count && b->range[begin].last < one->first)
            begin++; /* those of `a` that follow begin no earlier */
        for (uint32_t j = begin; j < b->count && b->range[j].first <= one->last; j++) {
            const clattn__head_range *other = &b->range[j];
            if (other->last >= one->first && other->head < one->head_end &&
                one->head < other->head_end)
                return true;
        }
    }
    return false;
}
