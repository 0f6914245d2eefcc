/* First fit in the holes of the arenas there are; a new arena where nothing fits. An arena without
 * slices is released, but for one of the usual size. */
#include "opencl/arena.h"

#include <inttypes.h>

/* Usual size of an arena; larger slices get one of their own. */
#define ARENA_SIZE ((uint64_t)32 << 20)

static uint64_t round_up(const clattn__device *device, uint64_t size)
{
    const uint64_t alignment = device->caps.memory_alignment > CLATTN__SLICE_ALIGNMENT
                                   ? device->caps.memory_alignment
                                   : CLATTN__SLICE_ALIGNMENT;
    return (size + alignment - 1) / alignment * alignment;
}

static bool take_from(const clattn__env *env, clattn__arena *arena, uint64_t size, uint64_t *offset)
{
    for (clattn__hole **link = &arena->holes; *link; link = &(*link)->next) {
        clattn__hole *hole = *link;
        if (hole->size < size)
            continue;
        *offset = hole->offset;
        hole->offset += size;
        hole->size -= size;
        arena->used += size;
        if (hole->size == 0) {
            *link = hole->next;
            clattn__free(env, hole);
        }
        return true;
    }
    return false;
}

static clattn_status make_memory(clattn__device *device, uint64_t size, clattn__arena *arena)
{
    cl_int error;
    if (device->peer_count) {
        CLATTN__TRY(clattn__views_create(device, NULL, size, &arena->views));
        arena->mem = arena->views->view[0].mem;
        return CLATTN_OK;
    }
    arena->mem =
        device->cl.clCreateBuffer(device->context, CL_MEM_READ_WRITE, (size_t)size, NULL, &error);
    return arena->mem ? CLATTN_OK : clattn__cl_fail(error, "clCreateBuffer");
}

static clattn_status add_arena(clattn__device *device, uint64_t size, clattn__arena **arena)
{
    clattn_status status = CLATTN_ERR_OUT_OF_MEMORY;
    clattn__arena *made = clattn__alloc_array(device->env, 1, sizeof *made);
    clattn__hole *hole = clattn__alloc_array(device->env, 1, sizeof *hole);
    if (!made || !hole)
        goto fail;
    status = make_memory(device, size, made);
    if (status != CLATTN_OK)
        goto fail;
    hole->size = made->size = size;
    made->holes = hole;
    made->next = device->arenas;
    device->arenas = made;
    *arena = made;
    return CLATTN_OK;

fail:
    clattn__free(device->env, hole);
    clattn__free(device->env, made);
    return status;
}

clattn_status clattn__arena_take(clattn__device *device, uint64_t size, clattn__arena **arena,
                                 uint64_t *offset)
{
    if (size > device->caps.max_allocation)
        return clattn__fail(CLATTN_ERR_OUT_OF_MEMORY,
                            "%" PRIu64 " bytes are more than the device's largest allocation of "
                            "%" PRIu64,
                            size, device->caps.max_allocation);
    const uint64_t rounded = round_up(device, size);
    for (clattn__arena *at = device->arenas; at; at = at->next) {
        if (take_from(device->env, at, rounded, offset)) {
            *arena = at;
            return CLATTN_OK;
        }
    }
    uint64_t whole = rounded > ARENA_SIZE / 4 ? rounded : ARENA_SIZE;
    if (whole > device->caps.max_allocation)
        whole = rounded;
    CLATTN__TRY(add_arena(device, whole, arena));
    take_from(device->env, *arena, rounded, offset);
    return CLATTN_OK;
}

static void free_arena(clattn__device *device, clattn__arena *arena)
{
    while (arena->holes) {
        clattn__hole *hole = arena->holes;
        arena->holes = hole->next;
        clattn__free(device->env, hole);
    }
    if (arena->views)
        clattn__views_destroy(device, arena->views);
    else
        device->cl.clReleaseMemObject(arena->mem);
    clattn__free(device->env, arena);
}

static void unlink_arena(clattn__device *device, clattn__arena *arena)
{
    clattn__arena **link = &device->arenas;
    while (*link != arena)
        link = &(*link)->next;
    *link = arena->next;
    free_arena(device, arena);
}

/* Joins a hole with the one behind it where they touch. */
static void join(const clattn__env *env, clattn__hole *hole)
{
    clattn__hole *next = hole->next;
    if (next && hole->offset + hole->size == next->offset) {
        hole->size += next->size;
        hole->next = next->next;
        clattn__free(env, next);
    }
}

static bool another_is_empty(const clattn__device *device, const clattn__arena *arena)
{
    for (const clattn__arena *at = device->arenas; at; at = at->next)
        if (at != arena && at->used == 0)
            return true;
    return false;
}

void clattn__arena_give_back(clattn__device *device, clattn__arena *arena, uint64_t offset,
                             uint64_t size)
{
    const uint64_t rounded = round_up(device, size);
    arena->used -= rounded;
    if (arena->used == 0 && (arena->size != ARENA_SIZE || another_is_empty(device, arena))) {
        unlink_arena(device, arena);
        return;
    }
    clattn__hole *before = NULL, *after = arena->holes;
    while (after && after->offset < offset) {
        before = after;
        after = after->next;
    }
    if (before && before->offset + before->size == offset) {
        before->size += rounded;
        join(device->env, before);
        return;
    }
    if (after && offset + rounded == after->offset) {
        after->offset = offset;
        after->size += rounded;
        return;
    }
    clattn__hole *hole = clattn__alloc_array(device->env, 1, sizeof *hole);
    if (!hole)
        return; /* the room is lost until the arena is empty, nothing else */
    hole->offset = offset;
    hole->size = rounded;
    hole->next = after;
    *(before ? &before->next : &arena->holes) = hole;
}

void clattn__arenas_close(clattn__device *device)
{
    while (device->arenas)
        unlink_arena(device, device->arenas);
}
