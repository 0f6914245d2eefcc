/* Merging partial results: one query a work-item, any device. */
#include "kernels/launches.h"

/* Queries of an item, and of a work-group where work-items are lanes. */
#define BLOCK 64

extern const clattn__kernel clattn__merge;

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    (void)problem;
    config->vec = 1;
    config->group_size = caps->family == CLATTN__TILE && caps->max_work_group >= BLOCK ? BLOCK : 1;
    config->block_m = BLOCK;
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    static const clattn__launch_row row = {
        .file = "attention/merge.cl",
        .function = "merge",
        .tiling = {CLATTN__OVER_QUERIES, .block = BLOCK},
        .tensors = {CLATTN_T_PARTIAL_OUT, CLATTN_T_PARTIAL_LSE, CLATTN_T_SINK, CLATTN_T_OUT,
                    CLATTN_T_LSE, CLATTN_T_COUNT},
    };
    (void)problem;
    clattn__launch_add(variant, &row);
}

const clattn__kernel clattn__merge = {
    .name = "merge",
    .kind = CLATTN__MERGE,
    .configure = configure,
    .launches = launches,
    .shares = true,
};
