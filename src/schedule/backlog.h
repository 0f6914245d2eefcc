/* The jobs of a dispatcher: which are ready, which goes first, which go together, and where. Pure:
 * knows neither OpenCL nor clocks nor threads, so tests run it with invented devices. Not
 * thread-safe; allocates nothing. */
#ifndef CLATTN_SCHEDULE_BACKLOG_H
#define CLATTN_SCHEDULE_BACKLOG_H

#include "schedule/homes.h"
#include "schedule/lane_state.h"

#define CLATTN__MAX_PRIORITY 100
/* By how much a step of priority is worth waiting: a job goes before those of the next higher
 * priority that came this much later, so that nothing waits for ever. */
#define CLATTN__PRIORITY_NS ((int64_t)20000000)
/* By how much earlier a job is due on the lane that its head queues were on last. */
#define CLATTN__HOME_NS ((int64_t)1000000)

/* How many jobs a lane leaves to others, each time it looks for work, before it considers nothing
 * any more but what is at home there; and after as many again but what is bound to it: begun there,
 * or behind something in flight there. */
#define CLATTN__MOST_LEFT 64u

/* While jobs meet, and this long afterwards, long ones go in parts. */
#define CLATTN__CROWDED_NS 100000000u

/* What the backlog knows of a submission. */
typedef struct clattn__job {
    struct clattn__job *next, *previous; /* in one list of the backlog */
    clattn__head_ranges ranges;
    int64_t key;     /* when it is due, ns: the least goes first; clattn__job_due */
    int64_t lead;    /* of its priority, ns */
    uint64_t family; /* jobs of the same can share launches; 0: it shares with none */
    double work;     /* that is not launched yet */
    bool hurries;    /* it must have begun at some time */
    uint32_t waits;  /* events it waits for that are not even launched */
    uint32_t before; /* jobs of its head queues that must go first */
    int32_t tied;    /* lane on which those before it are in flight; -1: any will do */
    int32_t lane;    /* lane that has begun it; -1: none */
    int32_t home;    /* lane that its head queues were on last, -1: none; as last looked up */
    uint32_t barred; /* bit i: lane i must not take it */
    uint32_t blocked, was_blocked;    /* bit i: lane i can't yet; clattn__backlog_block */
    uint32_t left;                    /* bit i: lane i leaves it to others until it looks again */
    uint64_t order;                   /* number of its submission: the order of head queues */
    double whole;                     /* work of all of it */
    double moving[CLATTN__MAX_LANES]; /* ns until what a lane lacks of its memory is there */
} clattn__job;

typedef struct clattn__job_list {
    clattn__job *first, *last;
    uint32_t count;
} clattn__job_list;

typedef struct clattn__backlog {
    clattn__job_list waiting;                   /* not or not wholly launched, as they came */
    clattn__job_list flying[CLATTN__MAX_LANES]; /* launched, in order */
    clattn__lane_state lane[CLATTN__MAX_LANES]; /* (lane_count) */
    clattn__homes homes;                        /* where there are several lanes */
    uint32_t left[CLATTN__MAX_LANES]; /* jobs that a lane has left to others since it looked */
    uint64_t steals; /* head queues that went to another lane than the one they were on */
    uint32_t lane_count;
    double launch_ns; /* how long a launch may take, unless it can't be divided; 0: without bound */
    bool parts;       /* long jobs go in parts even if they are alone */
    uint64_t crowded_till; /* ns; they do until then in any case */
} clattn__backlog;

void clattn__backlog_init(clattn__backlog *backlog, uint32_t lane_count, double launch_ns);

/* When a job is due that came at `now` with this priority (clamped to +-CLATTN__MAX_PRIORITY) and
 * must have begun by `expires` (UINT64_MAX: no such time). Sets key, lead and hurries. */
void clattn__job_due(clattn__job *job, uint64_t now, int32_t priority, uint64_t expires);

/* Adds a job behind all others. ranges, work, family, waits, key, lead, hurries, barred and order
 * are set, moving where there are several lanes; the caller may change moving while the job waits.
 * The rest is begun. */
void clattn__backlog_add(clattn__backlog *backlog, clattn__job *job);

/* A new job, not added yet, came at `now`: does it meet others, which could have their turn before
 * it is done? Those that it follows in a head queue couldn't, be they few. */
void clattn__backlog_arrived(clattn__backlog *backlog, const clattn__job *job, uint64_t now);
/* The lane that a new job, not added yet, may go to at once, past an empty backlog; -1: it has to
 * wait. */
int32_t clattn__backlog_pass(const clattn__backlog *backlog, clattn__job *job, uint64_t now);
/* Enters that job as launched. */
void clattn__backlog_passed(clattn__backlog *backlog, clattn__job *job, uint32_t lane);

/* Whether the lane has room for another launch of a family: less than one launch's time in flight;
 * and, where launches can be shared, one to run and one to follow at most, so that what comes
 * meanwhile comes together. */
bool clattn__backlog_has_room(const clattn__backlog *backlog, uint32_t lane, uint64_t family);
/* Whether these, which can share a launch, should go now. Where launches have been of several jobs
 * lately, one that is to follow another waits for company till it takes as long as what is left of
 * that; but not what must have begun at some time. */
bool clattn__backlog_is_worth(const clattn__backlog *backlog, uint32_t lane,
                              clattn__job *const *jobs, uint32_t count, uint64_t now);

/* What the lane should launch next, into chosen (capacity): the job that is due first, and those of
 * its family that fit into the time of a launch, but for what is better left to another lane. What
 * it leaves, it leaves until clattn__backlog_look. Returns their number; 0: nothing is ready for
 * it.
 */
uint32_t clattn__backlog_pick(clattn__backlog *backlog, uint32_t lane, clattn__job **chosen,
                              uint32_t capacity);

/* The lane begins to look for work: nothing is blocked on it, as far as is known, and nothing left
 * to others. Needed where there are several lanes. */
void clattn__backlog_look(clattn__backlog *backlog, uint32_t lane);
/* The lane passes over the job until it looks again: something in flight elsewhere keeps the job
 * from it. Returns whether that is news, and other lanes should look, too, that may have left the
 * job to this one. */
bool clattn__backlog_block(clattn__job *job, uint32_t lane);

/* How much of `work` makes a launch of the allowed time, by what parts were measured to take; all
 * of it where dividing it isn't worth while. */
double clattn__backlog_share(const clattn__backlog *backlog, uint32_t lane, double work);

/* How much of `work` goes into the next launch at `now`: as much as above while long jobs go in
 * parts, else all of it. */
double clattn__backlog_portion(const clattn__backlog *backlog, uint32_t lane, double work,
                               uint64_t now);

/* A part of the job, `work` of it, is on the lane; the rest is due as if it came `now`. Returns as
 * how much work that counts, for clattn__lane_landed. */
double clattn__backlog_begun(clattn__backlog *backlog, clattn__job *job, uint32_t lane, double work,
                             uint64_t now);
/* The rest of the job, or all of it, is on the lane. */
void clattn__backlog_launched(clattn__backlog *backlog, clattn__job *job, uint32_t lane);
/* A job that was launched is done. Its work is the lane's matter: clattn__lane_landed. */
void clattn__backlog_done(clattn__backlog *backlog, clattn__job *job);
/* A job that was launched, and is done or in no list, waits once more from its beginning: where it
 * was in the order of its head queues. */
void clattn__backlog_return(clattn__backlog *backlog, clattn__job *job);
/* So does one that waits and of which only a part was launched. */
void clattn__backlog_restart(clattn__backlog *backlog, clattn__job *job);
/* Whether the job is a later one than `other`, and they have a head queue in common. */
bool clattn__job_follows(const clattn__job *job, const clattn__job *other);
/* Whether some lane may still take the job. */
bool clattn__backlog_has_lane(const clattn__backlog *backlog, const clattn__job *job);
/* A waiting job goes without being launched. */
void clattn__backlog_drop(clattn__backlog *backlog, clattn__job *job);

/* Jobs in all lists. */
uint32_t clattn__backlog_count(const clattn__backlog *backlog);

#endif
