/* A lane: an OpenCL queue on a device or a part of one, what is in flight on it, and the scratch
 * memory and tables of its launches. The dispatcher's lock guards all of it. */
#ifndef CLATTN_DISPATCH_LANE_H
#define CLATTN_DISPATCH_LANE_H

#include "dispatch/event.h"
#include "dispatch/table.h"

/* Launches that were made together: a submission, a part of one, or several. */
typedef struct clattn__flight {
    clattn_event *event;            /* of its first submission, a reference */
    struct _cl_event *first, *last; /* that submission's */
    double work;
    uint32_t jobs;     /* submissions that end with it: the first of the lane's in the backlog */
    uint32_t launches; /* kernels */
    uint32_t entries;  /* steps that are in them */
    uint64_t number;   /* of its first submission */
} clattn__flight;

/* A step on its way into a launch. */
typedef struct clattn__unit {
    clattn_event *event;
    clattn__entry *entry;
    uint64_t workspace; /* offset in the lane's, bytes */
    uint32_t level;     /* over all submissions of the launch */
    uint32_t row;       /* in the shared table */
    uint32_t next;      /* unit with which it shares launches; UINT32_MAX: none */
    bool led;           /* another unit launches it */
} clattn__unit;

typedef struct clattn__lane {
    struct clattn_dispatcher *dispatcher; /* borrowed */
    uint32_t index;
    clattn__queue *queue;      /* owned; NULL once the caller has destroyed the dispatcher */
    clattn__memory *workspace; /* a reference; NULL before it is needed */
    clattn__tables tables;
    clattn__flight *flight; /* (flight_capacity) owned ring */
    uint32_t flight_first, flight_count, flight_capacity;
    clattn__unit *unit; /* (unit_capacity) owned, used within a launch */
    uint32_t unit_capacity;
    clattn__keep wait; /* struct _cl_event *, borrowed, used within a launch */
    clattn__thread thread;
    bool has_thread;
    clattn_lane_statistics done;
} clattn__lane;

/* `queue` is taken over on success. */
void clattn__lane_init(clattn__lane *lane, struct clattn_dispatcher *dispatcher, uint32_t index,
                       clattn__queue *queue);
/* Frees all but the queue, which must be gone. */
void clattn__lane_finish(clattn__lane *lane);

/* Scratch memory of at least `size` bytes. */
clattn_status clattn__lane_reserve(clattn__lane *lane, uint64_t size);

/* Enqueues `count` submissions that are ready, as few launches as may be; each record has its
 * commands then. `more` (more_count) are cl_events of the caller's to wait for. After a failure
 * nothing of it runs any more. */
clattn_status clattn__lane_launch(clattn__lane *lane, clattn_event *const *events, uint32_t count,
                                  clattn__wait_list more);

/* Enqueues at most `items` items of what is left of one submission; *left (out) are its items that
 * are still to be launched. */
clattn_status clattn__lane_launch_part(clattn__lane *lane, clattn_event *event, uint32_t items,
                                       uint64_t *left);
/* Items of a submission that aren't launched yet. */
uint64_t clattn__items_left(const clattn_event *event);

/* Sleeps until flight `index` of those on the lane (0: the oldest) has landed, and so have those
 * before it. The dispatcher's lock is given away meanwhile. How it ended; CLATTN_PENDING where the
 * driver doesn't wait. */
clattn_status clattn__lane_wait(clattn__lane *lane, uint32_t index);

/* Enters what was just launched: commands of `of` from `from` on. Can't fail after
 * clattn__lane_launch. */
void clattn__lane_flies(clattn__lane *lane, clattn_event *of, uint32_t from, double work,
                        uint32_t jobs);

#endif
