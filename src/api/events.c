/* Events: the public functions. */
#include <inttypes.h>
#include <stdio.h>

#include "api/check.h"
#include "base/clock.h"
#include "dispatch/submission.h"
#include "dispatch/waiting.h"

static clattn_status check_event(const clattn_event *event)
{
    CLATTN__TRY(clattn__require(event, "event"));
    return clattn__context_check(event->dispatcher->context);
}

static clattn_status check_events(clattn_event *const *events, uint32_t count)
{
    if (count && !events)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "events: is NULL");
    for (uint32_t i = 0; i < count; i++) {
        if (!events[i])
            return clattn__fail(CLATTN_ERR_ARGUMENT, "events[%" PRIu32 "]: is NULL", i);
        CLATTN__TRY(check_event(events[i]));
    }
    return CLATTN_OK;
}

clattn_status clattn_event_poll(clattn_event *event)
{
    CLATTN__TRY(check_event(event));
    return clattn__event_poll(event);
}

clattn_status clattn_event_wait(clattn_event *event, uint64_t timeout_ns)
{
    CLATTN__TRY(check_event(event));
    return clattn__event_wait(event, timeout_ns);
}

clattn_status clattn_event_wait_all(clattn_event *const *events, uint32_t count,
                                    uint64_t timeout_ns)
{
    const uint64_t start = clattn__now_ns();
    clattn_status first = CLATTN_OK;
    char message[256] = "";
    CLATTN__TRY(check_events(events, count));
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t passed = clattn__now_ns() - start;
        uint64_t left = timeout_ns;
        if (timeout_ns != UINT64_MAX)
            left = passed < timeout_ns ? timeout_ns - passed : 0;
        clattn_status status = clattn__event_wait(events[i], left);
        if (status == CLATTN_ERR_TIMEOUT) /* of the wait, or its own: a deadline */
            status = clattn__event_poll(events[i]);
        if (status == CLATTN_PENDING)
            return clattn__fail(CLATTN_ERR_TIMEOUT,
                                "events[%" PRIu32 "]: not done after %" PRIu64 " ns", i,
                                timeout_ns);
        if (status < 0 && first == CLATTN_OK) {
            first = status;
            snprintf(message, sizeof message, "%s", clattn__message());
        }
    }
    return first == CLATTN_OK ? first : clattn__fail(first, "%s", message);
}

clattn_status clattn_event_wait_any(clattn_event *const *events, uint32_t count,
                                    uint64_t timeout_ns, uint32_t *index)
{
    CLATTN__TRY(check_events(events, count));
    CLATTN__TRY(clattn__require(index, "index"));
    if (count == 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "count: is 0; there is nothing to wait for");
    return clattn__event_wait_any(events, count, timeout_ns, index);
}

const char *clattn_event_message(clattn_event *event)
{
    if (!event)
        return "event: is NULL";
    return atomic_load(&event->status) < 0 ? event->message : "";
}

clattn_status clattn_event_cancel(clattn_event *event)
{
    CLATTN__TRY(check_event(event));
    return clattn__cancel(event);
}

clattn_status clattn_event_set_callback(clattn_event *event, clattn_event_fn function, void *user)
{
    CLATTN__TRY(check_event(event));
    if (!function)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "function: is NULL");
    return clattn__event_set_callback(event, function, user);
}

clattn_status clattn_event_get_profile(clattn_event *event, clattn_event_profile *profile)
{
    clattn_event_profile made;
    CLATTN__TRY(check_event(event));
    CLATTN__TRY(clattn__require(profile, "profile"));
    CLATTN__TRY(clattn__event_profile(event, &made));
    return clattn__struct_copy(profile, &made, sizeof made, "profile");
}

void clattn_event_release(clattn_event *event)
{
    if (event && check_event(event) == CLATTN_OK)
        clattn__event_unref(event);
}
