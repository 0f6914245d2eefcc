/* What a device is inside. Private to src/opencl. */
#ifndef CLATTN_OPENCL_DEVICE_PRIVATE_H
#define CLATTN_OPENCL_DEVICE_PRIVATE_H

#include <stdatomic.h>

#include "base/thread.h"
#include "opencl/cl_error.h"
#include "opencl/device.h"
#include "opencl/loader.h"

struct clattn__arena;
struct clattn__program;

struct clattn__device {
    const clattn__env *env; /* borrowed */
    clattn__cl cl;          /* OpenCL's functions */
    cl_platform_id platform;
    cl_device_id id;
    cl_context context;    /* a reference */
    clattn__device **peer; /* (peer_count) owned array of the context's other devices, borrowed */
    uint32_t peer_count;
    cl_device_id *part; /* (part_count) owned sub-devices, all in `context` */
    uint32_t part_count;
    struct clattn__left *left; /* (left_count, left_capacity) owned; see clattn__part_leave */
    uint32_t left_count, left_capacity;
    clattn__caps caps;
    clattn_device_info info;
    atomic_bool lost;
    atomic_bool awake; /* a thread is waiting for it without sleeping: wait_awake in queue.c */
    cl_command_queue transfer;        /* owned; blocking copies */
    clattn__mutex memory_lock;        /* guards `arenas` and `left` */
    struct clattn__arena *arenas;     /* owned list */
    clattn__mutex program_lock;       /* guards `programs` */
    struct clattn__program *programs; /* owned list */
};

/* Gives a queue back, of a part or of the device itself (NULL), and keeps it where events still
 * hold it and parts are frail (see quirk.c): as long as a buffer lives, PoCL has the last event of
 * it. */
void clattn__part_leave(clattn__device *device, cl_device_id part, cl_command_queue queue);

/* Gives the parts back, when the device closes and its buffers are gone, and waits for threads of
 * the driver that have yet to give events back. A part of which the application still has an event
 * is not freed. */
void clattn__parts_close(clattn__device *device);

/* Frees what is left of programs and arenas, when the device closes. */
void clattn__programs_close(clattn__device *device);
void clattn__arenas_close(clattn__device *device);

#endif
