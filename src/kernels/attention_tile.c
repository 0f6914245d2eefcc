/* The kernel for devices whose work-items are lanes: tiles in local memory, sums in registers.
 * Launches: attention_tile, and those of weights_tile.c that return weights. CPUs can run it,
 * slowly; there it comes after attention_simd. */
#include "kernels/launches.h"
#include "kernels/tile_shapes.h"

extern const clattn__kernel clattn__attention_tile;

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    clattn__config config = {0};
    return clattn__tile_shape(problem, caps, &config, reason);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__place_stats(problem, variant);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__launch_add(
        variant,
        &(clattn__launch_row){
            .file = "attention/attention_tile.cl",
            .function = "attention_tile",
            .tiling = {CLATTN__OVER_QUERIES, .block = variant->config.block_m,
                       .period = problem->block_q},
            .options = true,
            .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_V, CLATTN_T_PAST_V,
                        CLATTN_T_OUT, CLATTN_T_LSE, CLATTN_T_STATS, CLATTN_T_SINK, CLATTN_T_COUNT},
        });
    clattn__add_tile_weights(problem, variant);
    clattn__add_copy_present(problem, variant);
}

const clattn__kernel clattn__attention_tile = {
    .name = "attention_tile",
    .kind = CLATTN__ATTENTION,
    .check = check,
    .configure = clattn__tile_configure,
    .workspace = workspace,
    .launches = launches,
    .shares = true,
};
