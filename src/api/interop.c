/* The functions of clattn/opencl.h: the caller's own OpenCL objects. */
#include <clattn/opencl.h>

#include "api/buffers.h"
#include "api/check.h"
#include "api/contexts.h"
#include "dispatch/dispatcher.h"

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
    CLATTN__TRY(clattn__memory_wrap_cl(context->device, memory, &wrapped));
    return clattn__buffer_make(context, wrapped, NULL, buffer);
}

clattn_status clattn_dispatcher_create_from_cl(clattn_context *context, cl_command_queue queue,
                                               clattn_dispatcher **dispatcher)
{
    clattn__queue *wrapped;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require(queue, "queue"));
    CLATTN__TRY(clattn__require((const void *)dispatcher, "dispatcher"));
    CLATTN__TRY(clattn__queue_from_cl(context->device, queue, &wrapped));
    const clattn_status status = clattn__dispatcher_create(context, wrapped, 0, dispatcher);
    if (status != CLATTN_OK)
        clattn__queue_destroy(wrapped);
    return status;
}

clattn_status clattn_event_get_cl(clattn_event *event, cl_event *cl)
{
    CLATTN__TRY(clattn__require(event, "event"));
    CLATTN__TRY(clattn__require((const void *)cl, "cl"));
    CLATTN__TRY(clattn__context_check(event->dispatcher->context));
    *cl = clattn__event_last(event);
    clattn__event_retain_cl(event->dispatcher->context->device, *cl);
    return CLATTN_OK;
}
