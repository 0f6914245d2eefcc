/* The pieces of launches.h. */
#include <inttypes.h>

#include "kernels/launches.h"

/* Keys of an item of copy_present; work-items of its groups, and keys, where they are lanes. */
#define COPY_BLOCK 512
#define COPY_LANES 64

/* In the order of OPTION_PARAMETERS. */
static const uint8_t option_tensors[] = {
    CLATTN_T_MASK,       CLATTN_T_BIAS,        CLATTN_T_ALIBI,       CLATTN_T_Q_LENGTHS,
    CLATTN_T_KV_LENGTHS, CLATTN_T_BLOCK_COUNT, CLATTN_T_BLOCK_INDEX, CLATTN_T_PARAMS,
    CLATTN_T_SEED,       CLATTN_T_PAGES,       CLATTN_T_K_SCALES,    CLATTN_T_V_SCALES,
};

static void add_tensor(clattn__launch *launch, uint32_t tensor)
{
    launch->argument[launch->argument_count++] =
        (clattn__launch_argument){CLATTN__ARG_TENSOR, tensor};
}

void clattn__launch_add(clattn__variant *variant, const clattn__launch_row *row)
{
    clattn__launch *launch = &variant->launch[variant->launch_count++];
    launch->file = row->file;
    launch->function = row->function;
    launch->light = row->packs;
    launch->config = variant->config;
    if (row->packs)
        launch->config = (clattn__config){
            .vec = variant->config.vec, .cols = variant->config.cols, .group_size = 1};
    launch->tiling = row->tiling;
    for (uint32_t i = 0; row->tensors[i] != CLATTN_T_COUNT; i++)
        add_tensor(launch, row->tensors[i]);
    for (uint32_t i = 0; row->options && i < sizeof option_tensors; i++)
        add_tensor(launch, option_tensors[i]);
    for (clattn__source source = CLATTN__ARG_BASE; source <= CLATTN__ARG_COUNT; source++)
        launch->argument[launch->argument_count++].source = source;
}

static bool has_any(const clattn__problem *problem, uint64_t slots)
{
    return (problem->slots & slots) != 0;
}

bool clattn__returns_weights(const clattn__problem *problem)
{
    return has_any(problem, CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS) |
                                CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS_MEAN) |
                                CLATTN_SLOT_BIT(CLATTN_SLOT_SCORES));
}

bool clattn__check_simd(const clattn__caps *caps, clattn__text *reason)
{
    if (caps->family == CLATTN__SIMD)
        return true;
    clattn__text_add(reason, "the device's work-items are lanes, not cores with vectors");
    return false;
}

bool clattn__check_workspace_bound(double bytes, const clattn__caps *caps, const char *what,
                                   clattn__text *reason)
{
    if (bytes <= (double)caps->max_allocation)
        return true;
    clattn__text_add(reason,
                     "%s need up to %.0f bytes, more than the device's largest allocation of "
                     "%" PRIu64,
                     what, bytes, caps->max_allocation);
    return false;
}

bool clattn__needs_stats(const clattn__problem *problem)
{
    return clattn__returns_weights(problem) ||
           clattn__problem_has(problem, CLATTN_SLOT_WEIGHTS_SUM);
}

bool clattn__needs_full(const clattn__problem *problem)
{
    static const uint64_t slots =
        CLATTN_SLOT_BIT(CLATTN_SLOT_MASK) | CLATTN_SLOT_BIT(CLATTN_SLOT_BIAS) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_ALIBI) | CLATTN_SLOT_BIT(CLATTN_SLOT_SEED);
    return (problem->slots & slots) || problem->softcap > 0 ||
           clattn__problem_has_score_function(problem) ||
           clattn__problem_has_mask_function(problem);
}

uint64_t clattn__take_workspace(clattn__variant *variant, int64_t elements)
{
    const uint64_t begin = (variant->workspace + 63) / 64 * 64;
    variant->workspace = begin + sizeof(float) * (uint64_t)elements;
    return begin / sizeof(float);
}

void clattn__place_stats(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    if (!clattn__needs_stats(problem))
        return;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_STATS;
    scratch->slot = -1;
    scratch->stride[3] = 1;
    scratch->stride[2] = 2;
    scratch->stride[1] = extent[CLATTN__N_Q] * 2;
    scratch->stride[0] = extent[CLATTN__N_HEAD] * scratch->stride[1];
    scratch->offset = clattn__take_workspace(variant, extent[CLATTN__BATCH] * scratch->stride[0]);
}

/* Lanes share rows, as they do elsewhere. */
void clattn__add_copy_present(const clattn__problem *problem, clattn__variant *variant)
{
    const uint32_t lanes = variant->config.group_size >= COPY_LANES ? COPY_LANES : 1;
    const clattn__launch_row row = {
        .packs = true,
        .file = "attention/copy_present.cl",
        .function = "copy_present",
        .tiling = {CLATTN__OVER_KEYS, .block = lanes > 1 ? COPY_LANES : COPY_BLOCK},
        .tensors = {CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_PRESENT_K, CLATTN_T_V, CLATTN_T_PAST_V,
                    CLATTN_T_PRESENT_V, CLATTN_T_COUNT},
    };
    if (!has_any(problem,
                 CLATTN_SLOT_BIT(CLATTN_SLOT_PRESENT_K) | CLATTN_SLOT_BIT(CLATTN_SLOT_PRESENT_V)))
        return;
    clattn__launch_add(variant, &row);
    variant->launch[variant->launch_count - 1].config.group_size = lanes;
}
