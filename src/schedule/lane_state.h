/* What is known of a lane: how fast it has proved to be and what it still has to do; and from that,
 * which lane should have a piece of work. Pure functions. */
#ifndef CLATTN_SCHEDULE_LANE_STATE_H
#define CLATTN_SCHEDULE_LANE_STATE_H

#include <stdbool.h>
#include <stdint.h>

/* Launches of a family that can share them: one runs, one follows it without a pause. */
#define CLATTN__MOST_FLIGHTS 2

typedef struct clattn__lane_state {
    double speed;     /* estimated work done in a nanosecond, measured; > 0 */
    double flying;    /* work launched and not done */
    uint32_t flights; /* in how many launches; counted up by whoever launches */
    bool dead;        /* its device failed: it gets nothing more */
} clattn__lane_state;

void clattn__lane_state_init(clattn__lane_state *lane);

/* `work` of what is in flight is done, and was being done for `ns` (0: not known). The speed is an
 * average in which older measurements fade. `last`: nothing is left in flight. */
void clattn__lane_landed(clattn__lane_state *lane, double work, double ns, bool last);

/* Nanoseconds until the lane has done what it has, and `work` more. */
double clattn__lane_time(const clattn__lane_state *lane, double work);

/* Whether `lane` may take the work now: no other lane that can begin it within `soon` ns, after
 * `ahead` of other work, would have it done clearly earlier. */
bool clattn__lane_should_take(const clattn__lane_state *lanes, uint32_t count, uint32_t lane,
                              double work, double ahead, double soon);

/* The lane that has the work done first; `home` (-1: none), where the memory is warm, is preferred
 * unless it takes half as long again. -1 where all are dead. */
int32_t clattn__lane_choose(const clattn__lane_state *lanes, uint32_t count, int32_t home,
                            double work);

#endif
