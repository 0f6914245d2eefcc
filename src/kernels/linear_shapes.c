/* The table of tiles of linear_tile; what the numbers mean is in cl/linear/linear_tile.cl.
 *
 * Sums don't depend on the tile, and so it may depend on the product: few rows or columns have a
 * narrow one, so that work-items aren't there for nothing, and a small product has small ones, so
 * that all compute units have some. 64 by 64 results are 32 multiply-adds for each element that is
 * read, 32 by 32 are 16. Narrow tiles wait for memory, and not for each other: they have one deep
 * slice, of which more fit into local memory. All but one need less than 16 KiB of it and groups of
 * 64, the least that a device has. */
#include "kernels/linear_shapes.h"

static const struct {
    uint32_t most_rows, most_columns; /* of the product; 0: any number */
    uint32_t group_size;
    uint32_t rows, cols;
    uint32_t block_m, block_n, block_k;
    uint32_t stages;
} shapes[] = {
    {0, 16, 64, 4, 1, 64, 16, 32, 1}, {16, 0, 64, 4, 1, 16, 64, 32, 1},
    {0, 0, 128, 8, 1, 64, 64, 16, 2}, {0, 0, 64, 8, 1, 64, 32, 16, 2},
    {0, 0, 64, 4, 1, 32, 32, 16, 2},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* Groups for each compute unit, so that they hide each other's waiting. */
#define GROUPS_PER_UNIT 2

/* Bytes of the kernel's array: slices, or a part of the result. */
static uint64_t local_memory(size_t i)
{
    const uint64_t m = shapes[i].block_m, n = shapes[i].block_n;
    const uint64_t slices = (m + n + 8) * shapes[i].block_k * shapes[i].stages;
    const uint64_t part = n / shapes[i].cols * (m / shapes[i].rows * 4 + 4);
    return 4 * (slices > part ? slices : part);
}

static bool is_for(size_t i, const clattn__product *product, const clattn__caps *caps)
{
    return shapes[i].group_size <= caps->max_work_group && local_memory(i) <= caps->local_memory &&
           (shapes[i].most_rows == 0 || product->rows <= shapes[i].most_rows) &&
           (shapes[i].most_columns == 0 || product->columns <= shapes[i].most_columns);
}

/* Whether every compute unit gets enough of a product, or it is too narrow for anything else. */
static bool suffices(size_t i, const clattn__product *product, const clattn__caps *caps)
{
    const double groups = (double)product->batch *
                          (double)clattn__divide_up(product->rows, shapes[i].block_m) *
                          (double)clattn__divide_up(product->columns, shapes[i].block_n);
    return shapes[i].most_rows || shapes[i].most_columns ||
           groups >= GROUPS_PER_UNIT * (double)caps->compute_units;
}

bool clattn__linear_shape(const clattn__product *product, const clattn__caps *caps,
                          clattn__config *config)
{
    size_t found = SHAPES;
    for (size_t i = 0; i < SHAPES; i++) {
        if (!is_for(i, product, caps))
            continue;
        found = i;
        if (suffices(i, product, caps))
            break;
    }
    if (found == SHAPES)
        return false;
    config->vec = 4;
    config->group_size = shapes[found].group_size;
    config->rows = shapes[found].rows;
    config->cols = shapes[found].cols;
    config->block_m = shapes[found].block_m;
    config->block_n = shapes[found].block_n;
    config->block_k = shapes[found].block_k;
    config->stages = shapes[found].stages;
    return true;
}
