/* Intervals in an array. */
#include "opencl/intervals.h"

#include <string.h>

static void drop(clattn__intervals *set, uint32_t at)
{
    memmove(&set->of[at], &set->of[at + 1], (set->count - at - 1) * sizeof set->of[0]);
    set->count--;
}

static uint32_t shortest(const clattn__intervals *set)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < set->count; i++)
        if (set->of[i].end - set->of[i].begin < set->of[best].end - set->of[best].begin)
            best = i;
    return best;
}

/* Puts an interval that meets none at its place. */
static void put(clattn__intervals *set, uint64_t begin, uint64_t end)
{
    uint32_t at = 0;
    if (set->count == CLATTN__MAX_INTERVALS) {
        const uint32_t least = shortest(set);
        if (set->of[least].end - set->of[least].begin >= end - begin)
            return;
        drop(set, least);
    }
    while (at < set->count && set->of[at].begin < begin)
        at++;
    memmove(&set->of[at + 1], &set->of[at], (set->count - at) * sizeof set->of[0]);
    set->of[at].begin = begin;
    set->of[at].end = end;
    set->count++;
}

void clattn__intervals_add(clattn__intervals *set, uint64_t begin, uint64_t end)
{
    uint32_t i = 0;
    if (begin >= end)
        return;
    while (i < set->count) {
        if (set->of[i].end < begin || end < set->of[i].begin) {
            i++;
            continue;
        }
        begin = set->of[i].begin < begin ? set->of[i].begin : begin;
        end = set->of[i].end > end ? set->of[i].end : end;
        drop(set, i);
    }
    put(set, begin, end);
}

void clattn__intervals_remove(clattn__intervals *set, uint64_t begin, uint64_t end)
{
    uint32_t i = 0;
    if (begin >= end)
        return;
    while (i < set->count) {
        const uint64_t left_begin = set->of[i].begin, right_end = set->of[i].end;
        const uint64_t left_end = begin, right_begin = end;
        if (right_end <= begin || end <= left_begin) {
            i++;
            continue;
        }
        drop(set, i);
        if (left_begin < left_end)
            put(set, left_begin, left_end);
        if (right_begin < right_end)
            put(set, right_begin, right_end);
        i = 0; /* what follows may have moved */
    }
}

bool clattn__intervals_gap(const clattn__intervals *set, uint64_t begin, uint64_t end,
                           uint64_t *gap_begin, uint64_t *gap_end)
{
    for (uint32_t i = 0; i < set->count && begin < end; i++) {
        if (set->of[i].end <= begin)
            continue;
        if (set->of[i].begin > begin) {
            *gap_begin = begin;
            *gap_end = set->of[i].begin < end ? set->of[i].begin : end;
            return true;
        }
        begin = set->of[i].end;
    }
    *gap_begin = begin;
    *gap_end = end;
    return begin < end;
}
