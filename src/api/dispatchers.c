/* Dispatchers and submissions: the public functions. */
#include <inttypes.h>

#include "api/check.h"
#include "base/file.h"
#include "base/unknown.h"
#include "dispatch/settle.h"
#include "dispatch/submission.h"

/* A trace is at most this many launches. */
#define MOST_TRACE (1u << 24)

static clattn_status check_options(const clattn_dispatcher_options *options, uint32_t most_lanes)
{
    CLATTN__TRY(
        clattn__check_known(options, sizeof *options, "options", "clattn_dispatcher_options_init"));
    if (options->reserved != 0 || options->direct > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "options: direct is %" PRIu32 " and reserved %" PRIu32
                            ", must be 0 or 1, and 0",
                            options->direct, options->reserved);
    if (options->direct && options->lanes > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "options: direct is for one lane");
    if (options->lanes > most_lanes)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "options: %" PRIu32 " lanes, but the context has %" PRIu32
                            " devices or parts of one; see clattn_context_options.parts",
                            options->lanes, most_lanes);
    if (options->trace_size > MOST_TRACE)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "options: trace_size is %" PRIu32 ", more than %u",
                            options->trace_size, MOST_TRACE);
    return CLATTN_OK;
}

clattn_status clattn_dispatcher_create(clattn_context *context,
                                       const clattn_dispatcher_options *options,
                                       clattn_dispatcher **dispatcher)
{
    clattn__dispatcher_settings settings = {.lanes = 1};
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)dispatcher, "dispatcher"));
    settings.lanes = clattn__context_device_count(context);
    if (clattn__device_parts(context->device))
        settings.lanes = clattn__device_parts(context->device);
    if (options) {
        CLATTN__TRY(check_options(options, settings.lanes));
        settings.lanes = options->lanes ? options->lanes : settings.lanes;
        settings.direct = options->direct == 1;
        if (settings.direct)
            settings.lanes = 1;
        settings.workspace = options->workspace;
        settings.limit = options->queue_limit;
        settings.launch_ns = options->launch_ns;
        settings.trace_size = options->trace_size;
    }
    return clattn__dispatcher_create(context, &settings, dispatcher);
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
    return clattn__submit(dispatcher, submission, (clattn__wait_list){0}, event);
}

static void gather(clattn_dispatcher *dispatcher, clattn_dispatcher_statistics *made)
{
    clattn__mutex_lock(&dispatcher->lock);
    clattn__reap(dispatcher);
    *made = dispatcher->done;
    made->lanes = dispatcher->backlog.lane_count;
    made->waiting = dispatcher->backlog.waiting.count;
    made->steals = dispatcher->backlog.steals;
    for (uint32_t i = 0; i < made->lanes; i++) {
        made->lane[i] = dispatcher->lane[i].done;
        made->lane[i].speed = dispatcher->backlog.lane[i].speed;
        made->lane[i].in_flight = dispatcher->backlog.flying[i].count;
    }
    clattn__dispatcher_leave(dispatcher);
}

clattn_status clattn_dispatcher_get_statistics(clattn_dispatcher *dispatcher,
                                               clattn_dispatcher_statistics *statistics)
{
    clattn_dispatcher_statistics made;
    CLATTN__TRY(clattn__dispatcher_check(dispatcher));
    CLATTN__TRY(clattn__require(statistics, "statistics"));
    gather(dispatcher, &made);
    return clattn__struct_copy(statistics, &made, sizeof made, "statistics");
}

clattn_status clattn_dispatcher_write_trace(clattn_dispatcher *dispatcher, const char *path)
{
    clattn__text text;
    CLATTN__TRY(clattn__dispatcher_check(dispatcher));
    CLATTN__TRY(clattn__require(path, "path"));
    const clattn__env *env = &dispatcher->context->env;
    clattn__text_init(&text, env);
    clattn__mutex_lock(&dispatcher->lock);
    clattn__reap(dispatcher);
    const bool traced = dispatcher->trace.capacity > 0;
    clattn__trace_write(&dispatcher->trace, &text);
    clattn__dispatcher_leave(dispatcher);
    clattn_status status = clattn__text_status(&text);
    if (!traced)
        status = clattn__fail(CLATTN_ERR_UNSUPPORTED,
                              "dispatcher: was created without options.trace_size");
    if (status == CLATTN_OK)
        status = clattn__file_write_atomic(env, path, clattn__text_get(&text), text.size);
    clattn__text_finish(&text);
    return status;
}
