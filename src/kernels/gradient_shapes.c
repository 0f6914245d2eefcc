/* The table of tiles of gradients, a row for each bound of head_dim and value_dim and size of the
 * device; what the numbers mean is in cl/common/tile.h. One row serves queries and keys: a tile has
 * block_m of them.
 *
 * A work-item of gradient_keys_tile has twice rows * value_cols * 4 sums in registers, and rows *
 * cols * 4 products. A shape doesn't depend on how many queries or keys there are: it decides how
 * slices are cut, and with that how many of them are staged at a time, but the order of sums is
 * that of columns in any case. The last shapes need less than 16 KiB of local memory, the least
 * that a device has. */
#include "kernels/gradient_shapes.h"

#include <inttypes.h>

#include "kernels/shape_table.h"

static const clattn__shape shapes[] = {
    {64, 128, 4, 1, 2, 64, 32, 16},  {128, 128, 4, 1, 2, 32, 64, 16},
    {256, 128, 4, 1, 2, 16, 128, 8}, {576, 192, 4, 1, 3, 16, 192, 8},
    {64, 64, 4, 1, 2, 32, 32, 16},   {128, 64, 4, 1, 2, 16, 64, 8},
    {256, 64, 4, 1, 4, 16, 64, 8},
};

/* Bytes of GRADIENT_ARRAYS of keys, which are more than those of queries, rounded up as compilers
 * may. */
static uint64_t local_memory(const clattn__shape *shape)
{
    const uint64_t rows = shape->block_m, columns = shape->block_n;
    const uint64_t stage = shape->block_k * (rows + columns + 8);
    const uint64_t pairs = 2 * columns * (rows + 4);
    return 4 * (stage + pairs + 5 * columns) + 16 * (rows + columns) + 96;
}

static const clattn__shape_table table = {shapes, sizeof shapes / sizeof shapes[0], local_memory};

static int64_t larger_dim(const clattn__problem *problem)
{
    const int64_t of_keys = problem->extent[CLATTN__HEAD_DIM];
    const int64_t of_values = problem->extent[CLATTN__VALUE_DIM];
    return of_keys > of_values ? of_keys : of_values;
}

bool clattn__gradient_shape(const clattn__problem *problem, const clattn__caps *caps,
                            clattn__config *config, clattn__text *reason)
{
    const int64_t dim = larger_dim(problem);
    if (clattn__shape_find(&table, dim, 0, caps, config))
        return true;
    if (reason)
        clattn__text_add(reason,
                         "a dimension of %" PRId64 " needs larger groups than of %" PRIu64
                         " work-items, or more local memory than %" PRIu64 " bytes",
                         dim, caps->max_work_group, caps->local_memory);
    return false;
}

void clattn__gradient_configure(const clattn__problem *problem, const clattn__caps *caps,
                                clattn__config *config)
{
    config->full = clattn__needs_full(problem);
    clattn__gradient_shape(problem, caps, config, NULL);
    config->score_function = clattn__problem_has_score_function(problem);
    config->score_gradient = clattn__problem_has_score_gradient(problem);
    config->mask_function = clattn__problem_has_mask_function(problem);
}
