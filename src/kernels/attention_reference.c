/* The reference kernel: one query a work-item, the formula as it stands. Any valid problem on any
 * device. */
#include "kernels/dim_max.h"
#include "kernels/launches.h"

/* Queries of a work-group where work-items are lanes. */
#define LANES 64

extern const clattn__kernel clattn__attention_reference;

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    const bool lanes = caps->family == CLATTN__TILE && caps->max_work_group >= LANES;
    config->vec = 1;
    config->dim_max = clattn__dim_max(problem);
    config->group_size = lanes ? LANES : 1;
    config->block_m = config->group_size;
    config->score_function = clattn__problem_has_score_function(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__place_stats(problem, variant);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t block = variant->config.block_m;
    clattn__launch_add(variant, &(clattn__launch_row){
                                    .file = "attention/attention_reference.cl",
                                    .function = "attention_reference",
                                    .tiling = {CLATTN__OVER_QUERIES, .block = block},
                                    .options = true,
                                    .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_V,
                                                CLATTN_T_PAST_V, CLATTN_T_OUT, CLATTN_T_LSE,
                                                CLATTN_T_STATS, CLATTN_T_SINK, CLATTN_T_COUNT},
                                });
    clattn__add_reference_weights(problem, variant);
    clattn__add_copy_present(problem, variant);
}

const clattn__kernel clattn__attention_reference = {
    .name = "attention_reference",
    .kind = CLATTN__ATTENTION,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
    .shares = true,
};
