/* A dispatcher: one lane (an OpenCL queue), the submissions in flight on it, their scratch memory,
 * and the records to use again. It lives until its caller and its last event have let go. */
#ifndef CLATTN_DISPATCH_DISPATCHER_H
#define CLATTN_DISPATCH_DISPATCHER_H

#include "dispatch/event.h"

struct clattn_dispatcher {
    atomic_int references;
    clattn_context *context;   /* borrowed, held */
    clattn__mutex lock;        /* guards all that follows; one submission is enqueued at a time */
    clattn__queue *queue;      /* owned; NULL once the caller has destroyed the dispatcher */
    clattn__memory *workspace; /* a reference; NULL before it is needed */
    clattn_event *oldest, *newest; /* in flight, in order of submission */
    clattn_event *spare;           /* records to use again */
    clattn_status failure;         /* first since the last finish */
    char message[256];
};

/* `queue` is taken over on success. */
clattn_status clattn__dispatcher_create(clattn_context *context, clattn__queue *queue,
                                        uint64_t workspace, clattn_dispatcher **dispatcher);
void clattn__dispatcher_close(clattn_dispatcher *dispatcher); /* what the caller's destroy does */
clattn_status clattn__dispatcher_finish(clattn_dispatcher *dispatcher);
clattn_status clattn__dispatcher_check(const clattn_dispatcher *dispatcher);

/* With the lock held: a record with one reference, which goes to the caller. */
clattn_status clattn__dispatcher_take_event(clattn_dispatcher *dispatcher, clattn_event **event);
/* With the lock held: puts the record among those in flight, which counts as a reference. */
void clattn__dispatcher_add_flight(clattn_dispatcher *dispatcher, clattn_event *event);
/* With the lock held: settles every submission that is done. */
void clattn__dispatcher_reap(clattn_dispatcher *dispatcher);
/* With the lock held: scratch memory of at least `size` bytes. */
clattn_status clattn__dispatcher_reserve(clattn_dispatcher *dispatcher, uint64_t size);

/* One more reference to a record that the caller has one to. */
void clattn__event_ref(clattn_event *event);
/* Gives a record back when its last reference goes. The lock must not be held. */
void clattn__event_unref(clattn_event *event);

#endif
