/* Counted device memory, whatever it is a part of. */
#include "opencl/memory.h"

#include <inttypes.h>
#include <string.h>
#include <stdatomic.h>

#include "opencl/arena.h"
#include "opencl/queue.h"

struct clattn__memory {
    atomic_int references;
    clattn__device *device; /* borrowed */
    clattn__arena *arena;   /* whose slice it is; NULL: the cl_mem is its own */
    cl_mem mem;             /* a reference if arena and views are NULL */
    clattn__views *views;   /* owned if arena is NULL; NULL: one device alone has it */
    uint64_t offset, size;
};

static clattn_status begin(clattn__device *device, uint64_t size, clattn__memory **memory)
{
    clattn__memory *made = clattn__alloc_array(device->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    atomic_init(&made->references, 1);
    made->device = device;
    made->size = size;
    *memory = made;
    return CLATTN_OK;
}

clattn_status clattn__memory_create(clattn__device *device, uint64_t size, clattn__memory **memory)
{
    clattn__memory *made;
    CLATTN__TRY(begin(device, size, &made));
    clattn__mutex_lock(&device->memory_lock);
    const clattn_status status = clattn__arena_take(device, size, &made->arena, &made->offset);
    clattn__mutex_unlock(&device->memory_lock);
    if (status != CLATTN_OK) {
        clattn__free(device->env, made);
        return status;
    }
    made->mem = made->arena->mem;
    made->views = made->arena->views;
    *memory = made;
    return CLATTN_OK;
}

static clattn_status create_own(clattn__device *device, cl_mem_flags flags, void *data,
                                uint64_t size, clattn__memory **memory)
{
    clattn__memory *made;
    cl_int error;
    if (size > device->caps.max_allocation)
        return clattn__fail(CLATTN_ERR_OUT_OF_MEMORY,
                            "%" PRIu64 " bytes are more than the device's largest allocation of "
                            "%" PRIu64,
                            size, device->caps.max_allocation);
    CLATTN__TRY(begin(device, size, &made));
    made->mem = device->cl.clCreateBuffer(device->context, flags, (size_t)size, data, &error);
    if (!made->mem) {
        clattn__free(device->env, made);
        return clattn__cl_fail(error, "clCreateBuffer");
    }
    *memory = made;
    return CLATTN_OK;
}

clattn_status clattn__memory_create_constant(clattn__device *device, const void *data,
                                             uint64_t size, clattn__memory **memory)
{
    return create_own(device, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, (void *)(uintptr_t)data,
                      size, memory);
}

clattn_status clattn__memory_create_alone(clattn__device *device, uint64_t size,
                                          clattn__memory **memory)
{
    return create_own(device, CL_MEM_READ_ONLY, NULL, size, memory);
}

clattn_status clattn__memory_wrap_host(clattn__device *device, void *data, uint64_t size,
                                       bool read_only, clattn__memory **memory)
{
    if (!device->caps.unified_memory)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "%s does not share memory with the host; make a buffer and write it",
                            device->info.name);
    return create_own(device,
                      CL_MEM_USE_HOST_PTR | (read_only ? CL_MEM_READ_ONLY : CL_MEM_READ_WRITE),
                      data, size, memory);
}

static bool all_share(const clattn__views *views)
{
    for (uint32_t i = 0; i < views->count; i++)
        if (!views->view[i].shares)
            return false;
    return true;
}

clattn_status clattn__memory_wrap_host_for_all(clattn__device *device, void *data, uint64_t size,
                                               clattn__memory **memory)
{
    clattn__memory *made;
    if (!device->peer_count)
        return clattn__memory_wrap_host(device, data, size, false, memory);
    CLATTN__TRY(begin(device, size, &made));
    clattn_status status = clattn__views_create(device, data, size, &made->views);
    if (status == CLATTN_OK && !all_share(made->views)) {
        clattn__views_destroy(device, made->views);
        status = clattn__fail(CLATTN_ERR_UNSUPPORTED,
                              "not every device of the context works on this host memory itself; "
                              "begin and end it with a page of 4096 bytes, or make a buffer and "
                              "write it");
    }
    if (status != CLATTN_OK) {
        clattn__free(device->env, made);
        return status;
    }
    made->mem = made->views->view[0].mem;
    *memory = made;
    return CLATTN_OK;
}

clattn_status clattn__memory_wrap_cl(clattn__device *device, cl_mem mem, clattn__memory **memory)
{
    cl_context context;
    size_t size;
    clattn__memory *made;
    CLATTN__CL_TRY(&device->cl, clGetMemObjectInfo, mem, CL_MEM_CONTEXT, sizeof context, &context,
                   NULL);
    if (context != device->context)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "memory: belongs to another cl_context");
    CLATTN__CL_TRY(&device->cl, clGetMemObjectInfo, mem, CL_MEM_SIZE, sizeof size, &size, NULL);
    CLATTN__TRY(begin(device, size, &made));
    const cl_int error = device->cl.clRetainMemObject(mem);
    if (error != CL_SUCCESS) {
        clattn__free(device->env, made);
        return clattn__cl_fail(error, "clRetainMemObject");
    }
    made->mem = mem;
    *memory = made;
    return CLATTN_OK;
}

/* Of OpenCL 2.0, which headers for 1.2 leave out. */
#define DEVICE_SVM_CAPABILITIES 0x1053
#define MEM_USES_SVM_POINTER    0x1109

/* A device of OpenCL 1.2 doesn't know the question, one of 3.0 may answer that it has none. */
static clattn_status check_svm(const clattn__device *device)
{
    cl_bitfield can = 0;
    const cl_int error =
        device->cl.clGetDeviceInfo(device->id, DEVICE_SVM_CAPABILITIES, sizeof can, &can, NULL);
    if (error == CL_SUCCESS && can)
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                        "svm: %s has no shared virtual memory; make a buffer and write it",
                        device->info.name);
}

/* OpenCL 2.0, clCreateBuffer: with CL_MEM_USE_HOST_PTR and what clSVMAlloc returned, the shared
 * memory itself is the buffer's. */
clattn_status clattn__memory_wrap_svm(clattn__device *device, void *svm, uint64_t size,
                                      clattn__memory **memory)
{
    cl_bool is_svm = CL_TRUE;
    clattn__memory *made;
    CLATTN__TRY(check_svm(device));
    CLATTN__TRY(create_own(device, CL_MEM_USE_HOST_PTR | CL_MEM_READ_WRITE, svm, size, &made));
    /* create_own has made it: NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
    const cl_int error = device->cl.clGetMemObjectInfo(made->mem, MEM_USES_SVM_POINTER,
                                                       sizeof is_svm, &is_svm, NULL);
    if (error == CL_SUCCESS && !is_svm) {
        clattn__memory_release(made);
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "svm: is not what clSVMAlloc returned for this cl_context");
    }
    *memory = made;
    return CLATTN_OK;
}

void clattn__memory_retain(clattn__memory *memory)
{
    atomic_fetch_add(&memory->references, 1);
}

/* Zeros for all that a device has of a slice. Nothing in flight uses it any more, but the next who
 * gets it may be on any queue: so this waits. Where it fails, the device is lost. */
static void clear_on(clattn__device *device, cl_mem mem, const clattn__memory *memory)
{
    static const cl_uint zero = 0;
    const uint64_t size = (memory->size + sizeof zero - 1) / sizeof zero * sizeof zero;
    const cl_int error =
        device->cl.clEnqueueFillBuffer(device->transfer, mem, &zero, sizeof zero,
                                       (size_t)memory->offset, (size_t)size, 0, NULL, NULL);
    if (error == CL_SUCCESS)
        (void)device->cl.clFinish(device->transfer);
}

/* The whole slice, which begins and ends with multiples of CLATTN__SLICE_ALIGNMENT. */
static void clear(const clattn__memory *memory)
{
    clattn__views *views = memory->views;
    if (!views) {
        clear_on(memory->device, memory->mem, memory);
        return;
    }
    memset(views->host + memory->offset, 0, (size_t)memory->size);
    for (uint32_t i = 0; i < views->count; i++)
        if (!views->view[i].shares)
            clear_on(views->view[i].device, views->view[i].mem, memory);
    clattn__views_written(views, NULL, memory->offset, memory->offset + memory->size);
}

void clattn__memory_release(clattn__memory *memory)
{
    if (!memory || atomic_fetch_sub(&memory->references, 1) != 1)
        return;
    clattn__device *device = memory->device;
    if (memory->arena && device->env->clears)
        clear(memory);
    if (memory->arena) {
        clattn__mutex_lock(&device->memory_lock);
        clattn__arena_give_back(device, memory->arena, memory->offset, memory->size);
        clattn__mutex_unlock(&device->memory_lock);
    } else if (memory->views) {
        clattn__views_destroy(device, memory->views);
    } else {
        device->cl.clReleaseMemObject(memory->mem);
    }
    clattn__free(device->env, memory);
}

bool clattn__memory_is_shared(const clattn__memory *memory)
{
    return atomic_load(&memory->references) > 1;
}

bool clattn__memory_is_slice(const clattn__memory *memory)
{
    return memory->arena != NULL;
}

cl_mem clattn__memory_cl(const clattn__memory *memory)
{
    return memory->mem;
}

cl_mem clattn__memory_cl_on(const clattn__memory *memory, const clattn__device *device)
{
    const clattn__view *view =
        memory->views && device != memory->device ? clattn__views_of(memory->views, device) : NULL;
    return view ? view->mem : memory->mem;
}

uint64_t clattn__memory_offset(const clattn__memory *memory)
{
    return memory->offset;
}

uint64_t clattn__memory_size(const clattn__memory *memory)
{
    return memory->size;
}

clattn_status clattn__memory_write(clattn__memory *memory, uint64_t offset, const void *data,
                                   uint64_t size)
{
    if (memory->views) {
        memcpy(memory->views->host + memory->offset + offset, data, (size_t)size);
        clattn__views_written(memory->views, NULL, memory->offset + offset,
                              memory->offset + offset + size);
        return CLATTN_OK;
    }
    CLATTN__CL_TRY(&memory->device->cl, clEnqueueWriteBuffer, memory->device->transfer, memory->mem,
                   CL_TRUE, (size_t)(memory->offset + offset), (size_t)size, data, 0, NULL, NULL);
    if (memory->device->caps.early_writes)
        CLATTN__CL_TRY(&memory->device->cl, clFinish, memory->device->transfer);
    return CLATTN_OK;
}

clattn_status clattn__memory_read(clattn__memory *memory, uint64_t offset, void *data,
                                  uint64_t size)
{
    if (memory->views) {
        memcpy(data, memory->views->host + memory->offset + offset, (size_t)size);
        return CLATTN_OK;
    }
    CLATTN__CL_TRY(&memory->device->cl, clEnqueueReadBuffer, memory->device->transfer, memory->mem,
                   CL_TRUE, (size_t)(memory->offset + offset), (size_t)size, data, 0, NULL, NULL);
    return CLATTN_OK;
}

clattn_status clattn__memory_map(clattn__memory *memory, void **data)
{
    const clattn__cl *cl = &memory->device->cl;
    cl_int error;
    if (memory->views) {
        *data = memory->views->host + memory->offset;
        return CLATTN_OK;
    }
    void *mapped = cl->clEnqueueMapBuffer(memory->device->transfer, memory->mem, CL_TRUE,
                                          CL_MAP_READ | CL_MAP_WRITE, (size_t)memory->offset,
                                          (size_t)memory->size, 0, NULL, NULL, &error);
    if (!mapped)
        return clattn__cl_fail(error, "clEnqueueMapBuffer");
    *data = mapped;
    return CLATTN_OK;
}

static clattn_status wait_for_unmap(clattn__device *device, cl_event done)
{
    const clattn__cl *cl = &device->cl;
    /* It is on its way: when waiting for it fails, waiting for the queue must do. */
    cl_int error = cl->clWaitForEvents(1, &done);
    if (error != CL_SUCCESS)
        error = cl->clFinish(device->transfer);
    cl->clReleaseEvent(done);
    return error == CL_SUCCESS ? CLATTN_OK : clattn__cl_fail(error, "clFinish");
}

clattn_status clattn__memory_unmap(clattn__memory *memory, void *data)
{
    cl_event done;
    if (memory->views) {
        clattn__views_written(memory->views, NULL, memory->offset, memory->offset + memory->size);
        return CLATTN_OK;
    }
    CLATTN__CL_TRY(&memory->device->cl, clEnqueueUnmapMemObject, memory->device->transfer,
                   memory->mem, data, 0, NULL, &done);
    return wait_for_unmap(memory->device, done);
}

clattn_status clattn__memory_show(clattn__memory *memory)
{
    const clattn__cl *cl = &memory->device->cl;
    cl_event done;
    cl_int error;
    if (memory->device->caps.coherent_host || memory->views)
        return CLATTN_OK;
    void *mapped =
        cl->clEnqueueMapBuffer(memory->device->transfer, memory->mem, CL_FALSE, CL_MAP_READ,
                               (size_t)memory->offset, (size_t)memory->size, 0, NULL, NULL, &error);
    if (!mapped)
        return clattn__cl_fail(error, "clEnqueueMapBuffer");
    error =
        cl->clEnqueueUnmapMemObject(memory->device->transfer, memory->mem, mapped, 0, NULL, &done);
    if (error != CL_SUCCESS) {
        cl->clFinish(memory->device->transfer); /* the mapping is on its way */
        return clattn__cl_fail(error, "clEnqueueUnmapMemObject");
    }
    return wait_for_unmap(memory->device, done);
}

/* ---- between devices ------------------------------------------------------------------------- */

bool clattn__memory_must_move(const clattn__memory *memory, const clattn__device *device)
{
    const clattn__view *view = memory->views ? clattn__views_of(memory->views, device) : NULL;
    return view && !view->shares;
}

void clattn__memory_written(clattn__memory *memory, const clattn__device *device, uint64_t begin,
                            uint64_t end)
{
    if (memory->views)
        clattn__views_written(memory->views, device, begin, end);
}

clattn_status clattn__memory_upload(clattn__memory *memory, clattn__queue *queue, uint64_t begin,
                                    uint64_t end, clattn__sent *sent)
{
    clattn__views *views = memory->views;
    clattn__view *view = clattn__views_of(views, clattn__queue_device(queue));
    clattn_status status = CLATTN_OK;
    clattn__sent made = {0};
    clattn__mutex_lock(&views->lock);
    if (clattn__intervals_gap(&view->has, begin, end, &made.begin, &made.end)) {
        status = clattn__queue_write_cl(queue, view->mem, made.begin, views->host + made.begin,
                                        made.end - made.begin, &made.event);
        if (status == CLATTN_OK)
            clattn__intervals_add(&view->has, made.begin, made.end);
    }
    clattn__mutex_unlock(&views->lock);
    if (status == CLATTN_OK)
        *sent = made;
    return status;
}

uint64_t clattn__memory_lacks(const clattn__memory *memory, const clattn__device *device,
                              uint64_t begin, uint64_t end)
{
    const clattn__view *view = memory->views ? clattn__views_of(memory->views, device) : NULL;
    uint64_t from, to, lacks = 0;
    if (!view || view->shares)
        return 0;
    clattn__mutex_lock(&memory->views->lock);
    while (clattn__intervals_gap(&view->has, begin, end, &from, &to)) {
        lacks += to - from;
        begin = to;
    }
    clattn__mutex_unlock(&memory->views->lock);
    return lacks;
}

clattn_status clattn__memory_download(clattn__memory *memory, clattn__queue *queue, uint64_t begin,
                                      uint64_t end, struct _cl_event **event)
{
    clattn__views *views = memory->views;
    const clattn__view *view = clattn__views_of(views, clattn__queue_device(queue));
    return clattn__queue_read_cl(queue, view->mem, begin, views->host + begin, end - begin, event);
}
