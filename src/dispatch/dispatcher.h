/* A dispatcher: lanes, the backlog of what is to run on them, and the records to use again. It
 * lives until its caller and its last event have let go. docs/dispatcher.md says how it works. */
#ifndef CLATTN_DISPATCH_DISPATCHER_H
#define CLATTN_DISPATCH_DISPATCHER_H

#include "dispatch/lane.h"
#include "dispatch/trace.h"

/* How long a part is to take, and how much is in flight on a lane, unless options say so. */
#define CLATTN__LAUNCH_NS   1000000u
#define CLATTN__QUEUE_LIMIT 4096u

struct clattn_dispatcher {
    atomic_int references;
    clattn_context *context; /* borrowed, held */
    clattn__mutex lock;      /* guards all that follows; never held while calling the caller */
    clattn__cond wake;       /* for the lanes' threads: there is something to do */
    clattn__cond changed;    /* for callers that wait: something was launched, or ended */
    clattn__lane lane[CLATTN__MAX_LANES]; /* (backlog.lane_count) */
    clattn__backlog backlog;
    bool direct;  /* nothing is ever held back: the caller's queue, or its only user's */
    bool distant; /* lanes are of different cl_contexts: cl_events can't order them */

    bool closing;       /* the threads are to end */
    uint64_t launch_ns; /* of the settings */
    uint32_t limit;     /* submissions that may be unfinished */
    uint32_t admitted;  /* that are on their way in */
    uint32_t watched;   /* unfinished submissions with callbacks: `calls` has room for them */
    uint32_t onlookers; /* threads that wait for the first of several, once for each */
    uint32_t strangers; /* watchers of other dispatchers: `notices` has room for them */
    uint32_t abroad;    /* waits for other dispatchers: `leftover` has room for them */

    uint64_t submitted;    /* number of the last submission */
    clattn_event *spare;   /* records to use again */
    clattn__keep calls;    /* clattn_event *, references: done, their callbacks are being called */
    clattn__keep notices;  /* clattn_event *, references: of other dispatchers, to be told */
    clattn__keep leftover; /* clattn_event *, references to give back without the lock */
    clattn_status failure; /* first since the last finish */
    char message[256];
    clattn_dispatcher_statistics done;
    clattn__trace trace;
};

typedef struct clattn__dispatcher_settings {
    uint32_t lanes; /* 1, or the parts of the device */
    bool direct;
    clattn__queue *queue; /* of the only lane, taken over on success; NULL: one is made for each */
    uint64_t workspace;
    uint32_t limit;      /* 0: CLATTN__QUEUE_LIMIT */
    uint64_t launch_ns;  /* 0: CLATTN__LAUNCH_NS, while submissions meet; UINT64_MAX: no bound */
    uint32_t trace_size; /* spans */
} clattn__dispatcher_settings;

clattn_status clattn__dispatcher_create(clattn_context *context,
                                        const clattn__dispatcher_settings *settings,
                                        clattn_dispatcher **dispatcher);
void clattn__dispatcher_close(clattn_dispatcher *dispatcher); /* what the caller's destroy does */
clattn_status clattn__dispatcher_finish(clattn_dispatcher *dispatcher);
/* Waits for everything submitted so far; fails only where a queue does. */
clattn_status clattn__dispatcher_drain(clattn_dispatcher *dispatcher);
clattn_status clattn__dispatcher_check(const clattn_dispatcher *dispatcher);
void clattn__dispatcher_unref(clattn_dispatcher *dispatcher);

/* Whether a submission that was launched may have to begin again: on another lane, or on its own
 * because what others had sent to the device didn't arrive. */
bool clattn__dispatcher_repeats(const clattn_dispatcher *dispatcher);

/* Unlocks, and then does what must not be done under the lock. */
void clattn__dispatcher_leave(clattn_dispatcher *dispatcher);

/* With the lock held: a record with one reference, which goes to the caller. */
clattn_status clattn__dispatcher_take_event(clattn_dispatcher *dispatcher, clattn_event **event);
/* One more reference to a record that the caller has one to. */
void clattn__event_ref(clattn_event *event);
/* With the lock held: gives a reference back. */
void clattn__event_unref_locked(clattn_event *event);
/* The same, when no lock is held. */
void clattn__event_unref(clattn_event *event);

/* With the lock held: starts the threads of the lanes, once. */
clattn_status clattn__dispatcher_start(clattn_dispatcher *dispatcher);

#endif
