/* The thread of a lane: launches what is ready whenever the lane has room, calls callbacks, and
 * sleeps otherwise. It exists once something was held back, a callback was set, or somebody waited
 * for the first of several (wait_any.c). */
#include "base/clock.h"
#include "dispatch/lost.h"
#include "dispatch/settle.h"
#include "dispatch/submission.h"
#include "dispatch/transfer.h"
#include "schedule/turn.h"

#define MOST_TOGETHER 64

/* A failure to launch is that of the submission, or of the lane. */
static void fail(clattn__lane *lane, clattn__job *job, clattn_status status)
{
    clattn__lane_examine(lane);
    clattn__end_waiting(lane, clattn__event_of(job), status);
    clattn__bury_lanes(lane->dispatcher);
    clattn__settle_condemned(lane->dispatcher);
}

/* The first launch of a submission, before which what it needs was sent. */
static void begin(clattn_event *event, uint64_t now)
{
    if (event->begun)
        return;
    event->begun = true;
    event->launched_at = now;
    event->dispatcher->done.waiting_ns += now - event->submitted;
    clattn__transfer_estimate_sharers(event);
}

static void launched(clattn__lane *lane, clattn__job *job, uint64_t now)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn_event *event = clattn__event_of(job);
    begin(event, now);
    clattn__backlog_launched(&dispatcher->backlog, job, lane->index);
    event->brief = clattn__lane_is_brief(lane);
    atomic_store(&event->launched, true);
    if (event->watchers.count && !dispatcher->distant && atomic_load(&event->refused) == CLATTN_OK)
        clattn__tell_watchers(dispatcher, event, CLATTN_OK);
}

static bool any_refused(clattn__job *const *jobs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (atomic_load(&clattn__event_of(jobs[i])->refused) != CLATTN_OK)
            return true;
    return false;
}

/* All of it was refused. */
static void end_refused(clattn__lane *lane, clattn_event *event)
{
    const clattn_status status = (clattn_status)atomic_load(&event->refused);
    clattn__end_waiting(lane, event, clattn__fail(status, "%s", event->message));
}

/* After clattn__lane_launch: enters what flies, and ends what was refused altogether. */
static void enter(clattn__lane *lane, clattn__job *const *jobs, uint32_t count,
                  const clattn__enqueued *what)
{
    const uint64_t now = clattn__now_ns();
    const bool refused = any_refused(jobs, count);
    double work = 0;
    uint32_t flying = 0;
    if (refused)
        clattn__lane_examine(lane);
    for (uint32_t i = 0; i < count; i++) {
        if (clattn__event_of(jobs[i])->commands.count == 0) {
            end_refused(lane, clattn__event_of(jobs[i]));
            continue;
        }
        work += jobs[i]->work;
        launched(lane, jobs[i], now);
        flying++;
    }
    if (flying)
        clattn__lane_flies(lane, what, work, 0, flying);
    if (refused) {
        clattn__bury_lanes(lane->dispatcher);
        clattn__settle_condemned(lane->dispatcher);
    }
}

static void launch_whole(clattn__lane *lane, clattn__job *const *jobs, uint32_t count)
{
    const clattn__lane_state *state = &lane->dispatcher->backlog.lane[lane->index];
    clattn_event *events[MOST_TOGETHER] = {NULL}; /* gcc doesn't see that there is one at least */
    clattn__enqueued what;
    for (uint32_t i = 0; i < count; i++)
        events[i] = clattn__event_of(jobs[i]);
    const clattn_status status =
        clattn__lane_launch(lane, events, count, (clattn__wait_list){0}, &what);
    if (status == CLATTN_OK)
        enter(lane, jobs, count, &what);
    else if (count == 1)
        fail(lane, jobs[0], status);
    else /* what is too much for all may be enough for each */
        for (uint32_t i = 0; i < count && !state->dead; i++)
            launch_whole(lane, &jobs[i], 1);
}

static void launch_part(clattn__lane *lane, clattn__job *job, uint32_t items)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn_event *event = clattn__event_of(job);
    clattn__enqueued what;
    uint64_t left;
    const double before = clattn__work_left(lane, event);
    const clattn_status status = clattn__lane_launch_part(lane, event, items, &left, &what);
    if (status != CLATTN_OK) {
        clattn__reap_lanes(dispatcher); /* it was waited for: nothing of it is in flight */
        fail(lane, job, status);
        return;
    }
    const uint64_t now = clattn__now_ns();
    const double part = job->work * (1 - clattn__work_left(lane, event) / before);
    if (left == 0) {
        launched(lane, job, now);
        clattn__lane_flies(lane, &what, job->work, job->work, 1);
        return;
    }
    begin(event, now);
    const double counted = clattn__backlog_begun(&dispatcher->backlog, job, lane->index, part, now);
    clattn__lane_flies(lane, &what, counted, part, 0);
}

/* How many of the job's `items` go into the next launch. */
static uint32_t items_now(const clattn__lane *lane, clattn__job *job, uint32_t items)
{
    const double work = clattn__backlog_portion(&lane->dispatcher->backlog, lane->index, job->work,
                                                clattn__now_ns());
    return work < job->work ? clattn__items_of_work(lane, clattn__event_of(job), work) : items;
}

static bool is_kept(void *user, clattn__job *job)
{
    return clattn__transfer_conflicts(user, clattn__event_of(job));
}

static void launch(clattn__lane *lane, clattn__job *const *jobs, uint32_t count)
{
    const clattn_event *event = clattn__event_of(jobs[0]);
    const uint64_t left = count == 1 ? clattn__items_left(lane, event) : 0;
    uint32_t items = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
    if (items)
        items = items_now(lane, jobs[0], items);
    if (count == 1 && (event->begun || items < left))
        launch_part(lane, jobs[0], items);
    else
        launch_whole(lane, jobs, count);
}

bool clattn__lane_feed(clattn__lane *lane)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn__job *jobs[MOST_TOGETHER];
    clattn__turn turn = {.backlog = &dispatcher->backlog,
                         .lane = lane->index,
                         .is_kept = dispatcher->distant ? is_kept : NULL,
                         .user = lane};
    bool fed = false;
    if (!clattn__turn_goes_on(&turn))
        return false;
    clattn__turn_begin(&turn);
    while (clattn__turn_goes_on(&turn)) {
        const uint32_t count = clattn__turn_next(&turn, clattn__now_ns(), jobs, MOST_TOGETHER);
        if (count == 0)
            break;
        launch(lane, jobs, count);
        fed = true;
    }
    if (turn.news)
        clattn__cond_broadcast(&dispatcher->wake);
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
        if (!clattn__event_of(at)->begun && clattn__event_of(at)->expires < next)
            next = clattn__event_of(at)->expires;
    return next;
}

static bool has_to_watch(const clattn_dispatcher *dispatcher)
{
    return dispatcher->backlog.waiting.count || dispatcher->watched || dispatcher->onlookers ||
           (dispatcher->distant && dispatcher->strangers);
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
