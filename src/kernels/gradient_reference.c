/* The reference kernel of gradients: the formulas as they stand, for any valid problem on any
 * device. Launches: gradient_rows, then one for what queries get, one for keys and values, and
 * those of biases and sinks. */
#include "kernels/dim_max.h"
#include "kernels/launches.h"
#include "kernels/row_groups.h"

extern const clattn__kernel clattn__gradient_reference;

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    config->vec = 1;
    config->dim_max = clattn__dim_max(problem);
    config->group_size = clattn__row_lanes(caps);
    config->score_function = clattn__problem_has_score_function(problem);
    config->score_gradient = clattn__problem_has_score_gradient(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__place_gradient_rows(problem, variant);
}

static void add_queries(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__launch_row row = {
        .file = "gradient/gradient_queries_reference.cl",
        .function = "gradient_queries_reference",
        .tiling = {CLATTN__OVER_QUERIES, .block = variant->config.group_size},
        .options = true,
        .tensors = {CLATTN__GRADIENT_TENSORS, CLATTN_T_GRAD_Q, CLATTN_T_COUNT},
    };
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_Q))
        clattn__launch_add(variant, &row);
}

static void add_keys(const clattn__problem *problem, clattn__variant *variant)
{
    static const uint64_t slots =
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_PAST_K) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_PAST_V);
    const clattn__launch_row row = {
        .file = "gradient/gradient_keys_reference.cl",
        .function = "gradient_keys_reference",
        .tiling = {CLATTN__OVER_KEYS, .block = variant->config.group_size},
        .options = true,
        .tensors = {CLATTN__GRADIENT_TENSORS, CLATTN_T_GRAD_K, CLATTN_T_GRAD_PAST_K,
                    CLATTN_T_GRAD_V, CLATTN_T_GRAD_PAST_V, CLATTN_T_COUNT},
    };
    if (problem->slots & slots)
        clattn__launch_add(variant, &row);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__add_gradient_rows(variant);
    add_queries(problem, variant);
    add_keys(problem, variant);
    clattn__add_gradient_bias(problem, variant);
    clattn__add_gradient_sink(problem, variant);
}

const clattn__kernel clattn__gradient_reference = {
    .name = "gradient_reference",
    .kind = CLATTN__GRADIENT,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
};
