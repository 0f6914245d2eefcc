/* The life of a dispatcher and of the records of its submissions. */
#include "dispatch/dispatcher.h"

#include <stdio.h>
#include <string.h>

#include "dispatch/lost.h"
#include "dispatch/settle.h"

static clattn_status init_locks(clattn_dispatcher *made)
{
    CLATTN__TRY(clattn__mutex_init(&made->lock));
    clattn_status status = clattn__cond_init(&made->wake);
    if (status == CLATTN_OK) {
        status = clattn__cond_init(&made->changed);
        if (status == CLATTN_OK)
            return status;
        clattn__cond_finish(&made->wake);
    }
    clattn__mutex_finish(&made->lock);
    return status;
}

static void finish_locks(clattn_dispatcher *dispatcher)
{
    clattn__cond_finish(&dispatcher->changed);
    clattn__cond_finish(&dispatcher->wake);
    clattn__mutex_finish(&dispatcher->lock);
}

/* Lanes whose device was lost earlier, and hasn't come back, are dead from the start. */
static clattn_status look_for_lost(clattn_dispatcher *made)
{
    bool lost[CLATTN__MAX_LANES] = {false};
    for (uint32_t i = 0; i < made->backlog.lane_count; i++)
        lost[i] = clattn__device_is_lost(made->lane[i].device);
    for (uint32_t i = 0; i < made->backlog.lane_count; i++)
        clattn__device_set_lost(made->lane[i].device, false);
    for (uint32_t i = 0; i < made->backlog.lane_count; i++)
        if (lost[i])
            clattn__lane_examine(&made->lane[i]);
    return clattn__check_lanes(made);
}

/* Items that a lane on the device, or on a part of it, executes at a time. */
static uint32_t units_of(const clattn__device *device)
{
    const uint32_t parts = clattn__device_parts(device) > 1 ? clattn__device_parts(device) : 1;
    const uint32_t units = clattn__device_caps(device)->compute_units / parts;
    return units > 0 ? units : 1;
}

/* How long a launch may take on the device at most, whatever else holds; 0: any time. */
static double ceiling_of(const clattn__device *device, uint64_t launch_ns)
{
    const uint64_t most = clattn__device_caps(device)->launch_ns;
    if (launch_ns == UINT64_MAX)
        return 0;
    return (double)(most && launch_ns > most ? launch_ns : most);
}

static void init_lane(clattn_dispatcher *made, uint32_t index, clattn__device *device,
                      clattn__queue *queue)
{
    clattn__lane_state *state = &made->backlog.lane[index];
    clattn__lane_init(&made->lane[index], made, index, device, queue);
    state->units = units_of(device);
    state->ceiling_ns = ceiling_of(device, made->launch_ns);
}

static clattn_status make_queues(clattn_dispatcher *made, clattn__queue *queue, uint32_t lanes)
{
    clattn_status status = CLATTN_OK;
    uint32_t i;
    if (queue) {
        init_lane(made, 0, made->context->device, queue);
        return CLATTN_OK;
    }
    for (i = 0; i < lanes && status == CLATTN_OK; i++) {
        clattn__queue *own = NULL;
        clattn__device *device = clattn__context_device(made->context, made->distant ? i : 0);
        status = clattn__queue_create_lane(device, made->distant ? 0 : i, &own);
        init_lane(made, i, device, own);
    }
    if (status == CLATTN_OK && !made->direct)
        status = look_for_lost(made);
    while (status != CLATTN_OK && i > 0)
        clattn__queue_destroy(made->lane[--i].queue);
    return status;
}

static void apply(clattn_dispatcher *made, const clattn__dispatcher_settings *settings)
{
    double launch_ns = CLATTN__LAUNCH_NS;
    if (settings->launch_ns)
        launch_ns = settings->launch_ns == UINT64_MAX ? 0 : (double)settings->launch_ns;
    clattn__backlog_init(&made->backlog, settings->lanes, launch_ns);
    made->launch_ns = settings->launch_ns;
    made->backlog.parts = settings->launch_ns != 0;
    made->direct = settings->direct;
    made->distant = made->context->peer_count > 0;
    made->limit = settings->limit ? settings->limit : CLATTN__QUEUE_LIMIT;
}

clattn_status clattn__dispatcher_create(clattn_context *context,
                                        const clattn__dispatcher_settings *settings,
                                        clattn_dispatcher **dispatcher)
{
    clattn_dispatcher *made = clattn__alloc_array(&context->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    atomic_init(&made->references, 1);
    made->context = context;
    apply(made, settings);
    clattn_status status = init_locks(made);
    if (status != CLATTN_OK)
        goto no_locks;
    status = clattn__trace_init(&made->trace, &context->env, settings->trace_size);
    if (status != CLATTN_OK)
        goto no_trace;
    status = make_queues(made, settings->queue, settings->lanes);
    if (status != CLATTN_OK)
        goto no_queues;
    status = clattn__lane_reserve(&made->lane[0], settings->workspace);
    if (status != CLATTN_OK)
        goto no_workspace;
    clattn__context_hold(context);
    *dispatcher = made;
    return CLATTN_OK;

no_workspace:
    for (uint32_t i = 0; i < settings->lanes && !settings->queue; i++)
        clattn__queue_destroy(made->lane[i].queue);
no_queues:
    clattn__trace_finish(&made->trace);
no_trace:
    finish_locks(made);
no_locks:
    clattn__free(&context->env, made);
    return status;
}

void clattn__dispatcher_unref(clattn_dispatcher *dispatcher)
{
    if (atomic_fetch_sub(&dispatcher->references, 1) != 1)
        return;
    clattn_context *context = dispatcher->context;
    while (dispatcher->spare) {
        clattn_event *event = dispatcher->spare;
        dispatcher->spare = event->next;
        clattn__event_free(&context->env, event);
    }
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++)
        clattn__lane_finish(&dispatcher->lane[i]);
    clattn__trace_finish(&dispatcher->trace);
    clattn__free(&context->env, dispatcher->calls.item);
    clattn__free(&context->env, dispatcher->notices.item);
    clattn__free(&context->env, dispatcher->leftover.item);
    finish_locks(dispatcher);
    clattn__free(&context->env, dispatcher);
    clattn__context_drop(context);
}

clattn_status clattn__dispatcher_check(const clattn_dispatcher *dispatcher)
{
    if (!dispatcher)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "dispatcher: is NULL");
    return clattn__context_check(dispatcher->context);
}

/* ---- records --------------------------------------------------------------------------------- */

clattn_status clattn__dispatcher_take_event(clattn_dispatcher *dispatcher, clattn_event **event)
{
    clattn_event *record = dispatcher->spare;
    if (record) {
        dispatcher->spare = record->next;
    } else {
        record = clattn__alloc_array(&dispatcher->context->env, 1, sizeof *record);
        if (!record)
            return CLATTN_ERR_OUT_OF_MEMORY;
    }
    record->dispatcher = dispatcher;
    atomic_fetch_add(&dispatcher->references, 1);
    atomic_store(&record->references, 1);
    atomic_store(&record->status, CLATTN_PENDING);
    atomic_store(&record->launched, false);
    record->begun = false;
    atomic_store(&record->doom, CLATTN_OK);
    atomic_store(&record->refused, CLATTN_OK);
    atomic_store(&record->foreign, false);
    record->stale = record->ran = false;
    record->moves = 0;
    record->failed_on = -1;
    record->part = (clattn__launch_part){0};
    record->part_entry = 0;
    record->job.ranges.count = 0;
    record->job.waits = 0;
    record->job.home = record->job.lane = -1;
    record->job.barred = 0;
    record->message[0] = 0;
    record->next = NULL;
    *event = record;
    return CLATTN_OK;
}

void clattn__event_ref(clattn_event *event)
{
    atomic_fetch_add(&event->references, 1);
}

void clattn__event_unref_locked(clattn_event *event)
{
    if (atomic_fetch_sub(&event->references, 1) != 1)
        return;
    clattn_dispatcher *dispatcher = event->dispatcher;
    clattn__event_reset(event);
    event->next = dispatcher->spare;
    dispatcher->spare = event;
    /* Never the last reference: whoever holds the lock has one. */
    atomic_fetch_sub(&dispatcher->references, 1);
}

void clattn__event_unref(clattn_event *event)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    atomic_fetch_add(&dispatcher->references, 1);
    clattn__mutex_lock(&dispatcher->lock);
    clattn__event_unref_locked(event);
    clattn__mutex_unlock(&dispatcher->lock);
    clattn__dispatcher_unref(dispatcher);
}

bool clattn__dispatcher_repeats(const clattn_dispatcher *dispatcher)
{
    return !dispatcher->direct && (dispatcher->backlog.lane_count > 1 || dispatcher->distant);
}

void clattn__dispatcher_leave(clattn_dispatcher *dispatcher)
{
    while (dispatcher->notices.count || dispatcher->leftover.count) {
        if (dispatcher->notices.count) {
            clattn_event *watcher = dispatcher->notices.item[--dispatcher->notices.count];
            clattn__mutex_unlock(&dispatcher->lock);
            clattn__hear(watcher);
        } else {
            clattn_event *other = dispatcher->leftover.item[--dispatcher->leftover.count];
            clattn__mutex_unlock(&dispatcher->lock);
            clattn__event_unref(other);
        }
        clattn__mutex_lock(&dispatcher->lock);
    }
    clattn__mutex_unlock(&dispatcher->lock);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* With the lock held: whether something is held back of what was submitted up to `newest`. */
static bool is_waiting(const clattn_dispatcher *dispatcher, uint64_t newest)
{
    const clattn__job *first = dispatcher->backlog.waiting.first;
    return first && first->order <= newest;
}

/* With the lock held, which is given away while the newest flight is waited for: others may go on
 * submitting. Where that can't be waited for, the whole queue is. */
static clattn_status finish_lane(clattn__lane *lane)
{
    if (lane->flight_count == 0)
        return CLATTN_OK;
    return clattn__lane_wait(lane, lane->flight_count - 1) == CLATTN_OK
               ? CLATTN_OK
               : clattn__queue_finish(lane->queue);
}

/* The first failure of a lane, unless it is dead and others take over. */
static clattn_status finish_lanes(clattn_dispatcher *dispatcher)
{
    clattn_status status = CLATTN_OK;
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++) {
        const clattn_status finished = finish_lane(&dispatcher->lane[i]);
        if (finished == CLATTN_OK)
            continue;
        clattn__lane_examine(&dispatcher->lane[i]);
        if (status == CLATTN_OK &&
            (!dispatcher->backlog.lane[i].dead || clattn__check_lanes(dispatcher) != CLATTN_OK))
            status = finished;
    }
    return status;
}

/* With the lock held. */
static clattn_status drain(clattn_dispatcher *dispatcher)
{
    const uint64_t newest = dispatcher->submitted;
    clattn_status status;
    bool again;
    do {
        const uint64_t moved = dispatcher->done.moved;
        while (is_waiting(dispatcher, newest))
            clattn__cond_wait(&dispatcher->changed, &dispatcher->lock);
        status = finish_lanes(dispatcher);
        clattn__reap(dispatcher);
        clattn__bury_lanes(dispatcher);
        /* some began again elsewhere, and may be in flight where it was waited before */
        again = is_waiting(dispatcher, newest) || dispatcher->done.moved != moved;
    } while (status == CLATTN_OK && again);
    if (status != CLATTN_OK) /* a queue is dead: nothing will end */
        clattn__give_up(dispatcher, status);
    return status;
}

clattn_status clattn__dispatcher_drain(clattn_dispatcher *dispatcher)
{
    clattn__mutex_lock(&dispatcher->lock);
    const clattn_status status = drain(dispatcher);
    clattn__dispatcher_leave(dispatcher);
    return status;
}

clattn_status clattn__dispatcher_finish(clattn_dispatcher *dispatcher)
{
    clattn__mutex_lock(&dispatcher->lock);
    clattn_status status = drain(dispatcher);
    if (dispatcher->failure != CLATTN_OK)
        status = clattn__fail(dispatcher->failure, "%s", dispatcher->message);
    dispatcher->failure = CLATTN_OK;
    clattn__dispatcher_leave(dispatcher);
    return status;
}

/* Callbacks may submit: it is the end when none has. */
static void finish_all(clattn_dispatcher *dispatcher)
{
    uint64_t newest;
    clattn__mutex_lock(&dispatcher->lock);
    do {
        newest = dispatcher->submitted;
        drain(dispatcher);
        while (dispatcher->calls.count)
            clattn__cond_wait(&dispatcher->changed, &dispatcher->lock);
    } while (dispatcher->submitted != newest);
    dispatcher->closing = true;
    clattn__cond_broadcast(&dispatcher->wake);
    clattn__dispatcher_leave(dispatcher);
}

static void join_threads(clattn_dispatcher *dispatcher)
{
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++)
        if (dispatcher->lane[i].has_thread)
            clattn__thread_join(&dispatcher->lane[i].thread);
}

void clattn__dispatcher_close(clattn_dispatcher *dispatcher)
{
    finish_all(dispatcher);
    join_threads(dispatcher);
    clattn__mutex_lock(&dispatcher->lock);
    /* a driver that says finished, and its events do not */
    if (clattn__backlog_count(&dispatcher->backlog)) {
        clattn__fail(CLATTN_ERR_DEVICE_LOST, "the dispatcher was destroyed before the end");
        clattn__give_up(dispatcher, CLATTN_ERR_DEVICE_LOST);
    }
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++) {
        clattn__queue_destroy(dispatcher->lane[i].queue);
        dispatcher->lane[i].queue = NULL;
    }
    clattn__dispatcher_leave(dispatcher);
    clattn__dispatcher_unref(dispatcher);
}
