/* Additive attention for devices whose work-items are lanes: tiles in local memory, sums in
 * registers. Launches: additive_tile. CPUs can run it, slowly; there it comes after additive_simd.
 */
#include <inttypes.h>

#include "kernels/launches.h"
#include "kernels/tile_shapes.h"

extern const clattn__kernel clattn__additive_tile;

/* Bytes of ADDITIVE_ARRAYS, of the longest slices of channels. */
#define BESIDE_TILE 192

/* Values of more dimensions than a tile has are done part by part: of those that any device has a
 * tile for, if it has none for more. */
static bool shape_of(const clattn__problem *problem, const clattn__caps *caps,
                     clattn__config *config)
{
    static const int64_t parts[] = {576, 256};
    const int64_t dim = problem->extent[CLATTN__VALUE_DIM];
    bool found = false;
    for (size_t n = 0; !found && n < sizeof parts / sizeof parts[0]; n++)
        found = clattn__tile_of_values(dim < parts[n] ? dim : parts[n], BESIDE_TILE, caps, config);
    return found;
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    clattn__config config = {0};
    if (shape_of(problem, caps, &config))
        return true;
    clattn__text_add(reason,
                     "needs larger groups than of %" PRIu64
                     " work-items, or more local memory than %" PRIu64 " bytes",
                     caps->max_work_group, caps->local_memory);
    return false;
}

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    config->full = clattn__needs_full(problem);
    shape_of(problem, caps, config);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    (void)problem;
    clattn__launch_add(
        variant,
        &(clattn__launch_row){
            .file = "additive/additive_tile.cl",
            .function = "additive_tile",
            .tiling = {CLATTN__OVER_QUERIES, .block = variant->config.block_m},
            .options = true,
            .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_W_SCORE, CLATTN_T_CHANNEL_BIAS, CLATTN_T_V,
                        CLATTN_T_OUT, CLATTN_T_LSE, CLATTN_T_WEIGHTS, CLATTN_T_COUNT},
        });
}

const clattn__kernel clattn__additive_tile = {
    .name = "additive_tile",
    .kind = CLATTN__ADDITIVE,
    .check = check,
    .configure = configure,
    .launches = launches,
};
