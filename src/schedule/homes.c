/* The table of homes, by a hash of sequence and head. */
#include "schedule/homes.h"

#include "schedule/lane_state.h"

/* Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4): ids that ascend one by one are
 * spread evenly, so that as many sequences as the table has places rarely collide. */
static uint32_t place_of(uint64_t id, uint32_t head)
{
    const uint64_t mixed = (id + ((uint64_t)head << 40)) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed >> 54) % CLATTN__HOMES;
}

static bool is_of(const clattn__home *home, uint64_t id, uint32_t head)
{
    return home->id == id && home->head == head;
}

/* All heads that a sequence may ever have are one head queue. */
static uint64_t queues_of(const clattn__head_range *range)
{
    return range->head_end == UINT32_MAX ? 1 : range->head_end - range->head;
}

/* How many sequences of the range are looked at, of `left`. */
static uint64_t looked_at(const clattn__head_range *range, uint64_t left)
{
    const uint64_t ids = range->last - range->first;
    return ids < left ? ids + 1 : left;
}

int32_t clattn__homes_find(const clattn__homes *homes, const clattn__head_ranges *ranges)
{
    uint64_t queues[CLATTN__MAX_LANES] = {0}, left = CLATTN__MOST_HOMES;
    int32_t best = -1;
    for (uint32_t i = 0; i < ranges->count && left; i++) {
        const clattn__head_range *range = &ranges->range[i];
        const uint64_t count = looked_at(range, left);
        for (uint64_t n = 0; n < count; n++) {
            const clattn__home *home = &homes->of[place_of(range->first + n, range->head)];
            if (is_of(home, range->first + n, range->head))
                queues[home->lane] += queues_of(range);
        }
        left -= count;
    }
    for (int32_t lane = 0; lane < CLATTN__MAX_LANES; lane++)
        if (queues[lane] > (best >= 0 ? queues[best] : 0))
            best = lane;
    return best;
}

uint64_t clattn__homes_set(clattn__homes *homes, const clattn__head_ranges *ranges, int32_t lane)
{
    uint64_t moved = 0, left = CLATTN__MOST_HOMES;
    for (uint32_t i = 0; i < ranges->count && left; i++) {
        const clattn__head_range *range = &ranges->range[i];
        const uint64_t count = looked_at(range, left);
        for (uint64_t n = 0; n < count; n++) {
            clattn__home *home = &homes->of[place_of(range->first + n, range->head)];
            if (is_of(home, range->first + n, range->head) && home->lane != lane)
                moved += queues_of(range);
            *home = (clattn__home){range->first + n, range->head, lane};
        }
        left -= count;
    }
    return moved;
}
