/* The parameters' gradients of additive attention, of the parts that ranges of keys have. */
#include "kernels/additive_sums.h"

void clattn__place_additive_sums(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    const int64_t ranges = clattn__divide_up(extent[CLATTN__N_KV], variant->config.range_keys);
    const int64_t heads = extent[CLATTN__BATCH] * extent[CLATTN__N_HEAD];
    clattn__scratch *sums = &variant->scratch[variant->scratch_count++];
    sums->tensor = CLATTN_T_ADDITIVE_SUMS;
    sums->slot = -1;
    sums->stride[2] = 2 * CLATTN_ADDITIVE_CHANNELS(extent[CLATTN__HEAD_DIM]);
    sums->stride[1] = ranges * sums->stride[2];
    sums->stride[0] = extent[CLATTN__N_HEAD] * sums->stride[1];
    sums->offset = clattn__take_workspace(variant, heads * sums->stride[1]);
}

void clattn__add_additive_sums(const clattn__problem *problem, uint32_t lanes,
                               clattn__variant *variant)
{
    static const clattn__launch_row row = {
        .packs = true,
        .file = "additive/additive_sums.cl",
        .function = "additive_sums",
        .tiling = {CLATTN__OVER_HEADS, .block = 1, .all_batches = true},
        .tensors = {CLATTN_T_ADDITIVE_SUMS, CLATTN_T_GRAD_W_SCORE, CLATTN_T_GRAD_CHANNEL_BIAS,
                    CLATTN_T_COUNT},
    };
    if (!clattn__problem_has(problem, CLATTN_SLOT_GRAD_W_SCORE) &&
        !clattn__problem_has(problem, CLATTN_SLOT_GRAD_CHANNEL_BIAS))
        return;
    clattn__launch_add(variant, &row);
    clattn__config *config = &variant->launch[variant->launch_count - 1].config;
    config->vec = variant->config.vec;
    config->group_size = lanes;
}
