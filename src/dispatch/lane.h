/* A lane: an OpenCL queue on a device or a part of one, what is in flight on it, and the scratch
 * memory and tables of its launches. The dispatcher's lock guards all of it. */
#ifndef CLATTN_DISPATCH_LANE_H
#define CLATTN_DISPATCH_LANE_H

#include "dispatch/event.h"
#include "dispatch/table.h"

/* What a launch has enqueued. */
typedef struct clattn__enqueued {
    clattn_event *opener, *closer;  /* submissions that have the first and the last command */
    struct _cl_event *first, *last; /* these; NULL: nothing was enqueued */
    uint32_t launches;              /* commands */
} clattn__enqueued;

/* Launches that were made together: a submission, a part of one, or several. */
typedef struct clattn__flight {
    clattn__enqueued what; /* with references to both submissions */
    double work;           /* as it counts in the backlog */
    double part;           /* a part of a long submission: work of it; else 0 */
    uint32_t jobs;    /* submissions that end with it: the first of the lane's in the backlog */
    uint32_t entries; /* steps that are in it */
} clattn__flight;

/* A step on its way into a launch. */
typedef struct clattn__unit {
    clattn_event *event;
    clattn__entry *entry;
    uint64_t workspace; /* offset in the lane's, bytes */
    uint32_t row;       /* in the shared table */
} clattn__unit;

typedef struct clattn__lane {
    struct clattn_dispatcher *dispatcher; /* borrowed */
    uint32_t index;
    clattn__device *device;    /* borrowed */
    clattn__queue *queue;      /* owned; NULL once the caller has destroyed the dispatcher */
    clattn__memory *workspace; /* a reference; NULL before it is needed */
    clattn__tables tables;
    clattn__flight *flight; /* (flight_capacity) owned ring */
    uint32_t flight_first, flight_count, flight_capacity;
    clattn__unit *unit;     /* (unit_capacity) owned, used within a launch */
    clattn__sharer *sharer; /* (unit_capacity) owned, the same steps: which share launches */
    uint32_t unit_capacity;
    clattn__keep wait; /* struct _cl_event *, borrowed, used within a launch */
    clattn__thread thread;
    bool has_thread;
    uint32_t failures; /* in a row: flights that ended badly, launches that were refused */
    bool buried;       /* it is dead, and what it had has moved or failed */
    clattn_lane_statistics done;
} clattn__lane;

/* `queue` is taken over on success. */
void clattn__lane_init(clattn__lane *lane, struct clattn_dispatcher *dispatcher, uint32_t index,
                       clattn__device *device, clattn__queue *queue);
/* Frees all but the queue, which must be gone. */
void clattn__lane_finish(clattn__lane *lane);

/* Scratch memory of at least `size` bytes. */
clattn_status clattn__lane_reserve(clattn__lane *lane, uint64_t size);

/* Enqueues `count` submissions that are ready, as few launches as may be; each record has its
 * commands then. One that OpenCL refuses says so (`refused`), and has those commands that were
 * enqueued before, if any; it takes nobody with it. `more` are cl_events of the caller's to wait
 * for. After a failure nothing was enqueued. */
clattn_status clattn__lane_launch(clattn__lane *lane, clattn_event *const *events, uint32_t count,
                                  clattn__wait_list more, clattn__enqueued *result);

/* Enqueues at most `items` items of what is left of one submission; *left (out) are its items that
 * are still to be launched. After a failure nothing of it runs any more. */
clattn_status clattn__lane_launch_part(clattn__lane *lane, clattn_event *event, uint32_t items,
                                       uint64_t *left, clattn__enqueued *result);
/* Items of a submission that aren't launched yet. */
uint64_t clattn__items_left(const clattn__lane *lane, const clattn_event *event);
/* Their work, by what items cost and the estimates of its steps. */
double clattn__work_left(const clattn__lane *lane, const clattn_event *event);
/* How many of the next ones, of one launch, make about as much work: at least 1, and as many as the
 * lane executes at a time. */
uint32_t clattn__items_of_work(const clattn__lane *lane, const clattn_event *event, double work);

/* How many of a launch's items, from `first` on, go into one that the device's watchdog lets pass.
 * `plan` is the lane's, `work` of its step. */
uint32_t clattn__slice_of(const clattn__lane *lane, const clattn_plan *plan, double work,
                          uint32_t launch, uint32_t first);
/* How many launches that makes of all of the plan's; at least one of each. */
uint32_t clattn__slices_of(const clattn__lane *lane, const clattn_plan *plan, double work);

/* Whether all that is in flight on the lane takes less than waking up does. */
bool clattn__lane_is_brief(const clattn__lane *lane);

/* Waits until flight `index` of those on the lane (0: the oldest) has landed, and so have those
 * before it. The dispatcher's lock is given away meanwhile. How it ended; CLATTN_PENDING where the
 * driver doesn't wait. */
clattn_status clattn__lane_wait(clattn__lane *lane, uint32_t index);

/* Enters what was just launched: `jobs` submissions, the last ones of the lane's in the backlog,
 * end with it. `part`: work, of a part of one. Can't fail after clattn__lane_launch. */
void clattn__lane_flies(clattn__lane *lane, const clattn__enqueued *what, double work, double part,
                        uint32_t jobs);

#endif
