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

clattn_status clattn__event_poll(clattn_event *event)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    if (atomic_load(&event->status) == CLATTN_PENDING) {
        clattn__mutex_lock(&dispatcher->lock);
        clattn__reap(dispatcher);
        clattn__dispatcher_leave(dispatcher);
    }
    return result_of(event);
}

static uint64_t end_of(uint64_t timeout_ns)
{
    const uint64_t now = clattn__now_ns();
    return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}

static bool is_held(const clattn_event *event)
{
    return atomic_load(&event->status) == CLATTN_PENDING && !atomic_load(&event->launched);
}

/* Until it is launched or done; false: not in time. */
static bool wait_while_held(clattn_event *event, uint64_t end)
{
    clattn_dispatcher *dispatcher = event->dispatcher;
    clattn__mutex_lock(&dispatcher->lock);
    while (is_held(event) && (end == UINT64_MAX || clattn__now_ns() < end)) {
        if (end == UINT64_MAX)
            clattn__cond_wait(&dispatcher->changed, &dispatcher->lock);
        else
            clattn__cond_wait_until(&dispatcher->changed, &dispatcher->lock, end);
    }
    clattn__mutex_unlock(&dispatcher->lock);
    return !is_held(event);
}

clattn_status clattn__event_wait(clattn_event *event, uint64_t timeout_ns)
{
    clattn_status status = result_of(event);
    if (status != CLATTN_PENDING)
        return status;
    uint64_t left = timeout_ns;
    if (is_held(event)) {
        const uint64_t end = end_of(timeout_ns);
        if (!wait_while_held(event, end))
            return clattn__fail(CLATTN_ERR_TIMEOUT, "not done after %" PRIu64 " ns", timeout_ns);
        const uint64_t now = clattn__now_ns();
        left = end == UINT64_MAX ? UINT64_MAX : end > now ? end - now : 0;
    }
    if (!atomic_load(&event->launched)) /* done without */
        return result_of(event);
    status =
        clattn__event_wait_cl(event->dispatcher->context->device, clattn__event_last(event), left);
    if (status == CLATTN_ERR_TIMEOUT)
        return status;
    /* Earlier submissions of the lane are done by now, or about to be. */
    while ((status = clattn__event_poll(event)) == CLATTN_PENDING)
        clattn__sleep_ns(10000);
    return status;
}

clattn_status clattn__event_wait_any(clattn_event *const *events, uint32_t count,
                                     uint64_t timeout_ns, uint32_t *index)
{
    const uint64_t end = end_of(timeout_ns);
    uint64_t pause = 20000;
    for (;;) {
        for (uint32_t i = 0; i < count; i++) {
            const clattn_status status = clattn__event_poll(events[i]);
            if (status == CLATTN_PENDING)
                continue;
            *index = i;
            return status;
        }
        const uint64_t now = clattn__now_ns();
        if (now >= end)
            return clattn__fail(CLATTN_ERR_TIMEOUT, "none is done after %" PRIu64 " ns",
                                timeout_ns);
        clattn__sleep_ns(pause < end - now ? pause : end - now);
        pause = pause < 1000000 ? pause * 2 : pause;
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
