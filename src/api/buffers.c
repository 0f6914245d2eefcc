/* Buffers: the public functions. */
#include "api/buffers.h"

#include <inttypes.h>

#include "api/check.h"

clattn_status clattn__buffer_make(clattn_context *context, clattn__memory *memory, const void *host,
                                  clattn_buffer **buffer)
{
    clattn_status status = CLATTN_ERR_OUT_OF_MEMORY;
    clattn_buffer *made = clattn__alloc_array(&context->env, 1, sizeof *made);
    if (!made)
        goto no_memory;
    status = clattn__mutex_init(&made->lock);
    if (status != CLATTN_OK)
        goto no_lock;
    made->context = context;
    made->memory = memory;
    made->host = host;
    clattn__context_hold(context);
    *buffer = made;
    return CLATTN_OK;

no_lock:
    clattn__free(&context->env, made);
no_memory:
    clattn__memory_release(memory);
    return status;
}

static clattn_status check_size(uint64_t size)
{
    if (size == 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "size: is 0, must be at least 1 byte");
    return CLATTN_OK;
}

clattn_status clattn_buffer_create(clattn_context *context, uint64_t size, clattn_buffer **buffer)
{
    clattn__memory *memory;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require(buffer, "buffer"));
    CLATTN__TRY(check_size(size));
    CLATTN__TRY(clattn__memory_create(context->device, size, &memory));
    return clattn__buffer_make(context, memory, NULL, buffer);
}

clattn_status clattn_buffer_wrap_host(clattn_context *context, void *data, uint64_t size,
                                      clattn_buffer **buffer)
{
    clattn__memory *memory;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require(buffer, "buffer"));
    CLATTN__TRY(clattn__require(data, "data"));
    CLATTN__TRY(check_size(size));
    CLATTN__TRY(clattn__memory_wrap_host_for_all(context->device, data, size, &memory));
    return clattn__buffer_make(context, memory, data, buffer);
}

static clattn_status check_buffer(const clattn_buffer *buffer)
{
    CLATTN__TRY(clattn__require(buffer, "buffer"));
    return clattn__context_check(buffer->context);
}

clattn_status clattn_buffer_destroy(clattn_buffer *buffer)
{
    if (!buffer)
        return CLATTN_OK;
    CLATTN__TRY(check_buffer(buffer));
    clattn__mutex_lock(&buffer->lock);
    const bool mapped = buffer->mapped != NULL;
    clattn__mutex_unlock(&buffer->lock);
    if (mapped)
        return clattn__fail(CLATTN_ERR_BUSY, "buffer: is mapped; unmap it first");
    clattn_context *context = buffer->context;
    clattn__memory_release(buffer->memory);
    clattn__mutex_finish(&buffer->lock);
    clattn__free(&context->env, buffer);
    clattn__context_drop(context);
    return CLATTN_OK;
}

uint64_t clattn_buffer_size(const clattn_buffer *buffer)
{
    return buffer ? clattn__memory_size(buffer->memory) : 0;
}

static clattn_status check_range(const clattn_buffer *buffer, uint64_t offset, const void *data,
                                 uint64_t size)
{
    CLATTN__TRY(check_buffer(buffer));
    if (size)
        CLATTN__TRY(clattn__require(data, "data"));
    const uint64_t whole = clattn__memory_size(buffer->memory);
    if (offset > whole || size > whole - offset)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "size: %" PRIu64 " bytes from offset %" PRIu64
                            " do not fit a buffer of %" PRIu64 " bytes",
                            size, offset, whole);
    return CLATTN_OK;
}

clattn_status clattn_buffer_write(clattn_buffer *buffer, uint64_t offset, const void *data,
                                  uint64_t size)
{
    CLATTN__TRY(check_range(buffer, offset, data, size));
    return size ? clattn__memory_write(buffer->memory, offset, data, size) : CLATTN_OK;
}

clattn_status clattn_buffer_read(clattn_buffer *buffer, uint64_t offset, void *data, uint64_t size)
{
    CLATTN__TRY(check_range(buffer, offset, data, size));
    return size ? clattn__memory_read(buffer->memory, offset, data, size) : CLATTN_OK;
}

static clattn_status map_locked(clattn_buffer *buffer, void **data)
{
    if (buffer->mapped)
        return clattn__fail(CLATTN_ERR_BUSY, "buffer: is mapped already");
    CLATTN__TRY(clattn__memory_map(buffer->memory, &buffer->mapped));
    *data = buffer->mapped;
    return CLATTN_OK;
}

static clattn_status unmap_locked(clattn_buffer *buffer)
{
    if (!buffer->mapped)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "buffer: is not mapped");
    CLATTN__TRY(clattn__memory_unmap(buffer->memory, buffer->mapped));
    buffer->mapped = NULL;
    return CLATTN_OK;
}

clattn_status clattn_buffer_map(clattn_buffer *buffer, void **data)
{
    CLATTN__TRY(check_buffer(buffer));
    CLATTN__TRY(clattn__require((const void *)data, "data"));
    clattn__mutex_lock(&buffer->lock);
    const clattn_status status = map_locked(buffer, data);
    clattn__mutex_unlock(&buffer->lock);
    return status;
}

clattn_status clattn_buffer_unmap(clattn_buffer *buffer)
{
    CLATTN__TRY(check_buffer(buffer));
    clattn__mutex_lock(&buffer->lock);
    const clattn_status status = unmap_locked(buffer);
    clattn__mutex_unlock(&buffer->lock);
    return status;
}
