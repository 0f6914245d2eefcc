/* Takes a submission in: checked and bound without the lock, then straight to a lane that has room,
 * or into the backlog. */
#include "dispatch/submission.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "dispatch/again.h"
#include "dispatch/lost.h"
#include "dispatch/prepare.h"
#include "dispatch/settle.h"
#include "dispatch/transfer.h"
#include "dispatch/waiting.h"

/* A submission on its way. */
typedef struct passage {
    clattn_dispatcher *dispatcher;
    const clattn_submission *submission;
    clattn_event *event;
    clattn__wait_list more;
    uint64_t sequence; /* see clattn__prepare */
} passage;

/* The sequence of all passes of all layers. A caller's of this id keeps order with them. */
#define LAYERS UINT64_MAX

/* ---- the wait list --------------------------------------------------------------------------- */

/* Events to wait for: of the same context, and not failed already. */
static clattn_status check_wait(const passage *way)
{
    for (uint32_t i = 0; i < way->submission->wait_count; i++) {
        const clattn_event *other = way->submission->wait[i];
        if (!other)
            return clattn__fail(CLATTN_ERR_ARGUMENT, "wait[%" PRIu32 "]: is NULL", i);
        if (other->dispatcher->context != way->dispatcher->context)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "wait[%" PRIu32 "]: the event belongs to another context", i);
        const clattn_status status = (clattn_status)atomic_load(&other->status);
        if (status < 0)
            return clattn__fail(status, "wait[%" PRIu32 "]: has failed: %s", i, other->message);
    }
    return CLATTN_OK;
}

/* Has `event` told when `other` is launched, unless it is already: *told (out). */
static clattn_status watch(clattn_event *event, clattn_event *other, bool *told)
{
    clattn_dispatcher *dispatcher = other->dispatcher;
    const clattn__env *env = &dispatcher->context->env;
    const bool stranger = event->dispatcher != dispatcher;
    clattn_status status = CLATTN_OK;
    clattn__mutex_lock(&dispatcher->lock);
    if (stranger)
        atomic_store(&other->foreign, true);
    if (atomic_load(&other->status) == CLATTN_PENDING &&
        (dispatcher->distant || !atomic_load(&other->launched))) {
        if (stranger)
            status = clattn__keep_reserve(env, &dispatcher->notices, dispatcher->strangers + 1);
        if (status == CLATTN_OK && stranger && dispatcher->distant) {
            status = clattn__dispatcher_start(dispatcher); /* somebody has to see it end */
            clattn__cond_broadcast(&dispatcher->wake);
        }
        if (status == CLATTN_OK)
            status = clattn__keep_add(env, &other->watchers, event);
        if (status == CLATTN_OK) {
            dispatcher->strangers += stranger;
            atomic_fetch_add(&event->references, 1);
            *told = true;
        }
    }
    clattn__mutex_unlock(&dispatcher->lock);
    return status;
}

/* Blocks until `other` is launched: a dispatcher that holds nothing back has no other way. */
static void wait_for_launch(clattn_event *other)
{
    clattn_dispatcher *dispatcher = other->dispatcher;
    clattn__mutex_lock(&dispatcher->lock);
    atomic_store(&other->foreign, true);
    while (atomic_load(&other->status) == CLATTN_PENDING && !atomic_load(&other->launched))
        clattn__cond_wait(&dispatcher->changed, &dispatcher->lock);
    clattn__mutex_unlock(&dispatcher->lock);
    if (dispatcher->distant)
        (void)clattn__event_wait(other, UINT64_MAX);
}

/* On another device, and on a dispatcher without a thread that would see it end. */
static bool must_be_waited_for(const clattn_dispatcher *dispatcher, const clattn_event *other)
{
    return dispatcher->distant && other->dispatcher->direct;
}

/* Takes references to the events of the wait list, and waits or watches for their launches. All of
 * them count as not launched until the last is looked at: those of other dispatchers may be told of
 * meanwhile, and the number is guarded by the lock of the event's own. */
static clattn_status enter_waits(const passage *way)
{
    const uint32_t count = way->submission->wait_count;
    uint32_t launched = 0;
    clattn_dispatcher *dispatcher = way->dispatcher;
    const clattn__env *env = &dispatcher->context->env;
    clattn_event *event = way->event;
    if (count == 0)
        return CLATTN_OK;
    CLATTN__TRY(clattn__keep_reserve(env, &event->waits, count));
    clattn__mutex_lock(&dispatcher->lock);
    const clattn_status status =
        clattn__keep_reserve(env, &dispatcher->leftover, dispatcher->abroad + count);
    for (uint32_t i = 0; status == CLATTN_OK && i < count; i++) {
        clattn_event *other = way->submission->wait[i];
        atomic_fetch_add(&other->references, 1);
        event->waits.item[event->waits.count++] = other;
        dispatcher->abroad += other->dispatcher != dispatcher;
    }
    event->job.waits = event->waits.count;
    clattn__mutex_unlock(&dispatcher->lock);
    for (uint32_t i = 0; i < event->waits.count; i++) {
        bool told = false;
        if (dispatcher->direct || must_be_waited_for(dispatcher, event->waits.item[i]))
            wait_for_launch(event->waits.item[i]);
        else
            CLATTN__TRY(watch(event, event->waits.item[i], &told));
        launched += !told;
    }
    clattn__mutex_lock(&dispatcher->lock);
    event->job.waits -= launched;
    clattn__mutex_unlock(&dispatcher->lock);
    return status;
}

/* ---- room ------------------------------------------------------------------------------------ */

static bool is_full(const clattn_dispatcher *dispatcher)
{
    return clattn__backlog_count(&dispatcher->backlog) + dispatcher->admitted >= dispatcher->limit;
}

static uint64_t until(uint64_t now, uint64_t ns)
{
    return ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
}

/* Waits until something of what is unfinished ends; the lock is given away meanwhile. */
static void wait_for_change(clattn_dispatcher *dispatcher, uint64_t end)
{
    const uint64_t soon = clattn__now_ns() + 1000000; /* nobody may be watching the device */
    clattn__cond_wait_until(&dispatcher->changed, &dispatcher->lock, soon < end ? soon : end);
    clattn__reap(dispatcher);
}

static clattn_status admit(const passage *way)
{
    clattn_dispatcher *dispatcher = way->dispatcher;
    const uint64_t busy_ns = way->submission->busy_ns;
    const uint64_t end = is_full(dispatcher) && busy_ns ? until(clattn__now_ns(), busy_ns) : 0;
    while (is_full(dispatcher)) {
        if (end == 0 || clattn__now_ns() >= end) {
            dispatcher->done.refused++;
            return clattn__fail(CLATTN_ERR_BUSY,
                                "the dispatcher has %" PRIu32 " unfinished submissions, as many "
                                "as its options allow",
                                dispatcher->limit);
        }
        wait_for_change(dispatcher, end);
    }
    dispatcher->admitted++;
    return CLATTN_OK;
}

/* ---- on its way ------------------------------------------------------------------------------ */

/* What depends on when it came. */
static void enter(const passage *way)
{
    clattn_dispatcher *dispatcher = way->dispatcher;
    const clattn_submission *submission = way->submission;
    clattn_event *event = way->event;
    const uint32_t unfinished = clattn__backlog_count(&dispatcher->backlog);
    event->submitted = clattn__now_ns();
    event->job.order = ++dispatcher->submitted;
    event->expires =
        submission->deadline_ns ? until(event->submitted, submission->deadline_ns) : UINT64_MAX;
    clattn__backlog_arrived(&dispatcher->backlog, &event->job, event->submitted);
    if (unfinished >= dispatcher->done.most_unfinished)
        dispatcher->done.most_unfinished = unfinished + 1;
    clattn__job_due(&event->job, event->submitted, submission->priority, event->expires);
    clattn__transfer_estimate(event);
    dispatcher->done.submissions++;
}

/* The lane that it may go to at once, -1: none. */
static int32_t open_lane(const passage *way)
{
    clattn_dispatcher *dispatcher = way->dispatcher;
    clattn_event *event = way->event;
    if (dispatcher->direct) {
        event->job.lane = 0;
        return 0;
    }
    if (atomic_load(&event->doom) != CLATTN_OK) /* what it waits for has failed meanwhile */
        return -1;
    const int32_t lane = clattn__backlog_pass(&dispatcher->backlog, &event->job, event->submitted);
    if (lane >= 0 && dispatcher->distant &&
        clattn__transfer_conflicts(&dispatcher->lane[lane], event))
        return -1;
    if (lane >= 0 && event->entry_count &&
        clattn__backlog_portion(&dispatcher->backlog, (uint32_t)lane, event->job.work,
                                event->submitted) < event->job.work)
        return -1;
    return lane;
}

static clattn_status hold_back(const passage *way)
{
    clattn_dispatcher *dispatcher = way->dispatcher;
    CLATTN__TRY(clattn__event_copy_arrays(way->event));
    CLATTN__TRY(clattn__dispatcher_start(dispatcher));
    atomic_fetch_add(&way->event->references, 1);
    clattn__backlog_add(&dispatcher->backlog, &way->event->job);
    clattn__drop_expired(dispatcher, way->event->submitted); /* and what is condemned */
    bool fed = false;
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++)
        fed = clattn__lane_feed(&dispatcher->lane[i]) || fed;
    if (fed || dispatcher->backlog.waiting.count) /* somebody may have to watch what flies now */
        clattn__cond_broadcast(&dispatcher->wake);
    return CLATTN_OK;
}

/* The lane didn't take it at all: does another one? */
static clattn_status try_elsewhere(const passage *way, uint32_t index, clattn_status status)
{
    clattn_dispatcher *dispatcher = way->dispatcher;
    clattn_event *event = way->event;
    char sentence[256];
    snprintf(sentence, sizeof sentence, "%s", clattn__message());
    clattn__lane_examine(&dispatcher->lane[index]);
    clattn__transfer_failed(&dispatcher->lane[index], event);
    if (dispatcher->distant)
        clattn__transfer_forget(event);
    event->job.barred |= (uint32_t)1 << index;
    if (dispatcher->direct || !clattn__backlog_has_lane(&dispatcher->backlog, &event->job)) {
        clattn__bury_lanes(dispatcher);
        return clattn__fail(status, "%s", sentence);
    }
    event->failed_on = (int32_t)index;
    event->moves = 1;
    atomic_store(&event->refused, CLATTN_OK);
    event->message[0] = 0;
    clattn__event_drop_commands(event);
    dispatcher->done.moved++;
    clattn__bury_lanes(dispatcher);
    return hold_back(way);
}

static clattn_status launch_now(const passage *way, uint32_t index)
{
    clattn_dispatcher *dispatcher = way->dispatcher;
    clattn__lane *lane = &dispatcher->lane[index];
    clattn_event *event = way->event;
    const double work = event->job.work;
    clattn__enqueued what;
    clattn_status status = CLATTN_OK;
    if (clattn__dispatcher_repeats(dispatcher)) /* the caller's arrays may be gone then */
        CLATTN__TRY(clattn__event_copy_arrays(event));
    status = clattn__lane_launch(lane, &event, 1, way->more, &what);
    if (status == CLATTN_OK && !what.last) /* all of it was refused: nothing was done */
        status = clattn__fail((clattn_status)atomic_load(&event->refused), "%s", event->message);
    if (status != CLATTN_OK)
        return try_elsewhere(way, index, status);
    atomic_fetch_add(&event->references, 1);
    event->begun = true;
    event->launched_at = event->submitted;
    clattn__backlog_passed(&dispatcher->backlog, &event->job, index);
    event->brief = clattn__lane_is_brief(lane);
    atomic_store(&event->launched, true);
    clattn__lane_flies(lane, &what, work, 0, 1);
    return CLATTN_OK;
}

static clattn_status go(const passage *way)
{
    clattn_dispatcher *dispatcher = way->dispatcher;
    dispatcher->admitted--;
    if (!dispatcher->direct && !clattn__backlog_has_lane(&dispatcher->backlog, &way->event->job))
        return clattn__fail(CLATTN_ERR_DEVICE_LOST,
                            "the devices that have a plan for it are lost; see clattn_explain");
    enter(way);
    clattn_status status = CLATTN_OK;
    if (!dispatcher->direct && way->event->waits.count) /* what has begun again meanwhile */
        status = clattn__watch_moved(way->event);
    if (status == CLATTN_OK) {
        const int32_t lane = open_lane(way);
        status = lane >= 0 ? launch_now(way, (uint32_t)lane) : hold_back(way);
    }
    if (status != CLATTN_OK)
        dispatcher->done.submissions--; /* OpenCL has refused it */
    return status;
}

static clattn_status begin(passage *way)
{
    clattn_dispatcher *dispatcher = way->dispatcher;
    clattn__mutex_lock(&dispatcher->lock);
    clattn__reap(dispatcher);
    clattn_status status = clattn__check_lanes(dispatcher);
    if (status == CLATTN_OK)
        status = admit(way);
    if (status == CLATTN_OK) {
        status = clattn__dispatcher_take_event(dispatcher, &way->event);
        dispatcher->admitted -= status != CLATTN_OK;
    }
    clattn__dispatcher_leave(dispatcher);
    return status;
}

/* With the lock held: nothing came of it. */
static void give_back(const passage *way)
{
    clattn_event *event = way->event;
    clattn_dispatcher *dispatcher = way->dispatcher;
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
    clattn__event_unref_locked(event);
}

static clattn_status submit(passage way, clattn_event **event)
{
    clattn_dispatcher *dispatcher = way.dispatcher;
    const clattn_submission *submission = way.submission;
    CLATTN__TRY(clattn__submission_check(submission));
    if (dispatcher->direct && submission->deadline_ns)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "submission: deadline_ns: what goes straight "
                                                    "to the caller's queue has none");
    CLATTN__TRY(check_wait(&way));
    CLATTN__TRY(begin(&way));
    clattn_status status = clattn__prepare(way.event, submission, way.sequence);
    if (status == CLATTN_OK)
        status = enter_waits(&way);
    if (status == CLATTN_OK)
        status = check_wait(&way); /* what failed while it was waited for */
    clattn__mutex_lock(&dispatcher->lock);
    if (status == CLATTN_OK)
        status = go(&way);
    else
        dispatcher->admitted--;
    if (status != CLATTN_OK)
        give_back(&way);
    else if (event)
        *event = way.event;
    else
        clattn__event_unref_locked(way.event);
    clattn__dispatcher_leave(dispatcher);
    return status;
}

clattn_status clattn__submit(clattn_dispatcher *dispatcher, const clattn_submission *submission,
                             clattn__wait_list more, clattn_event **event)
{
    return submit((passage){.dispatcher = dispatcher, .submission = submission, .more = more},
                  event);
}

clattn_status clattn__submit_layer(clattn_dispatcher *dispatcher,
                                   const clattn_submission *submission, clattn_event **event)
{
    return submit((passage){.dispatcher = dispatcher, .submission = submission, .sequence = LAYERS},
                  event);
}

clattn_status clattn__cancel(clattn_event *event)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    clattn_status status = CLATTN_OK;
    clattn__mutex_lock(&dispatcher->lock);
    if (event->begun || event->ran || atomic_load(&event->status) != CLATTN_PENDING) {
        status = clattn__fail(CLATTN_ERR_BUSY, "event: has begun, or is done");
    } else {
        clattn__fail(CLATTN_ERR_CANCELLED, "cancelled before it began");
        clattn__settle_waiting(dispatcher, event, CLATTN_ERR_CANCELLED);
        clattn__settle_condemned(dispatcher);
        clattn__cond_broadcast(&dispatcher->changed);
    }
    clattn__dispatcher_leave(dispatcher);
    return status;
}
