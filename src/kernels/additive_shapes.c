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

#include "kernels/shape_table.h"

static const clattn__shape shapes[] = {
    {32, 128, 4, 1, 1, 64, 32, 16},
    {32, 64, 4, 1, 1, 32, 32, 16},
};

/* Bytes of GRADIENT_ARRAYS and ADDITIVE_ARRAYS of keys, which are more than those of queries,
 * rounded up as compilers may. */
static uint64_t local_memory(const clattn__shape *shape)
{
    const uint64_t rows = shape->block_m, columns = shape->block_n;
    const uint64_t stage = shape->block_k * (rows + columns + 8);
    const uint64_t pairs = 2 * columns * (rows + 4);
    const uint64_t slice = 2 * shape->block_k + shape->block_k / 4;
    return 4 * (stage + pairs + 5 * columns + slice) + 16 * (rows + columns) + 128;
}

static const clattn__shape_table table = {shapes, sizeof shapes / sizeof shapes[0], local_memory};

bool clattn__additive_shape(const clattn__caps *caps, clattn__config *config, clattn__text *reason)
{
    if (clattn__shape_find(&table, 0, 0, caps, config)) {
        config->range_keys = config->block_m;
        return true;
    }
    if (reason)
        clattn__text_add(reason,
                         "needs larger groups than of %" PRIu64
                         " work-items, or more local memory than %" PRIu64 " bytes",
                         caps->max_work_group, caps->local_memory);
    return false;
}

void clattn__additive_shape_configure(const clattn__problem *problem, const clattn__caps *caps,
                                      clattn__config *config)
{
    (void)problem;
    clattn__additive_shape(caps, config, NULL);
}
