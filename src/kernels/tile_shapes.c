/* The table of tiles, a row for each bound of value_dim and size of the device; what the numbers
 * mean is in cl/common/tile.h.
 *
 * A work-item has rows * value_cols * 4 sums of values and rows * cols * 4 products in registers,
 * 32 to 64 of them, and about as many other things. What more rows would save, reading keys and
 * values less often, is little behind a cache: 32 rows do 16 multiply-adds for each element that is
 * read, 64 do 32.
 * A shape doesn't depend on how many queries there are: it decides in which order weights are
 * added, and a sequence's results have the same bits alone and in a batch. The last shapes need
 * less than 16 KiB of local memory, the least that a device has. */
#include "kernels/tile_shapes.h"

#include <inttypes.h>

#include "kernels/launches.h"
#include "kernels/shape_table.h"

static const clattn__shape shapes[] = {
    {64, 128, 4, 1, 2, 64, 32, 16},  {96, 128, 4, 1, 3, 64, 32, 16},
    {128, 128, 4, 1, 2, 32, 64, 16}, {192, 128, 4, 1, 3, 32, 64, 16},
    {256, 128, 4, 1, 4, 32, 64, 16}, {576, 192, 4, 1, 3, 16, 192, 8},
    {64, 64, 4, 1, 2, 32, 32, 16},   {128, 64, 4, 1, 2, 16, 64, 16},
    {192, 64, 4, 1, 3, 16, 64, 16},  {256, 64, 4, 1, 4, 16, 64, 16},
};

/* Bytes of TILE_ARRAYS, rounded up as compilers may. */
static uint64_t local_memory(const clattn__shape *shape)
{
    const uint64_t rows = shape->block_m, keys = shape->block_n;
    const uint64_t stage = shape->block_k * (rows + keys + 8), weights = keys * (rows + 4);
    return 4 * (stage + weights + shape->group_size + rows) + 8 * (rows + 2 * keys) + 16;
}

static const clattn__shape_table table = {shapes, sizeof shapes / sizeof shapes[0], local_memory};

bool clattn__tile_of_values(int64_t value_dim, uint64_t beside, const clattn__caps *caps,
                            clattn__config *config)
{
    return clattn__shape_find(&table, value_dim, beside, caps, config);
}

bool clattn__tile_shape(const clattn__problem *problem, const clattn__caps *caps,
                        clattn__config *config, clattn__text *reason)
{
    const int64_t dim = problem->extent[CLATTN__VALUE_DIM];
    if (clattn__tile_of_values(dim, 0, caps, config))
        return true;
    if (reason)
        clattn__text_add(reason,
                         "value_dim %" PRId64 " needs larger groups than of %" PRIu64
                         " work-items, or more local memory than %" PRIu64 " bytes",
                         dim, caps->max_work_group, caps->local_memory);
    return false;
}

/* What has scales is a program of its own, so that their registers are not taken from all others.
 */
static uint32_t storage_of(const clattn__problem *problem)
{
    const uint32_t k = problem->dtype[CLATTN_SLOT_K], v = problem->dtype[CLATTN_SLOT_V];
    return k >= CLATTN_I8 ? k : v >= CLATTN_I8 ? v : 0;
}

void clattn__tile_configure(const clattn__problem *problem, const clattn__caps *caps,
                            clattn__config *config)
{
    config->full = clattn__needs_full(problem);
    clattn__tile_shape(problem, caps, config, NULL);
    config->storage = storage_of(problem);
    config->score_function = clattn__problem_has_score_function(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
}
