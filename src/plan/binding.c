/* Checks of bindings, each failure with its own sentence that names the slot. */
#include "plan/binding.h"

#include <inttypes.h>
#include <string.h>

#include "problem/overlap.h"
#include "problem/values.h"

/* A range of bytes that a binding touches. */
typedef struct range {
    const char *name; /* slot, or "workspace" */
    bool written;
    const void *object;  /* the cl_mem, or NULL where `begin` is a host address */
    uint64_t begin, end; /* bytes within the object; empty if equal */
} range;

/* The bytes of a slot, one of the plan's. */
static const clattn__planned_slot *span_of(const clattn_plan *plan, clattn_slot slot)
{
    uint32_t i = 0;
    while (plan->slot[i].slot != (uint32_t)slot)
        i++;
    return &plan->slot[i];
}

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

/* Copies of host arrays begin at multiples of this, bytes. */
#define COPY_ALIGNMENT 64

static clattn_status check_host(const clattn_plan *plan, const clattn_binding *binding)
{
    const clattn__slot_info *info = clattn__slot_get((uint32_t)binding->slot);
    if (!info->host_too)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: host: only small tensors can be given as host arrays; use a "
                            "buffer",
                            info->name);
    if (binding->offset != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: offset must be 0 with a host array",
                            info->name);
    const uint32_t size = clattn__dtype_get((clattn_dtype)plan->problem.dtype[info->slot])->size;
    if ((uintptr_t)binding->host % size != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: host is not aligned to the element's %" PRIu32 " bytes",
                            info->name, size);
    return CLATTN_OK;
}

static clattn_status check_range(const clattn_plan *plan, const clattn_binding *binding)
{
    const clattn__slot_info *info = clattn__slot_get((uint32_t)binding->slot);
    const uint32_t size = clattn__dtype_get((clattn_dtype)plan->problem.dtype[info->slot])->size;
    if (binding->offset % size != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: offset %" PRIu64 " is not a multiple of the element's %" PRIu32
                            " bytes",
                            info->name, binding->offset, size);
    const int64_t low = span_of(plan, info->slot)->low, high = span_of(plan, info->slot)->high;
    const uint64_t whole = clattn__memory_size(binding->buffer->memory);
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

static clattn_status check_place(const clattn_plan *plan, const clattn_binding *binding)
{
    const char *name = clattn__slot_get((uint32_t)binding->slot)->name;
    if (binding->buffer && binding->host)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: has both a buffer and a host array", name);
    if (binding->host)
        return check_host(plan, binding);
    if (!binding->buffer)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: buffer is NULL", name);
    if (binding->buffer->context != plan->context)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: the buffer belongs to another context", name);
    return check_range(plan, binding);
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
    const clattn__planned_slot *span = span_of(plan, binding->slot);
    range made = range_of(binding->buffer, binding->offset - (uint64_t)-span->low,
                          binding->offset + (uint64_t)span->high);
    const clattn__slot_info *info = clattn__slot_get((uint32_t)binding->slot);
    made.name = info->name;
    made.written = clattn__problem_writes(&plan->problem, info->slot);
    return made;
}

/* Where element (0, 0, ...) is in the range's object. */
static uint64_t element_at(const clattn_binding *binding)
{
    return range_of(binding->buffer, binding->offset, binding->offset).begin;
}

static bool meet(const range *a, const range *b)
{
    return a->object == b->object && a->begin < b->end && b->begin < a->end && a->begin < a->end &&
           b->begin < b->end && (a->written || b->written);
}

static clattn_status fail_overlap(const range *a, const range *b)
{
    return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is written and shares memory with %s",
                        a->written ? a->name : b->name, a->written ? b->name : a->name);
}

static clattn_status check_overlaps(const clattn_plan *plan, const clattn_binding *bindings,
                                    uint32_t count)
{
    range of[CLATTN_SLOT_LIMIT];
    for (uint32_t i = 0; i < count; i++) {
        if (!bindings[i].buffer)
            continue;
        of[i] = binding_range(plan, &bindings[i]);
        for (uint32_t j = 0; j < i; j++)
            if (bindings[j].buffer && meet(&of[i], &of[j]) &&
                clattn__slots_collide(&plan->problem, bindings[i].slot, element_at(&bindings[i]),
                                      bindings[j].slot, element_at(&bindings[j])))
                return fail_overlap(&of[i], &of[j]);
    }
    return CLATTN_OK;
}

static void place(const clattn_plan *plan, const clattn_binding *binding, clattn__bound *bound)
{
    const clattn_slot slot = binding->slot;
    const clattn__planned_slot *span = span_of(plan, slot);
    if (binding->buffer) {
        bound->slot[slot].memory = binding->buffer->memory;
        bound->slot[slot].offset = clattn__memory_offset(binding->buffer->memory) + binding->offset;
        return;
    }
    bound->host[slot] = (const char *)binding->host + span->low;
    bound->host_offset[slot] = bound->host_size;
    bound->host_size +=
        ((uint64_t)(span->high - span->low) + COPY_ALIGNMENT) / COPY_ALIGNMENT * COPY_ALIGNMENT;
}

/* What the host can read of the values that index. */
static clattn_status check_values(const clattn_plan *plan, const clattn_binding *bindings,
                                  uint32_t count)
{
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    for (uint32_t i = 0; i < count; i++)
        at[bindings[i].slot] = bindings[i].host;
    return clattn__values_check(&plan->problem, at);
}

clattn_status clattn__bind(const clattn_plan *plan, const clattn_binding *bindings,
                           uint32_t binding_count, clattn__bound *bound)
{
    bool seen[CLATTN_SLOT_LIMIT] = {false};
    memset(bound, 0, sizeof *bound);
    if (binding_count && !bindings)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "bindings: is NULL");
    for (uint32_t i = 0; i < binding_count; i++) {
        CLATTN__TRY(check_slot(plan, &bindings[i], seen));
        CLATTN__TRY(check_place(plan, &bindings[i]));
        seen[bindings[i].slot] = true;
        place(plan, &bindings[i], bound);
    }
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (!seen[plan->slot[i].slot])
            return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is not bound",
                                clattn__slot_get(plan->slot[i].slot)->name);
    CLATTN__TRY(check_overlaps(plan, bindings, binding_count));
    return check_values(plan, bindings, binding_count);
}

void clattn__copy_host(const clattn_plan *plan, const clattn__bound *bound, unsigned char *bytes)
{
    for (uint32_t i = 0; i < plan->slot_count; i++) {
        const clattn__planned_slot *span = &plan->slot[i];
        if (bound->host[span->slot])
            memcpy(bytes + bound->host_offset[span->slot], bound->host[span->slot],
                   (size_t)(span->high - span->low));
    }
}

void clattn__bind_copies(const clattn_plan *plan, clattn__memory *memory, uint64_t offset,
                         clattn__bound *bound)
{
    for (uint32_t i = 0; i < plan->slot_count; i++) {
        const clattn__planned_slot *span = &plan->slot[i];
        if (!bound->host[span->slot])
            continue;
        bound->slot[span->slot].memory = memory;
        bound->slot[span->slot].offset = clattn__memory_offset(memory) + offset +
                                         bound->host_offset[span->slot] + (uint64_t)-span->low;
    }
}

uint32_t clattn__bound_spans(const clattn_plan *plan, const clattn__bound *bound,
                             clattn__span spans[CLATTN_SLOT_LIMIT])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->slot_count; i++) {
        const clattn__planned_slot *span = &plan->slot[i];
        const clattn__place *place = &bound->slot[span->slot];
        if (!place->memory || bound->host[span->slot])
            continue;
        spans[count++] = (clattn__span){
            .memory = place->memory,
            .object = clattn__memory_cl(place->memory),
            .begin = place->offset - (uint64_t)-span->low,
            .end = place->offset + (uint64_t)span->high,
            .written = clattn__problem_writes(&plan->problem, (clattn_slot)span->slot),
            .foreign = !clattn__memory_is_slice(place->memory)};
    }
    return count;
}

static bool span_meets(const clattn__span *a, const clattn__span *b)
{
    if (!(a->written || b->written) || a->begin == a->end || b->begin == b->end)
        return false;
    if (a->object != b->object)
        return a->foreign && b->foreign;
    return a->begin < b->end && b->begin < a->end;
}

bool clattn__spans_meet(const clattn__span *a, uint32_t a_count, const clattn__span *b,
                        uint32_t b_count)
{
    for (uint32_t i = 0; i < a_count; i++)
        for (uint32_t j = 0; j < b_count; j++)
            if (span_meets(&a[i], &b[j]))
                return true;
    return false;
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
    if (offset > whole || clattn__plan_workspace(plan) > whole - offset)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "workspace: the plan needs %" PRIu64 " bytes from offset %" PRIu64
                            ", but the buffer has %" PRIu64,
                            clattn__plan_workspace(plan), offset, whole);
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
    for (uint32_t i = 0; i < step->binding_count; i++) {
        if (!step->bindings[i].buffer)
            continue;
        const range other = binding_range(step->plan, &step->bindings[i]);
        if (meet(&own, &other))
            return fail_overlap(&own, &other);
    }
    return CLATTN_OK;
}
