/* The thread of a lane: launches what is ready whenever the lane has room, calls callbacks, and
 * sleeps otherwise. It exists once something was held back or a callback was set. */
#include <stdio.h>

#include "base/clock.h"
#include "dispatch/settle.h"
#include "dispatch/submission.h"

#define MOST_TOGETHER 64

static clattn_event *event_of(clattn__job *job)
{
    return (clattn_event *)job; /* its first member */
}

/* A failure to launch is that of the submissions. */
static void fail(clattn_dispatcher *dispatcher, clattn__job *const *jobs, uint32_t count,
                 clattn_status status)
{
    char message[256];
    snprintf(message, sizeof message, "%s", clattn__message());
    for (uint32_t i = 0; i < count; i++) {
        clattn__fail(status, "%s", message);
        clattn__settle_waiting(dispatcher, event_of(jobs[i]), status);
    }
    clattn__settle_condemned(dispatcher);
}

/* The first launch of a submission. */
static void begin(clattn_event *event, uint64_t now)
{
    if (event->begun)
        return;
    event->begun = true;
    event->launched_at = now;
    event->dispatcher->done.waiting_ns += now - event->submitted;
}

static void launched(clattn__lane *lane, clattn__job *job, uint64_t now)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn_event *event = event_of(job);
    begin(event, now);
    dispatcher->done.steals += job->home >= 0 && job->home != (int32_t)lane->index;
    clattn__home_set(dispatcher, event, (int32_t)lane->index);
    clattn__backlog_launched(&dispatcher->backlog, job, lane->index);
    atomic_store(&event->launched, true);
    if (event->watchers.count)
        clattn__tell_watchers(dispatcher, event, CLATTN_OK);
}

static void launch_whole(clattn__lane *lane, clattn__job **jobs, uint32_t count)
{
    clattn_event *events[MOST_TOGETHER];
    double work = 0;
    for (uint32_t i = 0; i < count; i++) {
        events[i] = event_of(jobs[i]);
        work += jobs[i]->work;
    }
    const clattn_status status = clattn__lane_launch(lane, events, count, (clattn__wait_list){0});
    if (status != CLATTN_OK) {
        fail(lane->dispatcher, jobs, count, status);
        return;
    }
    const uint64_t now = clattn__now_ns();
    for (uint32_t i = 0; i < count; i++)
        launched(lane, jobs[i], now);
    clattn__lane_flies(lane, events[0], 0, work, count);
}

static void launch_part(clattn__lane *lane, clattn__job *job, uint32_t items, uint64_t before)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn_event *event = event_of(job);
    const uint32_t from = event->commands.count;
    uint64_t left;
    const clattn_status status = clattn__lane_launch_part(lane, event, items, &left);
    if (status != CLATTN_OK) {
        fail(dispatcher, &job, 1, status);
        return;
    }
    const uint64_t now = clattn__now_ns();
    const double work = job->work * (double)(before - left) / (double)before;
    if (left == 0) {
        launched(lane, job, now);
        clattn__lane_flies(lane, event, from, job->work, 1);
        return;
    }
    begin(event, now);
    clattn__backlog_begun(&dispatcher->backlog, job, lane->index, work, now);
    clattn__lane_flies(lane, event, from, work, 0);
}

bool clattn__lane_feed(clattn__lane *lane)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn__backlog *backlog = &dispatcher->backlog;
    clattn__job *jobs[MOST_TOGETHER];
    bool fed = false;
    while (clattn__backlog_has_room(backlog, lane->index, 0)) {
        const uint32_t count = clattn__backlog_pick(backlog, lane->index, jobs, MOST_TOGETHER);
        if (count == 0 || !clattn__backlog_has_room(backlog, lane->index, jobs[0]->family))
            break;
        clattn_event *event = event_of(jobs[0]);
        const uint64_t left = count == 1 ? clattn__items_left(event) : 0;
        uint32_t items = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
        if (items && (dispatcher->parts || clattn__now_ns() < dispatcher->crowded_till))
            items = clattn__backlog_share(backlog, lane->index, jobs[0]->work, items);
        if (count == 1 && (event->begun || items < left))
            launch_part(lane, jobs[0], items, left);
        else
            launch_whole(lane, jobs, count);
        fed = true;
    }
    if (fed)
        clattn__cond_broadcast(&dispatcher->changed);
    return fed;
}

/* Calls the callbacks of one submission that is done, without the lock. */
static void call_back(clattn_dispatcher *dispatcher)
{
    clattn_event *event = dispatcher->calls.item[0];
    const clattn_status status = (clattn_status)atomic_load(&event->status);
    while (event->called < event->call_count) {
        const clattn__call call = event->call[event->called++];
        clattn__dispatcher_leave(dispatcher);
        call.function(call.user, event, status);
        clattn__mutex_lock(&dispatcher->lock);
    }
    dispatcher->calls.count--;
    for (uint32_t i = 0; i < dispatcher->calls.count; i++)
        dispatcher->calls.item[i] = dispatcher->calls.item[i + 1];
    clattn__event_unref_locked(event);
    clattn__cond_broadcast(&dispatcher->changed);
}

/* Sleeps until the oldest flight has landed; the lock is given away meanwhile. */
static void wait_for_flight(clattn__lane *lane)
{
    if (clattn__lane_wait(lane, 0) != CLATTN_PENDING)
        return;
    /* a driver that doesn't wait must not make this thread spin */
    clattn__mutex_unlock(&lane->dispatcher->lock);
    clattn__sleep_ns(100000);
    clattn__mutex_lock(&lane->dispatcher->lock);
}

static uint64_t next_expiry(const clattn_dispatcher *dispatcher)
{
    uint64_t next = UINT64_MAX;
    for (clattn__job *at = dispatcher->backlog.waiting.first; at; at = at->next)
        if (!event_of(at)->begun && event_of(at)->expires < next)
            next = event_of(at)->expires;
    return next;
}

static bool has_to_watch(const clattn_dispatcher *dispatcher)
{
    return dispatcher->backlog.waiting.count || dispatcher->watched;
}

static void turn(clattn__lane *lane)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn__reap(dispatcher);
    if (dispatcher->backlog.waiting.count)
        clattn__drop_expired(dispatcher, clattn__now_ns());
    if (clattn__lane_feed(lane))
        return;
    if (lane->index == 0 && dispatcher->calls.count) {
        call_back(dispatcher);
        return;
    }
    if (lane->flight_count && has_to_watch(dispatcher)) {
        wait_for_flight(lane);
        return;
    }
    if (dispatcher->notices.count || dispatcher->leftover.count) {
        clattn__dispatcher_leave(dispatcher);
        clattn__mutex_lock(&dispatcher->lock);
        return;
    }
    if (dispatcher->closing)
        return;
    const uint64_t expiry = next_expiry(dispatcher);
    if (expiry == UINT64_MAX)
        clattn__cond_wait(&dispatcher->wake, &dispatcher->lock);
    else
        clattn__cond_wait_until(&dispatcher->wake, &dispatcher->lock, expiry);
}

static void *run(void *user)
{
    clattn__lane *lane = user;
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn__mutex_lock(&dispatcher->lock);
    while (!dispatcher->closing || (lane->index == 0 && dispatcher->calls.count))
        turn(lane);
    clattn__dispatcher_leave(dispatcher);
    return NULL;
}

clattn_status clattn__dispatcher_start(clattn_dispatcher *dispatcher)
{
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++) {
        clattn__lane *lane = &dispatcher->lane[i];
        if (lane->has_thread)
            continue;
        CLATTN__TRY(clattn__thread_start(&lane->thread, run, lane));
        lane->has_thread = true;
    }
    return CLATTN_OK;
}
