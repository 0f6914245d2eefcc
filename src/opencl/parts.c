/* How parts of a device end. Where an event looks at its queue's part without holding it, they stay
 * until the queues have no events. */
#include "base/clock.h"
#include "opencl/device_private.h"

/* How long closing waits for threads of the driver. */
#define EVENTS_NS 100000000

/* A queue that its lane has done with, and its part. */
struct clattn__left {
    cl_command_queue queue; /* a reference */
    cl_device_id part;      /* borrowed */
};

static bool has_events(const clattn__device *device, cl_command_queue queue)
{
    cl_uint references = 0;
    const cl_int error = device->cl.clGetCommandQueueInfo(queue, CL_QUEUE_REFERENCE_COUNT,
                                                          sizeof references, &references, NULL);
    return error != CL_SUCCESS || references > 1;
}

/* With the lock held, or nobody else there: gives back those that have no events any more. */
static void sort_out(clattn__device *device)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < device->left_count; i++) {
        const struct clattn__left left = device->left[i];
        if (has_events(device, left.queue))
            device->left[kept++] = left;
        else
            device->cl.clReleaseCommandQueue(left.queue);
    }
    device->left_count = kept;
}

/* The part is its events' from now on. */
static void abandon(const clattn__device *device, struct clattn__left left)
{
    device->cl.clRetainDevice(left.part);
    device->cl.clReleaseCommandQueue(left.queue);
}

/* With the lock held. */
static bool make_room(clattn__device *device)
{
    const uint32_t wanted = 2 * device->left_count + 4;
    if (device->left_count < device->left_capacity)
        return true;
    struct clattn__left *grown = clattn__resize(device->env, device->left, wanted * sizeof *grown);
    if (!grown)
        return false;
    device->left = grown;
    device->left_capacity = wanted;
    return true;
}

void clattn__part_leave(clattn__device *device, cl_device_id part, cl_command_queue queue)
{
    const struct clattn__left left = {.queue = queue, .part = part};
    if (!part || !device->caps.frail_parts) {
        device->cl.clReleaseCommandQueue(queue);
        return;
    }
    clattn__mutex_lock(&device->memory_lock);
    sort_out(device);
    if (make_room(device))
        device->left[device->left_count++] = left;
    else
        abandon(device, left);
    clattn__mutex_unlock(&device->memory_lock);
}

void clattn__parts_close(clattn__device *device)
{
    const uint64_t start = clattn__now_ns();
    for (sort_out(device); device->left_count; sort_out(device)) {
        if (clattn__now_ns() - start >= EVENTS_NS)
            break;
        clattn__sleep_ns(20000);
    }
    for (uint32_t i = 0; i < device->left_count; i++)
        abandon(device, device->left[i]);
    for (uint32_t i = 0; i < device->part_count; i++)
        device->cl.clReleaseDevice(device->part[i]);
    clattn__free(device->env, device->left);
    clattn__free(device->env, device->part);
}
