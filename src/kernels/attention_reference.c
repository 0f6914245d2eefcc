/* The reference kernel: one query a work-item, the formula as it stands. Any valid problem on any
 * device. */
#include "kernels/dim_max.h"
#include "kernels/registry.h"

/* Queries of a work-group where work-items are lanes. */
#define LANES 64

extern const clattn__kernel clattn__attention_reference;

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    (void)problem;
    (void)caps;
    (void)reason;
    return true;
}

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    const bool lanes = caps->family == CLATTN__TILE && caps->max_work_group >= LANES;
    config->dim_max = clattn__dim_max(problem);
    config->group_size = lanes ? LANES : 1;
    config->block_m = config->group_size;
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    (void)problem;
    variant->file[variant->file_count++] = "attention/attention_reference.cl";
    variant->launch[variant->launch_count++] = (clattn__launch){
        .function = "attention_reference",
        .tiling = {CLATTN__OVER_QUERIES, .block = variant->config.block_m, .empty_rows = true},
        .argument_count = 11,
        .argument = {{CLATTN__ARG_TENSOR, CLATTN_T_Q},
                     {CLATTN__ARG_TENSOR, CLATTN_T_K},
                     {CLATTN__ARG_TENSOR, CLATTN_T_V},
                     {CLATTN__ARG_TENSOR, CLATTN_T_OUT},
                     {CLATTN__ARG_TENSOR, CLATTN_T_LSE},
                     {CLATTN__ARG_TENSOR, CLATTN_T_WEIGHTS},
                     {CLATTN__ARG_BASE, 0},
                     {CLATTN__ARG_ROWS, 0},
                     {CLATTN__ARG_ITEMS, 0},
                     {CLATTN__ARG_FIRST, 0},
                     {CLATTN__ARG_COUNT, 0}},
    };
}

const clattn__kernel clattn__attention_reference = {
    .name = "attention_reference",
    .check = check,
    .configure = configure,
    .launches = launches,
};
