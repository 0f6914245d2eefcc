/* The launches of the gradient of a bias in tiles: gradient_bias_tile, and where the bias is shared
 * over queries or keys gradient_bias_sums, for what heads have each. It has a file of its own for
 * the reason that gradient_keys_tile.c has. */
#include "kernels/gradient_shapes.h"

/* Work-items of a group of the sums, and most elements of an item. */
#define SUM_LANES 64

static bool sums_queries(const clattn__problem *problem)
{
    return problem->bias_sums >> 2 & 1;
}

static bool sums_keys(const clattn__problem *problem)
{
    return problem->bias_sums >> 3 & 1;
}

/* Sums over keys or queries, and not all of what is written. */
static bool has_parts(const clattn__problem *problem)
{
    return clattn__problem_has(problem, CLATTN_SLOT_GRAD_BIAS) &&
           (sums_queries(problem) || sums_keys(problem));
}

/* Of a head. */
static int64_t part_count(const clattn__problem *problem)
{
    return problem->extent[sums_keys(problem) ? CLATTN__N_Q : CLATTN__N_KV];
}

double clattn__bias_parts_bound(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    return has_parts(problem) ? 4.0 * (double)extent[CLATTN__BATCH] *
                                    (double)extent[CLATTN__N_HEAD] * (double)part_count(problem)
                              : 0;
}

void clattn__place_bias_parts(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    if (!has_parts(problem))
        return;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_BIAS_PARTS;
    scratch->slot = -1;
    scratch->stride[2] = 1;
    scratch->stride[1] = part_count(problem);
    scratch->stride[0] = extent[CLATTN__N_HEAD] * scratch->stride[1];
    scratch->offset = clattn__take_workspace(variant, extent[CLATTN__BATCH] * scratch->stride[0]);
}

/* Heads and batch entries share an item where there are no parts. */
static clattn__tiling tiling_of(const clattn__problem *problem, const clattn__config *config)
{
    clattn__tiling tiling = {CLATTN__OVER_QUERIES, .block = config->block_m,
                             .period = problem->block_q};
    if (sums_queries(problem) && !sums_keys(problem))
        return (clattn__tiling){CLATTN__OVER_HEAD_KEYS, .block = config->block_n};
    if (has_parts(problem))
        return tiling;
    tiling.all_batches = problem->bias_sums & 1;
    tiling.all_heads = problem->bias_sums >> 1 & 1;
    return tiling;
}

static void add_sums(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__launch_row row = {
        .packs = true,
        .file = "gradient/gradient_bias_sums.cl",
        .function = "gradient_bias_sums",
        .tiling = clattn__bias_tiling(problem, SUM_LANES, SUM_LANES),
        .tensors = {CLATTN_T_BIAS_PARTS, CLATTN_T_GRAD_BIAS, CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &row);
    variant->launch[variant->launch_count - 1].config.group_size = SUM_LANES;
}

void clattn__add_gradient_bias_tile(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__launch_row row = {
        .file = "gradient/gradient_bias_tile.cl",
        .function = "gradient_bias_tile",
        .tiling = tiling_of(problem, &variant->config),
        .options = true,
        .tensors = {CLATTN__GRADIENT_TENSORS, CLATTN_T_BIAS_PARTS, CLATTN_T_GRAD_BIAS,
                    CLATTN_T_COUNT},
    };
    if (!clattn__problem_has(problem, CLATTN_SLOT_GRAD_BIAS))
        return;
    clattn__launch_add(variant, &row);
    if (has_parts(problem))
        add_sums(problem, variant);
}
