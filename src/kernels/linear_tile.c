/* Linear projections and their gradients for devices whose work-items are lanes: tiles of the
 * result, slices of both factors in local memory. Launches: linear_tile, and linear_sums for the
 * gradient by b. CPUs can run it, slowly; there it comes after linear_simd. */
#include <inttypes.h>

#include "kernels/launches.h"
#include "kernels/linear_shapes.h"

extern const clattn__kernel clattn__linear_tile;
extern const clattn__kernel clattn__linear_x_tile;
extern const clattn__kernel clattn__linear_w_tile;

/* Work-items of a group of linear_sums, a column each. */
#define COLUMNS 64

static bool shape_of(const clattn__problem *problem, const clattn__caps *caps,
                     clattn__config *config)
{
    clattn__product product;
    clattn__product_of(problem, &product);
    return clattn__linear_shape(&product, caps, config);
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
    shape_of(problem, caps, config);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__product_place(problem, variant);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__product product;
    clattn__product_of(problem, &product);
    const clattn__launch_row row = {
        .file = "linear/linear_tile.cl",
        .function = "linear_tile",
        .tiling = {CLATTN__OVER_TILES, .block = variant->config.block_m,
                   .column_block = variant->config.block_n, .batches = product.batch,
                   .rows = product.rows, .columns = product.columns},
        .tensors = {CLATTN_T_LEFT, CLATTN_T_RIGHT, CLATTN_T_B, CLATTN_T_RESULT, CLATTN_T_COUNT},
    };
    if (product.wanted)
        clattn__launch_add(variant, &row);
    clattn__product_add_sums(problem, variant, &(clattn__config){.vec = 1, .group_size = COLUMNS});
}

#define KERNEL(stem, of)                                                                           \
    const clattn__kernel clattn__##stem = {                                                        \
        .name = #stem,                                                                             \
        .kind = of,                                                                                \
        .check = check,                                                                            \
        .configure = configure,                                                                    \
        .workspace = workspace,                                                                    \
        .launches = launches,                                                                      \
        .shares = true,                                                                            \
    }
KERNEL(linear_tile, CLATTN__LINEAR);
KERNEL(linear_x_tile, CLATTN__LINEAR_X);
KERNEL(linear_w_tile, CLATTN__LINEAR_W);
