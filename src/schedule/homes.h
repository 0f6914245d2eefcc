/* On which lane head queues were last: their keys and values are warm there, and on devices with
 * memory of their own they are there at all. A table of a fixed size, which forgets. Pure. */
#ifndef CLATTN_SCHEDULE_HOMES_H
#define CLATTN_SCHEDULE_HOMES_H

#include "schedule/head_ranges.h"

/* Head queues that are remembered; a new one may take the place of an old one. */
#define CLATTN__HOMES 1024u
/* Sequences of a job that are looked at; the home of a larger one is that of its first ones. */
#define CLATTN__MOST_HOMES 256u

/* The heads of a sequence that a plan has stay together: the first stands for them. */
typedef struct clattn__home {
    uint64_t id; /* of a sequence; 0: nobody's */
    uint32_t head;
    int32_t lane;
} clattn__home;

typedef struct clattn__homes {
    clattn__home of[CLATTN__HOMES]; /* zeros: nothing is known */
} clattn__homes;

/* The lane that most of these head queues were on, of as many the lowest; -1: not known. Lanes are
 * less than CLATTN__MAX_LANES. */
int32_t clattn__homes_find(const clattn__homes *homes, const clattn__head_ranges *ranges);

/* They are on `lane` now. Returns how many of them were on another one. */
uint64_t clattn__homes_set(clattn__homes *homes, const clattn__head_ranges *ranges, int32_t lane);

#endif
