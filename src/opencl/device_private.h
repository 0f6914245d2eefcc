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
    clattn__caps caps;
    clattn_device_info info;
    atomic_bool lost;
    atomic_bool awake; /* a thread is waiting for it without sleeping: wait_awake in queue.c */
    cl_command_queue transfer;        /* owned; blocking copies */
    clattn__mutex memory_lock;        /* guards `arenas` */
    struct clattn__arena *arenas;     /* owned list */
    clattn__mutex program_lock;       /* guards `programs` */
    struct clattn__program *programs; /* owned list */
};

/* Frees what is left of programs and arenas, when the device closes. */
void clattn__programs_close(clattn__device *device);
void clattn__arenas_close(clattn__device *device);

#endif
