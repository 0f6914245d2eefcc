/* Command queues, launches, and waiting for them. Events are cl_events, counted by OpenCL. */
#ifndef CLATTN_OPENCL_QUEUE_H
#define CLATTN_OPENCL_QUEUE_H

#include "opencl/memory.h"
#include "opencl/program.h"

struct _cl_command_queue;
struct _cl_event;

/* One thread at a time. */
typedef struct clattn__queue clattn__queue;

/* An in-order queue of the device. */
clattn_status clattn__queue_create(clattn__device *device, clattn__queue **queue);
/* The same on part `part` of the device (clattn__device_parts), with times of its events. */
clattn_status clattn__queue_create_lane(clattn__device *device, uint32_t part,
                                        clattn__queue **queue);
/* The caller's queue, retained. CLATTN_ERR_ARGUMENT unless it is of this device and context. */
clattn_status clattn__queue_from_cl(clattn__device *device, struct _cl_command_queue *cl,
                                    clattn__queue **queue);
void clattn__queue_destroy(clattn__queue *queue); /* finishes it; NULL is allowed */

/* Argument `index` of a kernel: a memory object (may be NULL), or `size` bytes. */
typedef struct clattn__argument {
    uint32_t index;
    struct _cl_mem *memory; /* used if bytes is NULL */
    const void *bytes;
    size_t size;
} clattn__argument;

typedef struct clattn__launch_call {
    clattn__function *function;
    const clattn__argument *arguments; /* (argument_count) */
    uint32_t argument_count;
    uint64_t absent;     /* bits: arguments that are no memory, beside those of `arguments` */
    uint64_t groups;     /* work-groups, in one dimension, at least 1 */
    uint32_t group_size; /* work-items of a group */
    uint32_t wait_count;
    struct _cl_event *const *wait; /* (wait_count) */
} clattn__launch_call;

/* Enqueues; *event (may be NULL) is the caller's to release. On a queue that executes out of order
 * the call also waits for the launch before it. */
clattn_status clattn__queue_launch(clattn__queue *queue, const clattn__launch_call *call,
                                   struct _cl_event **event);
/* An event that is done when everything enqueued so far and all of `wait` is. */
clattn_status clattn__queue_marker(clattn__queue *queue, struct _cl_event *const *wait,
                                   uint32_t wait_count, struct _cl_event **event);
/* Fills the first `size` bytes, a multiple of 4, with zeros. */
clattn_status clattn__queue_clear(clattn__queue *queue, clattn__memory *memory, uint64_t size,
                                  struct _cl_event **event);
/* Writes without waiting; `data` must stay until *event, or that of a later command, is done. */
clattn_status clattn__queue_write(clattn__queue *queue, clattn__memory *memory, uint64_t offset,
                                  const void *data, uint64_t size, struct _cl_event **event);
/* The same, of a cl_mem by its own offsets, and back. */
clattn_status clattn__queue_write_cl(clattn__queue *queue, struct _cl_mem *memory, uint64_t offset,
                                     const void *data, uint64_t size, struct _cl_event **event);
clattn_status clattn__queue_read_cl(clattn__queue *queue, struct _cl_mem *memory, uint64_t offset,
                                    void *data, uint64_t size, struct _cl_event **event);
clattn__device *clattn__queue_device(const clattn__queue *queue);
clattn_status clattn__queue_flush(clattn__queue *queue);
clattn_status clattn__queue_finish(clattn__queue *queue);

/* Waits for what is enqueued, and moves a few bytes to the device and back: whether it is still
 * there. CLATTN_ERR_DEVICE_LOST. */
clattn_status clattn__queue_probe(clattn__queue *queue);

/* CLATTN_OK when done, CLATTN_ERR_TIMEOUT when `timeout_ns` (UINT64_MAX: none) has passed, or the
 * failure of the command, usually CLATTN_ERR_DEVICE_LOST. `asleep`: from the beginning, because it
 * won't take long; else a device of whose threads who waits is none is looked at for a while. */
clattn_status clattn__event_wait_cl(clattn__device *device, struct _cl_event *event,
                                    uint64_t timeout_ns, bool asleep);
/* CLATTN_PENDING, CLATTN_OK, or the failure. */
clattn_status clattn__event_poll_cl(clattn__device *device, struct _cl_event *event);
/* When a command was enqueued, began and ended, nanoseconds of the device's clock; false where its
 * queue doesn't say. */
typedef struct clattn__times {
    uint64_t queued, began, ended;
} clattn__times;
bool clattn__event_times_cl(clattn__device *device, struct _cl_event *event, clattn__times *times);

clattn_status clattn__event_retain_cl(clattn__device *device, struct _cl_event *event);
void clattn__event_release_cl(clattn__device *device, struct _cl_event *event);

#endif
