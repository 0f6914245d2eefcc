/* Plans: the public functions. */
#include <stdio.h>

#include "api/check.h"
#include "plan/plan.h"

clattn_status clattn_plan_attention(clattn_context *context, const clattn_attention_desc *desc,
                                    clattn_plan **plan)
{
    clattn__problem problem;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)plan, "plan"));
    CLATTN__TRY(clattn__problem_init(&problem, desc));
    const clattn__functions functions = {desc->score_function, desc->mask_function, NULL};
    return clattn__plan_create(context, &problem, &functions, plan);
}

clattn_status clattn_plan_attention_gradient(clattn_context *context,
                                             const clattn_attention_desc *desc, clattn_plan **plan)
{
    clattn__problem problem;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)plan, "plan"));
    CLATTN__TRY(clattn__problem_init_gradient(&problem, desc));
    const clattn__functions functions = {desc->score_function, desc->mask_function,
                                         desc->score_gradient};
    return clattn__plan_create(context, &problem, &functions, plan);
}

clattn_status clattn_plan_append(clattn_context *context, const clattn_append_desc *desc,
                                 clattn_plan **plan)
{
    static const clattn__functions none = {NULL, NULL, NULL};
    clattn__problem problem;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)plan, "plan"));
    CLATTN__TRY(clattn__problem_init_append(&problem, desc));
    return clattn__plan_create(context, &problem, &none, plan);
}

clattn_status clattn_plan_rotary(clattn_context *context, const clattn_rotary_desc *desc,
                                 clattn_plan **plan)
{
    static const clattn__functions none = {NULL, NULL, NULL};
    clattn__problem problem;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)plan, "plan"));
    CLATTN__TRY(clattn__problem_init_rotary(&problem, desc));
    return clattn__plan_create(context, &problem, &none, plan);
}

clattn_status clattn_plan_shift(clattn_context *context, const clattn_shift_desc *desc,
                                clattn_plan **plan)
{
    static const clattn__functions none = {NULL, NULL, NULL};
    clattn__problem problem;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)plan, "plan"));
    CLATTN__TRY(clattn__problem_init_shift(&problem, desc));
    return clattn__plan_create(context, &problem, &none, plan);
}

static clattn_status plan_linear(clattn_context *context, const clattn_linear_desc *desc,
                                 clattn__kind kind, clattn_plan **plan)
{
    static const clattn__functions none = {NULL, NULL, NULL};
    clattn__problem problem;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)plan, "plan"));
    CLATTN__TRY(clattn__problem_init_linear(&problem, desc, kind));
    return clattn__plan_create(context, &problem, &none, plan);
}

clattn_status clattn_plan_linear(clattn_context *context, const clattn_linear_desc *desc,
                                 clattn_plan **plan)
{
    return plan_linear(context, desc, CLATTN__LINEAR, plan);
}

clattn_status clattn_plan_linear_pack(clattn_context *context, const clattn_linear_desc *desc,
                                      clattn_plan **plan)
{
    return plan_linear(context, desc, CLATTN__LINEAR_PACK, plan);
}

clattn_status clattn_linear_packed_size(const clattn_linear_desc *desc, uint64_t *size)
{
    clattn__problem problem;
    CLATTN__TRY(clattn__require(size, "size"));
    CLATTN__TRY(clattn__problem_init_linear(&problem, desc, CLATTN__LINEAR_PACK));
    *size = sizeof(float) * (uint64_t)problem.extent[CLATTN__PACKED];
    return CLATTN_OK;
}

static clattn_status plan_additive(clattn_context *context, const clattn_additive_desc *desc,
                                   clattn__kind kind, clattn_plan **plan)
{
    static const clattn__functions none = {NULL, NULL, NULL};
    clattn__problem problem;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)plan, "plan"));
    CLATTN__TRY(clattn__problem_init_additive(&problem, desc, kind));
    return clattn__plan_create(context, &problem, &none, plan);
}

clattn_status clattn_plan_additive(clattn_context *context, const clattn_additive_desc *desc,
                                   clattn_plan **plan)
{
    return plan_additive(context, desc, CLATTN__ADDITIVE, plan);
}

clattn_status clattn_plan_additive_gradient(clattn_context *context,
                                            const clattn_additive_desc *desc, clattn_plan **plan)
{
    return plan_additive(context, desc, CLATTN__ADDITIVE_GRADIENT, plan);
}

clattn_status clattn_plan_merge(clattn_context *context, const clattn_merge_desc *desc,
                                clattn_plan **plan)
{
    static const clattn__functions none = {NULL, NULL, NULL};
    clattn__problem problem;
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require((const void *)plan, "plan"));
    CLATTN__TRY(clattn__problem_init_merge(&problem, desc));
    return clattn__plan_create(context, &problem, &none, plan);
}

void clattn_plan_destroy(clattn_plan *plan)
{
    if (plan && clattn__plan_check(plan) == CLATTN_OK)
        clattn__plan_release(plan);
}

clattn_status clattn_plan_workspace_size(const clattn_plan *plan, uint64_t *size)
{
    CLATTN__TRY(clattn__plan_check(plan));
    CLATTN__TRY(clattn__require(size, "size"));
    *size = clattn__plan_workspace(plan);
    return CLATTN_OK;
}

static uint32_t count_launches(const clattn_plan *plan)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        count += plan->launch[i].count > 0;
    return count;
}

clattn_status clattn_plan_get_info(const clattn_plan *plan, clattn_plan_info *info)
{
    CLATTN__TRY(clattn__plan_check(plan));
    clattn_plan_info made = {
        .launches = count_launches(plan),
        .workspace = clattn__plan_workspace(plan),
        .plan_seconds = plan->seconds,
        .from_cache = plan->from_cache,
        .tuned = plan->origin.problem_class != NULL,
    };
    clattn__text text;
    clattn__text_init(&text, &plan->context->env);
    clattn__config_describe(&plan->variant.config, &text);
    snprintf(made.kernel, sizeof made.kernel, "%s", plan->kernel->name);
    snprintf(made.configuration, sizeof made.configuration, "%s", clattn__text_get(&text));
    clattn_status status = clattn__text_status(&text);
    clattn__text_finish(&text);
    if (status == CLATTN_OK)
        status = clattn__struct_copy(info, &made, sizeof made, "info");
    return status;
}

const char *clattn_explain(const clattn_plan *plan)
{
    return plan ? plan->explanation : "plan: is NULL";
}
