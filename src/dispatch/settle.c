/* The end of submissions: statuses, followers, watchers, callbacks. */
#include "dispatch/settle.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "dispatch/transfer.h"

clattn_status clattn__failure_of(const clattn_event *event)
{
    clattn_status status = (clattn_status)atomic_load(&event->status);
    if (status < 0)
        return clattn__fail(status, "%s", event->message);
    const clattn_status doom = (clattn_status)atomic_load(&event->doom);
    const clattn_status refused = (clattn_status)atomic_load(&event->refused);
    if (status == CLATTN_PENDING && (doom != CLATTN_OK || refused != CLATTN_OK))
        return clattn__fail(doom != CLATTN_OK ? doom : refused, "%s", event->message);
    if (status == CLATTN_PENDING && atomic_load(&event->launched))
        status = clattn__event_ask(event); /* of another dispatcher, perhaps, that hasn't looked */
    return status < 0 ? status : CLATTN_OK;
}

/* ---- those who wait for it ------------------------------------------------------------------- */

void clattn__condemn(clattn_event *event, clattn_status status, const char *why)
{
    if (atomic_load(&event->doom) != CLATTN_OK || atomic_load(&event->status) != CLATTN_PENDING)
        return;
    snprintf(event->message, sizeof event->message, "%s%s%s", why ? why : "", why ? ": " : "",
             clattn__message());
    atomic_store(&event->doom, status);
}

void clattn__tell_watchers(clattn_dispatcher *dispatcher, clattn_event *event, clattn_status status)
{
    for (uint32_t i = 0; i < event->watchers.count; i++) {
        clattn_event *watcher = event->watchers.item[i];
        if (watcher->dispatcher != dispatcher) {
            dispatcher->strangers--;
            dispatcher->notices.item[dispatcher->notices.count++] = watcher;
            continue;
        }
        if (status < 0)
            clattn__condemn(watcher, status, "what it waits for has failed");
        watcher->job.waits--;
        clattn__event_unref_locked(watcher);
    }
    event->watchers.count = 0;
    clattn__cond_broadcast(&dispatcher->wake);
}

/* Its followers in its head queues can't end well either: all that wait, and what is in flight
 * behind it. */
static void condemn_followers(clattn_dispatcher *dispatcher, const clattn_event *event,
                              clattn_status status)
{
    const char *why = "an earlier submission of its sequence has failed";
    clattn__backlog *backlog = &dispatcher->backlog;
    if (event->job.ranges.count == 0)
        return;
    for (clattn__job *at = backlog->waiting.first; at; at = at->next)
        if (clattn__job_follows(at, &event->job))
            clattn__condemn(clattn__event_of(at), status, why);
    for (uint32_t i = 0; i < backlog->lane_count; i++)
        for (clattn__job *at = backlog->flying[i].first; at; at = at->next)
            if (clattn__job_follows(at, &event->job))
                clattn__condemn(clattn__event_of(at), status, why);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* CLATTN_OK, or what became of those in its wait list. */
static clattn_status check_waits(const clattn_event *event)
{
    for (uint32_t i = 0; i < event->waits.count; i++) {
        const clattn_status status = clattn__failure_of(event->waits.item[i]);
        if (status != CLATTN_OK)
            return clattn__fail(status, "wait[%u]: has failed: %s", (unsigned)i, clattn__message());
    }
    return CLATTN_OK;
}

static void drop_waits(clattn_dispatcher *dispatcher, clattn_event *event)
{
    for (uint32_t i = 0; i < event->waits.count; i++) {
        clattn_event *other = event->waits.item[i];
        if (other->dispatcher == dispatcher) {
            clattn__event_unref_locked(other);
            continue;
        }
        dispatcher->abroad--;
        dispatcher->leftover.item[dispatcher->leftover.count++] = other;
    }
    event->waits.count = 0;
}

static void wake_onlookers(clattn_dispatcher *dispatcher, clattn_event *event)
{
    for (uint32_t i = 0; i < event->onlookers.count; i++)
        clattn__onlooker_wake(event->onlookers.item[i]);
    dispatcher->onlookers -= event->onlookers.count;
    event->onlookers.count = 0;
}

static void note_failure(clattn_dispatcher *dispatcher, clattn_event *event, clattn_status status)
{
    clattn_dispatcher_statistics *done = &dispatcher->done;
    done->failed += status != CLATTN_ERR_CANCELLED && status != CLATTN_ERR_TIMEOUT;
    done->cancelled += status == CLATTN_ERR_CANCELLED;
    done->expired += status == CLATTN_ERR_TIMEOUT;
    if (atomic_load(&event->doom) == CLATTN_OK)
        snprintf(event->message, sizeof event->message, "%s", clattn__message());
    else
        clattn__fail(status, "%s", event->message);
    if (dispatcher->failure == CLATTN_OK && status != CLATTN_ERR_CANCELLED) {
        dispatcher->failure = status;
        memcpy(dispatcher->message, event->message, sizeof dispatcher->message);
    }
    condemn_followers(dispatcher, event, status);
}

void clattn__settle(clattn_dispatcher *dispatcher, clattn_event *event, clattn_status status)
{
    if (status == CLATTN_OK && event->waits.count)
        status = check_waits(event);
    if (atomic_load(&event->doom) != CLATTN_OK)
        status = (clattn_status)atomic_load(&event->doom);
    if (status != CLATTN_OK)
        note_failure(dispatcher, event, status);
    else
        dispatcher->done.finished++;
    if (status != CLATTN_OK && dispatcher->distant) /* its uploads may have failed */
        clattn__transfer_forget(event);
    clattn__event_drop_kept(event);
    atomic_store(&event->status, status);
    wake_onlookers(dispatcher, event);
    if (event->watchers.count)
        clattn__tell_watchers(dispatcher, event, status);
    if (event->waits.count)
        drop_waits(dispatcher, event);
    if (event->call_count) {
        dispatcher->watched--;
        dispatcher->calls.item[dispatcher->calls.count++] = event;
        clattn__cond_broadcast(&dispatcher->wake);
        return; /* the backlog's reference is the list's now */
    }
    clattn__event_unref_locked(event);
}

void clattn__settle_waiting(clattn_dispatcher *dispatcher, clattn_event *event,
                            clattn_status status)
{
    clattn__backlog_drop(&dispatcher->backlog, &event->job);
    clattn__settle(dispatcher, event, status);
}

/* Those that can't run any more: none of it was launched, and what they wait for has failed. */
void clattn__settle_condemned(clattn_dispatcher *dispatcher)
{
    clattn__job *at = dispatcher->backlog.waiting.first;
    while (at) {
        clattn_event *event = clattn__event_of(at);
        at = at->next;
        const clattn_status doom = (clattn_status)atomic_load(&event->doom);
        if (doom != CLATTN_OK && !event->begun) {
            clattn__settle_waiting(dispatcher, event, doom);
            at = dispatcher->backlog.waiting.first; /* others may be condemned now */
        }
    }
}

void clattn__hear(clattn_event *watcher)
{
    clattn_dispatcher *dispatcher = watcher->dispatcher;
    /* the watcher's may be the last one that it has */
    atomic_fetch_add(&dispatcher->references, 1);
    clattn__mutex_lock(&dispatcher->lock);
    const clattn_status status = check_waits(watcher);
    if (status < 0)
        clattn__condemn(watcher, status, "what it waits for has failed");
    watcher->job.waits--;
    clattn__settle_condemned(dispatcher);
    clattn__cond_broadcast(&dispatcher->wake);
    clattn__cond_broadcast(&dispatcher->changed);
    clattn__event_unref_locked(watcher);
    clattn__dispatcher_leave(dispatcher);
    clattn__dispatcher_unref(dispatcher);
}

void clattn__drop_expired(clattn_dispatcher *dispatcher, uint64_t now)
{
    bool dropped = false;
    clattn__job *at = dispatcher->backlog.waiting.first;
    while (at) {
        clattn_event *event = clattn__event_of(at);
        at = at->next;
        if (event->begun || event->expires > now)
            continue;
        clattn__fail(CLATTN_ERR_TIMEOUT, "the deadline passed before it could begin");
        clattn__settle_waiting(dispatcher, event, CLATTN_ERR_TIMEOUT);
        dropped = true;
    }
    clattn__settle_condemned(dispatcher);
    if (dropped)
        clattn__cond_broadcast(&dispatcher->changed);
}
