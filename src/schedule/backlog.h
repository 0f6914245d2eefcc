/* The jobs of a dispatcher: which are ready, which goes first, which go together, and where. Pure:
 * knows neither OpenCL nor clocks nor threads, so tests run it with invented devices. Not
 * thread-safe; allocates nothing. */
#ifndef CLATTN_SCHEDULE_BACKLOG_H
#define CLATTN_SCHEDULE_BACKLOG_H

#include "schedule/head_ranges.h"
#include "schedule/lane_state.h"

#define CLATTN__MAX_LANES    16
#define CLATTN__MAX_PRIORITY 100
/* By how much a step of priority is worth waiting: a job goes before those of the next higher
 * priority that came this much later, so that nothing waits for ever. */
#define CLATTN__PRIORITY_NS ((int64_t)20000000)

/* What the backlog knows of a submission. */
typedef struct clattn__job {
    struct clattn__job *next, *previous; /* in one list of the backlog */
    clattn__head_ranges ranges;
    int64_t key;     /* when it is due, ns: the least goes first; clattn__job_due */
    int64_t lead;    /* of its priority, ns */
    uint64_t family; /* jobs of the same can share launches; 0: it shares with none */
    double work;     /* that is not launched yet */
    uint32_t waits;  /* events it waits for that are not even launched */
    uint32_t before; /* jobs of its head queues that must go first */
    int32_t tied;    /* lane on which those before it are in flight; -1: any will do */
    int32_t lane;    /* lane that has begun it; -1: none */
    int32_t home;    /* lane whose caches have its keys and values, -1: none */
} clattn__job;

typedef struct clattn__job_list {
    clattn__job *first, *last;
    uint32_t count;
} clattn__job_list;

typedef struct clattn__backlog {
    clattn__job_list waiting;                   /* not or not wholly launched, as they came */
    clattn__job_list flying[CLATTN__MAX_LANES]; /* launched, in order */
    clattn__lane_state lane[CLATTN__MAX_LANES]; /* (lane_count) */
    uint32_t lane_count;
    double launch_ns; /* how long a launch may take, unless it can't be divided; 0: without bound */
} clattn__backlog;

void clattn__backlog_init(clattn__backlog *backlog, uint32_t lane_count, double launch_ns);

/* When a job is due that came at `now` with this priority (clamped to +-CLATTN__MAX_PRIORITY) and
 * must have begun by `expires` (UINT64_MAX: no such time). Sets key and lead. */
void clattn__job_due(clattn__job *job, uint64_t now, int32_t priority, uint64_t expires);

/* Adds a job behind all others. ranges, work, family, waits and key are set; the rest is begun. */
void clattn__backlog_add(clattn__backlog *backlog, clattn__job *job);

/* The lane that a new job, not added yet, may go to at once, past an empty backlog; -1: it has to
 * wait. */
int32_t clattn__backlog_pass(const clattn__backlog *backlog, clattn__job *job);
/* Enters that job as launched. */
void clattn__backlog_passed(clattn__backlog *backlog, clattn__job *job, uint32_t lane);

/* Whether the lane has room for another launch of a family: less than one launch's time in flight;
 * and, where launches can be shared, one to run and one to follow at most, so that what comes
 * meanwhile comes together. */
bool clattn__backlog_has_room(const clattn__backlog *backlog, uint32_t lane, uint64_t family);

/* What the lane should launch next, into chosen (capacity): the job that is due first, and those of
 * its family that fit into the time of a launch. Returns their number; 0: nothing is ready for it.
 */
uint32_t clattn__backlog_pick(const clattn__backlog *backlog, uint32_t lane, clattn__job **chosen,
                              uint32_t capacity);

/* How many of `items` equal pieces of `work` make a launch of the allowed time: 1 .. items. */
uint32_t clattn__backlog_share(const clattn__backlog *backlog, uint32_t lane, double work,
                               uint32_t items);

/* A part of the job, `work` of it, is on the lane; the rest is due as if it came `now`. */
void clattn__backlog_begun(clattn__backlog *backlog, clattn__job *job, uint32_t lane, double work,
                           uint64_t now);
/* The rest of the job, or all of it, is on the lane. */
void clattn__backlog_launched(clattn__backlog *backlog, clattn__job *job, uint32_t lane);
/* A job that was launched is done. Its work is the lane's matter: clattn__lane_landed. */
void clattn__backlog_done(clattn__backlog *backlog, clattn__job *job);
/* A waiting job goes without being launched. */
void clattn__backlog_drop(clattn__backlog *backlog, clattn__job *job);

/* Jobs in all lists. */
uint32_t clattn__backlog_count(const clattn__backlog *backlog);

#endif
