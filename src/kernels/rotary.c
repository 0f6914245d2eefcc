/* Rotary embedding: one token of one head a work-item. Any device. */
#include "kernels/launches.h"

extern const clattn__kernel clattn__rotary;

/* Tokens of an item, and of a work-group where work-items are lanes. */
#define BLOCK 64

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
    (void)problem;
    config->vec = 1;
    config->group_size = caps->family == CLATTN__TILE && caps->max_work_group >= BLOCK ? BLOCK : 1;
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    static const clattn__launch_row row = {
        .file = "cache/rotary.cl",
        .function = "rotary",
        .tiling = {CLATTN__OVER_QUERIES, .block = BLOCK},
        .tensors = {CLATTN_T_Q, CLATTN_T_ANGLES, CLATTN_T_POSITIONS, CLATTN_T_OUT, CLATTN_T_COUNT},
    };
    (void)problem;
    clattn__launch_add(variant, &row);
}

const clattn__kernel clattn__rotary = {
    .name = "rotary",
    .kind = CLATTN__ROTARY,
    .check = check,
    .configure = configure,
    .launches = launches,
    .shares = true,
};
