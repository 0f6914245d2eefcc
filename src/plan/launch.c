/* Fills kernel arguments by their sources, as the registry lists them. */
#include "plan/launch.h"

#include <string.h>

static int16_t home_of(const clattn_plan *plan, uint32_t tensor)
{
    int32_t slot = tensor < CLATTN_T_SLOTS ? (int32_t)tensor : CLATTN__NOWHERE;
    for (uint32_t i = 0; i < plan->variant.scratch_count; i++) {
        const clattn__scratch *scratch = &plan->variant.scratch[i];
        if (scratch->tensor == tensor)
            slot = scratch->slot >= 0 ? scratch->slot : CLATTN__IN_WORKSPACE;
    }
    if (slot >= 0 && !clattn__problem_has(&plan->problem, (clattn_slot)slot))
        slot = CLATTN__NOWHERE;
    return (int16_t)slot;
}

static void list_arguments(const clattn_plan *plan, const clattn__launch *launch,
                           clattn__planned_launch *planned)
{
    for (uint32_t i = 0; i < launch->argument_count; i++) {
        const clattn__launch_argument *argument = &launch->argument[i];
        if (argument->source == CLATTN__ARG_TENSOR &&
            plan->home[argument->tensor] == CLATTN__NOWHERE)
            planned->absent |= (uint64_t)1 << i;
        else
            planned->present[planned->present_count++] = (uint8_t)i;
    }
}

void clattn__find_homes(clattn_plan *plan)
{
    for (uint32_t tensor = 0; tensor < CLATTN_T_COUNT; tensor++) {
        plan->home[tensor] = home_of(plan, tensor);
        if (plan->home[tensor] != CLATTN__NOWHERE)
            plan->tensor[plan->tensor_count++] = (uint8_t)tensor;
    }
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        list_arguments(plan, &plan->variant.launch[i], &plan->launch[i]);
}

/* Where a tensor is: a slot's memory or the workspace. */
static clattn__place place_of(const clattn_plan *plan, uint32_t tensor, const clattn__bound *bound)
{
    const int home = plan->home[tensor];
    if (home >= 0)
        return bound->slot[home];
    return home == CLATTN__IN_WORKSPACE ? bound->workspace : (clattn__place){0};
}

/* Elements of a tensor in `bytes`; scratch counts as float. */
static uint64_t elements_of(const clattn_plan *plan, uint32_t tensor, uint64_t bytes)
{
    const int slot = plan->home[tensor];
    if (slot < 0)
        return bytes / sizeof(float);
    const clattn__dtype_info *dtype = clattn__dtype_get((clattn_dtype)plan->problem.dtype[slot]);
    return bytes / dtype->size * dtype->elements;
}

static void fill_base(const clattn_plan *plan, const clattn__bound *bound, clattn_base *base)
{
    memset(base, 0, sizeof *base);
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        const uint32_t tensor = plan->tensor[i];
        const uint64_t offset = place_of(plan, tensor, bound).offset;
        if (offset)
            base->offset[tensor] = (int64_t)elements_of(plan, tensor, offset);
    }
}

/* What the arguments point to while a launch is enqueued. */
typedef struct call_values {
    const clattn__bound *bound;
    clattn_base base;
    uint32_t first, count;
    clattn__memory *rows, *items;
} call_values;

static clattn__argument argument_of(const clattn_plan *plan, uint32_t launch, uint32_t index,
                                    const call_values *values)
{
    const clattn__launch_argument *argument = &plan->variant.launch[launch].argument[index];
    clattn__argument made = {.index = index};
    clattn__memory *memory = NULL;
    switch (argument->source) {
    case CLATTN__ARG_BASE:
        made.bytes = &values->base;
        made.size = sizeof values->base;
        return made;
    case CLATTN__ARG_FIRST:
        made.bytes = &values->first;
        made.size = sizeof values->first;
        return made;
    case CLATTN__ARG_COUNT:
        made.bytes = &values->count;
        made.size = sizeof values->count;
        return made;
    case CLATTN__ARG_ROWS:
        memory = values->rows;
        break;
    case CLATTN__ARG_ITEMS:
        memory = values->items;
        break;
    case CLATTN__ARG_TENSOR:
        memory = place_of(plan, argument->tensor, values->bound).memory;
        break;
    }
    if (memory)
        made.memory = values->bound->device ? clattn__memory_cl_on(memory, values->bound->device)
                                            : clattn__memory_cl(memory);
    return made;
}

/* The rest of `call` is filled in by the caller. */
static clattn_status enqueue(const clattn_plan *plan, uint32_t index, const call_values *values,
                             clattn__queue *queue, clattn__launch_call *call,
                             struct _cl_event **event)
{
    const clattn__planned_launch *planned = &plan->launch[index];
    clattn__argument arguments[CLATTN__MAX_ARGUMENTS];
    for (uint32_t i = 0; i < planned->present_count; i++)
        arguments[i] = argument_of(plan, index, planned->present[i], values);
    call->function = planned->function;
    call->arguments = arguments;
    call->argument_count = planned->present_count;
    call->absent = planned->absent;
    call->group_size = plan->variant.launch[index].config.group_size;
    const clattn_status status = clattn__queue_launch(queue, call, event);
    call->arguments = NULL; /* they end here */
    return status;
}

clattn__launch_part clattn__plan_part(const clattn_plan *plan, uint32_t launch)
{
    return (clattn__launch_part){.launch = launch, .count = plan->launch[launch].count};
}

clattn_status clattn__plan_launch(const clattn_plan *plan, clattn__launch_part part,
                                  const clattn__bound *bound, clattn__queue *queue,
                                  clattn__wait_list wait, struct _cl_event **event)
{
    call_values values = {.bound = bound,
                          .first = plan->launch[part.launch].first + part.first,
                          .count = part.count,
                          .rows = plan->rows,
                          .items = plan->items};
    fill_base(plan, bound, &values.base);
    clattn__launch_call call = {
        .groups = values.count, .wait = wait.event, .wait_count = wait.count};
    return enqueue(plan, part.launch, &values, queue, &call, event);
}

void clattn__shared_row(const clattn_plan *plan, const clattn__bound *bound,
                        clattn_problem_row *row)
{
    clattn_base base;
    fill_base(plan, bound, &base);
    *row = *plan->host_row;
    for (uint32_t tensor = 0; tensor < CLATTN_T_COUNT; tensor++)
        row->tensor[tensor].offset += base.offset[tensor];
}

uint32_t clattn__shared_items(const clattn_plan *plan, uint32_t launch, uint32_t row,
                              clattn_work_item *items)
{
    const clattn__planned_launch *of = &plan->launch[launch];
    for (uint32_t i = 0; i < of->count; i++) {
        items[i] = plan->host_items[of->first + i];
        items[i].row = (int32_t)row;
    }
    return of->count;
}

clattn_status clattn__shared_launch(const clattn_plan *plan, uint32_t launch,
                                    const clattn__bound *bound, const clattn__shared_tables *tables,
                                    clattn__queue *queue, struct _cl_event **event)
{
    const call_values values = {.bound = bound,
                                .first = tables->first,
                                .count = tables->count,
                                .rows = tables->rows,
                                .items = tables->items};
    clattn__launch_call call = {
        .groups = values.count, .wait = tables->wait.event, .wait_count = tables->wait.count};
    return enqueue(plan, launch, &values, queue, &call, event);
}

/* Launches those that were never launched, without work. */
static clattn_status warm_up(const clattn_plan *plan, clattn__queue *queue)
{
    const clattn__bound nothing = {0};
    const call_values values = {.bound = &nothing, .rows = plan->rows, .items = plan->items};
    for (uint32_t i = 0; i < plan->variant.launch_count; i++) {
        clattn__launch_call call = {.groups = 1};
        if (clattn__program_is_ready(plan->launch[i].program))
            continue;
        CLATTN__TRY(enqueue(plan, i, &values, queue, &call, NULL));
        CLATTN__TRY(clattn__queue_finish(queue));
        clattn__program_ready(plan->launch[i].program);
    }
    return CLATTN_OK;
}

static bool is_ready(const clattn_plan *plan)
{
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        if (!clattn__program_is_ready(plan->launch[i].program))
            return false;
    return true;
}

clattn_status clattn__plan_warm_up(const clattn_plan *plan)
{
    clattn__queue *queue;
    if (is_ready(plan))
        return CLATTN_OK;
    CLATTN__TRY(clattn__queue_create(plan->context->device, &queue));
    const clattn_status status = warm_up(plan, queue);
    clattn__queue_destroy(queue);
    return status;
}
