/* clattn: buffers, dispatchers, submissions, events. Part of clattn/clattn.h. */
#ifndef CLATTN_SUBMIT_H
#define CLATTN_SUBMIT_H

#include <clattn/attention.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------
 * Buffers
 * --------------------------------------------------------------------------------------------- */

/* Memory that the context's devices see: a slice of one of its arenas, or foreign memory wrapped.
 * Any thread; reading and writing bytes that a submission in flight uses is the caller's race. */
typedef struct clattn_buffer clattn_buffer;

/* `size` bytes, at least 1, uninitialised. */
CLATTN_API clattn_status clattn_buffer_create(clattn_context *context, uint64_t size,
                                              clattn_buffer **buffer);

/* Uses the caller's memory, which must stay until the buffer is destroyed. On devices that share
 * memory with the host nothing is copied; elsewhere it is CLATTN_ERR_UNSUPPORTED, and so it is
 * where one of a context's several devices can't work on this memory itself: some can only where
 * `data` and `size` are multiples of a page, 4096 bytes. Around device work use clattn_buffer_map
 * or _read to see what the device wrote. */
CLATTN_API clattn_status clattn_buffer_wrap_host(clattn_context *context, void *data, uint64_t size,
                                                 clattn_buffer **buffer);

/* CLATTN_ERR_BUSY while mapped. Submissions in flight keep the memory alive. */
CLATTN_API clattn_status clattn_buffer_destroy(clattn_buffer *buffer);

CLATTN_API uint64_t clattn_buffer_size(const clattn_buffer *buffer);

/* Blocking copies between host and buffer. */
CLATTN_API clattn_status clattn_buffer_write(clattn_buffer *buffer, uint64_t offset,
                                             const void *data, uint64_t size);
CLATTN_API clattn_status clattn_buffer_read(clattn_buffer *buffer, uint64_t offset, void *data,
                                            uint64_t size);

/* The whole buffer as host memory for reading and writing, until clattn_buffer_unmap. */
CLATTN_API clattn_status clattn_buffer_map(clattn_buffer *buffer, void **data);
CLATTN_API clattn_status clattn_buffer_unmap(clattn_buffer *buffer);

/* ------------------------------------------------------------------------------------------------
 * Dispatcher, submissions, events
 * --------------------------------------------------------------------------------------------- */

/* Feeds the lanes (OpenCL queues) of a context, one on each of its devices unless the options say
 * otherwise. Any thread. docs/dispatcher.md says how it decides what runs when, where, and together
 * with what. */
typedef struct clattn_dispatcher clattn_dispatcher;
/* Completion of a submission. Any thread. */
typedef struct clattn_event clattn_event;

typedef struct clattn_dispatcher_options {
    uint32_t struct_size;
    uint32_t lanes; /* 0: one for each device of the context, or part of it; at most that many */
    uint64_t workspace; /* bytes of scratch memory to hold from the start; grows when needed */
    /* Submissions that may be unfinished at a time; 0: 4096. More are refused: busy_ns. */
    uint32_t queue_limit;
    /* Launches to remember for clattn_dispatcher_write_trace, the newest; 0: none. */
    uint32_t trace_size;
    /* How long a launch should take at most, nanoseconds: longer submissions go in parts, between
     * which others have their turn, and no more than this is in flight on a lane before something
     * else can be preferred. UINT64_MAX: without bound. 0: 1 ms while submissions meet in the
     * dispatcher or did within the last 100 ms; whole otherwise. On devices that aren't CPUs, whose
     * drivers may end long launches, what would take more than 100 ms, or more than this if it is
     * longer, becomes several launches in any case; docs/dispatcher.md says what isn't bounded. */
    uint64_t launch_ns;
    /* 1: hold nothing back. Everything goes to one lane's queue as it comes, in the order of
     * submission, without priorities, deadlines, callbacks, and any thread. clattn_submit blocks
     * until what its wait list has of other dispatchers is launched. */
    uint32_t direct;
    uint32_t reserved; /* 0 */
} clattn_dispatcher_options;

static inline void clattn_dispatcher_options_init(clattn_dispatcher_options *options)
{
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
}

/* `options` may be NULL. */
CLATTN_API clattn_status clattn_dispatcher_create(clattn_context *context,
                                                  const clattn_dispatcher_options *options,
                                                  clattn_dispatcher **dispatcher);

/* Waits for everything submitted, callbacks included, then frees the dispatcher; its events stay
 * valid. Not from a callback. */
CLATTN_API void clattn_dispatcher_destroy(clattn_dispatcher *dispatcher);

/* Waits until everything submitted so far is done; the first failure since the last call.
 * Submissions that were cancelled don't count as failures. Not from a callback. */
CLATTN_API clattn_status clattn_dispatcher_finish(clattn_dispatcher *dispatcher);

/* Where a slot's memory is. Layout and type are those of the plan. Values that index (lengths,
 * block lists) are checked where they come from `host`; in buffers they are clamped to what is
 * valid when they are used. */
typedef struct clattn_binding {
    clattn_slot slot;
    uint32_t reserved;     /* 0 */
    clattn_buffer *buffer; /* NULL: `host` */
    uint64_t offset;       /* bytes to element (0, 0, ...); a multiple of the element's size */
    const void *host;      /* slots marked "host too": copied at submission; NULL with `buffer` */
} clattn_binding;

/* One plan with its memory. */
typedef struct clattn_step {
    const clattn_plan *plan;
    const clattn_binding *bindings; /* every slot of the plan exactly once */
    uint32_t binding_count;
    /* Which of its sequences' key/value heads the plan's first one is: a plan for heads 8 to 15 has
     * 8 here, and keeps order with other work on these heads alone. Plans without heads, as
     * projections, count for all from this one on. */
    uint32_t first_kv_head;
    /* (batch) ids of the sequences, NULL: all 0. Submissions to one dispatcher that have a sequence
     * and a key/value head in common run in the order in which they were submitted, each sees what
     * the ones before wrote. Others, and those of id 0, have no order but that of wait lists. */
    const uint64_t *sequences;
} clattn_step;

/* Steps run in order, each sees what earlier ones wrote. */
typedef struct clattn_submission {
    uint32_t struct_size;
    uint32_t step_size; /* sizeof(clattn_step) */
    const clattn_step *steps;
    uint32_t step_count;
    uint32_t wait_count;
    clattn_event *const *wait; /* events that must be done before; of the same context */
    clattn_buffer *workspace;  /* NULL: the dispatcher's; one submission in flight at a time */
    uint64_t workspace_offset; /* bytes; a multiple of 256 */
    /* -100 to 100 (others count as these): of what is held back, higher goes first, but a step of
     * priority is worth 20 ms of waiting and no more, so that nothing waits for ever. */
    int32_t priority;
    uint32_t reserved;    /* 0 */
    uint64_t deadline_ns; /* not 0: what has not begun this long after its submission, nanoseconds,
                             doesn't run; its status is CLATTN_ERR_TIMEOUT. Not on queues of the
                             caller's */
    uint64_t busy_ns;     /* how long to wait for room in a dispatcher that is full, nanoseconds,
                             before CLATTN_ERR_BUSY; 0: not at all, UINT64_MAX: for ever */
} clattn_submission;

static inline void clattn_submission_init(clattn_submission *submission)
{
    memset(submission, 0, sizeof *submission);
    submission->struct_size = sizeof *submission;
    submission->step_size = sizeof(clattn_step);
}

/* Hands work over and returns: to the device at once where it has room, else into the dispatcher's
 * backlog, from where a thread of its own takes it. `event` may be NULL. Everything is checked
 * before anything is done: a status other than CLATTN_OK means that nothing was. Bindings and
 * arrays are copied; plans and buffers may be destroyed while the work is in flight.
 *
 * Where OpenCL refuses the first of its commands, the call fails. Where it refuses a later one, the
 * call succeeds, what was enqueued before runs, and the event fails; outputs are undefined then. Of
 * submissions that would have shared a launch, which was refused, each is tried alone.
 *
 * A submission that fails, is cancelled or misses its deadline takes those with it that were
 * submitted later for one of its sequences and heads, and those that name its event in their wait
 * list; nobody else. If that is known before clattn_submit returns, the latter are refused with the
 * same status, and nothing runs. */
CLATTN_API clattn_status clattn_submit(clattn_dispatcher *dispatcher,
                                       const clattn_submission *submission, clattn_event **event);

/* Blocks until done or `timeout_ns` has passed (CLATTN_ERR_TIMEOUT); UINT64_MAX waits for ever.
 * Returns the submission's status. */
CLATTN_API clattn_status clattn_event_wait(clattn_event *event, uint64_t timeout_ns);

/* Blocks until all of them are done; the first failure in their order, CLATTN_ERR_TIMEOUT if they
 * aren't in time. */
CLATTN_API clattn_status clattn_event_wait_all(clattn_event *const *events, uint32_t count,
                                               uint64_t timeout_ns);
/* Blocks until one of them is done, whose place goes to *index, and returns its status. Where
 * several are, the first in their order. After `timeout_ns` CLATTN_ERR_TIMEOUT, where there are
 * none CLATTN_ERR_ARGUMENT, and CLATTN_ERR_OUT_OF_MEMORY if it can't wait; *index stays what it was
 * then, and no other way tells these from the status of a submission. Events may be of several
 * dispatchers, and be named more than once. */
CLATTN_API clattn_status clattn_event_wait_any(clattn_event *const *events, uint32_t count,
                                               uint64_t timeout_ns, uint32_t *index);

/* CLATTN_PENDING, CLATTN_OK or the failure, without blocking. */
CLATTN_API clattn_status clattn_event_poll(clattn_event *event);

/* The sentence of a failed submission, "" otherwise. Owned by the event. */
CLATTN_API const char *clattn_event_message(clattn_event *event);

/* Takes back a submission that hasn't begun: its status is CLATTN_ERR_CANCELLED then.
 * CLATTN_ERR_BUSY if it has begun or is done, and nothing changes. */
CLATTN_API clattn_status clattn_event_cancel(clattn_event *event);

/* Called once, when the submission is done, with its status; at once if it is. Always on a thread
 * of the dispatcher that does nothing else but launching, so it should be short. It may submit,
 * poll, cancel and release, but neither wait (busy_ns, too) nor finish nor destroy the
 * dispatcher, nor submit to a direct dispatcher behind an event of this one. It is the thread of
 * the first lane: while that waits for its device, callbacks of other lanes wait, too. */
typedef void (*clattn_event_fn)(void *user, clattn_event *event, clattn_status status);

/* Several may be set. CLATTN_ERR_UNSUPPORTED on queues of the caller's, where clattn has no thread:
 * clattn_event_get_cl and clSetEventCallback do the same there; of an event whose dispatcher was
 * destroyed, too. */
CLATTN_API clattn_status clattn_event_set_callback(clattn_event *event, clattn_event_fn function,
                                                   void *user);

/* Nanoseconds. */
typedef struct clattn_event_profile {
    uint32_t struct_size;
    uint32_t launches;  /* commands, shared ones included: kernels, transfers, markers */
    uint64_t held_ns;   /* from the submission until its first launch was enqueued */
    uint64_t queued_ns; /* from there until the device began */
    uint64_t ran_ns;    /* until it ended */
    uint64_t device_ns; /* of these, those in which its commands ran */
} clattn_event_profile;

/* Of a submission that is done; profile->struct_size must be set. CLATTN_ERR_BUSY before,
 * CLATTN_ERR_UNSUPPORTED where the queue has no times: on one of the caller's without
 * CL_QUEUE_PROFILING_ENABLE; and of what was never launched. */
CLATTN_API clattn_status clattn_event_get_profile(clattn_event *event,
                                                  clattn_event_profile *profile);

/* The work goes on; only the handle is given back. */
CLATTN_API void clattn_event_release(clattn_event *event);

typedef struct clattn_lane_statistics {
    uint64_t launches;    /* commands: kernels, transfers, markers */
    uint64_t submissions; /* launched on it, again if they began again */
    uint64_t shared;      /* steps that shared their launches with others */
    uint64_t busy_ns;     /* in which the device worked for it; 0 where the queue has no times */
    double speed;         /* as measured; what it means is the same on every lane */
    uint64_t in_flight;   /* submissions, now */
} clattn_lane_statistics;
#define CLATTN_LANE_LIMIT 16

typedef struct clattn_dispatcher_statistics {
    uint32_t struct_size;
    uint32_t lanes;
    uint64_t submissions; /* accepted */
    uint64_t finished;    /* well; the next three otherwise */
    uint64_t failed;
    uint64_t cancelled;
    uint64_t expired;
    uint64_t refused;         /* CLATTN_ERR_BUSY */
    uint64_t waiting;         /* held back, now */
    uint64_t most_unfinished; /* at one time */
    uint64_t waiting_ns;      /* for which those that began were held back, all together; for one
                                 that began again from its submission each time */
    uint64_t steals;          /* times that a head queue (sequence and head) went to another lane */
    uint64_t bytes_moved;     /* to and from devices that don't work on host memory itself */
    clattn_lane_statistics lane[CLATTN_LANE_LIMIT];
    uint64_t lost;  /* bit i: lane i is dead; see docs/dispatcher.md */
    uint64_t moved; /* submissions that failed on a lane and began again on another one */
} clattn_dispatcher_statistics;

/* Since the dispatcher was created. statistics->struct_size must be set. */
CLATTN_API clattn_status clattn_dispatcher_get_statistics(clattn_dispatcher *dispatcher,
                                                          clattn_dispatcher_statistics *statistics);

/* Writes what ran when on which lane as a file that chrome://tracing and ui.perfetto.dev open;
 * options.trace_size is how much of it is remembered. The file appears whole or not at all:
 * CLATTN_ERR_IO. CLATTN_ERR_UNSUPPORTED without trace_size. */
CLATTN_API clattn_status clattn_dispatcher_write_trace(clattn_dispatcher *dispatcher,
                                                       const char *path);

#ifdef __cplusplus
}
#endif

#endif
