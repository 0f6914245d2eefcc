/* Appending keys and values to pages: copying, with a change of type if need be, and normalisation
 * and rotation of the keys. Any device. */
#include "kernels/launches.h"
#include "kernels/row_groups.h"

extern const clattn__kernel clattn__append;

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    (void)problem;
    config->vec = clattn__row_vector(caps);
    config->group_size = clattn__row_lanes(caps);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__launch_row row = {
        .file = "cache/append.cl",
        .function = "append",
        .tiling = {CLATTN__OVER_KEYS, .block = clattn__row_block(variant->config.group_size)},
        .tensors = {CLATTN_T_K, CLATTN_T_V, CLATTN_T_PRESENT_K, CLATTN_T_PRESENT_V,
                    CLATTN_T_K_SCALES, CLATTN_T_V_SCALES, CLATTN_T_ANGLES, CLATTN_T_RMS_WEIGHT,
                    CLATTN_T_KV_LENGTHS, CLATTN_T_PAGES, CLATTN_T_POSITIONS,
                    CLATTN_T_TOKEN_POSITIONS, CLATTN_T_COUNT},
    };
    (void)problem;
    clattn__launch_add(variant, &row);
}

const clattn__kernel clattn__append = {
    .name = "append",
    .kind = CLATTN__APPEND,
    .configure = configure,
    .launches = launches,
    .shares = true,
};
