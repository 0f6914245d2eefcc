/* The kernel of gradients for devices whose work-items are lanes: tiles in local memory, sums in
 * registers. Launches: gradient_rows, gradient_queries_tile, gradient_keys_tile,
 * gradient_bias_tile, gradient_bias_sums, and that of sinks. CPUs can run it, slowly; there it
 * comes after gradient_simd. */
#include "kernels/gradient_shapes.h"

extern const clattn__kernel clattn__gradient_tile;

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    clattn__config config = {0};
    return clattn__gradient_shape(problem, caps, &config, reason) &&
           clattn__check_workspace_bound(clattn__bias_parts_bound(problem), caps,
                                         "parts of GRAD_BIAS", reason);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__place_gradient_rows(problem, variant);
    clattn__place_bias_parts(problem, variant);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__launch_row queries = {
        .file = "gradient/gradient_queries_tile.cl",
        .function = "gradient_queries_tile",
        .tiling = {CLATTN__OVER_QUERIES, .block = variant->config.block_m,
                   .period = problem->block_q},
        .options = true,
        .tensors = {CLATTN__GRADIENT_TENSORS, CLATTN_T_GRAD_Q, CLATTN_T_COUNT},
    };
    clattn__add_gradient_rows(variant);
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_Q))
        clattn__launch_add(variant, &queries);
    clattn__add_gradient_keys_tile(problem, variant);
    clattn__add_gradient_bias_tile(problem, variant);
    clattn__add_gradient_sink(problem, variant);
}

const clattn__kernel clattn__gradient_tile = {
    .name = "gradient_tile",
    .kind = CLATTN__GRADIENT,
    .check = check,
    .configure = clattn__gradient_configure,
    .workspace = workspace,
    .launches = launches,
};
