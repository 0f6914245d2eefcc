/* Appending keys and values to pages: copying, with a change of type if need be. Any device. */
#include "kernels/launches.h"

extern const clattn__kernel clattn__append;

/* Tokens of an item. */
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
    static const uint32_t widths[] = {16, 8, 4, 1};
    uint32_t i = 0;
    (void)problem;
    while (widths[i] > 1 && (caps->family != CLATTN__SIMD || widths[i] > caps->vector_width))
        i++;
    config->vec = widths[i];
    config->group_size = 1;
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    static const clattn__launch_row row = {
        .file = "cache/append.cl",
        .function = "append",
        .tiling = {CLATTN__OVER_KEYS, .block = BLOCK},
        .tensors = {CLATTN_T_K, CLATTN_T_V, CLATTN_T_PRESENT_K, CLATTN_T_PRESENT_V,
                    CLATTN_T_K_SCALES, CLATTN_T_V_SCALES, CLATTN_T_ANGLES, CLATTN_T_KV_LENGTHS,
                    CLATTN_T_PAGES, CLATTN_T_POSITIONS, CLATTN_T_COUNT},
    };
    (void)problem;
    clattn__launch_add(variant, &row);
}

const clattn__kernel clattn__append = {
    .name = "append",
    .kind = CLATTN__APPEND,
    .check = check,
    .configure = configure,
    .launches = launches,
    .shares = true,
};
