/* Fills kernel arguments by their sources, as the registry lists them. */
#include "plan/launch.h"

#include <string.h>

/* What the variant says about a tensor of the problem row (CLATTN_T_*); NULL: it is its slot's. */
static const clattn__scratch *scratch_of(const clattn_plan *plan, uint32_t tensor)
{
    for (uint32_t i = 0; i < plan->variant.scratch_count; i++)
        if (plan->variant.scratch[i].tensor == tensor)
            return &plan->variant.scratch[i];
    return NULL;
}

/* The slot whose memory a tensor is in; -1: no slot's. */
static int32_t slot_of(const clattn_plan *plan, uint32_t tensor)
{
    const clattn__scratch *scratch = scratch_of(plan, tensor);
    if (scratch)
        return scratch->slot;
    return tensor < CLATTN_T_SLOTS ? (int32_t)tensor : -1;
}

/* Where a tensor is: a slot's memory or the workspace. */
static clattn__place place_of(const clattn_plan *plan, uint32_t tensor, const clattn__bound *bound)
{
    const int32_t slot = slot_of(plan, tensor);
    if (slot >= 0)
        return bound->slot[slot];
    return scratch_of(plan, tensor) ? bound->workspace : (clattn__place){0};
}

/* Elements of a tensor in `bytes`; scratch and what takes no part count as float. */
static uint64_t elements_of(const clattn_plan *plan, uint32_t tensor, uint64_t bytes)
{
    const int32_t slot = slot_of(plan, tensor);
    if (slot < 0 || !clattn__problem_has(&plan->problem, (clattn_slot)slot))
        return bytes / sizeof(float);
    const clattn__dtype_info *dtype = clattn__dtype_get((clattn_dtype)plan->problem.dtype[slot]);
    return bytes / dtype->size * dtype->elements;
}

static void fill_base(const clattn_plan *plan, const clattn__bound *bound, clattn_base *base)
{
    memset(base, 0, sizeof *base);
    for (uint32_t tensor = 0; tensor < CLATTN_T_COUNT; tensor++) {
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

static clattn__argument argument_of(const clattn_plan *plan,
                                    const clattn__launch_argument *argument,
                                    const call_values *values)
{
    clattn__memory *memory = NULL;
    switch (argument->source) {
    case CLATTN__ARG_BASE:
        return (clattn__argument){.bytes = &values->base, .size = sizeof values->base};
    case CLATTN__ARG_FIRST:
        return (clattn__argument){.bytes = &values->first, .size = sizeof values->first};
    case CLATTN__ARG_COUNT:
        return (clattn__argument){.bytes = &values->count, .size = sizeof values->count};
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
    if (!memory)
        return (clattn__argument){.memory = NULL};
    return (clattn__argument){.memory = values->bound->device
                                            ? clattn__memory_cl_on(memory, values->bound->device)
                                            : clattn__memory_cl(memory)};
}

/* The rest of `call` is filled in by the caller. */
static clattn_status enqueue(const clattn_plan *plan, uint32_t index, const call_values *values,
                             clattn__queue *queue, clattn__launch_call *call,
                             struct _cl_event **event)
{
    const clattn__launch *launch = &plan->variant.launch[index];
    clattn__argument arguments[CLATTN__MAX_ARGUMENTS];
    for (uint32_t i = 0; i < launch->argument_count; i++)
        arguments[i] = argument_of(plan, &launch->argument[i], values);
    call->function = plan->launch[index].function;
    call->arguments = arguments;
    call->argument_count = launch->argument_count;
    call->group_size = launch->config.group_size;
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
