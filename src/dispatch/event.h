/* The record of a submission: its cl_events, what it keeps alive, and how it ended. Records are
 * reused, so that a submission allocates nothing once a dispatcher is warm. */
#ifndef CLATTN_DISPATCH_EVENT_H
#define CLATTN_DISPATCH_EVENT_H

#include "plan/binding.h"

/* A growing array of pointers, kept from one use of a record to the next. */
typedef struct clattn__keep {
    void **item; /* (count) owned array */
    uint32_t count, capacity;
} clattn__keep;

struct clattn_event {
    atomic_int references;                /* the caller's, and one while in flight */
    struct clattn_dispatcher *dispatcher; /* a reference */
    struct clattn_event *next;            /* in the dispatcher's list: in flight, or free */
    clattn__keep commands;                /* struct _cl_event *, of every launch, in order */
    clattn__keep memories;                /* clattn__memory *, references */
    clattn__keep plans;                   /* const clattn_plan *, references */
    clattn__memory *copies;               /* of host arrays, a reference; NULL before the first */
    atomic_int status;                    /* clattn_status; CLATTN_PENDING in flight */
    char message[256];                    /* written once, before status */
};

clattn_status clattn__keep_add(const clattn__env *env, clattn__keep *keep, void *item);

/* The event that is done last; never NULL for a submission. */
struct _cl_event *clattn__event_last(const clattn_event *event);

/* Asks OpenCL: CLATTN_PENDING, or how it ended, with the sentence in the thread's message. */
clattn_status clattn__event_ask(const clattn_event *event);

/* Gives back memories and plans; the commands stay for those who wait by cl_event. */
void clattn__event_drop_kept(clattn_event *event);

/* Makes a record ready for its next use. */
void clattn__event_reset(clattn_event *event);

/* Frees the record's own arrays and the record. */
void clattn__event_free(const clattn__env *env, clattn_event *event);

#endif
