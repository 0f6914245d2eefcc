/* Says in words what a plan will do and why. */
#include "plan/explain.h"

#include <inttypes.h>

static void add_launches(const clattn_plan *plan, clattn__text *text)
{
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        clattn__text_add(text, "launch %" PRIu32 ": %s, %" PRIu32 " work-groups of %" PRIu32 "\n",
                         i + 1, plan->variant.launch[i].function, plan->launch[i].count,
                         plan->variant.launch[i].config.group_size);
}

static const char *const kinds[CLATTN__KIND_COUNT] = {
    [CLATTN__ATTENTION] = "attention",
    [CLATTN__MERGE] = "merge",
    [CLATTN__GRADIENT] = "gradients of attention",
    [CLATTN__APPEND] = "append",
    [CLATTN__ROTARY] = "rotary embedding",
    [CLATTN__SHIFT] = "shift of positions",
    [CLATTN__TOP_K] = "top-k attention",
    [CLATTN__LINEAR] = "linear projection",
    [CLATTN__LINEAR_X] = "gradient of a linear projection by x",
    [CLATTN__LINEAR_W] = "gradients of a linear projection by W and b",
    [CLATTN__LINEAR_PACK] = "packing of weights",
    [CLATTN__ADDITIVE] = "additive attention",
    [CLATTN__ADDITIVE_GRADIENT] = "gradients of additive attention",
};

static void add_origin(const clattn__origin *origin, clattn__text *text)
{
    const uint32_t thousandths = (uint32_t)(origin->speedup * 1000 + 0.5);
    if (!origin->problem_class)
        clattn__text_add(text, "\nconfigured: built in");
    else
        clattn__text_add(text,
                         "\nconfigured: by the tuning file%s, %s, measured at %" PRIu32
                         ".%03" PRIu32 " times the built-in speed",
                         origin->follows ? ", with the bits of" : "", origin->problem_class,
                         thousandths / 1000, thousandths % 1000);
}

clattn_status clattn__plan_explain(clattn_plan *plan, const char *declined)
{
    char problem[512];
    clattn__problem_describe(&plan->problem, problem, sizeof problem);
    clattn__text text;
    clattn__text_init(&text, &plan->context->env);
    clattn__text_add(&text, "problem: %s %s\n", kinds[plan->problem.kind], problem);
    clattn__text_add(&text, "device: %s\n", clattn__device_info(plan->context->device)->name);
    clattn__text_add(&text, "%s", declined);
    clattn__text_add(&text, "kernel: %s\nconfiguration: ", plan->kernel->name);
    clattn__config_describe(&plan->variant.config, &text);
    if (plan->kernel->tunable)
        add_origin(&plan->origin, &text);
    clattn__text_add(&text, "\nworkspace: %" PRIu64 " bytes\n", plan->variant.workspace);
    add_launches(plan, &text);
    clattn_status status = clattn__text_status(&text);
    if (status == CLATTN_OK) {
        plan->explanation = clattn__text_take(&text);
        if (!plan->explanation)
            status = CLATTN_ERR_OUT_OF_MEMORY;
    }
    clattn__text_finish(&text);
    return status;
}

clattn_status clattn__plan_explain_peer(clattn_plan *plan, const clattn_context *context,
                                        const clattn_plan *peer)
{
    const char *name = clattn__device_info(context->device)->name;
    clattn__text text;
    clattn__text_init(&text, &plan->context->env);
    clattn__text_add(&text, "%s\n", plan->explanation);
    if (peer)
        clattn__text_add(&text, "%s", peer->explanation);
    else
        clattn__text_add(&text, "device: %s\nhas no part: %s\n", name, clattn__message());
    clattn_status status = clattn__text_status(&text);
    char *made = status == CLATTN_OK ? clattn__text_take(&text) : NULL;
    clattn__text_finish(&text);
    if (!made)
        return status == CLATTN_OK ? CLATTN_ERR_OUT_OF_MEMORY : status;
    clattn__free(&plan->context->env, plan->explanation);
    plan->explanation = made;
    return CLATTN_OK;
}
