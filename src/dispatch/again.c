/* What fails on a lane, and what rests on that, begins again if that is as good as doing it once:
 * its inputs are where the other lane sees them, and nothing that may have run has written over
 * them. */
#include "dispatch/again.h"

#include "dispatch/settle.h"
#include "dispatch/transfer.h"

/* ---- what comes after it --------------------------------------------------------------------- */

static bool waits_for(const clattn_event *event, const clattn_event *other)
{
    for (uint32_t i = 0; i < event->waits.count; i++)
        if (event->waits.item[i] == other)
            return true;
    return false;
}

static bool comes_after(const clattn_event *later, const clattn_event *earlier)
{
    return clattn__job_follows(&later->job, &earlier->job) || waits_for(later, earlier);
}

/* Of the lists of unfinished submissions, the `index`-th: of each lane, then of those that wait;
 * false: there are no more. */
static bool list_at(const clattn_dispatcher *dispatcher, uint32_t index, clattn__job **first)
{
    const clattn__backlog *backlog = &dispatcher->backlog;
    if (index > backlog->lane_count)
        return false;
    *first = index < backlog->lane_count ? backlog->flying[index].first : backlog->waiting.first;
    return true;
}

/* Whether something of it may have run, now or before it began again. */
static bool may_have_run(const clattn_event *event)
{
    return event->begun || event->ran;
}

static bool comes_after_marked(const clattn_dispatcher *dispatcher, const clattn_event *event)
{
    clattn__job *at;
    for (uint32_t list = 0; list_at(dispatcher, list, &at); list++)
        for (; at; at = at->next)
            if (clattn__event_of(at)->after && comes_after(event, clattn__event_of(at)))
                return true;
    return false;
}

/* Marks all that may have run and come after the event, over however many others. */
static void mark_after(const clattn_dispatcher *dispatcher, const clattn_event *event)
{
    clattn__job *at;
    for (uint32_t list = 0; list_at(dispatcher, list, &at); list++)
        for (; at; at = at->next) {
            clattn_event *other = clattn__event_of(at);
            other->after = other != event && may_have_run(other) && comes_after(other, event);
        }
    for (bool more = true; more;) {
        more = false;
        for (uint32_t list = 0; list_at(dispatcher, list, &at); list++)
            for (; at; at = at->next) {
                clattn_event *other = clattn__event_of(at);
                if (other == event || other->after || !may_have_run(other) ||
                    !comes_after_marked(dispatcher, other))
                    continue;
                other->after = more = true;
            }
    }
}

/* What has begun behind it in its head queues, or waits for it, has read what was not written. */
static void mark_followers(const clattn_dispatcher *dispatcher, const clattn_event *event)
{
    clattn__job *at;
    for (uint32_t list = 0; list_at(dispatcher, list, &at); list++)
        for (; at; at = at->next) {
            clattn_event *other = clattn__event_of(at);
            if (other != event && other->begun && comes_after(other, event))
                other->stale = true;
        }
}

bool clattn__rests_on_moved(const clattn_event *event)
{
    if (event->stale)
        return true;
    for (uint32_t i = 0; i < event->waits.count; i++) {
        const clattn_event *other = event->waits.item[i];
        if (other->dispatcher == event->dispatcher &&
            atomic_load(&other->status) == CLATTN_PENDING && !atomic_load(&other->launched))
            return true;
    }
    return false;
}

/* ---- can it begin again? --------------------------------------------------------------------- */

static void find_spans(clattn_event *event)
{
    for (uint32_t i = 0; i < event->entry_count; i++) {
        clattn__entry *entry = &event->entry[i];
        entry->span_count = clattn__bound_spans(entry->plan, &entry->bound, entry->span);
    }
}

static bool overwrites(const clattn__entry *later, const clattn__entry *earlier)
{
    for (uint32_t i = 0; i < later->span_count; i++)
        for (uint32_t j = 0; j < earlier->span_count; j++)
            if (later->span[i].written && !earlier->span[j].written &&
                clattn__spans_meet(&later->span[i], 1, &earlier->span[j], 1))
                return true;
    return false;
}

static bool overwrites_any(const clattn_event *later, const clattn_event *earlier)
{
    for (uint32_t i = 0; i < later->entry_count; i++)
        for (uint32_t j = 0; j < earlier->entry_count; j++)
            if (overwrites(&later->entry[i], &earlier->entry[j]))
                return true;
    return false;
}

/* Whether something that came after it, and may have run, has written over what it reads. Which
 * those are is only found out where there is one that would. */
static bool is_overwritten(const clattn_dispatcher *dispatcher, const clattn_event *event)
{
    clattn__job *at;
    bool marked = false;
    for (uint32_t list = 0; list_at(dispatcher, list, &at); list++)
        for (; at; at = at->next) {
            clattn_event *other = clattn__event_of(at);
            if (other == event || !may_have_run(other))
                continue;
            find_spans(other);
            if (!overwrites_any(other, event))
                continue;
            if (!marked)
                mark_after(dispatcher, event);
            marked = true;
            if (other->after)
                return true;
        }
    return false;
}

/* Whether doing it twice is as good as once, of itself: no input is written by the same or a later
 * step. */
static bool is_repeatable(clattn_event *event)
{
    find_spans(event);
    for (uint32_t i = 0; i < event->entry_count; i++) {
        if (clattn__problem_updates(&event->entry[i].plan->problem))
            return false;
        for (uint32_t j = 0; j <= i; j++)
            if (overwrites(&event->entry[i], &event->entry[j]))
                return false;
    }
    return true;
}

bool clattn__can_begin_again(clattn_dispatcher *dispatcher, int32_t lane, clattn_event *event)
{
    const clattn__backlog *backlog = &dispatcher->backlog;
    const bool dead = lane >= 0 && backlog->lane[lane].dead;
    clattn__job job = {.barred = event->job.barred};
    if (lane >= 0) {
        job.barred |= (uint32_t)1 << lane;
        if (event->moves >= (dead ? backlog->lane_count : 1))
            return false;
    }
    if (dispatcher->direct || atomic_load(&event->foreign) ||
        atomic_load(&event->doom) != CLATTN_OK || !clattn__backlog_has_lane(backlog, &job))
        return false;
    /* where its inputs are for the others: in the memory that all share, or on the host */
    if (!dispatcher->distant && !clattn__device_caps(dispatcher->context->device)->unified_memory)
        return false;
    return is_repeatable(event) && !is_overwritten(dispatcher, event);
}

/* ---- it begins again ------------------------------------------------------------------------- */

/* Counts `waiter` among those that must be told when `awaited` is launched. */
static clattn_status watch(clattn_event *waiter, clattn_event *awaited)
{
    for (uint32_t i = 0; i < awaited->watchers.count; i++)
        if (awaited->watchers.item[i] == waiter)
            return CLATTN_OK;
    CLATTN__TRY(clattn__keep_add(&waiter->dispatcher->context->env, &awaited->watchers, waiter));
    clattn__event_ref(waiter);
    waiter->job.waits++;
    return CLATTN_OK;
}

clattn_status clattn__watch_moved(clattn_event *event)
{
    for (uint32_t i = 0; i < event->waits.count; i++) {
        clattn_event *other = event->waits.item[i];
        if (other->dispatcher == event->dispatcher &&
            atomic_load(&other->status) == CLATTN_PENDING && !atomic_load(&other->launched))
            CLATTN__TRY(watch(event, other));
    }
    return CLATTN_OK;
}

/* Those that wait for it and are held back wait once more. */
static void call_back_waiters(clattn_dispatcher *dispatcher, clattn_event *event)
{
    for (clattn__job *at = dispatcher->backlog.waiting.first; at; at = at->next) {
        clattn_event *waiter = clattn__event_of(at);
        for (uint32_t i = 0; i < waiter->waits.count; i++) {
            if (waiter->waits.item[i] != event)
                continue;
            const clattn_status status = watch(waiter, event);
            if (status != CLATTN_OK)
                clattn__condemn(waiter, status, NULL);
        }
    }
}

static void forget_launches(clattn_event *event)
{
    clattn__event_drop_commands(event);
    if (event->begun)
        event->expires = UINT64_MAX; /* it had begun in time */
    event->ran = event->ran || event->begun;
    event->part = (clattn__launch_part){0};
    event->part_entry = 0;
    event->begun = event->stale = false;
    event->message[0] = 0;
    atomic_store(&event->refused, CLATTN_OK);
    atomic_store(&event->launched, false);
}

clattn_status clattn__begin_again(clattn_dispatcher *dispatcher, int32_t lane, clattn_event *event)
{
    CLATTN__TRY(clattn__dispatcher_start(dispatcher));
    CLATTN__TRY(clattn__watch_moved(event));
    if (dispatcher->distant)
        clattn__transfer_forget(event);
    if (lane >= 0) {
        if (!dispatcher->backlog.lane[lane].dead)
            event->job.barred |= (uint32_t)1 << lane;
        event->failed_on = lane;
        event->moves++;
    }
    dispatcher->done.moved++;
    forget_launches(event);
    mark_followers(dispatcher, event);
    call_back_waiters(dispatcher, event);
    clattn__cond_broadcast(&dispatcher->wake);
    return CLATTN_OK;
}
