/* The life of a lane, and the ring of what is in flight on it. */
#include "dispatch/lane.h"

#include "base/clock.h"
#include "dispatch/dispatcher.h"

/* About what it takes to wake a thread. */
#define BRIEF_NS 20000

void clattn__lane_init(clattn__lane *lane, struct clattn_dispatcher *dispatcher, uint32_t index,
                       clattn__device *device, clattn__queue *queue)
{
    lane->dispatcher = dispatcher;
    lane->index = index;
    lane->queue = queue;
    lane->device = lane->tables.device = device;
}

void clattn__lane_finish(clattn__lane *lane)
{
    const clattn__env *env = &lane->dispatcher->context->env;
    clattn__memory_release(lane->workspace);
    clattn__tables_finish(&lane->tables);
    clattn__free(env, lane->flight);
    clattn__free(env, lane->unit);
    clattn__free(env, lane->sharer);
    clattn__free(env, lane->wait.item);
}

clattn_status clattn__lane_reserve(clattn__lane *lane, uint64_t size)
{
    if (size == 0 || (lane->workspace && clattn__memory_size(lane->workspace) >= size))
        return CLATTN_OK;
    clattn__memory *grown;
    CLATTN__TRY(clattn__memory_create(lane->device, size, &grown));
    clattn__memory_release(lane->workspace); /* submissions in flight keep the old one */
    lane->workspace = grown;
    return CLATTN_OK;
}

bool clattn__lane_is_brief(const clattn__lane *lane)
{
    return clattn__lane_time(&lane->dispatcher->backlog.lane[lane->index], 0) < BRIEF_NS;
}

/* Others have work for the cores, which stay awake, and a thread that looks keeps them from it. */
static bool is_crowded(const clattn_dispatcher *dispatcher)
{
    return clattn__now_ns() < dispatcher->backlog.crowded_till;
}

clattn_status clattn__lane_wait(clattn__lane *lane, uint32_t index)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    const bool asleep = clattn__lane_is_brief(lane) || is_crowded(dispatcher);
    struct _cl_event *last =
        lane->flight[(lane->flight_first + index) % lane->flight_capacity].what.last;
    /* it may land meanwhile */
    const bool held = clattn__event_retain_cl(lane->device, last) == CLATTN_OK;
    clattn_status status = CLATTN_PENDING;
    clattn__dispatcher_leave(dispatcher);
    if (held) {
        status = clattn__event_wait_cl(lane->device, last, UINT64_MAX, asleep);
        clattn__event_release_cl(lane->device, last);
    }
    clattn__mutex_lock(&dispatcher->lock);
    return status;
}

void clattn__lane_flies(clattn__lane *lane, const clattn__enqueued *what, double work, double part,
                        uint32_t jobs)
{
    clattn__flight made = {.what = *what, .work = work, .part = part, .jobs = jobs};
    clattn__job *job = lane->dispatcher->backlog.flying[lane->index].last;
    clattn__event_ref(what->opener);
    clattn__event_ref(what->closer);
    for (uint32_t i = 0; i < jobs && job; i++, job = job->previous)
        made.entries += clattn__event_of(job)->entry_count;
    clattn__lane_launched(&lane->dispatcher->backlog.lane[lane->index], jobs, clattn__now_ns());
    lane->flight[(lane->flight_first + lane->flight_count++) % lane->flight_capacity] = made;
    lane->done.launches += what->launches;
    lane->done.submissions += jobs;
}
