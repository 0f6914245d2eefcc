/* Making a plan: select, look up functions, write the tables, warm up, explain. */
#include "plan/plan.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "plan/explain.h"
#include "plan/launch.h"
#include "schedule/work_cost.h"

/* More items than this have no need of company in their launches; nor has more scratch memory,
 * bytes, since those that may run in any order have it each for themselves. */
#define MOST_SHARED_ITEMS     1024
#define MOST_SHARED_WORKSPACE 16777216

static clattn_status make_rows(clattn_plan *plan)
{
    clattn_problem_row row;
    memset(&row, 0, sizeof row);
    clattn__problem_row_fill(&plan->problem, &plan->variant, &row);
    if (plan->host_row)
        *plan->host_row = row;
    return clattn__memory_create_constant(plan->context->device, &row, sizeof row, &plan->rows);
}

/* Counts the items of every launch; *total is their sum. */
static clattn_status count_items(clattn_plan *plan, uint64_t *total)
{
    *total = 0;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++) {
        const clattn__tiling *tiling = &plan->variant.launch[i].tiling;
        const uint64_t count = clattn__work_list_count(&plan->problem, tiling);
        const uint32_t group_size = plan->variant.launch[i].config.group_size;
        const uint64_t most = INT32_MAX / (group_size > 0 ? group_size : 1);
        if (count > most || *total + count > INT32_MAX)
            return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                                "the problem has more than %" PRIu64 " work-groups (%s needs "
                                "%" PRIu64 "); split the batch",
                                most, plan->variant.launch[i].function, count);
        plan->launch[i].first = (uint32_t)*total;
        plan->launch[i].count = (uint32_t)count;
        *total += count;
    }
    return CLATTN_OK;
}

/* What parts of the launches are cut by. */
static clattn_status sum_costs(clattn_plan *plan, const clattn_work_item *items)
{
    plan->costs =
        clattn__alloc_array(&plan->context->env, (size_t)plan->groups + 1, sizeof *plan->costs);
    if (!plan->costs)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++) {
        const clattn__launch *launch = &plan->variant.launch[i];
        const clattn__planned_launch *planned = &plan->launch[i];
        clattn__work_costs(&plan->problem, &launch->tiling, launch->light, items + planned->first,
                           planned->count, plan->costs + planned->first);
    }
    return CLATTN_OK;
}

static bool may_share(const clattn_plan *plan)
{
    return plan->kernel->shares && plan->groups <= MOST_SHARED_ITEMS &&
           plan->variant.workspace <= MOST_SHARED_WORKSPACE;
}

static clattn_status make_items(clattn_plan *plan)
{
    uint64_t total;
    CLATTN__TRY(count_items(plan, &total));
    plan->groups = total;
    if (total == 0)
        return CLATTN_OK;
    const clattn__env *env = &plan->context->env;
    clattn_work_item *items = clattn__alloc_array(env, (size_t)total, sizeof *items);
    if (!items)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        if (plan->launch[i].count)
            clattn__work_list_fill(&plan->problem, &plan->variant.launch[i].tiling,
                                   items + plan->launch[i].first);
    clattn_status status = sum_costs(plan, items);
    if (status == CLATTN_OK)
        status = clattn__memory_create_constant(plan->context->device, items, total * sizeof *items,
                                                &plan->items);
    if (status == CLATTN_OK && may_share(plan)) {
        plan->host_items = items;
        return CLATTN_OK;
    }
    clattn__free(env, items);
    return status;
}

/* Room for what launches that several plans share need of this one, and which plans those are. */
static clattn_status prepare_sharing(clattn_plan *plan)
{
    /* plans of one family have the same functions, and the same tensors in scratch memory */
    struct {
        void *function[CLATTN__MAX_LAUNCHES];
        int64_t scratch[CLATTN__MAX_SCRATCH][2], has_workspace;
    } common;
    if (!plan->host_items)
        return CLATTN_OK;
    memset(&common, 0, sizeof common);
    common.has_workspace = plan->variant.workspace > 0;
    plan->host_row = clattn__alloc_array(&plan->context->env, 1, sizeof *plan->host_row);
    if (!plan->host_row)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        common.function[i] = plan->launch[i].function;
    for (uint32_t i = 0; i < plan->variant.scratch_count; i++) {
        common.scratch[i][0] = plan->variant.scratch[i].tensor;
        common.scratch[i][1] = plan->variant.scratch[i].slot;
    }
    plan->family = clattn__hash_bytes(&common, sizeof common).low | 1;
    return CLATTN_OK;
}

static clattn_status find_functions(clattn_plan *plan)
{
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        CLATTN__TRY(clattn__program_function(
            plan->launch[i].program, plan->variant.launch[i].function, &plan->launch[i].function));
    return CLATTN_OK;
}

/* All that follows from what was selected. `declined` has a line for each kernel that was not. */
static clattn_status fill(clattn_plan *plan, const clattn__selection *selection,
                          const char *declined)
{
    plan->kernel = selection->kernel;
    plan->variant = selection->variant;
    plan->origin = selection->origin;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        plan->launch[i].program = selection->program[i];
    plan->from_cache = selection->from_cache;
    clattn__find_homes(plan);
    CLATTN__TRY(find_functions(plan));
    CLATTN__TRY(make_items(plan));
    CLATTN__TRY(prepare_sharing(plan));
    CLATTN__TRY(make_rows(plan));
    CLATTN__TRY(clattn__plan_warm_up(plan));
    return clattn__plan_explain(plan, declined);
}

static void list_slots(clattn_plan *plan)
{
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        clattn__planned_slot *made = &plan->slot[plan->slot_count];
        if (!clattn__problem_has(&plan->problem, (clattn_slot)slot))
            continue;
        made->slot = slot;
        clattn__slot_span(&plan->problem, (clattn_slot)slot, &made->low, &made->high);
        plan->slot_count++;
    }
}

/* A plan with nothing but its problem. */
static clattn_status begin(clattn_context *context, const clattn__problem *problem,
                           clattn_plan **plan)
{
    clattn_plan *made = clattn__alloc_array(&context->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    atomic_init(&made->references, 1);
    made->context = context;
    memcpy(&made->problem, problem, sizeof *problem);
    list_slots(made);
    clattn__context_hold(context);
    *plan = made;
    return CLATTN_OK;
}

static void destroy(clattn_plan *plan)
{
    clattn_context *context = plan->context;
    for (uint32_t i = 0; plan->peer && i < context->peer_count; i++)
        clattn__plan_release(plan->peer[i]);
    clattn__free(&context->env, plan->peer);
    clattn__memory_release(plan->items);
    clattn__memory_release(plan->rows);
    clattn__free(&context->env, plan->host_row);
    clattn__free(&context->env, plan->costs);
    clattn__free(&context->env, plan->host_items);
    clattn__free(&context->env, plan->explanation);
    clattn__free(&context->env, plan);
    clattn__context_drop(context);
}

/* Plans for the other devices. One that can't be made is left out: its device takes no part. */
static clattn_status plan_peers(clattn_plan *plan, const clattn__functions *functions)
{
    clattn_context *context = plan->context;
    if (context->peer_count == 0)
        return CLATTN_OK;
    plan->peer = clattn__alloc_array(&context->env, context->peer_count, sizeof(clattn_plan *));
    if (!plan->peer)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < context->peer_count; i++) {
        const clattn_status status =
            clattn__plan_create(context->peer[i], &plan->problem, functions, &plan->peer[i]);
        if (status == CLATTN_ERR_OUT_OF_MEMORY)
            return status;
        CLATTN__TRY(clattn__plan_explain_peer(plan, context->peer[i], plan->peer[i]));
        const uint64_t family = plan->peer[i] ? plan->peer[i]->family : 1;
        plan->family = family && plan->family ? (plan->family * 31 ^ family) | 1 : 0;
    }
    return CLATTN_OK;
}

/* `alone`: for the context's first device only. */
static clattn_status create(clattn_context *context, const clattn__problem *problem,
                            const clattn__functions *functions, bool alone, clattn_plan **plan)
{
    const uint64_t start = clattn__now_ns();
    clattn_plan *made;
    clattn__selection selection;
    clattn__text declined;
    CLATTN__TRY(begin(context, problem, &made));
    clattn__text_init(&declined, &context->env);
    clattn_status status =
        clattn__select_kernel(context, problem, functions, &declined, &selection);
    if (status == CLATTN_OK)
        status = fill(made, &selection, clattn__text_get(&declined));
    clattn__text_finish(&declined);
    if (status == CLATTN_OK && !alone)
        status = plan_peers(made, functions);
    if (status != CLATTN_OK) {
        destroy(made);
        return status;
    }
    made->seconds = (double)(clattn__now_ns() - start) * 1e-9;
    clattn__log(&context->env, CLATTN_LOG_DISPATCH, "planned with %s in %.6f s%s",
                made->kernel->name, made->seconds, made->from_cache ? " (cached)" : "");
    *plan = made;
    return CLATTN_OK;
}

clattn_status clattn__plan_create(clattn_context *context, const clattn__problem *problem,
                                  const clattn__functions *functions, clattn_plan **plan)
{
    return create(context, problem, functions, false, plan);
}

clattn_status clattn__plan_create_first(clattn_context *context, const clattn__problem *problem,
                                        const clattn__functions *functions, clattn_plan **plan)
{
    return create(context, problem, functions, true, plan);
}

clattn_status clattn__plan_create_as(clattn_context *context, const clattn__problem *problem,
                                     const clattn__kernel *kernel, const clattn__config *config,
                                     clattn_plan **plan)
{
    clattn_plan *made;
    clattn__selection selection;
    CLATTN__TRY(begin(context, problem, &made));
    clattn_status status = clattn__select_as(context, problem, kernel, config, &selection);
    if (status == CLATTN_OK)
        status = fill(made, &selection, "");
    if (status != CLATTN_OK) {
        destroy(made);
        return status;
    }
    *plan = made;
    return CLATTN_OK;
}

const clattn_plan *clattn__plan_on(const clattn_plan *plan, const clattn__device *device)
{
    const clattn_context *context = plan->context;
    if (context->device == device)
        return plan;
    for (uint32_t i = 0; plan->peer && i < context->peer_count; i++)
        if (context->peer[i]->device == device)
            return plan->peer[i];
    return NULL;
}

uint64_t clattn__plan_workspace(const clattn_plan *plan)
{
    uint64_t most = plan->variant.workspace;
    for (uint32_t i = 0; plan->peer && i < plan->context->peer_count; i++)
        if (plan->peer[i] && plan->peer[i]->variant.workspace > most)
            most = plan->peer[i]->variant.workspace;
    return most;
}

/* A plan's own count is the one thing in it that changes. */
void clattn__plan_retain(const clattn_plan *plan)
{
    atomic_fetch_add(&((clattn_plan *)plan)->references, 1);
}

void clattn__plan_release(const clattn_plan *plan)
{
    if (plan && atomic_fetch_sub(&((clattn_plan *)plan)->references, 1) == 1)
        destroy((clattn_plan *)plan);
}

clattn_status clattn__plan_check(const clattn_plan *plan)
{
    if (!plan)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "plan: is NULL");
    return clattn__context_check(plan->context);
}
