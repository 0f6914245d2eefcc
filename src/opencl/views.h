/* Memory that all devices of a context see: a piece of host memory, in which everything is once a
 * command has finished, and for each device a cl_mem. Devices that share memory with the host work
 * on it itself; what others have of it is remembered, so that it is moved once. Private to
 * src/opencl. */
#ifndef CLATTN_OPENCL_VIEWS_H
#define CLATTN_OPENCL_VIEWS_H

#include "opencl/device_private.h"
#include "opencl/intervals.h"

typedef struct clattn__view {
    clattn__device *device; /* borrowed */
    cl_mem mem;             /* a reference */
    bool shares;            /* it is the host memory itself */
    clattn__intervals has;  /* else: bytes that are as they are on the host */
} clattn__view;

typedef struct clattn__views {
    unsigned char *host; /* (size) */
    void *allocation;    /* owned; NULL: the host memory is the caller's */
    clattn__mutex lock;  /* guards `has` of every view */
    uint32_t count;
    clattn__view view[]; /* (count) of the device itself, then of its peers */
} clattn__views;

/* `host` may be NULL: memory of its own. The device has peers. */
clattn_status clattn__views_create(clattn__device *device, void *host, uint64_t size,
                                   clattn__views **views);
void clattn__views_destroy(clattn__device *device, clattn__views *views); /* NULL is allowed */

/* The view of a device; NULL: none. */
clattn__view *clattn__views_of(clattn__views *views, const clattn__device *device);

/* Bytes begin .. end - 1 were, or will be, written by `device`, NULL: by the host. */
void clattn__views_written(clattn__views *views, const clattn__device *device, uint64_t begin,
                           uint64_t end);

#endif
