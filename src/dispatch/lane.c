/* The life of a lane, and the ring of what is in flight on it. */
#include "dispatch/lane.h"

#include "dispatch/dispatcher.h"

void clattn__lane_init(clattn__lane *lane, struct clattn_dispatcher *dispatcher, uint32_t index,
                       clattn__queue *queue)
{
    lane->dispatcher = dispatcher;
    lane->index = index;
    lane->queue = queue;
    lane->tables.device = dispatcher->context->device;
}

void clattn__lane_finish(clattn__lane *lane)
{
    const clattn__env *env = &lane->dispatcher->context->env;
    clattn__memory_release(lane->workspace);
    clattn__tables_finish(&lane->tables);
    clattn__free(env, lane->flight);
    clattn__free(env, lane->unit);
    clattn__free(env, lane->wait.item);
}

clattn_status clattn__lane_reserve(clattn__lane *lane, uint64_t size)
{
    if (size == 0 || (lane->workspace && clattn__memory_size(lane->workspace) >= size))
        return CLATTN_OK;
    clattn__memory *grown;
    CLATTN__TRY(clattn__memory_create(lane->dispatcher->context->device, size, &grown));
    clattn__memory_release(lane->workspace); /* submissions in flight keep the old one */
    lane->workspace = grown;
    return CLATTN_OK;
}

clattn_status clattn__lane_wait(clattn__lane *lane, uint32_t index)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn__device *device = dispatcher->context->device;
    const clattn__flight flight =
        lane->flight[(lane->flight_first + index) % lane->flight_capacity];
    clattn__event_ref(flight.event);
    clattn__dispatcher_leave(dispatcher);
    const clattn_status status = clattn__event_wait_cl(device, flight.last, UINT64_MAX);
    clattn__mutex_lock(&dispatcher->lock);
    clattn__event_unref_locked(flight.event);
    return status;
}

void clattn__lane_flies(clattn__lane *lane, clattn_event *of, uint32_t from, double work,
                        uint32_t jobs)
{
    clattn__event_ref(of);
    clattn__flight made = {.event = of,
                           .first = of->commands.item[from],
                           .last = clattn__event_last(of),
                           .work = work,
                           .jobs = jobs,
                           .launches = of->commands.count - from,
                           .number = of->number};
    const clattn__job *job = lane->dispatcher->backlog.flying[lane->index].last;
    for (uint32_t i = 0; i < jobs && job; i++, job = job->previous)
        made.entries += ((const clattn_event *)job)->entry_count;
    lane->dispatcher->backlog.lane[lane->index].flights++;
    lane->flight[(lane->flight_first + lane->flight_count++) % lane->flight_capacity] = made;
    lane->done.launches += made.launches;
    lane->done.submissions += jobs;
}
