/* Dispatchers, submissions and events: the public functions. */
#include <inttypes.h>

#include "api/check.h"
#include "base/clock.h"
#include "base/unknown.h"
#include "dispatch/submission.h"

static clattn_status check_options(const clattn_dispatcher_options *options)
{
    if (!options)
        return CLATTN_OK;
    if (options->struct_size < sizeof *options || options->struct_size > 65536)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "options: struct_size is %" PRIu32
                            "; use clattn_dispatcher_options_init",
                            options->struct_size);
    if (!clattn__unknown_is_zero(options, sizeof *options, options->struct_size))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "options: has fields that version %s does not know",
                            clattn_version_string());
    if (options->lanes > 1)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "options: %" PRIu32 " lanes; this version has one", options->lanes);
    return CLATTN_OK;
}

clattn_status clattn_dispatcher_create(clattn_context *context,
                                       const clattn_dispatcher_options *options,
                                       clattn_dispatcher **dispatcher)
{
    clattn__queue *queue;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)dispatcher, "dispatcher"));
    CLATTN__TRY(check_options(options));
    CLATTN__TRY(clattn__queue_create(context->device, &queue));
    const clattn_status status =
        clattn__dispatcher_create(context, queue, options ? options->workspace : 0, dispatcher);
    if (status != CLATTN_OK)
        clattn__queue_destroy(queue);
    return status;
}

void clattn_dispatcher_destroy(clattn_dispatcher *dispatcher)
{
    if (dispatcher && clattn__dispatcher_check(dispatcher) == CLATTN_OK)
        clattn__dispatcher_close(dispatcher);
}

clattn_status clattn_dispatcher_finish(clattn_dispatcher *dispatcher)
{
    CLATTN__TRY(clattn__dispatcher_check(dispatcher));
    return clattn__dispatcher_finish(dispatcher);
}

clattn_status clattn_submit(clattn_dispatcher *dispatcher, const clattn_submission *submission,
                            clattn_event **event)
{
    CLATTN__TRY(clattn__dispatcher_check(dispatcher));
    return clattn__submit(dispatcher, submission, event);
}

static clattn_status check_event(const clattn_event *event)
{
    CLATTN__TRY(clattn__require(event, "event"));
    return clattn__context_check(event->dispatcher->context);
}

/* The status so far; a failure's sentence becomes the calling thread's. */
static clattn_status result_of(const clattn_event *event)
{
    const clattn_status status = (clattn_status)atomic_load(&event->status);
    if (status < 0)
        clattn__fail(status, "%s", event->message);
    return status;
}

clattn_status clattn_event_poll(clattn_event *event)
{
    CLATTN__TRY(check_event(event));
    if (atomic_load(&event->status) == CLATTN_PENDING) {
        clattn__mutex_lock(&event->dispatcher->lock);
        clattn__dispatcher_reap(event->dispatcher);
        clattn__mutex_unlock(&event->dispatcher->lock);
    }
    return result_of(event);
}

clattn_status clattn_event_wait(clattn_event *event, uint64_t timeout_ns)
{
    CLATTN__TRY(check_event(event));
    clattn_status status = result_of(event);
    if (status != CLATTN_PENDING)
        return status;
    status = clattn__event_wait_cl(event->dispatcher->context->device, clattn__event_last(event),
                                   timeout_ns);
    if (status == CLATTN_ERR_TIMEOUT)
        return status;
    /* Earlier submissions of the lane are done by now, or about to be. */
    while ((status = clattn_event_poll(event)) == CLATTN_PENDING)
        clattn__sleep_ns(10000);
    return status;
}

const char *clattn_event_message(clattn_event *event)
{
    if (!event)
        return "event: is NULL";
    return atomic_load(&event->status) < 0 ? event->message : "";
}

void clattn_event_release(clattn_event *event)
{
    if (event && check_event(event) == CLATTN_OK)
        clattn__event_unref(event);
}
