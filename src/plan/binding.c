/* Checks of bindings, each failure with its own sentence that names the slot. */
#include "plan/binding.h"

#include <inttypes.h>
#include <string.h>

/* A range of bytes that a binding touches. */
typedef struct range {
    const char *name; /* slot, or "workspace" */
    bool written;
    const void *object;  /* the cl_mem, or NULL where `begin` is a host address */
    uint64_t begin, end; /* bytes within the object; empty if equal */
} range;

static clattn_status check_slot(const clattn_plan *plan, const clattn_binding *binding,
                                const bool *seen)
{
    const clattn__slot_info *info = clattn__slot_get((uint32_t)binding->slot);
    if (!info)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "bindings: %d is not a slot", (int)binding->slot);
    if (!clattn__problem_has(&plan->problem, binding->slot))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: is bound, but the plan was made without it (desc.slots)",
                            info->name);
    if (seen[binding->slot])
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is bound twice", info->name);
    if (binding->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: reserved is %" PRIu32 ", must be 0",
                            info->name, binding->reserved);
    return CLATTN_OK;
}

static clattn_status check_place(const clattn_plan *plan, const clattn_binding *binding)
{
    const clattn__slot_info *info = clattn__slot_get((uint32_t)binding->slot);
    const clattn_buffer *buffer = binding->buffer;
    if (!buffer)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: buffer is NULL", info->name);
    if (buffer->context != plan->context)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: the buffer belongs to another context",
                            info->name);
    const uint32_t size = clattn__dtype_get((clattn_dtype)plan->problem.dtype[info->slot])->size;
    if (binding->offset % size != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: offset %" PRIu64 " is not a multiple of the element's %" PRIu32
                            " bytes",
                            info->name, binding->offset, size);
    int64_t low, high;
    clattn__slot_span(&plan->problem, info->slot, &low, &high);
    const uint64_t whole = clattn__memory_size(buffer->memory);
    if (binding->offset > whole || (uint64_t)high > whole - binding->offset)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: needs %" PRId64 " bytes from offset %" PRIu64
                            ", but the buffer has %" PRIu64,
                            info->name, high, binding->offset, whole);
    if ((uint64_t)-low > binding->offset)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: negative strides reach %" PRId64 " bytes before offset %" PRIu64
                            " of the buffer",
                            info->name, -low, binding->offset);
    return CLATTN_OK;
}

static range range_of(const clattn_buffer *buffer, uint64_t begin, uint64_t end)
{
    range made = {.object = clattn__memory_cl(buffer->memory), .begin = begin, .end = end};
    const uint64_t shift = clattn__memory_offset(buffer->memory);
    made.begin += shift;
    made.end += shift;
    if (buffer->host) {
        made.object = NULL;
        made.begin = (uint64_t)(uintptr_t)buffer->host + begin;
        made.end = (uint64_t)(uintptr_t)buffer->host + end;
    }
    return made;
}

static range binding_range(const clattn_plan *plan, const clattn_binding *binding)
{
    int64_t low, high;
    clattn__slot_span(&plan->problem, binding->slot, &low, &high);
    range made = range_of(binding->buffer, binding->offset - (uint64_t)-low,
                          binding->offset + (uint64_t)high);
    const clattn__slot_info *info = clattn__slot_get((uint32_t)binding->slot);
    made.name = info->name;
    made.written = info->written;
    return made;
}

static clattn_status check_overlap(range a, range b)
{
    const bool meet = a.object == b.object && a.begin < b.end && b.begin < a.end &&
                      a.begin < a.end && b.begin < b.end;
    if (!meet || !(a.written || b.written))
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is written and shares memory with %s",
                        a.written ? a.name : b.name, a.written ? b.name : a.name);
}

static clattn_status check_overlaps(const clattn_plan *plan, const clattn_binding *bindings,
                                    uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            CLATTN__TRY(check_overlap(binding_range(plan, &bindings[i]),
                                      binding_range(plan, &bindings[j])));
    return CLATTN_OK;
}

clattn_status clattn__bind(const clattn_plan *plan, const clattn_binding *bindings,
                           uint32_t binding_count, clattn__bound *bound)
{
    bool seen[CLATTN_SLOT_LIMIT] = {false};
    memset(bound, 0, sizeof *bound);
    if (binding_count && !bindings)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "bindings: is NULL");
    for (uint32_t i = 0; i < binding_count; i++) {
        const clattn_binding *binding = &bindings[i];
        CLATTN__TRY(check_slot(plan, binding, seen));
        CLATTN__TRY(check_place(plan, binding));
        seen[binding->slot] = true;
        bound->slot[binding->slot].memory = binding->buffer->memory;
        bound->slot[binding->slot].offset =
            clattn__memory_offset(binding->buffer->memory) + binding->offset;
    }
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++)
        if (clattn__problem_has(&plan->problem, (clattn_slot)slot) && !seen[slot])
            return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is not bound",
                                clattn__slot_get(slot)->name);
    return check_overlaps(plan, bindings, binding_count);
}

clattn_status clattn__bind_workspace(const clattn_plan *plan, const clattn_buffer *workspace,
                                     uint64_t offset, clattn__bound *bound)
{
    const uint64_t whole = clattn__memory_size(workspace->memory);
    if (workspace->context != plan->context)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "workspace: the buffer belongs to another context");
    if (offset % 256 != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "workspace: offset %" PRIu64 " is not a multiple of 256", offset);
    if (offset > whole || plan->variant.workspace > whole - offset)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "workspace: the plan needs %" PRIu64 " bytes from offset %" PRIu64
                            ", but the buffer has %" PRIu64,
                            plan->variant.workspace, offset, whole);
    bound->workspace.memory = workspace->memory;
    bound->workspace.offset = clattn__memory_offset(workspace->memory) + offset;
    return CLATTN_OK;
}

clattn_status clattn__check_workspace(const clattn_step *step, const clattn_buffer *workspace,
                                      uint64_t offset, uint64_t size)
{
    range own = range_of(workspace, offset, offset + size);
    own.name = "workspace";
    own.written = true;
    for (uint32_t i = 0; i < step->binding_count; i++)
        CLATTN__TRY(check_overlap(own, binding_range(step->plan, &step->bindings[i])));
    return CLATTN_OK;
}
