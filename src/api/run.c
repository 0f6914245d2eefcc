/* The short way: host pointers, one blocking call. Memory is wrapped where the device shares it
 * with the host, and copied elsewhere. */
#include <inttypes.h>
#include <string.h>

#include "api/check.h"
#include "api/remembered.h"
#include "problem/overlap.h"
#include "problem/values.h"

/* One slot on its way: the caller's bytes and the buffer that stands for them. */
typedef struct slot_memory {
    unsigned char *low; /* first byte touched */
    uint64_t size;      /* bytes; 0: an empty tensor */
    uint64_t offset;    /* bytes from `low` to element (0, 0, ...) */
    struct clattn_buffer buffer;
} slot_memory;

typedef struct one_call {
    clattn_context *context;
    clattn__problem problem;
    clattn__functions functions;
    slot_memory slot[CLATTN_SLOT_LIMIT]; /* by slot */
    bool bound[CLATTN_SLOT_LIMIT];
    clattn_slot listed[CLATTN_SLOT_LIMIT]; /* those that are bound, ascending */
    uint32_t count;                        /* of them */
    bool zero_copy;
} one_call;

static clattn_status take_binding(one_call *call, const clattn_host_binding *binding)
{
    const clattn__slot_info *info = clattn__slot_get((uint32_t)binding->slot);
    if (!info)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "bindings: %d is not a slot", (int)binding->slot);
    if (!clattn__problem_has(&call->problem, info->slot))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is bound, but desc.slots does not name it",
                            info->name);
    if (call->bound[info->slot])
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is bound twice", info->name);
    if (binding->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: reserved is %" PRIu32 ", must be 0",
                            info->name, binding->reserved);
    int64_t low, high;
    clattn__slot_span(&call->problem, info->slot, &low, &high);
    if (high > low && !binding->data)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: data is NULL", info->name);
    const uint32_t size = clattn__dtype_get((clattn_dtype)call->problem.dtype[info->slot])->size;
    if ((uintptr_t)binding->data % size != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: data is not aligned to the element's %" PRIu32 " bytes",
                            info->name, size);
    slot_memory *memory = &call->slot[info->slot];
    memory->size = (uint64_t)(high - low);
    memory->offset = (uint64_t)-low;
    memory->low = high > low ? (unsigned char *)binding->data + low : NULL;
    call->bound[info->slot] = true;
    return CLATTN_OK;
}

static clattn_status take_bindings(one_call *call, const clattn_host_binding *bindings,
                                   uint32_t count)
{
    if (count && !bindings)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "bindings: is NULL");
    for (uint32_t i = 0; i < count; i++)
        CLATTN__TRY(take_binding(call, &bindings[i]));
    const uint32_t slots = clattn__slot_count();
    for (uint32_t slot = 0; slot < slots; slot++) {
        if (call->bound[slot])
            call->listed[call->count++] = (clattn_slot)slot;
        else if (clattn__problem_has(&call->problem, (clattn_slot)slot))
            return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is not bound",
                                clattn__slot_get(slot)->name);
    }
    return CLATTN_OK;
}

/* Whether what is written shares memory with any other slot. */
static clattn_status check_overlap(const one_call *call, clattn_slot written)
{
    const slot_memory *one = &call->slot[written];
    if (!one->size || !clattn__problem_writes(&call->problem, written))
        return CLATTN_OK;
    for (uint32_t i = 0; i < call->count; i++) {
        const clattn_slot slot = call->listed[i];
        const slot_memory *other = &call->slot[slot];
        if (slot == written || !other->size)
            continue;
        if (clattn__slots_collide(&call->problem, written,
                                  (uint64_t)(uintptr_t)one->low + one->offset, slot,
                                  (uint64_t)(uintptr_t)other->low + other->offset))
            return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is written and shares memory with %s",
                                clattn__slot_get((uint32_t)written)->name,
                                clattn__slot_get((uint32_t)slot)->name);
    }
    return CLATTN_OK;
}

static clattn_status check_overlaps(const one_call *call)
{
    for (uint32_t i = 0; i < call->count; i++)
        CLATTN__TRY(check_overlap(call, call->listed[i]));
    return CLATTN_OK;
}

static clattn_status check_values(const one_call *call)
{
    const void *at[CLATTN_SLOT_LIMIT] = {NULL};
    for (uint32_t i = 0; i < call->count; i++) {
        const slot_memory *memory = &call->slot[call->listed[i]];
        if (memory->size)
            at[call->listed[i]] = memory->low + memory->offset;
    }
    return clattn__values_check(&call->problem, at);
}

static clattn_status name_slot(clattn_status status, const clattn__slot_info *info)
{
    if (status == CLATTN_OK)
        return status;
    return clattn__fail(status, "%s: %s", info->name, clattn__message());
}

/* Gives the slot a buffer: its own bytes, or a copy on the device. */
static clattn_status attach(one_call *call, const clattn__slot_info *info)
{
    slot_memory *memory = &call->slot[info->slot];
    clattn__device *device = call->context->device;
    memory->buffer.context = call->context;
    if (!memory->size)
        return clattn__memory_create(device, sizeof(float), &memory->buffer.memory);
    if (call->zero_copy)
        return clattn__memory_wrap_host(device, memory->low, memory->size,
                                        !clattn__problem_writes(&call->problem, info->slot),
                                        &memory->buffer.memory);
    CLATTN__TRY(clattn__memory_create(device, memory->size, &memory->buffer.memory));
    /* Outputs are copied too: a tensor with gaps must come back with what was in them. */
    return clattn__memory_write(memory->buffer.memory, 0, memory->low, memory->size);
}

static clattn_status attach_all(one_call *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        const clattn__slot_info *info = clattn__slot_get((uint32_t)call->listed[i]);
        CLATTN__TRY(name_slot(attach(call, info), info));
    }
    return CLATTN_OK;
}

static void detach_all(one_call *call)
{
    for (uint32_t i = 0; i < call->count; i++)
        clattn__memory_release(call->slot[call->listed[i]].buffer.memory);
}

/* Makes what the device wrote visible to the host. */
static clattn_status fetch(one_call *call, clattn_slot slot)
{
    slot_memory *memory = &call->slot[slot];
    if (!memory->size || !clattn__problem_writes(&call->problem, slot))
        return CLATTN_OK;
    if (!call->zero_copy)
        return clattn__memory_read(memory->buffer.memory, 0, memory->low, memory->size);
    return clattn__memory_show(memory->buffer.memory);
}

static clattn_status fetch_all(one_call *call)
{
    for (uint32_t i = 0; i < call->count; i++)
        CLATTN__TRY(
            name_slot(fetch(call, call->listed[i]), clattn__slot_get((uint32_t)call->listed[i])));
    return CLATTN_OK;
}

static clattn_status submit_and_wait(one_call *call, const clattn_plan *plan)
{
    clattn_dispatcher *dispatcher;
    clattn_event *event;
    clattn_binding bindings[CLATTN_SLOT_LIMIT];
    clattn_step step = {.plan = plan, .bindings = bindings};
    for (; step.binding_count < call->count; step.binding_count++) {
        slot_memory *memory = &call->slot[call->listed[step.binding_count]];
        bindings[step.binding_count] = (clattn_binding){
            .slot = call->listed[step.binding_count],
            .buffer = &memory->buffer,
            .offset = memory->offset,
        };
    }
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    CLATTN__TRY(clattn__remembered_dispatcher(call->context, &dispatcher));
    CLATTN__TRY(clattn__submit(dispatcher, &submission, (clattn__wait_list){0}, &event));
    const clattn_status status = clattn_event_wait(event, UINT64_MAX);
    clattn_event_release(event);
    return status;
}

static clattn_status execute(one_call *call)
{
    const clattn_plan *plan;
    CLATTN__TRY(clattn__remembered_plan(call->context, &call->problem, &call->functions, &plan));
    clattn_status status = attach_all(call);
    if (status == CLATTN_OK)
        status = submit_and_wait(call, plan);
    if (status == CLATTN_OK)
        status = fetch_all(call);
    detach_all(call);
    clattn__plan_release(plan);
    return status;
}

/* With context, problem and functions filled in. */
static clattn_status run(one_call *call, const clattn_host_binding *bindings, uint32_t count)
{
    CLATTN__TRY(take_bindings(call, bindings, count));
    CLATTN__TRY(check_overlaps(call));
    CLATTN__TRY(check_values(call));
    if (clattn__problem_is_empty(&call->problem))
        return CLATTN_OK;
    call->zero_copy = clattn__device_caps(call->context->device)->unified_memory;
    return execute(call);
}

clattn_status clattn_run(clattn_context *context, const clattn_attention_desc *desc,
                         const clattn_host_binding *bindings, uint32_t count)
{
    one_call call = {.context = context};
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__problem_init(&call.problem, desc));
    call.functions = (clattn__functions){desc->score_function, desc->mask_function, NULL};
    return run(&call, bindings, count);
}

clattn_status clattn_run_gradient(clattn_context *context, const clattn_attention_desc *desc,
                                  const clattn_host_binding *bindings, uint32_t count)
{
    one_call call = {.context = context};
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__problem_init_gradient(&call.problem, desc));
    call.functions =
        (clattn__functions){desc->score_function, desc->mask_function, desc->score_gradient};
    return run(&call, bindings, count);
}

clattn_status clattn_linear(clattn_context *context, const clattn_linear_desc *desc,
                            const clattn_host_binding *bindings, uint32_t count)
{
    one_call call = {.context = context};
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__problem_init_linear(&call.problem, desc, CLATTN__LINEAR));
    return run(&call, bindings, count);
}

clattn_status clattn_merge(clattn_context *context, const clattn_merge_desc *desc,
                           const clattn_host_binding *bindings, uint32_t count)
{
    one_call call = {.context = context};
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__problem_init_merge(&call.problem, desc));
    return run(&call, bindings, count);
}

clattn_status clattn_attention(clattn_context *context, const clattn_attention_desc *desc,
                               const void *q, const void *k, const void *v, void *out)
{
    /* Slots that are read are never written, so dropping const is safe. */
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, (void *)(uintptr_t)q},
        {CLATTN_SLOT_K, 0, (void *)(uintptr_t)k},
        {CLATTN_SLOT_V, 0, (void *)(uintptr_t)v},
        {CLATTN_SLOT_OUT, 0, out},
    };
    CLATTN__TRY(clattn__require(desc, "desc"));
    return clattn_run(context, desc, bindings, sizeof bindings / sizeof bindings[0]);
}
