/* Launches on a command queue, and waiting for events. */
#include "opencl/queue.h"

#include <inttypes.h>

#include "base/clock.h"
#include "opencl/program_private.h"

/* How long a wait stays awake: longer than short problems take, and little beside the others. */
#define AWAKE_NS 1000000

struct clattn__queue {
    clattn__device *device; /* borrowed */
    cl_command_queue cl;    /* a reference */
    cl_device_id part;      /* borrowed: the sub-device that it is of, or NULL */
    bool by_events;         /* it keeps no order by itself */
    cl_event last;          /* a reference; of such a queue: what the next launch waits for */
    cl_event *wait; /* (wait_capacity) owned, used within a call: what it waits for, and `last` */
    uint32_t wait_capacity;
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
    const cl_device_id id = device->part_count ? device->part[part] : device->id;
    CLATTN__TRY(create(device, id,
                       device->cl.clGetEventProfilingInfo ? CL_QUEUE_PROFILING_ENABLE : 0, queue));
    (*queue)->part = device->part_count ? id : NULL;
    return CLATTN_OK;
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
    if (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        made->by_events = true;
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
    clattn__part_leave(queue->device, queue->part, queue->cl);
    clattn__free(queue->device->env, queue->wait);
    clattn__free(queue->device->env, queue);
}

static clattn_status set_argument(const clattn__cl *cl, clattn__function *function,
                                  const clattn__argument *argument)
{
    const void *memory = argument->memory ? (const void *)&argument->memory : NULL;
    const uint64_t bit = (uint64_t)1 << argument->index;
    function->absent &= ~bit; /* also where it fails: what it is then isn't known */
    const cl_int error = cl->clSetKernelArg(function->kernel, argument->index,
                                            argument->bytes ? argument->size : sizeof(cl_mem),
                                            argument->bytes ? argument->bytes : memory);
    if (error != CL_SUCCESS)
        return clattn__fail(CLATTN_ERR_OPENCL, "%s: argument %" PRIu32 ": clSetKernelArg: %s (%d)",
                            function->name, argument->index, clattn__cl_error_name(error),
                            (int)error);
    if (!argument->bytes && !memory)
        function->absent |= bit;
    return CLATTN_OK;
}

/* Most arguments are tensors that take no part, which need not be said again. */
static clattn_status set_arguments(const clattn__cl *cl, const clattn__launch_call *call)
{
    const uint64_t missing = call->absent & ~call->function->absent;
    for (uint32_t i = 0; missing >> i; i++)
        if (missing >> i & 1)
            CLATTN__TRY(set_argument(cl, call->function, &(clattn__argument){.index = i}));
    for (uint32_t i = 0; i < call->argument_count; i++)
        CLATTN__TRY(set_argument(cl, call->function, &call->arguments[i]));
    return CLATTN_OK;
}

static clattn_status reserve_wait(clattn__queue *queue, uint32_t count)
{
    if (queue->wait_capacity >= count)
        return CLATTN_OK;
    cl_event *grown =
        clattn__resize(queue->device->env, queue->wait, 2 * (size_t)count * sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    queue->wait = grown;
    queue->wait_capacity = 2 * count;
    return CLATTN_OK;
}

/* The events to wait for, with the launch before if the queue does not keep order. */
static clattn_status gather_wait(clattn__queue *queue, struct _cl_event *const *wait,
                                 uint32_t count, const cl_event **gathered,
                                 uint32_t *gathered_count)
{
    *gathered = count ? wait : NULL;
    *gathered_count = count;
    if (!queue->by_events || !queue->last)
        return CLATTN_OK;
    CLATTN__TRY(reserve_wait(queue, count + 1));
    for (uint32_t i = 0; i < count; i++)
        queue->wait[i] = wait[i];
    queue->wait[count] = queue->last;
    *gathered = queue->wait;
    *gathered_count = count + 1;
    return CLATTN_OK;
}

static void remember_last(clattn__queue *queue, cl_event event)
{
    const clattn__cl *cl = &queue->device->cl;
    if (!queue->by_events || cl->clRetainEvent(event) != CL_SUCCESS)
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

static clattn_status enqueue(clattn__queue *queue, const clattn__launch_call *call,
                             const cl_event *wait, uint32_t wait_count, cl_event *made)
{
    const clattn__cl *cl = &queue->device->cl;
    const size_t local = call->group_size;
    const size_t global = (size_t)(call->groups * call->group_size);
    clattn__mutex_lock(&call->function->lock);
    clattn_status status = set_arguments(cl, call);
    if (status == CLATTN_OK) {
        const cl_int error = cl->clEnqueueNDRangeKernel(queue->cl, call->function->kernel, 1, NULL,
                                                        &global, &local, wait_count, wait, made);
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
    const cl_event *wait;
    cl_event made;
    uint32_t wait_count;
    if (call->groups > INT32_MAX / call->group_size)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "%s: %" PRIu64 " work-groups are more than one launch can have",
                            call->function->name, call->groups);
    clattn__log(queue->device->env, CLATTN_LOG_EXEC, "%s: %" PRIu64 " groups of %" PRIu32,
                call->function->name, call->groups, call->group_size);
    CLATTN__TRY(gather_wait(queue, call->wait, call->wait_count, &wait, &wait_count));
    CLATTN__TRY(enqueue(queue, call, wait, wait_count, &made));
    hand_over(queue, made, event);
    return CLATTN_OK;
}

clattn_status clattn__queue_marker(clattn__queue *queue, struct _cl_event *const *wait,
                                   uint32_t wait_count, struct _cl_event **event)
{
    const clattn__cl *cl = &queue->device->cl;
    const cl_event *list;
    cl_event made;
    uint32_t count;
    CLATTN__TRY(gather_wait(queue, wait, wait_count, &list, &count));
    const cl_int error = cl->clEnqueueMarkerWithWaitList(queue->cl, count, list, &made);
    if (error != CL_SUCCESS)
        return clattn__cl_fail(error, "clEnqueueMarkerWithWaitList");
    hand_over(queue, made, event);
    return CLATTN_OK;
}

clattn__device *clattn__queue_device(const clattn__queue *queue)
{
    return queue->device;
}

clattn_status clattn__queue_write(clattn__queue *queue, clattn__memory *memory, uint64_t offset,
                                  const void *data, uint64_t size, struct _cl_event **event)
{
    return clattn__queue_write_cl(queue, clattn__memory_cl(memory),
                                  clattn__memory_offset(memory) + offset, data, size, event);
}

clattn_status clattn__queue_clear(clattn__queue *queue, clattn__memory *memory, uint64_t size,
                                  struct _cl_event **event)
{
    static const cl_uint zero = 0;
    cl_mem mem = clattn__memory_cl_on(memory, queue->device);
    cl_event made;
    const cl_event *wait;
    uint32_t wait_count;
    CLATTN__TRY(gather_wait(queue, NULL, 0, &wait, &wait_count));
    const cl_int error = queue->device->cl.clEnqueueFillBuffer(
        queue->cl, mem, &zero, sizeof zero, (size_t)clattn__memory_offset(memory), (size_t)size,
        wait_count, wait, &made);
    if (error != CL_SUCCESS)
        return clattn__cl_fail(error, "clEnqueueFillBuffer");
    hand_over(queue, made, event);
    return CLATTN_OK;
}

clattn_status clattn__queue_read_cl(clattn__queue *queue, cl_mem memory, uint64_t offset,
                                    void *data, uint64_t size, struct _cl_event **event)
{
    cl_event made;
    const cl_event *wait;
    uint32_t wait_count;
    CLATTN__TRY(gather_wait(queue, NULL, 0, &wait, &wait_count));
    const cl_int error = queue->device->cl.clEnqueueReadBuffer(
        queue->cl, memory, CL_FALSE, (size_t)offset, (size_t)size, data, wait_count, wait, &made);
    if (error != CL_SUCCESS)
        return clattn__cl_fail(error, "clEnqueueReadBuffer");
    hand_over(queue, made, event);
    return CLATTN_OK;
}

clattn_status clattn__queue_write_cl(clattn__queue *queue, cl_mem memory, uint64_t offset,
                                     const void *data, uint64_t size, struct _cl_event **event)
{
    cl_event made;
    const cl_event *wait;
    uint32_t wait_count;
    CLATTN__TRY(gather_wait(queue, NULL, 0, &wait, &wait_count));
    const cl_int error = queue->device->cl.clEnqueueWriteBuffer(
        queue->cl, memory, CL_FALSE, (size_t)offset, (size_t)size, data, wait_count, wait, &made);
    if (error != CL_SUCCESS)
        return clattn__cl_fail(error, "clEnqueueWriteBuffer");
    hand_over(queue, made, event);
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

static cl_int probe(clattn__queue *queue, cl_mem memory)
{
    const clattn__cl *cl = &queue->device->cl;
    const cl_uint sent = 0x7ea5e11;
    cl_uint back = 0;
    cl_int error =
        cl->clEnqueueWriteBuffer(queue->cl, memory, CL_TRUE, 0, sizeof sent, &sent, 0, NULL, NULL);
    if (error == CL_SUCCESS)
        error = cl->clEnqueueReadBuffer(queue->cl, memory, CL_TRUE, 0, sizeof back, &back, 0, NULL,
                                        NULL);
    return error == CL_SUCCESS && back != sent ? CL_DEVICE_NOT_AVAILABLE : error;
}

clattn_status clattn__queue_probe(clattn__queue *queue)
{
    const clattn__cl *cl = &queue->device->cl;
    cl_int error;
    const cl_mem memory = cl->clCreateBuffer(queue->device->context, CL_MEM_READ_WRITE,
                                             sizeof(cl_uint), NULL, &error);
    if (memory) {
        error = probe(queue, memory);
        cl->clReleaseMemObject(memory);
    } else if (error != CL_DEVICE_NOT_AVAILABLE) {
        return CLATTN_OK; /* no memory: that says nothing of the device */
    }
    if (error == CL_SUCCESS)
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_DEVICE_LOST, "%s doesn't answer: %s (%d)",
                        queue->device->info.name, clattn__cl_error_name(error), (int)error);
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

/* `timeout_ns` counts from `start`. */
static clattn_status wait_until(clattn__device *device, cl_event event, uint64_t start,
                                uint64_t timeout_ns)
{
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

/* Looks again and again for a while, of all who wait for the device one at a time: others would
 * only take cores from the threads that do the work. */
static clattn_status wait_awake(clattn__device *device, cl_event event, uint64_t start,
                                uint64_t timeout_ns)
{
    const uint64_t limit = timeout_ns < AWAKE_NS ? timeout_ns : AWAKE_NS;
    clattn_status status = CLATTN_PENDING;
    if (!device->caps.own_threads || device->env->sleepy || atomic_exchange(&device->awake, true))
        return status;
    while ((status = clattn__event_poll_cl(device, event)) == CLATTN_PENDING &&
           clattn__now_ns() - start < limit)
        clattn__yield();
    atomic_store(&device->awake, false);
    return status;
}

clattn_status clattn__event_wait_cl(clattn__device *device, struct _cl_event *event,
                                    uint64_t timeout_ns, bool asleep)
{
    const uint64_t start = clattn__now_ns();
    const clattn_status early =
        asleep ? CLATTN_PENDING : wait_awake(device, event, start, timeout_ns);
    if (early != CLATTN_PENDING)
        return early;
    if (timeout_ns != UINT64_MAX)
        return wait_until(device, event, start, timeout_ns);
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
