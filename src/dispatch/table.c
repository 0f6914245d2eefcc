/* Tables: host memory that the device sees itself where it can, and a copy elsewhere. */
#include "dispatch/table.h"

#include <string.h>

#define ALIGNMENT 4096u
#define LEAST     16384u
/* Tables to look at before a new one is made. */
#define LOOKS 16

static void clear(const clattn__env *env, clattn__table *table)
{
    if (env->clears)
        memset(table->host, 0, (size_t)table->written);
    table->written = 0;
}

static void finish(const clattn__env *env, clattn__table *table)
{
    clear(env, table);
    clattn__memory_release(table->memory);
    clattn__free(env, table->allocation);
}

void clattn__tables_finish(clattn__tables *tables)
{
    for (uint32_t i = 0; i < tables->count; i++)
        finish(clattn__device_env(tables->device), &tables->table[i]);
    if (tables->table)
        clattn__free(clattn__device_env(tables->device), tables->table);
    tables->table = NULL;
    tables->count = 0;
}

static bool sees_host(const clattn__device *device)
{
    const clattn__caps *caps = clattn__device_caps(device);
    return caps->unified_memory && caps->coherent_host;
}

static clattn_status make(clattn__device *device, uint64_t size, clattn__table *table)
{
    clattn__table made = {.size = size};
    made.allocation = clattn__alloc(clattn__device_env(device), (size_t)(size + ALIGNMENT));
    if (!made.allocation)
        return CLATTN_ERR_OUT_OF_MEMORY;
    if (clattn__device_env(device)->clears) /* what the host's heap had there */
        memset(made.allocation, 0, (size_t)(size + ALIGNMENT));
    const uintptr_t address = (uintptr_t)made.allocation;
    made.host = (unsigned char *)made.allocation + (ALIGNMENT - address % ALIGNMENT) % ALIGNMENT;
    const clattn_status status =
        sees_host(device) ? clattn__memory_wrap_host(device, made.host, size, true, &made.memory)
                          : clattn__memory_create_alone(device, size, &made.memory);
    if (status != CLATTN_OK)
        clattn__free(clattn__device_env(device), made.allocation);
    else
        *table = made;
    return status;
}

static uint64_t roomy(uint64_t size)
{
    uint64_t room = LEAST;
    while (room < size)
        room *= 2;
    return room;
}

/* Replaces a table that is too small, or adds one. */
static clattn_status renew(clattn__tables *tables, uint32_t at, uint64_t size)
{
    const clattn__env *env = clattn__device_env(tables->device);
    clattn__table made;
    if (at == tables->capacity) {
        const uint32_t capacity = at ? at * 2 : 8;
        clattn__table *grown = clattn__resize(env, tables->table, capacity * sizeof *grown);
        if (!grown)
            return CLATTN_ERR_OUT_OF_MEMORY;
        tables->table = grown;
        tables->capacity = capacity;
    }
    CLATTN__TRY(make(tables->device, roomy(size), &made));
    if (at < tables->count)
        finish(env, &tables->table[at]);
    else
        tables->count++;
    tables->table[at] = made;
    return CLATTN_OK;
}

clattn_status clattn__tables_take(clattn__tables *tables, uint64_t size, clattn__table *table)
{
    uint32_t free_one = tables->count;
    for (uint32_t i = 0; i < tables->count && i < LOOKS; i++) {
        const uint32_t at = (tables->next + i) % tables->count;
        if (clattn__memory_is_shared(tables->table[at].memory))
            continue;
        free_one = at;
        if (tables->table[at].size >= size)
            break;
    }
    if (free_one == tables->count || tables->table[free_one].size < size)
        CLATTN__TRY(renew(tables, free_one, size));
    clear(clattn__device_env(tables->device), &tables->table[free_one]);
    tables->table[free_one].written = size;
    tables->next = (free_one + 1) % tables->count;
    *table = tables->table[free_one];
    return CLATTN_OK;
}

clattn_status clattn__table_send(const clattn__tables *tables, const clattn__table *table,
                                 uint64_t size, clattn__queue *queue, struct _cl_event **event)
{
    *event = NULL;
    if (sees_host(tables->device) || size == 0)
        return CLATTN_OK;
    return clattn__queue_write(queue, table->memory, 0, table->host, size, event);
}
