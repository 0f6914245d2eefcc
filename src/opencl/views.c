/* See views.h. */
#include "opencl/views.h"

#include <inttypes.h>
#include <string.h>

/* What runtimes want to work on host memory itself. */
#define PAGE 4096u

static bool shares_host(const clattn__device *device, const void *host, uint64_t size)
{
    const clattn__caps *caps = &device->caps;
    const bool aligned = (uintptr_t)host % PAGE == 0 && size % PAGE == 0;
    return caps->unified_memory && (caps->coherent_host || (caps->coherent_pages && aligned));
}

static clattn_status add_view(clattn__views *views, clattn__device *device, uint64_t size)
{
    clattn__view *view = &views->view[views->count];
    cl_int error;
    if (size > device->caps.max_allocation)
        return clattn__fail(CLATTN_ERR_OUT_OF_MEMORY,
                            "%" PRIu64
                            " bytes are more than the largest allocation of %s, %" PRIu64,
                            size, device->info.name, device->caps.max_allocation);
    view->device = device;
    view->shares = shares_host(device, views->host, size);
    view->mem = device->cl.clCreateBuffer(
        device->context, CL_MEM_READ_WRITE | (view->shares ? CL_MEM_USE_HOST_PTR : 0), (size_t)size,
        view->shares ? views->host : NULL, &error);
    if (!view->mem)
        return clattn__cl_fail(error, "clCreateBuffer");
    views->count++;
    return CLATTN_OK;
}

static clattn_status allocate(const clattn__env *env, clattn__views *views, uint64_t size)
{
    views->allocation = clattn__alloc(env, (size_t)size + PAGE);
    if (!views->allocation)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const uintptr_t address = (uintptr_t)views->allocation;
    views->host = (unsigned char *)views->allocation + (PAGE - address % PAGE) % PAGE;
    return CLATTN_OK;
}

clattn_status clattn__views_create(clattn__device *device, void *host, uint64_t size,
                                   clattn__views **views)
{
    const uint32_t count = 1 + device->peer_count;
    clattn__views *made =
        clattn__alloc_array(device->env, 1, sizeof *made + count * sizeof made->view[0]);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn_status status = clattn__mutex_init(&made->lock);
    if (status != CLATTN_OK) {
        clattn__free(device->env, made);
        return status;
    }
    made->host = host;
    if (!host) {
        size = (size + PAGE - 1) / PAGE * PAGE; /* so that whoever wants pages works on it */
        status = allocate(device->env, made, size);
    }
    for (uint32_t i = 0; i < count && status == CLATTN_OK; i++)
        status = add_view(made, i ? device->peer[i - 1] : device, size);
    if (status != CLATTN_OK)
        clattn__views_destroy(device, made);
    else
        *views = made;
    return status;
}

void clattn__views_destroy(clattn__device *device, clattn__views *views)
{
    if (!views)
        return;
    for (uint32_t i = 0; i < views->count; i++)
        device->cl.clReleaseMemObject(views->view[i].mem);
    clattn__mutex_finish(&views->lock);
    clattn__free(device->env, views->allocation);
    clattn__free(device->env, views);
}

clattn__view *clattn__views_of(clattn__views *views, const clattn__device *device)
{
    for (uint32_t i = 0; i < views->count; i++)
        if (views->view[i].device == device)
            return &views->view[i];
    return NULL;
}

void clattn__views_written(clattn__views *views, const clattn__device *device, uint64_t begin,
                           uint64_t end)
{
    clattn__mutex_lock(&views->lock);
    for (uint32_t i = 0; i < views->count; i++) {
        clattn__view *view = &views->view[i];
        if (view->shares)
            continue;
        if (view->device == device)
            clattn__intervals_add(&view->has, begin, end);
        else
            clattn__intervals_remove(&view->has, begin, end);
    }
    clattn__mutex_unlock(&views->lock);
}
