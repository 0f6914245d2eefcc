/* The functions of clattn/opencl.h: the caller's own OpenCL objects. */
#include <clattn/opencl.h>

#include "api/buffers.h"
#include "api/check.h"
#include "api/contexts.h"
#include "dispatch/submission.h"
#include "dispatch/waiting.h"

clattn_status clattn_context_create_from_cl(cl_context cl, cl_device_id device,
                                            const clattn_context_options *options,
                                            clattn_context **context)
{
    clattn_context *made;
    CLATTN__TRY(clattn__require(cl, "cl"));
    CLATTN__TRY(clattn__require(device, "device"));
    CLATTN__TRY(clattn__require((const void *)context, "context"));
    CLATTN__TRY(clattn__context_begin(options, &made));
    const clattn_status opened = clattn__device_open_from_cl(&made->env, cl, device, &made->device);
    return clattn__context_complete(made, opened, context);
}

clattn_status clattn_buffer_wrap_cl(clattn_context *context, cl_mem memory, clattn_buffer **buffer)
{
    clattn__memory *wrapped;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require(memory, "memory"));
    CLATTN__TRY(clattn__require((const void *)buffer, "buffer"));
    if (clattn__device_has_peers(context->device))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "memory: the context has several devices, and a cl_mem is of one");
    CLATTN__TRY(clattn__memory_wrap_cl(context->device, memory, &wrapped));
    return clattn__buffer_make(context, wrapped, NULL, buffer);
}

clattn_status clattn_buffer_wrap_svm(clattn_context *context, void *svm, uint64_t size,
                                     clattn_buffer **buffer)
{
    clattn__memory *wrapped;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require(svm, "svm"));
    CLATTN__TRY(clattn__require((const void *)buffer, "buffer"));
    if (size == 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "size: is 0, must be at least 1 byte");
    if (clattn__device_has_peers(context->device))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "svm: the context has several devices, and "
                                                    "shared virtual memory is of one cl_context");
    CLATTN__TRY(clattn__memory_wrap_svm(context->device, svm, size, &wrapped));
    return clattn__buffer_make(context, wrapped, svm, buffer);
}

clattn_status clattn_dispatcher_create_from_cl(clattn_context *context, cl_command_queue queue,
                                               clattn_dispatcher **dispatcher)
{
    clattn__queue *wrapped;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require(queue, "queue"));
    CLATTN__TRY(clattn__require((const void *)dispatcher, "dispatcher"));
    CLATTN__TRY(clattn__queue_from_cl(context->device, queue, &wrapped));
    const clattn__dispatcher_settings settings = {
        .lanes = 1, .direct = true, .queue = wrapped, .limit = UINT32_MAX};
    const clattn_status status = clattn__dispatcher_create(context, &settings, dispatcher);
    if (status != CLATTN_OK)
        clattn__queue_destroy(wrapped);
    return status;
}

clattn_status clattn_event_get_cl(clattn_event *event, cl_event *cl)
{
    CLATTN__TRY(clattn__require(event, "event"));
    CLATTN__TRY(clattn__require((const void *)cl, "cl"));
    CLATTN__TRY(clattn__context_check(event->dispatcher->context));
    return clattn__event_take_cl(event, cl);
}

static clattn_status check_wait(uint32_t wait_count, const cl_event *wait)
{
    if (wait_count && !wait)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "wait: is NULL");
    for (uint32_t i = 0; i < wait_count; i++)
        if (!wait[i])
            return clattn__fail(CLATTN_ERR_ARGUMENT, "wait[%u]: is NULL", (unsigned)i);
    return CLATTN_OK;
}

clattn_status clattn_submit_cl(clattn_dispatcher *dispatcher, const clattn_submission *submission,
                               uint32_t wait_count, const cl_event *wait, cl_event *done,
                               clattn_event **event)
{
    clattn_event *made;
    CLATTN__TRY(clattn__dispatcher_check(dispatcher));
    CLATTN__TRY(check_wait(wait_count, wait));
    if (!dispatcher->direct)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "dispatcher: has a queue of its own; this function is for those of "
                            "clattn_dispatcher_create_from_cl");
    CLATTN__TRY(
        clattn__submit(dispatcher, submission, (clattn__wait_list){wait, wait_count}, &made));
    clattn_status status = (clattn_status)atomic_load(&made->refused);
    if (status != CLATTN_OK)
        clattn__fail(status, "%s", made->message);
    else if (done)
        status = clattn_event_get_cl(made, done);
    if (status != CLATTN_OK) {
        clattn_event_release(made);
        return status;
    }
    if (event)
        *event = made;
    else
        clattn_event_release(made);
    return CLATTN_OK;
}
