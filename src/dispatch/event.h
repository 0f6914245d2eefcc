/* The record of a submission: what it is to do, what it keeps alive, its cl_events, and how it
 * ended. Records are reused, so that a submission allocates nothing once a dispatcher is warm. */
#ifndef CLATTN_DISPATCH_EVENT_H
#define CLATTN_DISPATCH_EVENT_H

#include "plan/launch.h"
#include "schedule/backlog.h"
#include "schedule/sharing.h"

struct clattn_dispatcher;

/* A growing array of pointers, kept from one use of a record to the next. */
typedef struct clattn__keep {
    void **item; /* (count) owned array */
    uint32_t count, capacity;
} clattn__keep;

/* A step that has been checked and bound. */
typedef struct clattn__entry {
    const clattn_plan *plan; /* kept by the record */
    const clattn_plan *use;  /* the same for the device that it goes to, once that is known */
    clattn__bound bound;
    uint64_t copies;     /* where its host arrays are among the record's */
    bool scratch;        /* scratch memory that it needs is the dispatcher's */
    uint32_t span_count; /* of `span`, which is only filled where there are several steps */
    clattn__span span[CLATTN_SLOT_LIMIT];
} clattn__entry;

/* A function to call when a submission is done. */
typedef struct clattn__call {
    clattn_event_fn function;
    void *user;
} clattn__call;

/* A thread that waits for the first of several submissions. */
typedef struct clattn__onlooker {
    clattn__mutex lock;
    clattn__cond wake;
    bool woken; /* one of them may be done */
} clattn__onlooker;

/* Any thread; the lock of a dispatcher may be held. */
void clattn__onlooker_wake(clattn__onlooker *onlooker);

struct clattn_event {
    clattn__job job;       /* what the backlog knows of it */
    atomic_int references; /* the caller's, one while in the backlog, and those of waiters */
    struct clattn_dispatcher *dispatcher; /* a reference */
    struct clattn_event *next;            /* among the records to use again */
    clattn__entry *entry;                 /* (entry_count) owned array */
    clattn__sharer *sharer;               /* (entry_count) owned array: what decides who shares
                                             launches with whom */
    uint32_t entry_count, entry_capacity;
    uint32_t range_capacity; /* of job.ranges.range, an owned array */
    unsigned char *copies;   /* (copy_size) host arrays of all steps, owned */
    uint64_t copy_size, copy_capacity;
    bool copied;           /* `copies` has them; else they are still the caller's */
    clattn__keep commands; /* struct _cl_event *, of every launch, in order; references */
    clattn__keep
        uploads; /* struct _cl_event *, of what was sent to the device for it; references */
    clattn__keep memories;  /* clattn__memory *, references */
    clattn__memory *table;  /* one of them, which has its host arrays */
    clattn__keep plans;     /* const clattn_plan *, references */
    clattn__keep waits;     /* clattn_event *, references: those that must be done before */
    clattn__keep watchers;  /* clattn_event *, references: those that wait for the launch */
    clattn__keep onlookers; /* clattn__onlooker *, borrowed: to be woken at its end */
    clattn__call *call;     /* (call_count) owned array */
    uint32_t call_count, call_capacity;
    uint32_t called;          /* of them; all, once they were handed to the thread */
    clattn__launch_part part; /* what is launched next, of a submission that goes in parts */
    uint32_t part_entry;      /* whose part that is */
    uint64_t submitted;       /* ns */
    uint64_t expires;         /* ns; UINT64_MAX: never */
    uint64_t launched_at;     /* ns; of the first launch */
    atomic_int doom;          /* clattn_status; not CLATTN_OK: it can't end well, see `message` */
    atomic_int refused;       /* clattn_status; not CLATTN_OK: OpenCL has refused some of it */
    uint32_t moves;           /* how often it began again, on another lane */
    int32_t failed_on;        /* the lane on which it did not end well; -1: none */
    bool stale;               /* what it rests on begins again, or never came */
    bool ran;                 /* some of it was launched before it began again */
    bool after;               /* used while it is found out what comes after another one */
    atomic_bool foreign;      /* another dispatcher has its cl_event, or may have */
    bool brief; /* what was in flight when it was launched takes little time, this included */
    bool begun; /* something of it was launched */
    atomic_bool launched; /* all of it was: `commands` is complete */
    atomic_int status;    /* clattn_status; CLATTN_PENDING before the end */
    char message[256];    /* written before status, doom and refused */
};

/* Whose job it is. */
static inline clattn_event *clattn__event_of(clattn__job *job)
{
    return (clattn_event *)job; /* its first member */
}

clattn_status clattn__keep_add(const clattn__env *env, clattn__keep *keep, void *item);
/* Room for `more` items, so that adding them can't fail. */
clattn_status clattn__keep_reserve(const clattn__env *env, clattn__keep *keep, uint32_t more);
/* The same, and a reference to the memory (NULL is allowed, and is nothing). */
clattn_status clattn__event_keep_memory(clattn_event *event, clattn__memory *memory);

/* Copies its host arrays, of which bound->host says where they are. */
clattn_status clattn__event_copy_arrays(clattn_event *event);
/* Writes them to `bytes` (copy_size), from the copies, or where there are none from the caller. */
void clattn__event_put_copies(const clattn_event *event, unsigned char *bytes);

/* The event that is done last; never NULL once it is launched. */
struct _cl_event *clattn__event_last(const clattn_event *event);

/* Gives back all its cl_events. */
void clattn__event_drop_commands(clattn_event *event);

/* Asks OpenCL: CLATTN_PENDING, or how it ended, with the sentence in the thread's message. Of an
 * event that is launched. */
clattn_status clattn__event_ask(const clattn_event *event);

/* Gives back memories and plans; the commands stay for those who wait by cl_event. */
void clattn__event_drop_kept(clattn_event *event);

/* Makes a record ready for its next use. */
void clattn__event_reset(clattn_event *event);

/* Frees the record's own arrays and the record. */
void clattn__event_free(const clattn__env *env, clattn_event *event);

#endif
