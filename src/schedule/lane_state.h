/* What is known of a lane: how fast it has proved to be and what it still has to do; and from that,
 * which lane should have a piece of work. Pure functions. */
#ifndef CLATTN_SCHEDULE_LANE_STATE_H
#define CLATTN_SCHEDULE_LANE_STATE_H

#include <stdbool.h>
#include <stdint.h>

/* Of a dispatcher. */
#define CLATTN__MAX_LANES 16
/* Launches of a family that can share them: one runs, one follows it without a pause. */
#define CLATTN__MOST_FLIGHTS 2

typedef struct clattn__lane_state {
    double speed; /* estimated work done in a nanosecond, measured; > 0 */
    /* The same of parts of long submissions: their kernels do more or less in a nanosecond than
     * those of short ones, and how long a part takes is what others wait for. 0: not measured. */
    double part_speed;
    double ceiling_ns; /* how long a launch may take at most; 0: as long as it likes */
    uint32_t units;    /* items that it executes at a time, at least 1 */
    double flying;     /* work launched and not done */
    uint32_t flights;  /* in how many launches */
    uint64_t began;    /* ns; when the first of them began, about */
    double together;   /* submissions that a launch ends, if any, on average; older ones fade */
    bool dead;         /* its device failed: it gets nothing more */
} clattn__lane_state;

/* Work for which a lane is sought. */
typedef struct clattn__task {
    double work;
    uint32_t barred; /* bit i: lane i can't have it, or not now */
    int32_t home;    /* lane on which its memory is warm; -1: none */
    /* (lanes) ns until what a lane lacks of its memory is there; NULL: nothing has to be moved */
    const double *moving;
} clattn__task;

void clattn__lane_state_init(clattn__lane_state *lane);

/* Another launch is in flight since `now`, with which `jobs` submissions end; none with a part of a
 * longer one. `flying` is the caller's matter. */
void clattn__lane_launched(clattn__lane_state *lane, uint32_t jobs, uint64_t now);
/* Nanoseconds until the lane has done what is in flight, by how long that has been running. */
double clattn__lane_remaining(const clattn__lane_state *lane, uint64_t now);

/* `work` of what is in flight is done, and was being done for `ns` (0: not known). The speed is an
 * average in which older measurements fade. `last`: nothing is left in flight. */
void clattn__lane_landed(clattn__lane_state *lane, double work, double ns, bool last);

/* The same of a part of a long submission, `work` of it. */
void clattn__lane_part_landed(clattn__lane_state *lane, double work, double ns);

/* As how much work a part counts in `flying`: what takes as long by `speed`. */
double clattn__lane_part_weight(const clattn__lane_state *lane, double work);

/* Nanoseconds until the lane has done what it has, and `work` more. */
double clattn__lane_time(const clattn__lane_state *lane, double work);

/* How much work a launch may be at most, by the slower of the lane's speeds; huge without a
 * ceiling. */
double clattn__lane_most_work(const clattn__lane_state *lane);

/* Whether `lane` may take the work now: no other lane that can have it and begin it within `soon`
 * ns, after `ahead` of other work, would have it done clearly earlier; home, unless it would take
 * half as long again. One with CLATTN__MOST_FLIGHTS launches in flight can't begin it. Where moving
 * its memory here takes longer than there, there is so much more time to begin, whatever is in
 * flight. */
bool clattn__lane_should_take(const clattn__lane_state *lanes, uint32_t count, uint32_t lane,
                              const clattn__task *task, double ahead, double soon);

/* Whether home would have the work done by the time that `lane` had, behind `ahead` of other work,
 * or half as long again. */
bool clattn__lane_leaves_home(const clattn__lane_state *lanes, uint32_t lane,
                              const clattn__task *task, double ahead);

/* The lane that has the work done first, of those that can have it; home is preferred unless it
 * takes half as long again. -1 where none is left. */
int32_t clattn__lane_choose(const clattn__lane_state *lanes, uint32_t count,
                            const clattn__task *task);

#endif
