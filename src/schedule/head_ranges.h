/* Which head queues a submission has work in, as intervals of sequences and heads: a batch of
 * neighbouring sequences is one interval, whatever its size. Pure functions. */
#ifndef CLATTN_SCHEDULE_HEAD_RANGES_H
#define CLATTN_SCHEDULE_HEAD_RANGES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct clattn__head_range {
    uint64_t first, last;    /* sequence ids, both included; never 0 */
    uint32_t head, head_end; /* key/value heads head .. head_end - 1 */
} clattn__head_range;

typedef struct clattn__head_ranges {
    clattn__head_range *range; /* (count) ascending by `first`, then by heads; the memory is the
                                  caller's */
    uint32_t count;            /* 0: no order with anybody */
    uint64_t least, most;      /* of all ids */
} clattn__head_ranges;

/* Appends the intervals of `ids` (count; 0 is anonymous and has none) with these heads. `range` has
 * room for `count` more; neighbours that ascend one by one become one interval. */
void clattn__head_ranges_add(clattn__head_ranges *ranges, const uint64_t *ids, uint64_t count,
                             uint32_t head, uint32_t head_end);
/* Puts them in order, after the last was added. */
void clattn__head_ranges_close(clattn__head_ranges *ranges);

/* Whether some head queue is in both. */
bool clattn__head_ranges_meet(const clattn__head_ranges *a, const clattn__head_ranges *b);

#endif
