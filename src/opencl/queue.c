/* Launches on a command queue, and waiting for events. */
#include "opencl/queue.h"

#include <inttypes.h>

#include "base/clock.h"
#include "opencl/program_private.h"

struct clattn__queue {
    clattn__device *device; /* borrowed */
    cl_command_queue cl;    /* a reference */
    bool out_of_order;
    cl_event last; /* a reference; of an out-of-order queue: what the next launch waits for */
};

static clattn_status begin(clattn__device *device, clattn__queue **queue)
{
    clattn__queue *made = clattn__alloc_array(device->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    made->device = device;
    *queue = made;
    return CLATTN_OK;
}

static clattn_status create(clattn__device *device, cl_device_id id,
                            cl_command_queue_properties properties, clattn__queue **queue)
{
    clattn__queue *made;
    cl_int error;
    CLATTN__TRY(begin(device, &made));
    made->cl = device->cl.clCreateCommandQueue(device->context, id, properties, &error);
    if (!made->cl) {
        clattn__free(device->env, made);
        return clattn__cl_fail(error, "clCreateCommandQueue");
    }
    *queue = made;
    return CLATTN_OK;
}

clattn_status clattn__queue_create(clattn__device *device, clattn__queue **queue)
{
    return create(device, device->id, 0, queue);
}

clattn_status clattn__queue_create_lane(clattn__device *device, uint32_t part,
                                        clattn__queue **queue)
{
    return create(device, device->part_count ? device->part[part] : device->id,
                  device->cl.clGetEventProfilingInfo ? CL_QUEUE_PROFILING_ENABLE : 0, queue);
}

static clattn_status check_queue(const clattn__device *device, cl_command_queue cl,
                                 cl_command_queue_properties *properties)
{
    cl_context context;
    cl_device_id id;
    CLATTN__CL_TRY(&device->cl, clGetCommandQueueInfo, cl, CL_QUEUE_CONTEXT, sizeof context,
                   &context, NULL);
    CLATTN__CL_TRY(&device->cl, clGetCommandQueueInfo, cl, CL_QUEUE_DEVICE, sizeof id, &id, NULL);
    if (context != device->context || id != device->id)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "queue: belongs to another cl_context or device");
    CLATTN__CL_TRY(&device->cl, clGetCommandQueueInfo, cl, CL_QUEUE_PROPERTIES, sizeof *properties,
                   properties, NULL);
    return CLATTN_OK;
}

clattn_status clattn__queue_from_cl(clattn__device *device, cl_command_queue cl,
                                    clattn__queue **queue)
{
    clattn__queue *made;
    cl_command_queue_properties properties = 0;
    CLATTN__TRY(check_queue(device, cl, &properties));
    CLATTN__TRY(begin(device, &made));
    const cl_int error = device->cl.clRetainCommandQueue(cl);
    if (error != CL_SUCCESS) {
        clattn__free(device->env, made);
        return clattn__cl_fail(error, "clRetainCommandQueue");
    }
    made->cl = cl;
    made->out_of_order = (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE) != 0;
    *queue = made;
    return CLATTN_OK;
}

void clattn__queue_destroy(clattn__queue *queue)
{
    if (!queue)
        return;
    const clattn__cl *cl = &queue->device->cl;
    cl->clFinish(queue->cl);
    if (queue->last)
        cl->clReleaseEvent(queue->last);
    cl->clReleaseCommandQueue(queue->cl);
    clattn__free(queue->device->env, queue);
}

static clattn_status set_arguments(const clattn__cl *cl, const clattn__launch_call *call)
{
    for (uint32_t i = 0; i < call->argument_count; i++) {
        const clattn__argument *argument = &call->arguments[i];
        const cl_int error =
            argument->bytes
                ? cl->clSetKernelArg(call->function->kernel, i, argument->size, argument->bytes)
                : cl->clSetKernelArg(call->function->kernel, i, sizeof(cl_mem),
                                     argument->memory ? (const void *)&argument->memory : NULL);
        if (error != CL_SUCCESS)
            return clattn__fail(CLATTN_ERR_OPENCL,
                                "%s: argument %" PRIu32 ": clSetKernelArg: %s (%d)",
                                call->function->name, i, clattn__cl_error_name(error), (int)error);
    }
    return CLATTN_OK;
}

/* The events to wait for, with the launch before if the queue does not keep order. */
static clattn_status gather_wait(const clattn__queue *queue, struct _cl_event *const *wait,
                                 uint32_t count, cl_event **gathered, uint32_t *gathered_count)
{
    const uint32_t more = queue->out_of_order && queue->last ? 1 : 0;
    *gathered = NULL;
    *gathered_count = count + more;
    if (*gathered_count == 0)
        return CLATTN_OK;
    cl_event *list = clattn__alloc_array(queue->device->env, *gathered_count, sizeof(cl_event));
    if (!list)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        list[i] = wait[i];
    if (more)
        list[count] = queue->last;
    *gathered = list;
    return CLATTN_OK;
}

static void remember_last(clattn__queue *queue, cl_event event)
{
    const clattn__cl *cl = &queue->device->cl;
    if (!queue->out_of_order || cl->clRetainEvent(event) != CL_SUCCESS)
        return;
    if (queue->last)
        cl->clReleaseEvent(queue->last);
    queue->last = event;
}

/* Gives the event to whoever wants it. */
static void hand_over(clattn__queue *queue, cl_event made, struct _cl_event **event)
{
    remember_last(queue, made);
    if (event)
        *event = made;
    else
        queue->device->cl.clReleaseEvent(made);
}

static clattn_status enqueue(clattn__queue *queue, const clattn__launch_call *call, cl_event *wait,
                             uint32_t wait_count, cl_event *made)
{
    const clattn__cl *cl = &queue->device->cl;
    const size_t local = call->group_size;
    const size_t global = (size_t)(call->groups * call->group_size);
    clattn__mutex_lock(&call->function->lock);
    clattn_status status = set_arguments(cl, call);
    if (status == CLATTN_OK) {
        const cl_int error =
            cl->clEnqueueNDRangeKernel(queue->cl, call->function->kernel, 1, NULL, &global, &local,
                                       wait_count, wait_count ? wait : NULL, made);
        if (error != CL_SUCCESS)
            status = clattn__fail(CLATTN_ERR_OPENCL, "%s: clEnqueueNDRangeKernel: %s (%d)",
                                  call->function->name, clattn__cl_error_name(error), (int)error);
    }
    clattn__mutex_unlock(&call->function->lock);
    return status;
}

clattn_status clattn__queue_launch(clattn__queue *queue, const clattn__launch_call *call,
                                   struct _cl_event **event)
{
    cl_event *wait, made;
    uint32_t wait_count;
    if (call->groups > INT32_MAX / call->group_size)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "%s: %" PRIu64 " work-groups are more than one launch can have",
                            call->function->name, call->groups);
    clattn__log(queue->device->env, CLATTN_LOG_EXEC, "%s: %" PRIu64 " groups of %" PRIu32,
                call->function->name, call->groups, call->group_size);
    CLATTN__TRY(gather_wait(queue, call->wait, call->wait_count, &wait, &wait_count));
    const clattn_status status = enqueue(queue, call, wait, wait_count, &made);
    clattn__free(queue->device->env, wait);
    if (status == CLATTN_OK)
        hand_over(queue, made, event);
    return status;
}

clattn_status clattn__queue_marker(clattn__queue *queue, struct _cl_event *const *wait,
                                   uint32_t wait_count, struct _cl_event **event)
{
    const clattn__cl *cl = &queue->device->cl;
    cl_event *list, made;
    uint32_t count;
    CLATTN__TRY(gather_wait(queue, wait, wait_count, &list, &count));
    const cl_int error = cl->clEnqueueMarkerWithWaitList(queue->cl, count, list, &made);
    clattn__free(queue->device->env, list);
    if (error != CL_SUCCESS)
        return clattn__cl_fail(error, "clEnqueueMarkerWithWaitList");
    hand_over(queue, made, event);
    return CLATTN_OK;
}

clattn_status clattn__queue_write(clattn__queue *queue, clattn__memory *memory, uint64_t offset,
                                  const void *data, uint64_t size)
{
    cl_event made;
    cl_event *wait;
    uint32_t wait_count;
    CLATTN__TRY(gather_wait(queue, NULL, 0, &wait, &wait_count));
    const cl_int error =
        queue->device->cl.clEnqueueWriteBuffer(queue->cl, clattn__memory_cl(memory), CL_FALSE,
                                               (size_t)(clattn__memory_offset(memory) + offset),
                                               (size_t)size, data, wait_count, wait, &made);
    clattn__free(queue->device->env, wait);
    if (error != CL_SUCCESS)
        return clattn__cl_fail(error, "clEnqueueWriteBuffer");
    hand_over(queue, made, NULL);
    return CLATTN_OK;
}

clattn_status clattn__queue_flush(clattn__queue *queue)
{
    CLATTN__CL_TRY(&queue->device->cl, clFlush, queue->cl);
    return CLATTN_OK;
}

clattn_status clattn__queue_finish(clattn__queue *queue)
{
    CLATTN__CL_TRY(&queue->device->cl, clFinish, queue->cl);
    return CLATTN_OK;
}

clattn_status clattn__event_poll_cl(clattn__device *device, struct _cl_event *event)
{
    cl_int state;
    CLATTN__CL_TRY(&device->cl, clGetEventInfo, event, CL_EVENT_COMMAND_EXECUTION_STATUS,
                   sizeof state, &state, NULL);
    if (state < 0)
        return clattn__fail(CLATTN_ERR_DEVICE_LOST, "the device failed: %s (%d)",
                            clattn__cl_error_name(state), (int)state);
    return state == CL_COMPLETE ? CLATTN_OK : CLATTN_PENDING;
}

static bool time_of(const clattn__cl *cl, cl_event event, cl_profiling_info name, uint64_t *time)
{
    cl_ulong value;
    if (!cl->clGetEventProfilingInfo ||
        cl->clGetEventProfilingInfo(event, name, sizeof value, &value, NULL) != CL_SUCCESS)
        return false;
    *time = value;
    return true;
}

bool clattn__event_times_cl(clattn__device *device, struct _cl_event *event, clattn__times *times)
{
    const clattn__cl *cl = &device->cl;
    return time_of(cl, event, CL_PROFILING_COMMAND_START, &times->began) &&
           time_of(cl, event, CL_PROFILING_COMMAND_END, &times->ended) &&
           time_of(cl, event, CL_PROFILING_COMMAND_QUEUED, &times->queued) &&
           times->ended >= times->began;
}

static clattn_status wait_until(clattn__device *device, cl_event event, uint64_t timeout_ns)
{
    const uint64_t start = clattn__now_ns();
    uint64_t pause = 20000;
    for (;;) {
        const clattn_status status = clattn__event_poll_cl(device, event);
        if (status != CLATTN_PENDING)
            return status;
        const uint64_t passed = clattn__now_ns() - start;
        if (passed >= timeout_ns)
            return clattn__fail(CLATTN_ERR_TIMEOUT, "not done after %" PRIu64 " ns", timeout_ns);
        clattn__sleep_ns(pause < timeout_ns - passed ? pause : timeout_ns - passed);
        if (pause < 1000000)
            pause *= 2;
    }
}

clattn_status clattn__event_wait_cl(clattn__device *device, struct _cl_event *event,
                                    uint64_t timeout_ns)
{
    if (timeout_ns != UINT64_MAX)
        return wait_until(device, event, timeout_ns);
    const cl_int error = device->cl.clWaitForEvents(1, &event);
    const clattn_status status = clattn__event_poll_cl(device, event);
    if (error != CL_SUCCESS && status >= 0)
        return clattn__cl_fail(error, "clWaitForEvents");
    return status;
}

clattn_status clattn__event_retain_cl(clattn__device *device, struct _cl_event *event)
{
    CLATTN__CL_TRY(&device->cl, clRetainEvent, event);
    return CLATTN_OK;
}

void clattn__event_release_cl(clattn__device *device, struct _cl_event *event)
{
    device->cl.clReleaseEvent(event);
}
