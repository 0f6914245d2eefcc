/* A lane's turn to look for work: what it launches next of what is due, if it has room for that and
 * nothing in flight elsewhere keeps it from the lane. Pure: the clock and what is in flight are the
 * caller's to know. */
#ifndef CLATTN_SCHEDULE_TURN_H
#define CLATTN_SCHEDULE_TURN_H

#include "schedule/backlog.h"

/* How often a lane picks again, each time it looks for work, because it must pass over what is due
 * first. */
#define CLATTN__MOST_LOOKS 64u

/* Whether something in flight elsewhere keeps the job from the lane whose turn it is. */
typedef bool (*clattn__kept_fn)(void *user, clattn__job *job);

typedef struct clattn__turn {
    clattn__backlog *backlog; /* borrowed */
    uint32_t lane;
    clattn__kept_fn is_kept; /* NULL: nothing ever is */
    void *user;              /* for that */
    uint32_t looks;          /* times that the lane may pick in vain yet */
    bool news;               /* a job is kept that wasn't: other lanes should look, too */
} clattn__turn;

/* The lane begins to look. `turn` has its first four members; the rest is begun. */
void clattn__turn_begin(clattn__turn *turn);

/* Whether it is worth asking for more: something waits, and the lane has room. */
bool clattn__turn_goes_on(const clattn__turn *turn);

/* What the lane should launch now, as of clattn__backlog_pick, and can, into chosen (capacity).
 * Returns their number; 0: its turn is over. */
uint32_t clattn__turn_next(clattn__turn *turn, uint64_t now, clattn__job **chosen,
                           uint32_t capacity);

#endif
