/* Waiting for the first of several submissions, of whatever dispatchers: their threads see them end
 * and wake who waits. Where there is none, it looks now and then. */
#include <inttypes.h>

#include "base/clock.h"
#include "dispatch/settle.h"
#include "dispatch/waiting.h"

/* Between looks where nobody watches: at first, and at most. */
#define FIRST_PAUSE_NS 20000u
#define MOST_PAUSE_NS  1000000u
/* The thread that watches may be in a callback of the caller's that takes its time. */
#define WATCHED_PAUSE_NS 100000000u

/* The first in their order that is done when it is looked at, and its status; CLATTN_PENDING: none
 * is. */
static clattn_status look_once(clattn_event *const *events, uint32_t count, uint32_t *index)
{
    for (uint32_t i = 0; i < count; i++) {
        const clattn_status status = clattn__event_poll(events[i]);
        if (status == CLATTN_PENDING)
            continue;
        *index = i;
        return status;
    }
    return CLATTN_PENDING;
}

/* The same of what is done at the end: one that ended behind the look, and may be named again after
 * it, is found by a second one. */
static clattn_status find_done(clattn_event *const *events, uint32_t count, uint32_t *index)
{
    const clattn_status status = look_once(events, count, index);
    const clattn_status earlier =
        status == CLATTN_PENDING ? CLATTN_PENDING : look_once(events, *index, index);
    return earlier == CLATTN_PENDING ? status : earlier;
}

void clattn__onlooker_wake(clattn__onlooker *onlooker)
{
    clattn__mutex_lock(&onlooker->lock);
    onlooker->woken = true;
    clattn__cond_broadcast(&onlooker->wake);
    clattn__mutex_unlock(&onlooker->lock);
}

static clattn_status onlooker_init(clattn__onlooker *onlooker)
{
    onlooker->woken = false;
    CLATTN__TRY(clattn__mutex_init(&onlooker->lock));
    const clattn_status status = clattn__cond_init(&onlooker->wake);
    if (status != CLATTN_OK)
        clattn__mutex_finish(&onlooker->lock);
    return status;
}

static void onlooker_finish(clattn__onlooker *onlooker)
{
    clattn__cond_finish(&onlooker->wake);
    clattn__mutex_finish(&onlooker->lock);
}

/* With the lock held: a thread that sees the event end; false: there is none. */
static bool has_watcher(clattn_dispatcher *dispatcher)
{
    return !dispatcher->direct && dispatcher->lane[0].queue && !dispatcher->closing &&
           clattn__dispatcher_start(dispatcher) == CLATTN_OK;
}

/* Has the onlooker woken when the event is done; false: nobody will. */
static bool look_on(clattn_event *event, clattn__onlooker *onlooker)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    bool seen = true;
    clattn__mutex_lock(&dispatcher->lock);
    if (atomic_load(&event->status) != CLATTN_PENDING) {
        clattn__onlooker_wake(onlooker);
    } else if (has_watcher(dispatcher) &&
               clattn__keep_add(&dispatcher->context->env, &event->onlookers, onlooker) ==
                   CLATTN_OK) {
        dispatcher->onlookers++;
        clattn__cond_broadcast(&dispatcher->wake);
    } else {
        seen = false;
    }
    clattn__mutex_unlock(&dispatcher->lock);
    return seen;
}

/* Afterwards nobody will touch the onlooker because of this event. */
static void look_away(clattn_event *event, const clattn__onlooker *onlooker)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    clattn__keep *onlookers = &event->onlookers;
    uint32_t kept = 0;
    clattn__mutex_lock(&dispatcher->lock);
    for (uint32_t i = 0; i < onlookers->count; i++)
        if (onlookers->item[i] != onlooker)
            onlookers->item[kept++] = onlookers->item[i];
    dispatcher->onlookers -= onlookers->count - kept;
    onlookers->count = kept;
    clattn__mutex_unlock(&dispatcher->lock);
}

/* Until one of them is done, somebody says so, or `end`; *pause (in, out). */
static void sleep_until(clattn__onlooker *onlooker, bool watched, uint64_t end, uint64_t *pause)
{
    const uint64_t soon = clattn__now_ns() + (watched ? WATCHED_PAUSE_NS : *pause);
    clattn__mutex_lock(&onlooker->lock);
    if (!onlooker->woken)
        clattn__cond_wait_until(&onlooker->wake, &onlooker->lock, soon < end ? soon : end);
    onlooker->woken = false;
    clattn__mutex_unlock(&onlooker->lock);
    *pause = *pause < MOST_PAUSE_NS / 2 ? *pause * 2 : MOST_PAUSE_NS;
}

/* When it expires, if it hasn't begun. */
static uint64_t deadline_of(clattn_event *event)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    clattn__mutex_lock(&dispatcher->lock);
    const bool begun = event->begun || atomic_load(&event->launched);
    const uint64_t deadline = begun ? UINT64_MAX : event->expires;
    clattn__mutex_unlock(&dispatcher->lock);
    return deadline;
}

/* `end`, or the first deadline of those that haven't begun, which is then looked at in time. */
static uint64_t deadline_before(clattn_event *const *events, uint32_t count, uint64_t end)
{
    const uint64_t now = clattn__now_ns();
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t deadline = deadline_of(events[i]);
        end = deadline > now && deadline < end ? deadline : end;
    }
    return end;
}

/* CLATTN_PENDING: none is done by `end`. */
static clattn_status wait_for_first(clattn_event *const *events, uint32_t count, uint64_t end,
                                    uint32_t *index)
{
    clattn__onlooker onlooker;
    uint64_t pause = FIRST_PAUSE_NS;
    bool watched = true;
    CLATTN__TRY(onlooker_init(&onlooker));
    for (uint32_t i = 0; i < count; i++)
        watched = look_on(events[i], &onlooker) && watched;
    clattn_status status = find_done(events, count, index);
    while (status == CLATTN_PENDING && clattn__now_ns() < end) {
        sleep_until(&onlooker, watched, deadline_before(events, count, end), &pause);
        status = find_done(events, count, index);
    }
    for (uint32_t i = 0; i < count; i++)
        look_away(events[i], &onlooker);
    onlooker_finish(&onlooker);
    return status;
}

/* Finds what is done first of all of them, where that is known: of a dispatcher that holds nothing
 * back the one that came first. */
static bool find_first(clattn_event *const *events, uint32_t count, clattn_event **first)
{
    *first = events[0];
    for (uint32_t i = 1; i < count; i++) {
        if (!events[0]->dispatcher->direct || events[i]->dispatcher != events[0]->dispatcher)
            return false;
        if (events[i]->job.order < (*first)->job.order)
            *first = events[i];
    }
    return true;
}

static clattn_status fail_late(uint64_t timeout_ns)
{
    return clattn__fail(CLATTN_ERR_TIMEOUT, "none is done after %" PRIu64 " ns", timeout_ns);
}

clattn_status clattn__event_wait_any(clattn_event *const *events, uint32_t count,
                                     uint64_t timeout_ns, uint32_t *index)
{
    clattn_status status = find_done(events, count, index);
    if (status != CLATTN_PENDING)
        return status;
    clattn_event *first;
    if (timeout_ns == 0) /* nobody has to watch for that */
        return fail_late(timeout_ns);
    if (find_first(events, count, &first)) {
        (void)clattn__event_wait(first, timeout_ns);
        status = find_done(events, count, index);
    } else {
        status = wait_for_first(events, count, clattn__wait_end(timeout_ns), index);
    }
    return status != CLATTN_PENDING ? status : fail_late(timeout_ns);
}
