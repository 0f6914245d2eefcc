/* Linear projections and their gradients as sums as they stand, for any valid problem on any
 * device. */
#include "kernels/launches.h"
#include "kernels/product.h"

extern const clattn__kernel clattn__linear_reference;
extern const clattn__kernel clattn__linear_x_reference;
extern const clattn__kernel clattn__linear_w_reference;

/* Work-items of a group where they are lanes; rows and columns of an item. */
#define LANES        64
#define ITEM_ROWS    16
#define ITEM_COLUMNS 64

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    (void)problem;
    config->vec = 1;
    config->group_size = caps->family == CLATTN__TILE && caps->max_work_group >= LANES ? LANES : 1;
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
        .file = "linear/linear_reference.cl",
        .function = "linear_reference",
        .tiling = {CLATTN__OVER_TILES, .block = ITEM_ROWS, .column_block = ITEM_COLUMNS,
                   .batches = product.batch, .rows = product.rows, .columns = product.columns},
        .tensors = {CLATTN_T_LEFT, CLATTN_T_RIGHT, CLATTN_T_B, CLATTN_T_RESULT, CLATTN_T_COUNT},
    };
    if (product.wanted)
        clattn__launch_add(variant, &row);
    clattn__product_add_sums(problem, variant, &variant->config);
}

#define KERNEL(stem, of)                                                                           \
    const clattn__kernel clattn__##stem = {                                                        \
        .name = #stem,                                                                             \
        .kind = of,                                                                                \
        .configure = configure,                                                                    \
        .workspace = workspace,                                                                    \
        .launches = launches,                                                                      \
        .shares = true,                                                                            \
    }
KERNEL(linear_reference, CLATTN__LINEAR);
KERNEL(linear_x_reference, CLATTN__LINEAR_X);
KERNEL(linear_w_reference, CLATTN__LINEAR_W);
