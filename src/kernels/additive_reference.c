/* The reference kernels of additive attention and its gradients: the formulas as they stand, for
 * any valid problem on any device. */
#include "kernels/additive_rows.h"

/* Queries or keys of a work-group where work-items are lanes. */
#define LANES 64

extern const clattn__kernel clattn__additive_reference, clattn__additive_gradient_reference;

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    const bool lanes = caps->family == CLATTN__TILE && caps->max_work_group >= LANES;
    (void)problem;
    config->vec = 1;
    config->group_size = lanes ? LANES : 1;
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__launch_row row = {
        .file = "additive/additive_reference.cl",
        .function = "additive_reference",
        .tiling = {CLATTN__OVER_QUERIES, .block = variant->config.group_size},
        .options = true,
        .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_W_SCORE, CLATTN_T_CHANNEL_BIAS, CLATTN_T_V,
                    CLATTN_T_OUT, CLATTN_T_LSE, CLATTN_T_WEIGHTS, CLATTN_T_COUNT},
    };
    (void)problem;
    clattn__launch_add(variant, &row);
}

const clattn__kernel clattn__additive_reference = {
    .name = "additive_reference",
    .kind = CLATTN__ADDITIVE,
    .configure = configure,
    .launches = launches,
};

/* ---- gradients ------------------------------------------------------------------------------- */

static void gradient_workspace(const clattn__problem *problem, const clattn__caps *caps,
                               clattn__variant *variant)
{
    (void)caps;
    clattn__place_gradient_rows(problem, variant);
}

#define READ                                                                                       \
    CLATTN_T_Q, CLATTN_T_K, CLATTN_T_W_SCORE, CLATTN_T_CHANNEL_BIAS, CLATTN_T_V,                   \
        CLATTN_T_GRAD_OUT, CLATTN_T_GRADIENT_ROWS

static void gradient_launches(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t block = variant->config.group_size;
    const clattn__launch_row queries = {
        .file = "additive/additive_queries_reference.cl",
        .function = "additive_queries_reference",
        .tiling = {CLATTN__OVER_QUERIES, .block = block},
        .options = true,
        .tensors = {READ, CLATTN_T_GRAD_Q, CLATTN_T_COUNT},
    };
    const clattn__launch_row keys = {
        .file = "additive/additive_keys_reference.cl",
        .function = "additive_keys_reference",
        .tiling = {CLATTN__OVER_KEYS, .block = block},
        .options = true,
        .tensors = {READ, CLATTN_T_GRAD_K, CLATTN_T_GRAD_V, CLATTN_T_COUNT},
    };
    const clattn__launch_row parameters = {
        .file = "additive/additive_parameters_reference.cl",
        .function = "additive_parameters_reference",
        .tiling = {CLATTN__OVER_HEADS, .block = 1, .all_batches = true},
        .options = true,
        .tensors = {READ, CLATTN_T_GRAD_W_SCORE, CLATTN_T_GRAD_CHANNEL_BIAS, CLATTN_T_COUNT},
    };
    clattn__add_additive_rows(true, variant);
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_Q))
        clattn__launch_add(variant, &queries);
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_K) ||
        clattn__problem_has(problem, CLATTN_SLOT_GRAD_V))
        clattn__launch_add(variant, &keys);
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_W_SCORE) ||
        clattn__problem_has(problem, CLATTN_SLOT_GRAD_CHANNEL_BIAS))
        clattn__launch_add(variant, &parameters);
}

const clattn__kernel clattn__additive_gradient_reference = {
    .name = "additive_gradient_reference",
    .kind = CLATTN__ADDITIVE_GRADIENT,
    .configure = configure,
    .workspace = gradient_workspace,
    .launches = gradient_launches,
};
