/* The kernel of gradients for devices whose work-item is a core with vectors: one pass over ranges
 * of keys, of which each gives a part of GRAD_Q. Launches: gradient_rows, gradient_simd,
 * gradient_parts, and those of biases and sinks. */
#include <inttypes.h>

#include "kernels/launches.h"
#include "kernels/simd_tiles.h"

extern const clattn__kernel clattn__gradient_simd;

/* Blocks in the place of those of attention, by bound of the dimensions: what an item has of keys
 * and what they get stays in the second cache, beside a block of queries. block_n: keys whose
 * weights a block of queries has at a time.
 */
static const struct {
    uint32_t dim_max, block_m, block_n;
} blocks[] = {
    {64, 96, 64},
    {128, 96, 64},
    {256, 48, 64},
    {576, 24, 64},
};
static const uint32_t key_blocks[] = {256, 128, 64, 64};

/* Keys of an item, and most items of a head: beyond, ranges grow, so that the parts of GRAD_Q take
 * memory that is linear in the number of queries. The bits of a sum depend on the ranges, which
 * depend on n_kv alone: up to 8 * 512 keys not even on that. */
#define RANGE_KEYS  512
#define MOST_RANGES 8

static int64_t range_keys(const clattn__problem *problem)
{
    int64_t keys = RANGE_KEYS;
    while (keys * MOST_RANGES < problem->extent[CLATTN__N_KV])
        keys *= 2;
    return keys;
}

/* Whether queries, keys or values get something. */
static bool has_pass(const clattn__problem *problem)
{
    static const uint64_t slots =
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_PAST_K) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_PAST_V);
    return (problem->slots & slots) != 0;
}

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    uint32_t i = 0;
    clattn__simd_tiles(problem, caps, false, config);
    while (blocks[i].dim_max != config->dim_max)
        i++;
    config->block_m = blocks[i].block_m;
    config->block_n = blocks[i].block_n;
    config->key_block = key_blocks[i];
    config->range_keys = (uint32_t)range_keys(problem);
    config->full = clattn__needs_full(problem);
    config->score_function = clattn__problem_has_score_function(problem);
    config->score_gradient = clattn__problem_has_score_gradient(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
    config->group_size = 1;
}

static clattn__tiling tiling_of(const clattn__variant *variant)
{
    return (clattn__tiling){CLATTN__OVER_KEYS, .block = variant->config.range_keys};
}

/* An item's panels of keys and values, rows of keys, and what keys and values get. */
static void place_blocks(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__tiling tiling = tiling_of(variant);
    const int64_t vec = variant->config.vec, *extent = problem->extent;
    const int64_t k_width = clattn__divide_up(extent[CLATTN__HEAD_DIM], vec) * vec;
    const int64_t v_width = clattn__divide_up(extent[CLATTN__VALUE_DIM], vec) * vec;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_GRADIENT_BLOCK;
    scratch->slot = -1;
    scratch->stride[4] = (int64_t)variant->config.key_block * (3 * k_width + 2 * v_width);
    scratch->offset = clattn__take_workspace(
        variant, (int64_t)clattn__work_list_count(problem, &tiling) * scratch->stride[4]);
}

static void place_parts(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t vec = variant->config.vec, *extent = problem->extent;
    const int64_t tokens = extent[problem->ragged ? CLATTN__TOTAL_Q : CLATTN__N_Q];
    const int64_t width = clattn__divide_up(extent[CLATTN__HEAD_DIM], vec) * vec;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_GRADIENT_PARTS;
    scratch->slot = -1;
    scratch->stride[2] = width;
    scratch->stride[1] = tokens * width;
    scratch->stride[0] = problem->ragged ? 0 : extent[CLATTN__N_HEAD] * scratch->stride[1];
    scratch->stride[4] =
        (problem->ragged ? 1 : extent[CLATTN__BATCH]) * extent[CLATTN__N_HEAD] * tokens * width;
    scratch->offset = clattn__take_workspace(
        variant, clattn__divide_up(extent[CLATTN__N_KV], range_keys(problem)) * scratch->stride[4]);
}

static clattn__tiling bias_tiling_of(const clattn__problem *problem, const clattn__variant *variant)
{
    return clattn__bias_tiling(problem, variant->config.block_m, variant->config.block_n);
}

/* An item's panels of a block of keys and values. */
static void place_panels(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__tiling tiling = bias_tiling_of(problem, variant);
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_GRADIENT_PANELS;
    scratch->slot = -1;
    scratch->stride[4] = variant->config.block_n *
                         (problem->extent[CLATTN__HEAD_DIM] + problem->extent[CLATTN__VALUE_DIM]);
    scratch->offset = clattn__take_workspace(
        variant, (int64_t)clattn__work_list_count(problem, &tiling) * scratch->stride[4]);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__place_gradient_rows(problem, variant);
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_BIAS))
        place_panels(problem, variant);
    if (!has_pass(problem))
        return;
    place_blocks(problem, variant);
    place_parts(problem, variant);
}

/* An upper bound of the workspace in bytes, in floating point because it must not overflow. */
static double workspace_bound(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    const double entries = problem->ragged ? 1 : (double)extent[CLATTN__BATCH];
    const double queries = entries * (double)extent[CLATTN__N_HEAD] *
                           (double)extent[problem->ragged ? CLATTN__TOTAL_Q : CLATTN__N_Q];
    const double ranges = (double)clattn__divide_up(extent[CLATTN__N_KV], range_keys(problem));
    const double items = (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_KV_HEAD] * ranges;
    const double dims = (double)extent[CLATTN__HEAD_DIM] + (double)extent[CLATTN__VALUE_DIM] + 32;
    const bool has_bias = clattn__problem_has(problem, CLATTN_SLOT_GRAD_BIAS);
    const double bias = /* items of 24 queries, or of 64 keys */
        has_bias ? (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_HEAD] *
                       (((double)extent[CLATTN__N_Q] + (double)extent[CLATTN__N_KV]) / 24 + 1) * 64
                 : 0;
    return 4.0 * (bias * dims + items * 256 * 3 * dims +
                  queries * (ranges * dims + CLATTN_GRADIENT_ROW)) +
           256;
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    return clattn__check_simd(caps, reason) &&
           clattn__check_workspace_bound(workspace_bound(problem), caps,
                                         "blocks of keys and parts of GRAD_Q", reason);
}

static void add_pass(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__launch_row pass = {
        .file = "gradient/gradient_simd.cl",
        .function = "gradient_simd",
        .tiling = tiling_of(variant),
        .options = true,
        .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_V, CLATTN_T_PAST_V,
                    CLATTN_T_GRAD_OUT, CLATTN_T_GRADIENT_ROWS, CLATTN_T_GRADIENT_BLOCK,
                    CLATTN_T_GRADIENT_PARTS, CLATTN_T_GRAD_K, CLATTN_T_GRAD_PAST_K, CLATTN_T_GRAD_V,
                    CLATTN_T_GRAD_PAST_V, CLATTN_T_COUNT},
    };
    if (!has_pass(problem))
        return;
    clattn__launch_add(variant, &pass);
    clattn__add_gradient_parts(problem, variant);
}

static void add_bias(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__launch_row row = {
        .file = "gradient/gradient_bias_simd.cl",
        .function = "gradient_bias_simd",
        .tiling = bias_tiling_of(problem, variant),
        .options = true,
        .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_V, CLATTN_T_PAST_V,
                    CLATTN_T_GRAD_OUT, CLATTN_T_GRADIENT_ROWS, CLATTN_T_GRADIENT_PANELS,
                    CLATTN_T_GRAD_BIAS, CLATTN_T_COUNT},
    };
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_BIAS))
        clattn__launch_add(variant, &row);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__add_gradient_rows(variant);
    add_pass(problem, variant);
    add_bias(problem, variant);
    clattn__add_gradient_sink(problem, variant);
}

const clattn__kernel clattn__gradient_simd = {
    .name = "gradient_simd",
    .kind = CLATTN__GRADIENT,
    .check = check,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
};
