/* A set of bytes as intervals, of a limited number: what is known of memory. Pure functions. */
#ifndef CLATTN_OPENCL_INTERVALS_H
#define CLATTN_OPENCL_INTERVALS_H

#include <stdbool.h>
#include <stdint.h>

#define CLATTN__MAX_INTERVALS 64

typedef struct clattn__intervals {
    struct {
        uint64_t begin, end;     /* begin < end */
    } of[CLATTN__MAX_INTERVALS]; /* (count) ascending, neither meeting nor touching */
    uint32_t count;
} clattn__intervals;

/* Adds begin .. end - 1. Where there would be too many intervals the shortest one is forgotten. */
void clattn__intervals_add(clattn__intervals *set, uint64_t begin, uint64_t end);
/* Takes them out; the same holds. */
void clattn__intervals_remove(clattn__intervals *set, uint64_t begin, uint64_t end);
/* The first of begin .. end - 1 that are not in the set, into *gap_begin and *gap_end; false: all
 * are. */
bool clattn__intervals_gap(const clattn__intervals *set, uint64_t begin, uint64_t end,
                           uint64_t *gap_begin, uint64_t *gap_end);

#endif
