/* What was in flight has ended: it is measured, traced, and settled; or it begins again on another
 * lane, where its own has failed. */
#include <stdio.h>

#include "base/clock.h"
#include "dispatch/again.h"
#include "dispatch/lost.h"
#include "dispatch/settle.h"

static void account(clattn__lane *lane, const clattn__flight *flight, bool good)
{
    clattn_dispatcher *dispatcher = lane->dispatcher;
    clattn__device *device = lane->device;
    clattn__times first, last;
    double ns = 0;
    if (good && clattn__event_times_cl(device, flight->what.first, &first) &&
        clattn__event_times_cl(device, flight->what.last, &last) && last.ended > first.began) {
        ns = (double)(last.ended - first.began);
        lane->done.busy_ns += last.ended - first.began;
        if (dispatcher->trace.capacity) {
            const clattn__trace_span span = {.began = first.began,
                                             .ended = last.ended,
                                             .number = flight->what.opener->job.order,
                                             .lane = lane->index,
                                             .launches = flight->what.launches,
                                             .entries = flight->entries,
                                             .jobs = flight->jobs};
            clattn__trace_add(&dispatcher->trace, &span, clattn__now_ns());
        }
    }
    if (flight->part > 0)
        clattn__lane_part_landed(&dispatcher->backlog.lane[lane->index], flight->part, ns);
    clattn__lane_landed(&dispatcher->backlog.lane[lane->index], flight->work, ns,
                        lane->flight_count == 0);
    dispatcher->backlog.lane[lane->index].began = clattn__now_ns(); /* the next one */
}

/* How the submission has ended; `failure` (CLATTN_OK: none) is that of the last command of its
 * flight, with its sentence. */
static clattn_status outcome_of(const clattn_event *event, clattn_status failure,
                                const char *sentence)
{
    const clattn_status refused = (clattn_status)atomic_load(&event->refused);
    if (refused != CLATTN_OK)
        return clattn__fail(refused, "%s", event->message);
    if (clattn__rests_on_moved(event))
        return clattn__fail(CLATTN_ERR_DEVICE_LOST, "what it comes after has to begin again");
    const clattn_status status = clattn__event_ask(event); /* others' failures aren't its own */
    if (status != CLATTN_PENDING)
        return status;
    return failure == CLATTN_OK ? failure : clattn__fail(failure, "%s", sentence);
}

/* Ends the submissions that end with the flight; true if all did well. */
static bool end_jobs(clattn__lane *lane, const clattn__flight *flight, clattn_status failure)
{
    clattn__backlog *backlog = &lane->dispatcher->backlog;
    char sentence[256] = "";
    bool good = failure == CLATTN_OK;
    if (!good) {
        snprintf(sentence, sizeof sentence, "%s", clattn__message());
        clattn__lane_examine(lane);
    }
    for (uint32_t i = 0; i < flight->jobs; i++) {
        clattn_event *event = clattn__event_of(backlog->flying[lane->index].first);
        const clattn_status status = outcome_of(event, failure, sentence);
        good = good && status == CLATTN_OK;
        clattn__backlog_done(backlog, &event->job);
        clattn__end(lane, event, status);
    }
    return good;
}

static void land(clattn__lane *lane, clattn_status failure)
{
    const clattn__flight flight = lane->flight[lane->flight_first];
    lane->flight_first = (lane->flight_first + 1) % lane->flight_capacity;
    lane->flight_count--;
    account(lane, &flight, failure == CLATTN_OK);
    if (end_jobs(lane, &flight, failure))
        lane->failures = 0;
    clattn__event_unref_locked(flight.what.opener);
    clattn__event_unref_locked(flight.what.closer);
}

/* Whether something that it waits for is still in flight on another lane: what became of that
 * decides what becomes of this. */
static bool is_ahead(const clattn_event *event)
{
    if (event->stale) /* that is decided: it begins again, behind what may be behind it here */
        return false;
    for (uint32_t i = 0; i < event->waits.count; i++) {
        const clattn_event *other = event->waits.item[i];
        if (other->dispatcher == event->dispatcher && atomic_load(&other->launched) &&
            atomic_load(&other->status) == CLATTN_PENDING)
            return true;
    }
    return false;
}

/* Whether all that the flight waits for has landed. On its own lane that is so by the order. */
static bool may_land(const clattn__lane *lane, const clattn__flight *flight)
{
    clattn__job *at = lane->dispatcher->backlog.flying[lane->index].first;
    for (uint32_t i = 0; i < flight->jobs; i++, at = at->next)
        if (is_ahead(clattn__event_of(at)))
            return false;
    return true;
}

static bool reap_lane(clattn__lane *lane)
{
    bool landed = false;
    while (lane->flight_count) {
        const clattn__flight *flight = &lane->flight[lane->flight_first];
        const clattn_status status = clattn__event_poll_cl(lane->device, flight->what.last);
        if (status == CLATTN_PENDING || !may_land(lane, flight))
            break;
        land(lane, status);
        landed = true;
    }
    return landed;
}

/* All lanes, until none has anything more: what lands on one may be waited for on another. */
bool clattn__reap_lanes(clattn_dispatcher *dispatcher)
{
    bool landed = false, more = true;
    while (more) {
        more = false;
        for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++)
            more = reap_lane(&dispatcher->lane[i]) || more;
        landed = landed || more;
        more = more && dispatcher->backlog.lane_count > 1;
    }
    return landed;
}

void clattn__reap(clattn_dispatcher *dispatcher)
{
    if (!clattn__reap_lanes(dispatcher))
        return;
    clattn__bury_lanes(dispatcher);
    clattn__settle_condemned(dispatcher);
    clattn__cond_broadcast(&dispatcher->changed);
    if (dispatcher->backlog.waiting.count)
        clattn__cond_broadcast(&dispatcher->wake);
}

/* What waits for something on another lane, of which nobody knows yet how it ends, can't wait here
 * for that: it begins again behind it. */
static void let_go(clattn__lane *lane)
{
    clattn__job *at = lane->dispatcher->backlog.flying[lane->index].first;
    for (; at; at = at->next)
        clattn__event_of(at)->stale = clattn__event_of(at)->stale || is_ahead(clattn__event_of(at));
}

void clattn__lane_drop_flights(clattn__lane *lane, clattn_status status)
{
    char sentence[256];
    snprintf(sentence, sizeof sentence, "%s", clattn__message());
    let_go(lane);
    while (lane->flight_count)
        land(lane, clattn__fail(status, "%s", sentence));
}

void clattn__give_up(clattn_dispatcher *dispatcher, clattn_status status)
{
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++)
        clattn__lane_drop_flights(&dispatcher->lane[i], status);
    while (dispatcher->backlog.waiting.count)
        clattn__settle_waiting(dispatcher, clattn__event_of(dispatcher->backlog.waiting.first),
                               status);
    clattn__cond_broadcast(&dispatcher->changed);
}
