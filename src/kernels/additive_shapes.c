/* The table of tiles of gradients of additive attention, a row for each size of the device; what
 * the numbers mean is in cl/common/tile.h. One row serves queries and keys: a tile has block_m of
 * them.
 *
 * Sums are in memory, so that a tile has any number of channels and dimensions: dim_max is how many
 * dimensions of values it has at a time. A work-item has 4 rows of a channel and 32 sums of values.
 * A shape doesn't depend on the problem, and with it the order of sums doesn't. The last one needs
 * less than 16 KiB of local memory, the least that a device has. */
#include "kernels/additive_shapes.h"

#include <inttypes.h>

static const struct {
    uint32_t dim_max;
    uint32_t group_size;
    uint32_t rows, cols, value_cols;
    uint32_t block_m, block_n, block_k;
} shapes[] = {
    {32, 128, 4, 1, 1, 64, 32, 16},
    {32, 64, 4, 1, 1, 32, 32, 16},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* Bytes of GRADIENT_ARRAYS and ADDITIVE_ARRAYS of keys, which are more than those of queries,
 * rounded up as compilers may. */
static uint64_t local_memory(size_t i)
{
    const uint64_t rows = shapes[i].block_m, columns = shapes[i].block_n;
    const uint64_t stage = shapes[i].block_k * (rows + columns + 8);
    const uint64_t pairs = 2 * columns * (rows + 4);
    const uint64_t slice = 2 * shapes[i].block_k + shapes[i].block_k / 4;
    return 4 * (stage + pairs + 5 * columns + slice) + 16 * (rows + columns) + 128;
}

bool clattn__additive_shape(const clattn__caps *caps, clattn__config *config, clattn__text *reason)
{
    size_t i = 0;
    while (i < SHAPES &&
           (shapes[i].group_size > caps->max_work_group || local_memory(i) > caps->local_memory))
        i++;
    if (i == SHAPES) {
        if (reason)
            clattn__text_add(reason,
                             "needs larger groups than of %" PRIu64
                             " work-items, or more local memory than %" PRIu64 " bytes",
                             caps->max_work_group, caps->local_memory);
        return false;
    }
    config->vec = 4;
    config->dim_max = shapes[i].dim_max;
    config->group_size = shapes[i].group_size;
    config->rows = shapes[i].rows;
    config->cols = shapes[i].cols;
    config->value_cols = shapes[i].value_cols;
    config->block_m = shapes[i].block_m;
    config->block_n = shapes[i].block_n;
    config->block_k = shapes[i].block_k;
    config->range_keys = shapes[i].block_m;
    return true;
}

void clattn__additive_shape_configure(const clattn__problem *problem, const clattn__caps *caps,
                                      clattn__config *config)
{
    (void)problem;
    clattn__additive_shape(caps, config, NULL);
}
