/* The launches that return weights and scores, a query a work-item: of attention_reference, and of
 * kernels that have none of their own. They need the softmax's statistics. */
#include <string.h>

#include "kernels/dim_max.h"
#include "kernels/launches.h"

/* What cl/common/reference.h uses of the variant's configuration. */
static void leave_scalar(const clattn__problem *problem, const clattn__config *all,
                         clattn__config *config)
{
    memset(config, 0, sizeof *config);
    config->vec = 1;
    config->dim_max = clattn__dim_max(problem);
    config->group_size = all->group_size;
    config->block_m = config->group_size;
    config->score_function = all->score_function;
    config->mask_function = all->mask_function;
}

static void add(const clattn__problem *problem, clattn__variant *variant,
                const clattn__launch_row *row)
{
    clattn__launch_add(variant, row);
    leave_scalar(problem, &variant->config, &variant->launch[variant->launch_count - 1].config);
}

void clattn__add_reference_weights(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t block = variant->config.group_size;
    if (clattn__returns_weights(problem))
        add(problem, variant,
            &(clattn__launch_row){
                .file = "attention/weights_reference.cl",
                .function = "weights_reference",
                .tiling = {CLATTN__OVER_QUERIES, .block = block,
                           .all_heads = clattn__problem_has(problem, CLATTN_SLOT_WEIGHTS_MEAN)},
                .options = true,
                .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_STATS,
                            CLATTN_T_WEIGHTS, CLATTN_T_WEIGHTS_MEAN, CLATTN_T_SCORES,
                            CLATTN_T_COUNT},
            });
    if (clattn__problem_has(problem, CLATTN_SLOT_WEIGHTS_SUM))
        add(problem, variant,
            &(clattn__launch_row){
                .file = "attention/weight_sums_reference.cl",
                .function = "weight_sums_reference",
                .tiling = {CLATTN__OVER_HEAD_KEYS, .block = block},
                .options = true,
                .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_STATS,
                            CLATTN_T_WEIGHTS_SUM, CLATTN_T_COUNT},
            });
}
