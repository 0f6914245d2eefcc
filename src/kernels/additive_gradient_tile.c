/* Gradients of additive attention for devices whose work-items are lanes: tiles in local memory,
 * sums of channels and values in memory of each tile. Launches: additive_rows_tile,
 * additive_queries_tile, additive_keys_tile, additive_sums. CPUs can run it, slowly; there it comes
 * after additive_gradient_simd. */
#include "kernels/additive_shapes.h"
#include "kernels/additive_sums.h"

extern const clattn__kernel clattn__additive_gradient_tile;

/* Work-items that share a head's channels in the last launch. */
#define SUM_LANES 64

/* Floats of a tile of queries, and of one of keys; see cl/common/tile_additive_gradient.h. */
static int64_t floats_of_queries(const clattn__problem *problem, const clattn__config *config)
{
    return clattn__problem_has(problem, CLATTN_SLOT_GRAD_Q)
               ? problem->extent[CLATTN__HEAD_DIM] * config->block_m
               : 0;
}

static int64_t floats_of_keys(const clattn__problem *problem, const clattn__config *config)
{
    const int64_t rows = config->block_m, dim_max = config->dim_max;
    const int64_t parts = clattn__divide_up(problem->extent[CLATTN__VALUE_DIM], dim_max);
    const int64_t values = clattn__problem_has(problem, CLATTN_SLOT_GRAD_V) ? parts * dim_max : 0;
    return problem->extent[CLATTN__HEAD_DIM] * (rows + rows / 4) + values * rows;
}

/* Tiles of so many queries or keys. */
static int64_t tiles_of(const clattn__problem *problem, int64_t tokens,
                        const clattn__config *config)
{
    return problem->extent[CLATTN__BATCH] * problem->extent[CLATTN__N_HEAD] *
           clattn__divide_up(tokens, config->block_m);
}

/* The launches of queries and of keys come one after the other, and have the same memory. */
static void place_tiles(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__config *config = &variant->config;
    const int64_t of_queries = floats_of_queries(problem, config);
    const int64_t of_keys = floats_of_keys(problem, config);
    const int64_t step = of_queries > of_keys ? of_queries : of_keys;
    const int64_t queries = tiles_of(problem, problem->extent[CLATTN__N_Q], config);
    const int64_t keys = tiles_of(problem, problem->extent[CLATTN__N_KV], config);
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_ADDITIVE_BLOCK;
    scratch->slot = -1;
    scratch->stride[4] = step;
    scratch->offset = clattn__take_workspace(variant, (queries > keys ? queries : keys) * step);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__place_gradient_rows(problem, variant);
    place_tiles(problem, variant);
    clattn__place_additive_sums(problem, variant);
}

/* An upper bound of the workspace in bytes, in floating point because it must not overflow. */
static double workspace_bound(const clattn__problem *problem, const clattn__config *config)
{
    const int64_t *extent = problem->extent;
    const double heads = (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_HEAD];
    const double most = (double)(extent[CLATTN__N_Q] > extent[CLATTN__N_KV] ? extent[CLATTN__N_Q]
                                                                            : extent[CLATTN__N_KV]);
    const double tiles = most / config->block_m + 1;
    const int64_t channels = CLATTN_ADDITIVE_CHANNELS(extent[CLATTN__HEAD_DIM]); /* whole groups */
    const double sums = 2 * (double)channels;
    return 4 * heads *
               (tiles * ((double)floats_of_keys(problem, config) + sums) +
                (double)extent[CLATTN__N_Q] * CLATTN_GRADIENT_ROW) +
           256;
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    clattn__config config = {0};
    return clattn__additive_shape(caps, &config, reason) &&
           clattn__check_workspace_bound(workspace_bound(problem, &config), caps, "sums of tiles",
                                         reason);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    const clattn__tiling tiles = {CLATTN__OVER_QUERIES, .block = variant->config.block_m};
    const clattn__launch_row of_rows = {
        .file = "additive/additive_rows_tile.cl",
        .function = "additive_rows_tile",
        .tiling = tiles,
        .options = true,
        .tensors = {CLATTN__ADDITIVE_GRADIENT_TENSORS, CLATTN_T_GRAD_LSE, CLATTN_T_GRADIENT_ROWS,
                    CLATTN_T_COUNT},
    };
    const clattn__launch_row queries = {
        .file = "additive/additive_queries_tile.cl",
        .function = "additive_queries_tile",
        .tiling = tiles,
        .options = true,
        .tensors = {CLATTN__ADDITIVE_GRADIENT_TENSORS, CLATTN_T_GRADIENT_ROWS,
                    CLATTN_T_ADDITIVE_BLOCK, CLATTN_T_GRAD_Q, CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &of_rows);
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_Q))
        clattn__launch_add(variant, &queries);
    clattn__add_additive_keys_tile(problem, variant);
    clattn__add_additive_sums(problem, SUM_LANES, variant);
}

const clattn__kernel clattn__additive_gradient_tile = {
    .name = "additive_gradient_tile",
    .kind = CLATTN__ADDITIVE_GRADIENT,
    .check = check,
    .configure = clattn__additive_shape_configure,
    .workspace = workspace,
    .launches = launches,
};
