/* Waits in two parts: until a submission is launched, for which its dispatcher tells; and for the
 * device from then on. */
#include "dispatch/waiting.h"

#include <inttypes.h>

#include "base/clock.h"
#include "dispatch/settle.h"

/* The status so far; a failure's sentence becomes the calling thread's. */
static clattn_status result_of(const clattn_event *event)
{
    const clattn_status status = (clattn_status)atomic_load(&event->status);
    if (status < 0)
        clattn__fail(status, "%s", event->message);
    return status;
}

/* With the lock held: an event whose deadline has passed ends when somebody asks; the thread of its
 * lane may be waiting for the device. */
static void expire(const clattn_event *event)
{
    if (event->expires == UINT64_MAX || event->begun)
        return;
    const uint64_t now = clattn__now_ns();
    if (event->expires <= now)
        clattn__drop_expired(event->dispatcher, now);
}

clattn_status clattn__event_poll(clattn_event *event)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    if (atomic_load(&event->status) == CLATTN_PENDING) {
        clattn__mutex_lock(&dispatcher->lock);
        clattn__reap(dispatcher);
        expire(event);
        clattn__dispatcher_leave(dispatcher);
    }
    return result_of(event);
}

uint64_t clattn__wait_end(uint64_t timeout_ns)
{
    const uint64_t now = clattn__now_ns();
    return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}

static clattn_status fail_late(uint64_t timeout_ns)
{
    return clattn__fail(CLATTN_ERR_TIMEOUT, "not done after %" PRIu64 " ns", timeout_ns);
}

static bool is_held(const clattn_event *event)
{
    return atomic_load(&event->status) == CLATTN_PENDING && !atomic_load(&event->launched);
}

/* Until it is launched or done; false: not in time. Seen under the lock: it may begin again, and be
 * held once more, right behind that. */
static bool wait_while_held(clattn_event *event, uint64_t end)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    clattn__mutex_lock(&dispatcher->lock);
    while (is_held(event) && (end == UINT64_MAX || clattn__now_ns() < end)) {
        const uint64_t deadline = event->begun ? UINT64_MAX : event->expires;
        const uint64_t until = deadline < end ? deadline : end;
        if (until == UINT64_MAX)
            clattn__cond_wait(&dispatcher->changed, &dispatcher->lock);
        else
            clattn__cond_wait_until(&dispatcher->changed, &dispatcher->lock, until);
        expire(event);
    }
    const bool held = is_held(event);
    clattn__dispatcher_leave(dispatcher);
    return !held;
}

static uint64_t left_until(uint64_t end)
{
    const uint64_t now = end == UINT64_MAX ? 0 : clattn__now_ns();
    return end == UINT64_MAX ? UINT64_MAX : end > now ? end - now : 0;
}

/* Waits for the device; an event that may begin again elsewhere loses its cl_events then. */
static clattn_status wait_for_device(clattn_event *event, uint64_t end)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    clattn__device *device = dispatcher->context->device;
    if (!clattn__dispatcher_repeats(dispatcher))
        return clattn__event_wait_cl(device, clattn__event_last(event), left_until(end),
                                     event->brief);
    struct _cl_event *last = NULL;
    clattn__mutex_lock(&dispatcher->lock);
    if (atomic_load(&event->launched) && atomic_load(&event->status) == CLATTN_PENDING &&
        clattn__event_retain_cl(device, clattn__event_last(event)) == CLATTN_OK)
        last = clattn__event_last(event);
    const bool brief = event->brief;
    clattn__mutex_unlock(&dispatcher->lock);
    if (!last)
        return CLATTN_PENDING;
    const clattn_status status = clattn__event_wait_cl(device, last, left_until(end), brief);
    clattn__event_release_cl(device, last);
    return status;
}

clattn_status clattn__event_wait(clattn_event *event, uint64_t timeout_ns)
{
    clattn_status status = result_of(event);
    if (status != CLATTN_PENDING)
        return status;
    const uint64_t end = timeout_ns == UINT64_MAX ? UINT64_MAX : clattn__wait_end(timeout_ns);
    for (;;) {
        if (is_held(event) && !wait_while_held(event, end))
            return fail_late(timeout_ns);
        if (atomic_load(&event->launched)) {
            status = wait_for_device(event, end);
            if (status == CLATTN_ERR_TIMEOUT) /* of what was left of the caller's time */
                return fail_late(timeout_ns);
        }
        status = clattn__event_poll(event);
        if (status != CLATTN_PENDING)
            return status;
        if (end != UINT64_MAX && clattn__now_ns() >= end)
            return fail_late(timeout_ns);
        clattn__sleep_ns(10000); /* earlier submissions of the lane are about to be done */
    }
}

static clattn_status add_call(clattn_event *event, clattn_event_fn function, void *user)
{
    if (event->call_count == event->call_capacity) {
        const uint32_t capacity = event->call_capacity ? event->call_capacity * 2 : 2;
        clattn__call *grown =
            clattn__resize(&event->dispatcher->context->env, event->call, capacity * sizeof *grown);
        if (!grown)
            return CLATTN_ERR_OUT_OF_MEMORY;
        event->call = grown;
        event->call_capacity = capacity;
    }
    event->call[event->call_count++] = (clattn__call){function, user};
    return CLATTN_OK;
}

/* With the lock held. Done events go to the thread's list at once; others when they are. */
static clattn_status set_callback(clattn_event *event, clattn_event_fn function, void *user)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    const clattn__env *env = &dispatcher->context->env;
    const bool done = atomic_load(&event->status) != CLATTN_PENDING;
    const bool first = event->call_count == event->called;
    CLATTN__TRY(clattn__keep_reserve(env, &dispatcher->calls, dispatcher->watched + 1));
    if (dispatcher->lane[0].queue)
        CLATTN__TRY(clattn__dispatcher_start(dispatcher));
    if (!dispatcher->lane[0].has_thread || dispatcher->closing)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "event: its dispatcher is destroyed, and with it the thread that "
                            "callbacks are called on");
    CLATTN__TRY(add_call(event, function, user));
    if (done && first) {
        atomic_fetch_add(&event->references, 1);
        dispatcher->calls.item[dispatcher->calls.count++] = event;
    }
    dispatcher->watched += !done && first;
    clattn__cond_broadcast(&dispatcher->wake);
    return CLATTN_OK;
}

clattn_status clattn__event_set_callback(clattn_event *event, clattn_event_fn function, void *user)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    if (dispatcher->direct)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "event: the dispatcher has no thread; use clSetEventCallback with "
                            "clattn_event_get_cl");
    clattn__mutex_lock(&dispatcher->lock);
    clattn__reap(dispatcher);
    const clattn_status status = set_callback(event, function, user);
    clattn__dispatcher_leave(dispatcher);
    return status;
}

clattn_status clattn__event_take_cl(clattn_event *event, struct _cl_event **cl)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    clattn_status status = CLATTN_ERR_BUSY;
    clattn__mutex_lock(&dispatcher->lock);
    if (atomic_load(&event->launched)) {
        atomic_store(&event->foreign, true);
        status = clattn__event_retain_cl(dispatcher->context->device, clattn__event_last(event));
        if (status == CLATTN_OK)
            *cl = clattn__event_last(event);
    } else {
        clattn__fail(status, "event: is held back, or never was launched, and has no cl_event");
    }
    clattn__mutex_unlock(&dispatcher->lock);
    return status;
}

clattn_status clattn__event_profile(clattn_event *event, clattn_event_profile *profile)
{
    clattn__device *device = event->dispatcher->context->device;
    clattn__times first = {0}, times = {0};
    const clattn_status status = clattn__event_poll(event);
    if (status == CLATTN_PENDING)
        return clattn__fail(CLATTN_ERR_BUSY, "event: is not done yet");
    if (!atomic_load(&event->launched))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "event: was never launched");
    *profile = (clattn_event_profile){.held_ns = event->launched_at - event->submitted,
                                      .launches = event->commands.count};
    for (uint32_t i = 0; i < event->commands.count; i++) {
        if (!clattn__event_times_cl(device, event->commands.item[i], &times))
            return clattn__fail(CLATTN_ERR_UNSUPPORTED, "event: its queue keeps no times");
        first = i == 0 ? times : first;
        profile->device_ns += times.ended - times.began;
    }
    profile->queued_ns = first.began > first.queued ? first.began - first.queued : 0;
    profile->ran_ns = times.ended > first.began ? times.ended - first.began : 0;
    return CLATTN_OK;
}
