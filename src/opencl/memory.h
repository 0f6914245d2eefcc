/* Device memory: slices of large arenas, host memory wrapped, foreign cl_mems wrapped. Counted
 * references, so that work in flight keeps what it uses. Any thread. */
#ifndef CLATTN_OPENCL_MEMORY_H
#define CLATTN_OPENCL_MEMORY_H

#include "opencl/device.h"

struct _cl_mem;
struct _cl_event;

typedef struct clattn__memory clattn__memory;

/* A slice of an arena, aligned to at least 256 bytes. Larger than caps.max_allocation is
 * CLATTN_ERR_OUT_OF_MEMORY. */
clattn_status clattn__memory_create(clattn__device *device, uint64_t size, clattn__memory **memory);
/* A cl_mem of its own (offset 0) with a copy of `data`, only read by the device. */
clattn_status clattn__memory_create_constant(clattn__device *device, const void *data,
                                             uint64_t size, clattn__memory **memory);
/* A cl_mem of its own (offset 0), only read by kernels, uninitialised. */
clattn_status clattn__memory_create_alone(clattn__device *device, uint64_t size,
                                          clattn__memory **memory);
/* CL_MEM_USE_HOST_PTR; CLATTN_ERR_UNSUPPORTED unless caps.unified_memory. `read_only` promises
 * that the device only reads. */
clattn_status clattn__memory_wrap_host(clattn__device *device, void *data, uint64_t size,
                                       bool read_only, clattn__memory **memory);
/* The same for all devices of a context; CLATTN_ERR_UNSUPPORTED unless each works on it itself. */
clattn_status clattn__memory_wrap_host_for_all(clattn__device *device, void *data, uint64_t size,
                                               clattn__memory **memory);
clattn_status clattn__memory_wrap_cl(clattn__device *device, struct _cl_mem *mem,
                                     clattn__memory **memory);

/* A cl_mem (offset 0) over shared virtual memory of the device's cl_context, as clSVMAlloc returned
 * it. CLATTN_ERR_UNSUPPORTED where the device has none. */
clattn_status clattn__memory_wrap_svm(clattn__device *device, void *svm, uint64_t size,
                                      clattn__memory **memory);

void clattn__memory_retain(clattn__memory *memory);
void clattn__memory_release(clattn__memory *memory); /* NULL is allowed */
/* Whether anybody else has a reference. */
bool clattn__memory_is_shared(const clattn__memory *memory);
/* Whether it is a slice of an arena: other memory may be the same as yet other memory. */
bool clattn__memory_is_slice(const clattn__memory *memory);

struct _cl_mem *clattn__memory_cl(const clattn__memory *memory);
/* The cl_mem that a device has of it: its own, or where the memory is for several devices, a
 * peer's. Offsets are the same in all. */
struct _cl_mem *clattn__memory_cl_on(const clattn__memory *memory, const clattn__device *device);
uint64_t clattn__memory_offset(const clattn__memory *memory); /* bytes within the cl_mem */
uint64_t clattn__memory_size(const clattn__memory *memory);

struct clattn__queue;
/* Whether the device has a copy of it, which must be brought up to date before, and fetched after
 * it works there. Bytes begin .. end - 1 are of the cl_mem. */
bool clattn__memory_must_move(const clattn__memory *memory, const clattn__device *device);
/* Bytes on their way to a device. */
typedef struct clattn__sent {
    uint64_t begin, end;     /* bytes begin .. end - 1 */
    struct _cl_event *event; /* of the command, the caller's to release; NULL: nothing was sent */
} clattn__sent;

/* Enqueues the first piece of what the queue's device lacks of these bytes; nothing where it has
 * all. */
clattn_status clattn__memory_upload(clattn__memory *memory, struct clattn__queue *queue,
                                    uint64_t begin, uint64_t end, clattn__sent *sent);
/* How many of these bytes the device lacks; 0 where it works on the host's memory itself. */
uint64_t clattn__memory_lacks(const clattn__memory *memory, const clattn__device *device,
                              uint64_t begin, uint64_t end);
/* Enqueues their way back to the host. */
clattn_status clattn__memory_download(clattn__memory *memory, struct clattn__queue *queue,
                                      uint64_t begin, uint64_t end, struct _cl_event **event);
/* The device will write these bytes: what others have of them isn't up to date any more. */
void clattn__memory_written(clattn__memory *memory, const clattn__device *device, uint64_t begin,
                            uint64_t end);

/* Blocking; ranges are the caller's to check. They use a queue of the device's own. */
clattn_status clattn__memory_write(clattn__memory *memory, uint64_t offset, const void *data,
                                   uint64_t size);
clattn_status clattn__memory_read(clattn__memory *memory, uint64_t offset, void *data,
                                  uint64_t size);
/* What finished work wrote to wrapped host memory becomes visible there. */
clattn_status clattn__memory_show(clattn__memory *memory);
/* Makes the whole slice visible to the host for reading and writing. */
clattn_status clattn__memory_map(clattn__memory *memory, void **data);
clattn_status clattn__memory_unmap(clattn__memory *memory, void *data);

#endif
