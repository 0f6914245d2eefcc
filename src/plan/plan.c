/* Making a plan: select, look up functions, write the tables, warm up, explain. */
#include "plan/plan.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "plan/explain.h"
#include "plan/launch.h"

/* More items than this have no need of company in their launches. */
#define MOST_SHARED_ITEMS 1024

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
        if (count > INT32_MAX || *total + count > INT32_MAX)
            return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                                "the problem has more than 2^31-1 work-groups (%s needs %" PRIu64
                                "); split the batch",
                                plan->variant.launch[i].function, count);
        plan->launch[i].first = (uint32_t)*total;
        plan->launch[i].count = (uint32_t)count;
        *total += count;
    }
    return CLATTN_OK;
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
    const clattn_status status = clattn__memory_create_constant(
        plan->context->device, items, total * sizeof *items, &plan->items);
    if (status == CLATTN_OK && total <= MOST_SHARED_ITEMS && plan->kernel->shares) {
        plan->host_items = items;
        return CLATTN_OK;
    }
    clattn__free(env, items);
    return status;
}

/* Room for what launches that several plans share need of this one, and which plans those are. */
static clattn_status prepare_sharing(clattn_plan *plan)
{
    void *functions[CLATTN__MAX_LAUNCHES] = {NULL};
    if (!plan->host_items)
        return CLATTN_OK;
    plan->host_row = clattn__alloc_array(&plan->context->env, 1, sizeof *plan->host_row);
    if (!plan->host_row)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        functions[i] = plan->launch[i].function;
    plan->family = clattn__hash_bytes(functions, sizeof functions).low | 1;
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
    CLATTN__TRY(find_functions(plan));
    CLATTN__TRY(make_items(plan));
    CLATTN__TRY(prepare_sharing(plan));
    CLATTN__TRY(make_rows(plan));
    CLATTN__TRY(clattn__plan_warm_up(plan));
    return clattn__plan_explain(plan, declined);
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
    clattn__context_hold(context);
    *plan = made;
    return CLATTN_OK;
}

static void destroy(clattn_plan *plan)
{
    clattn_context *context = plan->context;
    clattn__memory_release(plan->items);
    clattn__memory_release(plan->rows);
    clattn__free(&context->env, plan->host_row);
    clattn__free(&context->env, plan->host_items);
    clattn__free(&context->env, plan->explanation);
    clattn__free(&context->env, plan);
    clattn__context_drop(context);
}

clattn_status clattn__plan_create(clattn_context *context, const clattn__problem *problem,
                                  const clattn__functions *functions, clattn_plan **plan)
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
