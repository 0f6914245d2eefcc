/* Counted device memory, whatever it is a part of. */
#include "opencl/memory.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "opencl/arena.h"

struct clattn__memory {
    atomic_int references;
    clattn__device *device; /* borrowed */
    clattn__arena *arena;   /* whose slice it is; NULL: the cl_mem is its own */
    cl_mem mem;             /* a reference if arena is NULL */
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

void clattn__memory_retain(clattn__memory *memory)
{
    atomic_fetch_add(&memory->references, 1);
}

void clattn__memory_release(clattn__memory *memory)
{
    if (!memory || atomic_fetch_sub(&memory->references, 1) != 1)
        return;
    clattn__device *device = memory->device;
    if (memory->arena) {
        clattn__mutex_lock(&device->memory_lock);
        clattn__arena_give_back(device, memory->arena, memory->offset, memory->size);
        clattn__mutex_unlock(&device->memory_lock);
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
    CLATTN__CL_TRY(&memory->device->cl, clEnqueueWriteBuffer, memory->device->transfer, memory->mem,
                   CL_TRUE, (size_t)(memory->offset + offset), (size_t)size, data, 0, NULL, NULL);
    return CLATTN_OK;
}

clattn_status clattn__memory_read(clattn__memory *memory, uint64_t offset, void *data,
                                  uint64_t size)
{
    CLATTN__CL_TRY(&memory->device->cl, clEnqueueReadBuffer, memory->device->transfer, memory->mem,
                   CL_TRUE, (size_t)(memory->offset + offset), (size_t)size, data, 0, NULL, NULL);
    return CLATTN_OK;
}

clattn_status clattn__memory_map(clattn__memory *memory, void **data)
{
    const clattn__cl *cl = &memory->device->cl;
    cl_int error;
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
    CLATTN__CL_TRY(&memory->device->cl, clEnqueueUnmapMemObject, memory->device->transfer,
                   memory->mem, data, 0, NULL, &done);
    return wait_for_unmap(memory->device, done);
}

clattn_status clattn__memory_show(clattn__memory *memory)
{
    const clattn__cl *cl = &memory->device->cl;
    cl_event done;
    cl_int error;
    if (memory->device->caps.coherent_host)
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
