/* Records of submissions: what they keep, and asking OpenCL how they ended. */
#include "dispatch/event.h"

#include <stdio.h>
#include <string.h>

#include "dispatch/dispatcher.h"

clattn_status clattn__keep_reserve(const clattn__env *env, clattn__keep *keep, uint32_t more)
{
    if (keep->capacity - keep->count >= more)
        return CLATTN_OK;
    uint32_t capacity = keep->capacity ? keep->capacity * 2 : 16;
    while (capacity - keep->count < more)
        capacity *= 2;
    void **grown = clattn__resize(env, keep->item, capacity * sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    keep->item = grown;
    keep->capacity = capacity;
    return CLATTN_OK;
}

clattn_status clattn__keep_add(const clattn__env *env, clattn__keep *keep, void *item)
{
    CLATTN__TRY(clattn__keep_reserve(env, keep, 1));
    keep->item[keep->count++] = item;
    return CLATTN_OK;
}

clattn_status clattn__event_keep_memory(clattn_event *event, clattn__memory *memory)
{
    if (!memory)
        return CLATTN_OK;
    CLATTN__TRY(clattn__keep_add(&event->dispatcher->context->env, &event->memories, memory));
    clattn__memory_retain(memory);
    return CLATTN_OK;
}

void clattn__event_put_copies(const clattn_event *event, unsigned char *bytes)
{
    if (event->copied)
        memcpy(bytes, event->copies, (size_t)event->copy_size);
    else
        for (uint32_t i = 0; event->copy_size && i < event->entry_count; i++)
            clattn__copy_host(event->entry[i].plan, &event->entry[i].bound,
                              bytes + event->entry[i].copies);
}

clattn_status clattn__event_copy_arrays(clattn_event *event)
{
    if (event->copy_size > event->copy_capacity) {
        unsigned char *grown = clattn__resize(&event->dispatcher->context->env, event->copies,
                                              (size_t)event->copy_size);
        if (!grown)
            return CLATTN_ERR_OUT_OF_MEMORY;
        event->copies = grown;
        event->copy_capacity = event->copy_size;
    }
    event->copied = false;
    clattn__event_put_copies(event, event->copies);
    event->copied = event->copy_size > 0;
    return CLATTN_OK;
}

struct _cl_event *clattn__event_last(const clattn_event *event)
{
    return event->commands.item[event->commands.count - 1];
}

clattn_status clattn__event_ask(const clattn_event *event)
{
    clattn__device *device = event->dispatcher->context->device;
    const clattn_status last = clattn__event_poll_cl(device, clattn__event_last(event));
    if (last == CLATTN_PENDING)
        return last;
    for (uint32_t i = 0; i < event->uploads.count; i++)
        CLATTN__TRY(clattn__event_poll_cl(device, event->uploads.item[i]));
    for (uint32_t i = 0; i + 1 < event->commands.count; i++)
        CLATTN__TRY(clattn__event_poll_cl(device, event->commands.item[i]));
    return last == CLATTN_OK ? last : clattn__event_poll_cl(device, clattn__event_last(event));
}

void clattn__event_drop_kept(clattn_event *event)
{
    for (uint32_t i = 0; i < event->memories.count; i++)
        clattn__memory_release(event->memories.item[i]);
    for (uint32_t i = 0; i < event->plans.count; i++)
        clattn__plan_release(event->plans.item[i]);
    event->memories.count = event->plans.count = 0;
    event->table = NULL;
    if (event->copied && event->dispatcher->context->env.clears)
        memset(event->copies, 0, (size_t)event->copy_size);
}

static void drop_cl(clattn__device *device, clattn__keep *keep)
{
    for (uint32_t i = 0; i < keep->count; i++)
        clattn__event_release_cl(device, keep->item[i]);
    keep->count = 0;
}

void clattn__event_drop_commands(clattn_event *event)
{
    clattn__device *device = event->dispatcher->context->device;
    drop_cl(device, &event->commands);
    drop_cl(device, &event->uploads);
}

void clattn__event_reset(clattn_event *event)
{
    clattn__event_drop_kept(event);
    clattn__event_drop_commands(event);
    event->entry_count = 0;
    event->copy_size = 0;
    event->copied = false;
    event->call_count = event->called = 0;
    event->message[0] = 0;
    event->next = NULL;
}

void clattn__event_free(const clattn__env *env, clattn_event *event)
{
    clattn__free(env, event->entry);
    clattn__free(env, event->sharer);
    clattn__free(env, event->job.ranges.range);
    clattn__free(env, event->copies);
    clattn__free(env, event->commands.item);
    clattn__free(env, event->uploads.item);
    clattn__free(env, event->memories.item);
    clattn__free(env, event->plans.item);
    clattn__free(env, event->waits.item);
    clattn__free(env, event->watchers.item);
    clattn__free(env, event->onlookers.item);
    clattn__free(env, event->call);
    clattn__free(env, event);
}
