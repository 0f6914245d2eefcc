/* A lane is dead once its device doesn't move four bytes any more, or others do what it couldn't.
 * What fails on a lane is tried once more on another one, where again.h allows it. */
#include "dispatch/lost.h"

#include <stdio.h>

#include "dispatch/again.h"
#include "dispatch/settle.h"
#include "dispatch/transfer.h"

/* Failures in a row of a lane that answers, but what failed on it goes well on others. */
#define MOST_FAILURES 3

/* ---- lanes ----------------------------------------------------------------------------------- */

/* With the reason as the thread's message. */
static void kill_lane(clattn__lane *lane)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    dispatcher->backlog.lane[lane->index].dead = true;
    dispatcher->done.lost |= (uint64_t)1 << lane->index;
    clattn__device_set_lost(lane->device, true);
    clattn__log(&dispatcher->context->env, CLATTN_LOG_DISPATCH, "lane %u is dead: %s",
                (unsigned)lane->index, clattn__message());
}

void clattn__lane_examine(clattn__lane *lane)
{
    const clattn_dispatcher *dispatcher = lane->dispatcher;
    if (dispatcher->direct || dispatcher->backlog.lane[lane->index].dead)
        return;
    char sentence[256];
    lane->failures++;
    snprintf(sentence, sizeof sentence, "%s", clattn__message());
    const clattn_status status = clattn__queue_probe(lane->queue);
    if (status != CLATTN_OK)
        kill_lane(lane);
    clattn__fail(status, "%s", sentence); /* the message stays what it was */
}

clattn_status clattn__check_lanes(const clattn_dispatcher *dispatcher)
{
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++)
        if (!dispatcher->backlog.lane[i].dead)
            return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_DEVICE_LOST,
                        "the dispatcher has no lane left: its devices failed and don't answer; "
                        "see clattn_device_info.lost, and make a new context");
}

/* ---- how it ends ----------------------------------------------------------------------------- */

/* It went well where it was tried the second time: is the first lane good for anything? */
static void blame(clattn_dispatcher *dispatcher, const clattn_event *event)
{
    clattn__lane *lane = &dispatcher->lane[event->failed_on];
    if (dispatcher->backlog.lane[lane->index].dead || lane->failures < MOST_FAILURES)
        return;
    clattn__fail(CLATTN_ERR_DEVICE_LOST,
                 "%d launches in a row failed on it, and went well on "
                 "others",
                 MOST_FAILURES);
    kill_lane(lane);
}

void clattn__end(clattn__lane *lane, clattn_event *event, clattn_status status)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    const bool innocent =
        clattn__rests_on_moved(event) && !dispatcher->backlog.lane[lane->index].dead;
    const int32_t failed_on = innocent ? -1 : (int32_t)lane->index;
    if (status != CLATTN_OK)
        clattn__transfer_failed(lane, event);
    if (status != CLATTN_OK && clattn__can_begin_again(dispatcher, failed_on, event)) {
        status = clattn__begin_again(dispatcher, failed_on, event);
        if (status == CLATTN_OK) {
            clattn__backlog_return(&dispatcher->backlog, &event->job);
            return;
        }
    }
    if (status == CLATTN_OK && event->failed_on >= 0)
        blame(dispatcher, event);
    clattn__settle(dispatcher, event, status);
}

/* Whether something of it is in flight whose cl_events are its own. */
static bool is_flying(const clattn__lane *lane, const clattn_event *event)
{
    for (uint32_t i = 0; i < lane->flight_count; i++) {
        const clattn__enqueued *what =
            &lane->flight[(lane->flight_first + i) % lane->flight_capacity].what;
        if (what->opener == event || what->closer == event)
            return true;
    }
    return false;
}

void clattn__end_waiting(clattn__lane *lane, clattn_event *event, clattn_status status)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    const int32_t failed_on = (int32_t)lane->index;
    clattn__transfer_failed(lane, event);
    if (!is_flying(lane, event) && clattn__can_begin_again(dispatcher, failed_on, event)) {
        const clattn_status moved = clattn__begin_again(dispatcher, failed_on, event);
        if (moved == CLATTN_OK) {
            clattn__backlog_restart(&dispatcher->backlog, &event->job);
            return;
        }
        status = moved;
    }
    clattn__settle_waiting(dispatcher, event, status);
}

/* ---- dead lanes ------------------------------------------------------------------------------ */

/* The first that waits and has no lane any more, or had begun on this one. */
static clattn_event *next_orphan(const clattn_dispatcher *dispatcher, const clattn__lane *lane)
{
    const clattn__backlog *backlog = &dispatcher->backlog;
    for (clattn__job *at = backlog->waiting.first; at; at = at->next)
        if (at->lane == (int32_t)lane->index || !clattn__backlog_has_lane(backlog, at))
            return clattn__event_of(at);
    return NULL;
}

static void bury(clattn__lane *lane)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn_event *event;
    lane->buried = true;
    clattn__queue_finish(lane->queue); /* nothing may run any more where memory goes */
    clattn__fail(CLATTN_ERR_DEVICE_LOST, "its device failed and doesn't answer any more");
    clattn__lane_drop_flights(lane, CLATTN_ERR_DEVICE_LOST);
    while ((event = next_orphan(dispatcher, lane))) {
        clattn__fail(CLATTN_ERR_DEVICE_LOST, "its device failed and doesn't answer any more");
        clattn__end_waiting(lane, event, CLATTN_ERR_DEVICE_LOST);
    }
}

void clattn__bury_lanes(clattn_dispatcher *dispatcher)
{
    bool buried = false;
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++)
        if (dispatcher->backlog.lane[i].dead && !dispatcher->lane[i].buried) {
            bury(&dispatcher->lane[i]);
            buried = true;
        }
    if (!buried)
        return;
    clattn__settle_condemned(dispatcher);
    clattn__cond_broadcast(&dispatcher->changed);
    clattn__cond_broadcast(&dispatcher->wake);
}
