/* The reference kernel of attention to the keys of highest score: any valid problem, any device. */
#include <inttypes.h>

#include "kernels/dim_max.h"
#include "kernels/launches.h"

/* Queries of a work-group where work-items are lanes. */
#define LANES 64

extern const clattn__kernel clattn__top_k_reference;

/* Keys that a query may attend to. */
static int64_t limit_of(const clattn__problem *problem)
{
    const int64_t top = problem->extent[CLATTN__TOP], n_kv = problem->extent[CLATTN__N_KV];
    return top < n_kv ? top : n_kv;
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    const int64_t *extent = problem->extent;
    const double bytes = 8.0 * (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_HEAD] *
                         (double)extent[CLATTN__N_Q] * (double)limit_of(problem);
    if (bytes <= (double)caps->max_allocation)
        return true;
    clattn__text_add(reason,
                     "the lists of keys need %.0f bytes, more than the device's largest "
                     "allocation of %" PRIu64,
                     bytes, caps->max_allocation);
    return false;
}

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    const bool lanes = caps->family == CLATTN__TILE && caps->max_work_group >= LANES;
    config->vec = 1;
    config->dim_max = clattn__dim_max(problem);
    config->group_size = lanes ? LANES : 1;
    config->score_function = clattn__problem_has_score_function(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    (void)caps;
    scratch->tensor = CLATTN_T_TOP;
    scratch->slot = -1;
    scratch->stride[4] = 1;
    scratch->stride[3] = 2;
    scratch->stride[2] = 2 * limit_of(problem);
    scratch->stride[1] = extent[CLATTN__N_Q] * scratch->stride[2];
    scratch->stride[0] = extent[CLATTN__N_HEAD] * scratch->stride[1];
    scratch->offset = clattn__take_workspace(variant, extent[CLATTN__BATCH] * scratch->stride[0]);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    (void)problem;
    clattn__launch_add(
        variant, &(clattn__launch_row){
                     .file = "attention/top_k_reference.cl",
                     .function = "top_k_reference",
                     .tiling = {CLATTN__OVER_QUERIES, .block = variant->config.group_size},
                     .options = true,
                     .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_V,
                                 CLATTN_T_PAST_V, CLATTN_T_OUT, CLATTN_T_LSE, CLATTN_T_WEIGHTS,
                                 CLATTN_T_INDICES, CLATTN_T_TOP, CLATTN_T_SINK, CLATTN_T_COUNT},
                 });
}

const clattn__kernel clattn__top_k_reference = {
    .name = "top_k_reference",
    .kind = CLATTN__TOP_K,
    .check = check,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
};
